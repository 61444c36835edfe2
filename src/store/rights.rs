//! Rights for a time. Each change reads and writes in one transaction, so that a request is granted once.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::ask::temporary::{PER_OPERATOR, RightEnd, RightGrant, TemporaryRight};
use crate::port::{RightStore, StoreError};

fn read(id: u64, body: &str) -> Result<TemporaryRight, StoreError> {
    let right: TemporaryRight = serde_json::from_str(body).map_err(failed)?;
    Ok(TemporaryRight { id, ..right })
}

/// Those that are open. Those whose time is over are ended.
fn open(connection: &Connection, now: Timestamp) -> Result<Vec<TemporaryRight>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT id, body FROM temporary_right WHERE NOT is_over ORDER BY id")
        .map_err(failed)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let mut found = Vec::new();
    for row in rows {
        let (id, body): (u64, String) = row.map_err(failed)?;
        found.push(read(id, &body)?);
    }
    let (found, over): (Vec<_>, Vec<_>) = found.into_iter().partition(|right| right.is_open(now));
    over.iter().try_for_each(|right| end(connection, right.id))?;
    Ok(found)
}

/// Records that the time of a request or right is over, so that it is not read again.
fn end(connection: &Connection, id: u64) -> Result<(), StoreError> {
    let ended = connection.execute("UPDATE temporary_right SET is_over = 1 WHERE id = ?", [id]);
    ended.map(drop).map_err(failed)
}

fn write(connection: &Connection, right: &TemporaryRight) -> Result<(), StoreError> {
    let body = serde_json::to_string(right).map_err(failed)?;
    connection
        .execute(
            "UPDATE temporary_right SET body = ?, is_over = ? WHERE id = ?",
            params![body, right.ended.is_some(), right.id],
        )
        .map(|_| ())
        .map_err(failed)
}

fn find(connection: &Connection, id: u64, now: Timestamp) -> Result<Option<TemporaryRight>, StoreError> {
    let body: Option<String> = connection
        .query_row("SELECT body FROM temporary_right WHERE id = ? AND NOT is_over", [id], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    let right = body.map(|body| read(id, &body)).transpose()?;
    Ok(right.filter(|right| right.is_open(now)))
}

#[async_trait]
impl RightStore for SqliteStore {
    async fn rights(&self, now: Timestamp) -> Result<Vec<TemporaryRight>, StoreError> {
        self.off_thread(move |store| store.transact(|connection| open(connection, now))).await
    }

    async fn ask_right(&self, right: TemporaryRight) -> Result<Option<u64>, StoreError> {
        let ask = move |connection: &Connection| {
            let own = open(connection, right.asked_at)?;
            if own.iter().filter(|one| one.operator == right.operator).count() >= PER_OPERATOR {
                return Ok(None);
            }
            let body = serde_json::to_string(&right).map_err(failed)?;
            connection.execute("INSERT INTO temporary_right (body) VALUES (?)", [body]).map_err(failed)?;
            u64::try_from(connection.last_insert_rowid()).map(Some).map_err(failed)
        };
        self.off_thread(move |store| store.transact(ask)).await
    }

    async fn grant_right(&self, id: u64, grant: RightGrant) -> Result<bool, StoreError> {
        let change = move |connection: &Connection| {
            let found = find(connection, id, grant.at)?.filter(|right| right.granted.is_none());
            let Some(right) = found else { return Ok(false) };
            write(connection, &TemporaryRight { granted: Some(grant), ..right }).map(|()| true)
        };
        self.off_thread(move |store| store.transact(change)).await
    }

    async fn end_right(&self, id: u64, end: RightEnd) -> Result<bool, StoreError> {
        let change = move |connection: &Connection| {
            let Some(right) = find(connection, id, end.at)? else { return Ok(false) };
            write(connection, &TemporaryRight { ended: Some(end), ..right }).map(|()| true)
        };
        self.off_thread(move |store| store.transact(change)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ask::temporary::REQUEST_LIFE;

    fn request(operator: &str, at: Timestamp) -> TemporaryRight {
        TemporaryRight {
            id: 0,
            operator: operator.into(),
            role: "operator".into(),
            groups: ["prod".to_string()].into(),
            time: Duration::from_secs(600),
            why: "on call".into(),
            asked_at: at,
            granted: None,
            ended: None,
        }
    }

    #[tokio::test]
    async fn what_nobody_granted_in_time_and_what_has_run_out_is_over_in_the_store() {
        let store = SqliteStore::in_memory().unwrap();
        let at = |second: u64| Timestamp::UNIX_EPOCH + Duration::from_secs(second);
        let count =
            |sql: &str| -> u64 { store.read(|one| one.query_row(sql, [], |row| row.get(0))).unwrap() };
        let open = || count("SELECT count(*) FROM temporary_right WHERE NOT is_over");
        let waits = store.ask_right(request("ann", at(0))).await.unwrap().unwrap();
        let granted = store.ask_right(request("bob", at(0))).await.unwrap().unwrap();
        let grant = RightGrant { by: "eve".into(), key: "k".into(), at: at(1), until: at(601) };
        assert!(store.grant_right(granted, grant.clone()).await.unwrap());
        assert_eq!((store.rights(at(600)).await.unwrap().len(), open()), (2, 2));
        assert_eq!((store.rights(at(601)).await.unwrap().len(), open()), (1, 1));
        let late = at(REQUEST_LIFE.as_secs());
        assert_eq!((store.rights(late).await.unwrap().len(), open()), (0, 0));
        // It stays over, also when the clock is set back.
        assert!(!store.grant_right(waits, grant).await.unwrap());
        assert_eq!(count("SELECT count(*) FROM temporary_right"), 2);
    }
}
