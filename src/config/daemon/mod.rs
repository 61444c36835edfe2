//! `rollcall.toml`, `operators` and `revoked`.

pub mod artifacts;
pub mod certificates;
pub mod door;
pub mod freeze;
pub mod keys;
mod krl;
mod line_options;
pub mod notify;
pub mod operators;
pub mod output;
pub mod retention;
pub mod revoked;
pub mod roles;
pub mod settings;
pub mod sources;
