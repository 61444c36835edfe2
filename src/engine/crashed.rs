//! The report of an effect that failed inside rollcall itself.

use crate::domain::base::outcome::{Failure, FailureKind, Outcome, Verdict};
use crate::domain::base::output::Output;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::run::event::{Change, EventKind};
use crate::domain::run::rollout::Effect;

/// The event of an effect that panicked: a bug of rollcall, which must not leave its host without an end.
pub fn crashed(effect: &Effect) -> EventKind {
    let why = || "rollcall failed inside this effect; please report it with the daemon's log".to_string();
    match effect.clone() {
        Effect::Observe { host } => {
            EventKind::ObserveFailed { host, failure: Failure { kind: FailureKind::Step, why: why() } }
        }
        Effect::Drain { balancer, hosts } => {
            EventKind::DrainEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Enable { balancer, hosts } => {
            EventKind::EnableEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Redrain { balancer, hosts } => {
            EventKind::RedrainEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Checks { host, stage } => EventKind::ChecksEnded {
            host,
            stage,
            results: vec![CheckResult::new(CheckId::new("", "all"), Verdict::Unknown, why())],
        },
        Effect::Snapshot { snapshot, hosts } => {
            let results = hosts
                .iter()
                .map(|_| CheckResult::new(CheckId::new("", "all"), Verdict::Unknown, why()))
                .collect();
            EventKind::SnapshotEnded {
                snapshot,
                check: CheckId::new("", "all"),
                hosts,
                results,
                spread_ms: 0,
            }
        }
        Effect::Hook { hook, step } => EventKind::HookEnded {
            hook,
            step,
            name: format!("step {step}"),
            outcome: Outcome::Lost { why: why() },
            stdout: Output::default(),
            stderr: Output::default(),
            took_ms: 0,
        },
        Effect::Step { host, way, step, attempt } => EventKind::StepEnded {
            host,
            way,
            step,
            name: format!("step {step}"),
            attempt,
            outcome: Outcome::Lost { why: why() },
            stdout: Output::default(),
            stderr: Output::default(),
            took_ms: 0,
            code: None,
        },
    }
}
