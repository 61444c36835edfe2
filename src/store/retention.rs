//! Removes the oldest runs and audit rows. A chain then begins with the next row, and its start is on record with the hash that
//! this row names.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::audit::{AUDIT, record};
use super::chain::{Chain, ChainEnd, Verifying, end_of, start_of};
use super::database::SqliteStore;
use super::error::{failed, failed_at};
use super::journal::JOURNAL;
use crate::domain::ask::audit::AuditFact;
use crate::domain::base::name::RunId;
use crate::domain::run::retention::{RunSpan, cut};
use crate::port::StoreError;

/// Rows that one transaction removes, which other writers wait for; the runs that overlap at the end of them are added.
const ROWS_AT_ONCE: u64 = 10_000;

/// Runs that are examined at once.
const RUNS_AT_ONCE: usize = 1_000;

/// The newest releases of each host stay for rollbacks, whatever their age.
const RELEASES_KEPT: usize = 20;

/// Tables whose rows are removed with their run.
const OF_RUNS: [&str; 6] = ["debt", "planned", "look", "request_key", "run_subject", "host_end"];

/// The rows that one step has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedRows {
    /// `journal` or `audit`.
    pub chain: &'static str,
    /// The numbers of the first and the last of them.
    pub first: u64,
    pub last: u64,
    /// The hash of the last one.
    pub hash: String,
}

/// The row of the audit about a removal.
pub type Fact<'a> = &'a dyn Fn(&RemovedRows) -> AuditFact;

impl SqliteStore {
    /// Removes the oldest runs whose last event is before this time, with their events; `None` if nothing is left to remove.
    ///
    /// A run under way, or with a debt that is open or was paid later than this time, stays, and so does every later one. The
    /// removal is on record in the same transaction.
    pub fn remove_runs_now(
        &self,
        before: Timestamp,
        fact: Fact<'_>,
    ) -> Result<Option<RemovedRows>, StoreError> {
        let newest = self.read_chain(&JOURNAL)?;
        let Some(newest) = newest else { return Ok(None) };
        let spans = self.spans(before)?;
        let Some(last) = cut(spans, newest.seq, ROWS_AT_ONCE) else { return Ok(None) };
        self.lock().compare(&AUDIT)?;
        self.transact(|connection| {
            let removed = move_start(connection, &JOURNAL, last)?;
            connection.execute("DELETE FROM event WHERE seq <= ?", [last]).map_err(failed)?;
            remove_runs_without_events(connection)?;
            record(connection, vec![fact(&removed)])?;
            Ok(Some(removed))
        })
    }

    /// Removes the oldest rows of the audit that are from before this time; `None` if nothing is left to remove.
    pub fn remove_audit_now(
        &self,
        before: Timestamp,
        fact: Fact<'_>,
    ) -> Result<Option<RemovedRows>, StoreError> {
        let Some(newest) = self.read_chain(&AUDIT)? else { return Ok(None) };
        // Up to the first row that is not old: a clock that went wrong for a while may have given later rows an old time.
        let young = self.read(|connection| {
            let sql = "SELECT min(seq) FROM audit WHERE at >= ?";
            connection.query_row(sql, [format!("{before:.6}")], |row| row.get::<_, Option<u64>>(0))
        })?;
        self.lock().compare(&AUDIT)?;
        self.transact(|connection| {
            let start = start_of(connection, &AUDIT)?.map_or(0, |start| start.seq);
            // The last row stays: the next one is hashed together with it.
            let last = young.unwrap_or(u64::MAX).min(newest.seq).min(start + ROWS_AT_ONCE + 1) - 1;
            if last <= start {
                return Ok(None);
            }
            let removed = move_start(connection, &AUDIT, last)?;
            connection.execute("DELETE FROM audit WHERE seq <= ?", [last]).map_err(failed)?;
            record(connection, vec![fact(&removed)])?;
            Ok(Some(removed))
        })
    }

