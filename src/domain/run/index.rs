//! Which hosts of a run are in which state: counts and sets that [`Run::apply`](super::run::Run::apply) keeps up to date
//! with each event, so that a decision does not look at all hosts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::bracket::{Forgotten, Gate, HostState, Phase, RotationChecks};
use super::event::BracketDirection;
use super::phase::steps_of;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::FailureKind;
use crate::domain::plan::plan::{HostPlan, Plan};

/// What the decisions of a run need to know of all its hosts together. It follows from the plan and the states of the hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HostIndex {
    has_bracket: bool,
    batch_of: BTreeMap<HostName, usize>,
    batches: Vec<Count>,
    /// Of all hosts, also of those in no batch.
    total: Count,
    /// Due to be drained on this way, and not waiting for room.
    forward: BTreeSet<HostName>,
    back: BTreeSet<HostName>,
    /// By the time of the next attempt, and by the beginning of the wait: hosts that wait for room.
    retries: BTreeSet<(Timestamp, HostName)>,
    crowded: BTreeSet<(Timestamp, HostName)>,
    /// By balancer: hosts that are due to be enabled.
    verified: BTreeMap<String, BTreeSet<HostName>>,
    /// By balancer: hosts that a change under way puts into rotation or takes out again.
    changing: BTreeMap<String, BTreeSet<HostName>>,
    /// By balancer: hosts out of rotation whose gate is due or running.
    gating: BTreeMap<String, BTreeSet<HostName>>,
    /// By balancer: hosts that it has to drain again.
    forgotten: BTreeMap<String, BTreeSet<HostName>>,
    /// By balancer: hosts that it must not send requests to.
    drained: BTreeMap<String, BTreeSet<HostName>>,
    /// By identity of a step with `throttle`: the hosts at which it runs.
    running: BTreeMap<String, usize>,
}

/// Hosts of a batch, or of the run, by what they keep from going on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    /// Not through, while the run goes on: the next batch waits for them.
    open: usize,
    /// Not through, once the run is halted.
    open_if_halted: usize,
    /// Neither reached nor abandoned.
    unobserved: usize,
    failed: usize,
    /// Not settled, or still to be drained again.
    unfinished: usize,
    in_bracket: usize,
    /// Work on it is under way or due.
    busy: usize,
}

/// One host as it is counted.
struct Entry<'a> {
    name: &'a HostName,
    host: &'a HostState,
    plan: Option<&'a HostPlan>,
}

impl HostIndex {
    /// The index of the hosts of a run in these states.
    pub(super) fn new(plan: &Plan, hosts: &BTreeMap<HostName, HostState>) -> HostIndex {
        let batches = plan.batches.iter().enumerate();
        let batch_of = batches.flat_map(|(at, batch)| batch.iter().map(move |host| (host.clone(), at)));
        let mut index = HostIndex {
            has_bracket: plan.has_bracket(),
            batch_of: batch_of.collect(),
            batches: vec![Count::default(); plan.batches.len()],
            ..HostIndex::default()
        };
        hosts.iter().for_each(|(name, host)| index.add(plan, name, host));
        index
    }

    /// Counts a host in its state.
    pub(super) fn add(&mut self, plan: &Plan, name: &HostName, host: &HostState) {
        self.note(&Entry { name, host, plan: plan.hosts.get(name) }, true);
    }

    /// Takes a host out that was counted in this state.
    pub(super) fn remove(&mut self, plan: &Plan, name: &HostName, host: &HostState) {
        self.note(&Entry { name, host, plan: plan.hosts.get(name) }, false);
    }

    fn note(&mut self, entry: &Entry<'_>, is_in: bool) {
        let counted = self.count(entry);
        self.total.note(counted, is_in);
        if let Some(batch) = self.batch_of.get(entry.name).and_then(|at| self.batches.get_mut(*at)) {
            batch.note(counted, is_in);
        }
        self.note_ready(entry, is_in);
        self.note_balancer(entry, is_in);
        if let Some(step) = throttled(entry) {
            let hosts = self.running.entry(step.to_string()).or_default();
            *hosts = if is_in { *hosts + 1 } else { hosts.saturating_sub(1) };
            if *hosts == 0 {
                self.running.remove(step);
            }
        }
    }

