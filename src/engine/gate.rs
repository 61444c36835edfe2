//! The checks of a run: of each host, and of hosts together.

use super::work::Work;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::plan::plan::RunKind;
use crate::domain::run::event::{BracketDirection, EventKind, Stage};
use crate::probes::context::{CHECKS, GATES, ProbeContext};
use crate::probes::snapshot::{SnapshotResult, snapshot};
use crate::probes::verify::verify;

impl Work {
    fn probes(&self) -> ProbeContext<'_> {
        let who = if self.live.plan.kind == RunKind::Check { CHECKS } else { GATES };
        ProbeContext { who, ..self.context.probes() }
    }

    pub(super) async fn checks(&self, host: &HostName, stage: Stage) -> EventKind {
        let mut results = Vec::new();
        if let Some(plan) = self.live.plan.hosts.get(host) {
            let checks = if self.way == BracketDirection::Back { &plan.checks_back } else { &plan.checks };
            results = verify(&self.probes(), &plan.endpoint, checks).await;
        }
        EventKind::ChecksEnded { host: host.clone(), stage, results }
    }

    pub(super) async fn snapshot(&self, at: usize, hosts: &[HostName]) -> EventKind {
        let Some(planned) = self.live.plan.snapshots.get(at) else {
            return EventKind::SnapshotEnded {
                snapshot: at,
                check: CheckId::default(),
                hosts: hosts.to_vec(),
                results: Vec::new(),
                spread_ms: 0,
            };
        };
        let SnapshotResult { mut results, spread } = snapshot(&self.probes(), planned).await;
        let missing = || CheckResult::new(planned.check.clone(), Verdict::Unknown, "it was not probed");
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