    /// The oldest run, if it is older than this time and stays: it keeps all later ones.
    pub fn oldest_that_stays_now(&self, before: Timestamp) -> Result<Option<RunId>, StoreError> {
        let sql = "SELECT id, (SELECT max(seq) FROM event WHERE run = id) FROM run INDEXED BY run_list
                   WHERE id < (SELECT max(id) FROM run) ORDER BY id LIMIT 1";
        let open = self.lock();
        let row =
            open.connection.query_row(sql, [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)));
        let Some((run, last)) = row.optional().map_err(failed)? else { return Ok(None) };
        Ok(Some(RunId(run)).filter(|_| time_of(&open.connection, last).is_ok_and(|at| at < before)))
    }

    fn read_chain(&self, chain: &Chain) -> Result<Option<ChainEnd>, StoreError> {
        end_of(&self.lock().connection, chain)
    }

    /// The oldest runs, up to the first one that stays.
    fn spans(&self, before: Timestamp) -> Result<Vec<RunSpan>, StoreError> {
        let sql = "SELECT (SELECT min(seq) FROM event WHERE run = id), (SELECT max(seq) FROM event WHERE run = id),
                   outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM debt WHERE debt.run = id AND paid_seq IS NULL),
                   (SELECT max(paid_seq) FROM debt WHERE debt.run = id)
                   FROM run INDEXED BY run_list ORDER BY id LIMIT ?";
        let open = self.lock();
        let mut statement = open.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([RUNS_AT_ONCE]).map_err(failed)?;
        let mut spans = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (first, last) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let is_over: bool = row.get(2).map_err(failed)?;
            let paid: Option<u64> = row.get(3).map_err(failed)?;
            let last_of_all = paid.unwrap_or(0).max(last);
            let is_removable = is_over && time_of(&open.connection, last_of_all)? < before;
            let is_last = spans.len() + 1 == RUNS_AT_ONCE;
            spans.push(RunSpan { first, last, is_removable: is_removable && !is_last });
            if !is_removable {
                break;
            }
        }
        Ok(spans)
    }
}

/// The size of a store before and after it was written anew, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    pub before: u64,
    pub after: u64,
}

/// Writes a store anew, without the space of removed rows. It must not be in use, and needs as much free space as it has.
pub fn vacuum(path: &Path) -> Result<Freed, StoreError> {
    let size = || std::fs::metadata(path).map(|about| about.len());
    let Ok(before) = size() else {
        return Err(StoreError::Failed(format!("{}: there is no store; try: --config DIR", path.display())));
    };
    // Opened as always, so that a damaged store is refused and not written anew.
    let store = SqliteStore::open(path)?;
    let written = store.lock().connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    written.map_err(|error| failed_at(path, &error))?;
    drop(store);
    Ok(Freed { before, after: size().map_err(failed)? })
}

fn time_of(connection: &Connection, seq: u64) -> Result<Timestamp, StoreError> {
    let text: String = connection
        .prepare_cached("SELECT at FROM event WHERE seq = ?")
        .and_then(|mut statement| statement.query_row([seq], |row| row.get(0)))
        .map_err(failed)?;
    text.parse().map_err(failed)
}

/// Verifies the rows up to this one, and records that the chain begins behind it. Removing rows that were changed would
/// remove the evidence.
fn move_start(connection: &Connection, chain: &'static Chain, last: u64) -> Result<RemovedRows, StoreError> {
    let mut verifying = Verifying::whole(chain, connection)?;
    while verifying.after < last && verifying.page(connection)?.rows > 0 {}
    let first = start_of(connection, chain)?.map_or(1, |start| start.seq + 1);
    let row = connection
        .query_row(&format!("SELECT hash, at FROM {} WHERE seq = ?", chain.table), [last], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()
        .map_err(failed)?;
    let Some((hash, at)) = row else {
        return Err(StoreError::Failed(format!("the {} has no {} {last}", chain.noun, chain.row)));
    };
    connection
        .execute(
            "INSERT INTO chain_start (chain, seq, hash, at) VALUES (?, ?, ?, ?)
             ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at",
            params![chain.table, last, hash, at],
        )
        .map_err(failed)?;
    Ok(RemovedRows { chain: chain.noun, first, last, hash })
}

/// Removes the runs that have no events any more, and what refers to them.
fn remove_runs_without_events(connection: &Connection) -> Result<(), StoreError> {
    let gone = "SELECT id FROM temp.gone";
    let run = |sql: &str| connection.execute(sql, []).map(drop).map_err(failed);
    run("CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY)")?;
    run("DELETE FROM temp.gone")?;
    run(
        "INSERT INTO temp.gone SELECT id FROM run WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.run = run.id)",
    )?;
    run(&format!("UPDATE chain_start SET run = (SELECT max(id) FROM ({gone})) WHERE chain = 'event'"))?;
    for table in OF_RUNS {
        run(&format!("DELETE FROM {table} WHERE run IN ({gone})"))?;
    }
    run(&format!("DELETE FROM lease WHERE run IN ({gone})"))?;
    run(&format!(
        "DELETE FROM taken WHERE run IN ({gone}) AND run NOT IN
         (SELECT newer.run FROM taken newer WHERE newer.host = taken.host ORDER BY newer.run DESC LIMIT {RELEASES_KEPT})"
    ))?;
    run("DELETE FROM host_line WHERE NOT EXISTS (SELECT 1 FROM host_end WHERE line = host_line.id)")?;
    run(&format!("DELETE FROM run WHERE id IN ({gone})"))
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
