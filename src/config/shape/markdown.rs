//! `docs/reference.md`: the schemas as tables.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema::{FILES, schema};

/// The reference of all files.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Reference\n\nEvery key of every file. Written from the declarations that the readers of these files use, as are \
         the JSON Schemas in [schema/](schema); `rollcall schema tasks` prints one for your editor.\n",
    );
    for file in FILES {
        let Some(schema) = schema(file) else { continue };
        let title = if file == "rollcall" { "rollcall.toml".to_string() } else { format!("{file}/*.toml") };
        let root = &schema;
        _ = write!(text, "\n## {title}\n");
        table(&mut text, root);
        let definitions = root.get("definitions").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            _ = write!(text, "\n### {name}\n");
            table(&mut text, definition);
        }
    }
    text
}

fn table(text: &mut String, schema: &Value) {
    if let Some(about) = schema.get("description").and_then(Value::as_str) {
        _ = write!(text, "\n{}\n", one_line(about));
    }
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if properties.is_empty() {
        return;
    }
    text.push_str("\n| key | value | what |\n| --- | --- | --- |\n");
    for (key, value) in &properties {
        let needed = if required.contains(&key.as_str()) { " (needed)" } else { "" };
        let about = value.get("description").and_then(Value::as_str).unwrap_or_default();
        _ = writeln!(text, "| `{key}`{needed} | {} | {} |", kind(value), one_line(about).replace('|', "\\|"));
    }
    if let Some(others) = schema.get("additionalProperties").filter(|others| others.is_object()) {
        _ = writeln!(text, "| any other | {} | |", kind(others));
    }
}

/// What a value is, in words.
fn kind(value: &Value) -> String {
    if let Some(name) = value.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(words) = value.get("enum").and_then(Value::as_array) {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`\"{word}\"`"));
        return words.collect::<Vec<_>>().join(", ");
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(all) = value.get(key).and_then(Value::as_array) {
            let mut kinds: Vec<String> = all.iter().filter(|one| !is_null(one)).map(kind).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
    }
    match value.get("type") {
        Some(Value::String(name)) => simple(name, value),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.map(|name| simple(name, value)).collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".into(),
    }
}

fn is_null(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("null")
}

fn simple(name: &str, value: &Value) -> String {
    let empty = Map::new();
    let inner = |key: &str| value.get(key).map_or_else(|| "anything".into(), kind);
    match name {
        "string" => "text".into(),
        "integer" | "number" => "number".into(),
        "boolean" => "true or false".into(),
        "array" => format!("list of {}", inner("items")),
        "object" if value.get("properties").and_then(Value::as_object).unwrap_or(&empty).is_empty() => {
            format!("table of {}", inner("additionalProperties"))
        }
        other => other.into(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
