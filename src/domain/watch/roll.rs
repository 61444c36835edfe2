//! The roll: the state of all watched checks at one moment. A value for screens, `status` and `metrics`,
//! computed from `roster`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::subject::{REACHABLE, Subject};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::id::CheckId;

/// All watched checks: hosts in the order of the inventory, checks in the order of their host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Roll {
    pub lines: Vec<CheckLine>,
    pub pace: ScheduleHealth,
}

/// One check on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckLine {
    pub host: HostName,
    /// The group of the host, as `prod.web`.
    pub group: String,
    #[serde(flatten)]
    pub check: Subject,
    /// The last observed verdict; `None` before the first probe.
    pub verdict: Option<Verdict>,
    /// Confirmed by enough probes; an unconfirmed problem is soft.
    pub hard: bool,
    /// Probes in a row that were not ok, up to `max_attempts`; 0 while it is ok.
    pub attempt: u32,
    pub max_attempts: u32,
    /// The time of the first probe with this verdict.
    pub since: Option<Timestamp>,
    /// The last observation, in one line.
    pub text: String,
    /// When the last probe ended.
    pub last_at: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The measured numbers; the first one is the judged one.
    pub readings: Vec<Reading>,
    /// When it was ok for the last time, and the observation then.
    pub last_ok: Option<(Timestamp, String)>,
    pub flapping: bool,
    pub ack: Option<Ack>,
    /// Why it causes no alerts.
    pub quiet: Option<Quiet>,
    /// When the next probe is due.
    pub next_at: Option<Timestamp>,
}

impl CheckLine {
    /// True for every verdict except ok: unknown is a problem, too.
    pub fn is_problem(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != Verdict::Ok)
    }
}

/// An operator's acknowledgement of a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    pub by: String,
    pub why: String,
    pub at: Timestamp,
}

/// Why a check causes no alerts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Quiet {
    /// An operator's downtime, by its number.
    Downtime { id: u64, by: String, why: String, until: Timestamp },
    /// A run is working on the host.
    InHand { run: RunId },
    /// It depends on something that is not ok: the host, its jump host, or another check.
    DependsOn { on: String },
}

/// How well the schedule is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScheduleHealth {
    /// Probes since the start.
    pub probes: u64,
    /// Probes under way.
    pub in_flight: usize,
    /// Probes that are due and wait for their turn.
    pub waiting: usize,
    /// How late probes started in the last minutes: the maximum, and the 99th percentile.
    pub late_max_ms: u64,
    pub late_p99_ms: u64,
    /// Changes that are not in the store yet.
    pub unstored: usize,
}

/// A time without alerts for hosts, or for one check of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Downtime {
    pub id: u64,
    pub by: String,
    pub key: String,
    pub why: String,
    /// As the operator wrote it; its hosts were resolved at that time.
    pub selector: String,
    pub hosts: Vec<HostName>,
    #[serde(flatten)]
    pub of: Covered,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// The checks of a host that a downtime covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "CoveredForm", into = "CoveredForm")]
pub enum Covered {
    All,
    Contact,
    Set(String),
    Check(CheckId),
    /// A check or a set as an operator wrote it, from records of an earlier build.
    Word(String),
}

/// The stored form.
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
    /// True when the downtime covers it.
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

/// One probe, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub at: Timestamp,
    pub verdict: Verdict,
    /// The judged number; `None` if nothing was measured.
    pub value: Option<f64>,
    pub took_ms: u64,
    /// The run that probed; `None` for the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A change, with its words; changes are kept longer than probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub at: Timestamp,
    pub verdict: Verdict,
    pub hard: bool,
    /// The observation, or the operator's words.
    pub text: String,
    /// An addition to the verdict: `flapping`, `acknowledged by ann`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that probed; `None` for the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// The stored record of one check on one host, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    #[serde(flatten)]
    pub check: Subject,
    pub samples: Vec<Sample>,
    pub changes: Vec<Changed>,
}
