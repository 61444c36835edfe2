//! The `balancer` table of a group: first read, and resolved once all hosts are known.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::drivers::{
    self, CommandKeys, DrainTimeoutWords, DriverKind, DriverWords, FileKeys, HaproxyKeys, NginxKeys, SudoKeys,
};
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{Choice, In, Key, ListOf, NumberOrShare, Or, Text, Time, table};
use crate::config::text::reader::Reader;
use crate::config::text::table::{Declared, Table};
use crate::config::text::templates;
use crate::domain::ask::command::Params;
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{
    Balancer, Driver, ENABLE_TIMEOUT, Endpoint, Host, Inventory, OnDrainTimeout,
};
use crate::domain::inventory::rotation::Floor;
use crate::domain::inventory::selector::select;
use crate::domain::plan::plan::vars_of;
use crate::domain::value::template;

table! {
    /// The load balancer in front of a group. Which keys there are depends on the driver.
    pub BalancerKeys "Balancer"
        [CommonKeys, ServedKeys, ConfirmedKeys, NginxKeys, HaproxyKeys, FileKeys, CommandKeys] {}

    /// Keys of all drivers.
    pub CommonKeys "Common" [SudoKeys] {
        DRIVER "driver": Choice<DriverWords>; needed,
        /// How many servers must stay in service, counted on the balancer itself: `2` or `"75%"`, rounded up. Without
        /// it the last one does.
        MIN_IN_SERVICE "min_in_service": NumberOrShare,
    }

    /// Keys of drivers whose balancer runs on hosts of its own.
    pub ServedKeys "Served" {
        /// The hosts on which the balancer runs, as a selector; rollcall changes all of them. Not with `file`.
        ON "on": Text,
        /// How a host is written there; a template. Needed with `nginx`, not with `file`.
        SERVER "server": Text = "{{ host.short }}",
        /// How long to wait for requests in flight. Not with `file`.
        DRAIN_TIMEOUT "drain_timeout": Time = Duration::from_secs(30),
        /// What happens to requests that are still in flight after that time. `kill` with `haproxy` only.
        ON_DRAIN_TIMEOUT "on_drain_timeout": Choice<DrainTimeoutWords> = OnDrainTimeout::Continue,
    }

    /// Keys of drivers that report when a server is up.
    pub ConfirmedKeys "Confirmed" {
        /// How long a server may take until the balancer reports it up. `haproxy` and `command`.
        ENABLE_TIMEOUT "enable_timeout": Time = ENABLE_TIMEOUT,
    }
}

/// The tables whose keys a balancer with this driver has.
fn keys_of(kind: DriverKind) -> &'static [&'static Table] {
    match kind {
        DriverKind::Nginx => &[CommonKeys::TABLE, ServedKeys::TABLE, NginxKeys::TABLE],
        DriverKind::Haproxy => {
            &[CommonKeys::TABLE, ServedKeys::TABLE, ConfirmedKeys::TABLE, HaproxyKeys::TABLE]
        }
        DriverKind::File => &[CommonKeys::TABLE, FileKeys::TABLE],
        DriverKind::Command => {
            &[CommonKeys::TABLE, ServedKeys::TABLE, ConfirmedKeys::TABLE, CommandKeys::TABLE]
        }
    }
}

/// A balancer before its selector and templates are resolved. A wrong value is absent, so that the
/// rest of it can still be checked.
pub struct RawBalancer {
    pub span: Range<usize>,
    kind: Option<DriverKind>,
    on: Option<Spanned<String>>,
    server: Option<Spanned<String>>,
    driver: Option<Driver>,
    drain_timeout: Duration,
    on_drain_timeout: OnDrainTimeout,
    enable_timeout: Duration,
    min_in_service: Option<Floor>,
}

/// One balancer, or several.
pub type BalancerOrList = Or<In<BalancerKeys>, ListOf<In<BalancerKeys>>>;

