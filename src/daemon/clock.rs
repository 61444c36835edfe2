//! The time of day.

use jiff::Timestamp;

use crate::port::Clock;

/// The clock of this machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place where the time of day comes in")]
        Timestamp::now()
    }
}
