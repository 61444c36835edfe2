//! The kinds of steps that rollcall knows how to do by itself. All have one shape: observe, compare, change what
//! differs, and say truthfully whether anything did. A look is the same without the change.

mod archive;
mod diff;
mod download;
mod edit;
mod program;
mod reboot;
#[cfg(test)]
mod scripts_tests;
mod stream;
mod system;
mod upload;
mod wait;

use std::sync::LazyLock;

use self::archive::Unpacking;
pub(super) use self::system::{INIT, MANAGER};
use self::wait::Wait;
use super::port::{ExecEnd, ExecReport, Input};
use super::script;
use super::step::{Attempt, Done};
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::base::paths;
use crate::domain::task::task::{Step, StepBody};
use crate::domain::value::shell;

/// Replaces a link.
pub static LINK: LazyLock<String> = LazyLock::new(|| whole(include_str!("link.sh")));

/// Looks at a file of ours, and sets its mode and owner where its content is right.
pub static PLACE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("place.sh")));

/// Receives one.
pub static RECEIVE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("receive.sh")));

static DIRECTORY: LazyLock<String> = LazyLock::new(|| about_files(include_str!("directory.sh")));
static DELETE: LazyLock<String> = LazyLock::new(|| whole(include_str!("delete.sh")));
static ARCHIVE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("archive.sh")));
static ARCHIVE_LIST: LazyLock<String> = LazyLock::new(|| unpacking(include_str!("archive_list.sh")));
static ARCHIVE_UNPACK: LazyLock<String> = LazyLock::new(|| unpacking(include_str!("archive_unpack.sh")));
static RELEASE: LazyLock<String> = LazyLock::new(|| whole(include_str!("release.sh")));
static DOWNLOAD: LazyLock<String> = LazyLock::new(|| about_files(include_str!("download.sh")));
static TREE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("tree.sh")));
static TREE_RECEIVE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("tree_receive.sh")));
static FETCH: LazyLock<String> = LazyLock::new(|| bare(include_str!("fetch.sh")));

/// A script with what all of them have in common.
fn whole(text: &str) -> String {
    bare(include_str!("prelude.sh")) + &bare(text)
}

/// The same with what all have in common that are about files.
fn about_files(text: &str) -> String {
    whole(include_str!("files.sh")) + &bare(text)
}

fn unpacking(text: &str) -> String {
    about_files(include_str!("unpacking.sh")) + &bare(text)
}

/// Without its comments, which stay here.
pub(super) fn bare(text: &str) -> String {
    let lines = text.lines();
    lines.filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

/// One of rollcall's own scripts for hosts. Plain POSIX `sh`; its text never changes, values are arguments.
pub(super) struct Own {
    pub text: &'static str,
    pub arguments: Vec<String>,
    /// It may take long, or do harm when it is done twice: it goes through the wrapper.
    pub apart: bool,
}

/// The script of a step, where its kind is one script.
pub(super) fn own(step: &Step, suffix: &str) -> Option<Own> {
    let own = |text: &'static str, arguments: &[&str], apart| {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Some(Own { text, arguments, apart })
    };
    match &step.body {
        StepBody::Link { from, at } => own(&LINK, &[from, at, suffix], false),
        StepBody::Directory { path, mode, owner } => {
            let mode = mode.map(|mode| format!("{mode:o}")).unwrap_or_default();
            own(&DIRECTORY, &[path, &mode, owner.as_deref().unwrap_or_default()], false)
        }
        StepBody::Delete { path } => own(&DELETE, &[path], false),
        StepBody::Package { .. } | StepBody::Service { .. } => system::own(&step.body),
        _ => None,
    }
}

impl Own {
    fn call(&self, step: &Step, mode: &str) -> String {
        let arguments: Vec<&str> =
            [mode].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        call(self.text, &arguments, step)
    }
}

/// What is told to a host's `sh`.
fn call(text: &str, arguments: &[&str], step: &Step) -> String {
    script::in_place(step, &shell::with_arguments(text, arguments))
}

/// True when the wrapper runs steps of this kind.
pub(super) fn is_apart(step: &Step) -> bool {
    matches!(step.body, StepBody::Run { .. } | StepBody::Script { .. })
        || own(step, "").is_some_and(|own| own.apart)
}

