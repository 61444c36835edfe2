//! Requests of operators to a run under way, and whether the run grants them. Pure: the
//! answer is the event to write, or a refusal.

use super::event::{EventKind, Pause, PausedUntil};
use super::run::Run;
use crate::domain::ask::access::{LOCAL_KEY, Operator};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::task::task::PauseUntil;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunRequest {
    /// `now`: end the running steps, too.
    Cancel {
        now: bool,
    },
    Pause,
    Resume,
    Approve,
    /// Rollcall is stopping.
    Suspend,
}

/// The event that grants the request; `None` when it changes nothing.
pub fn grant(run: &Run, request: RunRequest, who: &Operator) -> Result<Option<EventKind>, Refusal> {
    let (by, key) = (who.name.clone(), who.key.clone());
    let id = run.id();
    let not_now = |why: String| Refusal::rule(why).hint(format!("see: show {id}"));
    let paused = |why: &str, until| {
        let (by, key) = (by.clone(), key.clone());
        Ok(Some(EventKind::Paused(Pause { why: why.into(), by, key, until, step: None })))
    };
    if run.is_halted() && matches!(request, RunRequest::Pause | RunRequest::Resume | RunRequest::Approve) {
        let why = format!("run {id} is being stopped: no further host starts");
        return Err(Refusal::rule(why).hint(format!("see: watch {id}")));
    }
    match (request, run.pause().map(|pause| &pause.until)) {
        (RunRequest::Cancel { now }, _) => Ok(Some(EventKind::CancelRequested { by, key, now })),
        (RunRequest::Suspend, Some(_)) => Ok(None),
        (RunRequest::Suspend, None) => {
            paused("rollcall is stopping; the run continues at the next start", PausedUntil::Restart)
        }
        (RunRequest::Pause, Some(_)) => Err(not_now(format!("run {id} is paused already"))),
        (RunRequest::Pause, None) => paused("until it is resumed", PausedUntil::Resumed),
        (RunRequest::Approve, Some(PausedUntil::Approved)) => approve(run, who).map(Some),
        (RunRequest::Approve, _) => Err(not_now(format!("run {id} does not wait for an approval"))),
        (RunRequest::Resume, Some(PausedUntil::Approved)) => {
            let why = format!("run {id} waits for an approval");
            Err(Refusal::rule(why).hint(format!("try: approve {id}")))
        }
        (RunRequest::Resume, None) => Err(not_now(format!("run {id} is not paused"))),
        (RunRequest::Resume, Some(_)) => Ok(Some(EventKind::Resumed { by, key, why: String::new() })),
    }
}

/// The second person needs another key and another name than the operator who asked for the run.
fn approve(run: &Run, who: &Operator) -> Result<EventKind, Refusal> {
    let of_task = run.plan().rollout.pause_after;
    let of_task = of_task.is_some_and(|pause| pause.until == PauseUntil::Approved { second_person: true });
    let second_person = of_task || run.plan().needs_approval;
    let (why, key) = match (&run.plan().broken_glass, &run.plan().proposed) {
        (Some(_), _) => ("a release on frozen hosts needs another person", "--break-glass"),
        (None, Some(_)) => ("a run that an agent proposed needs another person", "mcp"),
        (None, None) => ("their role needs another person", "needs_approval"),
    };
    let asked = run.asked();
    if second_person && who.key == LOCAL_KEY {
        let why = format!("run {} wants a second person, who is known by a key", run.id());
        let hint = format!("try: ssh rollcall approve {}", run.id());
        return Err(Refusal::new(Cause::NotAllowed, why).hint(hint));
    }
    if second_person && (who.key == asked.key || who.name == asked.by) {
        let why = format!(
            "{} asked for run {}, and {} to approve it ({})",
            asked.by,
            run.id(),
            if of_task { "its task wants a second person" } else { why },
            if of_task { "second_person" } else { key }
        );
        let hint = format!("ask another operator to run: ssh rollcall approve {}", run.id());
        return Err(Refusal::new(Cause::NotAllowed, why).hint(hint));
    }
    let plan_sha256 = asked.plan_sha256.clone();
    Ok(EventKind::Approved { by: who.name.clone(), key: who.key.clone(), plan_sha256 })
}
