//! The engine's ports that the simulation implements itself: a clock of virtual time, and the real store on
//! the runtime's own thread, so that no other thread has a say in the order of things.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollcall::domain::ask::access::Operator;
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::plan::plan::Plan;
use rollcall::domain::plan::release::{ReleaseMark, ReleaseTakeover};
use rollcall::domain::run::event::{Event, EventKind};
use rollcall::domain::run::record::{Debt, RunSummary};
use rollcall::domain::task::facts::Gathered;
use rollcall::port::{Clock, RunStart, Store, StoreError, StoredRun};
use tokio::time::Instant;

use super::ledger::Ledger;

/// When every simulation begins.
const EPOCH_SECONDS: i64 = 1_700_000_000;

/// Virtual time.
pub struct SimClock {
    begun: Instant,
}

impl SimClock {
    /// A clock that begins now.
    pub fn new() -> SimClock {
        SimClock { begun: Instant::now() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH_SECONDS).expect("a time");
        epoch.checked_add(self.begun.elapsed()).expect("a time")
    }
}

/// The real store; the ledger sees what it holds before anybody else does.
pub struct InlineStore(pub Arc<Ledger>);

#[async_trait]
impl Store for InlineStore {
    async fn create_run(&self, plan: &Plan, by: &Operator, start: RunStart) -> Result<Event, StoreError> {
        let event = self.0.store.create_run_now(plan, by, start)?;
        self.0.recorded(std::slice::from_ref(&event));
        Ok(event)
    }

    async fn take_leases(&self, run: RunId, now: Timestamp) -> Result<(), StoreError> {
        self.0.store.take_leases_now(run, now)
    }

    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError> {
        let events = self.0.store.append_now(run, at, kinds)?;
        self.0.recorded(&events);
        Ok(events)
    }

    async fn run_of_request(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        self.0.store.run_of_request_now(by, key)
    }

    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.0.store.load_now(run)
    }

    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.0.store.runs_now(last)
    }

    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError> {
        self.0.store.open_runs_now()
    }

    async fn debts(&self) -> Result<Vec<Debt>, StoreError> {
        self.0.store.debts_now()
    }

    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError> {
        self.0.store.taken_now()
    }

    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError> {
        self.0.store.facts_now()
    }

    async fn marks(&self) -> Result<Vec<ReleaseMark>, StoreError> {
        self.0.store.marks_now()
    }

    async fn mark(&self, mark: ReleaseMark) -> Result<(), StoreError> {
        self.0.store.mark_now(&mark)
    }
}
