//! What a run looks like at an event: one model for the live lines of a terminal, for heartbeats, and for boards.

pub mod block;
pub mod mark;
pub mod progress;
