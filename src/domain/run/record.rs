//! What is known beyond one run: debts, and the list of runs. Folded from events by the store.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::RunOutcome;
use crate::domain::plan::plan::Kind;

/// One line of `runs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    pub run: RunId,
    pub title: String,
    #[serde(skip)]
    pub kind: Kind,
    pub by: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<RunOutcome>,
    /// Where: who may not see them all does not see the run.
    #[serde(skip)]
    pub hosts: Vec<HostName>,
}

/// "Host H is drained in balancer B by run R": open until paid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Debt {
    pub host: HostName,
    pub balancer: String,
    pub run: RunId,
    pub by: String,
    pub since: Timestamp,
    /// Where the run left the host, once it has.
    pub why: String,
}
