//! Visits of operators to the page of the fleet, and what happened since. Each call is short: other work waits for the same
//! connection.

use async_trait::async_trait;
use jiff::SignedDuration;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::event::EventKind;
use crate::domain::run::visit::{Moment, Visits};
use crate::domain::watch::subject::Subject;
use crate::port::StoreError;
use crate::port::visits::{Happened, Visited};

/// A key that has not come for so long begins anew: certificates may bring new keys each day.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Most runs that are read: an open page asks several times a second.
const ENDED_READ: usize = 1_000;

fn visits_of(connection: &Connection, key: &str) -> Result<Option<Visits>, StoreError> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM fleet_visit WHERE key = ?")
        .and_then(|mut find| find.query_row([key], |row| row.get(0)).optional())
        .map_err(failed)?;
    body.map(|body| serde_json::from_str(&body).map_err(failed)).transpose()
}

fn open(connection: &Connection, key: &str, now: Moment) -> Result<Option<Moment>, StoreError> {
    let visits = Visits::opened(visits_of(connection, key)?, now);
    let body = serde_json::to_string(&visits).map_err(failed)?;
    let at = now.at.as_millisecond();
    connection
        .execute(
            "INSERT OR REPLACE INTO fleet_visit (key, at, body) VALUES (?, ?, ?)",
            params![key, at, body],
        )
        .map_err(failed)?;
    let before = now.at.saturating_sub(KEPT).map_err(failed)?.as_millisecond();
    connection.execute("DELETE FROM fleet_visit WHERE at < ?", [before]).map_err(failed)?;
    Ok(visits.before)
}

impl SqliteStore {
    /// [`Visited::opened`], on this thread.
    pub fn opened_now(&self, key: &str, now: Moment) -> Result<Option<Moment>, StoreError> {
        self.transact(|connection| open(connection, key, now))
    }

    /// [`Visited::happened`], on this thread.
    pub fn happened_now(&self, from: Moment) -> Result<Happened, StoreError> {
        let (ended, owed, critical) = self.read(|connection| {
            let mut ended = connection.prepare_cached(
                "SELECT run, body FROM event WHERE seq > ? AND substr(body, 1, 19) = '{\"type\":\"run-ended\"'
                 ORDER BY seq DESC LIMIT ?",
            )?;
            let ended = ended.query_map(params![from.seq, ENDED_READ + 1], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))?;
            let ended = ended.collect::<Result<Vec<_>, _>>()?;
            let mut owed = connection.prepare_cached(
                "SELECT DISTINCT host, balancer FROM debt
                 WHERE intent_seq > ? AND paid_seq IS NULL AND off_seq IS NULL ORDER BY host, balancer",
            )?;
            let owed = owed.query_map([from.seq], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            let owed = owed.collect::<Result<Vec<_>, _>>()?;
            let mut critical = connection.prepare_cached(
                "SELECT DISTINCT host, set_name, name FROM turn JOIN series ON series.id = turn.series
                 WHERE turn.at > ? AND json_extract(body, '$.verdict') = 'critical' AND json_extract(body, '$.hard')
                 ORDER BY host, set_name, name",
            )?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let critical = critical.query_map([from.at.as_millisecond()], row)?;
            Ok((ended, owed, critical.collect::<Result<Vec<(String, String, String)>, _>>()?))
        })?;
        let mut happened = Happened { more_ended: ended.len() > ENDED_READ, ..Happened::default() };
        for (run, body) in ended.into_iter().take(ENDED_READ) {
            if let EventKind::RunEnded { outcome, .. } = serde_json::from_str(&body).map_err(failed)? {
                happened.ended.push((RunId(run), outcome));
            }
        }
        happened.owed = owed.into_iter().map(|(host, balancer)| (HostName::new(host), balancer)).collect();
        let subject =
            |(host, set, name): (String, String, String)| (HostName::new(host), Subject::of_row(&set, &name));
        happened.critical = critical.into_iter().map(subject).collect();
        Ok(happened)
    }
}

#[async_trait]
impl Visited for SqliteStore {
    async fn opened(&self, key: &str, now: Moment) -> Result<Option<Moment>, StoreError> {
        let key = key.to_string();
        self.off_thread(move |store| store.opened_now(&key, now)).await
    }

    async fn seen_before(&self, key: &str) -> Result<Option<Moment>, StoreError> {
        let key = key.to_string();
        let before = move |store: SqliteStore| {
            Ok(visits_of(&store.lock().connection, &key)?.and_then(|found| found.before))
        };
        self.off_thread(before).await
    }

