//! The store: journal, debts, leases and releases in one SQLite file. Implements [`Store`].
//!
//! WAL with `synchronous=FULL`: an event that [`Store::append`] has returned survives `kill -9` and loss of
//! power. One process writes: it holds a lock file beside the database and an epoch inside it.

mod adopt;
mod alerts;
mod audit;
mod chain;
mod config_versions;
mod database;
mod ends;
mod error;
mod event_log;
mod facts;
mod head;
mod journal;
mod leases;
mod notices;
pub mod outputs;
mod places;
mod proof;
mod releases;
mod reports;
mod requests;
mod retention;
mod rights;
mod step_times;
pub mod survey;
mod visits;
mod vitals;
mod watch;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use rusqlite_migration::{M, Migrations};

use self::database::Open;
pub use self::database::SqliteStore;
use self::error::{failed, failed_at};
use self::head::Head;
use self::proof::RunRow;
pub use self::retention::{Fact, Freed, RemovedRows, vacuum};
use crate::domain::ask::access::Operator;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::plan::plan::{self, Plan};
use crate::domain::plan::release::{ReleaseMark, ReleaseTakeover};
use crate::domain::plan::size;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::record::{Debt, RunSummary, WrittenOff};
use crate::domain::task::facts::Gathered;
use crate::port::{RunStart, Store, StoreError, StoredRun};

/// How long a statement waits for another process that reads.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("schema.sql")),
    M::up(include_str!("schema-2.sql")),
    M::up(include_str!("schema-3.sql")),
    M::up(include_str!("schema-4.sql")),
    M::up(include_str!("schema-5.sql")),
    M::up(include_str!("schema-6.sql")),
    M::up(include_str!("schema-7.sql")),
    M::up(include_str!("schema-8.sql")).foreign_key_check(),
    M::up(include_str!("schema-9.sql")),
    M::up(include_str!("schema-10.sql")),
    M::up(include_str!("schema-11.sql")),
    M::up(include_str!("schema-12.sql")),
    M::up(include_str!("schema-13.sql")),
    M::up(include_str!("schema-14.sql")),
    M::up(include_str!("schema-15.sql")),
    M::up(include_str!("schema-16.sql")),
    M::up(include_str!("schema-17.sql")),
    M::up(include_str!("schema-18.sql")),
    M::up(include_str!("schema-19.sql")),
    M::up(include_str!("schema-20.sql")),
    M::up(include_str!("schema-21.sql")),
    M::up(include_str!("schema-22.sql")),
    M::up(include_str!("schema-23.sql")).foreign_key_check(),
];

/// Never lower than the time of day: hosts refuse an epoch that is lower than one that they know, and a store that was
/// restored from a copy, or created again, does not know the epochs after it.
const NEXT_EPOCH: &str = "UPDATE owner SET epoch = MAX(epoch + 1, unixepoch()) RETURNING epoch";

/// The same for a new store in simulations: nothing in it depends on the time of day.
const NEXT_EPOCH_IN_MEMORY: &str = "UPDATE owner SET epoch = epoch + 1 RETURNING epoch";

