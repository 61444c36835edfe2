//! `checks/*.toml`, and the schedule.

pub mod checks;
pub mod fields;
pub mod host_probes;
pub mod probes;
pub mod services;
pub mod watching;
