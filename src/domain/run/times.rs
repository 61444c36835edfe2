//! How long the steps of a run took on its hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::milliseconds;

/// The steps of a run, each on all of its hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTimes {
    pub run: RunId,
    pub steps: BTreeMap<StepName, StepTime>,
}

/// A step, as other runs may have it, too: its number may be another one there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepName {
    /// It is of the rollback.
    pub is_back: bool,
    pub name: String,
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    pub hosts: usize,
    /// Of an even number, the lower of the two in the middle.
    pub median_ms: u64,
}

/// The beginning or the end of a step on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum StepMoment {
    Started(StepName),
    Ended,
}

/// Takes the moments of a run in their order. A host does one step after the other.
#[derive(Default)]
pub struct StepClock {
    running: BTreeMap<HostName, (StepName, Timestamp)>,
    took: BTreeMap<StepName, Vec<u64>>,
}

impl StepClock {
    pub fn take(&mut self, host: HostName, at: Timestamp, moment: StepMoment) {
        match moment {
            StepMoment::Started(step) => _ = self.running.insert(host, (step, at)),
            StepMoment::Ended => {
                let Some((step, since)) = self.running.remove(&host) else { return };
                // A clock that was set back says nothing.
                if let Ok(took) = Duration::try_from(at.duration_since(since)) {
                    self.took.entry(step).or_default().push(milliseconds(took));
                }
            }
        }
    }

    pub fn finish(self, run: RunId) -> RunTimes {
        let time = |(step, mut took): (StepName, Vec<u64>)| {
            took.sort_unstable();
            let median_ms = *took.get(took.len().checked_sub(1)? / 2)?;
            Some((step, StepTime { hosts: took.len(), median_ms }))
        };
        RunTimes { run, steps: self.took.into_iter().filter_map(time).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_many_hosts_have_one_median() {
        let step = |name: &str| StepName { is_back: false, name: name.into() };
        let started = |name: &str| StepMoment::Started(step(name));
        let moments = [
            ("a", 0, started("copy")),
            ("b", 0, started("copy")),
            ("c", 0, started("copy")),
            ("b", 1, StepMoment::Ended),
            ("b", 1, started("restart")),
            ("a", 3, StepMoment::Ended),
            ("c", 9, StepMoment::Ended),
            // It began again after a restart; and an end without a beginning.
            ("b", 2, started("restart")),
            ("b", 6, StepMoment::Ended),
            ("b", 7, StepMoment::Ended),
            // The clock was set back.
            ("c", 9, started("restart")),
            ("c", 8, StepMoment::Ended),
            // It has not ended.
            ("a", 9, started("restart")),
        ];
        let mut clock = StepClock::default();
        for (host, second, moment) in moments {
            clock.take(host.into(), Timestamp::from_second(second).unwrap(), moment);
        }
        let times = clock.finish(RunId(7));
        let wanted = BTreeMap::from([
            (step("copy"), StepTime { hosts: 3, median_ms: 3_000 }),
            (step("restart"), StepTime { hosts: 1, median_ms: 4_000 }),
        ]);
        assert_eq!(times, RunTimes { run: RunId(7), steps: wanted });
    }
}
