//! The tools of agents, made from the table of resources.

use serde_json::json;

use super::agent::AgentUse;
use super::command::parse_line;
use super::resource::{Field, FieldKind, Given, Gives, RESOURCES, Resource, Verb};

/// One tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTool {
    /// Its command, and the options that it always has: `show`, `show_host`, `audit_verify`.
    pub name: String,
    pub resource: Resource,
    pub is_for: AgentUse,
}

/// The tool that starts a run.
pub const START: &str = "start";

/// All tools, each name once: the first resource of a name has it.
pub fn agent_tools() -> Vec<AgentTool> {
    let mut tools: Vec<AgentTool> = Vec::new();
    for tool in RESOURCES.iter().flat_map(tools_of) {
        if tools.iter().all(|known| known.name != tool.name) {
            tools.push(tool);
        }
    }
    tools
}

/// A resource that plans gives the tool that starts the same, too.
fn tools_of(resource: &Resource) -> Vec<AgentTool> {
    let tool = |name: &str, resource, is_for| AgentTool { name: name.into(), resource, is_for };
    match use_of(resource) {
        AgentUse::Reads => vec![tool(&resource.tool_name(), *resource, AgentUse::Reads)],
        AgentUse::Plans => {
            let start = resource.started().map(|started| tool(START, started, AgentUse::Starts));
            [tool(&resource.tool_name(), *resource, AgentUse::Plans)].into_iter().chain(start).collect()
        }
        AgentUse::Starts | AgentUse::Never => Vec::new(),
    }
}

/// What a resource is to an agent: what its command is, if one answer can hold all that it gives.
pub fn use_of(resource: &Resource) -> AgentUse {
    let line = resource.line(&sample(resource)).unwrap_or_default();
    let Ok(request) = parse_line(line.as_bytes()) else { return AgentUse::Never };
    match (AgentUse::of(&request.command), resource.gives) {
        (AgentUse::Reads, Gives::Items | Gives::One | Gives::Text(_)) if resource.verb == Verb::Get => {
            AgentUse::Reads
        }
        (AgentUse::Plans, Gives::One) => AgentUse::Plans,
        _ => AgentUse::Never,
    }
}

/// A value for each required field: its line can be read, and names its command.
fn sample(resource: &Resource) -> Given {
    let value = |field: &Field| match (field.kind, field.name) {
        (FieldKind::Number, _) => json!(7),
        (FieldKind::Values, _) => json!({ "version": "1.2" }),
        (FieldKind::List, _) => json!(["hosts"]),
        (FieldKind::Flag, _) => json!(false),
        (FieldKind::Text, "for") => json!("2h"),
        (FieldKind::Text, "format") => json!("junit"),
        (FieldKind::Text, "role") => json!("deployer"),
        (FieldKind::Text, "since") => json!("41"),
        (FieldKind::Text, "source") => json!("journal:app"),
        (FieldKind::Text, "type") => json!("login"),
        (FieldKind::Text, "completion") => json!("zsh"),
        (FieldKind::Text, "operation") => json!("fold"),
        (FieldKind::Text, "fingerprint") => json!("SHA256:x"),
        (FieldKind::Text, _) => json!("web1"),
    };
    let fields = resource.fields();
    let wanted = fields.iter().filter(|field| field.is_required || field.kind == FieldKind::Values);
    wanted.map(|field| (field.name.to_string(), value(field))).collect()
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
