//! What a login was, for roles that demand a fresh one or a security key. Pure: the time is an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// When and how a connection logged in. A local user has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    pub at: Timestamp,
    /// The key is one of a security key (`sk-...`), and its certificate, if there is one, does not say `no-touch-required`.
    pub security_key: bool,
}

impl Login {
    /// True if it is at most this old. A login in the future is as far from now as one in the past: the clock was changed.
    pub fn is_fresh(&self, limit: Duration, now: Timestamp) -> bool {
        SignedDuration::try_from(limit).is_ok_and(|limit| now.duration_since(self.at).abs() <= limit)
    }
}
