//! Polls until a time is over: quickly at first, then at a steady pace.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between the first poll and the second; doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between two polls: a balancer is queried once a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The polls of one wait.
pub struct Polls {
    pause: Duration,
    until: Instant,
}

impl Polls {
    /// Polls until `limit` is over.
    pub fn within(limit: Duration) -> Polls {
        Polls { pause: FIRST_PAUSE, until: Instant::now() + limit }
    }

    /// Waits until the next poll; false when the time was over before. So the last poll
    /// is made after the whole time.
    pub async fn again(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.until {
            return false;
        }
        sleep_until(self.until.min(now + self.pause)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}
