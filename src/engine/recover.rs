//! At start: runs that a dead daemon left without an end get one that is true. Hosts that it had
//! not touched are not-started; what happened to the others is not known, and their debts stay open.

use super::port::{Store, StoreError};
use crate::domain::bracket::{HostState, Phase};
use crate::domain::event::EventKind;
use crate::domain::name::RunId;
use crate::domain::outcome::{End, RunOutcome};
use crate::domain::run::Run;

use jiff::Timestamp;

/// Ends every open run as interrupted; the runs that it ended.
pub async fn close_open_runs(store: &dyn Store, now: Timestamp) -> Result<Vec<RunId>, StoreError> {
    let open = store.open_runs().await?;
    for id in &open {
        let Some(stored) = store.load(*id).await? else { continue };
        let endings = match Run::replay(*id, stored.plan, &stored.events) {
            Ok(run) => endings(&run),
            // Nobody would see any debt if this kept the daemon from starting.
            Err(error) => {
                tracing::error!(run = %id, %error, "cannot be replayed; it is ended, its debts stay open");
                vec![EventKind::RunEnded { outcome: RunOutcome::Interrupted }]
            }
        };
        store.append(*id, now, endings).await?;
    }
    Ok(open)
}

fn endings(run: &Run) -> Vec<EventKind> {
    let open = run.hosts.iter().filter(|(_, host)| host.end().is_none());
    let mut kinds: Vec<EventKind> = open
        .map(|(name, host)| {
            let (end, why) = ending(host);
            EventKind::HostSettled { host: name.clone(), end, why: why.into() }
        })
        .collect();
    kinds.push(EventKind::RunEnded { outcome: RunOutcome::Interrupted });
    kinds
}

fn ending(host: &HostState) -> (End, &'static str) {
    match host.phase {
        Phase::Waiting | Phase::Observing | Phase::Ready => {
            (End::NotStarted, "rollcall ended before its turn")
        }
        _ if host.owed => {
            (End::Unknown, "rollcall ended while it was in its bracket; it may be out of rotation")
        }
        _ => (End::Unknown, "rollcall ended while it was under way"),
    }
}
