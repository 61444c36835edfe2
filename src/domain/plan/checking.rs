//! Planning checks: the checks of a host, the hosts they run from, and the hosts that are probed together.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Snapshot, SnapshotMember, World, vars_of};
use crate::domain::base::name::HostName;
use crate::domain::check::across::{Across, Scope};
use crate::domain::check::check::{Check, From};
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::{Endpoint, Host};
use crate::domain::inventory::selector::select;
use crate::domain::value::template::{self, Vars};

/// The checks of a host, in the order of its check sets.
pub fn checks_of<'a>(world: &World<'a>, host: &Host) -> Vec<&'a Check> {
    host.checks.iter().filter_map(|set| world.checks.get(set)).flatten().collect()
}

/// The identities of these hosts' checks.
pub fn ids_of<'h>(world: &World<'_>, hosts: impl Iterator<Item = &'h Host>) -> BTreeSet<CheckId> {
    let sets: BTreeSet<&String> = hosts.flat_map(|host| &host.checks).collect();
    sets.into_iter().filter_map(|set| world.checks.get(set)).flatten().map(Check::id).collect()
}

/// The check rendered for one host, with the places that it runs from.
pub fn made_for(world: &World<'_>, host: &Host, check: &Check, vars: &Vars) -> Result<Check, String> {
    let seats = match &check.from {
        From::Host => Vec::new(),
        From::Daemon => vec![Endpoint::here()],
        From::Group(group) => seats_in(world, host, group)?,
    };
    let rendered = check.render(vars).map_err(|why| not_deployed(world, host, check, vars).unwrap_or(why))?;
    Ok(Check { seats, ..rendered })
}

/// The reason, if a check of a host without a release uses a parameter of a release.
fn not_deployed(world: &World<'_>, host: &Host, check: &Check, vars: &Vars) -> Option<String> {
    if world.present(&host.name).is_some() {
        return None;
    }
    let used = check.texts().into_iter().flat_map(|text| template::names_used(&text));
    let missing = used.into_iter().find(|name| !vars.contains_key(name))?;
    let is_parameter = world.tasks.values().any(|task| task.params.contains_key(&missing));
    is_parameter.then(|| format!("nothing is deployed yet, and only a deploy says what `{missing}` is"))
}

/// The hosts of a group; the group may be named as in the file of the host.
fn seats_in(world: &World<'_>, host: &Host, group: &str) -> Result<Vec<Endpoint>, String> {
    let groups = &world.inventory.groups;
    let beside = format!("{}.{group}", host.file());
    let names = groups.get(&beside).or_else(|| groups.get(group)).map(|group| &group.hosts);
    let hosts = names.into_iter().flatten().filter_map(|name| world.inventory.host(name));
    let seats: Vec<Endpoint> = hosts.map(|host| host.endpoint.clone()).collect();
    match seats.is_empty() {
        true => Err(format!("`from`: no host of the group `{group}` can be seen; try: hosts {group}")),
        false => Ok(seats),
    }
}

/// The checks that are judged on each host separately.
pub fn alone<'a>(checks: &[&'a Check]) -> Vec<&'a Check> {
    checks.iter().copied().filter(|check| check.across.is_none()).collect()
}

/// One host that receives the result of a comparison.
pub struct ComparedHost<'a> {
    pub host: &'a Host,
    pub checks: Vec<&'a Check>,
    /// The variables with which its checks are rendered.
    pub vars: Vars,
}

/// Every snapshot that these hosts belong to. All hosts that a check compares are probed, even those that
/// were not selected: they are needed for the comparison.
pub fn snapshots(world: &World<'_>, asked: &[ComparedHost<'_>]) -> Result<Vec<Snapshot>, String> {
    let mut found: BTreeMap<(CheckId, String), Snapshot> = BTreeMap::new();
    for one in asked {
        for check in &one.checks {
            let Some(across) = &check.across else { continue };
            let scope = scope_of(across, one.host);
            let key = (check.id(), scope.clone());
            if !found.contains_key(&key) {
                found.insert(key.clone(), snapshot(world, check, across, &scope)?);
            }
            let own = made_for(world, one.host, check, &one.vars)
                .map_err(|why| format!("{}: check `{}`: {why}", one.host.name, check.id()))?;
            if let (Some(snapshot), Some(across)) = (found.get_mut(&key), &own.across) {
                snapshot.rule = across.rule.clone();
                let member = SnapshotMember { endpoint: one.host.endpoint.clone(), check: own, broken: None };
                snapshot.members.insert(one.host.name.clone(), member);
                snapshot.reported.insert(one.host.name.clone());
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The hosts to compare with each other, as a selector. The group of a host is the smallest one that contains it.
pub fn scope_of(across: &Across, host: &Host) -> String {
    match &across.scope {
        Scope::Selected(selector) => selector.clone(),
        Scope::Group => host.groups.last().cloned().unwrap_or_default(),
    }
}

fn snapshot(world: &World<'_>, check: &Check, across: &Across, scope: &str) -> Result<Snapshot, String> {
    let names =
        select(world.inventory, scope).map_err(|why| format!("check `{}`: `across`: {why}", check.id()))?;
    let hosts = names.iter().filter_map(|name| world.inventory.host(name));
    let id = check.id();
    let has_it = |host: &&Host| checks_of(world, host).iter().any(|own| own.id() == id);
    let member = |host: &Host| {
        let vars = vars_of(host, world.present_task(host), &world.present_params(host));
        // A host whose check cannot be rendered stays in: without it the comparison would not cover all hosts.
        let (check, broken) = match made_for(world, host, check, &vars) {
            Ok(check) => (check, None),
            Err(why) => (check.clone(), Some(why)),
        };
        (host.name.clone(), SnapshotMember { endpoint: host.endpoint.clone(), check, broken })
    };
    let members: BTreeMap<HostName, SnapshotMember> = hosts.filter(has_it).map(member).collect();
    Ok(Snapshot { check: id, rule: across.rule.clone(), members, reported: BTreeSet::new() })
}
