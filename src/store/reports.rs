//! What `report` reads. Each call is short: other work waits for the same connection.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::database::SqliteStore;
use super::ends::end_of;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::history::{EndsOfRuns, HostPast};
use crate::domain::run::report::Absence;
use crate::domain::run::times::RunTimes;
use crate::domain::watch::subject::Subject;
use crate::domain::watch::uptime::{Probes, Tally};
use crate::port::StoreError;
use crate::port::report::{Reports, RunEnds};

/// A row of `debt`: host, balancer, run, since, until, and whether it is written off.
type AbsenceRow = (String, String, u64, String, Option<String>, bool);

impl SqliteStore {
    /// [`Reports::ends`], on this thread.
    pub fn ends_now(&self, run: RunId) -> Result<RunEnds, StoreError> {
        let (goes_back, rows) = self.read(|connection| {
            let sql = "SELECT goes_back FROM run INDEXED BY run_list WHERE id = ?";
            let goes_back = connection.query_row(sql, [run.0], |row| row.get::<_, bool>(0)).optional()?;
            let sql = "SELECT host, ended FROM host_end JOIN host_line ON id = line WHERE run = ?";
            let mut rows = connection.prepare_cached(sql)?;
            let rows =
                rows.query_map([run.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            Ok((goes_back, rows.collect::<Result<Vec<_>, _>>()?))
        })?;
        let mut found = RunEnds { goes_back: goes_back.unwrap_or_default(), ..RunEnds::default() };
        for (host, ended) in rows {
            found.ends.insert(HostName::new(host), end_of(&ended)?);
        }
        Ok(found)
    }

    /// [`Reports::absences`], on this thread.
    pub fn absences_now(&self, from: Timestamp) -> Result<Vec<Absence>, StoreError> {
        // Times of the journal have fractions of different lengths: they compare as texts to the second only.
        let second = from.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let rows = self.read(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT debt.host, balancer, debt.run, since, paid.at, off_seq IS NOT NULL
                 FROM debt LEFT JOIN event paid ON paid.seq = paid_seq
                 WHERE paid_seq IS NULL OR substr(paid.at, 1, 19) >= ? ORDER BY intent_seq, debt.host",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            };
            rows.query_map([second], row)?.collect::<Result<Vec<AbsenceRow>, _>>()
        })?;
        let runs: BTreeSet<u64> = rows.iter().map(|row| row.2).collect();
        let ends = runs.into_iter().map(|run| Ok((run, self.ended_at(run)?)));
        let ends: HashMap<u64, Option<Timestamp>> = ends.collect::<Result<_, StoreError>>()?;
        let absence = |(host, balancer, run, since, until, written_off): AbsenceRow| {
            Ok(Absence {
                host: HostName::new(host),
                balancer,
                run: RunId(run),
                since: since.parse().map_err(failed)?,
                until: until.map(|at| at.parse()).transpose().map_err(failed)?,
                run_ended_at: ends.get(&run).copied().flatten(),
                written_off,
            })
        };
        let all = rows.into_iter().map(absence).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(all.into_iter().filter(|one| one.until.is_none_or(|until| until >= from)).collect())
    }

    /// Asked once for each run.
    fn ended_at(&self, run: u64) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<Option<String>> = self.read(|connection| {
            let mut end =
                connection.prepare_cached("SELECT ended_at FROM run INDEXED BY run_list WHERE id = ?")?;
            end.query_row([run], |row| row.get(0)).optional()
        })?;
        at.flatten().map(|at| at.parse()).transpose().map_err(failed)
    }

    /// [`Reports::tallies`], on this thread.
    pub fn tallies_now(&self, host: &HostName, from: Timestamp) -> Result<Vec<Tally>, StoreError> {
        let rows = self.read(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT set_name, name, min(at), sum(verdict = 0), sum(verdict = 1), sum(verdict = 2), count(*)
                 FROM series JOIN sample ON sample.series = series.id
                 WHERE host = ? AND at >= ? AND run IS NULL GROUP BY series.id ORDER BY series.id",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let numbers: [u64; 4] = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, numbers))
            };
            rows.query_map(params![host.as_str(), from.as_millisecond()], row)?.collect::<Result<Vec<_>, _>>()
        })?;
        let tally = |(set, name, first, [ok, warning, critical, all]): (String, String, i64, [u64; 4])| {
            let unknown = all - ok - warning - critical;
            let probes = Probes { ok, warning, critical, unknown };
            let first = Timestamp::from_millisecond(first).map_err(failed)?;
            Ok(Tally { host: host.clone(), check: Subject::of_row(&set, &name), probes, first })
        };
        rows.into_iter().map(tally).collect()
    }
}

