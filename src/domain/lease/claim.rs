//! A claim: what a run or a lease wants for itself, and what is in its way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::lease::{Lease, LeaseKind};
use crate::domain::base::name::HostName;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::record::RunSummary;

/// Who wants which hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub by: String,
    pub hosts: BTreeSet<HostName>,
    pub of: Claimant,
}

/// What the hosts are wanted for.
#[derive(Clone, Debug, PartialEq)]
pub enum Claimant {
    /// A run that no other run of these top-level groups may accompany. Without groups it accompanies any run.
    Run {
        groups: BTreeSet<String>,
        /// A freeze keeps it away.
        frozen: bool,
    },
    Lease(LeaseKind),
}

/// The end of a lease that its operator replaces.
pub const REPLACED: &str = "replaced by a newer lock";

impl Claim {
    /// What a run wants; `None` for a run that changes no host.
    pub fn of_run(plan: &Plan, by: &str) -> Option<Claim> {
        let releases = matches!(plan.kind, RunKind::Release { .. } | RunKind::Task { .. });
        let frozen = releases && plan.broken_glass.is_none();
        let of = Claimant::Run { groups: plan.leases.clone(), frozen };
        (!plan.kind.only_reads()).then(|| Claim { by: by.into(), hosts: plan.worked_on(), of })
    }

    /// What a lease wants.
    pub fn of_lease(lease: &Lease) -> Claim {
        Claim { by: lease.by.clone(), hosts: lease.hosts.clone(), of: Claimant::Lease(lease.kind) }
    }

    /// True if a freeze keeps it away.
    pub fn is_frozen(&self) -> bool {
        matches!(self.of, Claimant::Run { frozen: true, .. })
    }

