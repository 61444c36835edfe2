//! The JSON Schema of each kind of file.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};

use super::{checks, hosts, settings, tasks};

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
