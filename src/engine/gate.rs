//! The checks of a run: of each host, and of hosts together.

use super::effect::Work;
use super::snapshot::{Taken, snapshot};
use super::verify::{Eyes, verify};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::plan::plan::Kind;
use crate::domain::run::event::{EventKind, Stage, Way};

/// Whose looks at logs those of gates are: what somebody has asked for meanwhile, they have not seen.
const GATES: &str = "gates";

/// And those of `check`.
const CHECKS: &str = "checks";

impl Work {
    /// With which checks look.
    pub(super) fn eyes(&self) -> Eyes<'_> {
        Eyes {
            remote: &*self.ports.remote,
            prober: &*self.ports.prober,
            clock: &*self.ports.clock,
            places: &*self.ports.places,
            files: &self.live.plan.files_root,
            who: if self.live.plan.kind == Kind::Check { CHECKS } else { GATES },
            cancel: self.cancel.clone(),
            masks: self.masks.clone(),
        }
    }

    pub(super) async fn checks(&self, host: &HostName, stage: Stage) -> EventKind {
        let mut results = Vec::new();
        if let Some(plan) = self.live.plan.hosts.get(host) {
            let checks = if self.way == Way::Back { &plan.checks_back } else { &plan.checks };
            results = verify(&self.eyes(), &plan.endpoint, checks).await;
        }
        EventKind::ChecksEnded { host: host.clone(), stage, results }
    }

    pub(super) async fn snapshot(&self, at: usize, hosts: &[HostName]) -> EventKind {
        let Some(planned) = self.live.plan.snapshots.get(at) else {
            return EventKind::SnapshotEnded {
                snapshot: at,
                check: String::new(),
                hosts: hosts.to_vec(),
                results: Vec::new(),
                spread_ms: 0,
            };
        };
        let Taken { mut results, spread } = snapshot(&self.eyes(), planned).await;
        let missing = || CheckResult::new(&planned.check, Verdict::Unknown, "it was not looked at");
        let results = hosts.iter().map(|host| results.remove(host).unwrap_or_else(missing)).collect();
        EventKind::SnapshotEnded {
            snapshot: at,
            check: planned.check.clone(),
            hosts: hosts.to_vec(),
            results,
            spread_ms: u64::try_from(spread.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
