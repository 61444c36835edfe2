//! At start: runs that ended with their process are recovered at the point that their journal
//! shows.

use std::time::Duration;

use jiff::Timestamp;

use super::drive::Begin;
use super::ports::Ports;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::restart;
use crate::domain::run::rollout::Effect;
use crate::domain::run::run::Run;
use crate::port::{StoreError, StoredRun};

/// Reads an open run, and records that rollcall is back. `None` for one that cannot be replayed:
/// it is ended as it is, and its debts stay open.
pub(super) async fn take_up(ports: &Ports, id: RunId) -> Result<Option<(StoredRun, Begin)>, StoreError> {
    let now = ports.hosts.clock.now();
    let stored = match ports.store.load(id).await {
        // Nothing of it may be executed, and its lease must not block other runs.
        Err(error @ StoreError::Changed { .. }) => {
            tracing::error!(%error, "it is ended, its debts stay open");
            return end(ports, id, now).await;
        }
        other => other?,
    };
    let Some(mut stored) = stored else { return Ok(None) };
    let run = match Run::replay(id, stored.plan.clone(), &stored.events) {
        Ok(run) => run,
        // If this kept the daemon from starting, no debt could be read.
        Err(error) => {
            tracing::error!(run = %id, %error, "cannot be replayed; it is ended, its debts stay open");
            return end(ports, id, now).await;
        }
    };
    let away = since(stored.events.last().map(|event| event.at), now);
    let (then, why) = restart::go_on(&run, away);
    let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
    let back = EventKind::Recovered { away_ms, then, why };
    let aged = |effect: Effect| {
        let age = since(begun_at(&effect, &stored.events), now);
        (effect, age)
    };
    let effects = restart::under_way(&run).into_iter().map(aged).collect();
    stored.events.extend(ports.store.append(id, now, vec![back]).await?);
    let begin = Begin { events: stored.events.clone(), effects };
    Ok(Some((stored, begin)))
}

async fn end(ports: &Ports, id: RunId, now: Timestamp) -> Result<Option<(StoredRun, Begin)>, StoreError> {
    let end = EventKind::RunEnded { outcome: RunOutcome::Interrupted, had_input: false };
    ports.store.append(id, now, vec![end]).await?;
    Ok(None)
}

/// When the intent of a step was written; other effects are simply repeated.
fn begun_at(effect: &Effect, events: &[Event]) -> Option<Timestamp> {
    let Effect::Step { host, .. } = effect else { return None };
    let starts =
        |event: &&Event| matches!(&event.kind, EventKind::StepStarted { host: of, .. } if of == host);
    events.iter().rev().find(starts).map(|event| event.at)
}

/// A clock that was set back counts as no absence.
fn since(last: Option<Timestamp>, now: Timestamp) -> Duration {
    last.and_then(|last| Duration::try_from(now.duration_since(last)).ok()).unwrap_or_default()
}
