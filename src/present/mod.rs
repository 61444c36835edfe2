//! Domain values as words: lines, tables, JSON. Pure; knows no sockets and takes no decisions.

pub mod facts;
pub mod json;
pub mod live;
pub mod plan;
pub mod recap;
mod steps;
pub mod table;
pub mod watching;
