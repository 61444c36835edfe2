//! `[[hooks.before]]` and the like: steps that run once for a whole run, on the daemon's machine.

use super::bodies::StepKinds;
use super::keys::{HooksKeys, StepKeys, StepList, TaskKeys};
use super::steps::{self, ReferencedNames};
use crate::config::text::keys::Key;
use crate::config::text::reader::Reader;
use crate::config::text::templates::Known;
use crate::domain::task::task::{Hook, Hooks};

/// Keys of steps on hosts that hooks do not have: a hook runs once for all hosts.
const NOT_OF_HOOKS: [&str; 11] = [
    StepKeys::WHEN.name,
    StepKeys::LOOP.name,
    StepKeys::ON.name,
    StepKeys::NOTIFY.name,
    StepKeys::UNDO.name,
    StepKeys::REGISTER.name,
    StepKeys::RETRIES.name,
    StepKeys::UNTIL.name,
    StepKeys::RUN_ONCE.name,
    StepKeys::THROTTLE.name,
    StepKeys::TAGS.name,
];

/// Kinds of steps that a hook cannot be.
const NO_HOOKS: [&str; 4] =
    [StepKinds::TASK.name, StepKinds::CHECK.name, StepKinds::CONFIRM.name, StepKinds::REBOOT.name];

/// Reads all hooks of a task. Their templates know the task's vars and its parameters, but no host.
pub fn read(file: &mut Reader<'_>, known: &Known) -> (Hooks, ReferencedNames) {
    let Some(mut table) = file.get(TaskKeys::HOOKS) else { return Default::default() };
    let (mut hooks, mut named) = (Hooks::new(), ReferencedNames::default());
    for hook in Hook::ALL {
        let key = key_of(hook);
        table.list(key, "a hook").iter().for_each(refuse);
        let mut steps = steps::read(&mut table, key, &mut known.clone());
        let bodies = std::mem::take(&mut steps.steps);
        if !bodies.is_empty() {
            hooks.insert(hook, bodies.into_iter().map(|written| written.step).collect());
        }
        // Steps on the daemon's machine have to be allowed.
        steps.named.local = table.key_span(key.name).into_iter().collect();
        named.extend(steps.named);
    }
    table.finish();
    (hooks, named)
}

fn key_of(hook: Hook) -> Key<StepList> {
    match hook {
        Hook::Before => HooksKeys::BEFORE,
        Hook::After => HooksKeys::AFTER,
        Hook::OnFailure => HooksKeys::ON_FAILURE,
        Hook::Finally => HooksKeys::FINALLY,
    }
}

fn refuse(table: &Reader<'_>) {
    for key in NOT_OF_HOOKS {
        if let Some(span) = table.key_span(key) {
            let hint = "hooks are run once for all hosts, one after the other".to_string();
            table.doc.report(span, format!("`{key}` does not go with hooks"), hint);
        }
    }
    for kind in NO_HOOKS {
        if let Some(span) = table.key_span(kind) {
            let hint = "a hook is done on the machine of rollcall; write `run`".to_string();
            table.doc.report(span, format!("`{kind}` cannot be a hook"), hint);
        }
    }
}
