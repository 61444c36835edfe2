//! Combines the files of `hosts/`: groups with all their hosts, hosts with all inherited settings.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::balancer;
use super::hosts::{HostFile, RawGroup, RawHost};
use super::layer;
use super::tree::{Tree, tree};
use super::via::{self, Via};
use crate::config::daemon::settings::FleetSettings;
use crate::domain::base::name::HostName;
use crate::domain::base::nodeset;
use crate::domain::inventory::inventory::{Endpoint, Group, Host, Inventory};

/// How many host names the message about an ambiguous one lists.
const CANDIDATES_SHOWN: usize = 5;

/// One file with lookup tables for its hosts. All keys are hosts as written.
struct FileView<'f> {
    file: &'f HostFile<'f>,
    tree: Tree,
    /// In order, each once.
    hosts: Vec<&'f str>,
    /// The lists that name each host.
    own: BTreeMap<&'f str, Vec<&'f RawHost>>,
    tags: BTreeMap<String, BTreeSet<String>>,
    /// Groups that contain a host, parents first.
    inside: BTreeMap<String, Vec<&'f RawGroup>>,
}

/// Combines all files. `check_sets` are the names that `checks` may use; if a file
/// could not be read (`complete` is false), names that it may define are not reported.
pub fn resolve(
    files: &[HostFile<'_>],
    fleet: &FleetSettings,
    check_sets: &BTreeSet<String>,
    complete: bool,
) -> Inventory {
    let views: Vec<FileView<'_>> = files.iter().map(view).collect();
    let mut seen = BTreeSet::new();
    let every = views.iter().flat_map(|view| &view.hosts).copied();
    let twice: BTreeSet<&str> = every.filter(|written| !seen.insert(*written)).collect();
    let mut inventory = Inventory::default();
    let mut vias = Vec::new();
    for view in &views {
        let unique = |written: &str| match twice.contains(written) {
            true => HostName::new(format!("{}.{written}", view.file.name)),
            false => HostName::from(written),
        };
        add_groups(&mut inventory, view, &unique);
        for written in &view.hosts {
            let (host, via) = host(view, written, unique(written), fleet, check_sets);
            inventory.hosts.push(host);
            vias.push(via.map(|via| via.quiet_unless(complete)));
        }
        report_unknown_sets(view.file, check_sets);
    }
    views.iter().for_each(|view| report_unknown_keys(view.file, fleet));
    report_same_names(&views, &inventory);
    views.iter().for_each(report_two_addresses);
    warn_of_shared_addresses(&views, &inventory);
    via::resolve(&mut inventory, &vias);
    for file in files {
        add_balancers(&mut inventory, file);
    }
    inventory
}

fn view<'f>(file: &'f HostFile<'f>) -> FileView<'f> {
    let tree = tree(file);
    let (mut hosts, mut own) = (Vec::new(), BTreeMap::<&str, Vec<&RawHost>>::new());
    for host in file.groups.iter().flat_map(|group| &group.hosts) {
        let places = own.entry(host.written.as_str()).or_default();
        if places.is_empty() {
            hosts.push(host.written.as_str());
        }
        places.push(host);
    }
    let mut by_depth: Vec<usize> = (0..file.groups.len()).collect();
    // Of equally deep groups the later one in the file wins: the sort keeps their order.
    by_depth.sort_by_key(|at| tree.depth[*at]);
    let mut inside = BTreeMap::<String, Vec<&RawGroup>>::new();
    for at in by_depth {
        for written in &tree.members[at] {
            inside.entry(written.clone()).or_default().push(&file.groups[at]);
        }
    }
    let mut tags = BTreeMap::new();
    for (group, members) in file.groups.iter().zip(&tree.members) {
        read_tags(file, group, members, &mut tags);
    }
    FileView { file, tree, hosts, own, tags, inside }
}

fn read_tags(
    file: &HostFile<'_>,
    group: &RawGroup,
    members: &[String],
    tags: &mut BTreeMap<String, BTreeSet<String>>,
) {
    if group.tags.is_empty() {
        return;
    }
    let mut by_name = BTreeMap::<&str, BTreeSet<&str>>::new();
    for written in members {
        let short = written.split('.').next().unwrap_or_default();
        by_name.entry(short).or_default().insert(written);
    }
    for written in members {
        by_name.insert(written, BTreeSet::from([written.as_str()]));
    }
    for (tag, sets) in &group.tags {
        for set in sets {
            let names = nodeset::expand(set.get_ref()).unwrap_or_else(|why| {
                file.doc.wrong(set.span(), why);
                Vec::new()
            });
            // At most one mistake for each set: each reported name is compared with all known names.
            for written in names.iter().map_while(|name| member(file, group, &by_name, name, set)) {
                tags.entry(written.into()).or_default().insert(tag.get_ref().clone());
            }
        }
    }
}

/// The member of a group with the name `name`, in full or without its domain.
fn member<'m>(
    file: &HostFile<'_>,
    group: &RawGroup,
    by_name: &BTreeMap<&'m str, BTreeSet<&'m str>>,
    name: &str,
    set: &Spanned<String>,
) -> Option<&'m str> {
    let Some(candidates) = by_name.get(name) else {
        let kind = format!("host of `{}`", group.name.get_ref());
        file.doc.unknown(set.span(), &kind, name, by_name.keys().copied());
        return None;
    };
    if candidates.len() > 1 {
        let some: Vec<&str> = candidates.iter().copied().take(CANDIDATES_SHOWN).collect();
        let message = format!("`{name}` is ambiguous; it can be: {}", some.join(", "));
        file.doc.wrong(set.span(), message);
        return None;
    }
    candidates.first().copied()
}