#[async_trait]
impl Reports for SqliteStore {
    async fn ends(&self, run: RunId) -> Result<RunEnds, StoreError> {
        self.off_thread(move |store| store.ends_now(run)).await
    }

    async fn past(&self, run: RunId, hosts: &[HostName]) -> Result<Vec<HostPast>, StoreError> {
        let hosts = hosts.to_vec();
        self.off_thread(move |store| store.past_now(run, &hosts)).await
    }

    async fn ends_of_runs(&self, runs: &[RunId], most: usize) -> Result<EndsOfRuns, StoreError> {
        let runs = runs.to_vec();
        self.off_thread(move |store| store.ends_of_runs_now(&runs, most)).await
    }

    async fn step_times(&self, run: RunId) -> Result<RunTimes, StoreError> {
        self.off_thread(move |store| store.step_times_now(run)).await
    }

    async fn absences(&self, from: Timestamp) -> Result<Vec<Absence>, StoreError> {
        self.off_thread(move |store| store.absences_now(from)).await
    }

    async fn tallies(&self, host: &HostName, from: Timestamp) -> Result<Vec<Tally>, StoreError> {
        let host = host.clone();
        self.off_thread(move |store| store.tallies_now(&host, from)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::outcome::{End, RunOutcome, Verdict};
    use crate::domain::check::id::CheckId;
    use crate::domain::watch::roll::Sample;
    use crate::domain::watch::roster::{Batch, WatchedId};
    use crate::store::tests::{ann, at, drain, enabled, ended, plan, settled, store};

    #[test]
    fn the_last_end_of_each_host_counts_and_open_runs_have_none() {
        let (_dir, store) = store();
        let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
        assert_eq!(store.ends_now(run).unwrap(), RunEnds::default());
        store.append_now(run, at(2), vec![settled(End::Released), settled(End::RolledBack)]).unwrap();
        let ends = store.ends_now(run).unwrap();
        assert_eq!(ends.ends, [("web1".into(), End::RolledBack)].into());
        assert!(!ends.goes_back);
        store.append_now(run, at(3), vec![ended(RunOutcome::Failed)]).unwrap();
        let back = crate::domain::plan::plan::Plan { goes_back: true, ..plan("1") };
        let back = store.create_run_now(&back, &ann(), at(4)).unwrap().run;
        assert!(store.ends_now(back).unwrap().goes_back);
    }

    #[test]
    fn an_absence_has_the_times_of_its_debt_and_the_end_of_its_run() {
        let (_dir, store) = store();
        let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
        store.append_now(run, at(2), vec![drain(), settled(End::Held)]).unwrap();
        store.append_now(run, at(3), vec![ended(RunOutcome::NeedsPerson)]).unwrap();
        let next = store.create_run_now(&plan("2"), &ann(), at(5)).unwrap().run;
        store.append_now(next, at(6), vec![drain()]).unwrap();
        let all = |from| {
            let all = store.absences_now(at(from)).unwrap();
            all.into_iter().map(|one| (one.run, one.since, one.until, one.run_ended_at)).collect::<Vec<_>>()
        };
        assert_eq!(all(0), [(run, at(2), None, Some(at(3))), (next, at(6), None, None)]);
        store.append_now(next, at(7), vec![enabled()]).unwrap();
        let both = [(run, at(2), Some(at(7)), Some(at(3))), (next, at(6), Some(at(7)), None)];
        assert_eq!(all(7), both);
        assert_eq!(all(8), []);
    }

    #[test]
    fn probes_of_the_schedule_are_counted_and_those_of_runs_are_not() {
        let (_dir, store) = store();
        let key = WatchedId { host: "web1".into(), check: CheckId::new("http", "page").into() };
        let sample = |second, verdict, run| {
            let sample = Sample { at: at(second), verdict, value: None, took_ms: 1, run };
            (key.clone(), sample)
        };
        let samples = vec![
            sample(1, Verdict::Critical, None),
            sample(10, Verdict::Ok, None),
            sample(11, Verdict::Warning, None),
            sample(12, Verdict::Critical, None),
            sample(13, Verdict::Unknown, None),
            sample(14, Verdict::Critical, Some(RunId(1))),
        ];
        store.keep_now(&Batch { samples, ..Batch::default() }).unwrap();
        let tallies = store.tallies_now(&"web1".into(), at(10)).unwrap();
        let probes = Probes { ok: 1, warning: 1, critical: 1, unknown: 1 };
        assert_eq!((tallies.len(), tallies[0].probes, tallies[0].first), (1, probes, at(10)));
        assert_eq!(store.tallies_now(&"web1".into(), at(20)).unwrap(), []);
        assert_eq!(store.tallies_now(&"web2".into(), at(0)).unwrap(), []);
    }
}
