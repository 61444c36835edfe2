//! How often and how long a host is tried again.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Before a host is reached again, in seconds. At once first: a connection that broke says little of its
/// host. The last one is repeated.
const PAUSES: [u64; 7] = [0, 1, 2, 4, 8, 16, 30];

/// How often and how long to try again.
pub(super) struct Patience {
    until: Instant,
    pauses: usize,
}

impl Patience {
    pub fn until(until: Instant) -> Patience {
        Patience { until, pauses: 0 }
    }

    /// What is left of the time.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The host was reached: the next pause is the first again.
    pub fn reached(&mut self) {
        self.pauses = 0;
    }

    /// Gives up at `until`, if that is earlier.
    pub fn shorten(&mut self, until: Instant) {
        *self = Patience::until(self.until.min(until));
    }

    /// Waits before the next try; false when there is none, because time is up or nobody wants it any more.
    pub async fn pause(&mut self, cancel: &CancellationToken) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        let pause = Duration::from_secs(PAUSES[self.pauses.min(PAUSES.len() - 1)]).min(left);
        self.pauses += 1;
        tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}
