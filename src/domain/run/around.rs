//! What a run does around its hosts: hooks, before any of them begins and when all of them are where they end.

use super::decision::{Decision, Effect};
use super::event::EventKind;
use super::run::Run;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::task::hook::Hook;

/// What there is to do before the hosts, or after them.
pub(super) enum Around {
    Begin(Box<Decision>),
    /// One is under way.
    Wait,
    Nothing,
}

/// Before the first batch.
pub(super) fn before(run: &Run) -> Around {
    if run.batch.is_some() { Around::Nothing } else { next(run, &[Hook::Before]) }
}

/// When every host is where it ends.
pub(super) fn after(run: &Run) -> Around {
    // What was begun is carried on with, whatever became of the outcome by it.
    let went_well = run.hooks.has_begun(Hook::After)
        || (!run.hooks.has_begun(Hook::OnFailure) && run.fold_outcome() == RunOutcome::Done);
    next(run, &[if went_well { Hook::After } else { Hook::OnFailure }, Hook::Finally])
}

fn next(run: &Run, hooks: &[Hook]) -> Around {
    if run.hooks.running.is_some() {
        return Around::Wait;
    }
    let found = hooks.iter().find_map(|hook| Some((*hook, run.hooks.next(&run.plan.hooks, *hook)?)));
    let Some((hook, (step, body))) = found else { return Around::Nothing };
    Around::Begin(Box::new(Decision {
        event: EventKind::HookStarted { hook, step, name: body.name.clone() },
        effect: Some(Effect::Hook { hook, step }),
    }))
}
