//! Runs: the state of one execution, which is the fold of its events. [`Run::apply`] is the only
//! mutator; the live engine and recovery both use it, and an event that does not fit is an error that
//! names both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::bracket::{Forgotten, HostState, Phase, Roll, Route};
use super::event::{Event, EventKind, Pause, PausedUntil, Then, Way};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, FailureKind, RunOutcome, Verdict};
use crate::domain::plan::plan::{Kind, Plan};
use crate::domain::task::hook::{Hook, Progress};
use crate::domain::task::task::{OnFailure, StepBody};

/// Hexadecimal digits of a run's mark.
const MARK_DIGITS: usize = 8;

/// Retries of a task's step that certainly did not start, in spite of its `retries`: nothing
/// was done, and the host may be reachable again in a moment.
const RETRIES_UNBEGUN: u32 = 2;

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub plan: Plan,
    pub started: bool,
    /// Index of the batch that is under way; `None` before the first.
    pub batch: Option<usize>,
    pub hosts: BTreeMap<HostName, HostState>,
    pub stopped: Option<String>,
    pub cancel: Option<Cancel>,
    pub pause: Option<Pause>,
    /// The pause that the plan asks for is over or under way.
    pub has_paused: bool,
    /// Steps that one host runs for all: which host, and the index of the step there.
    pub once: BTreeMap<String, (HostName, usize)>,
    /// Steps that asked for an approval and received it.
    pub confirmed: BTreeSet<String>,
    /// All hosts that it has released have to be rolled back.
    pub rolls_back: bool,
    /// When the last host became healthy, or the wait for that started.
    pub progress_at: Option<Timestamp>,
    pub asked: Asked,
    /// The progress of its hooks.
    pub hooks: Progress,
    /// Snapshots that are under way or done, by their index in the plan.
    pub snapshots: BTreeMap<usize, Taking>,
    pub outcome: Option<RunOutcome>,
}

/// The operator who asked for the run, the digest of the plan, and the mark of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub by: String,
    pub key: String,
    pub plan_sha256: String,
    /// Distinguishes this run from another one with its number: a restored store can assign a number again.
    pub mark: String,
}

/// The progress of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum Taking {
    /// These hosts receive the results.
    Running(Vec<HostName>),
    Done,
}

/// An operator's request to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    pub by: String,
    /// Ends running steps, too.
    pub now: bool,
}

/// An event that does not fit the state: a bug, or a journal that was changed by hand.
#[derive(Debug, PartialEq)]
pub struct IllegalEvent {
    pub event: String,
    pub state: String,
}

impl fmt::Display for IllegalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event {} does not fit the state {}", self.event, self.state)
    }
}

impl std::error::Error for IllegalEvent {}

impl Run {
    /// A run of `plan` without any event.
    pub fn new(id: RunId, plan: Plan) -> Run {
        let first = match plan.kind {
            // The hosts were drained by any run: this one only enables them.
            Kind::Enable => HostState {
                owed: true,
                phase: Phase::Verified { way: Way::Return, not_before: None },
                ..HostState::default()
            },
            // The hosts are only drained: no release is read before.
            Kind::Drain => HostState { phase: Phase::Ready { way: Way::Forward }, ..HostState::default() },
            _ => HostState::default(),
        };
        let hosts = plan.hosts.keys().map(|name| (name.clone(), first.clone())).collect();
        Run {
            id,
            plan,
            started: false,
            batch: None,
            hosts,
            stopped: None,
            cancel: None,
            pause: None,
            has_paused: false,
            once: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            rolls_back: false,
            progress_at: None,
            asked: Asked::default(),
            hooks: Progress::default(),
            snapshots: BTreeMap::new(),
            outcome: None,
        }
    }

    /// The run that results from these events.
    pub fn replay<'a>(
        id: RunId,
        plan: Plan,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Run, IllegalEvent> {
        let mut run = Run::new(id, plan);
        for event in events {
            run.apply(event)?;
        }
        Ok(run)
    }

    /// Hosts that failed in any way, for the budget.
    pub fn failures(&self) -> usize {
        self.hosts.values().filter(|host| counts(host)).count()
    }

    /// True once no further host may start.
    pub fn is_halted(&self) -> bool {
        self.stopped.is_some() || self.cancel.is_some()
    }

    /// True while no further host may start, for now or until the run ends.
    pub fn holds_back(&self) -> bool {
        self.is_halted() || self.pause.is_some()
    }

    /// Batches that have started.
    pub fn batches_begun(&self) -> usize {
        self.batch.map_or(0, |at| at + 1)
    }

