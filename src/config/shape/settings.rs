//! `rollcall.toml`.

use schemars::JsonSchema;

use super::parts::{OneOrMany, Time};

/// The daemon itself. Every value has a default; paths are relative to the configuration directory.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rollcall {
    /// Where operators connect: `"127.0.0.1:2222"`, the default, or several.
    listen: Option<OneOrMany>,
    /// The daemon's own SSH key; created at the first start. Default: `/var/lib/rollcall/host_key`.
    host_key: Option<String>,
    /// The journal, debts, leases and history. Default: `/var/lib/rollcall/rollcall.db`.
    store: Option<String>,
    /// The directory of files that steps download from hosts. Default: `/var/lib/rollcall/downloads`.
    downloads: Option<String>,
    /// Whether steps, hooks and vars may run commands on the machine of the daemon. Everyone who may write these files can
    /// then act as rollcall. Default: false.
    allow_local: Option<bool>,
    /// What decrypts age files: a file of `age-keygen`. Default: the systemd credential `age`, if there is one.
    age_identity: Option<String>,
    /// `facts` gathers older facts again. Default: `"1h"`.
    facts_max_age: Option<Time>,
    /// How long a script in `hosts/` may take. Default: `"10s"`.
    inventory_timeout: Option<Time>,
    /// A command that plans runs a script in `hosts/` again if its output is older. Default: `"5m"`.
    inventory_max_age: Option<Time>,
    /// The channels of notification, one table each.
    notify: Option<Vec<super::notify::Notify>>,
    /// How hosts are reached.
    fleet: Option<Fleet>,
    /// How checks with `every` or `cron` are probed.
    schedule: Option<Schedule>,
}

/// How checks with `every` or `cron` are probed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Schedule {
    /// Default: true.
    enabled: Option<bool>,
    /// Probes at the same time. Default: 64.
    parallel: Option<u32>,
    /// Probes of one host at the same time. Default: 2.
    per_host: Option<u32>,
    /// Of cron lines and digests: `"Europe/Berlin"`. Default: `"UTC"`.
    time_zone: Option<String>,
    flapping: Option<Flapping>,
    keep: Option<Keep>,
}

/// When a check changes too often for an alert each time: the percentage of changes among its last 21 probes, newer ones weighted more.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Flapping {
    /// Flapping starts above this. Default: 30.
    high: Option<u32>,
    /// Flapping ends below this. Default: 20.
    low: Option<u32>,
}

/// How long history is kept; days are written `2d`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Keep {
    /// Single probes. Default: `"2d"`.
    samples: Option<String>,
    /// Changes of verdicts, with their texts. Default: `"90d"`.
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
    /// The most hosts that rollcall works on at the same time. Default: 64.
    parallel: Option<u32>,
    /// For the connection, the key exchange and the login together. Default: `"10s"`.
    connect_timeout: Option<Time>,
    /// Between two keepalives of an idle connection. Default: `"15s"`.
    keepalive: Option<Time>,
}
