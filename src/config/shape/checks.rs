//! `checks/*.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::parts::{OneOrMany, Port, Time};

/// A set of checks, named after the file: groups name it in `checks`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Checks {
    check: Vec<Check>,
    /// For all checks of the set without a schedule of their own: the time between two probes. Without it and `cron`, only runs and operators probe a check.
    every: Option<Time>,
    /// The same as a line of cron: five fields, or `@hourly` and its like, in the time zone of `[schedule]`.
    cron: Option<String>,
    /// Failed probes in a row before the check alerts. Default: 3.
    max_attempts: Option<u32>,
    /// Between those probes. Default: `every`, and at most `"1m"`.
    retry_interval: Option<Time>,
    /// Checks of the same host: while one of them is not ok, this one does not alert.
    depends_on: Option<OneOrMany>,
}

/// A condition on a host, or across hosts: one kind of probe, and the expected result. A range is in Nagios'
/// syntax: `10`, `10:`, `~:10`, `10:20`, `@10:20`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Check {
    /// Its name in results and messages; unique in the set.
    name: String,
    /// The time between two probes. Without it and `cron`, only runs and operators probe the check.
    every: Option<Time>,
    /// The same as a line of cron: five fields, or `@hourly` and its like, in the time zone of `[schedule]`.
    cron: Option<String>,
    /// Failed probes in a row before the check alerts. Default: 3.
    max_attempts: Option<u32>,
    /// Between those probes. Default: `every`, and at most `"1m"`.
    retry_interval: Option<Time>,
    /// Checks of the same host: while one of them is not ok, this one does not alert.
    depends_on: Option<OneOrMany>,
    /// A command on the host; its exit status counts.
    run: Option<String>,
    /// A Nagios plugin on the host, or one of files/; with `run`, `true` makes a plugin of it.
    plugin: Option<PluginWords>,
    /// A command on the host that prints a number.
    metric: Option<String>,
    /// An HTTP request through the host's SSH connection.
    http: Option<Http>,
    /// A TCP connection through the host's SSH connection.
    tcp: Option<Tcp>,
    /// A TLS server's certificate; `warning` and `critical` are for the days that are left.
    tls: Option<Tls>,
    /// How the host resolves a name.
    dns: Option<Dns>,
    /// Which process listens on a port.
    port: Option<Listening>,
    /// How many processes run.
    process: Option<Process>,
    /// A service of systemd, OpenRC or SysV.
    service: Option<Service>,
    file: Option<File>,
    /// A log: whether it was written recently, and lines that must or must not appear; `warning` and `critical` are for lines a
    /// minute.
    log: Option<Log>,
    package: Option<Package>,
    /// A file system; `warning` and `critical` are for the used part, in percent.
    disk: Option<Disk>,
    /// The load average.
    load: Option<LoadWords>,
    /// Memory in use, in percent.
    memory: Option<MemoryWords>,
    /// How far the clock is from rollcall's, in seconds.
    clock: Option<bool>,
    /// `metric`: what the number counts: `s`, `%`, `B`.
    unit: Option<String>,
    /// For one probe. Default: `"10s"`.
    timeout: Option<Time>,
    /// Repeats the probe until it succeeds or its time is over. Default: one probe.
    retry: Option<Retry>,
    /// Where the probe runs: `host`, `daemon` (the machine of rollcall), or `group:NAME`, each host of a group.
    /// Default: `host`.
    from: Option<String>,
    /// How a probe without a result counts. Default: `unknown`.
    unknown_is: Option<UnknownIs>,
    /// `run`: the expected exit status. Default: 0.
    exit: Option<u8>,
    /// `run`: the expected output.
    stdout: Option<Stdout>,
    /// A range for the number; outside of it the verdict is warning.
    warning: Option<Value>,
    /// The same for critical, which is tested first.
    critical: Option<Value>,
    /// All hosts must have the same result: those of the `group` of each host, or those of a selector.
    same_across: Option<String>,
    /// The largest distance of a host from the median of all: `10%`.
    within: Option<String>,
    /// A range for the sum over all hosts, or a table of `warning` and `critical`.
    sum: Option<Value>,
    /// The same for the smallest number.
    min: Option<Value>,
    /// The same for the largest number.
    max: Option<Value>,
    /// The same for how many hosts are ok.
    count: Option<Value>,
    /// The host with which all others must agree; or a table of `host`, and `warning` and `critical` for how far
    /// they may be behind.
    leader: Option<Value>,
    /// Which hosts are compared: `group`, the group of each host, or a selector. Default: `group`.
    across: Option<String>,
}

/// How a probe without a result counts.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(dead_code, reason = "only its shape is used")]
pub(super) enum UnknownIs {
    Critical,
    Warning,
    Unknown,
}

/// The command line of a plugin, `true` beside `run`, or one of files/.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its shape is used")]
enum PluginWords {
    Command(String),
    Flag(bool),
    Sent(SentPlugin),
}

/// A plugin of files/: sent to the host once, and kept there.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SentPlugin {
    /// Below files/.
    upload: String,
    /// Its arguments.
    args: Option<String>,
}

/// The expected output of a command.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stdout {
    /// The whole output, without the blanks around it.
    equals: Option<String>,
    contains: Option<String>,
    /// A regular expression.
    matches: Option<String>,
}

