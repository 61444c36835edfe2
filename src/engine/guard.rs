//! Watches hosts in their bracket: a reload, or a colleague, can make a balancer send them
//! requests again, and no event of the run would report that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::ports::Ports;
use crate::domain::base::name::HostName;
use crate::domain::inventory::rotation::Rotation;
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::EventKind;
use crate::domain::run::run::Run;
use crate::port::Member;

/// The pause between two queries of a balancer. Longer than a balancer's own check interval, short
/// enough to matter within a step of minutes.
const INTERVAL: Duration = Duration::from_secs(5);

/// A query that takes longer is abandoned; the next one follows anyway.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The balancer queries of one run.
#[derive(Default)]
pub(super) struct Guard {
    inspection: JoinSet<Vec<(String, Vec<HostName>)>>,
    /// When the next query is due; `None` while no host is drained.
    due: Option<Instant>,
}

impl Guard {
    /// Waits until a query is due, makes it, and returns an event for each balancer that has
    /// forgotten a drain. Can be dropped and called again at any point.
    pub(super) async fn watch(&mut self, ports: &Ports, plan: &Arc<Plan>, run: &Run) -> Vec<EventKind> {
        let out = run.drained();
        if out.is_empty() {
            self.due = None;
            return std::future::pending().await;
        }
        if self.inspection.is_empty() {
            sleep_until(*self.due.get_or_insert_with(|| Instant::now() + INTERVAL)).await;
            self.inspection.spawn(find(ports.clone(), plan.clone(), out));
        }
        let found = self.inspection.join_next().await.and_then(Result::ok).unwrap_or_default();
        self.due = Some(Instant::now() + INTERVAL);
        found.into_iter().filter_map(|(balancer, hosts)| forgotten(run, balancer, hosts)).collect()
    }
}

/// The observation may be outdated: only hosts that are still drained have been forgotten.
fn forgotten(run: &Run, balancer: String, hosts: Vec<HostName>) -> Option<EventKind> {
    let drained = run.drained();
    let still_out = drained.get(&balancer)?;
    let hosts: Vec<HostName> = hosts.into_iter().filter(|host| still_out.contains(host)).collect();
    (!hosts.is_empty()).then_some(EventKind::DrainForgotten { balancer, hosts })
}

async fn find(
    ports: Ports,
    plan: Arc<Plan>,
    out: BTreeMap<String, Vec<HostName>>,
) -> Vec<(String, Vec<HostName>)> {
    let inspections = out.into_iter().map(|(name, hosts)| {
        let (ports, plan) = (&ports, &plan);
        async move {
            let balancer = plan.balancers.get(&name)?;
            let members = Member::of(plan, &hosts, |_| true);
            let inspecting = ports.balancers.inspect(balancer, &members);
            // A balancer that cannot be queried is reported when it has to be changed.
            let view = timeout(INSPECTION_TIMEOUT, inspecting).await.ok()?.ok()?;
            let serves = |host: &HostName| {
                let seen = view.hosts.get(host).map(|seen| seen.rotation);
                matches!(seen, Some(Rotation::In | Rotation::Mixed))
            };
            Some((name, hosts.into_iter().filter(serves).collect::<Vec<_>>()))
        }
    });
    join_all(inspections).await.into_iter().flatten().filter(|(_, hosts)| !hosts.is_empty()).collect()
}
