//! The daemon's log of runs: how they begin, progress and end, and what an operator has to know in between. The journal
//! holds everything.

use crate::domain::base::nodeset::fold;
use crate::domain::base::outcome::End;
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::{Event, EventKind};

/// Writes the line of an event, if it has one.
pub(super) fn log(plan: &Plan, event: &Event) {
    let run = event.run;
    match &event.kind {
        EventKind::RunStarted { title, by, key, .. } => {
            tracing::info!(operator = %by, key, %run, title, hosts = plan.hosts.len(), "a run started");
        }
        EventKind::BatchStarted { batch, hosts } => {
            let hosts = fold(hosts.iter().map(|host| host.as_str()));
            tracing::info!(%run, batch = batch + 1, of = plan.batches.len(), hosts, "a batch started");
        }
        EventKind::HostSettled { host, end, why } => match end {
            End::Released | End::Unchanged | End::Done | End::NotStarted => {}
            End::RolledBack | End::Held | End::Failing | End::Unknown | End::Failed => {
                tracing::warn!(%run, %host, end = end.word(), why, "a host ended");
            }
        },
        EventKind::Stopped { why } => tracing::warn!(%run, why, "a run starts no further host"),
        EventKind::Paused(pause) => tracing::info!(%run, why = pause.why, by = pause.by, "a run paused"),
        EventKind::Resumed { by, why, .. } => tracing::info!(operator = %by, %run, why, "a run resumed"),
        EventKind::Approved { by, .. } => tracing::info!(operator = %by, %run, "a run was approved"),
        EventKind::CancelRequested { by, now, .. } => {
            tracing::info!(operator = %by, %run, now, "a run was cancelled");
        }
        EventKind::DebtSettled { host, balancer, by, reason, in_rotation, .. } => {
            tracing::info!(operator = %by, %run, %host, balancer, reason, in_rotation, "a debt was settled");
        }
        EventKind::DrainForgotten { balancer, hosts } => {
            let hosts = fold(hosts.iter().map(|host| host.as_str()));
            tracing::warn!(%run, balancer, hosts, "another program enabled drained hosts");
        }
        EventKind::RunEnded { outcome, .. } => tracing::info!(%run, outcome = outcome.word(), "a run ended"),
        EventKind::ObserveStarted { .. }
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
        | EventKind::EnableEnded { .. }
        | EventKind::RedrainStarted { .. }
        | EventKind::RedrainEnded { .. }
        | EventKind::Recovered { .. }
        | EventKind::HookStarted { .. }
        | EventKind::HookEnded { .. } => {}
    }
}
