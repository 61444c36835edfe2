//! Removes what is older than `[retention]` allows.

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
use crate::store::{self, Fact, Freed, RemovedRows, SqliteStore};

const EVERY: Duration = Duration::from_secs(60 * 60);

/// Gives the space of removed rows back to the disk; returns what to print.
pub fn vacuum(config: &Path) -> Result<String, String> {
    let settings = config::load(config).map_err(|diagnostics| diagnostics.to_string())?.settings;
    let Freed { before, after } = store::vacuum(&settings.store).map_err(|error| error.to_string())?;
    Ok(format!("{}: {} MiB, before {} MiB", settings.store.display(), mebibytes(after), mebibytes(before)))
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

/// One step of a removal.
type Step = fn(&SqliteStore, Timestamp, Fact<'_>) -> Result<Option<RemovedRows>, StoreError>;

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
                tracing::warn!(%error, "what is older than [retention] allows could not be removed");
            }
        }
        if let Some(before) = retention.runs.and_then(|kept| desk.clock.now().checked_sub(kept).ok()) {
            log_what_stays(&store, before).await;
        }
    }
}

/// Removes in steps, between which others use the store. Each is on record in its own transaction.
async fn remove(
    desk: &Desk,
    store: &Arc<SqliteStore>,
    (before, step): (Timestamp, Step),
    stop: &CancellationToken,
) -> Result<(), String> {
    while !stop.is_cancelled() {
        let (store, caller, now) = (store.clone(), caller_of(desk, myself()), desk.clock.now());
        let fact = move |removed: &RemovedRows| {
            let RemovedRows { chain, first, last, hash } = removed.clone();
            caller.fact(now, AuditKind::RowsRemoved { chain: chain.into(), first, last, hash })
        };
        let one = tokio::task::spawn_blocking(move || step(&store, before, &fact)).await;
        let removed = one.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let Some(RemovedRows { chain, first, last, .. }) = removed else { return Ok(()) };
        tracing::info!(chain, first, last, "removed what is older than [retention] allows");
    }
    Ok(())
}

/// Logs the run that holds the removal up: it keeps all later ones, so the store grows.
async fn log_what_stays(store: &Arc<SqliteStore>, before: Timestamp) {
    let store = store.clone();
    let stays = tokio::task::spawn_blocking(move || store.oldest_that_stays_now(before)).await;
    if let Ok(Ok(Some(run))) = stays {
        let why = "it, or a run that overlaps with it, is under way, too recent, or has an open debt; see: runs, debts";
        tracing::warn!(%run, why, "a run that is older than [retention] allows is kept, and so are all later ones");
    }
}
