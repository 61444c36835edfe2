//! The words of `run`.

use std::time::Duration;

use clap::Args;

use super::run_ask::{RunAnswer, RunAsk, RunLimits, RunWork, ScriptAsk};
use crate::domain::base::schedule::read_time;

pub const RUN_USAGE: &str = "ssh rollcall run SELECTOR [OPTIONS] -- COMMAND\n       \
                             ssh rollcall run SELECTOR [OPTIONS] --script [-- ARGUMENT...] <FILE";

/// Longest time that a command may be given: its connection has to last as long.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Args, Debug)]
pub(super) struct RunWords {
    selector: String,
    /// Print the output at the end, once for all hosts with the same, as `clush -b` does
    #[arg(short = 'b', long)]
    fold: bool,
    /// Print the most common output at the end, and how those of other hosts differ from it
    #[arg(long, conflicts_with = "fold")]
    diff: bool,
    /// Standard input is a script: its `#!` line names the interpreter, otherwise it is for sh
    #[arg(long)]
    script: bool,
    #[command(flatten)]
    limits: LimitWords,
    /// Everything behind `--` goes to the shell of the hosts as it is; with `--script`: the arguments of the script
    #[arg(last = true, required_unless_present = "script")]
    words: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct LimitWords {
    /// End it on a host after this time: 30s, 2h; without it, 10 minutes
    #[arg(long, value_parser = read_timeout)]
    timeout: Option<Duration>,
    /// At most so many hosts at the same time; without it, all at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    fanout: Option<u32>,
    /// As root, by `sudo -n`
    #[arg(long)]
    sudo: bool,
}

impl LimitWords {
    pub(super) fn read(self) -> RunLimits {
        RunLimits { timeout: self.timeout, fanout: self.fanout, sudo: self.sudo }
    }
}

/// What `run` is asked for.
pub(super) fn read_run(words: RunWords, json: bool) -> Result<RunAsk, String> {
    let answer = match (words.fold, words.diff) {
        (_, true) if json => {
            return Err("`--json` prints the output of each host, and compares none; try: one of `--json` and `--diff`".into());
        }
        (_, true) => RunAnswer::Compared,
        (true, false) => RunAnswer::Folded,
        (false, false) => RunAnswer::Streamed,
    };
    let work = match words.script {
        true => RunWork::Script(ScriptAsk { sha256: None, args: words.words }),
        false => RunWork::Line(words.words.join(" ")),
    };
    Ok(RunAsk { selector: words.selector, work, limits: words.limits.read(), answer })
}

/// Splits the words behind `--` if they are arguments of a script, as a shell would; a line for the shell is one word.
pub(super) fn behind_dashes(head: &[String], rest: &str) -> Result<Vec<String>, shell_words::ParseError> {
    // Options in front of the command hold for all commands, and none of them takes a value.
    let command = head.iter().find(|word| !word.starts_with('-'));
    match command.is_some_and(|word| word == "run") && head.iter().any(|word| word == "--script") {
        true => shell_words::split(rest),
        false => Ok(vec![rest.to_string()]),
    }
}

pub(super) fn read_timeout(text: &str) -> Result<Duration, String> {
    match read_time(text)? {
        time if time > LONGEST => Err("a command may take 24 hours at most".into()),
        time => Ok(time),
    }
}

/// Cuts the line at the first ` -- ` outside of quotes: the text behind it is for the hosts'
/// shell and is not parsed here.
pub(super) fn split_script(line: &str) -> (&str, Option<&str>) {
    let (mut quote, mut escaped, mut before) = (None, false, 'x');
    for (at, c) in line.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some('\'') | None if c == '\'' => quote = if quote.is_none() { Some(c) } else { None },
            Some('"') | None if c == '"' => quote = if quote.is_none() { Some(c) } else { None },
            None | Some('"') if c == '\\' => escaped = true,
            None if before.is_whitespace() && is_separator(&line[at..]) => {
                return (&line[..at], Some(line[at + 2..].trim()));
            }
            _ => {}
        }
        before = c;
    }
    (line, None)
}

fn is_separator(rest: &str) -> bool {
    rest.strip_prefix("--").is_some_and(|tail| tail.starts_with(char::is_whitespace))
}
