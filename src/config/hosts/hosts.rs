//! `hosts/NAME.toml` as written: groups with their settings, before names are resolved.
//! A superset of Ansible's TOML inventory.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::ansible;
use super::balancer::{self, RawBalancer};
use super::layer::{Layer, Via, replace};
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{Any, In, MapOf, Or, Port, Text, Texts, Word, table};
use crate::config::text::reader::{self, Entry, Reader};
use crate::config::text::vars::{self, VarKeys};
use crate::domain::base::name::{bare_address, check_name};
use crate::domain::base::nodeset;
use crate::domain::inventory::inventory::Endpoint;

/// Most addresses of a host: each that does not answer delays the next one.
const ADDRESSES_LIMIT: usize = 8;

table! {
    /// One top-level group, named after the file: tables are groups within it, `[all]` is for every host of the file.
    /// Ansible's TOML inventory is read as it is.
    pub HostsKeys "Hosts" {
        /// For every host of the file.
        ALL "all": In<AllKeys>,
        .. In<GroupKeys>
    }

    /// For every host of the file.
    pub AllKeys "All" [InheritedKeys] {}

    /// A named set of hosts: `[web]` in `hosts/prod.toml` is `prod.web`.
    pub GroupKeys "Group" [InheritedKeys] {
        /// Node sets such as `"web[01-20].example.com"`, or a table of host = { vars and settings }.
        HOSTS "hosts": Or<Texts, MapOf<In<HostKeys>>>,
        /// Groups of this file that are part of it.
        CHILDREN "children": Texts,
        /// Tag = the hosts that carry it, for selectors such as `@canary`.
        TAGS "tags": MapOf<Texts>,
        /// The load balancer in front of the group. Several of them are written `[[GROUP.balancer]]`: a host is out of all
        /// or of none.
        BALANCER "balancer": balancer::BalancerOrList,
    }

    /// Settings of many hosts; those of the nearest group win.
    pub InheritedKeys "Inherited" {
        /// Names and values for templates; the nearest to the host wins. See `docs/secrets.md` for values that come from
        /// elsewhere, or never show.
        VARS "vars": MapOf<Or<Any, In<VarKeys>>>,
        /// An age file of secret vars: `name = "value"` lines.
        SECRETS "secrets": Text,
        /// The account on these hosts.
        LOGIN "login": Word,
        /// The key that rollcall logs in with, of `[fleet.keys]`. It offers no other one. Default: what `[fleet]` has for all
        /// hosts.
        KEY "key": Text,
        /// The port of their SSH server.
        PORT "port": Port,
        /// The jump host in front of them, by its name in the inventory, which has its login and port. A jump host may have a
        /// `via` of its own. Several are written in the order of the way: `"outer,inner"`.
        VIA "via": Text,
        /// The sets of checks that verify them: files of `checks/`.
        CHECKS "checks": Texts,
    }

    /// One host: its settings; every other key is a var of it.
    pub HostKeys "Host" {
        /// Where it is reached, if not by its name. Several are tried in turn until one connects; its key is recorded under
        /// the first.
        ADDRESS "address": Texts,
        /// The port of its SSH server.
        PORT "port": Port,
        /// The account on it.
        LOGIN "login": Word,
        /// The key that rollcall logs in to it with, of `[fleet.keys]`.
        KEY "key": Text,
        /// The jump host in front of it, or several: `"outer,inner"`.
        VIA "via": Text,
        .. Or<Any, In<VarKeys>>
    }
}

/// One file: the top-level group `name`.
pub struct HostFile<'t> {
    pub doc: Doc<'t>,
    pub name: String,
    /// `[all]`: for every host of the file.
    pub all: Layer,
    pub checks: Vec<Spanned<String>>,
    pub groups: Vec<RawGroup>,
}

