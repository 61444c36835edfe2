//! Records that outlive one run: debts, and the list of runs. The store folds them from events.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::RunOutcome;
use crate::domain::plan::plan::RunKind;

/// One line of `runs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    pub run: RunId,
    pub title: String,
    #[serde(skip)]
    pub kind: RunKind,
    pub by: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<RunOutcome>,
    /// The hosts of the run: an operator who may not see all of them does not see the run.
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
    /// The end state of the host in the run, once it has ended there.
    pub why: String,
    /// An operator accepts that the host stays out of rotation. The debt is listed until it is proven to be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_off: Option<WrittenOff>,
}

/// The operator who wrote a debt off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WrittenOff {
    pub by: String,
    pub at: Timestamp,
    pub reason: String,
}

impl Debt {
    /// True while a person or a run has to do something about it.
    pub fn is_open(&self) -> bool {
        self.written_off.is_none()
    }
}
