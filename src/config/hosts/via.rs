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
    let mut jumps: Jumps = Vec::new();
    for (at, via) in vias.iter().enumerate() {
        let Some(via) = via else {
            jumps.push(Vec::new());
            continue;
        };
        // Thousands of hosts may name the same one: it is resolved once for each position.
        let position = (via.doc.path, via.name.span().start);
        let found = known.entry(position).or_insert_with(|| listed(inventory, &index, via));
        // A jump host in the group that it serves is reached by the hops before it.
        let itself = found.iter().position(|jump| !via.own && *jump == at);
        jumps.push(itself.map_or(&found[..], |place| &found[place + 1..]).to_vec());
    }
    for (at, via) in vias.iter().enumerate() {
        let Some(via) = via else { continue };
        match chain(&jumps, at) {
            Ok(hops) => inventory.hosts[at].endpoint.via = endpoint(inventory, &hops),
            Err(hops) => report(inventory, &jumps, (via, at), &hops),
        }
    }
}

/// The jump hosts that each host names, the nearest to the host first.
type Jumps = Vec<Vec<usize>>;

/// The jump hosts that a `via` lists, the nearest to the host first: it is written in the order of the way, as in
/// OpenSSH's ProxyJump. Empty if one of them is a mistake.
fn listed(inventory: &Inventory, index: &BTreeMap<HostName, usize>, via: &Via<'_>) -> Vec<usize> {
    let text = via.name.get_ref();
    // A comma in brackets belongs to a node set.
    let names: Vec<&str> = match text.contains('[') {
        true => vec![text],
        false => text.split(',').map(str::trim).collect(),
    };
    let find = |name: &&str| jump_host(inventory, via, name).and_then(|name| index.get(&name).copied());
    let found: Option<Vec<usize>> = names.iter().rev().map(find).collect();
    found.unwrap_or_default()
}

fn jump_host(inventory: &Inventory, via: &Via<'_>, name: &str) -> Option<HostName> {
    let hosts = select(inventory, name).map_err(|why| {
        let hint = match name.contains(['@', ':']) {
            true => {
                "a jump host is a host of the inventory, with its login and its port there: write its name"
            }
            false => "a jump host is a host of the inventory: write it into a group",
        };
        via.doc.report(via.name.span(), format!("`via`: {why}"), hint.to_string());
    });
    let hosts = hosts.ok()?;
    match &hosts[..] {
        [one] => Some(one.clone()),
        _ => {
            let message =
                format!("`via` is one host, or several with commas; `{name}` selects {}", hosts.len());
            via.doc.wrong(via.name.span(), message);
            None
        }
    }
}

/// The jump hosts in front of a host, the nearest first. A list says the whole way up to its first host, which is reached as
/// the inventory says. The error is a chain that is a cycle, or is too long.
fn chain(jumps: &Jumps, start: usize) -> Result<Vec<usize>, Vec<usize>> {
    let whole = follow(start, |at| &jumps[at])?;
    // Two hosts in front of each other by different ways: whether one is reachable would depend on the other.
    follow(start, |at| jumps[at].get(..1).unwrap_or_default())?;
    Ok(whole)
}

fn follow<'j>(start: usize, next: impl Fn(usize) -> &'j [usize]) -> Result<Vec<usize>, Vec<usize>> {
    let mut hops = Vec::new();
    let mut at = start;
    while let Some(first) = next(at).last() {
        for jump in next(at) {
            let back = *jump == start || hops.contains(jump);
            hops.push(*jump);
            if back || hops.len() > HOPS_LIMIT {
                return Err(hops);
            }
        }
        at = *first;
    }
    Ok(hops)
}

/// True if the way to a host leads through the host itself.
fn is_in_cycle(jumps: &Jumps, at: usize) -> bool {
    chain(jumps, at).is_err_and(|hops| hops.last() == Some(&at))
}

fn endpoint(inventory: &Inventory, hops: &[usize]) -> Option<Box<Endpoint>> {
    let bare = |at: usize| Endpoint { via: None, ..inventory.hosts[at].endpoint.clone() };
    hops.iter().rev().fold(None, |via, at| Some(Box::new(Endpoint { via, ..bare(*at) })))
}

fn report(inventory: &Inventory, jumps: &Jumps, (via, start): (&Via<'_>, usize), hops: &[usize]) {
    let name = |at: &usize| inventory.hosts[*at].name.as_str();
    let shown = || [start].iter().chain(hops).map(name).collect::<Vec<&str>>().join(" > ");
    let Some((last, before)) = hops.split_last() else { return };
    if *last == start {
        // Every host of the cycle gets here; it is reported once.
        if !hops.iter().any(|hop| *hop < start && is_in_cycle(jumps, *hop)) {
            via.doc.wrong(via.name.span(), format!("a host cannot be its own jump host: {}", shown()));
        }
    } else if before.contains(last) {
        // A chain that leads into the cycle of other hosts is reported for those.
        if !is_in_cycle(jumps, *last) {
            via.doc.wrong(via.name.span(), format!("a jump host cannot be on the way twice: {}", shown()));
        }
    } else {
        let message = format!("more than {} in front of {}", count(HOPS_LIMIT, "jump host"), name(&start));
        via.doc.wrong(via.name.span(), message);
    }
}