impl SqliteStore {
    /// Opens or creates the store and becomes its only writer.
    ///
    /// An error when another process has it open, when it was written by a newer rollcall, or when its
    /// journal is damaged.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let lock = lock(path)?;
        let connection = Connection::open(path).map_err(|error| failed_at(path, &error))?;
        SqliteStore::start(connection, Some((path, lock))).map_err(|error| failed_at(path, &error))
    }

    /// A store in memory, which ends when it is dropped.
    pub fn in_memory() -> Result<SqliteStore, StoreError> {
        let connection = Connection::open_in_memory().map_err(failed)?;
        SqliteStore::start(connection, None)
    }

    fn start(mut connection: Connection, file: Option<(&Path, File)>) -> Result<SqliteStore, StoreError> {
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        for (name, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            // A migration may replace a table that others refer to.
            ("foreign_keys", "OFF"),
            ("trusted_schema", "OFF"),
        ] {
            set_pragma(&connection, name, value)?;
        }
        Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).map_err(|error| {
            StoreError::Failed(format!("{error}; try: the rollcall version that wrote it, or a newer one"))
        })?;
        set_pragma(&connection, "foreign_keys", "ON")?;
        let check: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(StoreError::Failed(format!(
                "the database is damaged: {check}; try: restore it from a copy"
            )));
        }
        let chains = [&journal::JOURNAL, &audit::AUDIT];
        chains.iter().try_for_each(|chain| chain::verify_end(&connection, chain))?;
        proof::verify_projections(&connection)?;
        let heads =
            file.iter().flat_map(|(path, _)| chains.map(|chain| Head::open(path, chain, &connection)));
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        let next = if file.is_some() { NEXT_EPOCH } else { NEXT_EPOCH_IN_MEMORY };
        let epoch = connection.query_row(next, [], |row| row.get(0)).map_err(failed)?;
        leases::end_holds(&connection)?;
        let newest = chain::end_of(&connection, &journal::JOURNAL)?.map_or(0, |last| last.seq);
        Ok(SqliteStore::new(Open { connection, heads }, (epoch, newest), file.map(|(_, lock)| lock)))
    }

    /// Verifies again that the journal is unchanged: no gap, no row that was changed or moved.
    pub fn verify_now(&self) -> Result<(), StoreError> {
        let open = self.lock();
        chain::verify_end(&open.connection, &journal::JOURNAL)?;
        proof::verify_projections(&open.connection)
    }

    /// [`Store::create_run`], on this thread.
    pub fn create_run_now(
        &self,
        plan: &Plan,
        by: &Operator,
        start: impl Into<RunStart>,
    ) -> Result<Event, StoreError> {
        let RunStart { at, granted } = start.into();
        let text = serde_json::to_string(plan).map_err(failed)?;
        let kind = serde_json::to_string(&plan.kind).map_err(failed)?;
        let sha256 = crate::domain::base::digest::sha256_hex(text.as_bytes());
        self.transact_with(true, |connection| {
            let takes_leases = plan.proposed.is_none();
            if takes_leases {
                refuse_if_leased(connection, plan)?;
                leases::refuse_if_held(connection, plan, (&by.name, at))?;
            }
            let hosts: Vec<&str> = plan.hosts.keys().map(HostName::as_str).collect();
            connection
                .prepare_cached(
                    "INSERT INTO run (title, task, plan, plan_sha256, by_name, by_key, params, hosts, started_at, kind, goes_back)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        plan.title.0, plan.task(), text, sha256, by.name, by.key,
                        serde_json::to_string(&plan.params).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
                        hosts.join(" "), at.to_string(), kind, plan.goes_back
                    ])
                })
                .map_err(failed)?;
            let run = RunId(u64::try_from(connection.last_insert_rowid()).map_err(failed)?);
            if takes_leases {
                lease(connection, (run, plan), at)?;
            }
            requests::keep(connection, (run, &by.name), granted.as_ref())?;
            releases::planned(connection, run, plan)?;
            facts::planned(connection, run, plan)?;
            ends::planned(connection, run, plan)?;
            let started = EventKind::RunStarted {
                title: plan.title.0.clone(),
                by: by.name.clone(),
                key: by.key.clone(),
                plan_sha256: sha256.clone(),
                granted: granted.map(Box::new),
            };
            journal::append(connection, run, self.epoch(), at, started)
        })
        .inspect(|event| self.grew(event.seq))
    }

    /// [`Store::take_leases`], on this thread.
    pub fn take_leases_now(&self, run: RunId, now: Timestamp) -> Result<(), StoreError> {
        self.transact(|connection| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            let read = connection.query_row("SELECT plan, by_name FROM run WHERE id = ?", [run.0], row);
            let (plan, by) = read.map_err(failed)?;
            let plan: Plan = serde_json::from_str(&plan).map_err(failed)?;
            // Those of an approval that was not written down.
            connection.execute("DELETE FROM lease WHERE run = ?", [run.0]).map_err(failed)?;
            refuse_if_leased(connection, &plan)?;
            leases::refuse_if_held(connection, &plan, (&by, now))?;
            lease(connection, (run, &plan), now)
        })
    }

    /// [`Store::append`], on this thread.
    pub fn append_now(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError> {
        let ends = kinds.iter().any(|kind| matches!(kind, EventKind::RunEnded { .. }));
        self.transact_with(ends, |connection| {
            kinds.into_iter().map(|kind| journal::append(connection, run, self.epoch(), at, kind)).collect()
        })
        .inspect(|events: &Vec<Event>| events.iter().for_each(|event| self.grew(event.seq)))
    }

    /// [`Store::load`], on this thread.
    pub fn load_now(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        // Under one lock: retention may remove the run between the two.
        let open = self.lock();
        let row = open
            .connection
            .query_row("SELECT plan, by_name, title FROM run WHERE id = ?", [run.0], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .optional()
            .map_err(failed)?;
        let Some((plan, by, title)) = row else { return Ok(None) };
        let events = journal::events(&open.connection, run)?;
        drop(open);
        proof::verify_run(run, &RunRow { plan: &plan, by: &by, title: &title }, &events)?;
        let plan = plan::read(&plan)
            .map(size::shared)
            .map_err(|error| StoreError::Failed(format!("the plan of run {run}: {error}")))?;
        Ok(Some(StoredRun { id: run, plan, by, events }))
    }

    /// [`Store::runs`], on this thread.
    pub fn runs_now(&self, last: usize) -> Result<Vec<RunSummary>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, title, by_name, started_at, ended_at, outcome, hosts, kind
                 FROM run INDEXED BY run_list ORDER BY id DESC LIMIT ?",
            )?;
            let rows = statement.query_map([last], |row| {
                Ok((
                    row.get::<_, u64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, Option<String>>(4)?,
                    row.get::<_, Option<String>>(5)?,
                    row.get::<_, String>(6)?,
                    row.get::<_, String>(7)?,
                ))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter()
            .map(|(run, title, by, started, ended, outcome, hosts, kind)| {
                Ok(RunSummary {
                    run: RunId(run),
                    title,
                    kind: serde_json::from_str(&kind).map_err(failed)?,
                    by,
                    started_at: started.parse().map_err(failed)?,
                    ended_at: ended.map(|at| at.parse()).transpose().map_err(failed)?,
                    outcome: outcome.map(|text| serde_json::from_str(&text)).transpose().map_err(failed)?,
                    hosts: hosts.split(' ').map(HostName::from).collect(),
                })
            })
            .collect()
    }

    /// [`Store::open_runs`], on this thread.
    pub fn open_runs_now(&self) -> Result<Vec<RunId>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id FROM run INDEXED BY run_list WHERE outcome IS NULL ORDER BY id")?;
            statement.query_map([], |row| row.get(0).map(RunId))?.collect()
        })
    }

    /// [`Store::debts`], on this thread.
    pub fn debts_now(&self) -> Result<Vec<Debt>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT debt.host, balancer, debt.run, by_name, since, why, off.at, off.body
                 FROM debt JOIN run ON run.id = debt.run LEFT JOIN event off ON off.seq = off_seq
                 WHERE paid_seq IS NULL ORDER BY intent_seq, debt.host",
            )?;
            let rows = statement.query_map([], |row| {
                let host: String = row.get(0)?;
                let off: [Option<String>; 2] = [row.get(6)?, row.get(7)?];
                Ok((
                    host,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    (row.get::<_, String>(4)?, row.get(5)?, off),
                ))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter()
            .map(|(host, balancer, run, by, (since, why, off))| {
                let since = since.parse().map_err(failed)?;
                let [at, body] = off;
                let written_off = at.zip(body).map(|(at, body)| written_off(&at, &body)).transpose()?;
                Ok(Debt { host: HostName::new(host), balancer, run: RunId(run), by, since, why, written_off })
            })
            .collect()
    }
}

