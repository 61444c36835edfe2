//! A host in a run and its balancer: drained, drained again, and enabled.

use std::time::Duration;

use jiff::Timestamp;

use super::{Crowded, Drained, Forgotten, HostState, Phase, Route, Tries, Unfit, must};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{End, Failure, FailureKind};
use crate::domain::run::event::{BracketDirection, Change};
use crate::domain::run::health::Health;

/// Attempts to enable a host before the run holds it. The retries bridge a balancer host that is
/// unreachable for a moment.
const ENABLE_TRIES: u32 = 4;

/// The pause before the second attempt; each further pause is four times as long.
const ENABLE_PAUSE: Duration = Duration::from_secs(2);

/// How long a host waits for room before rollcall asks the balancer again: other runs and operators
/// make room, too, and no event of this run reports that.
const CROWDED_PAUSE: Duration = Duration::from_secs(10);

impl HostState {
    pub(super) fn drain_started(&mut self) -> Result<(), Unfit> {
        let Phase::Ready { way, crowded } = self.phase else { return Err(Unfit) };
        self.drained = Drained::ByRun(Forgotten::No);
        self.phase = Phase::Draining { way, crowded };
        Ok(())
    }

    pub(super) fn drain_ended(
        &mut self,
        name: &HostName,
        at: Timestamp,
        change: &Change,
        steps: &Route<'_>,
    ) -> Result<(), Unfit> {
        let Phase::Draining { way, crowded } = self.phase else { return Err(Unfit) };
        match change {
            Change::Done { kept, .. } if kept.contains(name) => {
                self.drained = Drained::No;
                let since = crowded.map_or(at, |crowded| crowded.since);
                let retry_at = at.checked_add(CROWDED_PAUSE).unwrap_or(at);
                self.phase = Phase::Ready { way, crowded: Some(Crowded { since, retry_at }) };
            }
            Change::Done { foreign, .. } => {
                let ours = Drained::ByRun(Forgotten::No);
                self.drained = if foreign.contains(name) { Drained::ByOther } else { ours };
                self.phase = self.step_due(way, 0, steps);
            }
            Change::Refused { why } => {
                self.drained = Drained::No;
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                // On its way back it is still in rotation, with the new release.
                let end = if way == BracketDirection::Back { End::Failing } else { End::NotStarted };
                self.phase = Phase::Ending { end, why: why.clone() };
            }
            // It may be drained, and is certainly untouched: enabling it shows whether it is in rotation.
            Change::Unknown { why } => {
                self.fail(Failure { kind: FailureKind::Balancer, why: why.clone() });
                self.phase = match steps.held || way == BracketDirection::Back {
                    true => Phase::Ending { end: End::Unknown, why: why.clone() },
                    false => Phase::Verified {
                        way: BracketDirection::Return,
                        tries: Tries::default(),
                        not_before: None,
                        gated_at: None,
                    },
                };
            }
        }
        Ok(())
    }

    pub(super) fn drain_forgotten(&mut self) -> Result<(), Unfit> {
        must(self.drained == Drained::ByRun(Forgotten::No) && self.phase.stays_out())?;
        self.drained = Drained::ByRun(Forgotten::Seen);
        Ok(())
    }

    pub(super) fn redrain_started(&mut self) -> Result<(), Unfit> {
        must(self.drained == Drained::ByRun(Forgotten::Seen))?;
        self.drained = Drained::ByRun(Forgotten::Redraining);
        Ok(())
    }

    /// The second drain after the balancer forgot the first. If it fails, the host serves within its bracket:
    /// that is reported and counts as a failure. The bracket continues, since stopping would not help.
    pub(super) fn redrain_ended(&mut self, name: &HostName, change: &Change) -> Result<(), Unfit> {
        must(self.drained == Drained::ByRun(Forgotten::Redraining))?;
        self.drained = Drained::ByRun(Forgotten::No);
        let why = match change {
            Change::Refused { why } | Change::Unknown { why } => why.as_str(),
            Change::Done { kept, .. } if kept.contains(name) => "too few would be left in service",
            Change::Done { .. } => return Ok(()),
        };
        let why =
            format!("the balancer sends it requests in its bracket, and cannot take it out again: {why}");
        self.fail(Failure { kind: FailureKind::Balancer, why });
        Ok(())
    }