/// Reads the `balancer` tables of `group`: one, or several written `[[GROUP.balancer]]`.
pub fn read(group: &mut Reader<'_>, key: Key<BalancerOrList>, name: &str) -> Vec<RawBalancer> {
    let what = format!("the balancer of `{name}`");
    let is_list = group.value(key).is_some_and(|value| value.get_ref().is_array());
    let tables = match is_list {
        true => group.list(key.second(), &what),
        false => group.inner(key.first(), &what).into_iter().collect(),
    };
    let Some(span) = group.key_span(key.name) else { return Vec::new() };
    tables.into_iter().map(|table| read_one(table, span.clone())).collect()
}

fn read_one(mut table: Reader<'_>, span: Range<usize>) -> RawBalancer {
    let mut raw = RawBalancer {
        span,
        kind: table.required(CommonKeys::DRIVER).and_then(|_| table.get(CommonKeys::DRIVER)),
        on: None,
        server: None,
        driver: None,
        drain_timeout: ServedKeys::DRAIN_TIMEOUT.default,
        on_drain_timeout: ServedKeys::ON_DRAIN_TIMEOUT.default,
        enable_timeout: ConfirmedKeys::ENABLE_TIMEOUT.default,
        min_in_service: None,
    };
    // The keys depend on the driver: without one, complaints would be guesses.
    let Some(kind) = raw.kind else { return raw };
    table.narrow(keys_of(kind));
    raw.min_in_service = read_floor(&mut table);
    if kind != DriverKind::File {
        raw.on = table.required(ServedKeys::ON);
        raw.drain_timeout = table.or_default(ServedKeys::DRAIN_TIMEOUT);
        raw.on_drain_timeout = table
            .among(ServedKeys::ON_DRAIN_TIMEOUT, kind.drain_timeouts())
            .unwrap_or(ServedKeys::ON_DRAIN_TIMEOUT.default);
    }
    if matches!(kind, DriverKind::Haproxy | DriverKind::Command) {
        raw.enable_timeout = table
            .positive(ConfirmedKeys::ENABLE_TIMEOUT, "no server is up at once")
            .unwrap_or(ConfirmedKeys::ENABLE_TIMEOUT.default);
    }
    raw.server = match kind {
        DriverKind::File => table.required(FileKeys::PATH),
        DriverKind::Nginx => table.required(ServedKeys::SERVER),
        DriverKind::Haproxy | DriverKind::Command => server_or_default(&mut table),
    };
    raw.driver = drivers::read(&mut table, kind);
    table.finish();
    raw
}

fn server_or_default(table: &mut Reader<'_>) -> Option<Spanned<String>> {
    match table.value(ServedKeys::SERVER) {
        Some(_) => table.required(ServedKeys::SERVER),
        None => Some(Spanned::new(table.span.clone()?, ServedKeys::SERVER.default.to_string())),
    }
}

/// A number of servers, or whole percents of them.
fn read_floor(table: &mut Reader<'_>) -> Option<Floor> {
    let value = table.value(CommonKeys::MIN_IN_SERVICE)?;
    let doc = table.doc;
    let percent = |text: &str| text.strip_suffix('%')?.trim().parse::<u8>().ok().filter(|n| *n <= 100);
    let floor = match value.get_ref() {
        DeValue::Integer(number) => {
            usize::from_str_radix(number.as_str(), number.radix()).ok().map(Floor::Servers)
        }
        DeValue::String(text) => percent(text).map(Floor::Percent),
        _ => None,
    };
    if floor.is_none() {
        let message = "`min_in_service` is a number of servers such as 2, or a part of them such as \"75%\"";
        doc.report(value.span(), message, "percents are whole, from 0% to 100%".to_string());
    }
    floor
}

