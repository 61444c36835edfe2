//! How lines of a log are asked for on a host, and what an end means.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::ask::logs::{LogSource, LogsAsk};
use crate::domain::base::refusal::Cause;
use crate::domain::value::secret::Masks;
use crate::domain::value::shell::with_arguments;
use crate::port::talk::Feed;
use crate::port::{Exec, ExecEnd, ExecReport, Input, Program};

pub(super) const SCRIPT: &str = include_str!("logs.sh");

/// How long a host may take for lines that are there: a search reads whole files.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(60);

/// How long a log is followed at most: a forgotten terminal must not keep connections forever.
pub(super) const FOLLOW_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// After the end of its input, a host has this much time to end the command by itself; then it gets signals.
const END_GRACE: Duration = Duration::from_secs(3);

/// What journalctl prints when it does not show everything, with exit status 0.
const NOT_ALL: [(&str, &str); 3] = [
    (
        "not seeing messages from other users",
        "the login does not see the whole journal; try: add it to the group systemd-journal",
    ),
    ("No journal files were found", "the login finds no journal on this host"),
    ("ignoring file", "journalctl cannot read a file of the journal, and leaves out its lines"),
];

/// The hosts of a command. When it is dropped, their commands end.
pub(super) struct Watched {
    input: Feed,
    cancel: CancellationToken,
}

impl Watched {
    pub(super) fn new() -> Watched {
        Watched { input: Feed::default(), cancel: CancellationToken::new() }
    }

    /// The command of one host.
    pub(super) fn exec(&self, asked: &LogsAsk, masks: Arc<Masks>, keep_bytes: usize) -> Exec {
        let (kind, what) = match &asked.source {
            LogSource::Journal(unit) => ("journal", unit),
            LogSource::File(path) => ("file", path),
        };
        let lines = asked.lines.to_string();
        let since = asked.since.map(|time| time.as_secs().max(1).to_string()).unwrap_or_default();
        let text = asked.grep.as_deref().unwrap_or_default();
        let follow = if asked.follow { "follow" } else { "" };
        let script = with_arguments(SCRIPT, &[kind, what, &lines, &since, text, follow]);
        let limit = if asked.follow { FOLLOW_LIMIT } else { READ_LIMIT };
        Exec {
            // Closed when no reader is left, which ends the command on the host.
            input: Input::Live(self.input.clone()),
            cancel: self.cancel.clone(),
            // A follow shares neither the sessions nor the bytes of the connection that runs and checks use.
            fresh: asked.follow,
            masks,
            ..Exec::new(Program::Script(script), limit, keep_bytes)
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.input.close(true);
        let cancel = self.cancel.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(END_GRACE).await;
                cancel.cancel();
            });
        }
    }
}

/// Why what a host printed is not all that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub why: String,
    /// The host could not be reached, or its connection broke.
    pub no_contact: bool,
}

/// The fault of an end, if it is one.
pub(super) fn fault_of(report: &ExecReport, follow: bool) -> Option<Fault> {
    let of_host = |why: String| Some(Fault { why, no_contact: false });
    match &report.end {
        ExecEnd::Exited(0) if !follow => not_all(&report.stderr.text).and_then(|why| of_host(why.into())),
        ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => Some(Fault { why: why.clone(), no_contact: true }),
        ExecEnd::TimedOut if follow => of_host(format!(
            "it was followed for {} hours, which is the limit",
            FOLLOW_LIMIT.as_secs() / 3600
        )),
        ExecEnd::TimedOut => of_host(format!(
            "no end within {} s; try: a shorter --since, or `run` for a long search",
            READ_LIMIT.as_secs()
        )),
        end => of_host(end.describe(&report.stderr)),
    }
}

/// The faults of an answer. Not a list: a host decides how many faults it causes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    no_contact: bool,
    other: bool,
}

impl Faults {
    pub(super) fn add(&mut self, fault: &Fault) {
        match fault.no_contact {
            true => self.no_contact = true,
            false => self.other = true,
        }
    }

    /// Lines are left out.
    pub(super) fn cut(&mut self) {
        self.other = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.no_contact && !self.other
    }

    /// The exit status of the answer.
    pub(super) fn status(&self) -> u8 {
        match (self.other, self.no_contact) {
            (true, _) => Cause::Failed.exit_status(),
            (false, true) => Cause::Unreachable.exit_status(),
            (false, false) => 0,
        }
    }
}

/// True when journalctl has found no entry, which it says in place of lines. Old versions say before it which time the journal
/// covers.
pub(super) fn has_no_entries(stdout: &str) -> bool {
    let is_head =
        |line: &str| line.starts_with("-- Logs begin at ") || line.starts_with("-- Journal begins at ");
    let mut lines = stdout.lines().skip_while(|line| is_head(line));
    lines.next() == Some("-- No entries --") && lines.next().is_none()
}

/// What the journal says when it does not show everything, in words.
pub(super) fn not_all(stderr: &str) -> Option<&'static str> {
    NOT_ALL.iter().find(|(mark, _)| stderr.contains(mark)).map(|(_, why)| *why)
}

#[cfg(test)]
#[path = "logs_host_tests.rs"]
mod tests;
