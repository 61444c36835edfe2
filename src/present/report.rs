//! The results of checks on hosts as one value, for programs: every format of `check --format` takes it.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{RunOutcome, Verdict};
use crate::domain::base::output::clipped;
use crate::domain::check::check::{Check, CheckResult};
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::run::event::Event;
use crate::domain::run::run::Run;

/// The results of some checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The command.
    pub title: String,
    pub run: Option<RunId>,
    /// The start time.
    pub at: Timestamp,
    pub took: Duration,
    pub verdict: Verdict,
    pub hosts: Vec<HostReport>,
}

/// One host of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct HostReport {
    pub host: String,
    /// As `prod.web`; empty for a host that has left the inventory.
    pub group: String,
    pub results: Vec<CheckResult>,
    /// Checks that should have run and did not.
    pub missing: Vec<CheckId>,
}

impl Report {
    /// The checks of a run, with their last results.
    pub fn of_run(run: &Run, events: &[Event], inventory: &Inventory) -> Report {
        let hosts: Vec<HostReport> = run
            .hosts()
            .iter()
            .map(|(name, state)| {
                let probed = |check: &CheckId| state.checks().iter().any(|result| result.check == *check);
                let missing = planned(run, name).filter(|check| !probed(check));
                HostReport {
                    host: name.to_string(),
                    group: inventory.host(name).map(group_of).unwrap_or_default(),
                    results: state.checks().to_vec(),
                    missing: missing.collect(),
                }
            })
            .collect();
        let at = events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.at);
        let end = events.last().map_or(at, |event| event.at);
        let verdict = match run.outcome() {
            Some(RunOutcome::Checked(verdict)) => verdict,
            _ => worst(&hosts),
        };
        let took = Duration::try_from(end.duration_since(at)).unwrap_or_default();
        Report { title: run.plan().title.0.clone(), run: Some(run.id()), at, took, verdict, hosts }
    }

    /// Every result with its host.
    pub fn results(&self) -> impl Iterator<Item = (&HostReport, &CheckResult)> {
        self.hosts.iter().flat_map(|host| host.results.iter().map(move |result| (host, result)))
    }

    /// Every check that did not run, with its host.
    pub fn missing(&self) -> impl Iterator<Item = (&HostReport, &CheckId)> {
        self.hosts.iter().flat_map(|host| host.missing.iter().map(move |check| (host, check)))
    }

    /// How many results have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.results().filter(|(_, result)| result.verdict == verdict).count()
    }
}

/// A check that did not run is unknown.
fn worst(hosts: &[HostReport]) -> Verdict {
    let seen = hosts.iter().flat_map(|host| &host.results).map(|result| result.verdict);
    let blind = hosts.iter().any(|host| !host.missing.is_empty());
    Verdict::worst(seen.chain(blind.then_some(Verdict::Unknown)))
}

/// The smallest group that a host is in.
fn group_of(host: &Host) -> String {
    host.groups.last().cloned().unwrap_or_default()
}

/// The planned checks of a host, single ones and comparisons.
fn planned<'r>(run: &'r Run, host: &'r HostName) -> impl Iterator<Item = CheckId> {
    let alone = run.plan().hosts.get(host).map_or(&[][..], |plan| &plan.checks);
    let compared = run.plan().snapshots.iter().filter(|snapshot| snapshot.reported.contains(host));
    alone.iter().map(Check::id).chain(compared.map(|snapshot| snapshot.check.clone()))
}

/// The start of a text as one line: no line ends, no control characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    clipped(&words.collect::<Vec<_>>().join(" "), limit)
}