fn add_groups(inventory: &mut Inventory, view: &FileView<'_>, unique: &dyn Fn(&str) -> HostName) {
    let mut add = |name: String, hosts: Vec<HostName>| {
        inventory.groups.insert(name.clone(), Group { name, hosts, balancer: None });
    };
    add(view.file.name.clone(), view.hosts.iter().map(|written| unique(written)).collect());
    for (group, members) in view.file.groups.iter().zip(&view.tree.members) {
        add(qualified(view.file, group), members.iter().map(|written| unique(written)).collect());
    }
}

fn qualified(file: &HostFile<'_>, group: &RawGroup) -> String {
    format!("{}.{}", file.name, group.name.get_ref())
}

/// One host with all inherited settings; its jump host is resolved later, when all hosts are known.
fn host<'f>(
    view: &FileView<'f>,
    written: &str,
    name: HostName,
    fleet: &FleetSettings,
    check_sets: &BTreeSet<String>,
) -> (Host, Option<Via<'f>>) {
    let file = view.file;
    let groups = view.inside.get(written).map(Vec::as_slice).unwrap_or_default();
    let mut layer = file.all.clone();
    groups.iter().for_each(|group| layer.cover(&group.layer));
    view.own.get(written).into_iter().flatten().for_each(|host| layer.cover(&host.layer));
    let mut addresses = layer.addresses.unwrap_or_default().into_iter();
    let endpoint = Endpoint {
        name: name.clone(),
        here: false,
        address: addresses.next().unwrap_or_else(|| written.to_string()),
        further: addresses.collect(),
        port: layer.port.unwrap_or(fleet.port),
        login: layer.login.unwrap_or_else(|| fleet.login.clone()),
        key: layer.key.map(Spanned::into_inner),
        via: None,
    };
    let names = groups.iter().map(|group| qualified(file, group));
    let host = Host {
        name,
        written: written.into(),
        endpoint,
        tags: view.tags.get(written).cloned().unwrap_or_default(),
        vars: layer.vars.plain,
        secrets: layer.vars.secrets,
        checks: checks_of(file, groups, check_sets),
        groups: [file.name.clone()].into_iter().chain(names).collect(),
        balancer: None,
    };
    let via = layer.via.map(|layer::Via { name, own }| Via { doc: file.doc, name, own });
    (host, via)
}

/// The check sets of `[all]` and of the groups, parents first, each once.
fn checks_of(file: &HostFile<'_>, groups: &[&RawGroup], check_sets: &BTreeSet<String>) -> Vec<String> {
    let of_groups = groups.iter().flat_map(|group| &group.checks);
    let mut seen = BTreeSet::new();
    let names = file.checks.iter().chain(of_groups).map(|set| set.get_ref());
    names.filter(|set| check_sets.contains(*set) && seen.insert(*set)).cloned().collect()
}

fn report_unknown_sets(file: &HostFile<'_>, check_sets: &BTreeSet<String>) {
    let named = file.checks.iter().chain(file.groups.iter().flat_map(|group| &group.checks));
    for set in named.filter(|set| !check_sets.contains(set.get_ref())) {
        file.doc.unknown(set.span(), "check set", set.get_ref(), check_sets.iter().map(String::as_str));
    }
}

