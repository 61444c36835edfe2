//! The journal: rows that are only ever added, each hashed together with the one before; and the
//! projections of each event in the same transaction.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::chain::{Chain, Link, next_of};
use super::error::failed;
use super::{ends, facts, releases, watch};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, RunOutcome};
use crate::domain::run::event::{BracketDirection, Change, Event, EventKind};
use crate::port::StoreError;

/// The chain of the journal.
pub(super) static JOURNAL: Chain = Chain {
    noun: "journal",
    table: "event",
    row: "event",
    genesis: "rollcall",
    suffix: "head",
    columns: "seq, run, epoch, at, body, prev, hash",
    link,
};

/// Adds one event and its projections. Call within a transaction.
pub fn append(
    connection: &Connection,
    run: RunId,
    epoch: u64,
    at: Timestamp,
    kind: EventKind,
) -> Result<Event, StoreError> {
    let (seq, prev) = next_of(connection, &JOURNAL)?;
    let body = serde_json::to_string(&kind).map_err(failed)?;
    let at_text = at.to_string();
    let row = EventRow { seq, run: run.0, epoch, at: &at_text, body: &body, prev: &prev };
    let host = kind.host().map(HostName::as_str);
    connection
        .prepare_cached("INSERT INTO event (seq, run, epoch, at, host, op, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .and_then(|mut insert| {
            insert.execute(params![seq, run.0, epoch, at_text, host, kind.operation(run), body, prev, row.hash()])
        })
        .map_err(failed)?;
    let event = Event { seq, run, at, kind };
    project(connection, &event)?;
    Ok(event)
}

struct EventRow<'a> {
    seq: u64,
    run: u64,
    epoch: u64,
    at: &'a str,
    body: &'a str,
    prev: &'a str,
}

impl EventRow<'_> {
    fn hash(&self) -> String {
        let EventRow { seq, run, epoch, at, body, prev } = self;
        sha256_hex(format!("{prev}\n{seq}\n{run}\n{epoch}\n{at}\n{body}").as_bytes())
    }
}

/// All events of a run, in order.
pub fn events(connection: &Connection, run: RunId) -> Result<Vec<Event>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT seq, at, body, epoch, prev, hash FROM event WHERE run = ? ORDER BY seq")
        .map_err(failed)?;
    let rows = statement
        .query_map([run.0], |row| {
            let texts: [String; 4] = [row.get(1)?, row.get(2)?, row.get(4)?, row.get(5)?];
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(3)?, texts))
        })
        .map_err(failed)?;
    rows.map(|row| {
        let (seq, epoch, [at, body, prev, hash]) = row.map_err(failed)?;
        if (EventRow { seq, run: run.0, epoch, at: &at, body: &body, prev: &prev }).hash() != hash {
            return Err(StoreError::Changed { run, what: format!("the hash of event {seq} does not fit") });
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            StoreError::Failed(format!(
                "event {seq} of run {run} cannot be read: {error}; try: a newer rollcall"
            ))
        };
        let kind = serde_json::from_str(&body).map_err(|error| unreadable(&error))?;
        let at = at.parse().map_err(|error| unreadable(&error))?;
        Ok(Event { seq, run, at, kind })
    })
    .collect()
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    let (seq, run, epoch) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let [at, body, prev, hash]: [String; 4] = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
    let computed = EventRow { seq, run, epoch, at: &at, body: &body, prev: &prev }.hash();
    Ok(Link { seq, at, prev, hash, computed })
}

