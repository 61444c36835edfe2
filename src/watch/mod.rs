//! Watching: makes the probes that are due, stores their results and sends alerts. One task has the roster in memory;
//! it sleeps until a probe is due, and never waits for the store or for a host.

mod actor;
mod orders;
mod probe;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::actor::Actor;
use self::orders::MonitorQuestion;
pub use self::orders::{MonitorEnvironment, Orders, Watchlist};
use super::port::StoreError;
use crate::domain::watch::roll::{Ack, Downtime, Roll};
use crate::domain::watch::roster::WatchedId;
use crate::panics::{Panicked, caught};

/// Pauses before watching restarts after an internal failure; the last one repeats. Operators' questions wait.
const RESTART_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(60)];

/// Most waiting questions of operators: each is answered at once.
const ASKS_CAPACITY: usize = 64;

/// The handle with which doors ask. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    asks: mpsc::Sender<MonitorQuestion>,
}

/// Questions that wait for the start of a monitor.
pub struct WaitingQuestions(mpsc::Receiver<MonitorQuestion>);

/// A running monitor, with its stop.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts no further probe, and stores all results.
    pub async fn stop(self) {
        self.stop.cancel();
        // A monitor that failed has already logged that.
        let _ = self.task.await;
    }
}

/// A handle whose questions wait until a monitor answers them.
pub fn prepare() -> (Monitor, WaitingQuestions) {
    let (asks, asked) = mpsc::channel(ASKS_CAPACITY);
    (Monitor { asks }, WaitingQuestions(asked))
}

/// Starts watching, from the store. Open runs must be recovered before, so that their hosts are silent.
pub async fn start<W: Watchlist>(
    around: MonitorEnvironment<W>,
    asked: WaitingQuestions,
) -> Result<Running, StoreError> {
    let stop = CancellationToken::new();
    let actor = Actor::load(around.clone(), stop.clone()).await?;
    let task = tokio::spawn(keep_watching(around, actor, asked, stop.clone()));
    Ok(Running { stop, task })
}

/// Watches until it is stopped. After an internal failure it restarts from the store, which is consistent: a
/// batch is stored in one transaction.
async fn keep_watching<W: Watchlist>(
    around: MonitorEnvironment<W>,
    mut actor: Actor<W>,
    WaitingQuestions(mut asked): WaitingQuestions,
    stop: CancellationToken,
) {
    let mut pauses = RESTART_PAUSES.into_iter();
    let mut pause = Duration::ZERO;
    while caught(actor.run(&mut asked)).await.flatten().is_err() {
        tracing::error!("watching failed inside rollcall and starts again; please report it with this log");
        (around.failed)();
        pause = pauses.next().unwrap_or(pause);
        let Some(next) = load_again(&around, &stop, pause).await else { return };
        actor = next;
    }
}

/// Loads the state of the store after a pause, until that succeeds; `None` when rollcall stops.
async fn load_again<W: Watchlist>(
    around: &MonitorEnvironment<W>,
    stop: &CancellationToken,
    pause: Duration,
) -> Option<Actor<W>> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        match caught(Actor::load(around.clone(), stop.clone())).await {
            Ok(Ok(actor)) => return Some(actor),
            Ok(Err(error)) => tracing::error!(%error, "the watch state cannot be read; trying again"),
            Err(Panicked) => {
                tracing::error!("the watch state cannot be loaded; please report it with this log")
            }
        }
    }
}

impl Monitor {
    /// The state of all watched checks.
    pub async fn roll(&self) -> Result<Roll, StoreError> {
        self.ask(MonitorQuestion::Roll).await
    }

    /// The downtimes that are under way.
    pub async fn downtimes(&self) -> Result<Vec<Downtime>, StoreError> {
        self.ask(MonitorQuestion::Downtimes).await
    }

    /// Starts a downtime; returns it with its number.
    pub async fn begin_downtime(&self, downtime: Downtime) -> Result<Downtime, StoreError> {
        self.ask(|answer| MonitorQuestion::Begin(downtime, answer)).await?
    }

    /// Ends a downtime; `None` if none has this number.
    pub async fn end_downtime(&self, id: u64) -> Result<Option<Downtime>, StoreError> {
        self.ask(|answer| MonitorQuestion::End(id, answer)).await?
    }

    /// Acknowledges a problem; the error says why that is impossible.
    pub async fn acknowledge(&self, key: WatchedId, ack: Ack) -> Result<(), String> {
        self.ask(|answer| MonitorQuestion::Acknowledge(key, ack, answer))
            .await
            .map_err(|error| error.to_string())?
    }

    /// Waits until everything that was observed so far is in the store.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.ask(MonitorQuestion::Flush).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> MonitorQuestion) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.asks.send(ask(answer)).await;
        let why = |closed| if closed { STOPPING } else { FAILED_INSIDE };
        sent.map_err(|_| StoreError::Failed(STOPPING.into()))?;
        answered.await.map_err(|_| StoreError::Failed(why(self.asks.is_closed()).into()))
    }
}

const STOPPING: &str = "rollcall is stopping and watches nothing; try again when it is back";

const FAILED_INSIDE: &str = "watching failed inside rollcall and starts again from the stored state; try the same again. \
                             Please report it with the daemon's log";
