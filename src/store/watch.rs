//! The stored records of watched checks: states, probes, changes, downtimes; and probes of runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::alerts;
use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::run::event::Event;
use crate::domain::watch::roll::{Changed, Downtime, History, Sample};
use crate::domain::watch::roster::{Batch, WatchedId};
use crate::domain::watch::subject::Subject;
use crate::domain::watch::watched::Watched;
use crate::port::{StoreError, Watches};

/// Series that one call of prune handles, and probes of each that it deletes: it must not block the store for long.
const PRUNE_SERIES: usize = 200;
const PRUNE_LOOKS: usize = 500;

/// Most changes of one check that are returned.
const CHANGES_SHOWN: usize = 200;

/// Stores a probe of a run, and the change if its verdict differs from the probe before. The states of watched checks
/// do not change by it.
pub(super) fn seen_by_run(
    connection: &Connection,
    event: &Event,
    host: &HostName,
    result: &CheckResult,
) -> Result<(), StoreError> {
    if result.no_contact {
        return Ok(());
    }
    let series = series_of(connection, host, &Subject::Check(result.check.clone()))?;
    let before = connection
        .prepare_cached("SELECT verdict FROM sample WHERE series = ? ORDER BY at DESC LIMIT 1")
        .and_then(|mut last| last.query_row([series], |row| row.get::<_, i64>(0)).optional())
        .map_err(failed)?;
    let value = result.readings.first().and_then(|reading| reading.value);
    let (at, run) = (event.at, Some(event.run));
    add_sample(
        connection,
        series,
        &Sample { at, verdict: result.verdict, value, took_ms: result.took_ms, run },
    )?;
    if before == Some(i64::from(result.verdict.exit_status())) {
        return Ok(());
    }
    let (verdict, text) = (result.verdict, result.text.clone());
    add_change(connection, series, &Changed { at, verdict, hard: true, text, note: None, run })
}

pub(super) fn series_of(
    connection: &Connection,
    host: &HostName,
    subject: &Subject,
) -> Result<i64, StoreError> {
    let (set, name) = subject.row();
    let key = [host.as_str(), set, name];
    let known = connection
        .prepare_cached("SELECT id FROM series WHERE host = ? AND set_name = ? AND name = ?")
        .and_then(|mut find| find.query_row(key, |row| row.get(0)).optional())
        .map_err(failed)?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO series (host, set_name, name) VALUES (?, ?, ?) RETURNING id")
        .and_then(|mut insert| insert.query_row(key, |row| row.get(0)))
        .map_err(failed)
}

fn add_sample(connection: &Connection, series: i64, sample: &Sample) -> Result<(), StoreError> {
    let Sample { at, verdict, value, took_ms, run } = sample;
    let run = run.map(|run| run.0);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sample (series, at, verdict, value, took_ms, run) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut add| {
            add.execute(params![series, at.as_millisecond(), verdict.exit_status(), value, took_ms, run])
        })
        .map(drop)
        .map_err(failed)
}

fn add_change(connection: &Connection, series: i64, changed: &Changed) -> Result<(), StoreError> {
    let body = serde_json::to_string(changed).map_err(failed)?;
    connection
        .prepare_cached("INSERT INTO turn (series, at, body) VALUES (?, ?, ?)")
        .and_then(|mut add| add.execute(params![series, changed.at.as_millisecond(), body]))
        .map(drop)
        .map_err(failed)
}

fn keep(connection: &Connection, batch: &Batch) -> Result<(), StoreError> {
    for (key, sample) in &batch.samples {
        add_sample(connection, series_of(connection, &key.host, &key.check)?, sample)?;
    }
    for (key, changed) in &batch.changes {
        add_change(connection, series_of(connection, &key.host, &key.check)?, changed)?;
    }
    for (key, state) in &batch.states {
        let series = series_of(connection, &key.host, &key.check)?;
        let state = serde_json::to_string(state).map_err(failed)?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO watched (series, state) VALUES (?, ?)")
            .and_then(|mut put| put.execute(params![series, state]))
            .map_err(failed)?;
    }
    for key in &batch.gone {
        let (set, name) = key.check.row();
        let sql = "DELETE FROM watched WHERE series =
                   (SELECT id FROM series WHERE host = ? AND set_name = ? AND name = ?)";
        connection
            .prepare_cached(sql)
            .and_then(|mut delete| delete.execute([key.host.as_str(), set, name]))
            .map_err(failed)?;
    }
    batch.alerts.iter().try_for_each(|alert| alerts::append(connection, alert))
}

