//! Scheduled checks: when each is due, and what its results change.

pub mod alert;
pub mod roll;
pub mod roster;
pub mod subject;
pub mod uptime;
pub mod watched;
pub mod watchlist;
