//! Runs: the state of one execution, which is the fold of its events. [`Run::apply`] is the only
//! mutator; the live engine and recovery both use it, and an event that does not fit is an error that
//! names both.

mod apply;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::bracket::HostState;
use super::event::{Event, Pause};
use super::index::{HostIndex, counts_as_failed, is_through};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, FailureKind, RunOutcome, Verdict};
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::task::hook::HookProgress;

/// Hexadecimal digits of a run's mark.
const MARK_DIGITS: usize = 8;

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    id: RunId,
    plan: Plan,
    started: bool,
    /// Index of the batch that is under way; `None` before the first.
    batch: Option<usize>,
    hosts: BTreeMap<HostName, HostState>,
    /// Follows from `plan` and `hosts`.
    index: HostIndex,
    stopped: Option<String>,
    cancel: Option<Cancel>,
    pause: Option<Pause>,
    /// The pause that the plan asks for is over or under way.
    has_paused: bool,
    /// The approval that its plan needs before anything starts was asked for.
    has_asked_approval: bool,
    /// Steps that one host runs for all: which host, and the index of the step there.
    once: BTreeMap<String, (HostName, usize)>,
    /// Steps that asked for an approval and received it.
    confirmed: BTreeSet<String>,
    /// All hosts that it has released have to be rolled back.
    rolls_back: bool,
    /// When the last host became healthy, or the wait for that started.
    progress_at: Option<Timestamp>,
    asked: RunOrigin,
    /// The progress of its hooks.
    hooks: HookProgress,
    /// Snapshots that are under way or done, by their index in the plan.
    snapshots: BTreeMap<usize, Taking>,
    outcome: Option<RunOutcome>,
}

