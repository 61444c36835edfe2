//! Whether a step that is due may start on its host: conditions, handlers, steps that one host runs for all,
//! limits, and questions to operators.

use super::bracket::{HostState, Phase};
use super::event::BracketDirection;
use super::phase::steps_of;
use super::run::Run;
use crate::domain::base::name::HostName;
use crate::domain::plan::plan::{HostPlan, RunKind, with_previous};
use crate::domain::task::body::StepBody;
use crate::domain::task::step::Step;
use crate::domain::value::template::{self, Vars};

/// The answer to a host for which a step is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leave {
    Go,
    /// The step has nothing to do.
    Skip(String),
    /// The step can no longer be done.
    Fail(String),
    /// Other hosts are running the step, or an operator was asked.
    Wait,
    /// An operator has to be asked.
    Ask(String),
}

/// The variables of a host's templates during a run: those of the plan, what the host's steps have
/// registered, and the previous release.
pub fn known(run: &Run, name: &HostName, way: BracketDirection) -> Vars {
    let (Some(host), Some(plan)) = (run.host(name), run.plan().hosts.get(name)) else {
        return Vars::new();
    };
    let mut vars = match way {
        BracketDirection::Back => with_previous(&plan.vars, host.previous().unwrap_or_default()),
        _ => Vars::clone(&plan.vars),
    };
    vars.extend(host.results().clone());
    vars.extend(shared(run, plan));
    vars
}

/// The results that steps with `run_once` have registered for all hosts.
fn shared(run: &Run, plan: &HostPlan) -> Vars {
    let steps = plan.steps.iter().filter(|step| step.run_once);
    let results = steps.filter_map(|step| {
        let register = step.register.as_ref()?;
        let (owner, at) = run.once(step.identity())?;
        let owner = run.host(owner).filter(|owner| owner.did(*at).good)?;
        Some((register.clone(), owner.results().get(register)?.clone()))
    });
    results.collect()
}

/// Whether the host may start this attempt of the step.
pub(super) fn leave(run: &Run, name: &HostName, way: BracketDirection, at: usize, attempt: u32) -> Leave {
    let (Some(host), Some(plan)) = (run.host(name), run.plan().hosts.get(name)) else { return Leave::Go };
    let Some(step) = steps_of(plan, way).get(at) else { return Leave::Go };
    if attempt > 1 {
        return room(run, step);
    }
    if let Some(why) = nothing_to_do(host, step) {
        return Leave::Skip(why);
    }
    // A condition that cannot be evaluated fails the step when it is rendered.
    if let Some(when) = &step.when {
        let mut vars = known(run, name, way);
        vars.extend(step.vars.clone());
        if template::holds(when, &vars) == Ok(false) {
            return Leave::Skip(format!("when {when}"));
        }
    }
    let is_dry_run = matches!(run.plan().kind, RunKind::DryRun { .. });
    match &step.body {
        StepBody::Confirm { text } if !is_dry_run => {
            let asked =
                if step.late { template::text(text, &known(run, name, way)) } else { Ok(text.clone()) };
            confirmed(run, step, &asked.unwrap_or_else(|_| text.clone()))
        }
        _ if step.run_once && way != BracketDirection::Back => once(run, name, step),
        _ => room(run, step),
    }
}

/// Why the step has nothing to do, by the plan or by the steps before it.
fn nothing_to_do(host: &HostState, step: &Step) -> Option<String> {
    if let Some(why) = &step.skip {
        return Some(why.clone());
    }
    let changed = |at: &usize| host.did(*at).changed;
    if step.notified_by.as_ref().is_some_and(|by| !by.iter().any(changed)) {
        return Some("nothing that notifies it has changed anything".into());
    }
    let touched = |at: usize| host.did(at).touched;
    if step.undoes.is_some_and(|at| !touched(at)) {
        return Some("what it takes back was never done".into());
    }
    None
}

fn confirmed(run: &Run, step: &Step, text: &str) -> Leave {
    if run.is_confirmed(step.identity()) {
        return Leave::Skip("confirmed".into());
    }
    match (run.cancel(), run.stopped()) {
        (Some(cancel), _) => Leave::Fail(format!("not confirmed: cancelled by {}", cancel.by)),
        (None, Some(why)) => Leave::Fail(format!("not confirmed: the run was stopped: {why}")),
        (None, None) if run.pause().is_some() => Leave::Wait,
        (None, None) => Leave::Ask(text.into()),
    }
}

/// The first host to reach the step runs it; the others wait for its result. If the step certainly never
/// started, the next host runs it.
fn once(run: &Run, name: &HostName, step: &Step) -> Leave {
    let Some((owner, at)) = run.once(step.identity()) else { return Leave::Go };
    if owner == name {
        return Leave::Go;
    }
    let host = run.host(owner);
    let did = host.map(|host| host.did(*at)).unwrap_or_default();
    let is_at_it = host.is_some_and(
        |host| matches!(host.phase(), Phase::Working { way: BracketDirection::Forward, step, .. } if step == at),
    );
    match is_at_it {
        _ if did.good => Leave::Skip(format!("once for all: {owner} did it")),
        true => Leave::Wait,
        false if !did.touched => Leave::Go,
        false => Leave::Fail(format!("{owner} was to do it once for all, and failed")),
    }
}

/// Whether `throttle` allows another host at the step.
fn room(run: &Run, step: &Step) -> Leave {
    let Some(most) = step.throttle else { return Leave::Go };
    match run.running(step.identity()) < most as usize {
        true => Leave::Go,
        false => Leave::Wait,
    }
}
