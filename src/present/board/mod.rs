//! What a run looks like at an event: one model for the live lines of a terminal, for heartbeats, and for boards.

pub mod answers;
pub mod block;
pub mod fold;
pub mod mark;
pub mod page;
pub mod pages;
pub mod progress;
pub mod spark;
pub mod standing;
#[cfg(test)]
#[path = "story_tests.rs"]
pub mod story;
pub mod strip;
pub mod text;