    pub(super) fn enable_started(&mut self) -> Result<(), Unfit> {
        must(self.drained == Drained::ByRun(Forgotten::No))?;
        let untouched = self.is_untouched();
        let way = if untouched { BracketDirection::Return } else { self.way() };
        let tries = match self.phase {
            Phase::Verified { tries, .. } => tries,
            // Drained but untouched: it may be enabled as it is.
            Phase::Working { .. } | Phase::Failed { way: BracketDirection::Forward, .. } if untouched => {
                Tries::default()
            }
            _ => return Err(Unfit),
        };
        self.phase = Phase::Enabling { way, tries };
        Ok(())
    }

    pub(super) fn enable_ended(
        &mut self,
        name: &HostName,
        at: Timestamp,
        change: &Change,
    ) -> Result<(), Unfit> {
        let Phase::Enabling { way, mut tries } = self.phase else { return Err(Unfit) };
        match change {
            Change::Done { foreign, .. } if foreign.contains(name) => {
                self.not_taken_back(End::Held, "another person took it out in the meantime; it stays out");
            }
            Change::Done { .. } => {
                self.drained = Drained::No;
                self.phase = Phase::Serving { way, roll: None, health: Health::default() };
            }
            Change::Refused { .. } | Change::Unknown { .. } if tries.failed + 1 < ENABLE_TRIES => {
                let pause = ENABLE_PAUSE * 4u32.pow(tries.failed);
                tries.failed += 1;
                tries.maybe_back |= matches!(change, Change::Unknown { .. });
                self.phase =
                    Phase::Verified { way, tries, not_before: at.checked_add(pause).ok(), gated_at: None };
            }
            // The host is where the drain left it, which may be unknown.
            Change::Refused { why } if self.drain_is_unknown() || tries.maybe_back => {
                self.not_taken_back(End::Unknown, why)
            }
            Change::Refused { why } => self.not_taken_back(End::Held, why),
            Change::Unknown { why } => self.not_taken_back(End::Unknown, why),
        }
        Ok(())
    }

    /// Until this point only a drain with an unknown result sets a balancer failure on a host that continues.
    fn drain_is_unknown(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Balancer)
    }

    fn not_taken_back(&mut self, end: End, why: &str) {
        self.fail(Failure { kind: FailureKind::Balancer, why: why.into() });
        self.phase = Phase::Ending { end, why: format!("the balancer did not take it back: {why}") };
    }

    /// There may be room now: a drain that was refused is due at this time.
    pub(in crate::domain::run) fn retry_drain_at(&mut self, at: Timestamp) {
        if let Some(crowded) = self.crowded_mut() {
            crowded.retry_at = at;
        }
    }

    /// The wait for room begins again at this time.
    pub(in crate::domain::run) fn wait_for_room_since(&mut self, at: Timestamp) {
        if let Some(crowded) = self.crowded_mut() {
            *crowded = Crowded { since: at, retry_at: at };
        }
    }

    fn crowded_mut(&mut self) -> Option<&mut Crowded> {
        match &mut self.phase {
            Phase::Ready { crowded, .. } | Phase::Draining { crowded, .. } => crowded.as_mut(),
            _ => None,
        }
    }

    /// An operator has settled its debt, or has written it off. One that is written off can still be settled, with the
    /// proof that the host is in rotation.
    pub(in crate::domain::run) fn settle_debt(&mut self, in_rotation: bool) -> Result<(), Unfit> {
        must(self.is_owed() || (self.written_off && in_rotation))?;
        self.drained = Drained::No;
        self.written_off = !in_rotation;
        Ok(())
    }
}
