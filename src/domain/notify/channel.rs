//! Channels: how people are notified, and what each channel is notified of.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use serde_json::Value;

use super::run_news::RunMoment;
use crate::domain::ask::hours::Hours;
use crate::domain::base::outcome::Verdict;
use crate::domain::value::secret::Secret;
use crate::domain::value::template::{self, Vars};
use crate::domain::watch::alert::Alert;
use crate::domain::watch::subject::{REACHABLE, Subject};

/// The fields of a message that the body of a webhook may use; all of them are texts.
pub const WORDS: [&str; 15] = [
    "channel", "key", "thread", "kind", "subject", "text", "verdict", "set", "check", "group", "hosts",
    "count", "at", "since", "run",
];

/// One `[[notify]]` of `rollcall.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub only: Only,
    /// The moments of runs that it sends; an empty list is none.
    pub runs: Vec<RunMoment>,
    pub pace: Pace,
    /// A message that could not be delivered for this long is abandoned, and the other channels are notified.
    pub give_up: Duration,
    pub way: Transport,
}

/// The filter of a channel; an empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Groups, with the groups below them.
    pub groups: Vec<String>,
    pub checks: Vec<String>,
    /// Of messages about runs.
    pub tasks: Vec<String>,
    pub verdicts: Vec<Verdict>,
}

impl Only {
    /// True when the filter matches this host and check.
    pub fn is_about(&self, alert: &Alert) -> bool {
        let within = |group: &String| {
            alert.group == *group
                || alert.group.strip_prefix(group.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        (self.groups.is_empty() || self.groups.iter().any(within))
            && (self.checks.is_empty() || self.checks.iter().any(|word| names(word, &alert.check)))
    }

    /// True when the filter matches a task; runs without a task match none.
    pub fn is_about_task(&self, task: Option<&str>) -> bool {
        self.tasks.is_empty() || task.is_some_and(|task| self.tasks.iter().any(|known| known == task))
    }

    /// True when the channel counts this verdict as a problem.
    pub fn minds(&self, verdict: Verdict) -> bool {
        verdict != Verdict::Ok && (self.verdicts.is_empty() || self.verdicts.contains(&verdict))
    }
}

/// A bare name matches all checks that have it: a filter that matches too much silences nothing.
fn names(word: &str, subject: &Subject) -> bool {
    match subject {
        Subject::Contact => word == REACHABLE,
        Subject::Check(id) => *word == *id.name || id.is_written(word),
    }
}

/// When a channel sends messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The wait after the first problem: problems within it are batched into one message.
    pub gather: Duration,
    /// The shortest interval between two messages about hosts that have been reported already. A new host or a worse
    /// verdict does not wait for it.
    pub update_every: Duration,
    /// The interval of reminders while a problem lasts and is not acknowledged.
    pub remind_every: Option<Duration>,
    /// The time of the daily digest: open incidents, and those that started and ended since the last digest.
    pub digest: Option<Time>,
    /// An escalation: how long a problem is open and not acknowledged before the channel reports it.
    pub after: Option<Duration>,
    /// The channel is silent at other times.
    pub hours: Option<Hours>,
}

impl Pace {
    pub const DEFAULT: Pace = Pace {
        gather: Duration::from_secs(10),
        update_every: Duration::from_secs(5 * 60),
        remind_every: None,
        digest: None,
        after: None,
        hours: None,
    };

    /// True when the channel may send.
    pub fn may_send(&self, now: Timestamp) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(now))
    }

    /// The first time from `from` on at which it may send.
    pub fn may_send_from(&self, from: Timestamp) -> Timestamp {
        self.hours.as_ref().map_or(from, |hours| hours.next(from))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Pace::DEFAULT
    }
}

/// How a message is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    Mail(Mail),
    Webhook(Webhook),
    /// A command on the daemon's machine.
    Command(String),
}

impl Transport {
    /// The word for the transport.
    pub fn word(&self) -> &'static str {
        match self {
            Transport::Mail(_) => "mail",
            Transport::Webhook(_) => "webhook",
            Transport::Command(_) => "command",
        }
    }

    /// The secrets in it, which are never printed.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Transport::Mail(Mail { by: Mailer::Smtp(smtp), .. }) => {
                smtp.login.iter().map(|(_, secret)| secret).collect()
            }
            Transport::Webhook(webhook) => webhook.secret.iter().chain([&webhook.url]).collect(),
            _ => Vec::new(),
        }
    }
}

/// By mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub by: Mailer,
}

/// What sends mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mailer {
    Smtp(Smtp),
    /// A command that reads the mail from its input: `/usr/sbin/sendmail -t -i`.
    Sendmail(String),
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// A file of certificates to trust in addition to the system's authorities.
    pub ca: Option<PathBuf>,
}

/// Whether the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// STARTTLS; without it no mail is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
    None,
}

/// By HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Secret, because most services accept messages from every sender that knows it.
    pub url: Secret,
    pub headers: Vec<(String, String)>,
    /// JSON whose strings are templates; without it the body is `{"text": ...}`, which Slack and others read.
    pub body: Option<Value>,
    /// The key that signs the body.
    pub secret: Option<Secret>,
    pub ca: Option<PathBuf>,
}

/// The body with every string in it rendered: no value can break the JSON.
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
