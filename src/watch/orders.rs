//! What watching is asked to do: by the configuration, and by operators.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::domain::base::name::HostName;
use crate::domain::check::id::CheckId;
use crate::domain::plan::release::Taken;
use crate::domain::watch::roll::{Ack, Downtime, Roll};
use crate::domain::watch::roster::{Key, Settings, Wanted};
use crate::engine::Held;
use crate::engine::ports::Ports;
use crate::port::{StoreError, Watches};

/// What is to be watched, and how, as the configuration in force says.
///
/// If an implementation renders checks for another release than the one in [`Taken`], good hosts are told as bad ones.
pub trait Watchlist: Send + Sync + 'static {
    fn orders(&self) -> Orders;
    /// The hosts and their checks, rendered for what each took over last.
    fn wanted(&self, taken: BTreeMap<HostName, Vec<Taken>>) -> Vec<Wanted>;
    /// The checks of each host, watched or not.
    fn checks(&self) -> BTreeMap<HostName, Vec<CheckId>>;
}

/// What holds for all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    pub enabled: bool,
    pub settings: Settings,
    pub keep_samples: Duration,
    pub keep_changes: Duration,
    /// Where `files/` is: plugins that are sent.
    pub files: PathBuf,
}

/// What the monitor needs.
pub struct Around<W> {
    pub ports: Ports,
    pub watches: Arc<dyn Watches>,
    pub config: watch::Receiver<Arc<W>>,
    pub in_hand: watch::Receiver<Held>,
    /// Takes looks; otherwise it only knows what is kept.
    pub looks: bool,
    /// Rung when there is something to tell people.
    pub bell: Arc<dyn Fn() + Send + Sync>,
    /// Called when watching has failed inside rollcall, and starts again.
    pub failed: Arc<dyn Fn() + Send + Sync>,
}

impl<W> Clone for Around<W> {
    fn clone(&self) -> Self {
        Around {
            ports: self.ports.clone(),
            watches: self.watches.clone(),
            config: self.config.clone(),
            in_hand: self.in_hand.clone(),
            looks: self.looks,
            bell: self.bell.clone(),
            failed: self.failed.clone(),
        }
    }
}

/// A question, and where its answer goes.
pub(super) enum Ask {
    Roll(oneshot::Sender<Roll>),
    Downtimes(oneshot::Sender<Vec<Downtime>>),
    Begin(Downtime, oneshot::Sender<Result<Downtime, StoreError>>),
    End(u64, oneshot::Sender<Result<Option<Downtime>, StoreError>>),
    Acknowledge(Key, Ack, oneshot::Sender<Result<(), String>>),
    /// Answered when all that was seen so far is in the store.
    Flush(oneshot::Sender<()>),
}

/// The time from `now` to `at`; none where it has come.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
