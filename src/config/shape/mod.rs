//! The files of a configuration as types: every key with what it means. Nothing is read through them; the JSON
//! Schema for editors and `docs/reference.md` are made from them, and a test compares their keys with those that
//! the readers know.

// Values of these types are never made: their names, types and comments are what is used.
#![allow(dead_code)]

mod checks;
mod kinds;
mod markdown;
mod parts;
mod schema;
mod tasks;

pub use markdown::markdown;
pub use schema::{FILES, schema};
