//! Observations of a host and its services, over the ports alone: checks, and checks across hosts.

pub mod command;
pub mod context;
pub mod snapshot;
pub mod verify;
