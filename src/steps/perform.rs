//! One step, done or inspected: which kind is done by which file, and whether the wrapper runs it. All kinds have
//! one shape: observe, compare, change what differs, and report whether anything did. A dry run stops before the change.

use crate::domain::base::outcome::Outcome;
use crate::domain::base::paths;
use crate::domain::task::task::{Step, StepBody};
use crate::port::{ExecEnd, Input};
use crate::script;
use crate::steps::archive::{self, Unpacking};
use crate::steps::asking::Asking;
use crate::steps::attempt::{Attempt, Done, GUARD_TIMEOUT};
use crate::steps::context::Mode;
use crate::steps::scripts::{DELETE, DIRECTORY, LINK, OwnScript, split_word};
use crate::steps::system;
use crate::steps::wait::Wait;

/// The script of a step, if its kind is a single script.
fn own(step: &Step, suffix: &str) -> Option<OwnScript> {
    let own = |text: &'static str, arguments: &[&str], apart| {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Some(OwnScript { text, arguments, apart })
    };
    match &step.body {
        StepBody::Link { from, at } => own(&LINK, &[from, at, suffix], false),
        StepBody::Directory { path, mode, owner } => {
            let mode = mode.map(|mode| format!("{mode:o}")).unwrap_or_default();
            own(&DIRECTORY, &[path, &mode, owner.as_deref().unwrap_or_default()], false)
        }
        StepBody::Delete { path } => own(&DELETE, &[path], false),
        StepBody::Package { .. } | StepBody::Service { .. } => system::own(&step.body),
        StepBody::Run { .. }
        | StepBody::Script { .. }
        | StepBody::Upload(_)
        | StepBody::Download { .. }
        | StepBody::Line(_)
        | StepBody::Block(_)
        | StepBody::Archive { .. }
        | StepBody::Release(_)
        | StepBody::WaitFor { .. }
        | StepBody::Reboot { .. }
        | StepBody::Check { .. }
        | StepBody::Pause { .. }
        | StepBody::Confirm { .. }
        | StepBody::Facts { .. }
        | StepBody::Task { .. } => None,
    }
}

/// True when the wrapper runs steps of this kind.
pub fn is_apart(step: &Step) -> bool {
    matches!(step.body, StepBody::Run { .. } | StepBody::Script { .. })
        || own(step, "").is_some_and(|own| own.apart)
}

