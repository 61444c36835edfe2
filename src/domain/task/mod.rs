//! Tasks and steps, and the results of steps.

pub mod body;
pub mod edit;
pub mod facts;
pub mod hashbang;
pub mod hook;
pub mod result;
pub mod step;
pub mod task;