/// One table of a file.
pub struct RawGroup {
    /// Without the file's name.
    pub name: Spanned<String>,
    pub hosts: Vec<RawHost>,
    pub children: Vec<Spanned<String>>,
    pub layer: Layer,
    pub checks: Vec<Spanned<String>>,
    /// Tags, with their hosts.
    pub tags: Vec<(Spanned<String>, Vec<Spanned<String>>)>,
    /// Several stand in front of the same hosts.
    pub balancers: Vec<RawBalancer>,
}

/// A host in the list of a group, with its own settings there.
pub struct RawHost {
    pub written: String,
    pub span: Range<usize>,
    pub layer: Layer,
}

/// Reads the file of the group `name`.
pub fn read<'t>(doc: Doc<'t>, name: &str) -> HostFile<'t> {
    let (doc, table) = reader::parse(doc);
    let mut file =
        HostFile { doc, name: name.into(), all: Layer::default(), checks: Vec::new(), groups: Vec::new() };
    for (key, value) in Reader::of::<HostsKeys>(doc, "the file", (&table, None)).rest() {
        let DeValue::Table(_) = value.get_ref() else {
            let message = format!("`{}` is outside of any group", key.get_ref());
            doc.report(key.span(), message, "write it below a group, such as [web]".to_string());
            continue;
        };
        let what = format!("group `{}`", key.get_ref());
        if key.get_ref() == HostsKeys::ALL.name {
            let all = Reader::inside::<AllKeys>(doc, what, key.get_ref(), value);
            (file.all, file.checks) = all.map(read_all).unwrap_or_default();
        } else if let Some(group) = Reader::inside::<GroupKeys>(doc, what, key.get_ref(), value) {
            file.groups.push(read_group(group, key));
        }
    }
    file
}

fn read_all(mut reader: Reader<'_>) -> (Layer, Vec<Spanned<String>>) {
    let layer = group_layer(&mut reader);
    let checks = reader.get(InheritedKeys::CHECKS).unwrap_or_default();
    reader.finish();
    (layer, checks)
}

fn read_group(mut reader: Reader<'_>, name: Spanned<String>) -> RawGroup {
    check_group_name(reader.doc, &name);
    let doc = reader.doc;
    let group = RawGroup {
        hosts: read_hosts(&mut reader),
        children: reader.get(GroupKeys::CHILDREN).unwrap_or_default(),
        layer: group_layer(&mut reader),
        checks: reader.get(InheritedKeys::CHECKS).unwrap_or_default(),
        tags: reader.entries(GroupKeys::TAGS).into_iter().map(|entry| read_tag(doc, entry)).collect(),
        balancers: balancer::read(&mut reader, GroupKeys::BALANCER, name.get_ref()),
        name,
    };
    reader.finish();
    group
}

fn check_group_name(doc: Doc<'_>, name: &Spanned<String>) {
    if let Err(why) = check_name(name.get_ref()) {
        doc.wrong(name.span(), format!("`{}` cannot name a group: {why}", name.get_ref()));
    } else if name.get_ref().contains('.') {
        let message = format!("`{}` cannot name a group: a dot separates file and group", name.get_ref());
        doc.report(name.span(), message, "write `children` to nest groups".to_string());
    }
}

fn group_layer(reader: &mut Reader<'_>) -> Layer {
    let doc = reader.doc;
    let mut layer = Layer::default();
    let secrets =
        reader.get(InheritedKeys::SECRETS).map(|path| vars::read_age(doc, &path)).unwrap_or_default();
    if let Some(mut table) = reader.get(InheritedKeys::VARS) {
        // Ansible has connection settings of a group among its vars.
        layer = ansible::connection(&mut table, false);
        layer.vars = vars::read(doc, table.rest());
    }
    layer.vars = secrets.covered(&layer.vars);
    replace(&mut layer.login, &reader.get(InheritedKeys::LOGIN));
    replace(&mut layer.key, &reader.get(InheritedKeys::KEY));
    replace(&mut layer.port, &reader.get(InheritedKeys::PORT));
    replace(&mut layer.via, &reader.get(InheritedKeys::VIA).map(|name| Via { name, own: false }));
    layer
}

