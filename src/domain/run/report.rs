//! The releases of some hosts in a time, as numbers. Records in, a report out; the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, RunOutcome, milliseconds};

/// The time of a report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Period {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Period {
    fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.until
    }

    /// In days of 24 hours.
    pub fn days(&self) -> f64 {
        self.until.duration_since(self.from).as_secs_f64() / 86_400.0
    }
}

/// A run of a release, as far as it concerns the hosts of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRecord {
    pub run: RunId,
    /// An operator's `rollback`.
    pub goes_back: bool,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<RunOutcome>,
    /// The hosts of the report that it has, with their ends; `None` for a host without an end on record.
    pub hosts: BTreeMap<HostName, Option<End>>,
    /// It has no other hosts.
    pub is_whole: bool,
}

/// How a release ended for the hosts of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseEnd {
    Good,
    Failed,
    /// The end of a host, or of the run, is not known.
    Unknown,
    Cancelled,
    /// It ended before it reached one of these hosts.
    NotStarted,
    UnderWay,
}

/// The middle and the largest of some durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub median_ms: u64,
    pub longest_ms: u64,
}

/// The numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseReport {
    /// Those that ended in the time: good, failed or unknown.
    pub deploys: usize,
    pub good: usize,
    pub failed: usize,
    pub unknown: usize,
    pub cancelled: usize,
    pub not_started: usize,
    /// Now.
    pub under_way: usize,
    /// `None` for less than a day: it would be a guess at the rest of it.
    pub deploys_per_day: Option<f64>,
    /// From 0 to 1: failed ones of those that are good or failed.
    pub change_failure_rate: Option<f64>,
    pub duration: Option<Spread>,
    /// From the end of a failed deploy until each of its failed hosts was in a good release.
    pub recovery: Option<Spread>,
    /// Failed deploys of which a host has had no good release since.
    pub not_recovered: usize,
    /// Operators' rollbacks that ended in the time.
    pub rollbacks: usize,
    pub rollbacks_failed: usize,
    /// Times that a deploy took a host back to its old release.
    pub hosts_rolled_back: usize,
    /// Always `None`: rollcall does not know when a change was made.
    pub lead_time: Option<Spread>,
}

impl ReleaseRecord {
    /// How it ended for the hosts of the report.
    pub fn end(&self) -> ReleaseEnd {
        let Some(outcome) = self.outcome else { return ReleaseEnd::UnderWay };
        match outcome {
            RunOutcome::Cancelled => return ReleaseEnd::Cancelled,
            RunOutcome::Interrupted => return ReleaseEnd::Unknown,
            RunOutcome::Done
            | RunOutcome::Failed
            | RunOutcome::NeedsPerson
            | RunOutcome::Unreachable
            | RunOutcome::Checked(_) => {}
        }
        let ends = || self.hosts.values();
        let is_bad =
            |end: &Option<End>| matches!(end, Some(End::RolledBack | End::Held | End::Failing | End::Failed));
        if ends().any(is_bad) {
            return ReleaseEnd::Failed;
        }
        if ends().any(|end| matches!(end, None | Some(End::Unknown))) {
            return ReleaseEnd::Unknown;
        }
        match (ends().any(is_good), ends().all(is_good)) {
            (_, true) => ReleaseEnd::Good,
            (true, false) => ReleaseEnd::Failed,
            // Nothing started: the run is stopped by these hosts only if it has no others.
            (false, false) if self.is_whole && outcome != RunOutcome::Done => ReleaseEnd::Failed,
            (false, false) => ReleaseEnd::NotStarted,
        }
    }

    /// From the start to the end; `None` if it has none, or the clock was set back in between.
    fn duration(&self) -> Option<Duration> {
        between(self.started_at, self.ended_at?)
    }

    /// How long after its end the last of its failed hosts had a good release; `None` if one has had none.
    fn recovery(&self, all: &[ReleaseRecord]) -> Option<Duration> {
        let failed_at = self.ended_at?;
        let next = |host: &HostName| {
            let good = all.iter().filter(|other| other.hosts.get(host).is_some_and(is_good));
            good.filter_map(|other| other.ended_at).filter(|at| *at > failed_at).min()
        };
        let failed = self.hosts.iter().filter(|(_, end)| !is_good(end));
        let last = failed.map(|(host, _)| next(host)).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        between(failed_at, last)
    }
}

