//! The decisions of a run by looking at all hosts, each time anew: what [`super::decide`] is compared with after every event
//! of every test. It is slow and simple on purpose, and shares with it only the turn of one host.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::*;
use crate::domain::base::outcome::FailureKind;
use crate::domain::plan::plan::HostPlan;
use crate::domain::run::bracket::{Forgotten, Gate};
use crate::domain::run::turn::{Next, Turn};

/// The next decisions. They are made in rounds: apply them and call again until there are
/// none. Effects under way are part of the run's state, so nothing is decided twice.
pub(super) fn decide_all(run: &Run, now: Timestamp) -> Decided {
    if !run.is_started() || run.outcome().is_some() {
        return Decided::default();
    }
    if let Some(stop) = spend_budget(run).or_else(|| stand_still(run, now)) {
        return round(vec![stop]);
    }
    let turns = turns(run, now);
    let next = turns.iter().filter_map(|turn| match turn.next() {
        Next::Decision(decision) => Some(*decision),
        Next::WaitsAt(_) | Next::Nothing => None,
    });
    let moves = one_at_a_time(run, next.collect());
    if !moves.is_empty() {
        return round(moves);
    }
    let moves = [redrains(run), drains(run, now), enables(run, now), withdrawals(run)].concat();
    if !moves.is_empty() {
        return round(moves);
    }
    if let Some(next) = next_batch(run, now).or_else(|| end(run)) {
        return round(vec![next]);
    }
    let moves = snapshots(run);
    if !moves.is_empty() {
        return round(moves);
    }
    // A time that has passed without a decision waits for a report, not for the clock.
    let wakes = turns.iter().filter_map(Turn::wake_at).chain(wakes(run));
    Decided { decisions: vec![], wake_at: wakes.filter(|time| *time > now).min() }
}

/// The budget is checked first, so that no host starts once it is spent.
fn spend_budget(run: &Run) -> Option<Decision> {
    let allowed = run.plan().rollout.max_failures.allowed(run.hosts().len());
    let failed = run.hosts().values().filter(|host| is_failed(host)).count();
    if run.stopped().is_some() || failed <= allowed {
        return None;
    }
    Decision::only(EventKind::Stopped {
        why: format!("{} failed, {allowed} may (max_failures)", count(failed, "host")),
    })
}

/// Stops a run without progress: no host became healthy, or no host got room, for too long.
fn stand_still(run: &Run, now: Timestamp) -> Option<Decision> {
    if run.holds_back() || is_over(run) {
        return None;
    }
    if progress_ends_at(run).is_some_and(|time| time <= now) {
        let deadline = run.plan().rollout.progress_deadline.unwrap_or_default();
        let why = format!("no host became healthy within {deadline:?} (progress_deadline)");
        return Decision::only(EventKind::Stopped { why });
    }
    let (name, _) =
        run.hosts().iter().find(|(_, host)| crowded_until(host).is_some_and(|time| time <= now))?;
    let why = format!(
        "{name} could not be taken out for {CROWDED_LIMIT:?}: too few would be left in service (min_in_service)"
    );
    Decision::only(EventKind::Stopped { why })
}

fn crowded_until(host: &HostState) -> Option<Timestamp> {
    host.crowded()?.since.checked_add(CROWDED_LIMIT).ok()
}

/// Every host at this moment. Shared values are computed once: this runs after every report.
fn turns(run: &Run, now: Timestamp) -> Vec<Turn<'_>> {
    let batch: BTreeSet<&HostName> = run.batch_hosts().iter().collect();
    let over = is_over(run);
    // Both maps have the same keys in the same order.
    let hosts = run.hosts().iter().zip(run.plan().hosts.values());
    hosts
        .map(|((name, host), plan)| {
            let in_batch = batch.contains(name);
            Turn { run, now, name, host, plan, in_batch, over }
        })
        .collect()
}

/// True once no further host will start and none is in its bracket.
fn is_over(run: &Run) -> bool {
    let last = run.batches_begun() == run.plan().batches.len();
    (last || run.is_halted())
        && run.hosts().values().all(|host| run.is_through(host))
        && to_withdraw(run).next().is_none()
}

