//! Death of the daemon at a chosen point: before or after any write to the journal, and before or after
//! anything that it does in the world. What is dead never answers again; the world goes on without it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rollcall::domain::ask::access::Operator;
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::inventory::inventory::Endpoint;
use rollcall::domain::plan::plan::Plan;
use rollcall::domain::plan::release::{ReleaseMark, ReleaseTakeover};
use rollcall::domain::run::event::{Event, EventKind};
use rollcall::domain::run::record::{Debt, RunSummary};
use rollcall::domain::task::facts::Gathered;
use rollcall::port::{
    Exec, ExecReport, HostKey, OpenError, Remote, RunStart, Store, StoreError, StoredRun, Stream,
};
use tokio_util::sync::CancellationToken;

/// One life of the daemon, and the point at which it ends.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    /// The number of the point at which it dies; `None` for never.
    dies_at: Option<usize>,
    passed: AtomicUsize,
    names: Mutex<Vec<String>>,
    dead: CancellationToken,
}

impl Life {
    /// A life that ends at the point with this number, counted from 0.
    pub fn new(dies_at: Option<usize>) -> Life {
        let dead = CancellationToken::new();
        Life(Arc::new(Inner { dies_at, passed: AtomicUsize::new(0), names: Mutex::default(), dead }))
    }

    /// Comes when it is over.
    pub async fn death(&self) {
        self.0.dead.cancelled().await;
    }

    /// The names of the points that it passed.
    pub fn points(&self) -> Vec<String> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A point. Whoever is dead does not come back from it.
    async fn point(&self, name: impl FnOnce() -> String) {
        if !self.0.dead.is_cancelled() {
            let number = self.0.passed.fetch_add(1, Ordering::Relaxed);
            self.0.names.lock().unwrap_or_else(PoisonError::into_inner).push(name());
            if Some(number) == self.0.dies_at {
                self.0.dead.cancel();
            }
        }
        if self.0.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    async fn around<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        self.point(|| format!("before {name}")).await;
        let value = tokio::select! {
            biased;
            () = self.death() => std::future::pending().await,
            value = work => value,
        };
        self.point(|| format!("after {name}")).await;
        value
    }
}

/// The fleet of a daemon that will die.
pub struct MortalFleet {
    pub life: Life,
    pub real: Arc<dyn Remote>,
}

#[async_trait]
impl Remote for MortalFleet {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        self.life.around(&format!("exec on {}", host.name), self.real.exec(host, request)).await
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.life.around("open", self.real.open(host, address, port)).await
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        self.life.around("open unix", self.real.open_unix(host, path)).await
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        self.real.host_key(host).await
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        self.real.accept_host_key(host, fingerprint).await
    }
}

/// The store of a daemon that will die; what it has taken in stays.
pub struct MortalStore {
    pub life: Life,
    pub real: Arc<dyn Store>,
}

fn names(kinds: &[EventKind]) -> String {
    let name = |kind: &EventKind| {
        let json = serde_json::to_value(kind).expect("an event as JSON");
        json["type"].as_str().unwrap_or_default().to_string()
    };
    kinds.iter().map(name).collect::<Vec<_>>().join("+")
}

#[async_trait]
impl Store for MortalStore {
    async fn create_run(&self, plan: &Plan, by: &Operator, start: RunStart) -> Result<Event, StoreError> {
        self.real.create_run(plan, by, start).await
    }

    async fn take_leases(&self, run: RunId, now: Timestamp) -> Result<(), StoreError> {
        self.real.take_leases(run, now).await
    }

    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError> {
        let name = format!("append {}", names(&kinds));
        self.life.around(&name, self.real.append(run, at, kinds)).await
    }

    async fn run_of_request(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        self.real.run_of_request(by, key).await
    }

    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.real.load(run).await
    }

    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.real.runs(last).await
    }

    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError> {
        self.real.open_runs().await
    }

    async fn debts(&self) -> Result<Vec<Debt>, StoreError> {
        self.real.debts().await
    }

    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError> {
        self.real.taken().await
    }

    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError> {
        self.real.facts().await
    }

    async fn marks(&self) -> Result<Vec<ReleaseMark>, StoreError> {
        self.real.marks().await
    }

    async fn mark(&self, mark: ReleaseMark) -> Result<(), StoreError> {
        self.real.mark(mark).await
    }
}
