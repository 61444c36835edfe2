//! Removes what is older than `[retention]` says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::caller::{caller_of, myself};
use crate::config;
use crate::domain::ask::audit::AuditKind;
use crate::door::Desk;
use crate::port::StoreError;
use crate::store::{self, Freed, RemovedRows, SqliteStore};

const EVERY: Duration = Duration::from_secs(60 * 60);

/// Gives the room of what has left the store back to the disk; returns what to say.
pub fn vacuum(config: &Path) -> Result<String, String> {
    let settings = config::load(config).map_err(|diagnostics| diagnostics.to_string())?.settings;
    let Freed { before, after } = store::vacuum(&settings.store).map_err(|error| error.to_string())?;
    Ok(format!("{}: {} MiB, before {} MiB", settings.store.display(), mebibytes(after), mebibytes(before)))
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

/// One step of a removal.
type Step = fn(&SqliteStore, Timestamp) -> Result<Option<RemovedRows>, StoreError>;

/// Removes old runs and audit rows until rollcall stops.
pub(super) async fn remove_old(desk: Desk, store: Arc<SqliteStore>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let retention = desk.config.borrow().settings.retention;
        let parts: [(Option<Duration>, Step); 2] = [
            (retention.runs, SqliteStore::remove_runs_now),
            (retention.audit, SqliteStore::remove_audit_now),
        ];
        for (kept, step) in parts {
            let Some(before) = kept.and_then(|kept| desk.clock.now().checked_sub(kept).ok()) else {
                continue;
            };
            if let Err(error) = remove(&desk, &store, (before, step), &stop).await {
                tracing::warn!(%error, "what is older than [retention] says could not be removed");
            }
        }
    }
}

/// Removes in steps, between which others use the store; the audit has one row for all of them.
async fn remove(
    desk: &Desk,
    store: &Arc<SqliteStore>,
    (before, step): (Timestamp, Step),
    stop: &CancellationToken,
) -> Result<(), String> {
    let (mut all, mut trouble) = (None::<RemovedRows>, None);
    while !stop.is_cancelled() {
        let store = store.clone();
        let one = tokio::task::spawn_blocking(move || step(&store, before)).await;
        match one.map_err(|error| error.to_string()).and_then(|one| one.map_err(|error| error.to_string())) {
            Ok(Some(more)) => {
                all = Some(RemovedRows { first: all.map_or(more.first, |all| all.first), ..more })
            }
            Ok(None) => break,
            Err(error) => {
                trouble = Some(error);
                break;
            }
        }
    }
    if let Some(RemovedRows { chain, first, last, hash }) = all {
        tracing::info!(chain, first, last, "removed what is older than [retention] says");
        let kind = AuditKind::RowsRemoved { chain: chain.into(), first, last, hash };
        let recorded = desk.audit.change(&caller_of(desk, myself()), kind).await;
        recorded.map_err(|refusal| refusal.to_string())?;
    }
    trouble.map_or(Ok(()), Err)
}