    /// True when the next batch need not wait for this host: it ended, or it is healthy in
    /// rotation, or its health check has failed.
    pub fn is_through(&self, host: &HostState) -> bool {
        match host.phase {
            Phase::Settled { .. } => true,
            Phase::Serving { way: Way::Forward, .. } if self.plan.has_bracket() && !self.is_halted() => {
                host.health.healthy || host.health.failed
            }
            Phase::Serving { roll, .. } => roll != Some(Roll::Watching),
            _ => false,
        }
    }

    /// The hosts in their bracket that a balancer must not send requests to, by balancer.
    pub fn drained(&self) -> BTreeMap<String, Vec<HostName>> {
        let mut found: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
        let out = |host: &HostState| host.owed && host.phase.stays_out() && host.forgotten == Forgotten::No;
        for (name, _) in self.hosts.iter().filter(|(_, host)| out(host)) {
            if let Some(seat) = self.plan.hosts.get(name).and_then(|plan| plan.balancer.as_ref()) {
                found.entry(seat.balancer.clone()).or_default().push(name.clone());
            }
        }
        found
    }

    /// True while a host is neither where it was before nor back in rotation.
    pub fn has_host_in_bracket(&self) -> bool {
        let idle = |phase: &Phase| {
            matches!(phase, Phase::Waiting | Phase::Settled { .. } | Phase::Serving { .. })
                || matches!(phase, Phase::Ready { .. })
        };
        self.hosts.values().any(|host| !idle(&host.phase))
    }

    /// True while a comparison with other hosts is still due for this host.
    pub fn is_to_be_compared(&self, name: &HostName) -> bool {
        let due = |at: &usize| self.snapshots.get(at) != Some(&Taking::Done);
        let mut of_host =
            self.plan.snapshots.iter().enumerate().filter(|(_, snapshot)| snapshot.told.contains(name));
        of_host.any(|(at, _)| due(&at))
    }

    /// The hosts of the batch that is under way.
    pub fn batch_hosts(&self) -> &[HostName] {
        self.batch.and_then(|at| self.plan.batches.get(at)).map_or(&[], Vec::as_slice)
    }

