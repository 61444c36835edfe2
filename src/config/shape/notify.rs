//! `[[notify]]` of `rollcall.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::parts::{OneOrMany, Time};

/// A channel: how people are told of trouble. It has one of `mail`, `webhook` and `command`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Notify {
    /// Unique; `notify test NAME` sends a message through it.
    name: String,
    mail: Option<NotifyMail>,
    webhook: Option<NotifyWebhook>,
    /// A command on the machine of the daemon: the text is on its standard input, the words are in `ROLLCALL_*`.
    command: Option<String>,
    /// What it is about. Default: everything.
    only: Option<NotifyOnly>,
    /// After the first problem: what fails together is told together. Default: `"10s"`.
    gather: Option<Time>,
    /// Between two messages about hosts that were reported already, at least; a new host or a worse verdict does not wait.
    /// Default: `"5m"`.
    update_every: Option<Time>,
    /// While it lasts and nobody has acknowledged it. Default: no reminders.
    remind_every: Option<Time>,
    /// A time of day, in the time zone of `[schedule]`: what is open, and what came and went. Default: no digest.
    digest: Option<String>,
    /// What could not be delivered for so long is given up, and the other channels are told. Default: `"72h"`.
    give_up: Option<Time>,
}

/// What a channel is about; what is absent means everything.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NotifyOnly {
    /// With the groups below them: `"prod"`, `"prod.web"`.
    groups: Option<OneOrMany>,
    /// Names of checks, bare or as `set/name`; `"reachable"` for the host itself.
    checks: Option<OneOrMany>,
    /// `"warning"`, `"critical"`, `"unknown"`.
    verdicts: Option<OneOrMany>,
}

/// By mail.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NotifyMail {
    from: String,
    to: OneOrMany,
    /// The mail server, as `host` or `host:port`. Default port: 25, and 465 with `tls = "tls"`.
    smtp: Option<String>,
    /// `"starttls"`, or no mail; `"tls"` from the first byte; `"none"`. Default: `"starttls"`.
    tls: Option<NotifyTls>,
    /// Belongs together with `password_file`.
    user: Option<String>,
    /// Holds the password, in one line.
    password_file: Option<String>,
    /// Certificates to trust beside the system's: a file in PEM.
    ca: Option<String>,
    /// Instead of a server: a command that reads the mail. Default without `smtp`: `/usr/sbin/sendmail -t -i`.
    sendmail: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum NotifyTls {
    Starttls,
    Tls,
    None,
}

/// By HTTP: JSON, posted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NotifyWebhook {
    /// Either this or `url_file`.
    url: Option<String>,
    /// Holds the URL, where that is a secret.
    url_file: Option<String>,
    /// Further headers.
    headers: Option<BTreeMap<String, String>>,
    /// JSON whose texts are templates. Default: `{"text": ...}`, as Slack, Mattermost and others read it.
    body: Option<serde_json::Value>,
    /// Holds the key that signs the body: `X-Rollcall-Signature: sha256=...`.
    secret_file: Option<String>,
    /// Certificates to trust beside the system's: a file in PEM.
    ca: Option<String>,
}
