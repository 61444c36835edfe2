//! What `run` is asked for: a command or a script, its limits, and how the answers are printed.

use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct RunAsk {
    pub selector: String,
    pub work: RunWork,
    pub limits: RunLimits,
    pub answer: RunAnswer,
}

/// The work of `run` on each host.
#[derive(Clone, Debug, PartialEq)]
pub enum RunWork {
    /// A line for the shell of the login.
    Line(String),
    Script(ScriptAsk),
}

/// A script from standard input.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptAsk {
    /// The SHA-256 of its content; `None` until it has arrived.
    pub sha256: Option<String>,
    pub args: Vec<String>,
}

/// How the work runs on hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLimits {
    /// The limit on each host, if it is not the usual one.
    pub timeout: Option<Duration>,
    /// Most hosts at the same time.
    pub fanout: Option<u32>,
    /// As root.
    pub sudo: bool,
}

/// How the answers of hosts are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunAnswer {
    /// As they arrive.
    #[default]
    Streamed,
    /// At the end, equal output once.
    Folded,
    /// At the end, the most common output whole, and the others as differences to it.
    Compared,
}

impl RunAsk {
    /// A line for the shell, with the usual limits.
    pub fn line(selector: impl Into<String>, line: impl Into<String>) -> RunAsk {
        RunAsk {
            selector: selector.into(),
            work: RunWork::Line(line.into()),
            limits: RunLimits::default(),
            answer: RunAnswer::default(),
        }
    }

    /// The words that would repeat it, without how its answers are printed.
    pub fn title(&self) -> String {
        let RunAsk { selector, work, limits, .. } = self;
        let options = limits.words();
        match work {
            RunWork::Line(line) => format!("run {selector}{options} -- {line}"),
            RunWork::Script(script) => {
                let name = script.sha256.as_ref().map_or_else(String::new, |sum| format!(" <{}", short(sum)));
                let args = match script.args.is_empty() {
                    true => String::new(),
                    false => format!(" -- {}", shell_words::join(&script.args)),
                };
                format!("run {selector} --script{options}{args}{name}")
            }
        }
    }
}

impl RunLimits {
    /// Its options, each with a space in front.
    pub fn words(&self) -> String {
        let timeout = self.timeout.map(|time| format!(" --timeout {}s", time.as_secs_f64()));
        let fanout = self.fanout.map(|most| format!(" --fanout {most}"));
        let sudo = self.sudo.then(|| " --sudo".to_string());
        [timeout, fanout, sudo].into_iter().flatten().collect()
    }
}

/// A digest with as many digits as tell any two apart.
fn short(sha256: &str) -> String {
    format!("sha256:{}", sha256.get(..12).unwrap_or(sha256))
}