    fn note_ready(&mut self, entry: &Entry<'_>, is_in: bool) {
        let name = entry.name.clone();
        match (entry.host.phase(), entry.host.crowded()) {
            (Phase::Ready { way: BracketDirection::Back, .. }, None) => {
                put(&mut self.back, name.clone(), is_in)
            }
            (Phase::Ready { .. }, None) => put(&mut self.forward, name.clone(), is_in),
            (Phase::Ready { .. }, Some(crowded)) => {
                put(&mut self.retries, (crowded.retry_at, name.clone()), is_in);
            }
            _ => {}
        }
        if let Some(crowded) = entry.host.crowded() {
            put(&mut self.crowded, (crowded.since, name), is_in);
        }
    }

    fn note_balancer(&mut self, entry: &Entry<'_>, is_in: bool) {
        let Some(seat) = entry.plan.and_then(|plan| plan.balancer.as_ref()) else { return };
        let (phase, forgotten) = (entry.host.phase(), entry.host.forgotten());
        let sets = [
            (&mut self.verified, matches!(phase, Phase::Verified { .. }) && forgotten == Forgotten::No),
            (
                &mut self.changing,
                matches!(phase, Phase::Enabling { .. }) || forgotten == Forgotten::Redraining,
            ),
            (&mut self.gating, entry.host.is_owed() && is_gating(phase)),
            (&mut self.forgotten, forgotten == Forgotten::Seen && phase.stays_out()),
            (&mut self.drained, entry.host.is_owed() && phase.stays_out() && forgotten == Forgotten::No),
        ];
        for (set, _) in sets.into_iter().filter(|(_, belongs)| *belongs) {
            let hosts = set.entry(seat.balancer.clone()).or_default();
            put(hosts, entry.name.clone(), is_in);
            if hosts.is_empty() {
                set.remove(&seat.balancer);
            }
        }
    }

    fn count(&self, entry: &Entry<'_>) -> Count {
        let host = entry.host;
        let is_quiet = match host.phase() {
            Phase::Settled { .. } | Phase::Serving { roll: Some(RotationChecks::Done), .. } => true,
            Phase::Serving { roll: None, .. } => entry.plan.is_none_or(|plan| plan.checks.is_empty()),
            _ => false,
        };
        let idle = matches!(
            host.phase(),
            Phase::Waiting | Phase::Ready { .. } | Phase::Serving { .. } | Phase::Settled { .. }
        );
        Count {
            open: usize::from(!is_through(host, self.has_bracket)),
            open_if_halted: usize::from(!is_through(host, false)),
            unobserved: usize::from(matches!(host.phase(), Phase::Waiting | Phase::Observing)),
            failed: usize::from(counts_as_failed(host)),
            unfinished: usize::from(host.end().is_none() || host.forgotten() != Forgotten::No),
            in_bracket: usize::from(!idle),
            busy: usize::from(!is_quiet),
        }
    }

    pub(super) fn batch_of(&self, host: &HostName) -> Option<usize> {
        self.batch_of.get(host).copied()
    }

    pub(super) fn failed(&self) -> usize {
        self.total.failed
    }

    pub(super) fn has_host_in_bracket(&self) -> bool {
        self.total.in_bracket > 0
    }

    /// True when no host keeps the run from its end.
    pub(super) fn all_finished(&self) -> bool {
        self.total.unfinished == 0
    }

    /// True when no work on any host is under way or due.
    pub(super) fn is_quiet(&self) -> bool {
        self.total.busy == 0
    }

    /// True when no host keeps the next batch waiting.
    pub(super) fn all_through(&self, is_halted: bool) -> bool {
        self.total.open(is_halted) == 0
    }

