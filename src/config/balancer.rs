//! The `balancer` table of a group: read as it is written, and resolved once all hosts are known.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;

use super::diagnostic::Doc;
use super::reader::Reader;
use super::templates;
use crate::domain::command::Params;
use crate::domain::inventory::{Balancer, Driver, Endpoint, Inventory, Nginx, NginxStyle};
use crate::domain::plan::vars_of;
use crate::domain::selector::select;
use crate::domain::template::{self, Vars};

const DRIVERS: [(&str, ()); 1] = [("nginx", ())];
const STYLES: [(&str, NginxStyle); 2] = [("down", NginxStyle::Down), ("comment", NginxStyle::Comment)];
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_TEST: &str = "nginx -t -c {{ config }}";
const DEFAULT_RELOAD: &str = "nginx -s reload -c {{ config }}";

/// `ps` and `awk` are on every host that runs nginx; one line is `PID/PARENT` of one worker.
const DEFAULT_WORKERS: &str =
    r#"ps -e -o pid= -o ppid= -o args= | awk '$3 == "nginx:" && $4 == "worker" { print $1 "/" $2 }'"#;

/// A balancer before its selector and templates are looked at. What was wrong is absent, so that the
/// rest of it can still be looked at.
pub(super) struct RawBalancer {
    pub(super) span: Range<usize>,
    on: Option<Spanned<String>>,
    server: Option<Spanned<String>>,
    driver: Option<Driver>,
    drain_timeout: Duration,
}

/// Reads the `balancer` table of `group`, if there is one.
pub(super) fn read(group: &mut Reader<'_>, name: &str) -> Option<RawBalancer> {
    let mut table = group.table("balancer", format!("the balancer of `{name}`"))?;
    let span = group.key_span("balancer")?;
    let driver = table.required("driver").and_then(|_| table.one_of("driver", &DRIVERS));
    let (on, server) = (table.required("on"), table.required("server"));
    let nginx = read_nginx(&mut table);
    let drain_timeout = table.duration("drain_timeout").unwrap_or(DEFAULT_DRAIN_TIMEOUT);
    table.finish();
    let driver = driver.and(nginx).map(Driver::Nginx);
    Some(RawBalancer { span, on, server, driver, drain_timeout })
}

fn read_nginx(table: &mut Reader<'_>) -> Option<Nginx> {
    let style = table.one_of("style", &STYLES).unwrap_or(NginxStyle::Down);
    let sudo = table.bool("sudo");
    let config = table.required("config").map(Spanned::into_inner);
    let about = Value::String(config.clone().unwrap_or_default());
    let vars = Vars::from([("config".to_string(), about)]);
    let test = command(table, "test", DEFAULT_TEST, &vars);
    let reload = command(table, "reload", DEFAULT_RELOAD, &vars);
    let workers = command(table, "workers", DEFAULT_WORKERS, &vars);
    Some(Nginx { config: config?, style, test: test?, reload: reload?, workers: workers?, sudo })
}

/// A command of the driver, rendered: it knows `config` and nothing else.
fn command(table: &mut Reader<'_>, key: &'static str, default: &str, vars: &Vars) -> Option<String> {
    let written = table.string(key);
    let text = written.as_ref().map_or(default, |text| text.get_ref());
    match template::script(text, vars) {
        Ok(command) => Some(command),
        Err(why) => {
            let span = written.map(|text| text.span()).or_else(|| table.span.clone());
            table.doc.report(span, format!("`{key}`: {why}"), "it knows `config` only".to_string());
            None
        }
    }
}

/// Finds the balancer's hosts, and proves that each host of the group can be written there.
/// `within` is the file's part of the inventory, `group` the qualified name.
pub(super) fn resolve(doc: Doc<'_>, raw: &RawBalancer, within: &Inventory, group: &str) -> Option<Balancer> {
    let on = raw.on.as_ref().and_then(|on| hosts_of(doc, on, within));
    if let Some(server) = &raw.server {
        check_servers(doc, server, within, group);
    }
    Some(Balancer {
        name: group.into(),
        on: on?,
        server: raw.server.as_ref()?.get_ref().clone(),
        driver: raw.driver.clone()?,
        drain_timeout: raw.drain_timeout,
        on_drain_timeout: Default::default(),
        min_in_service: None,
        members: Default::default(),
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

/// Two hosts written alike would be drained together.
fn check_servers(doc: Doc<'_>, server: &Spanned<String>, within: &Inventory, group: &str) {
    if !templates::syntax(doc, "server", server) {
        return;
    }
    let members: BTreeSet<_> = within.groups.get(group).into_iter().flat_map(|group| &group.hosts).collect();
    let mut written = BTreeMap::new();
    for host in within.hosts.iter().filter(|host| members.contains(&host.name)) {
        let text = match template::text(server.get_ref(), &vars_of(host, &Params::new())) {
            Ok(text) => text,
            Err(why) => return doc.wrong(server.span(), format!("`server` of {}: {why}", host.name)),
        };
        if let Some(other) = written.insert(text.clone(), &host.name) {
            let message = format!("`server` is `{text}` for {other} and for {}", host.name);
            let hint = "each host needs its own, such as \"{{ host.address }}:8080\"".to_string();
            return doc.report(server.span(), message, hint);
        }
    }
}
