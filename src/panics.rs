//! A panic costs the work in which it happened, never the daemon. This is the one place that catches panics; the
//! log has where each happened.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// The work failed inside rollcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// The result of `work`. After [`Panicked`], the caller must use nothing that `work` may have left half changed.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Panicked)
}
