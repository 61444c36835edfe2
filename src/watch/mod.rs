//! Watching: takes the looks that are due, and keeps and tells what they change. One task has the roster in memory;
//! it sleeps until something is due, and never waits for the store or for a host.

mod actor;
mod look;
mod orders;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::actor::Actor;
use self::orders::Ask;
pub use self::orders::{Around, Orders, Watchlist};
use super::port::StoreError;
use crate::domain::watch::roll::{Ack, Downtime, Roll};
use crate::domain::watch::roster::Key;

/// Questions of operators that may wait: each is answered at once.
const ASKS_CAPACITY: usize = 64;

/// The handle by which doors ask. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    asks: mpsc::Sender<Ask>,
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
