//! What the balancers report about a plan before its run starts, and about a host that waits for room. Changes nothing.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::ports::Ports;
use super::standing::inspect;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::inventory::inventory::Balancer;
use crate::domain::inventory::rotation::{BalancerView, Obstacle, Rotation, obstacles};
use crate::domain::plan::plan::{HostPlan, Plan, Seat};
use crate::port::Member;

/// How long a balancer may take to answer before a run starts; after that, its answer is unknown.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Most servers that are named as missed.
const NAMED: usize = 5;

/// The result of [`preflight`].
#[derive(Debug, Default)]
pub struct Preflight {
    /// Hosts that can never be drained.
    pub obstacles: Vec<Obstacle>,
    /// Why a balancer did not answer: its servers are unknown, not missing.
    pub unknown: Vec<String>,
}

/// Queries the balancers of a rollout about its hosts.
pub async fn preflight(ports: &Ports, plan: &Plan) -> Preflight {
    let mut found = Preflight::default();
    if !plan.has_bracket() {
        return found;
    }
    let answers = plan.balancers.values().map(|balancer| async move {
        let behind = |host: &HostPlan| host.balancer.as_ref().is_some_and(|at| at.balancer == balancer.name);
        let of = |wanted: &dyn Fn(&HostPlan) -> bool| -> Vec<HostName> {
            let hosts = plan.hosts.iter().filter(|(_, host)| behind(host) && wanted(host));
            hosts.map(|(name, _)| name.clone()).collect()
        };
        let members = Member::of(plan, &of(&|_| true), |host| host.held);
        // A host that is on the release already is not drained.
        (
            balancer,
            of(&|host| host.current),
            timeout(ANSWER_TIMEOUT, inspect(ports, balancer, &members)).await,
        )
    });
    for (balancer, stay, views) in join_all(answers).await {
        let Ok(views) = views else {
            found.unknown.push(format!("{}: no answer within {ANSWER_TIMEOUT:?}", balancer.name));
            continue;
        };
        for (place, view) in views {
            match view {
                Ok(view) => found.obstacles.extend(obstacles(&place.name, &view, place.floor(), &stay)),
                Err(why) => found.unknown.push(format!("{}: {why}", place.name)),
            }
        }
    }
    found
}

/// The servers of a balancer that are not in service, and why, for a host of `run` that waits for room.
pub(super) async fn missed(ports: &Ports, balancer: &Balancer, run: RunId) -> Vec<String> {
    let seat = |server: &String| Seat { balancer: balancer.name.clone(), server: server.clone() };
    let member =
        |(host, server): (&HostName, &String)| Member { host: host.clone(), seat: seat(server), ours: false };
    let members: Vec<Member> = balancer.members.iter().map(member).collect();
    let Ok(Ok(view)) = timeout(ANSWER_TIMEOUT, ports.balancers.inspect(balancer, &members)).await else {
        return Vec::new();
    };
    let debts = ports.store.debts().await.unwrap_or_default();
    let by = |host: &HostName| {
        let debt = debts.iter().find(|debt| debt.host == *host && debt.balancer == balancer.name);
        debt.map(|debt| debt.run)
    };
    let mut causes: Vec<String> =
        view.hosts.keys().filter_map(|host| cause(&view, host, by(host), run)).collect();
    let more = causes.len().saturating_sub(NAMED);
    causes.truncate(NAMED);
    causes.extend((more > 0).then(|| format!("and {more} more")));
    causes
}

fn cause(view: &BalancerView, host: &HostName, by: Option<RunId>, run: RunId) -> Option<String> {
    match (view.rotation(host), by) {
        (Rotation::In | Rotation::Unknown, _) => None,
        (Rotation::Down, _) => Some(format!("{host} is down by the balancer's own check")),
        (Rotation::Out | Rotation::Mixed, Some(by)) if by == run => {
            Some(format!("{host} is drained by this run"))
        }
        (Rotation::Out | Rotation::Mixed, Some(by)) => Some(format!("{host} is drained by run {by}")),
        (Rotation::Out | Rotation::Mixed, None) => {
            Some(format!("{host} is drained by another operator or program"))
        }
    }
}
