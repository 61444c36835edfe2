//! Channels: the ways in which people are told, and what each of them wants to know.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;
use serde_json::Value;

use crate::domain::base::outcome::Verdict;
use crate::domain::value::secret::Secret;
use crate::domain::value::template::{self, Vars};
use crate::domain::watch::alert::Alert;
use crate::domain::watch::subject::{REACHABLE, Subject};

/// What the body of a webhook may say of a message; all of it is text.
pub const WORDS: [&str; 14] = [
    "channel", "key", "thread", "kind", "subject", "text", "verdict", "set", "check", "group", "hosts",
    "count", "at", "since",
];

/// One `[[notify]]` of `rollcall.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub only: Only,
    pub pace: Pace,
    /// What could not be delivered for so long is given up, and the other channels are told.
    pub give_up: Duration,
    pub way: Way,
}

/// What a channel is about; an empty list is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// With the groups below them.
    pub groups: Vec<String>,
    pub checks: Vec<String>,
    pub verdicts: Vec<Verdict>,
}

impl Only {
    /// True when the channel wants to know of this host and check.
    pub fn is_about(&self, alert: &Alert) -> bool {
        let within = |group: &String| {
            alert.group == *group
                || alert.group.strip_prefix(group.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        (self.groups.is_empty() || self.groups.iter().any(within))
            && (self.checks.is_empty() || self.checks.iter().any(|word| names(word, &alert.check)))
    }

    /// True when the channel counts this verdict as trouble.
    pub fn minds(&self, verdict: Verdict) -> bool {
        verdict != Verdict::Ok && (self.verdicts.is_empty() || self.verdicts.contains(&verdict))
    }
}

/// A bare name stands for all checks that have it: a filter that lets too much through is no silence.
fn names(word: &str, subject: &Subject) -> bool {
    match subject {
        Subject::Contact => word == REACHABLE,
        Subject::Check(id) => *word == *id.name || id.is_written(word),
    }
}

/// When a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After the first problem: what fails together is told together.
    pub gather: Duration,
    /// Between two messages on what has become worse, at least.
    pub update_every: Duration,
    /// While it lasts and nobody has acknowledged it.
    pub remind_every: Option<Duration>,
    /// Once a day, at this time: what is open, and what came and went.
    pub digest: Option<Time>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            gather: Duration::from_secs(10),
            update_every: Duration::from_secs(5 * 60),
            remind_every: None,
            digest: None,
        }
    }
}

/// How a message gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Mail(Mail),
    Webhook(Webhook),
    /// A command on the machine of rollcall.
    Command(String),
}

impl Way {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Way::Mail(_) => "mail",
            Way::Webhook(_) => "webhook",
            Way::Command(_) => "command",
        }
    }

    /// Whatever of it never shows.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Way::Mail(Mail { by: Transport::Smtp(smtp), .. }) => {
                smtp.login.iter().map(|(_, secret)| secret).collect()
            }
            Way::Webhook(webhook) => webhook.secret.iter().chain([&webhook.url]).collect(),
            _ => Vec::new(),
        }
    }
}

/// By mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub by: Transport,
}

/// Who carries mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    Smtp(Smtp),
    /// A command that reads the mail as it is sent: `/usr/sbin/sendmail -t -i`.
    Sendmail(String),
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// Whom to trust beside the system's authorities: a file of certificates.
    pub ca: Option<PathBuf>,
}

/// Whether the way to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS, or no mail.
    Starttls,
    /// From the first byte.
    Tls,
    None,
}

/// By HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Whoever knows it can write there, mostly.
    pub url: Secret,
    pub headers: Vec<(String, String)>,
    /// JSON whose strings are templates; without one it is `{"text": ...}`, as Slack and its like read it.
    pub body: Option<Value>,
    /// Signs the body.
    pub secret: Option<Secret>,
    pub ca: Option<PathBuf>,
}

/// The body with every string in it rendered: whatever is in a value, JSON stays JSON.
pub fn fill(body: &Value, words: &Vars) -> Result<Value, String> {
    Ok(match body {
        Value::String(text) => Value::String(template::text(text, words)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, words)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, words)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}