/// Names of keys that `[fleet.keys]` does not have, each where it is written.
fn report_unknown_keys(file: &HostFile<'_>, fleet: &FleetSettings) {
    let groups = file.groups.iter();
    let hosts = groups.clone().flat_map(|group| &group.hosts).map(|host| &host.layer);
    let layers = [&file.all].into_iter().chain(groups.map(|group| &group.layer)).chain(hosts);
    let mut reported = BTreeSet::new();
    for key in layers.filter_map(|layer| layer.key.as_ref()) {
        // The hosts of a node set share one place.
        if !fleet.keys.contains_key(key.get_ref()) && reported.insert(key.span().start) {
            file.doc.unknown(
                key.span(),
                "key of [fleet.keys]",
                key.get_ref(),
                fleet.keys.keys().map(String::as_str),
            );
        }
    }
}

/// A host that two groups list with different addresses.
fn report_two_addresses(view: &FileView<'_>) {
    for (written, places) in &view.own {
        let addresses = places.iter().filter_map(|place| Some((place, place.layer.addresses.as_ref()?)));
        let mut addresses = addresses;
        let Some((_, first)) = addresses.next() else { continue };
        if let Some((place, other)) = addresses.find(|(_, address)| *address != first) {
            let message =
                format!("host `{written}` has two addresses: {} and {}", first.join(", "), other.join(", "));
            let hint = "give the address once, as a list if the host has several; a second machine needs a name of its own"
                .to_string();
            view.file.doc.report(place.span.clone(), message, hint);
        }
    }
}

/// Two hosts at one address and port are one machine that every command reaches twice.
fn warn_of_shared_addresses(views: &[FileView<'_>], inventory: &Inventory) {
    let mut seen: BTreeMap<(&str, u16, &str), &Host> = BTreeMap::new();
    for host in &inventory.hosts {
        let at = &host.endpoint;
        let mut shared = None;
        for address in at.addresses() {
            let other = seen.insert((address, at.port, &at.login), host);
            shared = shared.or_else(|| Some((address, other?)));
        }
        let Some((address, other)) = shared else { continue };
        // Behind different jump hosts one address can be two machines.
        if at.via != other.endpoint.via || host.written == other.written {
            continue;
        }
        let Some(view) = views.iter().find(|view| view.file.name == host.file()) else { continue };
        let place = view.own.get(host.written.as_str()).and_then(|places| places.first());
        view.file.doc.warn(
            place.map(|place| place.span.clone()),
            format!("{} and {} have one address: {address} port {}", other.name, host.name, at.port),
            "a command for both runs twice on one machine",
        );
    }
}

/// The written name of a host may equal the unique name of another one (`prod.web1`).
fn report_same_names(views: &[FileView<'_>], inventory: &Inventory) {
    let mut seen: BTreeMap<&HostName, &Host> = BTreeMap::new();
    for host in &inventory.hosts {
        let Some(other) = seen.insert(&host.name, host) else { continue };
        for host in [host, other].into_iter().filter(|host| host.written == host.name.as_str()) {
            let Some(view) = views.iter().find(|view| view.file.name == host.file()) else { continue };
            let place = view.own.get(host.written.as_str()).and_then(|places| places.first());
            let span = place.map(|place| place.span.clone());
            let message = format!("`{}` is the name of another host already", host.name);
            let hint = "a host that two files write is called FILE.HOST".to_string();
            view.file.doc.report(span, message, hint);
        }
    }
}

fn add_balancers(inventory: &mut Inventory, file: &HostFile<'_>) {
    let within = inventory.visible_to(Some(&BTreeSet::from([file.name.clone()])));
    for group in &file.groups {
        let Some(raw) = group.balancers.first() else { continue };
        let name = qualified(file, group);
        let members: BTreeSet<HostName> =
            inventory.groups.get(&name).into_iter().flat_map(|group| group.hosts.clone()).collect();
        let behind = inventory.hosts.iter_mut().filter(|host| members.contains(&host.name));
        let mut other = None;
        for host in behind {
            match &host.balancer {
                Some(first) => other = other.or_else(|| Some((host.name.clone(), first.clone()))),
                None => host.balancer = Some(name.clone()),
            }
        }
        if let Some((host, first)) = other {
            let message = format!("{host} is behind two balancers: that of `{first}` and that of `{name}`");
            let hint = "several balancers in front of one group are written [[GROUP.balancer]]".to_string();
            file.doc.report(raw.span.clone(), message, hint);
        }
        let balancer = balancer::resolve(file.doc, &group.balancers, &within, &name);
        if let Some(group) = inventory.groups.get_mut(&name) {
            group.balancer = balancer;
        }
    }
}