    /// Applies one event. On error the run is unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.check(&event.kind)?;
        match &event.kind {
            EventKind::RunStarted { by, key, plan_sha256, .. } => {
                let mark = sha256_hex(format!("{plan_sha256} {} {}", event.seq, event.at).as_bytes());
                let (by, key, plan_sha256) = (by.clone(), key.clone(), plan_sha256.clone());
                self.asked = Asked { by, key, plan_sha256, mark: mark.chars().take(MARK_DIGITS).collect() };
                self.started = true;
                self.progress_at = Some(event.at);
            }
            EventKind::BatchStarted { batch, .. } => {
                self.batch = Some(*batch);
                self.progress_at = Some(event.at);
            }
            EventKind::Stopped { why } => {
                self.stopped = Some(why.clone());
                self.rolls_back |= self.plan.rollout.on_failure == OnFailure::RollbackAll;
            }
            EventKind::CancelRequested { by, now, .. } => {
                let now = *now || self.cancel.as_ref().is_some_and(|cancel| cancel.now);
                self.cancel = Some(Cancel { by: by.clone(), now });
            }
            EventKind::Paused(pause) => {
                let planned = matches!(pause.until, PausedUntil::Time(_) | PausedUntil::Approved);
                self.has_paused |= planned && pause.step.is_none();
                self.pause = Some(pause.clone());
            }
            EventKind::Resumed { .. } | EventKind::Approved { .. } => {
                let asked = self.pause.take().and_then(|pause| pause.step);
                self.confirmed.extend(asked);
                self.hosts.values_mut().for_each(|host| host.inconclusive = None);
                self.clocks_begin_anew(event.at);
            }
            EventKind::Recovered { then, why, .. } => self.recovered(*then, why, event.at),
            EventKind::DebtSettled { host, .. } => {
                if let Some(host) = self.hosts.get_mut(host) {
                    host.owed = false;
                }
            }
            EventKind::HookStarted { hook, step, .. } => self.hooks.begin(*hook, *step),
            EventKind::HookEnded { hook, step, outcome, .. } => {
                self.hooks.end(&self.plan.hooks, *hook, *step, outcome);
                if *hook == Hook::Before {
                    self.stopped = self.stopped.take().or(self.hooks.failed.clone());
                }
            }
            EventKind::RunEnded { outcome } => self.outcome = Some(*outcome),
            kind => self.apply_to_hosts(event, kind.hosts()),
        }
        Ok(())
    }

    fn apply_to_hosts(&mut self, event: &Event, names: &[HostName]) {
        self.note_once(&event.kind);
        match &event.kind {
            EventKind::SnapshotStarted { snapshot, hosts, .. } => {
                self.snapshots.insert(*snapshot, Taking::Running(hosts.clone()));
            }
            EventKind::SnapshotEnded { snapshot, .. } => _ = self.snapshots.insert(*snapshot, Taking::Done),
            _ => {}
        }
        let halted = self.is_halted();
        for name in names {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            let was_well = host.health.healthy;
            let route = Route { halted, ..route(&self.plan, name, &host.phase) };
            host.apply(name, event, &route);
            if host.health.healthy && !was_well {
                self.progress_at = Some(event.at);
            }
        }
        // A host is in service again: there may be room for those that wait.
        if let EventKind::EnableEnded { .. } = event.kind {
            let crowded = self.hosts.values_mut().filter_map(|host| host.crowded.as_mut());
            crowded.for_each(|crowded| crowded.retry_at = event.at);
        }
    }

    /// The host that starts a step for all owns it; another host owns it only if the step never started.
    fn note_once(&mut self, kind: &EventKind) {
        let EventKind::StepStarted { host, way: Way::Forward, step, .. } = kind else { return };
        let plan = self.plan.hosts.get(host).and_then(|plan| plan.steps.get(*step));
        if let Some(once) = plan.filter(|plan| plan.run_once) {
            self.once.insert(once.identity().into(), (host.clone(), *step));
        }
    }

    /// Time in which the run could make no progress does not count against its deadlines.
    fn clocks_begin_anew(&mut self, at: Timestamp) {
        self.progress_at = Some(at);
        let crowded = self.hosts.values_mut().filter_map(|host| host.crowded.as_mut());
        crowded.for_each(|crowded| (crowded.since, crowded.retry_at) = (at, at));
    }

    fn recovered(&mut self, then: Then, why: &str, at: Timestamp) {
        self.clocks_begin_anew(at);
        self.pause.take_if(|pause| pause.until == PausedUntil::Restart);
        match then {
            Then::GoesOn => {}
            Then::Pauses => {
                let (why, by, key) = (why.to_string(), "rollcall".to_string(), String::new());
                // A bake time that passed while rollcall was away proves nothing.
                self.pause.take_if(|pause| matches!(pause.until, PausedUntil::Time(_)));
                self.pause.get_or_insert(Pause { why, by, key, until: PausedUntil::Resumed, step: None });
            }
            Then::Stops => _ = self.stopped.get_or_insert(why.to_string()),
            Then::RollsBack => {
                self.stopped.get_or_insert(why.to_string());
                self.rolls_back = true;
            }
        }
    }

    /// An error if an event of this kind would not fit.
    pub fn check(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        let fits = match kind {
            EventKind::RunStarted { .. } => !self.started,
            EventKind::BatchStarted { batch, .. } => {
                self.is_open()
                    && *batch == self.batch.map_or(0, |at| at + 1)
                    && *batch < self.plan.batches.len()
            }
            EventKind::Stopped { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::Paused(_)
            | EventKind::Recovered { .. } => self.is_open(),
            EventKind::Resumed { .. } => {
                let waits = self.pause.as_ref().is_some_and(|pause| pause.until != PausedUntil::Approved);
                self.is_open() && waits
            }
            EventKind::Approved { plan_sha256, .. } => {
                let waits = self.pause.as_ref().is_some_and(|pause| pause.until == PausedUntil::Approved);
                self.is_open() && waits && *plan_sha256 == self.asked.plan_sha256
            }
            EventKind::DebtSettled { host, .. } => {
                self.outcome.is_some() && self.hosts.get(host).is_some_and(|host| host.owed)
            }
            EventKind::HookStarted { hook, step, .. } => {
                self.is_open() && self.hooks.fits(&self.plan.hooks, *hook, *step)
            }
            EventKind::HookEnded { hook, step, .. } => self.hooks.running == Some((*hook, *step)),
            EventKind::RunEnded { .. } => {
                self.is_open()
                    && self.hooks.running.is_none()
                    && self.hosts.values().all(|host| matches!(host.phase, Phase::Settled { .. }))
            }
            EventKind::SnapshotStarted { snapshot, hosts, .. } => {
                self.is_open()
                    && *snapshot < self.plan.snapshots.len()
                    && !self.snapshots.contains_key(snapshot)
                    && hosts.iter().all(|name| self.hosts.contains_key(name))
            }
            EventKind::SnapshotEnded { snapshot, hosts, results, .. } => {
                self.is_open()
                    && self.snapshots.get(snapshot) == Some(&Taking::Running(hosts.clone()))
                    && results.len() == hosts.len()
            }
            kind => {
                self.is_open()
                    && !kind.hosts().is_empty()
                    && kind
                        .hosts()
                        .iter()
                        .all(|name| self.hosts.get(name).is_some_and(|host| host.fits(kind)))
            }
        };
        if fits { Ok(()) } else { Err(self.illegal(kind)) }
    }

    fn is_open(&self) -> bool {
        self.started && self.outcome.is_none()
    }

    fn illegal(&self, kind: &EventKind) -> IllegalEvent {
        let phases: Vec<String> = kind
            .hosts()
            .iter()
            .map(|name| format!("{name}: {:?}", self.hosts.get(name).map(|host| &host.phase)))
            .collect();
        let state = format!(
            "of run {} (started {}, batch {:?}, outcome {:?}) {}",
            self.id,
            self.started,
            self.batch,
            self.outcome,
            phases.join(", ")
        );
        IllegalEvent { event: format!("{kind:?}"), state }
    }

    /// How the run ended, folded from its hosts.
    pub fn fold_outcome(&self) -> RunOutcome {
        let ends = || self.hosts.values().filter_map(|host| host.end());
        if self.plan.kind == Kind::Check && self.cancel.is_none() {
            return RunOutcome::Checked(Verdict::worst(self.hosts.values().map(verdict_of)));
        }
        let half_done = |end: End| self.plan.has_bracket() && end == End::Failed;
        let as_wished = self.plan.kind == Kind::Drain && self.failures() == 0;
        if !as_wished && ends().any(|end| end.needs_person() || half_done(end)) {
            return RunOutcome::NeedsPerson;
        }
        if self.cancel.is_some() {
            return RunOutcome::Cancelled;
        }
        let failures: Vec<FailureKind> = self
            .hosts
            .values()
            .filter(|host| counts(host))
            .filter_map(|host| host.failure.as_ref())
            .map(|failure| failure.kind)
            .collect();
        // No host failed, but for one of them nothing was done: there was no room, or the run stopped before its turn.
        let undone = ends().any(|end| end == End::NotStarted);
        match failures[..] {
            [] if self.hooks.failed.is_some() || undone => RunOutcome::Failed,
            [] => RunOutcome::Done,
            _ if failures.iter().all(|kind| *kind == FailureKind::Unreachable) => RunOutcome::Unreachable,
            _ => RunOutcome::Failed,
        }
    }
}

