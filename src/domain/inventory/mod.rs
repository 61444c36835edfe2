//! Groups and hosts, selectors, and who is in rotation.

pub mod inventory;
pub mod rotation;
pub mod selector;