    async fn happened(&self, from: Moment) -> Result<Happened, StoreError> {
        self.off_thread(move |store| store.happened_now(from)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::outcome::{End, RunOutcome, Verdict};
    use crate::domain::check::id::CheckId;
    use crate::domain::watch::roll::Changed;
    use crate::domain::watch::roster::{Batch, WatchedId};
    use crate::store::tests::{ann, at, drain, enabled, ended, plan, settled};

    fn moment(seq: u64, second: i64) -> Moment {
        Moment { seq, at: at(second) }
    }

    fn critical(check: &str, second: i64, verdict: Verdict, hard: bool) -> (WatchedId, Changed) {
        let changed = Changed { at: at(second), verdict, hard, text: "x".into(), note: None, run: None };
        (WatchedId { host: "web1".into(), check: CheckId::new("http", check).into() }, changed)
    }

    #[test]
    fn each_key_has_visits_of_its_own_that_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteStore::open(&dir.path().join("rollcall.db")).unwrap();
        let store = open();
        assert_eq!(store.opened_now("a", moment(5, 1_000)).unwrap(), None);
        assert_eq!(store.opened_now("b", moment(6, 2_000)).unwrap(), None);
        drop(store);
        let store = open();
        assert_eq!(store.opened_now("a", moment(9, 5_000)).unwrap(), Some(moment(5, 1_000)));
        assert_eq!(store.opened_now("a", moment(10, 5_001)).unwrap(), Some(moment(5, 1_000)));
        assert_eq!(store.opened_now("b", moment(10, 5_002)).unwrap(), Some(moment(6, 2_000)));
        // One that has not come for months begins anew.
        let later = 5_002 + KEPT.as_secs();
        assert_eq!(store.opened_now("b", moment(10, later)).unwrap(), Some(moment(10, 5_002)));
        assert_eq!(store.opened_now("a", moment(10, later)).unwrap(), None);
    }

    #[test]
    fn what_happened_after_a_moment_is_counted_once() {
        let store = SqliteStore::in_memory().unwrap();
        let first = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap();
        store.append_now(first.run, at(2), vec![drain(), enabled(), settled(End::Released)]).unwrap();
        let seen = store.append_now(first.run, at(3), vec![ended(RunOutcome::Done)]).unwrap()[0].seq;
        let second = store.create_run_now(&plan("2"), &ann(), at(4)).unwrap();
        store.append_now(second.run, at(5), vec![drain(), settled(End::Held)]).unwrap();
        store.append_now(second.run, at(6), vec![ended(RunOutcome::NeedsPerson)]).unwrap();
        let changes = vec![
            critical("before", 2, Verdict::Critical, true),
            critical("twice", 4, Verdict::Critical, true),
            critical("twice", 5, Verdict::Ok, true),
            critical("twice", 6, Verdict::Critical, true),
            critical("soft", 5, Verdict::Critical, false),
            critical("warned", 5, Verdict::Warning, true),
        ];
        store.keep_now(&Batch { changes, ..Batch::default() }).unwrap();
        let happened = store.happened_now(moment(seen, 3)).unwrap();
        let wanted = Happened {
            ended: vec![(second.run, RunOutcome::NeedsPerson)],
            more_ended: false,
            owed: vec![("web1".into(), "prod.web".into())],
            critical: vec![("web1".into(), CheckId::new("http", "twice").into())],
        };
        assert_eq!(happened, wanted);
        let all = store.happened_now(moment(0, 0)).unwrap();
        assert_eq!((all.ended.len(), all.owed.len(), all.critical.len()), (2, 1, 2));
        let none = store.happened_now(moment(*store.newest.borrow(), 9)).unwrap();
        assert_eq!(none, Happened::default());
        // The indexes of the schema are used: a board asks several times a second.
        for (query, index) in [
            (
                "SELECT run FROM event WHERE seq > 1 AND substr(body, 1, 19) = '{\"type\":\"run-ended\"'",
                "event_run_ended",
            ),
            (
                "SELECT 1 FROM turn WHERE at > 1 AND json_extract(body, '$.verdict') = 'critical'",
                "turn_critical",
            ),
        ] {
            let plan: String = store
                .read(|connection| {
                    connection.query_row(&format!("EXPLAIN QUERY PLAN {query}"), [], |row| row.get(3))
                })
                .unwrap();
            assert!(plan.contains(index), "{plan}");
        }
    }
}
