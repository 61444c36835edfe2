//! The expansion of a command into batches, hosts and steps, without any choice left.

pub mod adhoc;
pub mod checking;
pub mod expand;
pub mod given;
pub mod plan;
pub mod planner;
pub mod release;
pub mod size;
pub mod sudoers;
pub mod supply;
pub mod veil;
