//! Domain values as words: lines, tables, JSON. Pure; knows no sockets and takes no decisions.

pub mod audit;
pub mod board;
pub mod config;
pub mod copied;
pub mod doctor;
pub mod facts;
pub mod formats;
pub mod group_report;
pub mod help;
pub mod html;
pub mod json;
pub mod junit;
pub mod leases;
pub mod live;
pub mod log;
pub mod logs;
pub mod majority;
pub mod metrics;
pub mod nagios;
pub mod notice;
mod own;
pub mod plan;
pub mod prometheus;
pub mod reach;
pub mod recap;
pub mod report;
pub mod rights;
pub mod sessions;
pub mod setup;
mod steps;
pub mod streamed;
pub mod sudoers;
pub mod table;
pub mod tap;
pub mod vitals;
pub mod watching;
pub mod whoami;

#[cfg(test)]
mod hostile_tests;
