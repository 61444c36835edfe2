//! How often and how long rollcall retries a host.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The pauses before rollcall reconnects, in seconds. The first is zero: a broken connection proves little about its
/// host. The last one is repeated.
const PAUSES: [u64; 7] = [0, 1, 2, 4, 8, 16, 30];

/// The retries, and their deadline.
pub(super) struct Patience {
    until: Instant,
    pauses: usize,
}

impl Patience {
    pub fn until(until: Instant) -> Patience {
        Patience { until, pauses: 0 }
    }

    /// The time left.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The host was reached: the next pause is the first one again.
    pub fn reached(&mut self) {
        self.pauses = 0;
    }

    /// Moves the deadline to `until`, if that is earlier.
    pub fn shorten(&mut self, until: Instant) {
        *self = Patience::until(self.until.min(until));
    }

    /// Waits before the next attempt; false if there is none, because time is up or the step was cancelled.
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
