use std::collections::BTreeMap;

use super::*;
use crate::domain::ask::command::command_paths;

/// Each command, and its tools. A new command needs a row, so that its author decides what it is to an agent.
const COMMANDS: &[(&str, &str)] = &[
    ("TASK", "start"),
    ("ack", ""),
    ("approve", ""),
    ("artifacts", "artifacts_list"),
    ("ask", "ask"),
    ("audit", "audit audit_verify"),
    ("balancer drain", ""),
    ("balancer enable", ""),
    ("balancer status", ""),
    ("board", "board"),
    ("cancel", ""),
    ("check", ""),
    ("complete", ""),
    ("copy", ""),
    ("config diff", "config_diff"),
    ("config log", "config_log"),
    ("debts", "debts"),
    ("doctor", "doctor"),
    ("downtime", "downtime"),
    ("events", ""),
    ("facts", ""),
    ("fetch", ""),
    ("freeze", "freeze"),
    ("git-receive-pack", ""),
    ("git-upload-pack", ""),
    ("grant", ""),
    ("help", "help"),
    ("history", "history"),
    ("hold", ""),
    ("host accept", ""),
    ("host forget", ""),
    ("hosts", "hosts hosts_unreachable"),
    ("kick", ""),
    ("last", "last"),
    ("lock", "lock"),
    ("logs", ""),
    ("mark bad", ""),
    ("mark good", ""),
    ("metrics", "metrics"),
    ("nodes", "nodes"),
    ("notify list", "notify_list"),
    ("notify test", ""),
    ("operator enroll", ""),
    ("output", "output output_list"),
    ("pause", ""),
    ("ping", ""),
    ("plan", "plan"),
    ("queue", "queue"),
    ("receipt", "receipt receipt_allowed_signers receipt_signature"),
    ("releases", "releases"),
    ("reload", ""),
    ("report", "report"),
    ("resume", ""),
    ("retry", ""),
    ("rollback", ""),
    ("run", ""),
    ("runs", "runs"),
    ("sessions", "sessions"),
    ("settle", ""),
    ("setup", ""),
    ("show", "show show_format show_host"),
    ("status", "status"),
    ("sudoers", "sudoers"),
    ("unlock", ""),
    ("version", "version"),
    ("watch", ""),
    ("web", ""),
    ("whoami", "whoami"),
    ("why", "why"),
];

#[test]
fn each_command_has_the_tools_that_were_decided_for_it() {
    let mut commands = command_paths();
    commands.push("TASK".into());
    let mut found: BTreeMap<String, Vec<String>> =
        commands.into_iter().map(|command| (command, Vec::new())).collect();
    for tool in agent_tools() {
        let line = tool.resource.line(&sample(&tool.resource)).unwrap();
        let path = parse_line(line.as_bytes()).unwrap().command.path();
        found.get_mut(path).unwrap_or_else(|| panic!("{path} is no command")).push(tool.name);
    }
    found.values_mut().for_each(|names| names.sort());
    let found: BTreeMap<String, String> =
        found.into_iter().map(|(command, names)| (command, names.join(" "))).collect();
    let decided: BTreeMap<String, String> =
        COMMANDS.iter().map(|(command, names)| (command.to_string(), names.to_string())).collect();
    assert_eq!(found, decided);
}

#[test]
fn the_line_of_each_resource_is_its_command() {
    for resource in RESOURCES {
        let line = resource.line(&sample(resource)).unwrap();
        let request = parse_line(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {}", error.text));
        assert!(resource.is_for(request.command.path()), "{line}: {}", request.command.path());
        assert_eq!(request.json, resource.is_in_json(), "{line}");
    }
}

#[test]
fn one_tool_acts_and_it_has_the_fields_of_the_plan() {
    let tools = agent_tools();
    let acting: Vec<&AgentTool> = tools.iter().filter(|tool| tool.resource.gives == Gives::Run).collect();
    assert_eq!(acting.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), [START]);
    let plan = tools.iter().find(|tool| tool.is_for == AgentUse::Plans).unwrap();
    assert_eq!(plan.name, "plan");
    assert_eq!(plan.resource.fields(), acting[0].resource.fields());
    let names: Vec<&str> = plan.resource.fields().iter().map(|field| field.name).collect();
    assert_eq!(names, ["task", "selector", "tags", "skip_tags", "force", "params"]);
}
