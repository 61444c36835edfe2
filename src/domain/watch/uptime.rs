//! How often scheduled checks were ok in a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::subject::Subject;
use crate::domain::base::name::{HostName, natural};

/// The results of probes, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probes {
    pub ok: u64,
    pub warning: u64,
    pub critical: u64,
    /// What could not be observed.
    pub unknown: u64,
}

impl Probes {
    /// The part of what was observed that was ok, from 0 to 1; `None` if nothing was observed.
    pub fn share(&self) -> Option<f64> {
        let observed = self.ok + self.warning + self.critical;
        (observed > 0).then(|| self.ok as f64 / observed as f64)
    }

    fn add(&mut self, other: Probes) {
        self.ok += other.ok;
        self.warning += other.warning;
        self.critical += other.critical;
        self.unknown += other.unknown;
    }
}

/// The probes of one check on one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    pub host: HostName,
    pub check: Subject,
    pub probes: Probes,
    /// The time of the first of them.
    pub first: Timestamp,
}

/// One check over all hosts of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uptime {
    #[serde(flatten)]
    pub check: Subject,
    #[serde(flatten)]
    pub probes: Probes,
    pub share: Option<f64>,
    /// The time of the first probe.
    pub since: Timestamp,
    /// Worst first; those without any observation at the end.
    pub hosts: Vec<HostUptime>,
}

/// One check on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostUptime {
    pub host: HostName,
    #[serde(flatten)]
    pub probes: Probes,
    pub share: Option<f64>,
}

/// Every check of the tallies, worst first.
pub fn uptimes(tallies: Vec<Tally>) -> Vec<Uptime> {
    let mut by_check: BTreeMap<Subject, Vec<Tally>> = BTreeMap::new();
    for tally in tallies {
        by_check.entry(tally.check.clone()).or_default().push(tally);
    }
    let one = |(check, tallies): (Subject, Vec<Tally>)| {
        let since = tallies.iter().map(|tally| tally.first).min()?;
        let mut probes = Probes::default();
        tallies.iter().for_each(|tally| probes.add(tally.probes));
        let host = |Tally { host, probes, .. }| HostUptime { host, probes, share: probes.share() };
        let mut hosts: Vec<HostUptime> = tallies.into_iter().map(host).collect();
        hosts.sort_by(|a, b| worse(a.share, b.share).then_with(|| natural(a.host.as_str(), b.host.as_str())));
        Some(Uptime { check, probes, share: probes.share(), since, hosts })
    };
    let mut all: Vec<Uptime> = by_check.into_iter().filter_map(one).collect();
    all.sort_by(|a, b| worse(a.share, b.share));
    all
}

fn worse(a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
    // No share is above 1.
    a.unwrap_or(2.0).total_cmp(&b.unwrap_or(2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::id::CheckId;

    fn tally(host: &str, check: &str, [ok, warning, critical, unknown]: [u64; 4]) -> Tally {
        Tally {
            host: host.into(),
            check: CheckId::new("http", check).into(),
            probes: Probes { ok, warning, critical, unknown },
            first: Timestamp::from_second(7).unwrap(),
        }
    }

    #[test]
    fn what_was_not_observed_is_neither_up_nor_down() {
        let rows = [
            ([0, 0, 0, 0], None),
            ([0, 0, 0, 5], None),
            ([3, 0, 0, 7], Some(1.0)),
            ([1, 1, 2, 9], Some(0.25)),
            ([0, 0, 1, 0], Some(0.0)),
        ];
        for (probes, share) in rows {
            assert_eq!(tally("w", "c", probes).probes.share(), share, "{probes:?}");
        }
    }

    #[test]
    fn the_worst_come_first() {
        let all = uptimes(vec![
            tally("web10", "a", [4, 0, 0, 0]),
            tally("web2", "a", [4, 0, 0, 0]),
            tally("web1", "a", [2, 0, 2, 1]),
            tally("web3", "a", [0, 0, 0, 9]),
            tally("web1", "b", [0, 0, 1, 0]),
            tally("web1", "c", [0, 0, 0, 1]),
        ]);
        let checks: Vec<_> = all.iter().map(|one| (one.check.to_string(), one.share)).collect();
        let names: Vec<&str> = all[1].hosts.iter().map(|host| host.host.as_str()).collect();
        assert_eq!(checks.iter().map(|one| one.1).collect::<Vec<_>>(), [Some(0.0), Some(10.0 / 12.0), None]);
        assert_eq!(names, ["web1", "web2", "web10", "web3"]);
        assert_eq!(all[1].probes, Probes { ok: 10, warning: 0, critical: 2, unknown: 10 });
    }
}
