//! Compares rows with the journal, which alone is verified by its hashes: the plan of a run, who started
//! it, and at start the debts, leases and ends of runs that follow from the events.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::chain::CHECKED_AT_START_ROWS;
use super::error::failed;
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::event::{Change, Event, EventKind};
use crate::port::StoreError;

/// The row of a run.
pub(super) struct RunRow<'a> {
    pub plan: &'a str,
    pub by: &'a str,
    pub title: &'a str,
}

/// Refuses a run whose row does not match its first event.
pub(super) fn verify_run(run: RunId, row: &RunRow<'_>, events: &[Event]) -> Result<(), StoreError> {
    let changed = |what: &str| StoreError::Changed { run, what: what.into() };
    let Some(EventKind::RunStarted { title, by, plan_sha256, .. }) = events.first().map(|event| &event.kind)
    else {
        return Err(changed("the journal has no event that begins it"));
    };
    if sha256_hex(row.plan.as_bytes()) != *plan_sha256 {
        return Err(changed("its plan is not the one that was journaled when it began"));
    }
    if (row.title, row.by) != (title, by) {
        return Err(changed("its title or its operator is not the one that was journaled"));
    }
    Ok(())
}

/// A debt: host, balancer and the event that created it.
type Debts = BTreeMap<(String, String, u64), DebtEvents>;

/// The run of a debt, and the events that paid it and wrote it off.
#[derive(Clone, Debug, PartialEq)]
struct DebtEvents {
    run: u64,
    paid: Option<u64>,
    off: Option<u64>,
}

/// Compares debts, leases and ends of runs with the last events of the journal. Of older debts only
/// the payments by these events are compared.
pub(super) fn verify_projections(connection: &Connection) -> Result<(), StoreError> {
    let Some((first, events)) = last_events(connection)? else { return Ok(()) };
    let found = debts(connection)?;
    let mut debts: Debts = found
        .iter()
        .filter(|((_, _, made), _)| *made < first)
        .map(|(key, kept)| {
            let before = |seq: Option<u64>| seq.filter(|seq| *seq < first);
            (key.clone(), DebtEvents { run: kept.run, paid: before(kept.paid), off: before(kept.off) })
        })
        .collect();
    let mut ended = BTreeSet::new();
    for event in &events {
        project(&mut debts, &mut ended, event);
    }
    if let Some((host, ..)) = difference(&found, &debts) {
        return Err(changed(&format!("what the store says of debts of {host}")));
    }
    verify_ends(connection, first, &ended)
}

fn changed(what: &str) -> StoreError {
    StoreError::Failed(format!("{what} is not what the journal says; try: restore the store from a copy"))
}

/// The last events about debts and ends of runs, and the number of the first of them.
fn last_events(connection: &Connection) -> Result<Option<(u64, Vec<Event>)>, StoreError> {
    let first: Option<u64> = connection
        .query_row("SELECT max(seq) - ? + 1 FROM event", [CHECKED_AT_START_ROWS], |row| {
            row.get::<_, Option<i64>>(0).map(|first| first.map(|first| u64::try_from(first).unwrap_or(0)))
        })
        .map_err(failed)?;
    let Some(first) = first else { return Ok(None) };
    let mut statement = connection
        .prepare(
            "SELECT seq, run, at, body FROM event WHERE seq >= ? AND
             (body LIKE '{\"type\":\"drain-%' OR body LIKE '{\"type\":\"enable-%'
              OR body LIKE '{\"type\":\"debt-%' OR body LIKE '{\"type\":\"run-ended\"%') ORDER BY seq",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map([first], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
        })
        .map_err(failed)?;
    let event = |row| {
        let (seq, run, at, body): (u64, u64, String, String) = row;
        let unreadable = || StoreError::Failed(format!("event {seq} cannot be read; try: a newer rollcall"));
        let kind = serde_json::from_str(&body).map_err(|_| unreadable())?;
        Ok(Event { seq, run: RunId(run), at: at.parse().map_err(|_| unreadable())?, kind })
    };
    let events = rows.map(|row| event(row.map_err(failed)?)).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Some((first, events)))
}

fn debts(connection: &Connection) -> Result<Debts, StoreError> {
    let sql = "SELECT host, balancer, intent_seq, run, paid_seq, off_seq FROM debt";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let rows = statement
        .query_map([], |row| {
            let kept = DebtEvents { run: row.get(3)?, paid: row.get(4)?, off: row.get(5)? };
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), kept))
        })
        .map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// The same projection as `journal::project`, without the tables.
