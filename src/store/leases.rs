//! Leases of operators. Conflicts are judged in the transaction that grants a lease or creates a run, so that two that
//! exclude each other are never open at the same time.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::lease::claim::{Claim, REPLACED};
use crate::domain::lease::lease::{Lease, LeaseEnd, LeaseKind};
use crate::domain::plan::plan::Plan;
use crate::domain::run::record::RunSummary;
use crate::port::{Leases, StoreError};

/// Refuses a run on hosts that another operator holds.
pub(super) fn refuse_if_held(
    connection: &Connection,
    plan: &Plan,
    (by, now): (&str, Timestamp),
) -> Result<(), StoreError> {
    let Some(claim) = Claim::of_run(plan, by) else { return Ok(()) };
    refuse(&claim, &open(connection)?, now)
}

fn refuse(claim: &Claim, leases: &[Lease], now: Timestamp) -> Result<(), StoreError> {
    let Some(lease) = claim.lease_in_way(leases, now) else { return Ok(()) };
    let hosts: BTreeSet<HostName> = lease.hosts.intersection(&claim.hosts).cloned().collect();
    Err(StoreError::Held { lease: Box::new(lease.clone()), hosts })
}

/// Leases without an end; the time of some may be over.
fn open(connection: &Connection) -> Result<Vec<Lease>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT id, body FROM operator_lease WHERE ended_at IS NULL ORDER BY id")
        .map_err(failed)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    rows.map(|row| {
        let (id, body): (u64, String) = row.map_err(failed)?;
        let lease: Lease = serde_json::from_str(&body).map_err(failed)?;
        Ok(Lease { id, ..lease })
    })
    .collect()
}

/// Runs without an end, for the judgement of a claim. One that an agent proposed counts from its approval on.
fn under_way(connection: &Connection) -> Result<Vec<RunSummary>, StoreError> {
    let mut query = connection
        .prepare_cached(
            "SELECT id, title, kind, by_name, plan, EXISTS (SELECT 1 FROM lease WHERE lease.run = run.id)
             FROM run WHERE ended_at IS NULL ORDER BY id",
        )
        .map_err(failed)?;
    let summary = |row: &Row<'_>| {
        let (kind, plan): (String, String) = (row.get(2)?, row.get(4)?);
        let unreadable = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
        let kind = serde_json::from_str(&kind).map_err(unreadable)?;
        let plan: Plan = serde_json::from_str(&plan).map_err(unreadable)?;
        let (run, title, by) = (RunId(row.get(0)?), row.get(1)?, row.get(3)?);
        let has_leases: bool = row.get(5)?;
        let counts = plan.proposed.is_none() || has_leases;
        Ok(counts.then(|| RunSummary {
            run,
            title,
            kind,
            by,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            outcome: None,
            // With the hosts that steps run on instead.
            hosts: plan.worked_on().into_iter().collect(),
        }))
    };
    let rows = query.query_map([], summary).map_err(failed)?;
    rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(failed)
}

fn end(connection: &Connection, id: u64, end: &LeaseEnd) -> Result<bool, StoreError> {
    connection
        .execute(
            "UPDATE operator_lease SET ended_at = ?, ended_by = ?, why = ? WHERE id = ? AND ended_at IS NULL",
            params![end.at.to_string(), end.by, end.why, id],
        )
        .map(|rows| rows == 1)
        .map_err(failed)
}

/// Ends leases whose time is over, so that the open ones stay few.
fn end_old(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let over = LeaseEnd { by: "rollcall".into(), why: "its time was over".into(), at: now };
    for lease in open(connection)?.iter().filter(|lease| !lease.is_open(now)) {
        end(connection, lease.id, &over)?;
    }
    Ok(())
}

/// Ends the holds of an earlier process: their connections ended with it.
pub(super) fn end_holds(connection: &Connection) -> Result<(), StoreError> {
    connection
        .execute(
            "UPDATE operator_lease SET ended_at = strftime('%Y-%m-%dT%H:%M:%SZ'), ended_by = 'rollcall',
             why = 'rollcall ended, and with it the connection' WHERE is_hold AND ended_at IS NULL",
            [],
        )
        .map(|_| ())
        .map_err(failed)
}

impl SqliteStore {
    /// [`Leases::grant`], on this thread.
    pub fn grant_now(&self, lease: Lease, take_over: bool) -> Result<Lease, StoreError> {
        self.transact(|connection| {
            let now = lease.since;
            end_old(connection, now)?;
            let claim = Claim::of_lease(&lease);
            if let Some(run) = claim.run_in_way(&under_way(connection)?) {
                let host = run.hosts.iter().find(|host| claim.hosts.contains(*host));
                let scope = host.map(ToString::to_string).unwrap_or_default();
                return Err(StoreError::Busy { scope, run: run.run, by: run.by.clone() });
            }
            let taken = LeaseEnd { by: lease.by.clone(), why: format!("taken over: {}", lease.why), at: now };
            for other in open(connection)? {
                let own = claim.replaces(&other);
                let in_way = claim.lease_in_way(std::slice::from_ref(&other), now).is_some();
                if own {
                    end(connection, other.id, &LeaseEnd { why: REPLACED.into(), ..taken.clone() })?;
                } else if in_way && take_over {
                    end(connection, other.id, &taken)?;
                }
            }
            refuse(&claim, &open(connection)?, now)?;
            let body = serde_json::to_string(&lease).map_err(failed)?;
            let (is_hold, until) =
                (lease.kind == LeaseKind::Hold, lease.until.map(|until| until.to_string()));
            connection
                .execute(
                    "INSERT INTO operator_lease (body, is_hold, until) VALUES (?, ?, ?)",
                    params![body, is_hold, until],
                )
                .map_err(failed)?;
            let id = u64::try_from(connection.last_insert_rowid()).map_err(failed)?;
            Ok(Lease { id, ..lease })
        })
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let mut leases = self.off_thread(|store| open(&store.lock().connection)).await?;
        leases.retain(|lease| lease.is_open(now));
        Ok(leases)
    }

    async fn grant(&self, lease: Lease, take_over: bool) -> Result<Lease, StoreError> {
        self.off_thread(move |store| store.grant_now(lease, take_over)).await
    }

    async fn end_lease(&self, id: u64, how: LeaseEnd) -> Result<bool, StoreError> {
        self.off_thread(move |store| store.transact(|connection| end(connection, id, &how))).await
    }

    async fn lease_end(&self, id: u64) -> Result<Option<LeaseEnd>, StoreError> {
        let ended = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?));
        let row = self
            .off_thread(move |store| {
                let query = "SELECT ended_by, why, ended_at FROM operator_lease WHERE id = ? AND ended_at IS NOT NULL";
                store.read(|connection| connection.query_row(query, [id], ended).optional())
            })
            .await?;
        let Some((by, why, at)) = row else { return Ok(None) };
        Ok(Some(LeaseEnd { by, why, at: at.parse().map_err(failed)? }))
    }
}
