//! `checks/*.toml`.

use schemars::JsonSchema;
use serde_json::Value;

use super::{OneOrMany, Port, Time};

/// A set of checks, named after the file: groups name it in `checks`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Checks {
    check: Vec<Check>,
    /// For all checks of the set that say nothing else. Looked at again and again, so long after one another. Without it and `cron` a check is done by runs and on demand only.
    every: Option<Time>,
    /// The same as a line of cron: five fields, or `@hourly` and its like, in the time zone of `[schedule]`.
    cron: Option<String>,
    /// Looks in a row that are not ok before it is told. Default: 3.
    max_attempts: Option<u32>,
    /// Between those looks. Default: `every`, and at most `"1m"`.
    retry_interval: Option<Time>,
    /// Checks of the same host: while one of them is not ok, this one is not told.
    depends_on: Option<OneOrMany>,
}

/// A condition on a host: one of `run`, `http` and `tcp`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Check {
    /// What is told when it is not met.
    name: String,
    /// A command on the host; its exit status counts.
    run: Option<String>,
    /// An HTTP GET through the host's SSH connection.
    http: Option<Http>,
    /// A TCP connection through the host's SSH connection.
    tcp: Option<Tcp>,
    /// For one look. Default: `"10s"`.
    timeout: Option<Time>,
    /// How often to look before the verdict stands. Default: one look.
    retry: Option<Retry>,
    /// `run`: the exit status that is right. Default: 0.
    exit: Option<u8>,
    /// `run`: what the command has to print.
    stdout: Option<Stdout>,
    /// `run`: a range in Nagios' syntax for the first number printed; outside of it the verdict is warning.
    warning: Option<Value>,
    /// `run`: the same for critical; tested first.
    critical: Option<Value>,
    /// Looked at again and again, so long after one another. Without it and `cron` a check is done by runs and on demand only.
    every: Option<Time>,
    /// The same as a line of cron: five fields, or `@hourly` and its like, in the time zone of `[schedule]`.
    cron: Option<String>,
    /// Looks in a row that are not ok before it is told. Default: 3.
    max_attempts: Option<u32>,
    /// Between those looks. Default: `every`, and at most `"1m"`.
    retry_interval: Option<Time>,
    /// Checks of the same host: while one of them is not ok, this one is not told.
    depends_on: Option<OneOrMany>,
}

/// What a command has to print.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stdout {
    /// All of it, blanks around it aside.
    equals: Option<String>,
    contains: Option<String>,
    /// A regular expression.
    matches: Option<String>,
}

/// An HTTP GET.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Http {
    port: Port,
    /// Default: `/`.
    path: Option<String>,
    /// As seen from the host. Default: `127.0.0.1`.
    address: Option<String>,
    /// The `Host` header. Default: the address.
    host: Option<String>,
    /// The status that is right. Default: 200.
    status: Option<u16>,
    /// What the body has to hold.
    body_contains: Option<String>,
    /// The same as a regular expression.
    body_matches: Option<String>,
}

/// A TCP connection.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Tcp {
    port: Port,
    /// As seen from the host. Default: `127.0.0.1`.
    address: Option<String>,
}

/// How often to look before the verdict stands.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Retry {
    /// Between two looks. Default: `"1s"`.
    interval: Option<Time>,
    /// No look begins after this much time. Default: `"0s"`, one look.
    deadline: Option<Time>,
    /// Good looks in a row that are wanted. Default: 1.
    successes: Option<u32>,
}
