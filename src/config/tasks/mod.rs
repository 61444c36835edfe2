//! `tasks/*.toml`.

pub mod bodies;
pub mod fields;
pub mod hooks;
pub mod params;
pub mod review;
pub mod steps;
pub mod tasks;