fn project(debts: &mut Debts, ended: &mut BTreeSet<u64>, event: &Event) {
    let run = event.run.0;
    let mut pay = |balancer: &str, hosts: &[HostName], only: Option<u64>| {
        let open = debts.iter_mut().filter(|((host, of, _), kept)| {
            of == balancer
                && kept.paid.is_none()
                && only.is_none_or(|only| only == kept.run)
                && hosts.iter().any(|paying| paying.as_str() == host)
        });
        open.for_each(|(_, kept)| kept.paid = Some(event.seq));
    };
    match &event.kind {
        EventKind::DrainStarted { balancer, hosts } => {
            for host in hosts {
                let kept = DebtEvents { run, paid: None, off: None };
                debts.insert((host.as_str().into(), balancer.clone(), event.seq), kept);
            }
        }
        EventKind::DrainEnded { balancer, hosts, change } => match change {
            Change::Done { foreign, kept, .. } => {
                pay(balancer, foreign, Some(run));
                pay(balancer, kept, Some(run));
            }
            Change::Refused { .. } => pay(balancer, hosts, Some(run)),
            Change::Unknown { .. } => {}
        },
        EventKind::EnableEnded { balancer, hosts, change: Change::Done { foreign, .. } } => {
            let back: Vec<HostName> = hosts.iter().filter(|host| !foreign.contains(host)).cloned().collect();
            pay(balancer, &back, None);
        }
        EventKind::DebtSettled { host, balancer, in_rotation: true, .. } => {
            pay(balancer, std::slice::from_ref(host), Some(run));
        }
        EventKind::DebtSettled { host, balancer, .. } => write_off(debts, event, (balancer, host)),
        EventKind::RunEnded { .. } => _ = ended.insert(run),
        EventKind::EnableEnded { change: Change::Refused { .. } | Change::Unknown { .. }, .. }
        | EventKind::RunStarted { .. }
        | EventKind::BatchStarted { .. }
        | EventKind::ObserveStarted { .. }
        | EventKind::Observed { .. }
        | EventKind::ObserveFailed { .. }
        | EventKind::StepStarted { .. }
        | EventKind::StepEnded { .. }
        | EventKind::StepSkipped { .. }
        | EventKind::ChecksStarted { .. }
        | EventKind::ChecksEnded { .. }
        | EventKind::SnapshotStarted { .. }
        | EventKind::SnapshotEnded { .. }
        | EventKind::RollbackStarted { .. }
        | EventKind::EnableStarted { .. }
        | EventKind::HostSettled { .. }
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
        | EventKind::HookEnded { .. } => {}
    }
}

fn write_off(debts: &mut Debts, event: &Event, (balancer, host): (&str, &HostName)) {
    let open = debts.iter_mut().filter(|((of, at, _), kept)| {
        let is_open = kept.paid.is_none() && kept.off.is_none();
        of == host.as_str() && at == balancer && kept.run == event.run.0 && is_open
    });
    open.for_each(|(_, kept)| kept.off = Some(event.seq));
}

fn difference<'a>(found: &'a Debts, computed: &'a Debts) -> Option<&'a (String, String, u64)> {
    let differs = |one: &'a Debts, other: &'a Debts| {
        one.iter().find(|(key, value)| other.get(*key) != Some(value)).map(|(key, _)| key)
    };
    differs(found, computed).or_else(|| differs(computed, found))
}

/// A run is over if and only if an event says so; and only runs that are not over hold leases.
fn verify_ends(connection: &Connection, first: u64, ended: &BTreeSet<u64>) -> Result<(), StoreError> {
    let numbers = |sql: &str, params: &[u64]| -> Result<BTreeSet<u64>, StoreError> {
        let mut statement = connection.prepare(sql).map_err(failed)?;
        let rows =
            statement.query_map(rusqlite::params_from_iter(params), |row| row.get(0)).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    };
    let begun = numbers("SELECT DISTINCT run FROM event WHERE seq >= ?", &[first])?;
    let kept = numbers("SELECT id FROM run", &[])?;
    if let Some(lost) = begun.difference(&kept).next() {
        return Err(changed(&format!("the run {lost}, which the store no longer has,")));
    }
    let over = numbers("SELECT id FROM run WHERE outcome IS NOT NULL", &[])?;
    // A run without any of the last events may have ended before them.
    let wrong = begun.iter().find(|run| ended.contains(run) && !over.contains(run));
    let wrong = wrong.or_else(|| {
        let open = |run: &&u64| over.contains(run) && !ended.contains(run);
        begun.iter().filter(open).find(|run| !has_ended_before(connection, **run, first))
    });
    if let Some(run) = wrong {
        return Err(changed(&format!("how run {run} ended")));
    }
    let holders = numbers("SELECT DISTINCT run FROM lease", &[])?;
    match holders.intersection(&over).next() {
        Some(run) => Err(changed(&format!("the lease of run {run}"))),
        None => Ok(()),
    }
}

/// True when a run ended before its last events: an operator settled a debt of it later.
fn has_ended_before(connection: &Connection, run: u64, first: u64) -> bool {
    let sql = "SELECT 1 FROM event WHERE run = ? AND seq < ? AND body LIKE '{\"type\":\"run-ended\"%'";
    connection.prepare(sql).and_then(|mut statement| statement.exists([run, first])).unwrap_or(false)
}
