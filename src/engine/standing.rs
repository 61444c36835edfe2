//! The state of hosts in their balancers, with the debts of rollcall. Changes nothing.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::ports::Ports;
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Inventory};
use crate::domain::inventory::rotation::{BalancerView, Capacity, HostRotation, Rotation, Standing};
use crate::domain::plan::plan::Seat;
use crate::domain::run::record::Debt;
use crate::port::{Member, StoreError};

/// The state of hosts, in the requested order, and how many servers their balancers can spare.
#[derive(Debug, Default)]
pub struct Standings {
    pub hosts: Vec<Standing>,
    pub balancers: Vec<Capacity>,
    /// Why a balancer could not be queried.
    pub troubles: Vec<String>,
}

/// Queries the balancers of the hosts.
pub async fn standings(
    ports: &Ports,
    inventory: &Inventory,
    hosts: &[HostName],
) -> Result<Standings, StoreError> {
    let debts = ports.store.debts().await?;
    let groups = by_balancer(inventory, hosts, &debts);
    let inspections = groups.iter().map(|(balancer, members)| inspect(ports, balancer, members));
    let mut standings = Standings::default();
    let mut views: BTreeMap<&str, Result<BalancerView, String>> = BTreeMap::new();
    for ((balancer, _), inspections) in groups.iter().zip(join_all(inspections).await) {
        let mut seen = Ok(Vec::new());
        for (place, inspection) in inspections {
            match &inspection {
                Ok(view) => standings.balancers.push(Capacity {
                    balancer: place.name.clone(),
                    serving: view.serving,
                    total: view.total,
                    floor: place.floor().of(view.total),
                }),
                Err(why) => standings.troubles.push(why.clone()),
            }
            seen = seen.and_then(|mut seen: Vec<_>| {
                seen.push((place.name, inspection?));
                Ok(seen)
            });
        }
        views.insert(&balancer.name, seen.map(|seen| BalancerView::together(&seen, balancer.floor())));
    }
    for host in hosts {
        let balancer = inventory.host(host).and_then(|host| host.balancer.clone());
        let inspection = balancer.as_ref().and_then(|name| views.get(name.as_str()));
        let of_host: Vec<&Debt> = debts.iter().filter(|debt| debt.host == *host).collect();
        let known = of_host.iter().find(|debt| debt.is_open()).or(of_host.first());
        let debt = known.map(|debt| debt.run);
        let written_off = known.and_then(|debt| debt.written_off.as_ref()).map(|off| off.by.clone());
        let mut seen = seen(inspection, balancer.as_deref(), host);
        if let (Some(run), Rotation::In) = (debt, seen.rotation) {
            seen.note += &format!("; run {run} took it out: a reload or another process enabled it");
        }
        standings.hosts.push(Standing { host: host.clone(), balancer, seen, debt, written_off });
    }
    Ok(standings)
}

/// The view of each balancer in front of the group.
pub(super) async fn inspect(
    ports: &Ports,
    balancer: &Balancer,
    members: &[Member],
) -> Vec<(Balancer, Result<BalancerView, String>)> {
    match Member::in_places(balancer, members) {
        Ok(places) => {
            join_all(places.into_iter().map(|(place, members)| async move {
                let inspection = ports.balancers.inspect(&place, &members).await;
                (place, inspection)
            }))
            .await
        }
        Err(why) => vec![(balancer.clone(), Err(why))],
    }
}

fn seen(
    inspection: Option<&Result<BalancerView, String>>,
    balancer: Option<&str>,
    host: &HostName,
) -> HostRotation {
    let unknown = |why: String| HostRotation { rotation: Rotation::Unknown, note: why };
    match (inspection, balancer) {
        (Some(Ok(view)), _) => {
            view.hosts.get(host).cloned().unwrap_or_else(|| unknown("the balancer did not report it".into()))
        }
        (Some(Err(why)), _) => unknown(why.clone()),
        (None, Some(balancer)) => {
            unknown(format!("is behind the balancer of `{balancer}`, which you may not see"))
        }
        (None, None) => unknown("is behind no balancer".into()),
    }
}

/// The visible balancers, each with its hosts among these.
fn by_balancer<'a>(
    inventory: &'a Inventory,
    hosts: &[HostName],
    debts: &[Debt],
) -> Vec<(&'a Balancer, Vec<Member>)> {
    let mut members: BTreeMap<&str, (&Balancer, Vec<Member>)> = BTreeMap::new();
    for name in hosts {
        let group = inventory.host(name).and_then(|host| host.balancer.as_ref());
        let balancer =
            group.and_then(|group| inventory.groups.get(group)).and_then(|group| group.balancer.as_ref());
        let Some((balancer, server)) = balancer.and_then(|one| Some((one, one.members.get(name)?))) else {
            continue;
        };
        let seat = Seat { balancer: balancer.name.clone(), server: server.clone() };
        let ours = debts.iter().any(|debt| debt.host == *name);
        let member = Member { host: name.clone(), seat, ours };
        members.entry(&balancer.name).or_insert_with(|| (balancer, Vec::new())).1.push(member);
    }
    members.into_values().collect()
}
