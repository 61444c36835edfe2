//! A script of `files/`, given to an interpreter on the host: it is sent to a file there first, run like any other
//! command, and removed.

use std::sync::LazyLock;

use bytes::Bytes;

use super::super::port::Input;
use super::super::script;
use super::super::step::{Attempt, Done};
use super::super::wrapper::{self, PLACE};
use super::RECEIVE;
use crate::domain::digest::sha256_hex;
use crate::domain::outcome::Outcome;
use crate::domain::shell;
use crate::domain::task::{Source, StepBody};

/// Receives it. The arguments are the site, the name of the folder and the SHA-256.
static SEND: LazyLock<String> = LazyLock::new(|| {
    let place = r#"
site=$1
find_place || { printf '%s\n' "no place for the script: $why" >&2; exit 1; }
set -- act "$place/ops/$2/script" "$3" 600 '' '' '' '' new
"#;
    format!("{PLACE}{place}{}", *RECEIVE)
});

/// Runs it. The arguments are the site, the name of the folder, the interpreter, and those of the script.
static RUN: LazyLock<String> = LazyLock::new(|| {
    let run = r#"
site=$1 name=$2 interpreter=$3
shift 3
find_place || { printf '%s\n' "no place for the script: $why" >&2; exit 1; }
script=$place/ops/$name
trap 'rm -rf "$script"' EXIT
trap 'exit 143' HUP INT TERM
command -v "$interpreter" >/dev/null 2>&1 || {
printf '%s\n' "$interpreter is not on the host, or not in its PATH ($PATH); install it, or name another interpreter" >&2
exit 127
}
"$interpreter" "$script/script" "$@"
"#;
    format!("{PLACE}{run}")
});

impl Attempt<'_> {
    /// A folder of its own beside the wrapper's, and swept away with them should it be left behind.
    fn script_folder(&self) -> String {
        format!("{}.script", wrapper::record_of(&self.operation, &self.work.mark))
    }

    /// What the wrapper runs.
    pub(super) fn script_call(&self, interpreter: &str, args: &[String]) -> String {
        let folder = self.script_folder();
        let first = [self.work.ports.site.as_str(), &folder, interpreter];
        let arguments: Vec<&str> = first.into_iter().chain(args.iter().map(String::as_str)).collect();
        script::in_place(self.step, &shell::with_arguments(&RUN, &arguments))
    }

    /// Sends the script, where the step has one. Some when that has failed: nothing was begun then.
    pub async fn send_script(&self) -> Option<Done> {
        let StepBody::Script { source, .. } = &self.step.body else { return None };
        let (sha256, input) = match source {
            Source::File { path, sha256 } => {
                (sha256.clone(), Input::File(self.work.live.plan.files_root.join(path)))
            }
            Source::Text(text) => (sha256_hex(text.as_bytes()), Input::Bytes(Bytes::from(text.clone()))),
            other => return Some(Done::failed(format!("files/{} is no script", other.path()))),
        };
        let (site, folder) = (&self.work.ports.site, self.script_folder());
        let receive = shell::with_arguments(&SEND, &[site, &folder, &sha256]);
        let (report, _) = self.exec(receive, input, self.step.timeout).await;
        let done = self.done(report, |_| Outcome::Ok);
        match done.outcome {
            Outcome::Ok => None,
            // It was only being sent.
            Outcome::Lost { why } => Some(Done { outcome: Outcome::NotStarted { why }, ..done }),
            _ => Some(done),
        }
    }
}
