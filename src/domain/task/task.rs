//! Tasks: named, ordered steps for a host, and the rollout policy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::body::*;
pub use super::hook::{Hook, Hooks};
pub use super::step::*;
use crate::domain::check::check::UnknownIs;
use crate::domain::value::param::Param;
use crate::domain::value::secret::SecretVars;
use crate::domain::value::template::Vars;

/// One file of `tasks/`. Its texts are templates; [`Step::render`] makes the steps of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    pub name: String,
    pub description: String,
    /// Selector within the operator's selection.
    pub hosts: Option<String>,
    pub params: BTreeMap<String, Param>,
    /// Override the vars of hosts; parameters override them.
    pub vars: Vars,
    /// Secret vars; no name is in both.
    pub secrets: SecretVars,
    /// Without one the task runs on all its hosts at once and changes no balancer.
    pub rollout: Option<Rollout>,
    /// Whether it puts a release on its hosts. `None`: if it has a `release` or a `link` step.
    pub release: Option<bool>,
    pub steps: Vec<Written>,
    /// Written out, or collected from the `undo` of the steps, the last one first.
    pub rollback: Vec<Written>,
    /// Run at the end of a host's steps, in this order, if a step that notifies them has changed something.
    pub handlers: Vec<Written>,
    /// Run once for the whole run, on the daemon's machine.
    pub hooks: Hooks,
}

/// The policy for batches, budgets, gates and rollback. A plan of an older rollcall lacks some of
/// these; they get their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    pub serial: Vec<BatchSize>,
    /// Hosts that may fail; the run stops when more of them fail.
    pub max_failures: MaxFailures,
    pub on_failure: OnFailure,
    /// A host that was enabled has to stay ok for this long before the next batch starts.
    pub min_healthy_time: Duration,
    /// Counted from the enable: a host that is not healthy by then has failed.
    pub healthy_deadline: Duration,
    /// When no host became healthy for this long, the run stops.
    pub progress_deadline: Option<Duration>,
    /// The interval between checks of finished hosts while the run lasts; zero for never.
    pub watch: Duration,
    pub pause_after: Option<PauseAfter>,
    pub on_restart: OnRestart,
    /// How an inconclusive gate counts. `unknown`: the run pauses, and the host waits for an operator.
    pub unknown_is: UnknownIs,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            serial: vec![BatchSize::Percent(100.0)],
            max_failures: MaxFailures::Hosts(0),
            on_failure: OnFailure::Stop,
            min_healthy_time: Duration::ZERO,
            healthy_deadline: Duration::from_secs(5 * 60),
            progress_deadline: None,
            watch: Duration::from_secs(60),
            pause_after: None,
            on_restart: OnRestart::Finish,
            // A host that could not be probed does not return to rotation by itself.
            unknown_is: UnknownIs::Critical,
        }
    }
}

/// A pause that the plan asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseAfter {
    /// Batches that are through before it: 0 pauses before any host starts.
    pub batch: usize,
    pub until: PauseUntil,
}

/// The end of a planned pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseUntil {
    /// The bake time.
    Passed(Duration),
    /// `approve N`; if `second_person`, by another operator than the one who asked for the run.
    Approved { second_person: bool },
}

/// How rollcall continues a run that was under way before a restart. In all cases hosts in their bracket
/// finish it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRestart {
    /// It continues if rollcall was away for a short time, and pauses otherwise.
    #[default]
    Finish,
    /// It continues, however long rollcall was away.
    Resume,
    /// It stops, and every host that it has changed is rolled back.
    Rollback,
    /// It stops.
    Stop,
}

/// How large a batch is: Ansible's `serial`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchSize {
    Hosts(u32),
    /// Percent of all hosts of the run, rounded down, at least one.
    Percent(f64),
}

/// The budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaxFailures {
    Hosts(u32),
    /// Percent of all hosts of the run, rounded down.
    Percent(f64),
}

