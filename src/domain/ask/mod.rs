//! The line that an operator sends: grammar, command, and what the operator may do.

pub mod access;
pub mod ask;
pub mod command;
pub mod grammar;
pub mod help;