impl Attempt<'_> {
    /// Runs the step; or, in an interrupted run, finds out its result; or, in a dry run, reports
    /// its changes. True when a guard has decided that nothing has to be done.
    pub async fn perform(&self) -> (Done, bool) {
        let performed = self.performed().await;
        let cut = match &performed.0.outcome {
            Outcome::Lost { why } => Some(format!("contact was lost: {why}")),
            _ => None,
        };
        self.context.ports.outputs.ended(&self.operation, cut.map(|why| self.context.masks.text(&why)));
        performed
    }

    async fn performed(&self) -> (Done, bool) {
        let mode = self.context.mode;
        let apart = self.apart().filter(|_| mode == Mode::Act);
        if let (Some(script), Some(_)) = (&apart, self.context.resumed) {
            return (self.ask(script).await, false);
        }
        if let Some(done) = self.guarded().await {
            return (done, true);
        }
        let done = match apart {
            Some(script) => match self.send_script().await {
                None => self.ask(&script).await,
                Some(done) => done,
            },
            None if mode == Mode::AdHoc => self.without_wrapper().await,
            None => self.by_kind(mode != Mode::DryRun).await,
        };
        (done, false)
    }

    /// An operator's command runs without the wrapper; every other kind acts as in a task.
    async fn without_wrapper(&self) -> Done {
        if let StepBody::Run { script } = &self.step.body {
            return self.ad_hoc(script).await;
        }
        if let StepBody::Script { source, args, .. } = &self.step.body {
            return self.ad_hoc_script(source, args).await;
        }
        self.by_kind(true).await
    }

    async fn ask(&self, script: &str) -> Done {
        let done = Asking::new(self).ask(script).await;
        if matches!(self.step.body, StepBody::Run { .. } | StepBody::Script { .. })
            || done.outcome != Outcome::Ok
        {
            return done;
        }
        let (stdout, word) = split_word(done.stdout);
        // The step ran once, however often rollcall asked: its report holds.
        let outcome = if word == "unchanged" { Outcome::Unchanged } else { Outcome::Ok };
        Done { outcome, stdout, ..done }
    }

    /// The outcome if a guard holds, or could not be executed.
    async fn guarded(&self) -> Option<Done> {
        let guard = script::guard(self.step)?;
        let (report, _) = self.exec(guard, Input::None, GUARD_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) => Some(self.done(report, |_| self.unchanged())),
            ExecEnd::Exited(_) => None,
            _ => Some(self.inspection_failed(report)),
        }
    }

    /// The script that the wrapper runs for the step, if it does.
    fn apart(&self) -> Option<String> {
        match &self.step.body {
            StepBody::Run { script } => Some(script::in_place(self.step, script)),
            StepBody::Script { interpreter, args, .. } => Some(self.script_call(interpreter, args)),
            StepBody::Upload(..)
            | StepBody::Download { .. }
            | StepBody::Line(..)
            | StepBody::Block(..)
            | StepBody::Link { .. }
            | StepBody::Directory { .. }
            | StepBody::Delete { .. }
            | StepBody::Package { .. }
            | StepBody::Service { .. }
            | StepBody::Archive { .. }
            | StepBody::Release(..)
            | StepBody::WaitFor { .. }
            | StepBody::Reboot { .. }
            | StepBody::Check { .. }
            | StepBody::Pause { .. }
            | StepBody::Confirm { .. }
            | StepBody::Facts { .. }
            | StepBody::Task { .. } => {
                own(self.step, &self.suffix()).filter(|own| own.apart).map(|own| own.call(self.step, "act"))
            }
        }
    }

    /// Runs a kind that needs no wrapper, because it can be repeated; or reports what it would change.
    async fn by_kind(&self, acts: bool) -> Done {
        if let Some(why) = refused(self.step) {
            return Done::failed(why);
        }
        if let Some(own) = own(self.step, &self.suffix()) {
            return self.own(&own, acts).await;
        }
        match &self.step.body {
            StepBody::Upload(upload) => self.upload(upload, acts).await,
            StepBody::Line(line) => self.line(line, acts).await,
            StepBody::Block(block) => self.block(block, acts).await,
            StepBody::Archive { source, to, strip } => {
                self.archive(&Unpacking { source, to: dir(to), strip: *strip, alone: false }, acts).await
            }
            StepBody::Release(layout) => self.release(layout, acts).await,
            StepBody::Download { from, to, once } => self.download(from, (to, *once), acts).await,
            StepBody::Facts { custom } => self.facts(custom).await,
            StepBody::Reboot { .. } if !acts => Done::silent(Outcome::WouldChange),
            StepBody::Reboot { command, boot_id } => self.reboot(command, boot_id).await,
            StepBody::WaitFor { what, gone, interval } => {
                self.wait(&Wait { what, gone: *gone, interval: *interval }, acts).await
            }
            StepBody::Check { check: Some(check), .. } => self.check(check, acts).await,
            // They change nothing on the host, however long they wait.
            StepBody::Pause { .. } | StepBody::Confirm { .. } if !acts => Done::silent(Outcome::Unchanged),
            StepBody::Pause { time } => self.rest(*time).await,
            StepBody::Run { .. } if !acts && script::guard(self.step).is_some() => {
                Done::silent(Outcome::WouldChange)
            }
            StepBody::Run { .. } | StepBody::Script { .. } if !acts => {
                not_known("what a command does is known when it has run")
            }
            // The wrapper has run commands, the loop waits for approvals, the plan holds the checks, and the steps of
            // tasks; a kind that is a single script was handled above.
            StepBody::Run { .. }
            | StepBody::Script { .. }
            | StepBody::Confirm { .. }
            | StepBody::Check { check: None, .. }
            | StepBody::Task { .. }
            | StepBody::Link { .. }
            | StepBody::Directory { .. }
            | StepBody::Delete { .. }
            | StepBody::Package { .. }
            | StepBody::Service { .. } => self.misplaced(acts),
        }
    }

    fn misplaced(&self, acts: bool) -> Done {
        match acts {
            true => {
                Done::failed(format!("a step of the kind `{}` cannot be done here", self.step.body.word()))
            }
            false => not_known("cannot be checked beforehand"),
        }
    }

    async fn own(&self, own: &OwnScript, acts: bool) -> Done {
        match acts {
            true => self.run_own(own.call(self.step, "act"), Input::None).await,
            false => self.inspect_with(own.call(self.step, "dry-run")).await,
        }
    }
}

