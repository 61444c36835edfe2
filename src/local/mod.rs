//! The daemon's machine: files below a folder, planned files to send, and programs.

pub mod beneath;
pub mod planned;
pub mod process;
