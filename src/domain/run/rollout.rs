//! Every decision of a run. [`decide`] is a pure function of the run and the time: it says which
//! events come next and which effect each of them announces. The engine appends the events, applies
//! them, publishes them, and only then acts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::agenda::Agenda;
use super::around::{self, HookAction};
use super::bracket::{HostState, Phase, RotationChecks};
pub use super::decision::{Decision, Effect};
use super::event::{BracketDirection, EventKind, Pause, PausedUntil};
use super::phase::steps_of;
use super::run::Run;
use super::turn::{GATHER_LIMIT, can_go_back};
use crate::domain::base::name::{HostName, count};
use crate::domain::plan::plan::RunKind;
use crate::domain::task::task::{PauseAfter, PauseUntil};

/// How long a host waits for room in its balancer before the run stops, unless its
/// `progress_deadline` is shorter.
const CROWDED_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The result of [`decide`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    pub decisions: Vec<Decision>,
    /// Call again at this time, even if nothing was reported.
    pub wake_at: Option<Timestamp>,
}

/// The next decisions. They are made in rounds: apply them, let `agenda` note them, and call again until there are
/// none. Effects under way are part of the run's state, so nothing is decided twice.
pub fn decide(run: &Run, agenda: &mut Agenda, now: Timestamp) -> Decided {
    if !run.is_started() || run.outcome().is_some() {
        return Decided::default();
    }
    if let Some(stop) = spend_budget(run).or_else(|| stand_still(run, now)) {
        return round(vec![stop]);
    }
    let moves = one_at_a_time(run, agenda.moves(run, now, is_over(run)));
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
    let wakes = agenda.wake_at().into_iter().chain(wakes(run));
    Decided { decisions: vec![], wake_at: wakes.filter(|time| *time > now).min() }
}

/// In one round all hosts see the same state. Of hosts that compete for one step only the first proceeds; the
/// others are decided again once the state contains that.
fn one_at_a_time(run: &Run, moves: Vec<Decision>) -> Vec<Decision> {
    let mut asked = false;
    let mut begun: BTreeSet<String> = BTreeSet::new();
    let is_shared = |host: &HostName, way: BracketDirection, at: usize| {
        let plan = run.plan().hosts.get(host)?;
        let step = steps_of(plan, way).get(at)?;
        (step.run_once || step.throttle.is_some()).then(|| step.identity().to_string())
    };
    let mut is_kept = |decision: &Decision| match &decision.effect {
        Some(Effect::Step { host, way, step, .. }) => match is_shared(host, *way, *step) {
            Some(name) => begun.insert(name),
            None => true,
        },
        Some(
            Effect::Observe { .. }
            | Effect::Drain { .. }
            | Effect::Checks { .. }
            | Effect::Snapshot { .. }
            | Effect::Enable { .. }
            | Effect::Hook { .. }
            | Effect::Redrain { .. },
        ) => true,
        None if matches!(decision.event, EventKind::Paused(_)) => !std::mem::replace(&mut asked, true),
        None => true,
    };
    moves.into_iter().filter(|decision| is_kept(decision)).collect()
}

fn round(decisions: Vec<Decision>) -> Decided {
    Decided { decisions, wake_at: None }
}

/// The budget is checked first, so that no host starts once it is spent.
fn spend_budget(run: &Run) -> Option<Decision> {
    let allowed = run.plan().rollout.max_failures.allowed(run.hosts().len());
    let failed = run.failures();
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
    let is_too_long = |since: Timestamp| since.checked_add(CROWDED_LIMIT).is_ok_and(|time| time <= now);
    let too_long = run.index().crowded().iter().take_while(|(since, _)| is_too_long(*since));
    let name = too_long.map(|(_, name)| name).min()?;
    let why = format!(
        "{name} could not be taken out for {CROWDED_LIMIT:?}: too few would be left in service (min_in_service)"
    );
    Decision::only(EventKind::Stopped { why })
}

fn progress_ends_at(run: &Run) -> Option<Timestamp> {
    run.batch()?;
    run.progress_at()?.checked_add(run.plan().rollout.progress_deadline?).ok()
}

/// True once no further host will start and none is in its bracket.
fn is_over(run: &Run) -> bool {
    let last = run.batches_begun() == run.plan().batches.len();
    (last || run.is_halted()) && run.all_through() && to_withdraw(run).next().is_none()
}

/// All hosts of a batch behind one balancer are drained in one change, once each of them
/// was reached or abandoned. Hosts that wait for room are retried separately.
fn drains(run: &Run, now: Timestamp) -> Vec<Decision> {
    let forward = !run.holds_back() && run.is_batch_observed();
    let may_go =
        |name: &&HostName| forward || run.host(name).is_some_and(|host| host.way() == BracketDirection::Back);
    let due = run.index().retries().iter().take_while(|(time, _)| *time <= now);
    let mut hosts: BTreeSet<&HostName> = due.map(|(_, name)| name).filter(may_go).collect();
    hosts.extend(run.index().ready(BracketDirection::Back));
    if forward {
        hosts.extend(run.index().ready(BracketDirection::Forward));
    }
    by_balancer(run, hosts)
        .into_iter()
        .map(|(balancer, hosts)| Decision {
            event: EventKind::DrainStarted { balancer: balancer.clone(), hosts: hosts.clone() },
            effect: Some(Effect::Drain { balancer, hosts }),
        })
        .collect()
}

