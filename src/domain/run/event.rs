//! Events: the durable, ordered facts of a run. Their JSON form is the journal's and the wire's, so a
//! field may be added but never renamed: old journals must keep loading.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, Failure, Outcome, RunOutcome};
use crate::domain::base::output::Output;
use crate::domain::base::request::RequestKey;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::task::hook::Hook;

/// One fact. `seq` has no gaps within the store and orders everything. `at` is shown to people, and
/// "not before", deadlines and health are measured with it; it never decides order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    pub run: RunId,
    pub at: Timestamp,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The way a host is going through its bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BracketDirection {
    Forward,
    /// Through its rollback steps.
    Back,
    /// Drained but untouched: it is only enabled again.
    Return,
    /// Already on the release, as far as is known: it is only checked, in rotation.
    Stay,
}

/// Which of a host's checks ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before it is enabled.
    Gate,
    /// In rotation again, while other hosts are in their bracket.
    Watch,
    /// After the last batch, or on demand.
    Roll,
}

/// The kinds of events as the journal writes them.
pub const EVENT_TYPES: [&str; 31] = [
    "run-started",
    "batch-started",
    "observe-started",
    "observed",
    "observe-failed",
    "drain-started",
    "drain-ended",
    "step-started",
    "step-ended",
    "step-skipped",
    "checks-started",
    "checks-ended",
    "snapshot-started",
    "snapshot-ended",
    "rollback-started",
    "enable-started",
    "enable-ended",
    "host-settled",
    "drain-forgotten",
    "redrain-started",
    "redrain-ended",
    "stopped",
    "paused",
    "resumed",
    "approved",
    "recovered",
    "debt-settled",
    "cancel-requested",
    "hook-started",
    "hook-ended",
    "run-ended",
];

/// What allowed a run, and what it was planned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGrant {
    /// The rule that granted the command: `role operator`.
    pub rule: String,
    /// The row of the command in the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<u64>,
    /// The digest of the configuration that it was planned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The request of a program that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKey>,
}

/// The kinds of events. Names ending in `Started` are intents: they are in the journal before the effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    RunStarted {
        title: String,
        by: String,
        key: String,
        plan_sha256: String,
        /// Events of earlier builds lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<Box<RunGrant>>,
    },
    BatchStarted {
        batch: usize,
        hosts: Vec<HostName>,
    },
    /// Connects, and reads the present release.
    ObserveStarted {
        host: HostName,
    },
    /// `previous` is the target of the link, if it exists.
    /// `in_rotation` is the balancer's answer; it is asked only about hosts that may be on the release.
    Observed {
        host: HostName,
        previous: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_rotation: Option<bool>,
    },
    ObserveFailed {
        host: HostName,
        failure: Failure,
    },
    /// From here on the hosts are debts.
    DrainStarted {
        balancer: String,
        hosts: Vec<HostName>,
    },
    DrainEnded {
        balancer: String,
        hosts: Vec<HostName>,
        change: Change,
    },
    StepStarted {
        host: HostName,
        way: BracketDirection,
        step: usize,
        name: String,
        attempt: u32,
    },
    StepEnded {
        host: HostName,
        way: BracketDirection,
        step: usize,
        name: String,
        attempt: u32,
        outcome: Outcome,
        stdout: Output,
        stderr: Output,
        took_ms: u64,
        /// The exit status, if the outcome does not contain it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u32>,
    },
    /// The step had nothing to do; or, if `failed`, it can no longer be done.
    StepSkipped {
        host: HostName,
        way: BracketDirection,
        step: usize,
        name: String,
        why: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    ChecksStarted {
        host: HostName,
        stage: Stage,
    },
    ChecksEnded {
        host: HostName,
        stage: Stage,
        results: Vec<CheckResult>,
    },
    /// These hosts, and those that they are compared with, are probed together.
    SnapshotStarted {
        snapshot: usize,
        #[serde(flatten)]
        check: CheckId,
        hosts: Vec<HostName>,
    },
    /// `results` has the order of `hosts`. All probes were made within
    /// `spread_ms`.
    SnapshotEnded {
        snapshot: usize,
        #[serde(flatten)]
        check: CheckId,
        hosts: Vec<HostName>,
        results: Vec<CheckResult>,
        spread_ms: u64,
    },
    RollbackStarted {
        host: HostName,
        why: String,
    },
    EnableStarted {
        balancer: String,
        hosts: Vec<HostName>,
    },
    EnableEnded {
        balancer: String,
        hosts: Vec<HostName>,
        change: Change,
    },
    HostSettled {
        host: HostName,
        end: End,
        why: String,
    },
    /// The balancer sends requests to hosts that are in their bracket: a person or a reload has
    /// enabled them.
    DrainForgotten {
        balancer: String,
        hosts: Vec<HostName>,
    },
    /// They are drained again; their debts are already open.
    RedrainStarted {
        balancer: String,
        hosts: Vec<HostName>,
    },
    RedrainEnded {
        balancer: String,
        hosts: Vec<HostName>,
        change: Change,
    },
    /// The budget is spent: no further host starts.
    Stopped {
        why: String,
    },
    /// No further host starts until the run is resumed; hosts in their bracket finish it.
    Paused(Pause),
    Resumed {
        by: String,
        key: String,
        why: String,
    },
    /// The approval holds only for the plan with this hash.
    Approved {
        by: String,
        key: String,
        plan_sha256: String,
    },
    /// Rollcall has restarted after it ended in the middle of the run.
    Recovered {
        away_ms: u64,
        then: Then,
        why: String,
    },
    /// An operator settles a debt that a run has left.
    DebtSettled {
        host: HostName,
        balancer: String,
        by: String,
        key: String,
        reason: String,
        /// The balancer sends requests to it; if false, the debt is written off.
        in_rotation: bool,
    },
    CancelRequested {
        by: String,
        /// The fingerprint of the operator's key: names need not be unique.
        #[serde(default)]
        key: String,
        now: bool,
    },
    HookStarted {
        hook: Hook,
        step: usize,
        name: String,
    },
    HookEnded {
        hook: Hook,
        step: usize,
        name: String,
        outcome: Outcome,
        stdout: Output,
        stderr: Output,
        took_ms: u64,
    },
    RunEnded {
        outcome: RunOutcome,
        /// Its commands were given input, which is not kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        had_input: bool,
    },
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    pub why: String,
    /// The operator, or `rollcall` if it pauses by itself.
    pub by: String,
    pub key: String,
    pub until: PausedUntil,
    /// The step that asks for the approval, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// The end of a pause. `resume N` ends every pause except one that waits for an approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedUntil {
    Resumed,
    /// The bake time is over.
    Time(Timestamp),
    Approved,
    /// Rollcall is stopping: the next start ends the pause.
    Restart,
}

