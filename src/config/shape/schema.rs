//! The JSON Schema of each kind of file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::checks::checks::SetKeys;
use crate::config::daemon::keys::RollcallKeys;
use crate::config::hosts::hosts::HostsKeys;
use crate::config::tasks::keys::TaskKeys;
use crate::config::text::table::{Declared, Table};

/// A kind of file, by the name that `rollcall schema NAME` knows.
pub const FILES: [&str; 4] = ["rollcall", "hosts", "tasks", "checks"];

/// The JSON Schema of a kind of file; `None` for a name that is none of [`FILES`].
pub fn schema(file: &str) -> Option<Value> {
    Some(match file {
        "rollcall" => of_table(RollcallKeys::TABLE),
        "hosts" => of_table(HostsKeys::TABLE),
        "tasks" => of_table(TaskKeys::TABLE),
        "checks" => of_table(SetKeys::TABLE),
        _ => return None,
    })
}

fn of_table(root: &'static Table) -> Value {
    let mut schema = root.schema();
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!(root.name));
    let definitions = within(root).into_iter().map(|(name, table)| (name.into(), table.schema().into()));
    schema.insert("definitions".into(), Value::Object(definitions.collect::<Map<_, _>>()));
    Value::Object(schema)
}

/// Every table within a table, by its name.
fn within(root: &'static Table) -> BTreeMap<&'static str, &'static Table> {
    let mut found = BTreeMap::new();
    let mut open = root.inner();
    while let Some(table) = open.pop() {
        if found.insert(table.name, table).is_none() {
            open.extend(table.inner());
        }
    }
    found
}
