//! `hosts/*.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::parts::{Amount, OneOrMany, Time};

/// One top-level group, named after the file: tables are groups within it, `[all]` is for every host of the file.
/// Ansible's TOML inventory is read as it is.
#[derive(JsonSchema)]
pub struct Hosts {
    /// For every host of the file.
    all: Option<All>,
    /// A group: `[web]` in `hosts/prod.toml` is `prod.web`.
    #[schemars(flatten)]
    groups: BTreeMap<String, Group>,
}

/// For every host of the file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct All {
    /// Names and values for templates. See `docs/secrets.md` for values that come from elsewhere, or never show.
    vars: Option<BTreeMap<String, Value>>,
    /// An age file of secret vars: `name = "value"` lines.
    secrets: Option<String>,
    /// The account on these hosts.
    login: Option<String>,
    /// The port of their SSH server.
    port: Option<u16>,
    /// The jump host in front of them, by its name in the inventory or as `login@address:port`.
    via: Option<String>,
    /// The sets of checks that verify them: files of `checks/`.
    checks: Option<OneOrMany>,
}

/// A named set of hosts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Group {
    /// Node sets such as `"web[01-20].example.com"`, or a table of host = { vars and settings }.
    hosts: Option<HostSet>,
    /// Groups of this file that are part of it.
    children: Option<OneOrMany>,
    /// Names and values for templates; the nearest to the host wins.
    vars: Option<BTreeMap<String, Value>>,
    /// An age file of secret vars: `name = "value"` lines.
    secrets: Option<String>,
    /// The account on these hosts.
    login: Option<String>,
    /// The port of their SSH server.
    port: Option<u16>,
    /// The jump host in front of them.
    via: Option<String>,
    /// The sets of checks that verify them: files of `checks/`.
    checks: Option<OneOrMany>,
    /// Tag = the hosts that carry it, for selectors such as `@canary`.
    tags: Option<BTreeMap<String, OneOrMany>>,
    /// The load balancer in front of the group. Several of them are written `[[GROUP.balancer]]`: a host is out of all
    /// or of none.
    balancer: Option<Balancers>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum HostSet {
    Names(OneOrMany),
    Table(BTreeMap<String, Host>),
}

/// One host: its settings; every other key is a var of it.
#[derive(JsonSchema)]
struct Host {
    /// Where it is reached, if not by its name.
    address: Option<String>,
    /// The port of its SSH server.
    port: Option<u16>,
    /// The account on it.
    login: Option<String>,
    /// The jump host in front of it.
    via: Option<String>,
    /// Vars of this host.
    #[schemars(flatten)]
    vars: BTreeMap<String, Value>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Balancers {
    One(Box<Balancer>),
    Many(Vec<Balancer>),
}

/// The load balancer in front of a group. Which keys there are depends on the driver.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Balancer {
    driver: Driver,
    /// The hosts on which the balancer runs, as a selector; rollcall changes all of them. Not with `file`.
    on: Option<String>,
    /// How a host is written there; a template. Default but with nginx: `{{ host.short }}`.
    server: Option<String>,
    /// How many servers must stay in service, counted on the balancer itself: `2` or `"75%"`, rounded up. Without
    /// it the last one does.
    min_in_service: Option<Amount>,
    /// How long to wait for requests in flight. Not with `file`.
    drain_timeout: Option<Time>,
    /// What happens to requests that are still in flight after that time.
    on_drain_timeout: Option<OnDrainTimeout>,
    /// How long a server may take until the balancer reports it up. `haproxy` and `command`.
    enable_timeout: Option<Time>,
    /// `nginx`: the file that holds the upstream block. Files that the block includes are followed.
    config: Option<String>,
    /// `nginx`: the upstreams that are changed, all or none. Default: every one in `config` that has the server.
    upstream: Option<OneOrMany>,
    /// `nginx`: how a host is taken out. Default: `down`.
    style: Option<Style>,
    /// `nginx`: says by its exit status whether the configuration is valid. Default: `nginx -t`, with
    /// `-c {{ config }}` if that is a main configuration. With `-T` for its `-t` it has to print the file.
    test: Option<String>,
    /// `nginx`: default: the test command with `-s reload` for its `-t`.
    reload: Option<String>,
    /// `nginx`: prints one line for each worker process that is there. Default: the workers of the master that the pid
    /// file of the configuration names; the only master of the host if there is no such file.
    workers: Option<String>,
    /// `haproxy`: where its runtime API listens: a path or `HOST:PORT`.
    socket: Option<String>,
    /// `haproxy`: the backend, or several: a host is out of all or of none.
    backend: Option<OneOrMany>,
    /// `file`: the file on each host that the balancer's health check reads; a template.
    path: Option<String>,
    /// `file`: what it means that the file is there. Default: `in`.
    present: Option<Present>,
    /// `file`: how long until the balancer has noticed a change.
    settle: Option<Time>,
    /// `command`: takes a server out.
    drain: Option<String>,
    /// `command`: puts a server back.
    enable: Option<String>,
    /// `command`: prints `{"state": "up|draining|drained|down|unknown", "active": N}`.
    status: Option<String>,
    /// The whole driver runs as root, by `sudo -n -- sh`. For narrow rules leave it out and write `sudo -n` into the commands; see `rollcall sudoers`. Default: false.
    sudo: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Driver {
    Nginx,
    Haproxy,
    File,
    Command,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum OnDrainTimeout {
    Continue,
    Kill,
    Fail,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Style {
    Down,
    Comment,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Present {
    In,
    Out,
}
