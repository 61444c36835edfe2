//! What channels of notification need of the configuration in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::{Host, is_within};
use crate::domain::plan::veil::Veil;
use crate::domain::watch::subject::Subject;
use crate::notices::{RunParts, RunScope, Sizes};
use crate::store::SqliteStore;
use crate::watch::Watchlist;

/// The present number of hosts in each top-level group that have a check; the contact is watched on hosts with checks.
pub fn sizes(config: watch::Receiver<Arc<Config>>) -> Sizes {
    Box::new(move |group, subject| {
        let config = config.borrow();
        let is_it = |id: &CheckId| match subject {
            Subject::Contact => true,
            // Incidents of an earlier build have no set.
            Subject::Check(of) => of == id || (of.set.is_empty() && of.name == id.name),
        };
        let checks = config.checks();
        let of_group = config.inventory.hosts.iter().filter(|host| host.file() == group);
        of_group.filter(|host| checks.get(&host.name).is_some_and(|ids| ids.iter().any(is_it))).count()
    })
}

/// Where channels read runs.
pub fn runs(store: &Arc<SqliteStore>, config: watch::Receiver<Arc<Config>>) -> RunParts {
    RunParts { events: store.clone(), store: store.clone(), scope: run_scope(config) }
}

/// A channel with groups gets messages about runs whose hosts are all within them, and no other name in them.
fn run_scope(config: watch::Receiver<Arc<Config>>) -> RunScope {
    Box::new(move |only, plan| {
        let inventory = config.borrow().inventory.clone();
        let worked_on = plan.worked_on();
        let hosts: Vec<&Host> = worked_on.iter().filter_map(|name| inventory.host(name)).collect();
        let allowed = Some(only.groups.iter().cloned().collect::<BTreeSet<String>>())
            .filter(|groups| !groups.is_empty());
        // Hosts that have left the inventory belong to no group.
        let is_for_all =
            hosts.len() == worked_on.len() && hosts.iter().all(|host| host.is_within(allowed.as_ref()));
        if allowed.is_some() && !is_for_all {
            return None;
        }
        let shown = |group: &&String| allowed.as_ref().is_none_or(|allowed| is_within(group, allowed));
        let groups: BTreeSet<&str> = hosts
            .iter()
            .filter_map(|host| host.groups.iter().rev().find(shown))
            .map(String::as_str)
            .collect();
        let group = groups.into_iter().collect::<Vec<_>>().join(",");
        let title = match &allowed {
            Some(_) => {
                let veil = Veil::new(&inventory, &inventory.visible_to(allowed.as_ref()));
                veil.over(&plan.title.0).into_owned()
            }
            None => plan.title.0.clone(),
        };
        Some((group, title))
    })
}
