//! Which run a request of a program has started, so that the same request again starts no second one.

use rusqlite::{Connection, OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::RunId;
use crate::domain::run::event::RunGrant;
use crate::port::StoreError;

/// Keeps the key of the request that starts a run, in the transaction that creates the run.
pub(super) fn keep(
    connection: &Connection,
    (run, by): (RunId, &str),
    granted: Option<&RunGrant>,
) -> Result<(), StoreError> {
    let Some(request) = granted.and_then(|granted| granted.request.as_ref()) else { return Ok(()) };
    let kept = connection
        .execute(
            "INSERT OR IGNORE INTO request_key (by_name, key, digest, run) VALUES (?, ?, ?, ?)",
            params![by, request.key, request.digest, run.0],
        )
        .map_err(failed)?;
    if kept == 1 { Ok(()) } else { Err(StoreError::Repeated) }
}

impl SqliteStore {
    /// As [`Store::run_of_request`](crate::port::Store::run_of_request), on this thread.
    pub fn run_of_request_now(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT run, digest FROM request_key WHERE by_name = ? AND key = ?")
                .and_then(|mut query| {
                    query.query_row([by, key], |row| Ok((RunId(row.get(0)?), row.get(1)?))).optional()
                })
        })
    }
}
