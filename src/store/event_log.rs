//! The journal of all runs as one list, for programs that follow it.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tokio::sync::watch;

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::RunId;
use crate::domain::run::event::Event;
use crate::port::{EventLog, RemovedEvents, StoreError};

impl SqliteStore {
    /// The journal has an event with this number now.
    pub(super) fn grew(&self, seq: u64) {
        self.newest.send_modify(|newest| *newest = seq.max(*newest));
    }

    /// [`EventLog::events_after`], on this thread.
    pub fn events_after_now(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let query = "SELECT seq, run, at, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?";
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map(params![after, limit], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            rows.collect::<Result<Vec<(u64, u64, String, String)>, _>>()
        })?;
        let event = |(seq, run, at, body): (u64, u64, String, String)| {
            let (at, kind) = (at.parse().map_err(failed)?, serde_json::from_str(&body).map_err(failed)?);
            Ok(Event { seq, run: RunId(run), at, kind })
        };
        rows.into_iter().map(event).collect()
    }

    /// [`EventLog::last_before`], on this thread: numbers have no gaps, and times do not go back but by a clock that is
    /// set, so halving finds it.
    pub fn last_before_now(&self, time: Timestamp) -> Result<u64, StoreError> {
        let (mut below, mut from) = (0, *self.newest.borrow() + 1);
        while below + 1 < from {
            let middle = below + (from - below) / 2;
            let at = self.read(|connection| {
                let mut statement = connection.prepare_cached("SELECT at FROM event WHERE seq = ?")?;
                statement.query_row([middle], |row| row.get::<_, String>(0)).optional()
            })?;
            let is_before = match at {
                Some(at) => at.parse::<Timestamp>().map_err(failed)? < time,
                None => true,
            };
            (below, from) = if is_before { (middle, from) } else { (below, middle) };
        }
        Ok(below)
    }
}

#[async_trait]
impl EventLog for SqliteStore {
    async fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.off_thread(move |store| store.events_after_now(after, limit)).await
    }

    async fn last_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.off_thread(move |store| store.last_before_now(time)).await
    }

    async fn hash_of(&self, seq: u64) -> Result<Option<String>, StoreError> {
        let query = "SELECT hash FROM event WHERE seq = ?";
        let hash = move |store: SqliteStore| {
            store.read(|connection| connection.query_row(query, [seq], |row| row.get(0)).optional())
        };
        self.off_thread(hash).await
    }

    async fn removed(&self) -> Result<RemovedEvents, StoreError> {
        let query = "SELECT seq, at, ifnull(run, 0) FROM chain_start WHERE chain = 'event'";
        let removed = move |store: SqliteStore| {
            store.read(|connection| {
                let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?));
                connection.query_row(query, [], row).optional()
            })
        };
        let Some((last, at, run)) = self.off_thread(removed).await? else {
            return Ok(RemovedEvents::default());
        };
        Ok(RemovedEvents { last, at: Some(at.parse().map_err(failed)?), run })
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}
