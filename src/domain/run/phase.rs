//! Where a host is in its bracket, and what a transition has to know of its plan.

use std::time::Duration;

use jiff::Timestamp;

use super::event::Way;
use crate::domain::base::outcome::{End, Failure};
use crate::domain::task::task::Rollout;

/// Where a host is in its bracket.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    #[default]
    Waiting,
    Observing,
    /// Wants to be drained, or, without a balancer, to begin. The way back begins here for a host that
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
    /// A step or the gate failed on this way; what to do about it is to be decided.
    Failed {
        way: Way,
        failure: Failure,
    },
    /// Nothing more can be done to it in this run: it is to be settled like this.
    Ending {
        end: End,
        why: String,
    },
    /// The last step is done; the gate is due or running.
    Gating {
        way: Way,
        running: bool,
    },
    /// Wants to be enabled, not before `not_before`.
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

/// The looks at a host in rotation: those while others are under way, and the one after the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    Watching,
    Running,
    Done,
}

/// What a transition has to know of the host's plan.
pub struct Route<'a> {
    pub rollout: &'a Rollout,
    pub forward: usize,
    pub back: usize,
    pub retries: u32,
    /// The same where an attempt certainly did not begin.
    pub retries_unbegun: u32,
    pub delay: Duration,
    pub warn_only: bool,
    pub repeatable: bool,
    /// The name by which later steps know the result.
    pub register: Option<&'a str>,
    /// The result are the facts of the host.
    pub looks: bool,
    pub drains: bool,
    pub gated: bool,
    /// An earlier run holds it.
    pub held: bool,
    /// No further host begins: what is found out now is what there is.
    pub halted: bool,
    /// The release that it wants is the one on record for it; the link then points to this.
    pub stays_at: Option<Option<String>>,
}

impl Route<'_> {
    /// True when what was looked up shows that there is nothing to deploy.
    pub(super) fn is_there(&self, previous: Option<&str>) -> bool {
        match &self.stays_at {
            Some(Some(target)) => previous == Some(target),
            Some(None) => self.gated,
            None => false,
        }
    }
}

impl Phase {
    /// True while the balancer must not send requests to a host that is owed: what a look is compared
    /// with. A host that is held stays out for as long as the run lasts, too.
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

/// Whether the balancer still knows that a host is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forgotten {
    #[default]
    No,
    Seen,
    /// It is being taken out again.
    Redraining,
}

/// A host that waits for room: others have to be back in service before it may be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    pub since: Timestamp,
    /// When it is tried again, unless somebody is back sooner.
    pub retry_at: Timestamp,
}
