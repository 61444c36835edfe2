//! The checks to watch by the configuration: those of each host that have a schedule, rendered for the host's
//! present release.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::roster::{ProbeTarget, WantedCheck, WatchedHost};
use crate::domain::base::name::HostName;
use crate::domain::base::schedule::Watching;
use crate::domain::check::check::{Check, Retry};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::{Log, Probe};
use crate::domain::inventory::inventory::Host;
use crate::domain::plan::checking::{ComparedHost, made_for, snapshots};
use crate::domain::plan::plan::{Snapshot, World, vars_of};

/// Every host that is watched, in the order of the inventory.
pub fn wanted(world: &World<'_>) -> Vec<WatchedHost> {
    let mut compared = BTreeMap::new();
    let hosts = world.inventory.hosts.iter().filter_map(|host| {
        let checks = checks_of(world, host, &mut compared);
        let endpoint = Arc::new(host.endpoint.clone());
        let group = host.groups.last().cloned().unwrap_or_default();
        (!checks.is_empty()).then(|| WatchedHost { name: host.name.clone(), group, endpoint, checks })
    });
    let mut hosts: Vec<WatchedHost> = hosts.collect();
    let found = compared.into_iter().flat_map(|(check, asked)| together(world, &check, &asked)).collect();
    put_in(&mut hosts, &found);
    hosts
}

/// A log line is observed once: the next probe starts behind it and passes, so one failure makes it hard.
fn as_looked_at(check: &Check, watching: Arc<Watching>) -> Arc<Watching> {
    match &check.probe {
        Probe::Log(Log { never: Some(_), .. }) => {
            Arc::new(Watching { max_attempts: 1, ..(*watching).clone() })
        }
        Probe::Run { .. }
        | Probe::Plugin(..)
        | Probe::Metric(..)
        | Probe::Http(..)
        | Probe::Tcp(..)
        | Probe::Tls(..)
        | Probe::Dns(..)
        | Probe::Port(..)
        | Probe::Process(..)
        | Probe::Service(..)
        | Probe::File(..)
        | Probe::Log(..)
        | Probe::Package(..)
        | Probe::Disk(..)
        | Probe::Load(..)
        | Probe::Memory(..)
        | Probe::Clock { .. } => watching,
    }
}

/// The checks of a host; those that compare it with others go to `compared`, and are added later.
fn checks_of<'a>(
    world: &World<'a>,
    host: &'a Host,
    compared: &mut BTreeMap<CheckId, Vec<ComparedHost<'a>>>,
) -> Vec<WantedCheck> {
    let all = host.checks.iter().filter_map(|set| world.checks.get(set)).flatten();
    let mut watched = all.filter_map(|check| Some((check, check.watching.clone()?))).peekable();
    if watched.peek().is_none() {
        return Vec::new();
    }
    let vars = vars_of(host, world.present_task(host), &world.present_params(host));
    let mut checks = Vec::new();
    for (check, watching) in watched {
        let what = match check.across {
            Some(_) => {
                let asked = ComparedHost { host, checks: vec![check], vars: vars.clone() };
                compared.entry(check.id()).or_default().push(asked);
                ProbeTarget::Broken("there is no host to compare it with".into())
            }
            // A single probe each time: attempts replace the retries of a gate here.
            None => match made_for(world, host, check, &vars) {
                Ok(made) => ProbeTarget::Check(Arc::new(Check { retry: Retry::default(), ..made })),
                Err(why) => ProbeTarget::Broken(why.into()),
            },
        };
        checks.push(WantedCheck { id: check.id(), watching: as_looked_at(check, watching), what });
    }
    checks
}

/// The comparison of each host: the first host of a group is the leader and starts the probes of all.
fn together(
    world: &World<'_>,
    check: &CheckId,
    asked: &[ComparedHost<'_>],
) -> Vec<((HostName, CheckId), ProbeTarget)> {
    let of = |host: &HostName, what| ((host.clone(), check.clone()), what);
    let snapshots = match snapshots(world, asked) {
        Ok(snapshots) => snapshots,
        Err(why) => {
            let why: Arc<str> = why.into();
            return asked.iter().map(|one| of(&one.host.name, ProbeTarget::Broken(why.clone()))).collect();
        }
    };
    let mut found = Vec::new();
    for mut snapshot in snapshots {
        snapshot.members.values_mut().for_each(|member| member.check.retry = Retry::default());
        let snapshot: Arc<Snapshot> = Arc::new(snapshot);
        let Some(first) = snapshot.reported.first() else { continue };
        found.extend(snapshot.reported.iter().skip(1).map(|host| of(host, ProbeTarget::With(first.clone()))));
        found.push(of(first, ProbeTarget::Together(snapshot.clone())));
    }
    found
}

fn put_in(hosts: &mut [WatchedHost], found: &BTreeMap<(HostName, CheckId), ProbeTarget>) {
    for host in hosts {
        for check in &mut host.checks {
            if let Some(what) = found.get(&(host.name.clone(), check.id.clone())) {
                check.what = what.clone();
            }
        }
    }
}