fn verdict_of(status: i64) -> Verdict {
    match status {
        0 => Verdict::Ok,
        1 => Verdict::Warning,
        2 => Verdict::Critical,
        _ => Verdict::Unknown,
    }
}

fn time_of(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl SqliteStore {
    /// [`Watches::watched`], on this thread. The time of the last probe is read from the probes: a state is
    /// written only when it changes.
    pub fn watched_now(&self) -> Result<(HashMap<WatchedId, Watched>, Vec<Downtime>), StoreError> {
        let (states, downtimes) = self.read(|connection| {
            let mut states = connection.prepare(
                "SELECT host, set_name, name, state, (SELECT max(at) FROM sample WHERE sample.series = watched.series AND run IS NULL)
                 FROM watched JOIN series ON series.id = watched.series",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let text = |at| row.get::<_, String>(at);
                Ok((text(0)?, text(1)?, text(2)?, text(3)?, row.get::<_, Option<i64>>(4)?))
            };
            let states = states.query_map([], row)?.collect::<Result<Vec<_>, _>>()?;
            let mut downtimes = connection.prepare("SELECT id, body FROM downtime WHERE ended = 0 ORDER BY id")?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?));
            Ok((states, downtimes.query_map([], row)?.collect::<Result<Vec<_>, _>>()?))
        })?;
        let state = |(host, set, name, state, last): (String, String, String, String, Option<i64>)| {
            let mut state: Watched = serde_json::from_str(&state).map_err(failed)?;
            state.last_at = state.last_at.max(last.map(time_of));
            Ok((WatchedId { host: HostName::new(host), check: Subject::of_row(&set, &name) }, state))
        };
        let downtime = |(id, body): (u64, String)| {
            let downtime: Downtime = serde_json::from_str(&body).map_err(failed)?;
            Ok(Downtime { id, ..downtime })
        };
        let states = states.into_iter().map(state).collect::<Result<_, StoreError>>()?;
        Ok((states, downtimes.into_iter().map(downtime).collect::<Result<_, StoreError>>()?))
    }

    /// [`Watches::keep`], on this thread.
    pub fn keep_now(&self, batch: &Batch) -> Result<(), StoreError> {
        self.transact(|connection| keep(connection, batch))
    }

    /// [`Watches::begin_downtime`], on this thread.
    pub fn begin_downtime_now(&self, downtime: &Downtime) -> Result<u64, StoreError> {
        let body = serde_json::to_string(downtime).map_err(failed)?;
        self.transact(|connection| {
            let id = "INSERT INTO downtime (body) VALUES (?) RETURNING id";
            connection.query_row(id, [body], |row| row.get(0)).map_err(failed)
        })
    }

    /// [`Watches::end_downtime`], on this thread.
    pub fn end_downtime_now(&self, id: u64) -> Result<(), StoreError> {
        self.transact(|connection| {
            connection.execute("UPDATE downtime SET ended = 1 WHERE id = ?", [id]).map(drop).map_err(failed)
        })
    }

    /// [`Watches::history`], on this thread.
    pub fn history_now(&self, host: &HostName, limit: usize) -> Result<Vec<History>, StoreError> {
        let series = self.read(|connection| {
            let sql = "SELECT id, set_name, name FROM series WHERE host = ? ORDER BY id";
            let mut series = connection.prepare_cached(sql)?;
            let rows = series.query_map([host.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let one = |(id, set, name): (i64, String, String)| {
            let (mut samples, bodies) =
                self.read(|connection| Ok((samples(connection, id, limit)?, turns(connection, id)?)))?;
            samples.reverse();
            let changes = bodies.iter().rev().map(|body| serde_json::from_str(body).map_err(failed));
            let check = Subject::of_row(&set, &name);
            Ok(History { check, samples, changes: changes.collect::<Result<_, StoreError>>()? })
        };
        series.into_iter().map(one).collect()
    }

    /// [`Watches::prune`], on this thread.
    pub fn prune_now(&self, samples: Timestamp, changes: Timestamp, from: u64) -> Result<u64, StoreError> {
        if from == 0 {
            self.transact(|connection| super::alerts::prune(connection, changes).map_err(failed))?;
        }
        let ids: Vec<i64> = self.read(|connection| {
            let mut ids =
                connection.prepare_cached("SELECT id FROM series WHERE id > ? ORDER BY id LIMIT ?")?;
            ids.query_map(params![from, PRUNE_SERIES], |row| row.get(0))?.collect()
        })?;
        let Some(last) = ids.last().filter(|_| ids.len() == PRUNE_SERIES).or(ids.last()) else {
            return Ok(0);
        };
        self.transact(|connection| {
            ids.iter().try_for_each(|id| prune_one(connection, *id, samples, changes)).map_err(failed)
        })?;
        let next = if ids.len() < PRUNE_SERIES { 0 } else { *last };
        Ok(u64::try_from(next).unwrap_or_default())
    }
}

fn samples(connection: &Connection, series: i64, limit: usize) -> Result<Vec<Sample>, rusqlite::Error> {
    let sql = "SELECT at, verdict, value, took_ms, run FROM sample WHERE series = ? ORDER BY at DESC LIMIT ?";
    let mut rows = connection.prepare_cached(sql)?;
    let sample = |row: &rusqlite::Row<'_>| {
        Ok(Sample {
            at: time_of(row.get(0)?),
            verdict: verdict_of(row.get(1)?),
            value: row.get(2)?,
            took_ms: row.get(3)?,
            run: row.get::<_, Option<u64>>(4)?.map(RunId),
        })
    };
    rows.query_map(params![series, limit], sample)?.collect()
}

fn turns(connection: &Connection, series: i64) -> Result<Vec<String>, rusqlite::Error> {
    let mut rows = connection
        .prepare_cached("SELECT body FROM turn WHERE series = ? ORDER BY at DESC, id DESC LIMIT ?")?;
    rows.query_map(params![series, CHANGES_SHOWN], |row| row.get(0))?.collect()
}

fn prune_one(
    connection: &Connection,
    series: i64,
    samples: Timestamp,
    changes: Timestamp,
) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM sample WHERE series = ?1 AND at < min(?2,
               ifnull((SELECT at FROM sample WHERE series = ?1 ORDER BY at LIMIT 1 OFFSET ?3), ?2))";
    connection.prepare_cached(sql)?.execute(params![series, samples.as_millisecond(), PRUNE_LOOKS])?;
    // The last change shows the present verdict: it is kept as long as the check has any record.
    let sql = "DELETE FROM turn WHERE series = ?1 AND at < ?2
               AND id <> (SELECT id FROM turn WHERE series = ?1 ORDER BY at DESC, id DESC LIMIT 1)";
    connection.prepare_cached(sql)?.execute(params![series, changes.as_millisecond()])?;
    let sql = "SELECT 1 FROM watched WHERE series = ?1 UNION ALL SELECT 1 FROM sample WHERE series = ?1
               UNION ALL SELECT 1 FROM turn WHERE series = ?1 AND at >= ?2 LIMIT 1";
    if !connection.prepare_cached(sql)?.exists(params![series, changes.as_millisecond()])? {
        connection.prepare_cached("DELETE FROM turn WHERE series = ?")?.execute([series])?;
        connection.prepare_cached("DELETE FROM series WHERE id = ?")?.execute([series])?;
    }
    Ok(())
}

#[async_trait]
impl Watches for SqliteStore {
    async fn watched(&self) -> Result<(HashMap<WatchedId, Watched>, Vec<Downtime>), StoreError> {
        self.off_thread(|store| store.watched_now()).await
    }

    async fn keep(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        self.off_thread(move |store| store.keep_now(&batch)).await
    }

    async fn begin_downtime(&self, downtime: &Downtime) -> Result<u64, StoreError> {
        let downtime = downtime.clone();
        self.off_thread(move |store| store.begin_downtime_now(&downtime)).await
    }

    async fn end_downtime(&self, id: u64) -> Result<(), StoreError> {
        self.off_thread(move |store| store.end_downtime_now(id)).await
    }

    async fn history(&self, host: &HostName, limit: usize) -> Result<Vec<History>, StoreError> {
        let host = host.clone();
        self.off_thread(move |store| store.history_now(&host, limit)).await
    }

    async fn adopt(&self, checks: BTreeMap<HostName, Vec<CheckId>>) -> Result<(), StoreError> {
        self.off_thread(move |store| store.adopt_now(&checks)).await
    }

    async fn prune(&self, samples: Timestamp, changes: Timestamp, from: u64) -> Result<u64, StoreError> {
        self.off_thread(move |store| store.prune_now(samples, changes, from)).await
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