impl MaxFailures {
    /// The number of hosts that may fail, out of `total`.
    pub fn allowed(self, total: usize) -> usize {
        match self {
            MaxFailures::Hosts(hosts) => hosts as usize,
            MaxFailures::Percent(percent) => (percent / 100.0 * total as f64).floor() as usize,
        }
    }
}

/// The consequence of a failed host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It stays drained, held. The run stops once the budget is spent.
    Stop,
    /// Its rollback steps run, the old release is checked, and the host is enabled.
    Rollback,
    /// As `Rollback`; once the budget is spent, every host that the run has released is rolled back, too.
    RollbackAll,
    /// As `Stop`, with a budget of all hosts unless the task sets one: the others continue.
    Continue,
}

impl OnFailure {
    /// True when a host that failed is rolled back.
    pub fn rolls_back(self) -> bool {
        matches!(self, OnFailure::Rollback | OnFailure::RollbackAll)
    }
}

/// Sizes of the batches for `total` hosts: percent of all, rounded down, at least one; the last
/// entry repeats; a size of zero takes all remaining hosts. Ansible's rule (`features.md` 3.1).
pub fn batch_sizes(serial: &[BatchSize], total: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut left = total;
    let mut wanted =
        serial.iter().chain(std::iter::repeat(serial.last().unwrap_or(&BatchSize::Percent(100.0))));
    while left > 0 {
        let size = match wanted.next() {
            Some(BatchSize::Percent(percent)) => ((percent / 100.0 * total as f64).floor() as usize).max(1),
            Some(BatchSize::Hosts(hosts)) if *hosts > 0 => *hosts as usize,
            _ => left,
        };
        let size = size.min(left);
        sizes.push(size);
        left -= size;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(serial: &str, total: usize) -> Vec<usize> {
        let entry = |text: &str| match text.strip_suffix('%') {
            Some(percent) => BatchSize::Percent(percent.parse().unwrap()),
            None => BatchSize::Hosts(text.parse().unwrap()),
        };
        batch_sizes(&serial.split(' ').map(entry).collect::<Vec<_>>(), total)
    }

    #[test]
    fn batches_follow_ansibles_vectors() {
        let table: [(&str, usize, &[usize]); 12] = [
            ("1 10% 100%", 10, &[1, 1, 8]),
            ("1 10% 100%", 25, &[1, 2, 22]),
            ("30%", 10, &[3, 3, 3, 1]),
            ("30%", 3, &[1, 1, 1]),
            ("5%", 10, &[1; 10]),
            ("1 5 10", 20, &[1, 5, 10, 4]),
            ("50%", 7, &[3, 3, 1]),
            ("1 25%", 8, &[1, 2, 2, 2, 1]),
            ("150%", 4, &[4]),
            ("0", 5, &[5]),
            ("2 0", 5, &[2, 3]),
            ("1", 0, &[]),
        ];
        for (serial, total, wanted) in table {
            assert_eq!(sizes(serial, total), wanted, "{serial} on {total}");
        }
    }

    #[test]
    fn a_percentage_of_failures_is_of_all_hosts_and_rounds_down() {
        assert_eq!(MaxFailures::Percent(25.0).allowed(10), 2);
        assert_eq!(MaxFailures::Percent(25.0).allowed(3), 0);
        assert_eq!(MaxFailures::Hosts(3).allowed(1), 3);
    }

    proptest::proptest! {
        #[test]
        fn batches_hold_every_host_once(serial in proptest::collection::vec((0u32..30, 0u8..2), 1..4), total in 0usize..200) {
            let serial: Vec<BatchSize> = serial.into_iter().map(|(n, kind)| match kind {
                0 => BatchSize::Hosts(n),
                _ => BatchSize::Percent(f64::from(n)),
            }).collect();
            let sizes = batch_sizes(&serial, total);
            proptest::prop_assert_eq!(sizes.iter().sum::<usize>(), total);
            proptest::prop_assert!(sizes.iter().all(|size| *size > 0));
        }
    }
}
