//! How hosts ended in runs: rows of the events that settle them, in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::End;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::Event;
use crate::domain::run::history::{EndsOfRuns, HostPast, MATRIX_RUNS, PastEnd, is_bad};
use crate::port::StoreError;

/// Most runs of one line that are read: all of a page, and some before them.
const ENDS_READ: usize = 700;

/// Keeps what runs of a plan have in common with others: the task, or the command.
pub(super) fn planned(connection: &Connection, run: RunId, plan: &Plan) -> Result<(), StoreError> {
    let subject = match (&plan.kind, plan.task()) {
        (_, Some(task)) => format!("task {task}"),
        // A retry is about what it repeats.
        (RunKind::Check | RunKind::Run, None) => plan.repeats.as_ref().unwrap_or(&plan.title).0.clone(),
        // A dry run changes nothing, and hosts that are drained on purpose have no problem.
        (
            RunKind::Release { .. }
            | RunKind::Task { .. }
            | RunKind::DryRun { .. }
            | RunKind::Facts
            | RunKind::Drain
            | RunKind::Enable,
            None,
        ) => return Ok(()),
    };
    let sql = "INSERT INTO run_subject (run, subject) VALUES (?, ?)";
    let mut insert = connection.prepare_cached(sql).map_err(failed)?;
    insert.execute(params![run.0, subject]).map(drop).map_err(failed)
}

/// Keeps the end of a host.
pub(super) fn settled(
    connection: &Connection,
    event: &Event,
    (host, end): (&HostName, End),
) -> Result<(), StoreError> {
    let Some(subject) = subject_of(connection, event.run)? else { return Ok(()) };
    let line = match line_of(connection, &subject, host)? {
        Some(line) => line,
        None => {
            let sql = "INSERT INTO host_line (subject, host) VALUES (?, ?)";
            let mut insert = connection.prepare_cached(sql).map_err(failed)?;
            insert.insert(params![subject, host.as_str()]).map_err(failed)?
        }
    };
    // The newest end of a host counts.
    let sql = "INSERT OR REPLACE INTO host_end (line, run, seq, at_s, ended) VALUES (?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(sql).map_err(failed)?;
    insert
        .execute(params![line, event.run.0, event.seq, event.at.as_second(), end.word()])
        .map(drop)
        .map_err(failed)
}

fn subject_of(connection: &Connection, run: RunId) -> Result<Option<String>, StoreError> {
    let mut found =
        connection.prepare_cached("SELECT subject FROM run_subject WHERE run = ?").map_err(failed)?;
    found.query_row([run.0], |row| row.get(0)).optional().map_err(failed)
}

fn line_of(connection: &Connection, subject: &str, host: &HostName) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM host_line WHERE subject = ? AND host = ?";
    let mut found = connection.prepare_cached(sql).map_err(failed)?;
    found.query_row([subject, host.as_str()], |row| row.get(0)).optional().map_err(failed)
}

/// The ends of a line up to a run, the newest first; of those before `from` up to the first good one.
fn past(
    connection: &Connection,
    line: i64,
    (from, newest): (RunId, RunId),
) -> Result<(Vec<PastEnd>, bool), StoreError> {
    let sql =
        "SELECT run, seq, at_s, ended FROM host_end WHERE line = ? AND run <= ? ORDER BY run DESC LIMIT ?";
    let mut rows = connection.prepare_cached(sql).map_err(failed)?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
    };
    let rows = rows.query_map(params![line, newest.0, ENDS_READ + 1], row).map_err(failed)?;
    let mut ends = Vec::new();
    for row in rows {
        let (run, seq, at_s, ended) = row.map_err(failed)?;
        let past = PastEnd { run: RunId(run), seq, at_s, end: end_of(&ended)? };
        if ends.len() == ENDS_READ {
            return Ok((ends, true));
        }
        let is_enough = past.run < from && past.end != End::NotStarted && !is_bad(past.end);
        ends.push(past);
        if is_enough {
            return Ok((ends, true));
        }
    }
    // Retention may have removed runs before them.
    let have_left = "SELECT 1 FROM chain_start WHERE chain = 'event'";
    let have_left = connection.prepare_cached(have_left).and_then(|mut query| query.exists([]));
    Ok((ends, have_left.map_err(failed)?))
}

pub(super) fn end_of(word: &str) -> Result<End, StoreError> {
    serde_json::from_value(word.into()).map_err(failed)
}