/// How a run continues that was open when rollcall started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    GoesOn,
    Pauses,
    Stops,
    RollsBack,
}

/// A balancer driver's report about an attempt to change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Change {
    /// Proven: the change is in effect. `foreign` are hosts that were drained by others; they are left
    /// as they are in both directions. `kept` are hosts that a drain left in service
    /// because too few would have been left without them; an enable keeps none.
    Done {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        foreign: Vec<HostName>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<HostName>,
        note: String,
    },
    /// Proven: nothing was changed.
    Refused { why: String },
    /// The change may be in effect or not.
    Unknown { why: String },
}

impl Change {
    /// Done for every requested host.
    pub fn done(note: impl Into<String>) -> Change {
        Change::Done { foreign: vec![], kept: vec![], note: note.into() }
    }
}

impl EventKind {
    /// The host of the event, if it concerns a single one.
    pub fn host(&self) -> Option<&HostName> {
        use EventKind::*;
        match self {
            ObserveStarted { host }
            | Observed { host, .. }
            | ObserveFailed { host, .. }
            | StepStarted { host, .. }
            | StepEnded { host, .. }
            | StepSkipped { host, .. }
            | ChecksStarted { host, .. }
            | ChecksEnded { host, .. }
            | RollbackStarted { host, .. }
            | HostSettled { host, .. }
            | DebtSettled { host, .. } => Some(host),
            RunStarted { .. }
            | BatchStarted { .. }
            | DrainStarted { .. }
            | DrainEnded { .. }
            | EnableStarted { .. }
            | EnableEnded { .. }
            | SnapshotStarted { .. }
            | SnapshotEnded { .. }
            | DrainForgotten { .. }
            | RedrainStarted { .. }
            | RedrainEnded { .. }
            | Stopped { .. }
            | Paused(..)
            | Resumed { .. }
            | Approved { .. }
            | Recovered { .. }
            | CancelRequested { .. }
            | HookStarted { .. }
            | HookEnded { .. }
            | RunEnded { .. } => None,
        }
    }

    /// The hosts of the event, one or many.
    pub fn hosts(&self) -> &[HostName] {
        use EventKind::*;
        match self {
            BatchStarted { hosts, .. }
            | DrainStarted { hosts, .. }
            | DrainEnded { hosts, .. }
            | EnableStarted { hosts, .. }
            | EnableEnded { hosts, .. }
            | SnapshotStarted { hosts, .. }
            | SnapshotEnded { hosts, .. }
            | DrainForgotten { hosts, .. }
            | RedrainStarted { hosts, .. }
            | RedrainEnded { hosts, .. } => hosts,
            ObserveStarted { host }
            | Observed { host, .. }
            | ObserveFailed { host, .. }
            | StepStarted { host, .. }
            | StepEnded { host, .. }
            | StepSkipped { host, .. }
            | ChecksStarted { host, .. }
            | ChecksEnded { host, .. }
            | RollbackStarted { host, .. }
            | HostSettled { host, .. }
            | DebtSettled { host, .. } => std::slice::from_ref(host),
            RunStarted { .. }
            | Stopped { .. }
            | Paused(..)
            | Resumed { .. }
            | Approved { .. }
            | Recovered { .. }
            | CancelRequested { .. }
            | HookStarted { .. }
            | HookEnded { .. }
            | RunEnded { .. } => &[],
        }
    }

    /// The operation id of an attempt: `<run>/<host>/<step>/<attempt>`, derived from the journal alone.
    pub fn operation(&self, run: RunId) -> Option<String> {
        let EventKind::StepStarted { host, way, step, attempt, .. } = self else { return None };
        Some(operation_id(run, host, *way, *step, *attempt))
    }
}

/// The operation id of one attempt. Rollback steps are numbered `b0`, `b1`, ...
pub fn operation_id(run: RunId, host: &HostName, way: BracketDirection, step: usize, attempt: u32) -> String {
    let back = if way == BracketDirection::Back { "b" } else { "" };
    format!("{run}/{host}/{back}{step}/{attempt}")
}

/// The operation id of a hook's step. No host name starts with `@`.
pub fn hook_id(run: RunId, hook: Hook, step: usize) -> String {
    format!("{run}/@{}/{step}/1", hook.word())
}

/// A line that a host prints while a step runs. Unlike an event it may be dropped, and is never stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub host: HostName,
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_types_of_events_are_listed() {
        let error = serde_json::from_str::<EventKind>("{\"type\":\"\"}").unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, EVENT_TYPES, "{error}");
    }
}