/// All hosts of a batch behind one balancer are drained in one change, once each of them
/// was reached or abandoned. Hosts that wait for room are retried separately.
fn drains(run: &Run, now: Timestamp) -> Vec<Decision> {
    let undecided = |name: &&HostName| {
        run.host(name).is_some_and(|host| matches!(host.phase(), Phase::Waiting | Phase::Observing))
    };
    let forward = !run.holds_back() && !run.batch_hosts().iter().any(|name| undecided(&name));
    let wanted = |host: &HostState| match host.phase() {
        Phase::Ready { way, crowded } => {
            (forward || *way == BracketDirection::Back)
                && crowded.is_none_or(|crowded| crowded.retry_at <= now)
        }
        _ => false,
    };
    by_balancer(run, wanted)
        .into_iter()
        .map(|(balancer, hosts)| Decision {
            event: EventKind::DrainStarted { balancer: balancer.clone(), hosts: hosts.clone() },
            effect: Some(Effect::Drain { balancer, hosts }),
        })
        .collect()
}

/// Drains again the hosts that the balancer has forgotten.
fn redrains(run: &Run) -> Vec<Decision> {
    by_balancer(run, |host| host.forgotten() == Forgotten::Seen && host.phase().stays_out())
        .into_iter()
        .map(|(balancer, hosts)| Decision {
            event: EventKind::RedrainStarted { balancer: balancer.clone(), hosts: hosts.clone() },
            effect: Some(Effect::Redrain { balancer, hosts }),
        })
        .collect()
}

/// Verified hosts are enabled together; those that are verified during a change wait for
/// the next one.
fn enables(run: &Run, now: Timestamp) -> Vec<Decision> {
    if run.plan().kind == RunKind::Drain {
        return Vec::new();
    }
    let busy = by_balancer(run, |host| {
        matches!(host.phase(), Phase::Enabling { .. }) || host.forgotten() == Forgotten::Redraining
    });
    let is_due = |not_before: Option<Timestamp>| not_before.is_none_or(|time| time <= now);
    let ready = by_balancer(run, |host| {
        matches!(host.phase(), Phase::Verified { not_before, .. } if is_due(*not_before))
            && host.forgotten() == Forgotten::No
    });
    ready
        .into_iter()
        .filter(|(name, hosts)| !busy.contains_key(name) && !waits(run, name, hosts, now))
        .map(|(name, hosts)| Decision::enable(&name, not_with_others_again(run, hosts)))
        .collect()
}

/// Each of these hosts passed its gate a moment ago, and the gate of another one of their balancer is running.
fn waits(run: &Run, balancer: &str, hosts: &[HostName], now: Timestamp) -> bool {
    let passed = |name: &HostName| match run.host(name).map(HostState::phase) {
        Some(Phase::Verified { gated_at: Some(at), .. }) => *at <= now && now < *at + GATHER_LIMIT,
        _ => false,
    };
    let gating = by_balancer(run, |host| {
        host.is_owed() && matches!(host.phase(), Phase::Gating { gate: Gate::Due | Gate::Running, .. })
    });
    gating.contains_key(balancer) && hosts.iter().all(passed)
}

/// Hosts are compared once no work on any of them is left.
fn snapshots(run: &Run) -> Vec<Decision> {
    let is_quiet = |(host, plan): (&HostState, &HostPlan)| match host.phase() {
        Phase::Settled { .. } | Phase::Serving { roll: Some(RotationChecks::Done), .. } => true,
        Phase::Serving { roll: None, .. } => plan.checks.is_empty(),
        _ => false,
    };
    if run.plan().snapshots.is_empty()
        || !is_over(run)
        || !run.hosts().values().zip(run.plan().hosts.values()).all(is_quiet)
    {
        return Vec::new();
    }
    let waits = |name: &&HostName| run.host(name).is_some_and(|host| host.end().is_none());
    let due = run.plan().snapshots.iter().enumerate().filter(|(at, _)| !run.snapshots().contains_key(at));
    due.map(|(at, snapshot)| {
        let hosts: Vec<HostName> = snapshot.reported.iter().filter(waits).cloned().collect();
        let event =
            EventKind::SnapshotStarted { snapshot: at, check: snapshot.check.clone(), hosts: hosts.clone() };
        Decision { event, effect: Some(Effect::Snapshot { snapshot: at, hosts }) }
    })
    .collect()
}

