//! The phases of a host in its bracket, and the parts of its plan that a transition needs.

use std::time::Duration;

use jiff::Timestamp;

use super::event::Way;
use crate::domain::base::outcome::{End, Failure};
use crate::domain::task::task::Rollout;

/// The phase of a host in its bracket.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    #[default]
    Waiting,
    Observing,
    /// Due to be drained, or to start if it has no balancer. The way back starts here for a host that
    /// is in rotation with the new release.
    Ready {
        way: Way,
    },
    Draining {
        way: Way,
    },
    /// Step `step` is due, not before `not_before`; `running` once its intent is written.
    Working {
        way: Way,
        step: usize,
        attempt: u32,
        running: bool,
        not_before: Option<Timestamp>,
    },
    /// A step or the gate failed on this way; the run has to decide how to continue.
    Failed {
        way: Way,
        failure: Failure,
    },
    /// Nothing more can be done to it in this run: it has to be settled with this end.
    Ending {
        end: End,
        why: String,
    },
    /// The last step is done; the gate is due or running.
    Gating {
        way: Way,
        running: bool,
    },
    /// Due to be enabled, not before `not_before`.
    Verified {
        way: Way,
        not_before: Option<Timestamp>,
    },
    Enabling {
        way: Way,
    },
    /// Back in rotation; the checks after the last batch are due (`None`), running, or done.
    Serving {
        way: Way,
        roll: Option<Roll>,
    },
    Settled {
        end: End,
        why: String,
    },
}

/// The checks of a host in rotation: those while other hosts are under way, and the one after the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
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
    pub looks: bool,
    pub drains: bool,
    pub gated: bool,
    /// An earlier run holds it.
    pub held: bool,
    /// No further host starts: the results so far are final.
    pub halted: bool,
    /// The expected release is already on record for the host; its link should point to this.
    pub stays_at: Option<Option<String>>,
}

impl Route<'_> {
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

/// Whether the balancer has forgotten a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forgotten {
    #[default]
    No,
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
