//! What a host is asked to do: rollcall's own scripts are known by their text, everything else is a command
//! of the simulated application.

use rollcall::balancer::nginx::{APPLY, READ};
use rollcall::engine::script::{DIGEST, LINK, MODE, OBSERVE, RECEIVE};

/// One command, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Observe { at: String },
    Digest { path: String },
    Receive { to: String, sha256: String, mode: String, suffix: String },
    Mode { path: String, mode: String },
    Link { from: String, at: String, suffix: String },
    Exists { path: String },
    Read,
    Apply { old: String, new: String },
    Run { script: String },
}

impl Asked {
    /// Understands what came over the wire; `None` when it is nothing that rollcall should send.
    pub fn parse(command: &str) -> Option<Asked> {
        let words = shell_words::split(command).ok()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (["exec", "sh", "-c", script] | ["exec", "sudo", "-n", "--", "sh", "-c", script]) = words[..]
        else {
            return None;
        };
        if let Some(own) = script.strip_prefix("set -- ") {
            let (arguments, body) = own.split_once('\n')?;
            return Asked::own(body, shell_words::split(arguments).ok()?);
        }
        if let Some(path) = script.strip_prefix("[ -e ").and_then(|rest| rest.strip_suffix(" ]")) {
            return Some(Asked::Exists { path: path.into() });
        }
        Some(Asked::Run { script: script.into() })
    }

    fn own(body: &str, arguments: Vec<String>) -> Option<Asked> {
        let mut next = arguments.into_iter();
        let mut next = || next.next();
        Some(match body {
            OBSERVE => Asked::Observe { at: next()? },
            DIGEST => Asked::Digest { path: next()? },
            MODE => Asked::Mode { path: next()?, mode: next()? },
            LINK => Asked::Link { from: next()?, at: next()?, suffix: next()? },
            RECEIVE => Asked::Receive { to: next()?, sha256: next()?, mode: next()?, suffix: next()? },
            READ => Asked::Read,
            APPLY => {
                next()?;
                Asked::Apply { old: next()?, new: next()? }
            }
            _ => return None,
        })
    }
}
