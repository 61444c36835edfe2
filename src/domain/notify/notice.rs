//! Notices: messages to people, before they are rendered as text.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::run_news::{RunMoment, RunNews};
use crate::domain::base::outcome::Verdict;
use crate::domain::watch::subject::Subject;

/// One message, for one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Unique among the messages of a channel.
    pub key: String,
    pub at: Timestamp,
    pub what: NoticeContent,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum NoticeContent {
    Incident(Box<About>),
    Digest {
        open: Vec<EndedIncident>,
        past: Vec<EndedIncident>,
        left_out: usize,
    },
    /// A moment of a run.
    Run(Box<RunNews>),
    /// Moments of many runs.
    Runs {
        counts: Vec<(RunMoment, usize)>,
        news: Vec<RunNews>,
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
    /// An operator tests whether messages arrive.
    Test {
        by: String,
    },
}

/// Why a message about an incident is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    Opened,
    /// More hosts, or worse.
    Update,
    Reminder,
    Acknowledged,
    Recovered,
    /// No further message follows although the problem was not resolved: a downtime, or it is no longer watched.
    Silenced,
}

/// An incident, as it was when the message was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub kind: NoticeKind,
    /// The same for all messages about it.
    pub thread: String,
    /// True for the first message about it.
    pub first: bool,
    #[serde(flatten)]
    pub check: Subject,
    pub group: String,
    pub since: Timestamp,
    /// The worst verdict; ok when the incident is over.
    pub verdict: Verdict,
    /// The hosts with a problem; when the incident is over, all hosts that had one.
    pub hosts: String,
    pub count: usize,
    /// The number of hosts in the group; 0 if unknown.
    pub of: usize,
    /// One of the hosts, for the command that the message suggests.
    pub example: String,
    pub seen: Vec<SharedObservation>,
    /// Hosts whose text is not among `seen`.
    pub not_shown: usize,
    /// Changes since the last message: hosts with a new problem, recovered hosts, and so on; folded.
    pub new: String,
    pub recovered: String,
    pub dropped: String,
    pub acknowledged: Vec<Acknowledged>,
    /// Of an escalation: since when a host has a problem that is not acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Timestamp>,
}

impl About {
    /// The key of the first message about it.
    pub fn first_key(&self) -> String {
        format!("{}.1", self.thread)
    }
}

/// An observation that some hosts share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedObservation {
    pub hosts: String,
    pub verdict: Verdict,
    pub flapping: bool,
    pub text: String,
}

/// Hosts whose problem was acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub hosts: String,
    pub by: String,
    pub why: String,
}

/// An incident as a line of a digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedIncident {
    #[serde(flatten)]
    pub check: Subject,
    pub group: String,
    pub hosts: String,
    pub verdict: Verdict,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}
