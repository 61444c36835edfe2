//! `report`: what happened to hosts in a time, in words and as JSON.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::json;
use super::table::{age, columns, moment};
use crate::domain::base::name::count;
use crate::domain::run::report::{LeftOut, Period, ReleaseReport, Spread};
use crate::domain::watch::uptime::{HostUptime, Uptime};

/// Worst hosts of a check that the text names.
const WORST_HOSTS: usize = 3;

/// All of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    pub selector: String,
    /// How many hosts it is about.
    pub hosts: usize,
    #[serde(flatten)]
    pub period: Period,
    /// The operator has groups: runs that also have other hosts are not counted.
    pub is_partial: bool,
    pub releases: ReleaseReport,
    pub left_out: Vec<LeftOut>,
    /// `None`: too many hosts.
    pub checks: Option<Vec<Uptime>>,
    /// What limits the numbers.
    pub notes: Vec<String>,
}

impl GroupReport {
    pub fn json(&self) -> String {
        json::line("group-report", self)
    }

    pub fn text(&self) -> String {
        let Period { from, until } = self.period;
        let partial = if self.is_partial { ", of what you may see" } else { "" };
        let mut text = format!(
            "{}: {}, {} to {} ({}){partial}\n\n",
            self.selector,
            count(self.hosts, "host"),
            moment(from),
            moment(until),
            age(from, until),
        );
        text.push_str(&columns(&releases(&self.releases)));
        if !self.left_out.is_empty() {
            text.push_str("\nLeft out of rotation when their run had ended:\n");
            text.push_str(&columns(&left_out(&self.left_out)));
        }
        match self.checks.as_deref() {
            Some([]) => text.push_str("\nThe schedule has probed no check of these hosts in the time.\n"),
            Some(checks) => {
                text.push_str("\nScheduled checks:\n");
                text.push_str(&columns(&checks_table(checks)));
            }
            None => {}
        }
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}\n"));
        }
        text
    }
}

fn releases(report: &ReleaseReport) -> Vec<Vec<String>> {
    let row = |name: &str, value: String, more: String| vec![name.to_string(), value, more];
    let part = |number: usize, word: &str| (number > 0).then(|| format!("{number} {word}"));
    let listed = |parts: Vec<Option<String>>| parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let ends = vec![
        part(report.good, "good"),
        part(report.failed, "failed"),
        part(report.unknown, "with an unknown end"),
    ];
    let others = vec![
        part(report.under_way, "under way"),
        part(report.cancelled, "cancelled"),
        part(report.not_started, "ended before they reached these hosts"),
    ];
    let others = listed(others);
    let not_counted = if others.is_empty() { others } else { format!("not counted: {others}") };
    let per_day = report.deploys_per_day.map(|number| format!("{number:.2} a day"));
    let rate = report.change_failure_rate.map(percent);
    let judged = format!("{} of {}", report.failed, report.good + report.failed);
    let waiting = match report.not_recovered {
        0 => String::new(),
        number => format!("{} without a good release since", count(number, "failed deploy")),
    };
    let rollbacks = format!(
        "{} failed; deploys rolled back {}",
        report.rollbacks_failed,
        count(report.hosts_rolled_back, "host")
    );
    vec![
        row("deploys", report.deploys.to_string(), listed(ends)),
        row("", String::new(), not_counted),
        row("deploy frequency", per_day.unwrap_or_else(none), String::new()),
        row("change failure rate", rate.unwrap_or_else(none), judged),
        row("time to recover", spread(report.recovery), waiting),
        row("lead time", "not known".into(), "rollcall does not know when a change was made".into()),
        row("duration", spread(report.duration), "waits and pauses included".into()),
        row("rollbacks", report.rollbacks.to_string(), rollbacks),
    ]
    .into_iter()
    .filter(|row| row.iter().any(|cell| !cell.is_empty()))
    .collect()
}

fn none() -> String {
    "-".into()
}

fn spread(spread: Option<Spread>) -> String {
    let words = |one: Spread| {
        format!("median {}, longest {}, of {}", long(one.median_ms), long(one.longest_ms), one.count)
    };
    spread.map_or_else(none, words)
}

/// A duration in its largest units.
fn long(ms: u64) -> String {
    let time = SignedDuration::try_from(Duration::from_millis(ms)).unwrap_or(SignedDuration::MAX);
    let end = Timestamp::UNIX_EPOCH.checked_add(time).unwrap_or(Timestamp::MAX);
    age(Timestamp::UNIX_EPOCH, end)
}

/// Rounded away from both ends: 100% is all, and 0% is none.
fn percent(share: f64) -> String {
    let hundredths = (share * 10_000.0).round();
    let hundredths = match hundredths {
        _ if share <= 0.0 => 0.0,
        _ if share >= 1.0 => 10_000.0,
        rounded => rounded.clamp(1.0, 9_999.0),
    };
    format!("{:.2}%", hundredths / 100.0)
}