/// The parts of the plan that the transitions of a host need.
fn route<'a>(plan: &'a Plan, name: &HostName, phase: &Phase) -> Route<'a> {
    let host = plan.hosts.get(name);
    let step = host.and_then(|host| match phase {
        Phase::Working { way: Way::Back, step, .. } => host.rollback.get(*step),
        Phase::Working { step, .. } => host.steps.get(*step),
        _ => host.steps.first(),
    });
    Route {
        rollout: &plan.rollout,
        forward: host.map_or(0, |host| host.steps.len()),
        back: host.map_or(0, |host| host.rollback.len()),
        retries: step.map_or(0, |step| step.retries),
        retries_unbegun: match plan.task() {
            Some(_) => step.map_or(0, |step| step.retries).max(RETRIES_UNBEGUN),
            None => 0,
        },
        delay: step.map_or_else(Default::default, |step| step.delay),
        warn_only: step.is_some_and(|step| step.warn_only),
        repeatable: step.is_some_and(|step| step.repeatable),
        register: step.and_then(|step| step.register.as_deref()),
        looks: step.is_some_and(|step| matches!(step.body, StepBody::Facts { .. })),
        drains: host.is_some_and(|host| host.balancer.is_some()),
        gated: host.is_some_and(|host| !host.checks.is_empty()),
        held: host.is_some_and(|host| host.held),
        halted: false,
        stays_at: host
            .filter(|host| host.current)
            .map(|host| host.steps.iter().find_map(|step| step.body.link()).map(|(to, _)| to)),
    }
}

fn counts(host: &HostState) -> bool {
    host.failure.as_ref().is_some_and(|failure| failure.kind != FailureKind::Cancelled)
}

/// The verdict of one host in a check run: its worst result, or unknown if it could not be probed.
fn verdict_of(host: &HostState) -> Verdict {
    match host.end() {
        Some(End::Unknown | End::NotStarted) | None => {
            Verdict::worst(host.checks.iter().map(|result| result.verdict).chain([Verdict::Unknown]))
        }
        Some(_) => Verdict::worst(host.checks.iter().map(|result| result.verdict)),
    }
}
