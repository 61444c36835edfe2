//! Reads the configuration directory.

pub mod disk;
pub mod facts;
pub mod files;
