//! The files of a configuration as types: every key with what it means. Nothing is read through them; the JSON
//! Schema for editors and `docs/reference.md` are made from them, and a test compares their keys with those that
//! the readers know.

// Values of these types are never made: their names, types and comments are what is used.
#![allow(dead_code)]

mod checks;
mod hosts;
mod kinds;
mod markdown;
mod notify;
mod settings;
mod tasks;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};

pub use markdown::markdown;

/// A kind of file, by the name that `rollcall schema NAME` knows.
pub const FILES: [&str; 4] = ["rollcall", "hosts", "tasks", "checks"];

/// The JSON Schema of a kind of file; `None` for a name that is none of [`FILES`].
pub fn schema(file: &str) -> Option<Schema> {
    let make = |of: fn(SchemaGenerator) -> Schema| of(SchemaSettings::draft07().into_generator());
    Some(match file {
        "rollcall" => make(SchemaGenerator::into_root_schema_for::<settings::Rollcall>),
        "hosts" => make(SchemaGenerator::into_root_schema_for::<hosts::Hosts>),
        "tasks" => make(SchemaGenerator::into_root_schema_for::<tasks::TaskFile>),
        "checks" => make(SchemaGenerator::into_root_schema_for::<checks::Checks>),
        _ => return None,
    })
}

/// A time with its unit: `"30s"`, `"2m"`, `"1m30s"`; at most 30 days.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Time(String);

/// Octal digits as chmod reads them: `"0644"`.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^[0-7]{1,4}$"))]
struct Mode(String);

/// A text, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A number of hosts, or a part of them: `2` or `"25%"`.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Amount {
    Hosts(u32),
    Percent(String),
}

/// A port, or a template that becomes one.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Port {
    Number(u16),
    Template(String),
}
