//! Messages to people: channels, incidents and notices.

pub mod channel;
pub mod held;
pub mod incident;
pub mod incidents;
pub mod notice;
pub mod run_news;
pub mod runs;
