//! Values, secrets and templates, and how they reach a script.

pub mod expansion;
pub mod jinja;
pub mod param;
pub mod secret;
pub mod shell;
pub mod template;
