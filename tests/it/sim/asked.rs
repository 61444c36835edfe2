//! What a host is asked to do: rollcall's own scripts are known by their text, everything else is a command
//! of the simulated application.

use std::sync::LazyLock;
use std::time::Duration;

use rollcall::balancer::nginx::{APPLY, READ};
use rollcall::domain::value::expansion::readable;
use rollcall::domain::value::shell::{TOGETHER, login_word};
use rollcall::script::OBSERVE;
use rollcall::steps::scripts::{LINK, PLACE, RECEIVE};
use rollcall::steps::wrapper::WRAPPER;

/// Stands for its text.
const THE_WRAPPER: &str = "WRAPPER";

/// A question to the wrapper.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub verb: String,
    pub operation: String,
    pub age: Duration,
    pub limit: Duration,
}

/// One command, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Observe { at: String },
    Place { path: String, sha256: String },
    Receive { to: String, sha256: String, mode: String, suffix: String },
    Link { from: String, at: String, suffix: String },
    Exists { path: String },
    Read,
    Apply { old: String, new: String },
    Run { script: String },
    Wrapper(Call),
}

impl Asked {
    /// Understands what came over the wire; `None` when it is nothing that rollcall should send.
    pub fn parse(command: &str) -> Option<Asked> {
        // It is long, and reading it character by character is most of what a simulation would do.
        static QUOTED: LazyLock<String> = LazyLock::new(|| login_word(&WRAPPER.replace('\n', "\u{1}")));
        let words = shell_words::split(&command.replacen(QUOTED.as_str(), THE_WRAPPER, 1)).ok()?;
        let words = together(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["exec", "sh", "-c", "eval \"$1\"", "rollcall", THE_WRAPPER, call @ ..]
        | ["exec", "sudo", "-n", "--", "sh", "-c", "eval \"$1\"", "rollcall", THE_WRAPPER, call @ ..] =
            &words[..]
        {
            return Asked::wrapper(call);
        }
        let (["exec", "sh", "-c", script] | ["exec", "sudo", "-n", "--", "sh", "-c", script]) = words[..]
        else {
            return None;
        };
        let script = readable(script);
        if let Some(own) = script.strip_prefix("set -- ") {
            let (arguments, body) = own.split_once('\n')?;
            return Asked::own(body, shell_words::split(arguments).ok()?);
        }
        if let Some(path) = script.strip_prefix("[ -e ").and_then(|rest| rest.strip_suffix(" ]")) {
            return Some(Asked::Exists { path: path.into() });
        }
        Some(Asked::Run { script })
    }

    fn wrapper(words: &[&str]) -> Option<Asked> {
        let [verb, operation, "sim", "1", age, limit, "0"] = words else { return None };
        let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
        Some(Asked::Wrapper(Call {
            verb: (*verb).into(),
            operation: (*operation).into(),
            age: seconds(age)?,
            limit: seconds(limit)?,
        }))
    }

    fn own(body: &str, arguments: Vec<String>) -> Option<Asked> {
        let mut next = arguments.into_iter();
        let mut next = || next.next();
        Some(match body {
            OBSERVE => Asked::Observe { at: next()? },
            READ => Asked::Read,
            APPLY => {
                next()?;
                Asked::Apply { old: next()?, new: next()? }
            }
            _ if *PLACE == body => {
                next()?;
                Asked::Place { path: next()?, sha256: next()? }
            }
            _ if *RECEIVE == body => {
                next()?;
                let (to, sha256, mode) = (next()?, next()?, next()?);
                // Owner, backup, validate, old content: nobody asks for these.
                for _ in 0..4 {
                    next().filter(String::is_empty)?;
                }
                Asked::Receive { to, sha256, mode, suffix: next()? }
            }
            _ if *LINK == body => {
                next()?;
                Asked::Link { from: next()?, at: next()?, suffix: next()? }
            }
            _ => return None,
        })
    }
}

/// As the host puts them together again.
fn together(words: Vec<String>) -> Vec<String> {
    match &words[..] {
        [exec, sh, c, together, mark, rest @ ..]
            if (sh.as_str(), c.as_str()) == ("sh", "-c") && together == TOGETHER =>
        {
            [exec.clone()]
                .into_iter()
                .chain(rest.iter().map(|word| word.replace(mark.as_str(), "\n")))
                .collect()
        }
        _ => words,
    }
}