fn read_tag(doc: Doc<'_>, (tag, value): Entry<'_>) -> (Spanned<String>, Vec<Spanned<String>>) {
    if let Err(why) = check_name(tag.get_ref()) {
        doc.wrong(tag.span(), format!("`{}` cannot name a tag: {why}", tag.get_ref()));
    }
    let hosts = reader::strings(doc, tag.get_ref(), value);
    (tag, hosts)
}

/// `hosts`: a node set, an array of them, or Ansible's table of host -> vars.
fn read_hosts(reader: &mut Reader<'_>) -> Vec<RawHost> {
    let doc = reader.doc;
    let Some(value) = reader.value(GroupKeys::HOSTS) else { return Vec::new() };
    let mut hosts = Vec::new();
    if let DeValue::Table(_) = value.get_ref() {
        for (name, settings) in reader.entries(GroupKeys::HOSTS.second()) {
            let layer = host_layer(doc, &name, settings);
            hosts.extend(named(doc, &name, &layer));
        }
        return hosts;
    }
    for set in reader::strings(doc, GroupKeys::HOSTS.name, value) {
        hosts.extend(named(doc, &set, &Layer::default()));
    }
    hosts
}

/// The name of the daemon's machine is reserved.
fn check_host_name(name: &str) -> Result<(), String> {
    match name == Endpoint::HERE {
        true => Err("steps call the machine of rollcall itself so".into()),
        false => check_name(name),
    }
}

fn named(doc: Doc<'_>, set: &Spanned<String>, layer: &Layer) -> Vec<RawHost> {
    let names = nodeset::expand(set.get_ref()).and_then(|names| {
        let bad = names.iter().find_map(|name| check_host_name(name).err().map(|why| (name.clone(), why)));
        doc.sink.count_hosts(names.len())?;
        bad.map_or(Ok(names), |(name, why)| Err(format!("`{name}` cannot name a host: {why}")))
    });
    match names {
        Ok(names) => {
            let host = |written| RawHost { written, span: set.span(), layer: layer.clone() };
            names.into_iter().map(host).collect()
        }
        Err(why) => {
            doc.wrong(set.span(), why);
            Vec::new()
        }
    }
}

fn host_layer(doc: Doc<'_>, name: &Spanned<String>, value: &Spanned<DeValue<'_>>) -> Layer {
    let what = format!("host `{}`", name.get_ref());
    let Some(mut reader) = Reader::inside::<HostKeys>(doc, what, name.get_ref(), value) else {
        return Layer::default();
    };
    let mut layer = ansible::connection(&mut reader, true);
    replace(&mut layer.addresses, &addresses(&mut reader));
    replace(&mut layer.port, &reader.get(HostKeys::PORT));
    replace(&mut layer.login, &reader.get(HostKeys::LOGIN));
    replace(&mut layer.key, &reader.get(HostKeys::KEY));
    replace(&mut layer.via, &reader.get(HostKeys::VIA).map(|name| Via { name, own: true }));
    layer.vars = vars::read(doc, reader.rest());
    layer
}

/// The addresses of a host, without the brackets in which URLs write those of IPv6.
fn addresses(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let (doc, key) = (reader.doc, HostKeys::ADDRESS.name);
    let written = reader.get(HostKeys::ADDRESS)?;
    let span = reader.key_span(key);
    if written.is_empty() || written.len() > ADDRESSES_LIMIT {
        doc.wrong(span, format!("`{key}` has one to {ADDRESSES_LIMIT} addresses"));
        return None;
    }
    let mut found: Vec<String> = Vec::new();
    for text in &written {
        let address = bare_address(text.get_ref());
        if address.is_empty() || address.contains(|c: char| c.is_whitespace() || c.is_control()) {
            doc.wrong(text.span(), format!("`{key}` is one word, without blanks, or a list of them"));
        } else if found.iter().any(|other| other == address) {
            doc.wrong(text.span(), format!("`{key}` has {address} twice"));
        } else {
            found.push(address.to_string());
        }
    }
    (found.len() == written.len()).then_some(found)
}
