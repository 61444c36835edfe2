//! The hooks of a run: before the first host starts, and after the last host has ended.

use super::decision::{Decision, Effect};
use super::event::EventKind;
use super::run::Run;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::task::hook::Hook;

/// The next action of a run before or after its hosts.
pub(super) enum HookAction {
    Begin(Box<Decision>),
    /// A step of the hook is running.
    Wait,
    Nothing,
}

/// Before the first batch.
pub(super) fn before(run: &Run) -> HookAction {
    if run.batch().is_some() { HookAction::Nothing } else { next(run, &[Hook::Before]) }
}

/// After every host has ended.
pub(super) fn after(run: &Run) -> HookAction {
    // A hook that has started is finished, even if a step of it changes the outcome of the run.
    let went_well = run.hooks().has_begun(Hook::After)
        || (!run.hooks().has_begun(Hook::OnFailure) && run.fold_outcome() == RunOutcome::Done);
    next(run, &[if went_well { Hook::After } else { Hook::OnFailure }, Hook::Finally])
}

fn next(run: &Run, hooks: &[Hook]) -> HookAction {
    if run.hooks().running.is_some() {
        return HookAction::Wait;
    }
    let found = hooks.iter().find_map(|hook| Some((*hook, run.hooks().next(&run.plan().hooks, *hook)?)));
    let Some((hook, (step, body))) = found else { return HookAction::Nothing };
    HookAction::Begin(Box::new(Decision {
        event: EventKind::HookStarted { hook, step, name: body.name.clone() },
        effect: Some(Effect::Hook { hook, step }),
    }))
}
