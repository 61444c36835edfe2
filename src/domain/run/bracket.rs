//! One host in a run: its phase in the bracket, and what it owes. `apply.rs` has what an event changes.

mod apply;
mod balancer;

use std::collections::BTreeMap;

use super::event::BracketDirection;
pub use super::phase::{Crowded, Drained, Forgotten, Gate, Phase, RotationChecks, Route, Tries};
use crate::domain::base::outcome::{End, Failure};
use crate::domain::check::check::CheckResult;
use crate::domain::value::template::Vars;

/// One host in a run. What belongs to one phase only is in [`Phase`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostState {
    phase: Phase,
    /// Whether it is out of rotation, and by whom.
    drained: Drained,
    /// An operator has written its debt off.
    written_off: bool,
    /// A step changed the host, or may have.
    changed: bool,
    /// The target of the link before the run; a rollback leads back to it.
    previous: Option<String>,
    /// The first failure; it counts against the budget.
    failure: Option<Failure>,
    checks: Vec<CheckResult>,
    /// The results of the forward steps that have started, by index.
    did: BTreeMap<usize, Did>,
    /// The results that steps have registered, by name.
    results: Vars,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub changed: bool,
    /// It has changed something, or may have.
    pub touched: bool,
    /// The next step may start.
    pub good: bool,
}

/// An event does not fit the state of the host or of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

/// Refuses an event unless `fits`.
pub(super) fn must(fits: bool) -> Result<(), Unfit> {
    if fits { Ok(()) } else { Err(Unfit) }
}

impl HostState {
    /// A host that any run may have drained: this run only enables it.
    pub(super) fn to_enable() -> HostState {
        HostState {
            drained: Drained::ByRun(Forgotten::No),
            phase: Phase::Verified {
                way: BracketDirection::Return,
                tries: Tries::default(),
                not_before: None,
                gated_at: None,
            },
            ..HostState::default()
        }
    }

    /// A host that this run only drains: no release is read before.
    pub(super) fn to_drain() -> HostState {
        HostState {
            phase: Phase::Ready { way: BracketDirection::Forward, crowded: None },
            ..HostState::default()
        }
    }

    /// The phase of its bracket.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// How it ended and why; `None` while it is under way.
    pub fn settled(&self) -> Option<(End, &str)> {
        match &self.phase {
            Phase::Settled { end, why } => Some((*end, why)),
            _ => None,
        }
    }

    /// How it ended; `None` while it is under way.
    pub fn end(&self) -> Option<End> {
        self.settled().map(|(end, _)| end)
    }

    /// The debt: this run has drained it, or may have, and has not enabled it yet.
    pub fn is_owed(&self) -> bool {
        matches!(self.drained, Drained::ByRun(_))
    }

    /// True when an operator has written its debt off: it was out of rotation then.
    pub fn is_written_off(&self) -> bool {
        self.written_off
    }

    /// True when it was already drained by another run or person.
    pub fn is_foreign(&self) -> bool {
        self.drained == Drained::ByOther
    }

    /// Whether the balancer has forgotten the drain of this run.
    pub fn forgotten(&self) -> Forgotten {
        match self.drained {
            Drained::ByRun(forgotten) => forgotten,
            Drained::No | Drained::ByOther => Forgotten::No,
        }
    }

    /// True when a step changed the host, or may have.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The target of the link before the run.
    pub fn previous(&self) -> Option<&str> {
        self.previous.as_deref()
    }

    /// The first failure; it counts against the budget.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The latest results of its checks.
    pub fn checks(&self) -> &[CheckResult] {
        &self.checks
    }

    /// The result of a forward step; nothing if it has not started.
    pub fn did(&self, step: usize) -> Did {
        self.did.get(&step).copied().unwrap_or_default()
    }

    /// True when a forward step has changed something.
    pub fn did_change(&self) -> bool {
        self.did.values().any(|did| did.changed)
    }

    /// The results that steps have registered, by name.
    pub fn results(&self) -> &Vars {
        &self.results
    }

    /// Its drain was refused because too few hosts would have been left in service.
    pub fn crowded(&self) -> Option<Crowded> {
        match self.phase {
            Phase::Ready { crowded, .. } | Phase::Draining { crowded, .. } => crowded,
            _ => None,
        }
    }

    /// True when it is healthy in rotation with the new release.
    pub fn is_healthy(&self) -> bool {
        matches!(&self.phase, Phase::Serving { health, .. } if health.healthy)
    }

    /// True when an attempt to enable it has failed, and the next one is due.
    pub fn was_refused(&self) -> bool {
        matches!(&self.phase, Phase::Verified { tries, .. } if tries.failed > 0)
    }

    /// The way that the host is on.
    pub fn way(&self) -> BracketDirection {
        match self.phase {
            Phase::Ready { way, .. }
            | Phase::Draining { way, .. }
            | Phase::Working { way, .. }
            | Phase::Failed { way, .. }
            | Phase::Gating { way, .. }
            | Phase::Verified { way, .. }
            | Phase::Enabling { way, .. }
            | Phase::Serving { way, .. } => way,
            Phase::Waiting | Phase::Observing | Phase::Ending { .. } | Phase::Settled { .. } => {
                BracketDirection::Forward
            }
        }
    }

    /// True while no step has changed the host or can have.
    pub fn is_untouched(&self) -> bool {
        let running = matches!(self.phase, Phase::Working { running: true, .. });
        let beginning = matches!(
            self.phase,
            Phase::Working { way: BracketDirection::Forward, .. }
                | Phase::Failed { way: BracketDirection::Forward, .. }
                | Phase::Verified { way: BracketDirection::Return, .. }
        );
        beginning && !running && !self.changed
    }
}

/// A mistake on purpose: tests show that the invariants notice it.
#[cfg(test)]
impl HostState {
    pub(super) fn forget_debt(&mut self) {
        self.drained = Drained::No;
    }
}
