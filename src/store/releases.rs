//! Releases: those planned for hosts, those that hosts took over, and the marks of operators.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::End;
use crate::domain::plan::plan::Plan;
use crate::domain::plan::release::{Release, ReleaseMark, ReleaseTakeover};
use crate::domain::run::event::Event;
use crate::port::StoreError;

/// Most releases that are returned for each host: more than any rollback needs.
const TOLD_PER_HOST: usize = 20;

/// Records the release that each host has when it ends released.
pub(super) fn planned(connection: &Connection, run: RunId, plan: &Plan) -> Result<(), StoreError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO planned (run, host, task, params, fingerprint) VALUES (?, ?, ?, ?, ?)")
        .map_err(failed)?;
    for (host, planned) in &plan.hosts {
        let Some(Release { task, params, fingerprint }) = &planned.release else { continue };
        let params = serde_json::to_string(params).map_err(failed)?;
        insert.execute(params![run.0, host.as_str(), task, params, fingerprint]).map_err(failed)?;
    }
    Ok(())
}

/// Records that a host has the planned release. A rollback leads to it only if the host did not have it already.
pub(super) fn took(
    connection: &Connection,
    event: &Event,
    (host, end): (&HostName, End),
) -> Result<(), StoreError> {
    let good = matches!(end, End::Released | End::Unchanged);
    let moved = end != End::Unchanged;
    connection
        .prepare_cached(
            "INSERT INTO taken (host, run, task, params, fingerprint, good, at, goes_back, rollback_failed)
             SELECT host, run, planned.task, planned.params, fingerprint, ?1, ?2, goes_back AND ?5,
             NOT ?1 AND EXISTS (SELECT 1 FROM event WHERE event.run = ?3 AND event.host = ?4
                AND substr(body, 1, 26) = '{\"type\":\"rollback-started\"')
             FROM planned JOIN run ON run.id = planned.run WHERE run = ?3 AND host = ?4",
        )
        .and_then(|mut insert| {
            insert.execute(params![good, event.at.to_string(), event.run.0, host.as_str(), moved])
        })
        .map(drop)
        .map_err(failed)
}

impl SqliteStore {
    /// [`crate::port::Store::taken`], on this thread.
    pub fn taken_now(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT host, task, params, fingerprint, good, run, at, goes_back, rollback_failed FROM
                 (SELECT *, row_number() OVER (PARTITION BY host ORDER BY run DESC) AS nth FROM taken)
                 WHERE nth <= ? ORDER BY host, run DESC",
            )?;
            let rows = statement.query_map([TOLD_PER_HOST], |row| {
                let texts: (String, String, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let state = (row.get::<_, bool>(4)?, row.get::<_, bool>(7)?, row.get::<_, bool>(8)?);
                Ok((texts, state, row.get::<_, u64>(5)?, row.get::<_, String>(6)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let mut taken: BTreeMap<HostName, Vec<ReleaseTakeover>> = BTreeMap::new();
        for ((host, task, params, fingerprint), (good, back, rollback_failed), run, at) in rows {
            let params = serde_json::from_str(&params).map_err(failed)?;
            let release = Release { task, params, fingerprint };
            let at = at.parse().map_err(failed)?;
            let one = ReleaseTakeover { release, good, back, rollback_failed, run: RunId(run), at };
            taken.entry(HostName::new(host)).or_default().push(one);
        }
        Ok(taken)
    }

    /// [`crate::port::Store::marks`], on this thread.
    pub fn marks_now(&self) -> Result<Vec<ReleaseMark>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT task, params, bad, by_name, by_key, reason, at FROM mark ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                let texts: (String, String, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
                Ok((texts, row.get::<_, bool>(2)?, row.get::<_, String>(5)?, row.get::<_, String>(6)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter()
            .map(|((task, params, by, key), bad, reason, at)| {
                let params = serde_json::from_str(&params).map_err(failed)?;
                Ok(ReleaseMark { task, params, bad, by, key, reason, at: at.parse().map_err(failed)? })
            })
            .collect()
    }

    /// [`crate::port::Store::mark`], on this thread.
    pub fn mark_now(&self, mark: &ReleaseMark) -> Result<(), StoreError> {
        let ReleaseMark { task, params, bad, by, key, reason, at } = mark;
        let params = serde_json::to_string(params).map_err(failed)?;
        self.transact(|connection| {
            connection
                .execute(
                    "INSERT INTO mark (task, params, bad, by_name, by_key, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    params![task, params, bad, by, key, reason, at.to_string()],
                )
                .map(drop)
                .map_err(failed)
        })
    }
}
