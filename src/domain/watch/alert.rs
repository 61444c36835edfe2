//! Alerts: what changed for the people who are to be told. They are written in the transaction of the state
//! that they tell of, and whoever tells people reads them from there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::watch::subject::Subject;

/// A hard change of one check on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub at: Timestamp,
    pub host: HostName,
    /// The group of the host, as `prod.web`.
    pub group: String,
    #[serde(flatten)]
    pub check: Subject,
    pub change: AlertChange,
    /// What was seen.
    pub text: String,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum AlertChange {
    /// Hard: not ok for as often as it may be; or hard before, and another verdict by now. Never `ok`.
    Problem { verdict: Verdict },
    /// Ok again after a hard problem.
    Recovery,
    /// It changes too often to tell each change; until it ends, nothing else is told of it.
    FlappingStarted,
    /// It keeps to this verdict now.
    FlappingEnded { verdict: Verdict },
    /// An operator knows: nothing further is told until it recovers.
    Acknowledged { by: String, why: String },
    /// Nobody asks any more: the host or the check has left the configuration, or a downtime began.
    Dropped,
}
