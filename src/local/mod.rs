//! This machine: files below a folder, and what was planned to be sent of them.

pub mod beneath;
pub mod planned;
