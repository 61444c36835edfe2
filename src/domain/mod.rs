//! The terms of rollcall, and all its decisions. Pure: no I/O, no async, no clock, no SSH.
//!
//! Rooms, lowest first; each imports only rooms that are listed before it, which
//! `tests/it/architecture.rs` reads here and holds:
//!
//! base, value, inventory, check, ask, task, plan, run, lease, watch, notify
//!
//! Time is an argument, randomness does not exist, and the contents of files arrive as values.

pub mod ask;
pub mod base;
pub mod check;
pub mod inventory;
pub mod lease;
pub mod notify;
pub mod plan;
pub mod run;
pub mod task;
pub mod value;
pub mod watch;
