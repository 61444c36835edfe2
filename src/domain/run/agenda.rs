//! Which hosts of a run may have something to decide. A host is considered again when an event names it, when the run
//! as a whole has changed, when its time has come, or when there may be room at the step that it waits for. All others
//! would decide nothing again, so the cost of a decision grows with the events, and not with the hosts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::decision::Decision;
use super::event::{Event, EventKind, PausedUntil};
use super::run::Run;
use super::turn::{Next, Turn};
use crate::domain::base::name::HostName;

/// The hosts to consider at the next decision.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    due: BTreeSet<HostName>,
    wakes: BTreeSet<(Timestamp, HostName)>,
    wake_of: BTreeMap<HostName, Timestamp>,
    /// By identity of a step: hosts that wait for others at it.
    waiting: BTreeMap<String, BTreeSet<HostName>>,
    waits_at: BTreeMap<HostName, String>,
    /// The state of the run as a whole when the hosts were last considered; `None` if all of them are due.
    whole: Option<Whole>,
}

/// What the turn of any host depends on besides the host itself.
#[derive(Clone, Debug, PartialEq)]
struct Whole {
    is_halted: bool,
    /// A cancel has been requested, and running steps are to end, too.
    cancel: Option<bool>,
    rolls_back: bool,
    /// A pause is under way, and it ends at a time.
    pause: Option<bool>,
    /// No further host will start, and none is in its bracket.
    over: bool,
    confirmed: usize,
    compared: usize,
}

impl Whole {
    fn of(run: &Run, over: bool) -> Whole {
        Whole {
            is_halted: run.is_halted(),
            cancel: run.cancel().map(|cancel| cancel.now),
            rolls_back: run.rolls_back(),
            pause: run.pause().map(|pause| matches!(pause.until, PausedUntil::Time(_))),
            over,
            confirmed: run.confirmed().len(),
            compared: run.snapshots_done(),
        }
    }
}

impl Agenda {
    /// Takes in an event that has been applied to the run.
    pub fn note(&mut self, run: &Run, event: &Event) {
        let hosts = event.kind.hosts();
        self.due.extend(hosts.iter().cloned());
        match event.kind {
            // They may change any host, also when the run as a whole ends up as it was.
            EventKind::Resumed { .. } | EventKind::Approved { .. } | EventKind::Recovered { .. } => {
                self.whole = None;
            }
            EventKind::EnableEnded { .. } => {
                self.due.extend(run.index().crowded().iter().map(|(_, name)| name.clone()));
            }
            EventKind::RunStarted { .. }
            | EventKind::BatchStarted { .. }
            | EventKind::ObserveStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::DrainStarted { .. }
            | EventKind::DrainEnded { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepEnded { .. }
            | EventKind::StepSkipped { .. }
            | EventKind::ChecksStarted { .. }
            | EventKind::ChecksEnded { .. }
            | EventKind::SnapshotStarted { .. }
            | EventKind::SnapshotEnded { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::EnableStarted { .. }
            | EventKind::HostSettled { .. }
            | EventKind::DrainForgotten { .. }
            | EventKind::RedrainStarted { .. }
            | EventKind::RedrainEnded { .. }
            | EventKind::Stopped { .. }
            | EventKind::Paused(..)
            | EventKind::DebtSettled { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::HookStarted { .. }
            | EventKind::HookEnded { .. }
            | EventKind::RunEnded { .. } => {}
        }
        // What the owner of a step for all does decides for all who wait.
        match hosts.iter().any(|host| run.owns_step_for_all(host)) {
            true => self.due.extend(self.waits_at.keys().cloned()),
            false => self.due.extend(self.waiting.values().filter_map(BTreeSet::first).cloned()),
        }
    }

    /// The next decision of each host that has one, in the order of their names.
    pub(super) fn moves(&mut self, run: &Run, now: Timestamp, over: bool) -> Vec<Decision> {
        let whole = Some(Whole::of(run, over));
        if self.whole != whole {
            self.whole = whole;
            self.due = run.hosts().keys().cloned().collect();
        }
        while let Some((time, name)) = self.wakes.pop_first() {
            if time > now {
                self.wakes.insert((time, name));
                break;
            }
            self.wake_of.remove(&name);
            self.due.insert(name);
        }
        let mut decided: BTreeMap<HostName, Decision> = BTreeMap::new();
        while let Some(name) = self.due.pop_first() {
            if let Some(decision) = self.consider(run, &name, now, over) {
                decided.insert(name, decision);
            }
        }
        // They stay due until their decision has become an event: a round may leave some of them for the next one.
        self.due.extend(decided.keys().cloned());
        decided.into_values().collect()
    }

    fn consider(&mut self, run: &Run, name: &HostName, now: Timestamp, over: bool) -> Option<Decision> {
        let waited_at = self.forget(name);
        let turn = Turn::of(run, name, now, over)?;
        match turn.next() {
            Next::Decision(decision) => return Some(*decision),
            Next::WaitsAt(step) => {
                self.waiting.entry(step.clone()).or_default().insert(name.clone());
                self.waits_at.insert(name.clone(), step);
            }
            Next::Nothing => {
                // There may be room at the step, and this host does not use it: the next one may.
                let next = waited_at.and_then(|step| self.waiting.get(&step)?.first().cloned());
                self.due.extend(next);
            }
        }
        if let Some(time) = turn.wake_at().filter(|time| *time > now) {
            self.wakes.insert((time, name.clone()));
            self.wake_of.insert(name.clone(), time);
        }
        None
    }

    /// Forgets what a host waited for; returns the step.
    fn forget(&mut self, name: &HostName) -> Option<String> {
        if let Some(time) = self.wake_of.remove(name) {
            self.wakes.remove(&(time, name.clone()));
        }
        let step = self.waits_at.remove(name)?;
        if let Some(hosts) = self.waiting.get_mut(&step) {
            hosts.remove(name);
            if hosts.is_empty() {
                self.waiting.remove(&step);
            }
        }
        Some(step)
    }

    /// The next time at which a host has to be considered.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(time, _)| *time)
    }
}
