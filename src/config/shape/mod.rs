//! The JSON Schemas for editors and `docs/reference.md`, written from the declarations of the keys.

mod markdown;
mod schema;

pub use markdown::markdown;
pub use schema::{FILES, schema};
