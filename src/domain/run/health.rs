//! Whether a host stays healthy after it returned to rotation: Nomad's time gates, and the checks of
//! hosts in rotation while later batches run. Pure; time comes from events.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::base::outcome::Verdict;
use crate::domain::task::task::Rollout;

/// Unknown verdicts in a row after which a healthy host has failed. Fewer of them are
/// trouble of the probe, not of the host (Argo's `consecutiveErrorLimit` is 4).
const BLIND_LOOKS: u32 = 3;

/// Bounds of the interval between checks of a host that is not healthy yet: a quarter of `min_healthy_time`.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// The health of a host since it returned to rotation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    enabled_at: Option<Timestamp>,
    /// Every check since then passed.
    good_since: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    blind: u32,
    /// Ok for `min_healthy_time`: the next batch may start.
    pub healthy: bool,
    /// Not healthy by `healthy_deadline`; or, after it was healthy, critical, or unknown too often in a row.
    pub failed: bool,
}

impl Health {
    /// True once the host is in rotation again.
    pub fn has_begun(&self) -> bool {
        self.enabled_at.is_some()
    }

    /// The host was enabled after its gate passed.
    pub fn begin(&mut self, at: Timestamp, rollout: &Rollout) {
        *self = Health {
            enabled_at: Some(at),
            good_since: Some(at),
            looked_at: Some(at),
            healthy: rollout.min_healthy_time.is_zero(),
            ..Health::default()
        };
    }

    /// Records a check. Returns true if this check fails the host.
    pub fn looked(&mut self, at: Timestamp, verdict: Verdict, rollout: &Rollout) -> bool {
        self.looked_at = Some(at);
        if verdict.passes() {
            self.blind = 0;
            let since = *self.good_since.get_or_insert(at);
            self.healthy |= passed(since, at, rollout.min_healthy_time);
            return false;
        }
        self.good_since = None;
        self.blind = if verdict == Verdict::Unknown { self.blind + 1 } else { 0 };
        let too_late = self.enabled_at.is_some_and(|since| passed(since, at, rollout.healthy_deadline));
        let was_well = self.healthy && (verdict == Verdict::Critical || self.blind >= BLIND_LOOKS);
        let fails = !self.failed && (was_well || (!self.healthy && too_late));
        self.failed |= fails;
        fails
    }

    /// When the next check is due; `None` if no further one is.
    pub fn next_probe(&self, rollout: &Rollout, has_checks: bool) -> Option<Timestamp> {
        let last = self.looked_at.filter(|_| !self.failed)?;
        if self.healthy {
            return (has_checks && !rollout.watch.is_zero()).then(|| after(last, rollout.watch)).flatten();
        }
        let interval = (rollout.min_healthy_time / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let regular = after(last, interval);
        // The check that can make the host healthy runs no later than `min_healthy_time` allows.
        let decisive = self.good_since.and_then(|since| after(since, rollout.min_healthy_time));
        [regular, decisive.filter(|time| *time > last)].into_iter().flatten().min()
    }
}

fn after(time: Timestamp, span: Duration) -> Option<Timestamp> {
    time.checked_add(span).ok()
}

fn passed(since: Timestamp, now: Timestamp, span: Duration) -> bool {
    after(since, span).is_some_and(|time| now >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rollout() -> Rollout {
        Rollout {
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(30),
            watch: Duration::from_secs(60),
            ..Rollout::default()
        }
    }

    /// Checks a host enabled at 0: when each check was due, and the health after the last.
    fn probes(verdicts: &[Verdict]) -> (Vec<i64>, Health) {
        let (mut health, mut times) = (Health::default(), Vec::new());
        health.begin(at(0), &rollout());
        for verdict in verdicts {
            let Some(due) = health.next_probe(&rollout(), true) else { break };
            times.push(due.as_second());
            health.looked(due, *verdict, &rollout());
        }
        (times, health)
    }

    #[test]
    fn a_host_is_healthy_once_it_was_well_for_long_enough() {
        use Verdict::{Critical, Ok, Unknown, Warning};
        let (times, health) = probes(&[Ok, Warning, Ok, Ok]);
        assert_eq!((times, health.healthy), (vec![2, 5, 7, 10], true), "each 2.5 seconds");
        let (_, health) = probes(&[Ok, Ok, Ok, Critical, Ok, Ok]);
        assert!(!health.healthy && !health.failed, "a bad look starts the time again");
        let (_, health) = probes(&[Unknown; 20]);
        assert!(health.failed && !health.healthy, "not healthy by its deadline");
    }

    #[test]
    fn a_healthy_host_fails_on_what_was_seen_and_not_on_one_blind_look() {
        use Verdict::{Critical, Ok, Unknown};
        let healthy = [Ok; 4];
        let then = |more: &[Verdict]| probes(&[&healthy[..], more].concat()).1;
        assert!(then(&[Critical]).failed);
        assert!(!then(&[Unknown, Unknown]).failed);
        assert!(then(&[Unknown, Unknown, Unknown]).failed);
        assert!(!then(&[Unknown, Unknown, Ok, Unknown]).failed);
        assert_eq!(probes(&healthy).1.next_probe(&rollout(), true), Some(at(70)));
        assert_eq!(probes(&healthy).1.next_probe(&rollout(), false), None, "nothing to probe with");
        assert_eq!(then(&[Critical]).next_probe(&rollout(), true), None);
    }
}