    /// The same for the hosts of one batch.
    pub(super) fn is_batch_through(&self, batch: usize, is_halted: bool) -> bool {
        self.batches.get(batch).is_none_or(|count| count.open(is_halted) == 0)
    }

    /// True when each host of the batch was reached or abandoned.
    pub(super) fn is_batch_observed(&self, batch: usize) -> bool {
        self.batches.get(batch).is_none_or(|count| count.unobserved == 0)
    }

    /// Hosts that are due to be drained and do not wait for room.
    pub(super) fn ready(&self, way: BracketDirection) -> &BTreeSet<HostName> {
        if way == BracketDirection::Back { &self.back } else { &self.forward }
    }

    /// Hosts that wait for room, by the time of their next attempt.
    pub(super) fn retries(&self) -> &BTreeSet<(Timestamp, HostName)> {
        &self.retries
    }

    /// Hosts that wait for room, by the beginning of their wait.
    pub(super) fn crowded(&self) -> &BTreeSet<(Timestamp, HostName)> {
        &self.crowded
    }

    /// Hosts that are due to be enabled, by balancer, and for none that has a change under way.
    pub(super) fn to_enable(&self) -> impl Iterator<Item = (&String, &BTreeSet<HostName>)> {
        self.verified.iter().filter(|(balancer, _)| !self.changing.contains_key(*balancer))
    }

    /// True when the gate of a host of this balancer is due or running.
    pub(super) fn is_gating(&self, balancer: &str) -> bool {
        self.gating.contains_key(balancer)
    }

    /// Hosts to drain again, by balancer.
    pub(super) fn forgotten(&self) -> &BTreeMap<String, BTreeSet<HostName>> {
        &self.forgotten
    }

    /// Hosts that must get no requests, by balancer.
    pub(super) fn drained(&self) -> &BTreeMap<String, BTreeSet<HostName>> {
        &self.drained
    }

    /// Hosts at which a step with `throttle` is running.
    pub(super) fn running(&self, step: &str) -> usize {
        self.running.get(step).copied().unwrap_or_default()
    }
}

impl Count {
    fn note(&mut self, one: Count, is_in: bool) {
        let sum = |all: usize, one: usize| if is_in { all + one } else { all.saturating_sub(one) };
        *self = Count {
            open: sum(self.open, one.open),
            open_if_halted: sum(self.open_if_halted, one.open_if_halted),
            unobserved: sum(self.unobserved, one.unobserved),
            failed: sum(self.failed, one.failed),
            unfinished: sum(self.unfinished, one.unfinished),
            in_bracket: sum(self.in_bracket, one.in_bracket),
            busy: sum(self.busy, one.busy),
        };
    }

    fn open(&self, is_halted: bool) -> usize {
        if is_halted { self.open_if_halted } else { self.open }
    }
}

fn is_gating(phase: &Phase) -> bool {
    matches!(phase, Phase::Gating { gate: Gate::Due | Gate::Running, .. })
}

fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, is_in: bool) {
    if is_in {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

/// The identity of the step with `throttle` that is running on the host.
fn throttled<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    let Phase::Working { way, step, running: true, .. } = entry.host.phase() else { return None };
    let step = steps_of(entry.plan?, *way).get(*step)?;
    step.throttle.is_some().then(|| step.identity())
}

/// True when the next batch need not wait for this host: it ended, or it is healthy in rotation, or its health check has
/// failed. `is_watched`: the run has a bracket and is not halted.
pub(super) fn is_through(host: &HostState, is_watched: bool) -> bool {
    match host.phase() {
        Phase::Settled { .. } => true,
        Phase::Serving { way: BracketDirection::Forward, health, .. } if is_watched => {
            health.healthy || health.failed
        }
        Phase::Serving { roll, .. } => *roll != Some(RotationChecks::Watching),
        _ => false,
    }
}

/// True when the host failed in a way that counts for the budget.
pub(super) fn counts_as_failed(host: &HostState) -> bool {
    host.failure().is_some_and(|failure| failure.kind != FailureKind::Cancelled)
}
