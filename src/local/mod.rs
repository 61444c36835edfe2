//! The daemon's machine: files below a folder, planned files to send, and programs.

pub mod artifacts;
pub mod beneath;
pub mod planned;
pub mod process;
