//! Reading the directory.

pub mod disk;
pub mod facts;
pub mod files;
