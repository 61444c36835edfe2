//! What the journal held at every instant, and what happened in the world. Hosts and the balancer look here
//! before anything takes effect, so that an effect without its intent is seen when it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::base::outcome::Outcome;
use rollcall::domain::plan::plan::Plan;
use rollcall::domain::run::event::{BracketDirection, Event, EventKind};
use rollcall::domain::run::run::Run;
use rollcall::domain::task::task::{Step, StepBody};
use rollcall::domain::value::expansion::readable;
use rollcall::store::SqliteStore;
use tokio::time::Instant;

use super::world::GROUP;

/// The number that the run will get: it is the first of its store.
pub const RUN: RunId = RunId(1);

/// Faults that are kept; the first tell most.
const FAULTS_KEPT: usize = 20;

/// See the module.
pub struct Ledger {
    pub store: SqliteStore,
    pub plan: Arc<Plan>,
    /// Hosts that somebody else holds out of the balancer.
    pub foreign: BTreeSet<HostName>,
    begun: Instant,
    book: Mutex<Book>,
}

/// What is written in it.
pub struct Book {
    pub events: Vec<Event>,
    pub shadow: Run,
    /// By operation id.
    pub executions: BTreeMap<String, Execution>,
    /// How attempts ended, as the journal says.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Hosts that the balancer's running configuration leaves out, and those that its file does.
    pub out: BTreeSet<HostName>,
    pub out_in_file: BTreeSet<HostName>,
    pub faults: Vec<String>,
    pub trace: Vec<String>,
    latest: BTreeMap<HostName, Latest>,
    drains: BTreeSet<HostName>,
    enables: BTreeSet<HostName>,
}

/// How often an operation was begun and brought to an end on its host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Execution {
    /// It does no harm when it is done again.
    pub repeats: bool,
    pub begun: u32,
    pub changed: u32,
}

/// The last attempt that the journal announced for a host.
#[derive(Clone)]
struct Latest {
    operation: String,
    way: BracketDirection,
    step: usize,
}

