//! Rows that an earlier build wrote under the bare name of a check get their set, once the configuration names it.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::database::SqliteStore;
use super::error::failed;
use super::watch::series_of;
use crate::domain::base::name::HostName;
use crate::domain::check::id::CheckId;
use crate::domain::watch::subject::{REACHABLE, Subject};
use crate::port::StoreError;

impl SqliteStore {
    /// [`crate::port::Watches::adopt`], on this thread.
    pub fn adopt_now(&self, checks: &BTreeMap<HostName, Vec<CheckId>>) -> Result<(), StoreError> {
        self.transact(|connection| {
            for (id, host, name) in old_series(connection)? {
                if let Some(check) = of_old(checks, &host, &name) {
                    join_series(connection, id, &host, check)?;
                }
            }
            for (host, name) in old_places(connection)? {
                adopt_place(connection, (&host, &name), of_old(checks, &host, &name))?;
            }
            Ok(())
        })
    }
}

/// The check of a host for an old row with this name; `None` if several checks have the name, or none.
///
/// Of two checks with one name the second has its full name in old rows, and so has one with the name `reachable`.
fn of_old<'c>(
    checks: &'c BTreeMap<HostName, Vec<CheckId>>,
    host: &HostName,
    name: &str,
) -> Option<&'c CheckId> {
    let of_host = checks.get(host)?;
    let whole = of_host.iter().find(|id| id.is_written(name));
    let mut bare = of_host.iter().filter(|id| *id.name == *name);
    whole.or_else(|| bare.next().filter(|_| bare.next().is_none()))
}

fn old_series(connection: &Connection) -> Result<Vec<(i64, HostName, String)>, StoreError> {
    let sql = "SELECT id, host, name FROM series WHERE set_name = '' AND name <> ?";
    let mut rows = connection.prepare_cached(sql).map_err(failed)?;
    let row =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, HostName::new(row.get::<_, String>(1)?), row.get(2)?));
    rows.query_map([REACHABLE], row).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// Moves the rows to the series of the check, where a run may have stored some already.
fn join_series(
    connection: &Connection,
    old: i64,
    host: &HostName,
    check: &CheckId,
) -> Result<(), StoreError> {
    let new = series_of(connection, host, &Subject::Check(check.clone()))?;
    for sql in [
        "UPDATE OR IGNORE sample SET series = ?2 WHERE series = ?1",
        "UPDATE turn SET series = ?2 WHERE series = ?1",
        "UPDATE OR IGNORE watched SET series = ?2 WHERE series = ?1",
    ] {
        connection.prepare_cached(sql).and_then(|mut join| join.execute([old, new])).map_err(failed)?;
    }
    for sql in [
        "DELETE FROM sample WHERE series = ?",
        "DELETE FROM watched WHERE series = ?",
        "DELETE FROM series WHERE id = ?",
    ] {
        connection.prepare_cached(sql).and_then(|mut delete| delete.execute([old])).map_err(failed)?;
    }
    Ok(())
}

fn old_places(connection: &Connection) -> Result<Vec<(HostName, String)>, StoreError> {
    let sql = "SELECT DISTINCT host, what FROM place WHERE set_name = ''";
    let mut rows = connection.prepare_cached(sql).map_err(failed)?;
    let row = |row: &rusqlite::Row<'_>| Ok((HostName::new(row.get::<_, String>(0)?), row.get(1)?));
    rows.query_map([], row).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// A position that two checks have shared belongs to neither: each starts again.
fn adopt_place(
    connection: &Connection,
    (host, name): (&HostName, &str),
    check: Option<&CheckId>,
) -> Result<(), StoreError> {
    if let Some(check) = check {
        let sql =
            "UPDATE OR IGNORE place SET set_name = ?, what = ? WHERE host = ? AND set_name = '' AND what = ?";
        connection
            .prepare_cached(sql)
            .and_then(|mut adopt| adopt.execute(params![&*check.set, &*check.name, host.as_str(), name]))
            .map_err(failed)?;
    }
    let sql = "DELETE FROM place WHERE host = ? AND set_name = '' AND what = ?";
    connection
        .prepare_cached(sql)
        .and_then(|mut delete| delete.execute([host.as_str(), name]))
        .map(drop)
        .map_err(failed)
}
