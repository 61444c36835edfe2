//! Watching: takes the looks that are due, and keeps and tells what they change. One task has the roster in memory;
//! it sleeps until something is due, and never waits for the store or for a host.

mod actor;
mod look;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::actor::Actor;
use super::port::{StoreError, Watches};
use super::{Held, Ports};
use crate::domain::base::name::HostName;
use crate::domain::plan::release::Taken;
use crate::domain::watch::roll::{Ack, Downtime, Roll};
use crate::domain::watch::roster::{Key, Settings, Wanted};

/// Questions of operators that may wait: each is answered at once.
const ASKS_CAPACITY: usize = 64;

/// What is to be watched, and how, as the configuration in force says.
///
/// If an implementation renders checks for another release than the one in [`Taken`], good hosts are told as bad ones.
pub trait Watchlist: Send + Sync + 'static {
    fn orders(&self) -> Orders;
    /// The hosts and their checks, rendered for what each took over last.
    fn wanted(&self, taken: BTreeMap<HostName, Vec<Taken>>) -> Vec<Wanted>;
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
}

/// The handle by which doors ask. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    asks: mpsc::Sender<Ask>,
}

/// A question, and where its answer goes.
enum Ask {
    Roll(oneshot::Sender<Roll>),
    Downtimes(oneshot::Sender<Vec<Downtime>>),
    Begin(Downtime, oneshot::Sender<Result<Downtime, StoreError>>),
    End(u64, oneshot::Sender<Result<Option<Downtime>, StoreError>>),
    Acknowledge(Key, Ack, oneshot::Sender<Result<(), String>>),
    /// Answered when all that was seen so far is in the store.
    Flush(oneshot::Sender<()>),
}

/// Questions that wait for a monitor to start.
pub struct Asked(mpsc::Receiver<Ask>);

/// A monitor that runs, and how it is stopped.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Begins no look any more, and keeps what was seen.
    pub async fn stop(self) {
        self.stop.cancel();
        // One that has failed has said so in the log.
        let _ = self.task.await;
    }
}

/// A handle whose questions wait until somebody answers them.
pub fn prepare() -> (Monitor, Asked) {
    let (asks, asked) = mpsc::channel(ASKS_CAPACITY);
    (Monitor { asks }, Asked(asked))
}

/// Starts watching, from what is kept on. Runs that are open are to be taken up before: their hosts are silent.
pub async fn start<W: Watchlist>(around: Around<W>, asked: Asked) -> Result<Running, StoreError> {
    let stop = CancellationToken::new();
    let actor = Actor::load(around, stop.clone()).await?;
    let task = tokio::spawn(actor.run(asked.0));
    Ok(Running { stop, task })
}

impl Monitor {
    /// How everything stands.
    pub async fn roll(&self) -> Roll {
        self.ask(Ask::Roll).await.unwrap_or_default()
    }

    /// The downtimes that are under way.
    pub async fn downtimes(&self) -> Vec<Downtime> {
        self.ask(Ask::Downtimes).await.unwrap_or_default()
    }

    /// Begins a downtime; it comes back with its number.
    pub async fn begin_downtime(&self, downtime: Downtime) -> Result<Downtime, StoreError> {
        self.ask(|answer| Ask::Begin(downtime, answer)).await.unwrap_or_else(|| Err(gone()))
    }

    /// Ends a downtime; `None` where there is none with this number.
    pub async fn end_downtime(&self, id: u64) -> Result<Option<Downtime>, StoreError> {
        self.ask(|answer| Ask::End(id, answer)).await.unwrap_or_else(|| Err(gone()))
    }

    /// Somebody knows of a problem; the error says why there is nothing to know.
    pub async fn acknowledge(&self, key: Key, ack: Ack) -> Result<(), String> {
        self.ask(|answer| Ask::Acknowledge(key, ack, answer)).await.unwrap_or_else(|| Err(gone().to_string()))
    }

    /// Waits until all that was seen so far is in the store.
    pub async fn flush(&self) {
        self.ask(Ask::Flush).await.unwrap_or_default();
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }
}

fn gone() -> StoreError {
    StoreError::Failed("rollcall is stopping and watches nothing any more; try again when it is back".into())
}

/// The time from `now` to `at`; none where it has come.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