/// What a host is about to do.
pub enum Work<'a> {
    /// A step's own script.
    Run(&'a str),
    /// A script of rollcall's that carries its operation in a name.
    Named(&'a str),
    /// One that does not.
    Mode,
}

impl Ledger {
    /// An empty one.
    pub fn new(store: SqliteStore, plan: Arc<Plan>, foreign: BTreeSet<HostName>) -> Ledger {
        let book = Book {
            events: Vec::new(),
            shadow: Run::new(RUN, (*plan).clone()),
            executions: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            out: foreign.clone(),
            out_in_file: foreign.clone(),
            faults: Vec::new(),
            trace: Vec::new(),
            latest: BTreeMap::new(),
            drains: BTreeSet::new(),
            enables: BTreeSet::new(),
        };
        Ledger { store, plan, foreign, begun: Instant::now(), book: Mutex::new(book) }
    }

    /// To look into it.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an invariant does not hold.
    pub fn fault(&self, invariant: &str, what: &str) {
        let at = self.begun.elapsed();
        let mut book = self.book();
        if book.faults.len() < FAULTS_KEPT {
            book.faults.push(format!("{invariant}, after {at:?}: {what}"));
        }
    }

    /// Notes something that happened on a host.
    pub fn happened(&self, host: &str, what: &str) {
        let at = self.begun.elapsed().as_micros();
        self.book().trace.push(format!("{at} {host} {what}"));
    }

    /// Takes in what the journal holds from now on.
    pub fn recorded(&self, events: &[Event]) {
        for event in events {
            let at = self.begun.elapsed().as_micros();
            let text = serde_json::to_string(event).expect("an event as JSON");
            let applied = {
                let mut book = self.book();
                book.trace.push(format!("{at} journal {text}"));
                book.take_in(event);
                book.shadow.apply(event)
            };
            if let Err(illegal) = applied {
                self.fault("I9 fold determinism", &illegal.to_string());
            }
            if matches!(event.kind, EventKind::DrainEnded { .. } | EventKind::EnableEnded { .. }) {
                self.check_orphans();
            }
        }
    }

    /// A host begins to work on a step; the operation it does so for.
    pub fn begin(&self, host: &HostName, work: &Work<'_>) -> Option<String> {
        let latest = self.book().latest.get(host).cloned();
        let Some(latest) = latest.filter(|latest| self.fits(host, latest, work)) else {
            self.fault("I1 intent before effect", &format!("{host} works on what no journal announced"));
            return None;
        };
        let operation = latest.operation;
        let (outcome, times, serving) = {
            let mut book = self.book();
            let execution = book.executions.entry(operation.clone()).or_default();
            execution.begun += 1;
            execution.repeats = !matches!(work, Work::Run(_));
            let times = if execution.repeats { 1 } else { execution.begun };
            (book.outcomes.get(&operation).cloned(), times, !book.out.contains(host))
        };
        if times > 1 {
            self.fault("I5 at most one execution", &format!("{operation} is executed {times} times"));
        }
        let known = outcome.filter(|outcome| !matches!(outcome, Outcome::Lost { .. }));
        if let (Some(outcome), Work::Run(_)) = (known, work) {
            self.fault(
                "I13 three-valued outcomes",
                &format!("{operation} begins after it was told {outcome:?}"),
            );
        }
        if serving {
            self.fault("I3 drained before work", &format!("{operation} works on a host that is in rotation"));
        }
        self.happened(host.as_str(), &format!("begins {operation}"));
        Some(operation)
    }

    /// The work took effect.
    pub fn changed(&self, host: &HostName, operation: Option<&str>) {
        let Some(operation) = operation else { return };
        let told = {
            let mut book = self.book();
            book.executions.entry(operation.into()).or_default().changed += 1;
            book.outcomes.get(operation).cloned()
        };
        if let Some(told) = told.filter(|told| !matches!(told, Outcome::Lost { .. })) {
            let what = format!("{operation} takes effect after it was told {told:?}");
            self.fault("I13 three-valued outcomes", &what);
        }
        self.happened(host.as_str(), &format!("did {operation}"));
    }

    fn fits(&self, host: &HostName, latest: &Latest, work: &Work<'_>) -> bool {
        let plan = &self.plan.hosts[host];
        let steps: &[Step] = if latest.way == BracketDirection::Back { &plan.rollback } else { &plan.steps };
        match (work, &steps[latest.step].body) {
            (Work::Run(asked), StepBody::Run { script, .. }) => *asked == readable(script),
            (Work::Named(name), StepBody::Link { .. } | StepBody::Upload { .. }) => {
                name.starts_with(&format!("rollcall-{}.", latest.operation.replace('/', "-")))
            }
            (Work::Mode, StepBody::Upload { .. }) => true,
            _ => false,
        }
    }

    /// The balancer's file or its running configuration has changed.
    pub fn balanced(&self, file: BTreeSet<HostName>, running: BTreeSet<HostName>) {
        let unannounced: Vec<HostName> = {
            let mut book = self.book();
            let outward = file.difference(&book.out_in_file).filter(|host| !book.drains.contains(*host));
            let inward = book
                .out_in_file
                .difference(&file)
                .filter(|host| !book.enables.contains(*host) && !book.drains.contains(*host));
            let unannounced = outward.chain(inward).cloned().collect();
            (book.out_in_file, book.out) = (file, running);
            unannounced
        };
        if !unannounced.is_empty() {
            let what = format!("the balancer changes {unannounced:?}, which no journal announced");
            self.fault("I1 intent before effect", &what);
        }
        self.check_orphans();
    }

    /// Whoever is out, and not by others, is owed.
    pub fn check_orphans(&self) {
        let debts = self.store.debts_now().expect("debts");
        let owed: BTreeSet<HostName> =
            debts.into_iter().filter(|debt| debt.balancer == GROUP).map(|debt| debt.host).collect();
        let orphans: Vec<HostName> = {
            let book = self.book();
            let out = book.out.union(&book.out_in_file);
            out.filter(|host| !owed.contains(*host) && !self.foreign.contains(*host)).cloned().collect()
        };
        if !orphans.is_empty() {
            self.fault("I3 no orphan", &format!("{orphans:?} are out of rotation, and no debt says so"));
        }
    }
}

impl Book {
    fn take_in(&mut self, event: &Event) {
        self.events.push(event.clone());
        match &event.kind {
            EventKind::StepStarted { host, way, step, .. } => {
                let operation = event.kind.operation(event.run).expect("an intent has an operation");
                self.latest.insert(host.clone(), Latest { operation, way: *way, step: *step });
            }
            EventKind::StepEnded { host, outcome, .. } => {
                if let Some(latest) = self.latest.get(host) {
                    self.outcomes.insert(latest.operation.clone(), outcome.clone());
                }
            }
            EventKind::DrainStarted { hosts, .. } => self.drains.extend(hosts.iter().cloned()),
            EventKind::EnableStarted { hosts, .. } => self.enables.extend(hosts.iter().cloned()),
            _ => {}
        }
    }
}