/// Applies the event to debts, leases, releases and ends of runs.
fn project(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    match &event.kind {
        EventKind::DrainStarted { balancer, hosts } => {
            hosts.iter().try_for_each(|host| owe(connection, event, balancer, host))
        }
        EventKind::DrainEnded { balancer, hosts, change } => match change {
            Change::Done { foreign, kept, .. } => {
                let not_ours = [foreign.as_slice(), kept].concat();
                pay(connection, event, balancer, &not_ours, Whose::OfThisRun)
            }
            Change::Refused { .. } => pay(connection, event, balancer, hosts, Whose::OfThisRun),
            Change::Unknown { .. } => Ok(()),
        },
        EventKind::EnableEnded { balancer, hosts, change: Change::Done { foreign, .. } } => {
            let back: Vec<HostName> = hosts.iter().filter(|host| !foreign.contains(host)).cloned().collect();
            pay(connection, event, balancer, &back, Whose::OfAnyRun)
        }
        EventKind::DebtSettled { host, balancer, in_rotation, .. } => {
            let (known, open) = is_owed(connection, event, balancer, host)?;
            match in_rotation {
                true if known => {
                    pay(connection, event, balancer, std::slice::from_ref(host), Whose::OfThisRun)
                }
                false if open => write_off(connection, event, balancer, host),
                _ => Err(StoreError::Failed(format!("the debt for {host} is settled already; see: debts"))),
            }
        }
        EventKind::StepEnded { host, way: BracketDirection::Forward, step, outcome, stdout, .. }
            if outcome.is_good() =>
        {
            facts::ended(connection, event, host, (*step, &stdout.text))
        }
        EventKind::ChecksEnded { host, results, .. } => {
            results.iter().try_for_each(|result| watch::seen_by_run(connection, event, host, result))
        }
        EventKind::SnapshotEnded { hosts, results, .. } => {
            let all = hosts.iter().zip(results);
            all.into_iter().try_for_each(|(host, result)| watch::seen_by_run(connection, event, host, result))
        }
        EventKind::HostSettled { host, end, why } => settled(connection, event, (host, *end), why),
        EventKind::RunEnded { outcome, .. } => ended(connection, event, outcome),
        EventKind::EnableEnded { change: Change::Refused { .. } | Change::Unknown { .. }, .. }
        | EventKind::StepEnded { .. }
        | EventKind::RunStarted { .. }
        | EventKind::BatchStarted { .. }
        | EventKind::ObserveStarted { .. }
        | EventKind::Observed { .. }
        | EventKind::ObserveFailed { .. }
        | EventKind::StepStarted { .. }
        | EventKind::StepSkipped { .. }
        | EventKind::ChecksStarted { .. }
        | EventKind::SnapshotStarted { .. }
        | EventKind::RollbackStarted { .. }
        | EventKind::EnableStarted { .. }
        | EventKind::DrainForgotten { .. }
        | EventKind::RedrainStarted { .. }
        | EventKind::RedrainEnded { .. }
        | EventKind::Stopped { .. }
        | EventKind::Paused(_)
        | EventKind::Resumed { .. }
        | EventKind::Approved { .. }
        | EventKind::Recovered { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::HookStarted { .. }
        | EventKind::HookEnded { .. } => Ok(()),
    }
}

/// The reason of its debt, and the release that it has.
fn settled(
    connection: &Connection,
    event: &Event,
    (host, end): (&HostName, End),
    why: &str,
) -> Result<(), StoreError> {
    run(
        connection,
        "UPDATE debt SET why = ? WHERE host = ? AND run = ? AND paid_seq IS NULL",
        params![why, host.as_str(), event.run.0],
    )?;
    ends::settled(connection, event, (host, end))?;
    match end {
        End::Released | End::Unchanged | End::Failing => releases::took(connection, event, (host, end)),
        // A release with started steps and an unknown end is the present release of the host, too.
        End::Held | End::Unknown | End::Failed if has_begun_steps(connection, event, host)? => {
            releases::took(connection, event, (host, end))
        }
        End::RolledBack | End::Held | End::NotStarted | End::Unknown | End::Done | End::Failed => Ok(()),
    }
}

/// The end of a run: its watchers, its leases.
fn ended(connection: &Connection, event: &Event, outcome: &RunOutcome) -> Result<(), StoreError> {
    let outcome = serde_json::to_string(outcome).map_err(failed)?;
    run(
        connection,
        "UPDATE run SET ended_at = ?, outcome = ? WHERE id = ?",
        params![event.at.to_string(), outcome, event.run.0],
    )?;
    run(connection, "DELETE FROM look WHERE run = ?", params![event.run.0])?;
    run(connection, "DELETE FROM lease WHERE run = ?", params![event.run.0])
}

/// Whether the run has a debt for the host, and whether that is not written off.
fn is_owed(
    connection: &Connection,
    event: &Event,
    balancer: &str,
    host: &HostName,
) -> Result<(bool, bool), StoreError> {
    let sql = "SELECT 1 FROM debt WHERE run = ? AND balancer = ? AND host = ? AND paid_seq IS NULL";
    let known = exists(connection, sql, params![event.run.0, balancer, host.as_str()])?;
    let sql = format!("{sql} AND off_seq IS NULL");
    Ok((known, exists(connection, &sql, params![event.run.0, balancer, host.as_str()])?))
}

/// The host stays where it is: the debt stays listed.
fn write_off(
    connection: &Connection,
    event: &Event,
    balancer: &str,
    host: &HostName,
) -> Result<(), StoreError> {
    run(
        connection,
        "UPDATE debt SET off_seq = ?
         WHERE run = ? AND balancer = ? AND host = ? AND paid_seq IS NULL AND off_seq IS NULL",
        params![event.seq, event.run.0, balancer, host.as_str()],
    )
}

fn has_begun_steps(connection: &Connection, event: &Event, host: &HostName) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM event WHERE run = ? AND host = ? AND op IS NOT NULL LIMIT 1";
    exists(connection, sql, params![event.run.0, host.as_str()])
}

fn exists(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<bool, StoreError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.exists(params)).map_err(failed)
}

fn run(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params))
        .map(drop)
        .map_err(failed)
}

fn owe(connection: &Connection, event: &Event, balancer: &str, host: &HostName) -> Result<(), StoreError> {
    run(
        connection,
        "INSERT INTO debt (host, balancer, run, since, intent_seq, why) VALUES (?, ?, ?, ?, ?, 'in its bracket')",
        params![host.as_str(), balancer, event.run.0, event.at.to_string(), event.seq],
    )
}

/// The debts that a change pays: a host that is back in rotation settles the debts of older runs, too; a
/// drain that did not happen settles only the run's own.
enum Whose {
    OfThisRun,
    OfAnyRun,
}

fn pay(
    connection: &Connection,
    event: &Event,
    balancer: &str,
    hosts: &[HostName],
    whose: Whose,
) -> Result<(), StoreError> {
    let only = match whose {
        Whose::OfThisRun => Some(event.run.0),
        Whose::OfAnyRun => None,
    };
    hosts.iter().try_for_each(|host| {
        run(
            connection,
            "UPDATE debt SET paid_seq = ? WHERE host = ? AND balancer = ? AND paid_seq IS NULL AND run = ifnull(?, run)",
            params![event.seq, host.as_str(), balancer, only],
        )
    })
}