/// Batch by batch, the last one first, once no host is in its bracket.
fn withdrawals(run: &Run) -> Vec<Decision> {
    let candidates: BTreeSet<&HostName> = to_withdraw(run).collect();
    if candidates.is_empty() || !run.hosts().values().all(|host| run.is_through(host)) {
        return Vec::new();
    }
    let begun = run.plan().batches.iter().take(run.batches_begun()).rev();
    let mut batches = begun.map(|batch| batch.iter().filter(|name| candidates.contains(name)));
    let hosts = batches
        .find_map(|batch| Some(batch.cloned().collect()).filter(|hosts: &Vec<HostName>| !hosts.is_empty()));
    let why = run.stopped().unwrap_or_default();
    let back =
        |host| EventKind::RollbackStarted { host, why: format!("the run takes everything back: {why}") };
    hosts.unwrap_or_default().into_iter().filter_map(|host| Decision::only(back(host))).collect()
}

fn by_balancer(run: &Run, wanted: impl Fn(&HostState) -> bool) -> BTreeMap<String, Vec<HostName>> {
    let mut found: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
    for (name, _) in run.hosts().iter().filter(|(_, host)| wanted(host)) {
        if let Some(seat) = run.plan().hosts.get(name).and_then(|plan| plan.balancer.as_ref()) {
            found.entry(seat.balancer.clone()).or_default().push(name.clone());
        }
    }
    found
}

/// The end of a timed pause, a pause that the plan asks for, or the next batch.
fn next_batch(run: &Run, now: Timestamp) -> Option<Decision> {
    if let Some(pause) = run.pause() {
        return match pause.until {
            PausedUntil::Time(time) if time <= now && !run.is_halted() => resume(),
            _ => None,
        };
    }
    let through = |name: &HostName| run.host(name).is_some_and(|host| run.is_through(host));
    if run.is_halted() || !run.batch_hosts().iter().all(through) {
        return None;
    }
    if run.has_to_ask() {
        return pause(PauseAfter { batch: 0, until: PauseUntil::Approved { second_person: true } }, now);
    }
    match around::before(run) {
        HookAction::Begin(decision) => return Some(*decision),
        HookAction::Wait => return None,
        HookAction::Nothing => {}
    }
    let batch = run.batches_begun();
    let hosts = run.plan().batches.get(batch)?.clone();
    match run.plan().rollout.pause_after {
        Some(planned) if planned.batch == batch && !run.has_paused() => pause(planned, now),
        _ => Decision::only(EventKind::BatchStarted { batch, hosts }),
    }
}

fn end(run: &Run) -> Option<Decision> {
    let is_done = |host: &HostState| host.end().is_some() && host.forgotten() == Forgotten::No;
    if !run.hosts().values().all(is_done) {
        return None;
    }
    match around::after(run) {
        HookAction::Begin(decision) => Some(*decision),
        HookAction::Wait => None,
        HookAction::Nothing => {
            Decision::only(EventKind::RunEnded { outcome: run.fold_outcome(), had_input: false })
        }
    }
}

/// Times at which the run as a whole has a decision to make.
fn wakes(run: &Run) -> impl Iterator<Item = Timestamp> {
    let pause = run.pause().and_then(|pause| match pause.until {
        PausedUntil::Time(time) => Some(time),
        _ => None,
    });
    let crowded = run.hosts().values().filter_map(crowded_until).min();
    [pause, crowded, progress_ends_at(run)].into_iter().flatten()
}

fn is_failed(host: &HostState) -> bool {
    host.failure().is_some_and(|failure| failure.kind != FailureKind::Cancelled)
}
