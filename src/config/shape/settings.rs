//! `rollcall.toml`.

use schemars::JsonSchema;

use super::parts::{OneOrMany, Time};

/// The daemon itself. Every value has a default; paths are relative to the configuration directory.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rollcall {
    /// Where operators connect: `"127.0.0.1:2222"`, the default, or several.
    listen: Option<OneOrMany>,
    /// The daemon's own SSH key; made on first start. Default: `/var/lib/rollcall/host_key`.
    host_key: Option<String>,
    /// The journal, debts, leases and history. Default: `/var/lib/rollcall/rollcall.db`.
    store: Option<String>,
    /// Where files that steps download from hosts are kept. Default: `/var/lib/rollcall/downloads`.
    downloads: Option<String>,
    /// Whether steps, hooks and vars may run commands on the machine of the daemon. Whoever may write these files can
    /// then act as rollcall. Default: false.
    allow_local: Option<bool>,
    /// What decrypts age files: a file of `age-keygen`. Default: the systemd credential `age`, if there is one.
    age_identity: Option<String>,
    /// `facts` asks anew for what is older. Default: `"1h"`.
    facts_max_age: Option<Time>,
    /// How long a script in `hosts/` may take. Default: `"10s"`.
    inventory_timeout: Option<Time>,
    /// A script in `hosts/` is asked anew before a command that plans, when it was asked longer ago. Default: `"5m"`.
    inventory_max_age: Option<Time>,
    /// How people are told of trouble: one table for each channel.
    notify: Option<Vec<super::notify::Notify>>,
    /// How hosts are reached.
    fleet: Option<Fleet>,
    /// How checks with `every` or `cron` are looked at.
    schedule: Option<Schedule>,
}

/// How checks with `every` or `cron` are looked at.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Schedule {
    /// Default: true.
    enabled: Option<bool>,
    /// Looks at the same time. Default: 64.
    parallel: Option<u32>,
    /// Looks at one host at the same time. Default: 2.
    per_host: Option<u32>,
    /// Of lines of cron: `"Europe/Berlin"`. Default: `"UTC"`.
    time_zone: Option<String>,
    flapping: Option<Flapping>,
    keep: Option<Keep>,
}

/// When a check changes too often to tell each change: percent of its last 21 looks that were changes, newer ones heavier.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Flapping {
    /// It flaps from here on. Default: 30.
    high: Option<u32>,
    /// And does not any more down here. Default: 20.
    low: Option<u32>,
}

/// How long history is kept; days are written `2d`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Keep {
    /// Each look. Default: `"2d"`.
    samples: Option<String>,
    /// Changes, with their words. Default: `"90d"`.
    changes: Option<String>,
}

/// How hosts are reached.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Fleet {
    /// The account on hosts that name none. Default: `deploy`.
    login: Option<String>,
    /// Default: 22.
    port: Option<u16>,
    /// Private keys, tried in order.
    identity: Option<OneOrMany>,
    /// Socket of an SSH agent.
    agent: Option<String>,
    /// OpenSSH format; `host accept` writes here. Default: `/var/lib/rollcall/known_hosts`.
    known_hosts: Option<String>,
    /// Hosts that are worked on at the same time, at most. Default: 64.
    parallel: Option<u32>,
    /// For the connection, the key exchange and the login together. Default: `"10s"`.
    connect_timeout: Option<Time>,
    /// Between two questions to an idle connection. Default: `"15s"`.
    keepalive: Option<Time>,
}