/// An HTTP request. `warning` and `critical` of the check are for seconds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Http {
    port: Port,
    /// Default: `/`.
    path: Option<String>,
    /// From where the probe runs. Default: `127.0.0.1`, and the host's address if the probe runs elsewhere.
    address: Option<String>,
    /// The `Host` header. Default: the address.
    host: Option<String>,
    /// Default: `GET`.
    method: Option<String>,
    /// Sent with the request.
    headers: Option<BTreeMap<String, String>>,
    /// The body of the request.
    body: Option<String>,
    /// How many redirects on the same service are followed. Default: 0.
    follow: Option<u32>,
    /// The expected status, or a list of them. Default: 200.
    status: Option<Value>,
    /// A text that the body must contain.
    body_contains: Option<String>,
    /// The same as a regular expression.
    body_matches: Option<String>,
    /// Headers of the answer, and a text that each must contain.
    answers: Option<BTreeMap<String, String>>,
    /// Values within a body that is JSON, by path: `"$.db.state" = "up"`.
    json: Option<BTreeMap<String, Value>>,
    /// What caches may do with the answer.
    cache: Option<Cache>,
    /// HTTPS. Default: `false`.
    tls: Option<bool>,
    /// `false`: any certificate is accepted.
    verify: Option<bool>,
}

/// What caches may do with an answer (RFC 9111).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Cache {
    /// Whether a shared cache may keep it.
    shared: Option<bool>,
    /// A range for how many seconds it is fresh.
    fresh: Option<Value>,
    /// Whether asking again with its validator gets a 304.
    revalidates: Option<bool>,
}

/// A TCP connection. `warning` and `critical` of the check are for seconds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Tcp {
    port: Port,
    /// From where the probe runs. Default: `127.0.0.1`, and the host's address if the probe runs elsewhere.
    address: Option<String>,
    /// Sent after the connection is open.
    send: Option<String>,
    /// A text that the answer must contain.
    banner: Option<String>,
    /// The same as a regular expression.
    banner_matches: Option<String>,
}

/// A TLS server.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Tls {
    port: Port,
    /// From where the probe runs. Default: `127.0.0.1`, and the host's address if the probe runs elsewhere.
    address: Option<String>,
    /// The name of the server (SNI). Default: the address.
    name: Option<String>,
    /// Names that the certificate must contain.
    names: Option<Vec<String>>,
    /// `false`: any authority is accepted.
    verify: Option<bool>,
}

/// A name.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dns {
    name: String,
    /// `A`, `AAAA`; `MX`, `TXT` and others where the host has dig. Default: its addresses.
    record: Option<String>,
    /// The name server, instead of the host's own; needs dig on the host.
    server: Option<String>,
    /// All of the answers, in any order. Default: any answer.
    answers: Option<Vec<String>>,
}

/// Which process listens on a port of the host.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Listening {
    number: Port,
    /// `tcp` or `udp`. Default: `tcp`.
    protocol: Option<String>,
    /// `false`: no process may listen.
    open: Option<bool>,
    /// The address on which a process must listen.
    address: Option<String>,
    /// The name of the process.
    process: Option<String>,
}

/// Processes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Process {
    /// The name of the program.
    name: String,
    user: Option<String>,
    /// An extended regular expression for the command line.
    args: Option<String>,
    /// A range for their number. Default: `"1:"`.
    count: Option<Value>,
}

/// A service.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    name: String,
    /// Default: `true`, unless `enabled` is written.
    running: Option<bool>,
    /// Whether it starts at boot.
    enabled: Option<bool>,
}

/// A file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct File {
    path: String,
    /// `false`: it must not be there.
    exists: Option<bool>,
    newer_than: Option<Time>,
    older_than: Option<Time>,
    /// A range, in bytes.
    size: Option<Value>,
    /// Octal.
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    sha256: Option<String>,
    contains: Option<String>,
    /// A regular expression.
    matches: Option<String>,
}

/// A log. Each probe continues where the last one ended, also if the log was rotated.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Log {
    path: String,
    /// The log must have been written within this time.
    fresh: Option<Time>,
    /// An extended regular expression that a line must match.
    appears: Option<String>,
    /// An extended regular expression that no line may match.
    never: Option<String>,
}

/// A package of apt, rpm or apk.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Package {
    name: String,
    /// `false`: it must not be installed.
    installed: Option<bool>,
    /// The version, or what it begins with: `1.2*`.
    version: Option<String>,
}

/// A file system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Disk {
    /// Any path in it.
    path: String,
    /// `space` or `inodes`. Default: `space`.
    of: Option<String>,
}

/// `true`, or a table.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its shape is used")]
enum LoadWords {
    Flag(bool),
    Table(Load),
}

/// The load average.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Load {
    /// `1m`, `5m` or `15m`. Default: `5m`.
    over: Option<String>,
    /// Divided by the number of processors.
    per_cpu: Option<bool>,
}

/// `true`, or a table.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its shape is used")]
enum MemoryWords {
    Flag(bool),
    Table(Memory),
}

/// Memory, or swap.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Memory {
    /// `memory` or `swap`. Default: `memory`.
    of: Option<String>,
}

/// Repeats a probe.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Retry {
    /// Between two probes. Default: `"1s"`.
    interval: Option<Time>,
    /// No probe starts after this time. Default: `"0s"`, one probe.
    deadline: Option<Time>,
    /// Successful probes in a row that are needed. Default: 1.
    successes: Option<u32>,
}
