//! Drives runs: one loop for each, which appends, applies, publishes and acts, in this order. Knows the
//! domain and tokio; everything else is behind a port.

pub mod effect;
pub mod feed;
pub mod port;
pub mod recover;
pub mod script;
pub mod verify;

mod drive;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tokio::sync::watch;

use self::feed::{Control, Live, Over, Watch};
use self::port::{BalancerDriver, Clock, Prober, Remote, Store, StoreError};
use crate::domain::access::{Granted, Operator};
use crate::domain::name::RunId;
use crate::domain::plan::Plan;

/// The world, as the engine reaches it.
#[derive(Clone)]
pub struct Ports {
    pub remote: Arc<dyn Remote>,
    pub prober: Arc<dyn Prober>,
    pub balancers: Arc<dyn BalancerDriver>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
}

/// The handle by which doors start, follow and cancel runs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    ports: Ports,
    live: Arc<Mutex<BTreeMap<RunId, Arc<Live>>>>,
    /// The number of runs under way, for whoever waits until there are none.
    busy: Arc<watch::Sender<usize>>,
    draining: Arc<watch::Sender<bool>>,
}

/// One run in the number of those under way, until it is dropped.
struct Busy(Arc<watch::Sender<usize>>);

impl Busy {
    fn new(runs: &Arc<watch::Sender<usize>>) -> Busy {
        runs.send_modify(|runs| *runs += 1);
        Busy(runs.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|runs| *runs -= 1);
    }
}

/// Why a run was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("rollcall is stopping and starts nothing new; try again when it is back")]
    Draining,
}

impl Engine {
    /// An engine with nothing under way.
    pub fn new(ports: Ports) -> Engine {
        Engine {
            ports,
            live: Arc::default(),
            busy: Arc::new(watch::Sender::new(0)),
            draining: Arc::new(watch::Sender::new(false)),
        }
    }

    /// The ports, for answers that need no run.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Starts a run of `plan`. When this returns, the journal holds the run and its leases.
    pub async fn start(&self, granted: &Granted, plan: Plan) -> Result<Watch, StartError> {
        let by = granted.operator();
        // Counted before it is looked whether new runs are wanted: whoever waits for the number sees it.
        let busy = Busy::new(&self.busy);
        if *self.draining.borrow() {
            return Err(StartError::Draining);
        }
        let started = self.ports.store.create_run(&plan, by, self.ports.clock.now()).await?;
        let (live, requests) = Live::new(started.run, Arc::new(plan), by.name.clone());
        self.lives().insert(live.id, live.clone());
        let watch = Watch::new(live.clone());
        let engine = self.clone();
        tokio::spawn(async move {
            let _busy = busy;
            let driving = drive::drive(&engine.ports, &live, started, requests);
            if std::panic::AssertUnwindSafe(driving).catch_unwind().await.is_err() {
                live.close(Over::Broken(
                    "rollcall failed inside; please report it with the daemon's log".into(),
                ));
            }
            engine.lives().remove(&live.id);
        });
        if *self.draining.borrow() {
            // It began while rollcall was told to stop: no host of it begins.
            self.cancel(watch.live().id, by, false).await;
        }
        Ok(watch)
    }

    /// Follows a run that is under way; `None` when it is not.
    pub fn watch(&self, run: RunId) -> Option<Watch> {
        self.lives().get(&run).cloned().map(Watch::new)
    }

    /// Asks a run to stop. False when it is not under way.
    pub async fn cancel(&self, run: RunId, by: &Operator, now: bool) -> bool {
        let live = self.lives().get(&run).cloned();
        let Some(live) = live else { return false };
        let (by, key) = (by.name.clone(), by.key.clone());
        live.control.send(Control::Cancel { by, key, now }).await.is_ok()
    }

    /// Starts nothing new from now on, lets no further host begin, and waits until nothing is under way.
    pub async fn drain(&self, by: &Operator) {
        self.draining.send_replace(true);
        for run in self.under_way() {
            self.cancel(run, by, false).await;
        }
        self.idle().await;
    }

    /// Waits until nothing is under way.
    pub async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // The sender lives in `self`, so waiting cannot fail before the number is 0.
        let _ = busy.wait_for(|runs| *runs == 0).await;
    }

    /// The numbers of the runs under way.
    pub fn under_way(&self) -> Vec<RunId> {
        self.lives().keys().copied().collect()
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
