//! `rollcall.toml` and `operators`.

pub mod freeze;
pub mod keys;
pub mod notify;
pub mod operators;
pub mod settings;
pub mod sources;
