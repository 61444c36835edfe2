//! Jump hosts: finds the host that each `via` names, and builds the chains.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::config::text::diagnostic::Doc;
use crate::domain::base::name::{HostName, count};
use crate::domain::inventory::inventory::{Endpoint, Inventory};
use crate::domain::inventory::selector::select;

/// Most jump hosts in front of one host: each adds a connection inside a connection.
const HOPS_LIMIT: usize = 8;

/// The jump host of a host, with the position where it is written.
pub struct Via<'t> {
    pub doc: Doc<'t>,
    pub name: Spanned<String>,
    /// Written for this one host, not for a group.
    pub own: bool,
}

impl Via<'_> {
    /// Not reported if a file could not be read: the host may be in it.
    pub fn quiet_unless(mut self, complete: bool) -> Self {
        self.doc.quiet |= !complete;
        self
    }
}

/// Sets `endpoint.via` of all hosts; `vias` has the same order.
pub fn resolve(inventory: &mut Inventory, vias: &[Option<Via<'_>>]) {
    let index: BTreeMap<HostName, usize> =
        inventory.hosts.iter().enumerate().map(|(at, host)| (host.name.clone(), at)).collect();
    let mut known = BTreeMap::new();
    let mut jumps = Vec::new();
    for (at, via) in vias.iter().enumerate() {
        let found = via.as_ref().and_then(|via| {
            let find = || jump_host(inventory, via).and_then(|name| index.get(&name).copied());
            // Thousands of hosts may name the same one: it is resolved once for each position.
            *known.entry((via.doc.path, via.name.span().start)).or_insert_with(find)
        });
        // A jump host in the group that it serves is reached directly.
        let own = via.as_ref().is_some_and(|via| via.own);
        jumps.push(found.filter(|jump| own || *jump != at));
    }
    for (at, via) in vias.iter().enumerate() {
        let Some(via) = via else { continue };
        match chain(&jumps, at) {
            Ok(hops) => inventory.hosts[at].endpoint.via = endpoint(inventory, &hops),
            Err(hops) => report(inventory, via, at, hops),
        }
    }
}

fn jump_host(inventory: &Inventory, via: &Via<'_>) -> Option<HostName> {
    let hosts = select(inventory, via.name.get_ref()).map_err(|why| {
        let hint = "a jump host is a host of the inventory: write it into a group".to_string();
        via.doc.report(via.name.span(), format!("`via`: {why}"), hint);
    });
    let hosts = hosts.ok()?;
    match &hosts[..] {
        [one] => Some(one.clone()),
        _ => {
            let message = format!("`via` is one host; `{}` selects {}", via.name.get_ref(), hosts.len());
            via.doc.wrong(via.name.span(), message);
            None
        }
    }
}

/// The jump hosts in front of a host, the nearest first. The error is a chain that is a cycle,
/// or is too long.
fn chain(jumps: &[Option<usize>], start: usize) -> Result<Vec<usize>, Vec<usize>> {
    let mut hops = Vec::new();
    let mut at = start;
    while let Some(jump) = jumps[at] {
        let back = jump == start || hops.contains(&jump);
        hops.push(jump);
        if back || hops.len() > HOPS_LIMIT {
            return Err(hops);
        }
        at = jump;
    }
    Ok(hops)
}

fn endpoint(inventory: &Inventory, hops: &[usize]) -> Option<Box<Endpoint>> {
    let bare = |at: usize| Endpoint { via: None, ..inventory.hosts[at].endpoint.clone() };
    hops.iter().rev().fold(None, |via, at| Some(Box::new(Endpoint { via, ..bare(*at) })))
}

fn report(inventory: &Inventory, via: &Via<'_>, start: usize, hops: Vec<usize>) {
    let name = |at: &usize| inventory.hosts[*at].name.as_str();
    if hops.last() == Some(&start) {
        // Every host of the cycle gets here; it is reported once.
        if hops.iter().any(|hop| *hop < start) {
            return;
        }
        let names: Vec<&str> = [start].iter().chain(&hops).map(name).collect();
        let message = format!("a host cannot be its own jump host: {}", names.join(" > "));
        via.doc.wrong(via.name.span(), message);
    } else if hops.len() > HOPS_LIMIT {
        let message = format!("more than {} in front of {}", count(HOPS_LIMIT, "jump host"), name(&start));
        via.doc.wrong(via.name.span(), message);
    }
    // Otherwise the chain leads into the cycle of other hosts, which is reported for those.
}
