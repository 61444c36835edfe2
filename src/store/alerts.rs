//! Alerts, from watching to notification.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::watch::alert::Alert;
use crate::port::StoreError;

/// Adds an alert. Call within the transaction of the state that it reports.
pub(super) fn append(connection: &Connection, alert: &Alert) -> Result<(), StoreError> {
    let body = serde_json::to_string(alert).map_err(failed)?;
    connection
        .prepare_cached("INSERT INTO alert (at, body) VALUES (?, ?)")
        .and_then(|mut insert| insert.execute(params![alert.at.to_string(), body]))
        .map(drop)
        .map_err(failed)
}

/// Deletes alerts that every channel has read, and messages that are delivered or abandoned, from before `before`.
pub(super) fn prune(connection: &Connection, before: Timestamp) -> Result<(), rusqlite::Error> {
    let before = before.to_string();
    connection.execute(
        "DELETE FROM alert WHERE at < ?1 AND id <= (SELECT coalesce(min(cursor), ?2) FROM teller)",
        params![before, i64::MAX],
    )?;
    connection.execute("DELETE FROM notice WHERE coalesce(delivered_at, gave_up_at) < ?1", [before]).map(drop)
}

impl SqliteStore {
    /// Alerts behind `after`, oldest first, at most `limit`; with their numbers.
    pub fn alerts_now(&self, after: u64, limit: usize) -> Result<Vec<(u64, Alert)>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT id, body FROM alert WHERE id > ? ORDER BY id LIMIT ?")?;
            let rows = statement.query_map(params![after, limit], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter().map(|(id, body)| Ok((id, serde_json::from_str(&body).map_err(failed)?))).collect()
    }

    /// Adds alerts that belong to no other change.
    pub fn add_alerts_now(&self, alerts: &[Alert]) -> Result<(), StoreError> {
        self.transact(|connection| alerts.iter().try_for_each(|alert| append(connection, alert)))
    }
}
