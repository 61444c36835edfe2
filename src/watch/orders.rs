//! The input of watching: from the configuration, and from operators.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::domain::base::name::HostName;
use crate::domain::check::id::CheckId;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::watch::roll::{Ack, Downtime, Roll};
use crate::domain::watch::roster::{RosterSettings, WatchedHost, WatchedId};
use crate::engine::HeldHosts;
use crate::engine::ports::Ports;
use crate::port::{StoreError, Watches};

/// The checks to watch, and the settings, of the present configuration.
///
/// If an implementation renders checks for another release than the one in [`ReleaseTakeover`], good hosts are alerted as bad.
pub trait Watchlist: Send + Sync + 'static {
    fn orders(&self) -> Orders;
    /// The hosts and their checks, rendered for the release that each host took over last.
    fn wanted(&self, taken: BTreeMap<HostName, Vec<ReleaseTakeover>>) -> Vec<WatchedHost>;
    /// The checks of each host, watched or not.
    fn checks(&self) -> BTreeMap<HostName, Vec<CheckId>>;
}

/// Settings for all watched checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    pub enabled: bool,
    pub settings: RosterSettings,
    pub keep_samples: Duration,
    pub keep_changes: Duration,
    /// The folder `files/`, for plugins that are sent.
    pub files: PathBuf,
}

/// The environment of the monitor.
pub struct MonitorEnvironment<W> {
    pub ports: Ports,
    pub watches: Arc<dyn Watches>,
    pub config: watch::Receiver<Arc<W>>,
    pub in_hand: watch::Receiver<HeldHosts>,
    /// Makes probes; otherwise it only answers from the store.
    pub probes: bool,
    /// Called when there is a new alert.
    pub bell: Arc<dyn Fn() + Send + Sync>,
    /// Called when watching has failed inside rollcall, and starts again.
    pub failed: Arc<dyn Fn() + Send + Sync>,
}

impl<W> Clone for MonitorEnvironment<W> {
    fn clone(&self) -> Self {
        MonitorEnvironment {
            ports: self.ports.clone(),
            watches: self.watches.clone(),
            config: self.config.clone(),
            in_hand: self.in_hand.clone(),
            probes: self.probes,
            bell: self.bell.clone(),
            failed: self.failed.clone(),
        }
    }
}

/// A question, with the sender of its answer.
pub(super) enum MonitorQuestion {
    Roll(oneshot::Sender<Roll>),
    Downtimes(oneshot::Sender<Vec<Downtime>>),
    Begin(Downtime, oneshot::Sender<Result<Downtime, StoreError>>),
    End(u64, oneshot::Sender<Result<Option<Downtime>, StoreError>>),
    Acknowledge(WatchedId, Ack, oneshot::Sender<Result<(), String>>),
    /// Answered when all results so far are stored.
    Flush(oneshot::Sender<()>),
}

/// The time from `now` to `at`; zero if it has passed.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