impl Attempt<'_> {
    /// The script that the wrapper runs for the step, if it does.
    pub(super) fn apart(&self) -> Option<String> {
        match &self.step.body {
            StepBody::Run { script } => Some(script::in_place(self.step, script)),
            StepBody::Script { interpreter, args, .. } => Some(self.script_call(interpreter, args)),
            _ => own(self.step, &self.suffix()).filter(|own| own.apart).map(|own| own.call(self.step, "act")),
        }
    }

    /// Does what no wrapper is needed for: doing it again does no harm.
    pub(super) async fn act(&self) -> Done {
        if let Some(why) = refused(self.step) {
            return Done::failed(why);
        }
        if let Some(own) = own(self.step, &self.suffix()) {
            return self.own(own.call(self.step, "act"), Input::None).await;
        }
        match &self.step.body {
            StepBody::Upload(upload) => self.upload(upload, true).await,
            StepBody::Line(line) => self.line(line, true).await,
            StepBody::Block(block) => self.block(block, true).await,
            StepBody::Archive { source, to, strip } => {
                self.archive(&Unpacking { source, to: dir(to), strip: *strip, alone: false }, true).await
            }
            StepBody::Release(layout) => self.release(layout, true).await,
            StepBody::Download { from, to } => self.download(from, to, true).await,
            StepBody::Facts { custom } => self.facts(custom).await,
            StepBody::Reboot { command, boot_id } => self.reboot(command, boot_id).await,
            StepBody::WaitFor { what, gone, interval } => {
                self.wait(&Wait { what, gone: *gone, interval: *interval }).await
            }
            StepBody::Check { check: Some(check), .. } => self.checked(check).await,
            StepBody::Pause { time } => self.rest(*time).await,
            other => Done::failed(format!("a step of the kind `{}` cannot be done here", other.word())),
        }
    }

    /// Looks what the step would change, and changes nothing.
    pub(super) async fn look(&self) -> Done {
        if let Some(why) = refused(self.step) {
            return Done::failed(why);
        }
        if let Some(own) = own(self.step, &self.suffix()) {
            return self.look_with(own.call(self.step, "look")).await;
        }
        let why = match &self.step.body {
            StepBody::Facts { custom } => return self.facts(custom).await,
            StepBody::Upload(upload) => return self.upload(upload, false).await,
            StepBody::Line(line) => return self.line(line, false).await,
            StepBody::Block(block) => return self.block(block, false).await,
            StepBody::WaitFor { what, gone, interval } => {
                return self.look_at(&Wait { what, gone: *gone, interval: *interval }).await;
            }
            StepBody::Check { check: Some(check), .. } => return self.look_with_check(check).await,
            // They change nothing on the host, whenever they are over.
            StepBody::Pause { .. } | StepBody::Confirm { .. } => return Done::silent(Outcome::Unchanged),
            StepBody::Reboot { .. } => return Done::silent(Outcome::WouldChange),
            StepBody::Archive { source, to, strip } => {
                let unpacking = Unpacking { source, to: dir(to), strip: *strip, alone: false };
                return self.archive(&unpacking, false).await;
            }
            StepBody::Release(layout) => return self.release(layout, false).await,
            StepBody::Download { from, to } => return self.download(from, to, false).await,
            StepBody::Run { .. } if script::guard(self.step).is_some() => {
                return Done::silent(Outcome::WouldChange);
            }
            StepBody::Run { .. } | StepBody::Script { .. } => "what a command does is known when it has run",
            _ => "cannot be looked at beforehand",
        };
        Done::silent(Outcome::NotKnown { why: why.into() })
    }

    async fn look_with(&self, script: String) -> Done {
        let (report, _) = self.exec(script, Input::None, super::step::LOOK_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.looked_in_vain(report);
        }
        let (stdout, word) = told(report.stdout);
        let outcome = if word == "unchanged" { Outcome::Unchanged } else { Outcome::WouldChange };
        Done { outcome, stdout, stderr: report.stderr }
    }

    /// Runs one of rollcall's own scripts. What was lost is done again; but then it may have been the first time
    /// that changed something.
    pub(super) async fn own(&self, script: String, input: Input) -> Done {
        let (report, again) = self.exec(script, input, self.step.timeout).await;
        let (stdout, word) = match report.end {
            ExecEnd::Exited(0) => told(report.stdout),
            _ => (report.stdout, String::new()),
        };
        let report = ExecReport { stdout, ..report };
        self.done(report, |_| match word.as_str() {
            "unchanged" if !again => self.unchanged(),
            _ => Outcome::Ok,
        })
    }
}

/// A directory without the `/` that may stand at its end.
fn dir(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    if bare.is_empty() { path } else { bare }
}

/// Why a step is not done, whatever is on the host.
fn refused(step: &Step) -> Option<String> {
    match &step.body {
        StepBody::Delete { path } => paths::check_delete(path).err(),
        StepBody::Release(layout) => archive::refused(layout),
        StepBody::Download { to, .. } => paths::check_below(to).err().map(|why| format!("`to`: {why}")),
        _ => None,
    }
}

/// What one of rollcall's own scripts has printed, and the word at its end.
pub(super) fn told(mut stdout: Output) -> (Output, String) {
    let text = stdout.text.trim_end_matches('\n');
    let last = text.rfind('\n').map_or(0, |at| at + 1);
    let word = text[last..].to_string();
    stdout.text.truncate(last);
    (stdout, word)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Exit status, and what was printed.
    fn sh(dir: &Path, own: &Own, mode: &str) -> (i32, String) {
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
        assert_eq!(link(at, "look", "releases/1", "current"), said("current -> releases/1\nchanged\n"));
        assert!(!at.join("current").is_symlink(), "a look changes nothing");
        assert_eq!(link(at, "act", "releases/1", "current"), said("current -> releases/1\nchanged\n"));
        let told = "current -> releases/it's 2 (was releases/1)\nchanged\n";
        assert_eq!(link(at, "act", "releases/it's 2", "current"), said(told));
        assert_eq!(link(at, "act", "releases/it's 2", "current"), said("unchanged\n"));
        // A link to a directory is replaced, not descended into.
        assert!(!at.join("releases/it's 2/it's 2").exists());
        std::fs::write(at.join("file"), "precious").unwrap();
        assert_eq!(link(at, "act", "x", "file").0, 1);
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "precious");
    }
}
