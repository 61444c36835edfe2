//! rollcall: push a release host by host, then call the roll: every host answers for itself.
//!
//! The modules stand in layers, lowest first; arrows point down only, and `tests/it/architecture.rs`
//! holds that. `ARCHITECTURE.md` is the map.

pub mod beneath;
pub mod domain;

pub mod config;
pub mod engine;
pub mod logging;
pub mod present;

pub mod balancer;
pub mod fleet;
pub mod notify;
pub mod probe;
pub mod store;
pub mod vault;

pub mod door;
pub mod embedded;

pub mod daemon;

pub mod demo;
