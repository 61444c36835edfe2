//! The last masking: every report of an effect passes through it before it becomes an event, so that no secret
//! gets into the journal in a text that was not masked at its origin.

use crate::domain::base::outcome::{Failure, Outcome};
use crate::domain::base::output::Output;
use crate::domain::check::check::CheckResult;
use crate::domain::run::event::{Change, EventKind};
use crate::domain::value::secret::Masks;

/// The same event without secrets. Values that decisions depend on stay unchanged: names, numbers, and the
/// target of a link.
pub(super) fn masked(kind: EventKind, masks: &Masks) -> EventKind {
    use EventKind::*;
    if masks.is_empty() {
        return kind;
    }
    match kind {
        StepEnded { host, way, step, name, attempt, outcome: how, stdout, stderr, took_ms, code } => {
            StepEnded {
                outcome: outcome(how, masks),
                stdout: output(stdout, masks),
                stderr: output(stderr, masks),
                host,
                way,
                step,
                name: masks.text(&name),
                attempt,
                took_ms,
                code,
            }
        }
        HookEnded { hook, step, name, outcome: how, stdout, stderr, took_ms } => HookEnded {
            outcome: outcome(how, masks),
            stdout: output(stdout, masks),
            stderr: output(stderr, masks),
            hook,
            step,
            name,
            took_ms,
        },
        SnapshotEnded { snapshot, check, hosts, results, spread_ms } => {
            let results = results.into_iter().map(|one| result(one, masks)).collect();
            SnapshotEnded { snapshot, check, hosts, results, spread_ms }
        }
        ChecksEnded { host, stage, results } => {
            ChecksEnded { host, stage, results: results.into_iter().map(|one| result(one, masks)).collect() }
        }
        ObserveFailed { host, failure } => {
            ObserveFailed { host, failure: Failure { why: masks.text(&failure.why), ..failure } }
        }
        DrainEnded { balancer, hosts, change: to } => {
            DrainEnded { balancer, hosts, change: change(to, masks) }
        }
        EnableEnded { balancer, hosts, change: to } => {
            EnableEnded { balancer, hosts, change: change(to, masks) }
        }
        RedrainEnded { balancer, hosts, change: to } => {
            RedrainEnded { balancer, hosts, change: change(to, masks) }
        }
        // Decisions and operators write these; what a host printed is masked above. Decisions depend on `previous`.
        RunStarted { .. }
        | BatchStarted { .. }
        | ObserveStarted { .. }
        | Observed { .. }
        | DrainStarted { .. }
        | StepStarted { .. }
        | StepSkipped { .. }
        | ChecksStarted { .. }
        | SnapshotStarted { .. }
        | RollbackStarted { .. }
        | EnableStarted { .. }
        | HostSettled { .. }
        | DrainForgotten { .. }
        | RedrainStarted { .. }
        | Stopped { .. }
        | Paused(_)
        | Resumed { .. }
        | Approved { .. }
        | Recovered { .. }
        | DebtSettled { .. }
        | CancelRequested { .. }
        | HookStarted { .. }
        | RunEnded { .. } => kind,
    }
}

fn result(one: CheckResult, masks: &Masks) -> CheckResult {
    CheckResult { text: masks.text(&one.text), detail: masks.text(&one.detail), ..one }
}

fn output(output: Output, masks: &Masks) -> Output {
    Output { text: masks.text(&output.text), ..output }
}

fn outcome(outcome: Outcome, masks: &Masks) -> Outcome {
    let text = |why: String| masks.text(&why);
    match outcome {
        Outcome::Failed { code, why } => Outcome::Failed { code, why: text(why) },
        Outcome::NotStarted { why } => Outcome::NotStarted { why: text(why) },
        Outcome::Lost { why } => Outcome::Lost { why: text(why) },
        Outcome::Ok
        | Outcome::Unchanged
        | Outcome::Timeout { .. }
        | Outcome::Cancelled
        | Outcome::WouldChange => outcome,
        Outcome::NotKnown { why } => Outcome::NotKnown { why: text(why) },
    }
}

fn change(change: Change, masks: &Masks) -> Change {
    match change {
        Change::Done { foreign, kept, note } => Change::Done { foreign, kept, note: masks.text(&note) },
        Change::Refused { why } => Change::Refused { why: masks.text(&why) },
        Change::Unknown { why } => Change::Unknown { why: masks.text(&why) },
    }
}
