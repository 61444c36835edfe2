//! Text with positions: diagnostics, the reader of tables, templates, values and their sources.

pub mod diagnostic;
pub mod hints;
pub mod kinds;
pub mod origin;
pub mod paths;
pub mod reader;
pub mod templates;
pub mod texts;
pub mod vars;
