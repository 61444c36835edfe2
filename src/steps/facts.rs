//! Gathers facts of a host, and the custom facts of `files/facts/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;

use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::task::facts::{CUSTOM_LIMIT_BYTES, CUSTOM_TIMEOUT, Facts, LOOK_TIMEOUT, parse_custom};
use crate::domain::task::task::Source;
use crate::domain::value::shell;
use crate::port::{ExecEnd, Input};
use crate::script::RUN_FILE;
use crate::steps::attempt::{Attempt, Done};

/// The script that gathers facts.
const LOOK: &str = include_str!("sh/facts.sh");

/// Largest custom fact, in bytes: it is sent to every host.
const PROGRAM_LIMIT_BYTES: u64 = 96 * 1024;

/// Runs a script for `sh`, which arrives as input and leaves no file behind.
const SCRIPT: &str = r#"
text=$(cat) || exit
exec </dev/null
eval "unset text
$text"
"#;

/// Runs every other program from a file that exists while it runs. `$1` is the name of its folder.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let run = r#"
dir=${TMPDIR:-/tmp}/$1.$$
umask 077
mkdir "$dir" || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$dir/fact" && chmod 700 "$dir/fact" && (run_file "$dir/fact" </dev/null)
"#;
    [RUN_FILE, run].concat()
});

impl Attempt<'_> {
    /// Gathers the facts, then each custom fact. The output is the facts as JSON, with the errors of
    /// custom facts among them.
    pub(super) async fn facts(&self, custom: &BTreeMap<String, Source>) -> Done {
        let (report, _) = self.exec(LOOK.into(), Input::None, LOOK_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.done(report, |_| Outcome::Ok);
        }
        let mut facts = match Facts::parse(&report.stdout.text) {
            Ok(facts) => facts,
            Err(why) => return Done { stdout: report.stdout, stderr: report.stderr, ..Done::failed(why) },
        };
        let mut room = CUSTOM_LIMIT_BYTES;
        for (name, source) in custom {
            let answer = self.custom(source).await.and_then(|(value, bytes)| {
                room = room.checked_sub(bytes).ok_or_else(|| {
                    format!("custom facts have at most {CUSTOM_LIMIT_BYTES} bytes together on one host")
                })?;
                Ok(value)
            });
            match answer {
                Ok(value) => _ = facts.custom.insert(name.clone(), value),
                Err(why) => _ = facts.custom_errors.insert(name.clone(), why),
            }
            if self.context.cancel.is_cancelled() {
                return Done::silent(Outcome::Cancelled);
            }
        }
        let stdout = Output { text: facts.to_value().to_string(), left_out: 0 };
        // Gathering changes nothing.
        Done { stdout, ..Done::silent(Outcome::Unchanged) }
    }

    /// One custom fact, and the size of its output.
    async fn custom(&self, source: &Source) -> Result<(Value, usize), String> {
        let program = self.program(source).await?;
        let script = match is_for_sh(&program) {
            true => SCRIPT.to_string(),
            false => shell::with_arguments(&PROGRAM, &[&self.suffix()]),
        };
        let (report, _) = self.exec(script, Input::Bytes(program), CUSTOM_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) if report.stdout.left_out > 0 => {
                Err(format!("it prints too much: {} bytes were left out", report.stdout.left_out))
            }
            ExecEnd::Exited(0) => Ok((parse_custom(&report.stdout.text)?, report.stdout.text.len())),
            ExecEnd::TimedOut => Err(format!("took longer than {}s and was ended", CUSTOM_TIMEOUT.as_secs())),
            end => Err(end.describe(&report.stderr)),
        }
    }

    /// The file as it was planned: a file that changed since then is not run.
    async fn program(&self, source: &Source) -> Result<Bytes, String> {
        let Source::File { path, sha256 } = source else { return Err("the plan has no file for it".into()) };
        let failed = |why: &dyn std::fmt::Display| format!("files/{path}: {why}");
        let file = self.planned(path, sha256).open().await?;
        if file.bytes() > PROGRAM_LIMIT_BYTES {
            return Err(failed(&format!("a custom fact has at most {PROGRAM_LIMIT_BYTES} bytes")));
        }
        file.whole(PROGRAM_LIMIT_BYTES).await.map(Bytes::from).map_err(|error| failed(&error))
    }
}

/// True for text without a `#!`, or with that of `sh`.
fn is_for_sh(program: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(program) else { return false };
    let Some(first) = text.strip_prefix("#!") else { return true };
    let mut words = first.lines().next().unwrap_or_default().split_whitespace();
    let name = words.next().and_then(|path| path.rsplit('/').next());
    name == Some("sh") && words.next().is_none()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