fn not_known(why: &str) -> Done {
    Done::silent(Outcome::NotKnown { why: why.into() })
}

/// A directory without the `/` at its end.
fn dir(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    if bare.is_empty() { path } else { bare }
}

/// Why a step is refused, independent of the host.
fn refused(step: &Step) -> Option<String> {
    match &step.body {
        StepBody::Delete { path } => paths::check_delete(path).err(),
        StepBody::Release(layout) => archive::refused(layout),
        StepBody::Download { to, .. } => paths::check_below(to).err().map(|why| format!("`to`: {why}")),
        StepBody::Run { .. }
        | StepBody::Script { .. }
        | StepBody::Upload(..)
        | StepBody::Line(..)
        | StepBody::Block(..)
        | StepBody::Link { .. }
        | StepBody::Directory { .. }
        | StepBody::Package { .. }
        | StepBody::Service { .. }
        | StepBody::Archive { .. }
        | StepBody::WaitFor { .. }
        | StepBody::Reboot { .. }
        | StepBody::Check { .. }
        | StepBody::Pause { .. }
        | StepBody::Confirm { .. }
        | StepBody::Facts { .. }
        | StepBody::Task { .. } => None,
    }
}

#[cfg(test)]
#[path = "scripts_tests.rs"]
mod scripts_tests;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Exit status, and output.
    fn sh(dir: &Path, own: &OwnScript, mode: &str) -> (i32, String) {
        let script = own.call(&Step::default(), mode);
        let output = Command::new("sh").args(["-c", &script]).current_dir(dir).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn link(dir: &Path, mode: &str, from: &str, at: &str) -> (i32, String) {
        let step = Step::new("s", StepBody::Link { from: from.into(), at: at.into() });
        sh(dir, &own(&step, "op").unwrap(), mode)
    }

    fn said(text: &str) -> (i32, String) {
        (0, text.into())
    }

    #[test]
    fn a_link_is_replaced_atomically_and_only_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        std::fs::create_dir_all(at.join("releases/it's 2")).unwrap();
        assert_eq!(link(at, "dry-run", "releases/1", "current"), said("current -> releases/1\nchanged\n"));
        assert!(!at.join("current").is_symlink(), "a dry run changes nothing");
        assert_eq!(link(at, "act", "releases/1", "current"), said("current -> releases/1\nchanged\n"));
        let printed = "current -> releases/it's 2 (was releases/1)\nchanged\n";
        assert_eq!(link(at, "act", "releases/it's 2", "current"), said(printed));
        assert_eq!(link(at, "act", "releases/it's 2", "current"), said("unchanged\n"));
        // A link to a directory is replaced, not descended into.
        assert!(!at.join("releases/it's 2/it's 2").exists());
        std::fs::write(at.join("file"), "precious").unwrap();
        assert_eq!(link(at, "act", "x", "file").0, 1);
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "precious");
    }
}
