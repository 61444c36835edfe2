//! Groups and hosts, selectors, and who is in rotation.

pub mod inventory;
pub mod key_list;
pub mod rotation;
pub mod selector;
