//! `report`: what happened to hosts in a time. Only runs and hosts that the operator may see are counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::asked::{Asked, Ended, may_see};
use crate::domain::ask::access::Granted;
use crate::domain::ask::options::ReportAsk;
use crate::domain::base::name::{HostName, count};
use crate::domain::plan::plan::RunKind;
use crate::domain::run::record::RunSummary;
use crate::domain::run::report::{Period, ReleaseRecord, left_out, releases};
use crate::domain::watch::uptime::{Uptime, uptimes};
use crate::present::group_report::GroupReport;
use crate::present::table::moment;

/// Newest runs that a report reads: other work waits for the same store.
const RUNS_READ: usize = 2_000;

/// Most hosts whose probes a report counts: for each of them the store reads thousands of rows.
const HOSTS_COUNTED: usize = 500;

impl Asked<'_> {
    pub(super) async fn group_report(&mut self, granted: &Granted, ask: &ReportAsk) -> Result<u8, Ended> {
        let inventory = self.visible(granted).await?;
        let hosts: BTreeSet<HostName> = self.pick(&inventory, &ask.selector).await?.into_iter().collect();
        let runs = self.ports().store.runs(RUNS_READ).await?;
        // Not before they are read: a run that has ended in between would be in no number.
        let until = self.ports().hosts.clock.now();
        let from = until.checked_sub(ask.time).unwrap_or(Timestamp::MIN);
        let mut notes = Vec::new();
        let period = Period { from: known_from(&runs, from, &mut notes).min(until), until };
        let records = self.release_records(granted, runs, (&hosts, period)).await?;
        let reports = self.desk.reports.of(&self.granted);
        let mut absences = reports.absences(period.from).await?;
        absences.retain(|absence| hosts.contains(&absence.host));
        let checks = self.uptimes(&hosts, from, &mut notes).await?;
        let report = GroupReport {
            selector: ask.selector.clone(),
            hosts: hosts.len(),
            period,
            is_partial: granted.operator().groups.is_some(),
            releases: releases(&records, period),
            left_out: left_out(absences, period),
            checks,
            notes,
        };
        let text = if self.json { report.json() } else { report.text() };
        self.say(&text).await
    }

    /// The releases on these hosts that are under way, or ended in the time.
    async fn release_records(
        &self,
        granted: &Granted,
        runs: Vec<RunSummary>,
        (hosts, period): (&BTreeSet<HostName>, Period),
    ) -> Result<Vec<ReleaseRecord>, Ended> {
        let whole = Arc::clone(&self.config);
        let mut records = Vec::new();
        for run in runs {
            let is_release = matches!(run.kind, RunKind::Release { .. });
            let is_recent = run.ended_at.is_none_or(|at| at >= period.from);
            let here: Vec<&HostName> = run.hosts.iter().filter(|host| hosts.contains(*host)).collect();
            if !is_release || !is_recent || here.is_empty() || !may_see(granted, &whole.inventory, &run.hosts)
            {
                continue;
            }
            let ends = self.desk.reports.of(&self.granted).ends(run.run).await?;
            records.push(ReleaseRecord {
                run: run.run,
                goes_back: ends.goes_back,
                started_at: run.started_at,
                ended_at: run.ended_at,
                outcome: run.outcome,
                is_whole: here.len() == run.hosts.len(),
                hosts: here.into_iter().map(|host| (host.clone(), ends.ends.get(host).copied())).collect(),
            });
        }
        Ok(records)
    }

    /// How often the checks of these hosts were ok; `None` for too many hosts.
    async fn uptimes(
        &self,
        hosts: &BTreeSet<HostName>,
        from: Timestamp,
        notes: &mut Vec<String>,
    ) -> Result<Option<Vec<Uptime>>, Ended> {
        if hosts.len() > HOSTS_COUNTED {
            notes.push(format!(
                "checks are left out: {} are more than {HOSTS_COUNTED}; try: a smaller group",
                count(hosts.len(), "host")
            ));
            return Ok(None);
        }
        self.desk.monitor.flush().await?;
        let mut tallies = Vec::new();
        for host in hosts {
            tallies.extend(self.desk.reports.of(&self.granted).tallies(host, from).await?);
        }
        if !tallies.is_empty() {
            notes.push(
                "probes before SINCE were not made, or are no longer kept; see: keep in [schedule]".into(),
            );
        }
        Ok(Some(uptimes(tallies)))
    }
}

/// From when on all runs are known: no earlier than the first of those that were read.
fn known_from(runs: &[RunSummary], from: Timestamp, notes: &mut Vec<String>) -> Timestamp {
    let Some(oldest) = runs.last().map(|run| run.started_at).filter(|oldest| *oldest > from) else {
        return from;
    };
    let why = match runs.len() < RUNS_READ {
        true => "the first run on record started then".to_string(),
        false => format!("a report reads the newest {RUNS_READ} runs"),
    };
    notes.push(format!("deploys and rotation are counted since {}: {why}", moment(oldest)));
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn runs(number: usize, oldest: i64) -> Vec<RunSummary> {
        let run = RunSummary {
            run: RunId(1),
            title: "deploy prod".into(),
            kind: RunKind::Check,
            by: "ann".into(),
            started_at: at(oldest),
            ended_at: None,
            outcome: None,
            hosts: vec![],
        };
        vec![run; number]
    }

    #[test]
    fn no_rate_is_over_a_time_of_which_nothing_is_known() {
        let table = [
            (runs(0, 0), 50, ""),
            (runs(3, 10), 50, ""),
            (runs(3, 90), 90, "since 1970-01-01 00:01:30Z: the first run on record started then"),
            (runs(RUNS_READ, 90), 90, "since 1970-01-01 00:01:30Z: a report reads the newest 2000 runs"),
        ];
        for (runs, from, note) in table {
            let mut notes = Vec::new();
            assert_eq!(known_from(&runs, at(50), &mut notes), at(from));
            assert!(notes.concat().contains(note) && notes.is_empty() == note.is_empty(), "{notes:?}");
        }
    }
}