fn is_good(end: &Option<End>) -> bool {
    matches!(end, Some(End::Released | End::Unchanged | End::Done))
}

fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

/// The numbers of a time. `all` has every release that ended in it, and those under way.
pub fn releases(all: &[ReleaseRecord], period: Period) -> ReleaseReport {
    let ended = || all.iter().filter(|one| one.ended_at.is_some_and(|at| period.has(at)));
    let deploys = || ended().filter(|one| !one.goes_back);
    let number = |end| deploys().filter(|one| one.end() == end).count();
    let [good, failed, unknown] = [ReleaseEnd::Good, ReleaseEnd::Failed, ReleaseEnd::Unknown].map(number);
    let counted = |one: &&ReleaseRecord| {
        matches!(one.end(), ReleaseEnd::Good | ReleaseEnd::Failed | ReleaseEnd::Unknown)
    };
    let failures: Vec<&ReleaseRecord> = deploys().filter(|one| one.end() == ReleaseEnd::Failed).collect();
    let recoveries: Vec<Duration> = failures.iter().filter_map(|one| one.recovery(all)).collect();
    let number_of_deploys = good + failed + unknown;
    let days = period.days();
    ReleaseReport {
        deploys: number_of_deploys,
        good,
        failed,
        unknown,
        cancelled: number(ReleaseEnd::Cancelled),
        not_started: number(ReleaseEnd::NotStarted),
        under_way: all.iter().filter(|one| one.end() == ReleaseEnd::UnderWay).count(),
        deploys_per_day: (days >= 1.0).then(|| number_of_deploys as f64 / days),
        change_failure_rate: (good + failed > 0).then(|| failed as f64 / (good + failed) as f64),
        duration: spread(deploys().filter(counted).filter_map(ReleaseRecord::duration).collect()),
        not_recovered: failures.len() - recoveries.len(),
        recovery: spread(recoveries),
        rollbacks: ended().filter(|one| one.goes_back).filter(counted).count(),
        rollbacks_failed: ended().filter(|one| one.goes_back && one.end() == ReleaseEnd::Failed).count(),
        hosts_rolled_back: deploys()
            .flat_map(|one| one.hosts.values())
            .filter(|end| **end == Some(End::RolledBack))
            .count(),
        lead_time: None,
    }
}

/// Of an even number, the lower of the two in the middle: a duration that was measured.
fn spread(mut all: Vec<Duration>) -> Option<Spread> {
    all.sort();
    let longest = all.last()?;
    let median = all[(all.len() - 1) / 2];
    Some(Spread { count: all.len(), median_ms: milliseconds(median), longest_ms: milliseconds(*longest) })
}

/// A host that a run took out of a balancer, as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Absence {
    pub host: HostName,
    pub balancer: String,
    pub run: RunId,
    pub since: Timestamp,
    /// When it was proven to be in rotation again.
    pub until: Option<Timestamp>,
    pub run_ended_at: Option<Timestamp>,
    pub written_off: bool,
}

/// A host that was out of rotation when its run had ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    pub host: HostName,
    pub balancer: String,
    pub run: RunId,
    pub since: Timestamp,
    /// `None`: it still is, as far as is known.
    pub until: Option<Timestamp>,
    /// The part of it within the time of the report.
    pub out_ms: u64,
    pub written_off: bool,
}

/// The hosts that runs left out of rotation, longest first.
pub fn left_out(absences: Vec<Absence>, period: Period) -> Vec<LeftOut> {
    let one = |absence: Absence| {
        let Absence { host, balancer, run, since, until, run_ended_at, written_off } = absence;
        let end = run_ended_at?;
        let is_left = until.is_none_or(|until| until > end);
        let (from, to) = (since.max(period.from), until.unwrap_or(period.until).min(period.until));
        let out = between(from, to).filter(|out| is_left && !out.is_zero())?;
        Some(LeftOut { host, balancer, run, since, until, out_ms: milliseconds(out), written_off })
    };
    let mut all: Vec<LeftOut> = absences.into_iter().filter_map(one).collect();
    all.sort_by(|a, b| b.out_ms.cmp(&a.out_ms).then_with(|| a.host.cmp(&b.host)));
    all
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