/// The operator who asked for the run, the digest of the plan, and the mark of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunOrigin {
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
            RunKind::Enable => HostState::to_enable(),
            RunKind::Drain => HostState::to_drain(),
            RunKind::Release { .. }
            | RunKind::Task { .. }
            | RunKind::Run
            | RunKind::Check
            | RunKind::Facts
            | RunKind::DryRun { .. } => HostState::default(),
        };
        let hosts = plan.hosts.keys().map(|name| (name.clone(), first.clone())).collect();
        let index = HostIndex::new(&plan, &hosts);
        Run {
            id,
            plan,
            started: false,
            batch: None,
            hosts,
            index,
            stopped: None,
            cancel: None,
            pause: None,
            has_paused: false,
            has_asked_approval: false,
            once: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            rolls_back: false,
            progress_at: None,
            asked: RunOrigin::default(),
            hooks: HookProgress::default(),
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

    /// Its number.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// What it executes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// True once its first event is applied.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The state of every host of the plan.
    pub fn hosts(&self) -> &BTreeMap<HostName, HostState> {
        &self.hosts
    }

    /// The state of one host.
    pub fn host(&self, name: &HostName) -> Option<&HostState> {
        self.hosts.get(name)
    }

    /// Index of the batch that is under way; `None` before the first.
    pub fn batch(&self) -> Option<usize> {
        self.batch
    }

    /// Why no further host starts, if the run was stopped.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The request to cancel it, if there is one.
    pub fn cancel(&self) -> Option<&Cancel> {
        self.cancel.as_ref()
    }

    /// The pause that is under way.
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// True once the pause that the plan asks for is over or under way.
    pub fn has_paused(&self) -> bool {
        self.has_paused
    }

    /// True if its plan needs an approval that was not asked for yet.
    pub fn has_to_ask(&self) -> bool {
        self.plan.needs_approval && !self.has_asked_approval
    }

    /// The host that owns a step that one host runs for all, and the index of the step there.
    pub fn once(&self, step: &str) -> Option<&(HostName, usize)> {
        self.once.get(step)
    }

    /// True when an operator has approved this step.
    pub fn is_confirmed(&self, step: &str) -> bool {
        self.confirmed.contains(step)
    }

    /// True when all hosts that it has released have to be rolled back.
    pub fn rolls_back(&self) -> bool {
        self.rolls_back
    }

    /// When the last host became healthy, or the wait for that started.
    pub fn progress_at(&self) -> Option<Timestamp> {
        self.progress_at
    }

    /// The operator who asked for it, the digest of the plan, and the mark.
    pub fn asked(&self) -> &RunOrigin {
        &self.asked
    }

    /// The progress of its hooks.
    pub fn hooks(&self) -> &HookProgress {
        &self.hooks
    }

    /// Snapshots that are under way or done, by their index in the plan.
    pub fn snapshots(&self) -> &BTreeMap<usize, Taking> {
        &self.snapshots
    }

    /// How it ended; `None` while it is open.
    pub fn outcome(&self) -> Option<RunOutcome> {
        self.outcome
    }

    /// Hosts that failed in any way, for the budget.
    pub fn failures(&self) -> usize {
        self.index.failed()
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
        is_through(host, self.plan.has_bracket() && !self.is_halted())
    }

    /// The same for all hosts.
    pub fn all_through(&self) -> bool {
        self.index.all_through(self.is_halted())
    }

    /// True when each host of the batch that is under way was reached or abandoned.
    pub fn is_batch_observed(&self) -> bool {
        self.batch.is_none_or(|batch| self.index.is_batch_observed(batch))
    }

    /// True when the hosts of the batch that is under way are through.
    pub fn is_batch_through(&self) -> bool {
        self.batch.is_none_or(|batch| self.index.is_batch_through(batch, self.is_halted()))
    }

    /// The hosts in their bracket that a balancer must not send requests to, by balancer.
    pub fn drained(&self) -> BTreeMap<String, Vec<HostName>> {
        let hosts = self.index.drained().iter();
        hosts.map(|(balancer, hosts)| (balancer.clone(), hosts.iter().cloned().collect())).collect()
    }

    /// True while a host is neither where it was before nor back in rotation.
    pub fn has_host_in_bracket(&self) -> bool {
        self.index.has_host_in_bracket()
    }

    /// Steps that asked for an approval and received it.
    pub(super) fn confirmed(&self) -> &BTreeSet<String> {
        &self.confirmed
    }

    /// True when this host runs a step for all others, or has run it.
    pub(super) fn owns_step_for_all(&self, host: &HostName) -> bool {
        self.once.values().any(|(owner, _)| owner == host)
    }

    /// True for the hosts of the batch that is under way.
    pub(super) fn is_in_batch(&self, host: &HostName) -> bool {
        self.batch.is_some() && self.index.batch_of(host) == self.batch
    }

    /// Comparisons with other hosts that are done.
    pub(super) fn snapshots_done(&self) -> usize {
        self.snapshots.values().filter(|taking| **taking == Taking::Done).count()
    }

    /// Hosts at which a step with `throttle` is running.
    pub(super) fn running(&self, step: &str) -> usize {
        self.index.running(step)
    }

    pub(super) fn index(&self) -> &HostIndex {
        &self.index
    }

    /// True while a comparison with other hosts is still due for this host.
    pub fn is_to_be_compared(&self, name: &HostName) -> bool {
        let due = |at: &usize| self.snapshots.get(at) != Some(&Taking::Done);
        let mut of_host =
            self.plan.snapshots.iter().enumerate().filter(|(_, snapshot)| snapshot.reported.contains(name));
        of_host.any(|(at, _)| due(&at))
    }

    /// The hosts of the batch that is under way.
    pub fn batch_hosts(&self) -> &[HostName] {
        self.batch.and_then(|at| self.plan.batches.get(at)).map_or(&[], Vec::as_slice)
    }

    /// True when every host ended as the command wanted it. A host that never started is no failure of its own, and
    /// yet the command was not done.
    fn did_all(&self) -> bool {
        let drains = self.plan.kind == RunKind::Drain;
        self.hosts.values().filter_map(HostState::end).all(|end| match end {
            End::Released | End::Unchanged | End::Done => true,
            End::Held => drains,
            End::RolledBack | End::Failing | End::NotStarted | End::Unknown | End::Failed => false,
        })
    }

    /// The verdict of each host of a check run.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.hosts.values().map(verdict_of)
    }

    /// True when a cancel stopped nothing: every host ended as the command wanted it, all the same. A check was made
    /// when every host had begun and no probe was ended.
    pub fn cancel_was_late(&self) -> bool {
        let Some(cancel) = &self.cancel else { return false };
        let ends = || self.hosts.values().map(HostState::end);
        match self.plan.kind {
            RunKind::Check => !cancel.now && ends().all(|end| end.is_some_and(|end| end != End::NotStarted)),
            _ => ends().all(|end| end.is_some()) && self.did_all(),
        }
    }

    /// How the run ended, folded from its hosts.
    pub fn fold_outcome(&self) -> RunOutcome {
        let ends = || self.hosts.values().filter_map(|host| host.end());
        if self.plan.kind == RunKind::Check && (self.cancel.is_none() || self.cancel_was_late()) {
            return RunOutcome::Checked(Verdict::worst(self.verdicts()));
        }
        let half_done = |end: End| self.plan.has_bracket() && end == End::Failed;
        let as_wanted = self.plan.kind == RunKind::Drain && self.failures() == 0;
        if !as_wanted && ends().any(|end| end.needs_person() || half_done(end)) {
            return RunOutcome::NeedsPerson;
        }
        if self.cancel.is_some() && !self.cancel_was_late() {
            return RunOutcome::Cancelled;
        }
        let failures: Vec<FailureKind> = self
            .hosts
            .values()
            .filter(|host| counts_as_failed(host))
            .filter_map(HostState::failure)
            .map(|failure| failure.kind)
            .collect();
        match failures[..] {
            [] if self.hooks.failed.is_some() || !self.did_all() => RunOutcome::Failed,
            [] => RunOutcome::Done,
            _ if failures.iter().all(|kind| *kind == FailureKind::Unreachable) => RunOutcome::Unreachable,
            _ => RunOutcome::Failed,
        }
    }
}

#[cfg(test)]
impl Run {
    /// True when the index is what the states of the hosts say.
    pub(super) fn has_true_index(&self) -> bool {
        self.index == HostIndex::new(&self.plan, &self.hosts)
    }

    /// A mistake on purpose: tests show that the invariants notice it.
    pub(super) fn forget_debts(&mut self) {
        self.hosts.values_mut().for_each(HostState::forget_debt);
        self.index = HostIndex::new(&self.plan, &self.hosts);
    }
}

/// The verdict of one host in a check run: its worst result, or unknown if it could not be probed.
fn verdict_of(host: &HostState) -> Verdict {
    match host.end() {
        Some(End::Unknown | End::NotStarted) | None => {
            Verdict::worst(host.checks().iter().map(|result| result.verdict).chain([Verdict::Unknown]))
        }
        Some(_) => Verdict::worst(host.checks().iter().map(|result| result.verdict)),
    }
}
