//! What a host is asked to do: rollcall's own scripts are known by their text, everything else is a command
//! of the simulated application.

use std::sync::LazyLock;
use std::time::Duration;

use rollcall::balancer::nginx::{APPLY, READ};
use rollcall::domain::value::expansion::readable;
use rollcall::domain::value::shell::{TOGETHER, login_word};
use rollcall::embedded::behaviour::ExecIo;
use rollcall::fleet::wire::BEGIN;
use rollcall::script::OBSERVE;
use rollcall::steps::scripts::{LINK, PLACE, RECEIVE};
use rollcall::steps::wrapper::WRAPPER;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

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

/// What came over the wire.
pub enum Heard {
    Asked(Asked),
    /// The connection broke before all of it had come.
    CutOff,
    /// It is nothing that rollcall should send.
    Strange,
}

impl Asked {
    /// Reads a whole command, and marks where the output begins, as a host does.
    pub async fn hear(command: &str, io: &mut ExecIo) -> Heard {
        let Some(words) = words_of(command) else { return Heard::Strange };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match &words[..] {
            ["rollcall", THE_WRAPPER, call @ ..] => {
                mark(io).await;
                Asked::wrapper(call).map_or(Heard::Strange, Heard::Asked)
            }
            ["sh", end] => match script_between(end, &mut io.stdin).await {
                Some(script) => {
                    mark(io).await;
                    Asked::script(&script).map_or(Heard::Strange, Heard::Asked)
                }
                None => Heard::CutOff,
            },
            _ => Heard::Strange,
        }
    }

    fn script(script: &str) -> Option<Asked> {
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
            _ if *READ == body => Asked::Read,
            _ if *APPLY == body => {
                // Three commands, two times, the kind, and the path.
                for _ in 0..7 {
                    next()?;
                }
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

/// The words behind rollcall's own text, with or without sudo.
fn words_of(command: &str) -> Option<Vec<String>> {
    // It is long, and reading it character by character is most of what a simulation would do.
    static QUOTED: LazyLock<String> = LazyLock::new(|| login_word(&WRAPPER.replace('\n', "\u{1}")));
    let words = shell_words::split(&command.replacen(QUOTED.as_str(), THE_WRAPPER, 1)).ok()?;
    let words = together(words);
    let mut rest = words.strip_prefix(&["exec".to_string()])?;
    if let [sh, c, _, name, sudo, n, dashes, more @ ..] = rest
        && [sh, c, name, sudo, n, dashes] == ["sh", "-c", "sh", "sudo", "-n", "--"]
    {
        rest = more;
    }
    match rest {
        [sh, c, _, more @ ..] if [sh, c] == ["sh", "-c"] => Some(more.to_vec()),
        _ => None,
    }
}

/// Shows where the output begins. A connection that is gone is no trouble of the command.
async fn mark(io: &mut ExecIo) {
    let mark = format!("{BEGIN}\n");
    let _ = io.stdout.write_all(mark.as_bytes()).await;
    let _ = io.stderr.write_all(mark.as_bytes()).await;
}

/// The script between two lines `end`; `None` if the second one never comes.
async fn script_between(end: &str, stdin: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let end = format!("{end}\n");
    let mut bytes = vec![0; end.len()];
    stdin.read_exact(&mut bytes).await.ok().filter(|_| bytes == end.as_bytes())?;
    bytes.clear();
    while !bytes.ends_with(end.as_bytes()) {
        bytes.push(stdin.read_u8().await.ok()?);
    }
    bytes.truncate(bytes.len() - end.len() - 1);
    String::from_utf8(bytes).ok()
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