/// The balancers of a group as one: the first, and the further ones, which are numbered.
pub fn resolve(doc: Doc<'_>, raws: &[RawBalancer], within: &Inventory, group: &str) -> Option<Balancer> {
    let mut places = Vec::new();
    for (number, raw) in (1..).zip(raws) {
        let place = resolve_one(doc, raw, within, group);
        let name = if number == 1 { group.to_string() } else { format!("{group}#{number}") };
        places.push(place.map(|place| Balancer { name, ..place }));
    }
    let mut places: Vec<Balancer> = places.into_iter().collect::<Option<_>>()?;
    let further = places.split_off(1.min(places.len()));
    Some(Balancer { further, ..places.pop()? })
}

/// Finds the balancer's hosts, and checks that each host of the group has a valid name there.
/// `within` is the file's part of the inventory, `group` the qualified name.
fn resolve_one(doc: Doc<'_>, raw: &RawBalancer, within: &Inventory, group: &str) -> Option<Balancer> {
    let kind = raw.kind?;
    let on = match kind {
        DriverKind::File => Some(members_of(within, group).map(|host| host.endpoint.clone()).collect()),
        _ => raw.on.as_ref().and_then(|on| hosts_of(doc, on, within)),
    };
    let members = raw.server.as_ref().and_then(|server| check_servers(doc, kind, server, within, group));
    Some(Balancer {
        name: group.into(),
        on: on?,
        server: raw.server.as_ref()?.get_ref().clone(),
        driver: raw.driver.clone()?,
        drain_timeout: raw.drain_timeout,
        on_drain_timeout: raw.on_drain_timeout,
        enable_timeout: raw.enable_timeout,
        min_in_service: raw.min_in_service,
        members: members?,
        further: Vec::new(),
    })
}

fn hosts_of(doc: Doc<'_>, on: &Spanned<String>, within: &Inventory) -> Option<Vec<Endpoint>> {
    match select(within, on.get_ref()) {
        Ok(names) => {
            let hosts = names.iter().filter_map(|name| within.host(name));
            Some(hosts.map(|host| host.endpoint.clone()).collect())
        }
        Err(why) => {
            doc.report(on.span(), format!("`on`: {why}"), "it selects within this file".to_string());
            None
        }
    }
}

fn members_of<'a>(within: &'a Inventory, group: &str) -> impl Iterator<Item = &'a Host> {
    let members: BTreeSet<&HostName> =
        within.groups.get(group).into_iter().flat_map(|group| &group.hosts).collect();
    within.hosts.iter().filter(move |host| members.contains(&host.name))
}

/// The name of each host of the group. Two hosts with one name would be drained together, unless
/// the name is a path on each of them.
fn check_servers(
    doc: Doc<'_>,
    kind: DriverKind,
    server: &Spanned<String>,
    within: &Inventory,
    group: &str,
) -> Option<BTreeMap<HostName, String>> {
    let key = kind.server_key();
    if !templates::syntax(doc, key, server) {
        return None;
    }
    let mut members = BTreeMap::new();
    let mut written = BTreeMap::new();
    for host in members_of(within, group) {
        if let Some(name) =
            template::names_used(server.get_ref()).iter().find(|name| host.secrets.contains_key(*name))
        {
            let message = format!(
                "`{key}` of {} cannot read the secret `{name}`: balancers get it, and show it",
                host.name
            );
            doc.wrong(server.span(), message);
            return None;
        }
        let text = template::text(server.get_ref(), &vars_of(host, None, &Params::new()));
        let text = match text.and_then(|text| kind.check_server(&text).map(|()| text)) {
            Ok(text) => text,
            Err(why) => {
                doc.wrong(server.span(), format!("`{key}` of {}: {why}", host.name));
                return None;
            }
        };
        if let Some(other) = written.insert(text.clone(), &host.name)
            && kind != DriverKind::File
        {
            let message = format!("`{key}` is `{text}` for {other} and for {}", host.name);
            let hint = "each host needs its own, such as \"{{ host.address }}:8080\"".to_string();
            doc.report(server.span(), message, hint);
            return None;
        }
        members.insert(host.name.clone(), text);
    }
    Some(members)
}
