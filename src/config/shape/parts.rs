//! Types of values that several files have.

use schemars::JsonSchema;

/// A time with its unit: `"30s"`, `"2m"`, `"1m30s"`; at most 30 days.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Time(String);

/// Octal digits as chmod reads them: `"0644"`.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = "^[0-7]{1,4}$"))]
pub struct Mode(String);

/// A text, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A number of hosts, or a part of them: `2` or `"25%"`.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Amount {
    Hosts(u32),
    Percent(String),
}

/// A port, or a template that becomes one.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Port {
    Number(u16),
    Template(String),
}
