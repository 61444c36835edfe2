//! `metrics`: how rollcall itself fares, for Prometheus.

use std::collections::BTreeMap;

use super::prometheus::Family;
use crate::domain::record::{Debt, RunSummary};

/// What there is to count.
pub struct Metrics<'m> {
    pub debts: &'m [Debt],
    /// Those that are not over.
    pub runs: &'m [RunSummary],
    /// Top-level groups that a run holds, with the run.
    pub leases: &'m [(String, u64)],
    /// By channel: delivered, waiting, given up.
    pub channels: &'m BTreeMap<String, [u64; 3]>,
}

/// One family each.
pub fn families(metrics: &Metrics<'_>) -> Vec<Family> {
    let mut under_way = Family::gauge("rollcall_runs_under_way", "Runs that are not over.");
    under_way.add(&[], metrics.runs.len() as f64);
    let mut debts =
        Family::gauge("rollcall_debts", "Hosts that runs took out of rotation and did not put back.");
    debts.add(&[], metrics.debts.len() as f64);
    let mut since =
        Family::gauge("rollcall_debt_since_timestamp_seconds", "Since when a host is out of rotation.");
    for debt in metrics.debts {
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
    vec![under_way, debts, since, leases, delivered, given_up, waiting]
}
