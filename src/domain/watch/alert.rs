//! Alerts: changes to report to people. They are written in the transaction of the state that they report,
//! and notification reads them from there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::watch::subject::Subject;

/// A hard change of one check on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub at: Timestamp,
    /// The time of the first probe with the present verdict, as `why` prints it; earlier builds did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    pub host: HostName,
    /// The group of the host, as `prod.web`.
    pub group: String,
    #[serde(flatten)]
    pub check: Subject,
    pub change: AlertChange,
    /// The observation in words.
    pub text: String,
}

/// The kind of change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum AlertChange {
    /// Hard: not ok for `max_attempts` probes; or hard before with another verdict. Never `ok`.
    Problem { verdict: Verdict },
    /// Ok again after a hard problem.
    Recovery,
    /// It changes too often to report each change; problems and recoveries are not reported until this ends.
    FlappingStarted,
    /// Its verdict is stable again.
    FlappingEnded { verdict: Verdict },
    /// An operator acknowledged it: no further problem of it is reported until it recovers.
    Acknowledged { by: String, why: String },
    /// No longer watched: the host or the check left the configuration, or a downtime started.
    Dropped,
}
