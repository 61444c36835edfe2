//! The positions where probes of logs ended.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::port::{LogPosition, PlaceKey, Places, StoreError};

#[async_trait]
impl Places for SqliteStore {
    async fn place(&self, (who, host, what): PlaceKey<'_>) -> Result<Option<LogPosition>, StoreError> {
        let key = [who.to_string(), host.to_string(), what.set.to_string(), what.name.to_string()];
        let row = self.off_thread(move |store| {
            store.read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT inode, offset, trace, at FROM place WHERE who = ? AND host = ? AND set_name = ? AND what = ?",
                    )?
                    .query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?)))
                    .optional()
            })
        });
        let read = |(inode, offset, trace, at): (String, u64, String, String)| {
            Ok(LogPosition { inode, offset, trace, at: at.parse().map_err(failed)? })
        };
        row.await?.map(read).transpose()
    }

    async fn keep_place(
        &self,
        (who, host, what): PlaceKey<'_>,
        place: LogPosition,
    ) -> Result<(), StoreError> {
        let (who, host, what) = (who.to_string(), host.to_string(), what.clone());
        let work = move |store: SqliteStore| {
            store.transact(|connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO place (who, host, set_name, what, inode, offset, trace, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
                    .and_then(|mut insert| {
                        insert.execute(params![who, host, &*what.set, &*what.name, place.inode, place.offset, place.trace, place.at.to_string()])
                    })
                    .map(drop)
                    .map_err(failed)
            })
        };
        self.off_thread(work).await
    }
}