impl SqliteStore {
    /// [`crate::port::report::Reports::past`], on this thread. Other work may go on between two hosts.
    pub fn past_now(&self, run: RunId, hosts: &[HostName]) -> Result<Vec<HostPast>, StoreError> {
        let Some(subject) = subject_of(&self.lock().connection, run)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for host in hosts {
            let open = self.lock();
            if let Some(line) = line_of(&open.connection, &subject, host)? {
                let (ends, is_cut) = past(&open.connection, line, (run, run))?;
                found.push(HostPast { subject: subject.clone(), host: host.clone(), ends, is_cut });
            }
        }
        Ok(found)
    }

    /// [`crate::port::report::Reports::ends_of_runs`], on this thread. Other work may go on between two runs or hosts.
    pub fn ends_of_runs_now(&self, runs: &[RunId], most: usize) -> Result<EndsOfRuns, StoreError> {
        let (mut found, mut lines) = (EndsOfRuns::default(), BTreeSet::new());
        for run in runs {
            let open = self.lock();
            let counts = counts(&open.connection, *run)?;
            for (end, _) in counts.iter().filter(|(end, _)| is_bad(**end)) {
                found.is_cut |= !bad_lines(&open.connection, (*run, *end), most, &mut lines)?;
            }
            found.counts.insert(*run, counts);
        }
        let oldest = runs.iter().min().copied().unwrap_or(RunId(0));
        let newest = runs.iter().max().copied().unwrap_or(RunId(0));
        for line in lines {
            let open = self.lock();
            let sql = "SELECT subject, host FROM host_line WHERE id = ?";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            let names =
                open.connection.prepare_cached(sql).and_then(|mut names| names.query_row([line], row));
            let (subject, host) = names.map_err(failed)?;
            let (ends, is_cut) = past(&open.connection, line, (oldest, newest))?;
            found.past.push(HostPast { subject, host: HostName::new(host), ends, is_cut });
        }
        for run in &runs[..runs.len().min(MATRIX_RUNS)] {
            ends_of(&self.lock().connection, *run, &mut found)?;
        }
        Ok(found)
    }
}

/// How the hosts with a problem ended in a run, whatever it was about.
fn ends_of(connection: &Connection, run: RunId, found: &mut EndsOfRuns) -> Result<(), StoreError> {
    let Some(subject) = subject_of(connection, run)? else { return Ok(()) };
    let sql = "SELECT ended FROM host_end WHERE line = ? AND run = ?";
    let mut ended = connection.prepare_cached(sql).map_err(failed)?;
    for past in &found.past {
        let end = match past.subject == subject {
            true => past.end(run).map(|past| past.end),
            false => {
                let Some(line) = line_of(connection, &subject, &past.host)? else { continue };
                let word = ended.query_row(params![line, run.0], |row| row.get::<_, String>(0)).optional();
                word.map_err(failed)?.map(|word| end_of(&word)).transpose()?
            }
        };
        if let Some(end) = end {
            found.ends.entry(past.host.clone()).or_default().insert(run, end);
        }
    }
    Ok(())
}

/// How many hosts ended in each way.
fn counts(connection: &Connection, run: RunId) -> Result<BTreeMap<End, usize>, StoreError> {
    let sql = "SELECT ended, count(*) FROM host_end WHERE run = ? GROUP BY ended";
    let mut rows = connection.prepare_cached(sql).map_err(failed)?;
    let rows = rows
        .query_map([run.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, usize>(1)?)))
        .map_err(failed)?;
    rows.map(|row| {
        let (word, number) = row.map_err(failed)?;
        Ok((end_of(&word)?, number))
    })
    .collect()
}

/// Adds the lines of hosts that ended so in a run; false if there are too many.
fn bad_lines(
    connection: &Connection,
    (run, end): (RunId, End),
    most: usize,
    lines: &mut BTreeSet<i64>,
) -> Result<bool, StoreError> {
    let sql = "SELECT line FROM host_end WHERE run = ? AND ended = ? ORDER BY line";
    let mut rows = connection.prepare_cached(sql).map_err(failed)?;
    let rows = rows.query_map(params![run.0, end.word()], |row| row.get::<_, i64>(0)).map_err(failed)?;
    for line in rows {
        let line = line.map_err(failed)?;
        if lines.len() >= most && !lines.contains(&line) {
            return Ok(false);
        }
        lines.insert(line);
    }
    Ok(true)
}

#[cfg(test)]
#[path = "ends_tests.rs"]
mod tests;
