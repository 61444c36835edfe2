//! The input of one effect, as values: it shares no mutable state with the run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Outcome;
use crate::domain::plan::plan::{HostPlan, RunKind};
use crate::domain::run::bracket::HostState;
use crate::domain::run::event::{BracketDirection, Stage};
use crate::domain::run::leave::known;
use crate::domain::run::rollout::Effect;
use crate::domain::run::run::Run;
use crate::domain::task::hook::Hook;
use crate::domain::task::result::{Answered, judge};
use crate::domain::task::task::Step;
use crate::domain::value::template::Vars;
use crate::engine::feed::Live;
use crate::engine::ports::Ports;
use crate::steps::attempt::Done;
use crate::steps::context::{Mode, StepContext};

/// The name under which a hook's step finds the outcome of the run; hooks before the run have none.
pub(super) const OUTCOME: &str = "outcome";

/// The input of one effect, as values: nothing of it refers to the run's state.
pub struct Work {
    pub ports: Ports,
    pub live: Arc<Live>,
    pub effect: Effect,
    /// The variables of the host's templates by now.
    pub known: Vars,
    /// A step before this one has changed something, or would.
    pub after_changes: bool,
    /// The way the host is on, for choosing its checks.
    pub way: BracketDirection,
    /// The context of its steps and checks.
    pub context: StepContext,
}

impl Work {
    /// The work of `effect` in the present state of `run`.
    pub fn new(
        ports: &Ports,
        live: &Arc<Live>,
        run: &Run,
        effect: Effect,
        cancel: &CancellationToken,
    ) -> Work {
        let host = match &effect {
            Effect::Observe { host } | Effect::Step { host, .. } | Effect::Checks { host, .. } => {
                run.host(host)
            }
            Effect::Drain { .. }
            | Effect::Enable { .. }
            | Effect::Redrain { .. }
            | Effect::Snapshot { .. }
            | Effect::Hook { .. } => None,
        };
        let way = host.map_or(BracketDirection::Forward, HostState::way);
        // A rollback is finished even after a cancel; and hosts in rotation are checked before they are
        // settled: a cancelled check would report them as failing.
        let rolls = matches!(
            effect,
            Effect::Checks { stage: Stage::Roll | Stage::Watch, .. } | Effect::Snapshot { .. }
        );
        let roll = rolls && run.plan().has_bracket();
        // Hooks after the run are not cancelled either.
        let follows = matches!(&effect, Effect::Hook { hook, .. } if *hook != Hook::Before);
        let to_its_end = way != BracketDirection::Forward || roll || follows;
        let cancel = if to_its_end { CancellationToken::new() } else { cancel.clone() };
        let known = match &effect {
            Effect::Step { host, way, .. } => known(run, host, *way),
            Effect::Observe { host } => known(run, host, BracketDirection::Forward),
            Effect::Hook { hook, .. } => hook_vars(run, *hook),
            Effect::Drain { .. }
            | Effect::Enable { .. }
            | Effect::Redrain { .. }
            | Effect::Checks { .. }
            | Effect::Snapshot { .. } => Vars::new(),
        };
        let after_changes = host.is_some_and(|host| host.did_change());
        let context = context_of(ports, live, run, cancel);
        Work { ports: ports.clone(), live: live.clone(), effect, known, after_changes, way, context }
    }

    /// The same work, with an intent written `age` ago by a process that has ended since. Probes are
    /// repeated, and changes of a balancer are absolute. A step does not start again: the report is how it ended,
    /// or [`Outcome::NotStarted`] if it certainly never started.
    pub fn resuming(self, age: Duration) -> Work {
        Work { context: StepContext { resumed: Some(age), ..self.context }, ..self }
    }

    pub(super) fn plan(&self, host: &HostName) -> Option<&HostPlan> {
        self.live.plan.hosts.get(host)
    }

    /// The variables with secrets; they live only while the step is rendered.
    pub(super) fn with_secrets(&self, host: &HostName, step: &Step) -> Result<Vars, String> {
        let secrets = self.ports.secrets.of(self.live.id, &self.live.plan, host);
        let mut lost = self.live.plan.hidden_params().filter(|name| !secrets.contains_key(*name));
        if let Some(name) = lost.find(|name| step.speaks_of(&BTreeSet::from([(*name).clone()]))) {
            return Err(format!(
                "the secret parameter `{name}` was kept in memory alone, and rollcall has been started anew \
                 since; give the command again, with {name}=VALUE"
            ));
        }
        let mut vars = self.known.clone();
        vars.extend(secrets.iter().map(|(name, secret)| (name.clone(), Value::from(secret.expose()))));
        Ok(vars)
    }

    /// A dry run that fails now may succeed once the steps before it have changed something.
    fn as_things_are(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed { why, .. } if self.after_changes => {
                Outcome::NotKnown { why: format!("steps before it come first; as things are: {why}") }
            }
            other => other,
        }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.context.mode == Mode::DryRun
    }

    /// Applies the step's own conditions, if it has any and was executed.
    pub(super) fn judged(&self, step: &Step, done: &Done) -> Outcome {
        if self.is_dry_run() {
            return self.as_things_are(done.outcome.clone());
        }
        let answered =
            Answered { outcome: &done.outcome, stdout: &done.stdout, stderr: &done.stderr, code: None };
        judge(step, &answered, &self.known)
    }
}

fn context_of(ports: &Ports, live: &Live, run: &Run, cancel: CancellationToken) -> StepContext {
    StepContext {
        ports: ports.hosts.clone(),
        run: live.id,
        mark: run.asked().mark.clone(),
        mode: mode_of(&live.plan.kind),
        files_root: live.plan.files_root.clone(),
        progress: live.progress.clone(),
        talk: live.talk.get().cloned().unwrap_or_default(),
        cancel,
        masks: ports.secrets.masks(Some(live.id)),
        resumed: None,
    }
}

fn mode_of(kind: &RunKind) -> Mode {
    match kind {
        RunKind::DryRun { .. } => Mode::DryRun,
        RunKind::Run => Mode::AdHoc,
        RunKind::Release { .. }
        | RunKind::Task { .. }
        | RunKind::Check
        | RunKind::Facts
        | RunKind::Drain
        | RunKind::Enable => Mode::Act,
    }
}

/// The variables of a hook when it starts.
fn hook_vars(run: &Run, hook: Hook) -> Vars {
    match hook {
        Hook::Before => Vars::new(),
        _ => Vars::from([(OUTCOME.to_string(), run.fold_outcome().word().into())]),
    }
}
