//! Tools as clients see them. All of it is constant: no word of a host is in it.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use crate::domain::ask::agent::AgentUse;
use crate::domain::ask::command::about;
use crate::domain::ask::field_notes::note;
use crate::domain::ask::resource::{Field, Gives};
use crate::domain::ask::tools::AgentTool;
use crate::door::api::items::PAGE_LIMIT;
use crate::door::api::openapi::schema_of;

/// The field with the digest of a plan.
pub(super) const DIGEST: &str = "digest";

/// A tool, with a schema of its fields.
pub(super) fn tool(tool: &AgentTool) -> Tool {
    let starts = tool.is_for == AgentUse::Starts;
    let hints =
        ToolAnnotations::new().read_only(!starts).destructive(starts).idempotent(!starts).open_world(false);
    Tool::new(tool.name.clone(), described(tool), input(tool)).with_annotations(hints)
}

fn described(tool: &AgentTool) -> String {
    let words = tool.resource.literal();
    let summary = about(&words).unwrap_or_default();
    match tool.is_for {
        AgentUse::Starts => "Propose a run of a task, with the fields and the digest of its plan. It starts if the plan is still \
                             the same, and waits until another person approves it: no host is touched before. `show` says how \
                             it stands"
            .into(),
        AgentUse::Plans => format!("{summary}. The `digest` in the answer is for `start`"),
        AgentUse::Reads | AgentUse::Never => format!("{summary}. The answer of the command `{words}`"),
    }
}

fn input(tool: &AgentTool) -> JsonObject {
    let fields = tool.resource.fields();
    let mut properties: JsonObject = fields.iter().map(property).collect();
    let mut required: Vec<&str> =
        fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    if tool.resource.gives == Gives::Items {
        let about = "Most items of the answer";
        properties.insert(
            "limit".into(),
            json!({ "type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "description": about }),
        );
        let about = "`next` of the page before";
        properties.insert("cursor".into(), json!({ "type": "string", "description": about }));
    }
    if tool.is_for == AgentUse::Starts {
        let about = "The `digest` in the answer of `plan`";
        properties.insert(DIGEST.into(), json!({ "type": "string", "description": about }));
        required.push(DIGEST);
    }
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn property(field: &Field) -> (String, Value) {
    let mut schema = serde_json::to_value(schema_of(field)).unwrap_or_default();
    schema["description"] = note(field.name).into();
    (field.name.into(), schema)
}
