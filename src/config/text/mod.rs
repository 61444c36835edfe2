//! Text with positions: diagnostics, the reader of tables, templates, values and their sources.

pub mod diagnostic;
pub mod hints;
pub mod keys;
pub mod kinds;
pub mod origin;
pub mod paths;
pub mod reader;
pub mod table;
pub mod templates;
pub mod texts;
pub mod values;
pub mod vars;
