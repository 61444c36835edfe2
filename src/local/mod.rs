//! The daemon's machine: files below a folder, planned files to send, the output of commands, and programs.

pub mod artifacts;
pub mod beneath;
pub mod outputs;
pub mod planned;
pub mod process;
