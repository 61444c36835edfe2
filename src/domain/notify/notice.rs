//! Notices: what people are told, before it is put into words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::outcome::Verdict;
use crate::domain::watch::subject::Subject;

/// One message, for one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// No two messages of a channel have the same one.
    pub key: String,
    pub at: Timestamp,
    pub what: What,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum What {
    Incident(Box<About>),
    Digest {
        open: Vec<Ended>,
        past: Vec<Ended>,
        left_out: usize,
    },
    /// Another channel could not deliver.
    GaveUp {
        channel: String,
        count: usize,
        why: String,
    },
    /// Watching has failed inside rollcall, and starts again from the stored state.
    WatchingFailed,
    /// An operator asked whether messages arrive.
    Test {
        by: String,
    },
}

/// Why an incident is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    Opened,
    /// Grown or worse.
    Update,
    Reminder,
    Acknowledged,
    Recovered,
    /// Nobody is told any more, and it is as bad as it was: a downtime, or nobody looks any more.
    Silenced,
}

/// An incident, as it stood when the message was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub kind: NoticeKind,
    /// The same for all messages on it.
    pub thread: String,
    /// No message on it came before this one.
    pub first: bool,
    #[serde(flatten)]
    pub check: Subject,
    pub group: String,
    pub since: Timestamp,
    /// The worst that there is; ok when it is over.
    pub verdict: Verdict,
    /// Those in trouble; all that were when it is over.
    pub hosts: String,
    pub count: usize,
    /// Hosts of the group; 0 where that is not known.
    pub of: usize,
    /// One of them, for whoever wants to look.
    pub example: String,
    pub seen: Vec<Seen>,
    /// Hosts whose text is not among `seen`.
    pub not_shown: usize,
    /// Since the last message: in trouble, ..., and so on; folded.
    pub new: String,
    pub recovered: String,
    pub dropped: String,
    pub acknowledged: Vec<Acknowledged>,
}

impl About {
    /// The key of the first message on it.
    pub fn first_key(&self) -> String {
        format!("{}.1", self.thread)
    }
}

/// What was seen alike on some hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub hosts: String,
    pub verdict: Verdict,
    pub flapping: bool,
    pub text: String,
}

/// Hosts of which somebody knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub hosts: String,
    pub by: String,
    pub why: String,
}

/// An incident as a line of a digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    #[serde(flatten)]
    pub check: Subject,
    pub group: String,
    pub hosts: String,
    pub verdict: Verdict,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}
