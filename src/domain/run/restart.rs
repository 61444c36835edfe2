//! After a restart of rollcall: which effects of a run were under way, and how the run continues.

use std::time::Duration;

use super::bracket::{Forgotten, Gate, HostState, Phase, RotationChecks};
use super::decision::Effect;
use super::event::{Stage, Then};
use super::run::{Run, Taking};
use crate::domain::base::name::HostName;
use crate::domain::plan::plan::RunKind;
use crate::domain::task::task::OnRestart;

/// A run continues by itself if rollcall was away for less than this.
pub const SHORT_ABSENCE: Duration = Duration::from_secs(15 * 60);

/// The effects with an intent in the journal and no report. Each may have happened, wholly
/// or in part: probes are repeated, changes of a balancer are absolute and made again, and the host is asked
/// for the result of a step, which never starts again.
pub fn under_way(run: &Run) -> Vec<Effect> {
    let mut effects: Vec<Effect> =
        run.hosts().iter().filter_map(|(name, host)| of_host(name, host)).collect();
    for balancer in run.plan().balancers.keys() {
        let hosts = |wanted: fn(&HostState) -> bool| -> Vec<HostName> {
            let of_it =
                run.hosts().iter().filter(|(name, host)| wanted(host) && stands_behind(run, name, balancer));
            of_it.map(|(name, _)| name.clone()).collect()
        };
        let drain = hosts(|host| matches!(host.phase(), Phase::Draining { .. }));
        let redrain = hosts(|host| host.forgotten() == Forgotten::Redraining);
        let enable = hosts(|host| matches!(host.phase(), Phase::Enabling { .. }));
        let changes = [
            (!drain.is_empty()).then(|| Effect::Drain { balancer: balancer.clone(), hosts: drain }),
            (!redrain.is_empty()).then(|| Effect::Redrain { balancer: balancer.clone(), hosts: redrain }),
            (!enable.is_empty()).then(|| Effect::Enable { balancer: balancer.clone(), hosts: enable }),
        ];
        effects.extend(changes.into_iter().flatten());
    }
    effects.extend(run.snapshots().iter().filter_map(|(at, taking)| match taking {
        Taking::Running(hosts) => Some(Effect::Snapshot { snapshot: *at, hosts: hosts.clone() }),
        Taking::Done => None,
    }));
    effects.extend(run.hooks().running.map(|(hook, step)| Effect::Hook { hook, step }));
    effects
}

fn stands_behind(run: &Run, name: &HostName, balancer: &str) -> bool {
    let seat = run.plan().hosts.get(name).and_then(|plan| plan.balancer.as_ref());
    seat.is_some_and(|seat| seat.balancer == balancer)
}

fn of_host(name: &HostName, host: &HostState) -> Option<Effect> {
    let host_name = || name.clone();
    match *host.phase() {
        Phase::Observing => Some(Effect::Observe { host: host_name() }),
        Phase::Working { way, step, attempt, running: true, .. } => {
            Some(Effect::Step { host: host_name(), way, step, attempt })
        }
        Phase::Gating { gate: Gate::Running, .. } => {
            Some(Effect::Checks { host: host_name(), stage: Stage::Gate })
        }
        Phase::Serving { roll: Some(RotationChecks::Watching), .. } => {
            Some(Effect::Checks { host: host_name(), stage: Stage::Watch })
        }
        Phase::Serving { roll: Some(RotationChecks::Running), .. } => {
            Some(Effect::Checks { host: host_name(), stage: Stage::Roll })
        }
        _ => None,
    }
}

/// How the run continues, and why, in words for its journal.
pub fn go_on(run: &Run, away: Duration) -> (Then, String) {
    let note = format!("rollcall was away for {}s", away.as_secs());
    let then = match (&run.plan().kind, run.plan().rollout.on_restart) {
        // A typed command does not start on further hosts: its operator may have left.
        (RunKind::Run, _) => Then::Stops,
        (
            RunKind::Check
            | RunKind::DryRun { .. }
            | RunKind::Facts
            | RunKind::Task { .. }
            | RunKind::Drain
            | RunKind::Enable,
            _,
        ) => Then::GoesOn,
        (RunKind::Release { .. }, OnRestart::Resume) => Then::GoesOn,
        (RunKind::Release { .. }, OnRestart::Finish) if away < SHORT_ABSENCE => Then::GoesOn,
        (RunKind::Release { .. }, OnRestart::Finish) => Then::Pauses,
        (RunKind::Release { .. }, OnRestart::Stop) => Then::Stops,
        (RunKind::Release { .. }, OnRestart::Rollback) => Then::RollsBack,
    };
    (then, note)
}