/// Drains again the hosts that the balancer has forgotten.
fn redrains(run: &Run) -> Vec<Decision> {
    let forgotten = run.index().forgotten().iter();
    forgotten
        .map(|(balancer, hosts)| (balancer.clone(), hosts.iter().cloned().collect::<Vec<_>>()))
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
    let is_due = |name: &&HostName| match run.host(name).map(HostState::phase) {
        Some(Phase::Verified { not_before, .. }) => not_before.is_none_or(|time| time <= now),
        _ => false,
    };
    let verified = run.index().to_enable();
    verified
        .map(|(balancer, hosts)| (balancer, hosts.iter().filter(is_due).cloned().collect::<Vec<_>>()))
        .filter(|(balancer, hosts)| !hosts.is_empty() && !waits_for_others(run, balancer, hosts, now))
        .map(|(balancer, hosts)| Decision::enable(balancer, not_with_others_again(run, hosts)))
        .collect()
}

/// True for a moment after a gate has passed, while others of the same balancer are running: one change puts all into rotation.
fn waits_for_others(run: &Run, balancer: &str, hosts: &[HostName], now: Timestamp) -> bool {
    let has_just_passed = |name: &HostName| match run.host(name).map(HostState::phase) {
        Some(Phase::Verified { gated_at: Some(at), .. }) => {
            *at <= now && at.checked_add(GATHER_LIMIT).is_ok_and(|limit| now < limit)
        }
        _ => false,
    };
    run.index().is_gating(balancer) && hosts.iter().all(has_just_passed)
}

/// A change of many hosts is all or nothing. Hosts that were refused together are retried one by one, so that
/// the host that causes the refusal delays no other.
fn not_with_others_again(run: &Run, hosts: Vec<HostName>) -> Vec<HostName> {
    let refused = |name: &HostName| run.host(name).is_some_and(HostState::was_refused);
    let (again, first): (Vec<HostName>, Vec<HostName>) = hosts.into_iter().partition(refused);
    if first.is_empty() { again.into_iter().take(1).collect() } else { first }
}

/// Hosts are compared once no work on any of them is left.
fn snapshots(run: &Run) -> Vec<Decision> {
    if run.plan().snapshots.is_empty() || !is_over(run) || !run.index().is_quiet() {
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

/// Hosts on the new release that a run with `rolls_back` still has to roll back.
fn to_withdraw(run: &Run) -> impl Iterator<Item = &HostName> {
    let wanted = run.rolls_back() && run.cancel().is_none();
    let hosts = wanted.then(|| run.hosts().iter().zip(run.plan().hosts.values()));
    hosts.into_iter().flatten().filter_map(|((name, host), plan)| {
        let serves = matches!(
            host.phase(),
            Phase::Serving {
                way: BracketDirection::Forward,
                roll: None | Some(RotationChecks::Watching),
                ..
            }
        );
        (serves && host.changed() && can_go_back(host, plan).is_ok()).then_some(name)
    })
}

/// Batch by batch, the last one first, once no host is in its bracket.
fn withdrawals(run: &Run) -> Vec<Decision> {
    if !run.rolls_back() || !run.all_through() {
        return Vec::new();
    }
    let candidates: BTreeSet<&HostName> = to_withdraw(run).collect();
    let begun = run.plan().batches.iter().take(run.batches_begun()).rev();
    let mut batches = begun.map(|batch| batch.iter().filter(|name| candidates.contains(name)));
    let hosts = batches
        .find_map(|batch| Some(batch.cloned().collect()).filter(|hosts: &Vec<HostName>| !hosts.is_empty()));
    let why = run.stopped().unwrap_or_default();
    let back =
        |host| EventKind::RollbackStarted { host, why: format!("the run takes everything back: {why}") };
    hosts.unwrap_or_default().into_iter().filter_map(|host| Decision::only(back(host))).collect()
}

fn by_balancer<'a>(
    run: &Run,
    hosts: impl IntoIterator<Item = &'a HostName>,
) -> BTreeMap<String, Vec<HostName>> {
    let mut found: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
    for name in hosts {
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
    if run.is_halted() || !run.is_batch_through() {
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

fn resume() -> Option<Decision> {
    let (by, key) = ("rollcall".to_string(), String::new());
    Decision::only(EventKind::Resumed { by, key, why: "the time is over".into() })
}

fn pause(planned: PauseAfter, now: Timestamp) -> Option<Decision> {
    let after = match planned.batch {
        0 => "before anything begins".to_string(),
        batches => format!("after {}", count(batches, "batch")),
    };
    let (until, why) = match planned.until {
        PauseUntil::Passed(time) => {
            (PausedUntil::Time(now.checked_add(time).unwrap_or(now)), format!("{time:?} {after}"))
        }
        PauseUntil::Approved { second_person: false } => {
            (PausedUntil::Approved, format!("for approval, {after}"))
        }
        PauseUntil::Approved { second_person: true } => {
            (PausedUntil::Approved, format!("for approval by a second person, {after}"))
        }
    };
    Decision::only(EventKind::Paused(Pause {
        why,
        by: "rollcall".into(),
        key: String::new(),
        until,
        step: None,
    }))
}

fn end(run: &Run) -> Option<Decision> {
    if !run.index().all_finished() {
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
    let crowded = run.index().crowded().first();
    let crowded = crowded.and_then(|(since, _)| since.checked_add(CROWDED_LIMIT).ok());
    [pause, crowded, progress_ends_at(run)].into_iter().flatten()
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rollout_oracle_tests.rs"]
mod oracle;
