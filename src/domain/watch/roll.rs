//! The roll: how everything that is watched stands at one moment. A value for screens, `status` and `metrics`; the
//! state that it is taken from is in `roster`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::subject::{REACHABLE, Subject};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::id::CheckId;

/// Everything that is watched, hosts in the order of the inventory, checks in that of their host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Roll {
    pub lines: Vec<Line>,
    pub pace: Pace,
}

/// One check on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub host: HostName,
    /// The group of the host, as `prod.web`.
    pub group: String,
    #[serde(flatten)]
    pub check: Subject,
    /// What was seen last; `None` until it was looked at for the first time.
    pub verdict: Option<Verdict>,
    /// Seen as often as it takes to be believed; a problem that is not is soft.
    pub hard: bool,
    /// Looks in a row that were not ok, up to `max_attempts`; 0 while it is ok.
    pub attempt: u32,
    pub max_attempts: u32,
    /// Since when it has this verdict.
    pub since: Option<Timestamp>,
    /// What was seen last, in one line.
    pub text: String,
    /// When the last look ended.
    pub last_at: Option<Timestamp>,
    /// How long it took.
    pub took_ms: u64,
    /// Numbers that were measured, the one that was judged first.
    pub readings: Vec<Reading>,
    /// When it was ok for the last time, and what was seen then.
    pub last_ok: Option<(Timestamp, String)>,
    pub flapping: bool,
    pub ack: Option<Ack>,
    /// Why nothing of it is told.
    pub quiet: Option<Quiet>,
    /// When it is to be looked at next.
    pub next_at: Option<Timestamp>,
}

impl Line {
    /// True for what is not ok: unknown is a problem of its own.
    pub fn is_problem(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != Verdict::Ok)
    }
}

/// An operator's word that a problem is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    pub by: String,
    pub why: String,
    pub at: Timestamp,
}

/// Why nothing is told of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Quiet {
    /// An operator's downtime, by its number.
    Downtime { id: u64, by: String, why: String, until: Timestamp },
    /// A run has the host in its hands.
    InHand { run: RunId },
    /// It hangs on something that is not ok: the host, its jump host, or a check that it depends on.
    DependsOn { on: String },
}

/// How well the schedule is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pace {
    /// Looks that were taken since the start.
    pub looks: u64,
    /// Looks that are being taken.
    pub in_flight: usize,
    /// Looks that are due and wait for their turn.
    pub waiting: usize,
    /// How late looks began, in the last minutes: the latest, and the 99th of 100.
    pub late_max_ms: u64,
    pub late_p99_ms: u64,
    /// Changes that the store has not taken yet.
    pub unstored: usize,
}

/// A time in which nothing is told of hosts, or of one check of theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Downtime {
    pub id: u64,
    pub by: String,
    pub key: String,
    pub why: String,
    /// As the operator wrote it; which hosts these are was decided then.
    pub selector: String,
    pub hosts: Vec<HostName>,
    #[serde(flatten)]
    pub of: Covered,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// What of a host a downtime is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "CoveredForm", into = "CoveredForm")]
pub enum Covered {
    All,
    Contact,
    Set(String),
    Check(CheckId),
    /// A check or a set, as an earlier build kept what an operator had written.
    Word(String),
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct CoveredForm {
    #[serde(default)]
    set: Option<String>,
    #[serde(default)]
    check: Option<String>,
}

impl From<CoveredForm> for Covered {
    fn from(CoveredForm { set, check }: CoveredForm) -> Covered {
        match (set, check) {
            (None, None) => Covered::All,
            (Some(set), None) => Covered::Set(set),
            (Some(set), Some(check)) => Covered::Check(CheckId::new(&set, &check)),
            (None, Some(word)) if word == REACHABLE => Covered::Contact,
            (None, Some(word)) => Covered::Word(word),
        }
    }
}

impl From<Covered> for CoveredForm {
    fn from(covered: Covered) -> CoveredForm {
        let (set, check) = match covered {
            Covered::All => (None, None),
            Covered::Contact => (None, Some(REACHABLE.into())),
            Covered::Set(set) => (Some(set), None),
            Covered::Check(id) => (Some(id.set.to_string()), Some(id.name.to_string())),
            Covered::Word(word) => (None, Some(word)),
        };
        CoveredForm { set, check }
    }
}

impl Covered {
    /// True when the downtime holds for it.
    pub fn covers(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (Covered::All, _) | (Covered::Contact, Subject::Contact) => true,
            (Covered::Set(set), Subject::Check(id)) => **set == *id.set,
            (Covered::Check(covered), Subject::Check(id)) => covered == id,
            (Covered::Word(word), Subject::Check(id)) => {
                **word == *id.name || **word == *id.set || id.is_written(word)
            }
            (_, Subject::Contact) | (Covered::Contact, Subject::Check(_)) => false,
        }
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Covered::All => f.write_str("all"),
            Covered::Contact => f.write_str(REACHABLE),
            Covered::Set(word) | Covered::Word(word) => f.write_str(word),
            Covered::Check(id) => id.fmt(f),
        }
    }
}

/// One look, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub at: Timestamp,
    pub verdict: Verdict,
    /// The number that was judged; `None` where nothing was measured.
    pub value: Option<f64>,
    pub took_ms: u64,
    /// The run that looked; `None` for the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A change that is kept longer than looks are, with its words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub at: Timestamp,
    pub verdict: Verdict,
    pub hard: bool,
    /// What was seen, or what an operator said.
    pub text: String,
    /// What it is beyond a verdict: `flapping`, `acknowledged by ann`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that looked; `None` for the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// What is kept of one check on one host, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    #[serde(flatten)]
    pub check: Subject,
    pub samples: Vec<Sample>,
    pub changes: Vec<Changed>,
}
