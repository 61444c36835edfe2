//! `tasks/*.toml`.

pub mod bodies;
pub mod contents;
mod fetched;
pub mod fields;
pub mod hooks;
pub mod keys;
pub mod params;
pub mod review;
pub mod steps;
pub mod systems;
pub mod tasks;
