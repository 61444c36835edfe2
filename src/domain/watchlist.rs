//! What is to be watched, as the configuration says: the checks of each host that have a rhythm, rendered for what is
//! on the host now.

use std::sync::Arc;

use super::check::{Check, Retry};
use super::checking::made_for;
use super::inventory::Host;
use super::plan::{World, vars_of};
use super::roster::{Wanted, WantedCheck};

/// Every host that is watched, in the order of the inventory.
pub fn wanted(world: &World<'_>) -> Vec<Wanted> {
    let hosts = world.inventory.hosts.iter().filter_map(|host| {
        let checks = checks_of(world, host);
        let endpoint = Arc::new(host.endpoint.clone());
        let group = host.groups.last().cloned().unwrap_or_default();
        (!checks.is_empty()).then(|| Wanted { name: host.name.clone(), group, endpoint, checks })
    });
    hosts.collect()
}

fn checks_of(world: &World<'_>, host: &Host) -> Vec<WantedCheck> {
    let sets = host.checks.iter().filter_map(|set| world.checks.get_key_value(set));
    let all = sets.flat_map(|(set, checks)| checks.iter().map(move |check| (set, check)));
    let mut watched = all.filter_map(|(set, check)| Some((set, check, check.watching.clone()?))).peekable();
    if watched.peek().is_none() {
        return Vec::new();
    }
    let vars = vars_of(host, world.present_task(host), &world.present_params(host));
    let one = |(set, check, watching): (&String, &Check, _)| WantedCheck {
        name: check.name.as_str().into(),
        set: set.as_str().into(),
        watching,
        // One look each time: what a gate waits for is what attempts are for here.
        body: made_for(world, host, check, &vars)
            .map(|made| Arc::new(Check { retry: Retry::default(), ..made })),
    };
    // What hosts come to together is no matter of one host.
    watched.filter(|(_, check, _)| check.across.is_none()).map(one).collect()
}
