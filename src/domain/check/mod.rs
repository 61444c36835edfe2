//! Checks, what their probes observe, and the verdict.

pub mod across;
pub mod check;
pub mod id;
pub mod judge;
pub mod probe;
pub mod seen;