fn left_out(all: &[LeftOut]) -> Vec<Vec<String>> {
    let head = ["HOST", "BALANCER", "RUN", "SINCE", "UNTIL", "IN THIS TIME"].map(String::from).to_vec();
    let row = |one: &LeftOut| {
        let until = match (one.until, one.written_off) {
            (Some(until), _) => moment(until),
            (None, true) => "written off".into(),
            (None, false) => "still out".into(),
        };
        let LeftOut { host, balancer, run, since, out_ms, .. } = one;
        vec![host.to_string(), balancer.clone(), run.to_string(), moment(*since), until, long(*out_ms)]
    };
    std::iter::once(head).chain(all.iter().map(row)).collect()
}

fn checks_table(all: &[Uptime]) -> Vec<Vec<String>> {
    let head = ["CHECK", "OK", "PROBES", "NOT OBSERVED", "SINCE", "WORST HOSTS"].map(String::from).to_vec();
    let row = |one: &Uptime| {
        let probes = one.probes;
        let observed = probes.ok + probes.warning + probes.critical;
        let is_bad = |host: &&HostUptime| host.share.is_some_and(|share| share < 1.0);
        let worst = one.hosts.iter().filter(is_bad).take(WORST_HOSTS);
        let worst = worst.map(|host| format!("{} {}", host.host, host.share.map_or_else(none, percent)));
        vec![
            one.check.to_string(),
            one.share.map_or_else(none, percent),
            observed.to_string(),
            probes.unknown.to_string(),
            moment(one.since),
            worst.collect::<Vec<_>>().join(", "),
        ]
    };
    std::iter::once(head).chain(all.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;
    use crate::domain::run::report::releases;
    use crate::domain::watch::subject::Subject;
    use crate::domain::watch::uptime::{Probes, Tally, uptimes};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn report() -> GroupReport {
        let period = Period { from: at(0), until: at(864_000) };
        GroupReport {
            selector: "prod".into(),
            hosts: 2,
            period,
            is_partial: false,
            releases: releases(&[], period),
            left_out: vec![],
            checks: Some(vec![]),
            notes: vec![],
        }
    }

    #[test]
    fn a_time_without_runs_has_no_rates() {
        assert_eq!(
            report().text(),
            "prod: 2 hosts, 1970-01-01 00:00:00Z to 1970-01-11 00:00:00Z (10d)

deploys              0
deploy frequency     0.00 a day
change failure rate  -           0 of 0
time to recover      -
lead time            not known   rollcall does not know when a change was made
duration             -           waits and pauses included
rollbacks            0           0 failed; deploys rolled back 0 hosts

The schedule has probed no check of these hosts in the time.
"
        );
        let value: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(value["schema"], "group-report");
        assert_eq!(value["releases"]["lead_time"], serde_json::Value::Null);
        assert_eq!(value["releases"]["change_failure_rate"], serde_json::Value::Null);
        assert_eq!(value["from"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_number_has_its_words() {
        let spread = |count| Some(Spread { count, median_ms: 90_000, longest_ms: 7_260_000 });
        let releases = ReleaseReport {
            deploys: 4,
            good: 2,
            failed: 1,
            unknown: 1,
            cancelled: 1,
            not_started: 2,
            under_way: 1,
            change_failure_rate: Some(1.0 / 3.0),
            duration: spread(4),
            recovery: spread(1),
            not_recovered: 1,
            rollbacks: 2,
            rollbacks_failed: 1,
            hosts_rolled_back: 3,
            ..report().releases
        };
        let left = LeftOut {
            host: "web1".into(),
            balancer: "prod.web".into(),
            run: RunId(7),
            since: at(60),
            until: None,
            out_ms: 863_940_000,
            written_off: false,
        };
        let probes = Probes { ok: 99_999, warning: 0, critical: 1, unknown: 4 };
        let tally = Tally { host: "web1".into(), check: Subject::Contact, probes, first: at(5) };
        let whole = GroupReport {
            is_partial: true,
            releases,
            left_out: vec![left],
            checks: Some(uptimes(vec![tally])),
            notes: vec!["so it is".into()],
            ..report()
        };
        let text = whole.text();
        for part in [
            "(10d), of what you may see\n",
            "  2 good, 1 failed, 1 with an unknown end\n",
            "not counted: 1 under way, 1 cancelled, 2 ended before they reached these hosts\n",
            "33.33%",
            "1 of 3\n",
            "median 1m30s, longest 2h1m, of 1",
            "1 failed deploy without a good release since\n",
            "1 failed; deploys rolled back 3 hosts\n",
            "web1  prod.web  7    1970-01-01 00:01:00Z  still out  9d23h\n",
            "reachable  99.99%  100000  4             1970-01-01 00:00:05Z  web1 99.99%\n",
            "\nnote: so it is\n",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    }

    #[test]
    fn only_all_is_a_hundred_percent_and_only_none_is_zero() {
        let rows =
            [(0.0, "0.00%"), (0.000_001, "0.01%"), (0.999_999, "99.99%"), (1.0, "100.00%"), (0.5, "50.00%")];
        for (share, wanted) in rows {
            assert_eq!(percent(share), wanted);
        }
    }
}
