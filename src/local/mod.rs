//! The daemon's machine: files below a folder, what was planned to be sent of them, and programs.

pub mod beneath;
pub mod planned;
pub mod process;
