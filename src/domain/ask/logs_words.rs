//! The words of `logs`, and the command that they are.

use clap::Args;

use super::ask::Command;
use super::logs::{LINES, LINES_LIMIT, LogSource, LogsAsk, read_grep};
use crate::domain::base::schedule::read_time;

pub(super) const LOGS_USAGE: &str = "ssh rollcall logs SELECTOR journal:UNIT|PATH [OPTIONS]";

pub(super) const LOGS_HELP: &str = "\
Without -f, hosts with the same lines are printed once. With -f, lines of several hosts have their host in front, and Ctrl-C ends it;
nothing stays on the hosts. Secrets of the configuration are masked. docs/logs.md has more.";

#[derive(Args, Debug)]
pub(super) struct LogsWords {
    pub(super) selector: String,
    /// A unit of the journal, or the absolute path of a file
    #[arg(value_name = "journal:UNIT|PATH")]
    pub(super) source: String,
    /// Do not end: new lines are printed as they come; files are followed through their rotation
    #[arg(long, short = 'f')]
    pub(super) follow: bool,
    /// The last lines of each host. Default: 50; with --since: 5000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=LINES_LIMIT as i64))]
    pub(super) lines: Option<u32>,
    /// Only lines of the last time, for the journal: 90s, 2h, 7d
    #[arg(long)]
    pub(super) since: Option<String>,
    /// Only lines with this text, as it is
    #[arg(long)]
    pub(super) grep: Option<String>,
}

pub(super) fn read_logs(words: LogsWords) -> Result<Command, String> {
    let LogsWords { selector, source, follow, lines, since, grep } = words;
    let source = LogSource::read(&source)?;
    let since = since.as_deref().map(read_time).transpose()?;
    if since.is_some() && matches!(source, LogSource::File(_)) {
        return Err(
            "`--since` is for the journal: lines of files have no time that rollcall knows; try: --lines"
                .into(),
        );
    }
    let grep = grep.as_deref().map(read_grep).transpose()?;
    let lines = lines.unwrap_or(if since.is_some() { LINES_LIMIT } else { LINES });
    Ok(Command::Logs(LogsAsk { selector, source, lines, since, grep, follow }))
}
