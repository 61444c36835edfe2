//! Descriptions of tables, made from the declarations of their keys, and their JSON Schemas.

use serde_json::{Map, Value, json};

/// A table of a file: what it is, and its keys.
pub struct Table {
    /// Its name in the schema and the reference.
    pub name: &'static str,
    pub about: &'static str,
    /// Tables whose keys it has, too.
    pub parts: &'static [&'static Table],
    pub keys: &'static [Described],
    /// What every other key holds; `None` if there can be no other.
    pub others: Option<fn() -> Shape>,
}

/// A key for the schema and the reference.
pub struct Described {
    pub name: &'static str,
    about: &'static str,
    shape: fn() -> Shape,
    default: fn() -> Option<Value>,
    pub is_needed: bool,
}

/// A type that stands for a table.
pub trait Declared {
    const TABLE: &'static Table;
}

impl Table {
    /// Its own keys, and those of its parts.
    pub fn all_keys(&self) -> Vec<&'static Described> {
        let of_parts = self.parts.iter().flat_map(|part| part.all_keys());
        self.keys.iter().chain(of_parts).collect()
    }

    /// The JSON Schema, with references to the tables within.
    pub fn schema(&self) -> Map<String, Value> {
        let keys = self.all_keys();
        let needed: Vec<&str> = keys.iter().filter(|key| key.is_needed).map(|key| key.name).collect();
        let properties = keys.iter().map(|key| (key.name.to_string(), key.schema()));
        let mut schema = Map::from_iter([
            ("type".to_string(), json!("object")),
            ("description".to_string(), json!(self.about.trim())),
            ("additionalProperties".to_string(), self.others.map_or(json!(false), |shape| shape().schema())),
        ]);
        schema.insert("properties".into(), Value::Object(properties.collect()));
        if !needed.is_empty() {
            schema.insert("required".into(), json!(needed));
        }
        schema
    }

    /// The tables that its values hold.
    pub fn inner(&self) -> Vec<&'static Table> {
        let others = self.others.map(|shape| shape());
        let shapes = self.all_keys().into_iter().map(|key| (key.shape)()).chain(others);
        shapes.flat_map(|shape| shape.tables()).collect()
    }
}

impl Described {
    /// For `table!` alone.
    pub const fn new(
        (name, about): (&'static str, &'static str),
        shape: fn() -> Shape,
        default: fn() -> Option<Value>,
        is_needed: bool,
    ) -> Self {
        Described { name, about, shape, default, is_needed }
    }

    fn schema(&self) -> Value {
        let mut schema = (self.shape)().schema();
        let default = (self.default)();
        let as_text = default.as_ref().map(|default| match default {
            Value::Bool(_) | Value::Number(_) => format!("Default: {default}."),
            text => format!("Default: `{text}`."),
        });
        let about = [self.about.trim(), as_text.as_deref().unwrap_or_default()].join(" ");
        if let Some(schema) = schema.as_object_mut() {
            if !about.trim().is_empty() {
                schema.insert("description".into(), json!(about.trim()));
            }
            default.map(|default| schema.insert("default".into(), default));
        }
        schema
    }
}

/// The word of a schema for a text that is an amount: a time, or a part of a whole. Validators ignore it.
pub const AMOUNT: &str = "x-amount";

/// What a value is.
pub enum Shape {
    Text,
    Time,
    /// A time with days among its units.
    LongTime,
    /// Bytes with their unit, such as `"2 GiB"`.
    Size,
    /// A part of a whole, such as `"25%"`.
    Share,
    Flag,
    Mode,
    Scalar,
    NumberOrText,
    Any,
    /// A whole number between two others.
    Whole(u32, u32),
    Words(Vec<&'static str>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Either(Vec<Shape>),
    Table(&'static Table),
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            Shape::Text => json!({ "type": "string" }),
            Shape::LongTime => json!({ "type": "string", AMOUNT: true }),
            Shape::Size => json!({
                "type": "string",
                AMOUNT: true,
                "description": "A size with its unit: `\"512 MiB\"`, `\"2 GiB\"`."
            }),
            Shape::Share => json!({ "type": "string", AMOUNT: true }),
            Shape::Time => json!({
                "type": "string",
                AMOUNT: true,
                "description": "A time with its unit: `\"30s\"`, `\"2m\"`, `\"1m30s\"`; at most 30 days."
            }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::Mode => json!({
                "type": "string",
                "pattern": "^[0-7]{1,4}$",
                "description": "Octal digits as chmod reads them: `\"0644\"`."
            }),
            Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
            Shape::NumberOrText => json!({ "type": ["number", "string"] }),
            Shape::Any => json!({}),
            Shape::Whole(from, u32::MAX) => json!({ "type": "integer", "minimum": from }),
            Shape::Whole(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
            Shape::Words(words) => json!({ "type": "string", "enum": words }),
            Shape::List(inner) => json!({ "type": "array", "items": inner.schema() }),
            Shape::Map(inner) => json!({ "type": "object", "additionalProperties": inner.schema() }),
            Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(Shape::schema).collect::<Vec<_>>() }),
            Shape::Table(table) => json!({ "allOf": [{ "$ref": format!("#/definitions/{}", table.name) }] }),
        }
    }

    fn tables(self) -> Vec<&'static Table> {
        match self {
            Shape::List(inner) | Shape::Map(inner) => inner.tables(),
            Shape::Either(shapes) => shapes.into_iter().flat_map(Shape::tables).collect(),
            Shape::Table(table) => vec![table],
            _ => Vec::new(),
        }
    }
}
