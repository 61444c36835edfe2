//! The phases of a host in its bracket, and the parts of its plan that a transition needs.

use std::time::Duration;

use jiff::Timestamp;

use super::event::BracketDirection;
use super::health::Health;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{End, Failure};
use crate::domain::plan::plan::{HostPlan, Plan};
use crate::domain::task::task::{Rollout, Step, StepBody};

/// Retries of a task's step that certainly did not start, in spite of its `retries`: nothing
/// was done, and the host may be reachable again in a moment.
const RETRIES_UNBEGUN: u32 = 2;

/// The phase of a host in its bracket.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    #[default]
    Waiting,
    Observing,
    /// Due to be drained, or to start if it has no balancer. The way back starts here for a host that
    /// is in rotation with the new release.
    Ready {
        way: BracketDirection,
        /// It waits for room.
        crowded: Option<Crowded>,
    },
    Draining {
        way: BracketDirection,
        /// It has waited for room before.
        crowded: Option<Crowded>,
    },
    /// Step `step` is due, not before `not_before`; `running` once its intent is written.
    Working {
        way: BracketDirection,
        step: usize,
        attempt: u32,
        running: bool,
        not_before: Option<Timestamp>,
    },
    /// A step or the gate failed on this way; the run has to decide how to continue.
    Failed {
        way: BracketDirection,
        failure: Failure,
    },
    /// Nothing more can be done to it in this run: it has to be settled with this end.
    Ending {
        end: End,
        why: String,
    },
    /// The last step is done.
    Gating {
        way: BracketDirection,
        gate: Gate,
    },
    /// Due to be enabled, not before `not_before`.
    Verified {
        way: BracketDirection,
        tries: Tries,
        not_before: Option<Timestamp>,
        /// When its gate passed; `None` if it has none, or if an attempt to enable it has failed.
        gated_at: Option<Timestamp>,
    },
    Enabling {
        way: BracketDirection,
        tries: Tries,
    },
    /// Back in rotation; the checks after the last batch are due (`None`), running, or done.
    Serving {
        way: BracketDirection,
        roll: Option<RotationChecks>,
        /// It counts on the way forward only.
        health: Health,
    },
    Settled {
        end: End,
        why: String,
    },
}

/// The checks of a host in rotation: those while other hosts are under way, and the one after the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationChecks {
    Watching,
    Running,
    Done,
}

/// The parts of a host's plan that a transition needs.
pub struct Route<'a> {
    pub rollout: &'a Rollout,
    pub forward: usize,
    pub back: usize,
    pub retries: u32,
    /// Retries of an attempt that certainly did not start.
    pub retries_unbegun: u32,
    pub delay: Duration,
    pub warn_only: bool,
    pub repeatable: bool,
    /// The name under which later steps find the result.
    pub register: Option<&'a str>,
    /// The result is the facts of the host.
    pub gathers: bool,
    pub drains: bool,
    pub gated: bool,
    /// An earlier run holds it.
    pub held: bool,
    /// No further host starts: the results so far are final.
    pub halted: bool,
    /// The expected release is already on record for the host; its link should point to this.
    pub stays_at: Option<Option<String>>,
}

/// The steps of a host on one way through its bracket.
pub fn steps_of(host: &HostPlan, way: BracketDirection) -> &[Step] {
    if way == BracketDirection::Back { &host.rollback } else { &host.steps }
}

impl<'a> Route<'a> {
    /// The parts for a host in this phase.
    pub(super) fn of(plan: &'a Plan, name: &HostName, phase: &Phase) -> Route<'a> {
        let host = plan.hosts.get(name);
        let step = host.and_then(|host| match phase {
            Phase::Working { way: BracketDirection::Back, step, .. } => host.rollback.get(*step),
            Phase::Working { step, .. } => host.steps.get(*step),
            _ => host.steps.first(),
        });
        Route {
            rollout: &plan.rollout,
            forward: host.map_or(0, |host| host.steps.len()),
            back: host.map_or(0, |host| host.rollback.len()),
            retries: step.map_or(0, |step| step.retries),
            retries_unbegun: match plan.task() {
                Some(_) => step.map_or(0, |step| step.retries).max(RETRIES_UNBEGUN),
                None => 0,
            },
            delay: step.map_or_else(Default::default, |step| step.delay),
            warn_only: step.is_some_and(|step| step.warn_only),
            repeatable: step.is_some_and(|step| step.repeatable),
            register: step.and_then(|step| step.register.as_deref()),
            gathers: step.is_some_and(|step| matches!(step.body, StepBody::Facts { .. })),
            drains: host.is_some_and(|host| host.balancer.is_some()),
            gated: host.is_some_and(|host| !host.checks.is_empty()),
            held: host.is_some_and(|host| host.held),
            halted: false,
            stays_at: host
                .filter(|host| host.current)
                .map(|host| host.steps.iter().find_map(|step| step.body.link()).map(|(to, _)| to)),
        }
    }

    /// True when the observed link shows that there is nothing to deploy.
    pub(super) fn is_there(&self, previous: Option<&str>) -> bool {
        match &self.stays_at {
            Some(Some(target)) => previous == Some(target),
            Some(None) => self.gated,
            None => false,
        }
    }
}

impl Phase {
    /// True while the balancer must not send requests to a host with a debt; observations are compared
    /// with this. A held host stays out of rotation until the run ends, too.
    pub fn stays_out(&self) -> bool {
        matches!(
            self,
            Phase::Working { .. }
                | Phase::Failed { .. }
                | Phase::Gating { .. }
                | Phase::Verified { .. }
                | Phase::Settled { .. }
        )
    }
}

/// The checks before a host is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    Due,
    Running,
    /// Nothing was found out, for this reason: an operator is asked how to continue.
    Inconclusive(String),
}

/// Attempts to enable a host that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    pub failed: u32,
    /// One of them may have enabled it without confirmation.
    pub maybe_back: bool,
}

/// Whether a host is out of rotation, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drained {
    /// This run has not drained it, or has enabled it again.
    #[default]
    No,
    /// The debt: this run has drained it, or may have.
    ByRun(Forgotten),
    /// It was already drained by another run or person, and is left so.
    ByOther,
}

/// Whether the balancer has forgotten a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forgotten {
    #[default]
    No,
    /// The balancer sent requests to it while it was in its bracket: it has to be drained again.
    Seen,
    /// The host is being drained again.
    Redraining,
}

/// A host that waits for room: other hosts have to be in service again before it may be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    pub since: Timestamp,
    /// When the drain is retried, unless another host is enabled sooner.
    pub retry_at: Timestamp,
}
