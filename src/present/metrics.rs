//! `metrics`: the state of rollcall itself, for Prometheus.

use std::collections::BTreeMap;

use super::prometheus::{Family, Results};
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::watch::roll::{CheckLine, Roll, ScheduleHealth};

/// The values of the metrics.
pub struct Metrics<'m> {
    pub debts: &'m [Debt],
    /// Runs that are not over.
    pub runs: &'m [RunSummary],
    /// Top-level groups that a run holds, with the run.
    pub leases: &'m [(String, u64)],
    /// By channel: delivered, waiting, abandoned.
    pub channels: &'m BTreeMap<String, [u64; 3]>,
    /// The watched checks; `None` if no monitor runs.
    pub roll: Option<&'m Roll>,
}

/// One family for each metric.
pub fn families(metrics: &Metrics<'_>) -> Vec<Family> {
    let mut under_way = Family::gauge("rollcall_runs_under_way", "Runs that are not over.");
    under_way.add(&[], metrics.runs.len() as f64);
    let mut debts =
        Family::gauge("rollcall_debts", "Hosts that runs took out of rotation and did not put back.");
    debts.add(&[], metrics.debts.iter().filter(|debt| debt.is_open()).count() as f64);
    let mut since =
        Family::gauge("rollcall_debt_since_timestamp_seconds", "Since when a host is out of rotation.");
    for debt in metrics.debts.iter().filter(|debt| debt.is_open()) {
        let labels = [("host", debt.host.as_str()), ("balancer", debt.balancer.as_str())];
        since.add(&labels, debt.since.as_second() as f64);
    }
    let mut leases = Family::gauge("rollcall_lease_held", "Groups that a run holds; the value is always 1.");
    for (group, run) in metrics.leases {
        leases.add(&[("group", group), ("run", &run.to_string())], 1.0);
    }
    let mut delivered = Family::counter("rollcall_notices_delivered_total", "Messages that were delivered.");
    let mut given_up =
        Family::counter("rollcall_notices_given_up_total", "Messages that could not be delivered.");
    let mut waiting = Family::gauge("rollcall_notices_waiting", "Messages that are not delivered yet.");
    for (channel, counts) in metrics.channels {
        let families = [&mut delivered, &mut waiting, &mut given_up];
        for (family, count) in families.into_iter().zip(counts) {
            family.add(&[("channel", channel)], *count as f64);
        }
    }
    let mut all = vec![under_way, debts, since, leases, delivered, given_up, waiting];
    if let Some(roll) = metrics.roll {
        all.extend(watched(&roll.lines));
        all.extend(pace(&roll.pace));
    }
    all
}

/// The state of every check: the same names as in `check --format prometheus`, and some more.
fn watched(lines: &[CheckLine]) -> Vec<Family> {
    let mut results = Results::default();
    let mut hard =
        Family::gauge("rollcall_check_hard", "1 where a verdict was observed often enough to count.");
    let mut flapping =
        Family::gauge("rollcall_check_flapping", "1 where a check changes too often for an alert each time.");
    let mut known = Family::gauge("rollcall_check_acknowledged", "1 where an operator knows of a problem.");
    let mut quiet = Family::gauge("rollcall_check_quiet", "1 where a check does not alert for now.");
    let mut since =
        Family::gauge("rollcall_check_since_timestamp_seconds", "Since when a check has its verdict.");
    let mut probed =
        Family::gauge("rollcall_check_last_probe_timestamp_seconds", "When the last probe of a check ended.");
    for line in lines {
        let (set, check) = line.check.row();
        let labels = [("host", line.host.as_str()), ("group", &line.group), ("set", set), ("check", check)];
        let Some(verdict) = line.verdict else { continue };
        results.add(labels, verdict, line.took_ms, &line.readings);
        let flags = [line.hard, line.flapping, line.ack.is_some(), line.quiet.is_some()];
        for (family, flag) in [&mut hard, &mut flapping, &mut known, &mut quiet].into_iter().zip(flags) {
            family.add(&labels, f64::from(u8::from(flag)));
        }
        for (family, at) in [(&mut since, line.since), (&mut probed, line.last_at)] {
            if let Some(at) = at {
                family.add(&labels, at.as_second() as f64);
            }
        }
    }
    let mut all = results.families();
    all.extend([hard, flapping, known, quiet, since, probed]);
    all
}

/// How well the schedule is kept.
fn pace(pace: &ScheduleHealth) -> Vec<Family> {
    let alone = |mut family: Family, value: f64| {
        family.add(&[], value);
        family
    };
    let late = |name, help, ms: u64| alone(Family::gauge(name, help), ms as f64 / 1000.0);
    let (max, p99) = ("rollcall_schedule_lateness_max_seconds", "rollcall_schedule_lateness_p99_seconds");
    let latest = late(max, "The longest delay of a probe in the last minutes.", pace.late_max_ms);
    let most =
        late(p99, "The delay that 99 of 100 probes of the last minutes did not exceed.", pace.late_p99_ms);
    let probes =
        Family::counter("rollcall_probes_total", "Scheduled probes that were taken since the start.");
    let in_flight = Family::gauge("rollcall_probes_in_flight", "Scheduled probes that are being taken.");
    let waiting =
        Family::gauge("rollcall_probes_waiting", "Scheduled probes that are due and wait for their turn.");
    let unstored = Family::gauge("rollcall_changes_unstored", "Changes that the store has not taken yet.");
    vec![
        alone(probes, pace.probes as f64),
        alone(in_flight, pace.in_flight as f64),
        alone(waiting, pace.waiting as f64),
        alone(unstored, pace.unstored as f64),
        latest,
        most,
    ]
}
