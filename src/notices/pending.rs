//! What channels hold back, for `notify list`.

use jiff::Timestamp;

use super::{Parts, Tell};
use crate::domain::notify::channel::Channel;
use crate::domain::notify::held::RunLog;
use crate::domain::notify::incidents::Incidents;
use crate::port::StoreError;

/// The messages that a channel has not made yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub incidents: usize,
    pub runs: usize,
    /// When the first of them is due, unless it ends or is acknowledged before.
    pub next: Option<Timestamp>,
}

impl Tell {
    /// What waits in a channel for its `gather`, `after` and `hours`.
    pub async fn pending(&self, channel: &Channel) -> Result<Pending, StoreError> {
        let Parts { outbox, clock, .. } = &*self.parts;
        let (now, left) = (clock.now(), outbox.teller(&channel.name).await?);
        let (incidents, first) = Incidents::resume(left.open, left.log).pending(channel, now);
        let log = match channel.runs.is_empty() {
            true => RunLog::default(),
            false => outbox.run_teller(&channel.name).await?.1,
        };
        let next = first.into_iter().chain(log.wake(&channel.pace, now)).min();
        Ok(Pending { incidents, runs: log.pending(), next })
    }
}