/// The event with which an operator wrote a debt off.
fn written_off(at: &str, body: &str) -> Result<WrittenOff, StoreError> {
    match serde_json::from_str(body).map_err(failed)? {
        EventKind::DebtSettled { by, reason, .. } => {
            Ok(WrittenOff { by, at: at.parse().map_err(failed)?, reason })
        }
        other => Err(StoreError::Failed(format!("{other:?} writes no debt off"))),
    }
}

fn set_pragma(connection: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(no_rows_is_fine).map_err(failed)
}

fn no_rows_is_fine(error: rusqlite::Error) -> Result<(), rusqlite::Error> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = PathBuf::from(format!("{}.lock", path.display()));
    let file = File::options().create(true).append(true).open(&lock_path).map_err(|error| {
        StoreError::Failed(format!(
            "{}: {error}; try: `store` in rollcall.toml, or make its folder",
            lock_path.display()
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Failed(format!(
            "{} belongs to a rollcall that is running; try: ask it over ssh, or stop it first",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(StoreError::Failed(format!("{}: {error}", lock_path.display())))
        }
    }
}

/// Takes the leases of a run.
fn lease(connection: &Connection, (run, plan): (RunId, &Plan), at: Timestamp) -> Result<(), StoreError> {
    for scope in &plan.leases {
        connection
            .execute(
                "INSERT INTO lease (scope, run, since) VALUES (?, ?, ?)",
                params![scope, run.0, at.to_string()],
            )
            .map_err(failed)?;
    }
    Ok(())
}

fn refuse_if_leased(connection: &Connection, plan: &Plan) -> Result<(), StoreError> {
    for scope in &plan.leases {
        let holder = connection
            .query_row(
                "SELECT run, by_name FROM lease JOIN run ON run.id = lease.run WHERE scope = ?",
                [scope],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed)?;
        if let Some((run, by)) = holder {
            return Err(StoreError::Busy { scope: scope.clone(), run: RunId(run), by });
        }
    }
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_run(&self, plan: &Plan, by: &Operator, start: RunStart) -> Result<Event, StoreError> {
        let (plan, by) = (plan.clone(), by.clone());
        self.off_thread(move |store| store.create_run_now(&plan, &by, start)).await
    }

    async fn take_leases(&self, run: RunId, now: Timestamp) -> Result<(), StoreError> {
        self.off_thread(move |store| store.take_leases_now(run, now)).await
    }

    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError> {
        self.off_thread(move |store| store.append_now(run, at, kinds)).await
    }

    async fn run_of_request(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        let (by, key) = (by.to_string(), key.to_string());
        self.off_thread(move |store| store.run_of_request_now(&by, &key)).await
    }

    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.off_thread(move |store| store.load_now(run)).await
    }

    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.off_thread(move |store| store.runs_now(last)).await
    }

    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError> {
        self.off_thread(|store| store.open_runs_now()).await
    }

    async fn debts(&self) -> Result<Vec<Debt>, StoreError> {
        self.off_thread(|store| store.debts_now()).await
    }

    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError> {
        self.off_thread(|store| store.taken_now()).await
    }

    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError> {
        self.off_thread(|store| store.facts_now()).await
    }

    async fn marks(&self) -> Result<Vec<ReleaseMark>, StoreError> {
        self.off_thread(|store| store.marks_now()).await
    }

    async fn mark(&self, mark: ReleaseMark) -> Result<(), StoreError> {
        self.off_thread(move |store| store.mark_now(&mark)).await
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod proof_tests;
