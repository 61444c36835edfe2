//! `[[notify]]` of `rollcall.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::parts::{OneOrMany, Time};

/// A channel of notification. It has one of `mail`, `webhook` and `command`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Notify {
    /// Unique; `notify test NAME` sends a message through it.
    name: String,
    mail: Option<NotifyMail>,
    webhook: Option<NotifyWebhook>,
    /// A command on the machine of the daemon: the message is its standard input, the fields are in `ROLLCALL_*`.
    command: Option<String>,
    /// Which alerts it sends. Default: all.
    only: Option<NotifyOnly>,
    /// How long to collect problems after the first one, for one message. Default: `"10s"`.
    gather: Option<Time>,
    /// The shortest time between two updates about hosts that were already reported; a new host or a worse verdict alerts at
    /// once. Default: `"5m"`.
    update_every: Option<Time>,
    /// The time between reminders while an incident is open and not acknowledged. Default: no reminders.
    remind_every: Option<Time>,
    /// A time of day, in the time zone of `[schedule]`, for a list of open incidents and of those that ended. Default: no digest.
    digest: Option<String>,
    /// A message that could not be delivered for this long is abandoned, and the other channels report that. Default: `"72h"`.
    give_up: Option<Time>,
}

/// Which alerts a channel sends; an absent key selects all.
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
    /// `"starttls"` (no mail without it), `"tls"` from the first byte, or `"none"`. Default: `"starttls"`.
    tls: Option<NotifyTls>,
    /// Needs `password_file`.
    user: Option<String>,
    /// The file with the password, in one line.
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
    /// This or `url_file`.
    url: Option<String>,
    /// The file with the URL, if it is a secret.
    url_file: Option<String>,
    /// Further headers.
    headers: Option<BTreeMap<String, String>>,
    /// JSON whose texts are templates. Default: `{"text": ...}`, as Slack, Mattermost and others read it.
    body: Option<serde_json::Value>,
    /// The file with the key that signs the body: `X-Rollcall-Signature: sha256=...`.
    secret_file: Option<String>,
    /// Certificates to trust beside the system's: a file in PEM.
    ca: Option<String>,
}
