//! `hosts/*.toml`, and scripts that replace such files.

pub mod ansible;
pub mod balancer;
pub mod drivers;
pub mod hosts;
pub mod inventory;
pub mod layer;
pub mod listing;
pub mod script;
pub mod scripted;
pub mod tree;
pub mod via;
