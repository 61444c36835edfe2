//! Notification: how far each channel has read, its incidents, and messages until they are delivered. Implements
//! [`Outbox`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::notify::held::RunLog;
use crate::domain::notify::notice::Notice;
use crate::domain::watch::alert::Alert;
use crate::port::StoreError;
use crate::port::outbox::{ChannelUpdate, Fares, Outbox, PendingMessage, RunUpdate, Teller};

/// Messages that are neither delivered nor abandoned.
const OPEN: &str = "delivered_at IS NULL AND gave_up_at IS NULL";

/// A row of `notice`, as it is read.
type NoticeRow = (u64, String, u32, String);

impl SqliteStore {
    fn teller_now(&self, channel: &str) -> Result<Teller, StoreError> {
        let row = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT cursor, log FROM teller WHERE channel = ?")?;
            statement.query_row([channel], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).optional()
        })?;
        let Some((cursor, log)) = row else { return Ok(Teller::default()) };
        let bodies: Vec<String> = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM incident WHERE channel = ?")?;
            statement.query_map([channel], |row| row.get(0))?.collect()
        })?;
        let open = bodies.iter().map(|body| serde_json::from_str(body).map_err(failed));
        let log = serde_json::from_str(&log).map_err(failed)?;
        Ok(Teller { cursor, open: open.collect::<Result<_, _>>()?, log })
    }

    /// [`Outbox::tell`], on this thread.
    pub fn tell_now(&self, change: &ChannelUpdate) -> Result<(), StoreError> {
        let log = serde_json::to_string(&change.log).map_err(failed)?;
        self.transact(|connection| {
            connection
                .execute(
                    "INSERT INTO teller (channel, cursor, log) VALUES (?, ?, ?)
                     ON CONFLICT (channel) DO UPDATE SET cursor = excluded.cursor, log = excluded.log",
                    params![change.channel, change.cursor, log],
                )
                .map_err(failed)?;
            for ((check, group), incident) in &change.changed {
                let (set, name) = check.row();
                let key = params![change.channel, set, name, group];
                let Some(incident) = incident else {
                    let delete = "DELETE FROM incident WHERE channel = ? AND set_name = ? AND name = ? AND top = ?";
                    connection.execute(delete, key).map_err(failed)?;
                    continue;
                };
                let body = serde_json::to_string(incident).map_err(failed)?;
                let write = "INSERT OR REPLACE INTO incident (channel, set_name, name, top, body) VALUES (?, ?, ?, ?, ?)";
                connection.execute(write, params![change.channel, set, name, group, body]).map_err(failed)?;
            }
            change.notices.iter().try_for_each(|notice| write(connection, &change.channel, notice))
        })
    }

    fn waiting_now(&self, channel: &str, limit: usize) -> Result<Vec<PendingMessage>, StoreError> {
        let rows: Vec<NoticeRow> = self.read(|connection| {
            let text = format!(
                "SELECT id, body, tries, next_try FROM notice WHERE channel = ? AND {OPEN} ORDER BY next_try, id LIMIT ?"
            );
            let mut statement = connection.prepare_cached(&text)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            statement.query_map(params![channel, limit], row)?.collect()
        })?;
        let read = |(id, body, tries, next_try): NoticeRow| {
            let notice = serde_json::from_str(&body).map_err(failed)?;
            Ok(PendingMessage { id, notice, tries, next_try: next_try.parse().map_err(failed)? })
        };
        rows.into_iter().map(read).collect()
    }

    /// Runs one statement in its own transaction.
    fn change_now(&self, statement: &str, params: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
        self.transact(|connection| connection.execute(statement, params).map(drop).map_err(failed))
    }

    fn set_next_try(&self, ids: impl Iterator<Item = u64>, at: Timestamp) -> Result<(), StoreError> {
        self.transact(|connection| {
            let mut update =
                connection.prepare_cached("UPDATE notice SET next_try = ? WHERE id = ?").map_err(failed)?;
            for id in ids {
                update.execute(params![at.to_string(), id]).map_err(failed)?;
            }
            Ok(())
        })
    }

    fn give_up_now(&self, ids: &[u64], at: Timestamp, tell: &[(String, Notice)]) -> Result<(), StoreError> {
        self.transact(|connection| {
            for id in ids {
                let write = "UPDATE notice SET gave_up_at = ? WHERE id = ?";
                connection.execute(write, params![at.to_string(), id]).map_err(failed)?;
            }
            tell.iter().try_for_each(|(channel, notice)| write(connection, channel, notice))
        })
    }

    /// [`Outbox::fares`], on this thread.
    pub fn fares_now(&self) -> Result<BTreeMap<String, Fares>, StoreError> {
        let rows = self.read(|connection| {
            let text = format!(
                "SELECT channel, count(delivered_at), sum({OPEN}), count(gave_up_at), max(delivered_at),
                   (SELECT trouble FROM notice AS last WHERE last.channel = notice.channel
                      AND delivered_at IS NULL AND trouble IS NOT NULL ORDER BY id DESC LIMIT 1),
                   min(CASE WHEN {OPEN} THEN next_try END)
                 FROM notice GROUP BY channel"
            );
            let mut statement = connection.prepare_cached(&text)?;
            let rows = statement.query_map([], |row| {
                let times: (Option<String>, Option<String>) = (row.get(4)?, row.get(6)?);
                let fares = Fares {
                    delivered: row.get(1)?,
                    waiting: row.get(2)?,
                    given_up: row.get(3)?,
                    trouble: row.get(5)?,
                    ..Fares::default()
                };
                Ok((row.get::<_, String>(0)?, fares, times))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let time = |text: Option<String>| text.map(|text| text.parse().map_err(failed)).transpose();
        rows.into_iter()
            .map(|(channel, fares, (last, next))| {
                Ok((channel, Fares { last_delivered: time(last)?, next_try: time(next)?, ..fares }))
            })
            .collect()
    }
}

impl SqliteStore {
    /// A channel that is new starts at the end of the journal.
    fn run_teller_now(&self, channel: &str) -> Result<(u64, RunLog), StoreError> {
        let newest = *self.newest.borrow();
        let (cursor, log): (u64, String) = self.transact(|connection| {
            let begin =
                "INSERT INTO run_teller (channel, cursor) VALUES (?, ?) ON CONFLICT (channel) DO NOTHING";
            connection.execute(begin, params![channel, newest]).map_err(failed)?;
            let read = "SELECT cursor, log FROM run_teller WHERE channel = ?";
            connection.query_row(read, [channel], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)
        })?;
        Ok((cursor, serde_json::from_str(&log).map_err(failed)?))
    }

    /// [`Outbox::tell_runs`], on this thread.
    fn tell_runs_now(&self, change: &RunUpdate) -> Result<(), StoreError> {
        let log = serde_json::to_string(&change.log).map_err(failed)?;
        self.transact(|connection| {
            let update = "UPDATE run_teller SET cursor = ?, log = ? WHERE channel = ?";
            connection.execute(update, params![change.cursor, log, change.channel]).map_err(failed)?;
            change.notices.iter().try_for_each(|notice| write(connection, &change.channel, notice))
        })
    }
}

fn write(connection: &Connection, channel: &str, notice: &Notice) -> Result<(), StoreError> {
    let body = serde_json::to_string(notice).map_err(failed)?;
    let at = notice.at.to_string();
    connection
        .prepare_cached("INSERT INTO notice (channel, key, at, body, next_try) VALUES (?, ?, ?, ?, ?)")
        .and_then(|mut insert| insert.execute(params![channel, notice.key, at, body, at]))
        .map(drop)
        .map_err(failed)
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn alerts(&self, after: u64, limit: usize) -> Result<Vec<(u64, Alert)>, StoreError> {
        self.off_thread(move |store| store.alerts_now(after, limit)).await
    }

    async fn teller(&self, channel: &str) -> Result<Teller, StoreError> {
        let channel = channel.to_string();
        self.off_thread(move |store| store.teller_now(&channel)).await
    }

    async fn tell(&self, change: ChannelUpdate) -> Result<(), StoreError> {
        self.off_thread(move |store| store.tell_now(&change)).await
    }

    async fn run_teller(&self, channel: &str) -> Result<(u64, RunLog), StoreError> {
        let channel = channel.to_string();
        self.off_thread(move |store| store.run_teller_now(&channel)).await
    }

    async fn tell_runs(&self, change: RunUpdate) -> Result<(), StoreError> {
        self.off_thread(move |store| store.tell_runs_now(&change)).await
    }

    async fn waiting(&self, channel: &str, limit: usize) -> Result<Vec<PendingMessage>, StoreError> {
        let channel = channel.to_string();
        self.off_thread(move |store| store.waiting_now(&channel, limit)).await
    }

    async fn delivered(&self, id: u64, at: Timestamp) -> Result<(), StoreError> {
        let text = "UPDATE notice SET delivered_at = ?, tries = tries + 1 WHERE id = ?";
        self.off_thread(move |store| store.change_now(text, &[&at.to_string(), &id])).await
    }

    async fn not_delivered(&self, id: u64, next_try: Timestamp, why: &str) -> Result<(), StoreError> {
        let why = why.to_string();
        let text = "UPDATE notice SET tries = tries + 1, next_try = ?, trouble = ? WHERE id = ?";
        self.off_thread(move |store| store.change_now(text, &[&next_try.to_string(), &why, &id])).await
    }

    async fn postpone(&self, channel: &str, next_try: Timestamp) -> Result<(), StoreError> {
        let channel = channel.to_string();
        self.off_thread(move |store| {
            let waiting = store.waiting_now(&channel, usize::try_from(i64::MAX).unwrap_or(usize::MAX))?;
            let early = waiting.iter().filter(|one| one.next_try < next_try).map(|one| one.id);
            store.set_next_try(early, next_try)
        })
        .await
    }

    async fn hurry(&self, channel: &str, now: Timestamp) -> Result<(), StoreError> {
        let channel = channel.to_string();
        let text = format!("UPDATE notice SET next_try = ? WHERE channel = ? AND {OPEN}");
        self.off_thread(move |store| store.change_now(&text, &[&now.to_string(), &channel])).await
    }

    async fn give_up(
        &self,
        ids: Vec<u64>,
        at: Timestamp,
        tell: Vec<(String, Notice)>,
    ) -> Result<(), StoreError> {
        self.off_thread(move |store| store.give_up_now(&ids, at, &tell)).await
    }

    async fn fares(&self) -> Result<BTreeMap<String, Fares>, StoreError> {
        self.off_thread(|store| store.fares_now()).await
    }
}