    /// The first open lease in its way. An operator's own lease is in the way of another lease of theirs: two of their
    /// connections exclude each other. Only a lock may follow their own lock, which it replaces.
    pub fn lease_in_way<'l>(&self, leases: &'l [Lease], now: Timestamp) -> Option<&'l Lease> {
        leases.iter().filter(|lease| lease.is_open(now)).find(|lease| {
            let excludes = match (&self.of, lease.kind) {
                (Claimant::Run { frozen, .. }, LeaseKind::Freeze) => *frozen,
                (Claimant::Run { .. }, LeaseKind::Lock | LeaseKind::Hold) => lease.by != self.by,
                (Claimant::Lease(LeaseKind::Freeze), _) | (Claimant::Lease(_), LeaseKind::Freeze) => false,
                (Claimant::Lease(_), LeaseKind::Lock | LeaseKind::Hold) => !self.replaces(lease),
            };
            excludes && !lease.hosts.is_disjoint(&self.hosts)
        })
    }

    /// True if the claim is a lock that takes the place of this lock of the same operator: it has all of its hosts.
    pub fn replaces(&self, lease: &Lease) -> bool {
        let both = (&self.of, lease.kind) == (&Claimant::Lease(LeaseKind::Lock), LeaseKind::Lock);
        both && lease.by == self.by && lease.hosts.is_subset(&self.hosts)
    }

    /// The first run in the way of a lease: one of another operator that changes hosts of it. Runs exclude each other by
    /// their groups, in the store.
    pub fn run_in_way<'r>(&self, under_way: &'r [RunSummary]) -> Option<&'r RunSummary> {
        if matches!(self.of, Claimant::Run { .. } | Claimant::Lease(LeaseKind::Freeze)) {
            return None;
        }
        let changes = |run: &&RunSummary| !run.kind.only_reads() && run.by != self.by;
        let shared = |run: &&RunSummary| run.hosts.iter().any(|host| self.hosts.contains(host));
        under_way.iter().filter(changes).find(shared)
    }

    /// True if another claim waits for what this operator has already: the holder does not wait behind it, or the two
    /// would wait for each other.
    pub fn has(&self, leases: &[Lease], other: &Claim, now: Timestamp) -> bool {
        let counts = |kind: LeaseKind| match (&self.of, kind) {
            (_, LeaseKind::Lock) | (Claimant::Run { .. }, LeaseKind::Hold) => true,
            (Claimant::Lease(_), LeaseKind::Hold) | (_, LeaseKind::Freeze) => false,
        };
        let own =
            leases.iter().filter(|lease| lease.by == self.by && lease.is_open(now) && counts(lease.kind));
        let shared =
            |lease: &Lease| !lease.hosts.is_disjoint(&self.hosts) && !lease.hosts.is_disjoint(&other.hosts);
        own.into_iter().any(shared)
    }

    /// True if the two cannot be granted at the same time.
    pub fn excludes(&self, other: &Claim) -> bool {
        match (&self.of, &other.of) {
            (Claimant::Run { groups, .. }, Claimant::Run { groups: others, .. }) => {
                !groups.is_disjoint(others)
            }
            // A freeze does not wait, and nothing waits for a freeze: its end is far away.
            (Claimant::Lease(LeaseKind::Freeze), _) | (_, Claimant::Lease(LeaseKind::Freeze)) => false,
            (Claimant::Lease(_), Claimant::Lease(_)) => !self.hosts.is_disjoint(&other.hosts),
            _ => self.by != other.by && !self.hosts.is_disjoint(&other.hosts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn names(hosts: &str) -> BTreeSet<HostName> {
        hosts.split_whitespace().map(HostName::from).collect()
    }

    fn lease(kind: LeaseKind, by: &str, hosts: &str) -> Lease {
        let until = (kind != LeaseKind::Hold).then(|| at(100));
        let (by, key, why, selector) = (by.into(), "k".into(), String::new(), hosts.into());
        Lease { id: 1, kind, by, key, why, selector, hosts: names(hosts), since: at(0), until }
    }

    fn run(by: &str, hosts: &str, groups: &str) -> Claim {
        let groups = groups.split_whitespace().map(String::from).collect();
        Claim { by: by.into(), hosts: names(hosts), of: Claimant::Run { groups, frozen: true } }
    }

    #[test]
    fn leases_are_in_the_way_of_others_and_of_second_leases() {
        use LeaseKind::{Freeze, Hold, Lock};
        let of = |kind, by, hosts| Claim::of_lease(&lease(kind, by, hosts));
        let table = [
            (run("bob", "a b", "p"), lease(Lock, "ann", "b c"), true, "a run of another operator"),
            (run("ann", "a b", "p"), lease(Lock, "ann", "b c"), false, "the operator's own run"),
            (run("bob", "a", "p"), lease(Lock, "ann", "b c"), false, "other hosts of the same group"),
            (run("bob", "b", ""), lease(Hold, "ann", "b"), true, "an ad-hoc command"),
            (of(Lock, "bob", "b"), lease(Lock, "ann", "b"), true, "a lock of another operator"),
            (of(Lock, "ann", "b"), lease(Lock, "ann", "b"), false, "a lock that extends the first"),
            (
                of(Lock, "ann", "b"),
                lease(Lock, "ann", "b c"),
                true,
                "a lock that would free hosts of the first",
            ),
            (of(Hold, "ann", "b"), lease(Hold, "ann", "b"), true, "two connections of one operator"),
            (of(Hold, "ann", "b"), lease(Lock, "ann", "b"), true, "a hold within the own lock"),
            (of(Lock, "ann", "b"), lease(Hold, "ann", "b"), true, "a lock over the own hold"),
            (run("ann", "b", "p"), lease(Freeze, "ann", "b"), true, "a release in the own freeze"),
            (run("ann", "a", "p"), lease(Freeze, "ann", "b"), false, "a release beside a freeze"),
            (of(Lock, "bob", "b"), lease(Freeze, "ann", "b"), false, "a lock in a freeze"),
            (of(Freeze, "bob", "b"), lease(Freeze, "ann", "b"), false, "two freezes"),
            (of(Freeze, "bob", "b"), lease(Lock, "ann", "b"), false, "a freeze over a lock"),
        ];
        for (claim, lease, wanted, what) in table {
            assert_eq!(claim.lease_in_way(std::slice::from_ref(&lease), at(50)).is_some(), wanted, "{what}");
        }
        let over = lease(Lock, "ann", "b");
        assert!(run("bob", "b", "p").lease_in_way(&[over], at(100)).is_none(), "its time is over");
    }

    #[test]
    fn runs_are_in_the_way_of_leases_of_others() {
        let summary = |by: &str, kind| RunSummary {
            run: RunId(1),
            title: String::new(),
            kind,
            by: by.into(),
            started_at: at(0),
            ended_at: None,
            outcome: None,
            hosts: vec![HostName::from("a")],
        };
        let wanted = Claim::of_lease(&lease(LeaseKind::Hold, "ann", "a"));
        assert!(wanted.run_in_way(&[summary("bob", RunKind::Drain)]).is_some());
        assert!(wanted.run_in_way(&[summary("bob", RunKind::Check)]).is_none(), "it changes nothing");
        assert!(wanted.run_in_way(&[summary("ann", RunKind::Drain)]).is_none(), "it is their own");
        let elsewhere = Claim::of_lease(&lease(LeaseKind::Hold, "ann", "b"));
        assert!(elsewhere.run_in_way(&[summary("bob", RunKind::Drain)]).is_none());
        assert!(
            run("ann", "a", "p").run_in_way(&[summary("bob", RunKind::Drain)]).is_none(),
            "the store says that"
        );
    }

    #[test]
    fn who_has_hosts_does_not_wait_behind_those_who_wait_for_them() {
        use LeaseKind::{Hold, Lock};
        let of = |kind, by, hosts| Claim::of_lease(&lease(kind, by, hosts));
        let waiting = run("bob", "a b", "p");
        let table = [
            (run("ann", "b", "p"), lease(Lock, "ann", "b"), true),
            (run("ann", "b", "p"), lease(Hold, "ann", "b"), true),
            (of(Lock, "ann", "b"), lease(Lock, "ann", "b"), true),
            (of(Hold, "ann", "b"), lease(Hold, "ann", "b"), false),
            (run("ann", "c", "p"), lease(Lock, "ann", "c"), false),
            (run("eve", "b", "p"), lease(Lock, "ann", "b"), false),
        ];
        for (claim, lease, wanted) in table {
            assert_eq!(claim.has(&[lease], &waiting, at(50)), wanted, "{claim:?}");
        }
    }

    #[test]
    fn claims_exclude_each_other() {
        let hold = |by, hosts| Claim::of_lease(&lease(LeaseKind::Hold, by, hosts));
        let table = [
            (run("ann", "a", "p"), run("ann", "b", "p"), true),
            (run("ann", "a", "p"), run("bob", "a", "q"), false),
            (run("ann", "a", ""), run("bob", "a", ""), false),
            (hold("ann", "a"), hold("ann", "a b"), true),
            (hold("ann", "a"), hold("bob", "b"), false),
            (hold("ann", "a"), run("bob", "a", "p"), true),
            (hold("ann", "a"), run("ann", "a", "p"), false),
        ];
        for (one, other, wanted) in table {
            assert_eq!(one.excludes(&other), wanted, "{one:?} {other:?}");
            assert_eq!(other.excludes(&one), wanted, "{other:?} {one:?}");
        }
    }
}
