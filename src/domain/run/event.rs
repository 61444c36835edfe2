//! Events: the durable, ordered facts of a run. Their JSON form is the journal's and the wire's, so a
//! field may be added but never renamed: old journals must keep loading.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, Failure, Outcome, RunOutcome};
use crate::domain::base::output::Output;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::task::hook::Hook;

/// One fact. `seq` has no gaps within the store and orders everything. `at` is what people read, and what
/// "not before", deadlines and health are counted from; never what comes first.
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
pub enum Way {
    Forward,
    /// Through its rollback steps.
    Back,
    /// Drained, but nothing was done to it: it is only put back.
    Return,
    /// On the release already, as far as is known: it is only looked at, in rotation.
    Stay,
}

/// Which of a host's checks ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before it is enabled.
    Gate,
    /// In rotation again, while others are under way.
    Watch,
    /// After the last batch, or on demand.
    Roll,
}

/// What happened. Names ending in `Started` are intents: they are in the journal before the effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    RunStarted {
        title: String,
        by: String,
        key: String,
        plan_sha256: String,
    },
    BatchStarted {
        batch: usize,
        hosts: Vec<HostName>,
    },
    /// Contact is made and the present release looked up.
    ObserveStarted {
        host: HostName,
    },
    /// `previous` is what the link pointed to, if it pointed to something that exists.
    /// `in_rotation` is what its balancer said, where it was asked: of hosts that may be on the release.
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
        way: Way,
        step: usize,
        name: String,
        attempt: u32,
    },
    StepEnded {
        host: HostName,
        way: Way,
        step: usize,
        name: String,
        attempt: u32,
        outcome: Outcome,
        stdout: Output,
        stderr: Output,
        took_ms: u64,
        /// The exit status, where the outcome does not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u32>,
    },
    /// There was nothing to do for it; or, where `failed`, it cannot be done any more.
    StepSkipped {
        host: HostName,
        way: Way,
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
    /// These hosts, and those that they are compared with, are looked at together.
    SnapshotStarted {
        snapshot: usize,
        #[serde(flatten)]
        check: CheckId,
        hosts: Vec<HostName>,
    },
    /// `results` are those of `hosts`, in their order. All looks lie within
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
    /// The balancer was found to send requests to hosts that are in their bracket: somebody, or a
    /// reload, has put them back.
    DrainForgotten {
        balancer: String,
        hosts: Vec<HostName>,
    },
    /// They are taken out again; the debts are open since before.
    RedrainStarted {
        balancer: String,
        hosts: Vec<HostName>,
    },
    RedrainEnded {
        balancer: String,
        hosts: Vec<HostName>,
        change: Change,
    },
    /// The budget is spent: no further host begins.
    Stopped {
        why: String,
    },
    /// No further host begins until it is resumed; hosts in their bracket finish it.
    Paused(Pause),
    Resumed {
        by: String,
        key: String,
        why: String,
    },
    /// Whoever approves does so for the plan with this hash and no other.
    Approved {
        by: String,
        key: String,
        plan_sha256: String,
    },
    /// Rollcall is back after it had ended in the middle of the run.
    Recovered {
        away_ms: u64,
        then: Then,
        why: String,
    },
    /// An operator says what became of a debt that a run has left.
    DebtSettled {
        host: HostName,
        balancer: String,
        by: String,
        key: String,
        reason: String,
        /// The balancer was seen to send requests to it; otherwise it is written off.
        in_rotation: bool,
    },
    CancelRequested {
        by: String,
        /// The fingerprint of their key: names need not be unique.
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
    },
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    pub why: String,
    /// The operator; `rollcall` where it pauses by itself.
    pub by: String,
    pub key: String,
    pub until: PausedUntil,
    /// The step that asks for the approval, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// What ends a pause. `resume N` ends each of them but the wait for an approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedUntil {
    Resumed,
    /// The bake time is over.
    Time(Timestamp),
    Approved,
    /// Rollcall is stopping: the next start ends it.
    Restart,
}

/// How a run that rollcall has found open goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    GoesOn,
    Pauses,
    Stops,
    RollsBack,
}

/// What a balancer driver says about an attempt to change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Change {
    /// Proven: the balancer runs with it. `foreign` are hosts that somebody else has taken out; they are
    /// left as they are, whichever way they were to go. `kept` are hosts that a drain left in service,
    /// because too few would have been left without them; an enable keeps none.
    Done {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        foreign: Vec<HostName>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<HostName>,
        note: String,
    },
    /// Proven: nothing is changed.
    Refused { why: String },
    /// It may be so or not.
    Unknown { why: String },
}

impl Change {
    /// Done to every host that was asked for.
    pub fn done(note: impl Into<String>) -> Change {
        Change::Done { foreign: vec![], kept: vec![], note: note.into() }
    }
}

impl EventKind {
    /// The host that the event is about, if it is about one.
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

    /// The hosts that the event is about, one or many.
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
            other => other.host().map_or(&[], std::slice::from_ref),
        }
    }

    /// The operation id of an attempt: `<run>/<host>/<step>/<attempt>`, derived from the journal alone.
    pub fn operation(&self, run: RunId) -> Option<String> {
        let EventKind::StepStarted { host, way, step, attempt, .. } = self else { return None };
        Some(operation_id(run, host, *way, *step, *attempt))
    }
}

/// The operation id of one attempt. Rollback steps are numbered `b0`, `b1`, ...
pub fn operation_id(run: RunId, host: &HostName, way: Way, step: usize, attempt: u32) -> String {
    let back = if way == Way::Back { "b" } else { "" };
    format!("{run}/{host}/{back}{step}/{attempt}")
}

/// The operation id of a hook's step. No host is called so.
pub fn hook_id(run: RunId, hook: Hook, step: usize) -> String {
    format!("{run}/@{}/{step}/1", hook.word())
}

/// The droppable cousin of an event: a line that a host printed, while it does. Never stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub host: HostName,
    pub line: String,
}
