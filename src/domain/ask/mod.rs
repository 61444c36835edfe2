//! The line that an operator sends: grammar, command, and what the operator may do.

pub mod access;
pub mod agent;
pub mod ask;
pub mod audit;
pub mod command;
pub mod complete;
mod config_words;
pub mod enrolled;
pub mod grammar;
pub mod help;
pub mod hours;
pub mod login;
mod long_help;
mod names;
mod number;
pub mod options;
pub mod own_role;
mod path;
mod records;
pub mod resource;
pub mod revoked;
pub mod role;
mod supply;
pub mod temporary;
mod timed;
pub mod tools;
pub mod vitals;
