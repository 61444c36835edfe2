//! Checks: a condition on a host, what was seen of it, and the judgement. Looking is the probe's
//! work; judging is done here, on values alone.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::Verdict;
use super::output::Output;
use super::perf::Reading;
use super::range::Range;
use super::schedule::Watching;
use super::template::{self, Vars};

/// One condition, as in `checks/*.toml`; in a plan its templates are rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub probe: Probe,
    pub timeout: Duration,
    pub retry: Retry,
    /// How it is watched, if it is. Runs do not hang on it, and so it is not part of a plan.
    #[serde(skip)]
    pub watching: Option<Arc<Watching>>,
}

impl Check {
    /// Every text of the check that may be a template.
    pub fn texts(&self) -> Vec<&str> {
        match &self.probe {
            Probe::Run { command, expect } => {
                let wanted = [&expect.equals, &expect.contains, &expect.matches];
                wanted.into_iter().flatten().map(String::as_str).chain([command.as_str()]).collect()
            }
            Probe::Http { address, path, host, body, .. } => {
                let wanted = [host, &body.contains, &body.matches];
                wanted
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .chain([address.as_str(), path.as_str()])
                    .collect()
            }
            Probe::Tcp { address, .. } => vec![address],
        }
    }

    /// The check with every template rendered for one host.
    pub fn render(&self, vars: &Vars) -> Result<Check, String> {
        let text = |template: &str| template::text(template, vars);
        let maybe = |template: &Option<String>| template.as_deref().map(text).transpose();
        let probe = match &self.probe {
            Probe::Run { command, expect } => Probe::Run {
                command: template::script(command, vars)?,
                expect: Expect {
                    equals: maybe(&expect.equals)?,
                    contains: maybe(&expect.contains)?,
                    matches: maybe(&expect.matches)?,
                    ..expect.clone()
                },
            },
            Probe::Http { address, port, path, host, status, body } => Probe::Http {
                address: text(address)?,
                port: port_number(&text(port)?)?,
                path: text(path)?,
                host: maybe(host)?,
                status: *status,
                body: BodyExpect { contains: maybe(&body.contains)?, matches: maybe(&body.matches)? },
            },
            Probe::Tcp { address, port } => {
                Probe::Tcp { address: text(address)?, port: port_number(&text(port)?)? }
            }
        };
        Ok(Check { probe, ..self.clone() })
    }
}

fn port_number(text: &str) -> Result<String, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port.to_string()),
        _ => Err(format!("`port`: {text:?} is no port")),
    }
}

/// How often to look before the verdict stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Between two looks.
    pub interval: Duration,
    /// No look begins after this much time; the last verdict stands. Zero: one look.
    pub deadline: Duration,
    /// Good looks in a row that are wanted.
    pub successes: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { interval: Duration::from_secs(1), deadline: Duration::ZERO, successes: 1 }
    }
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A command on the host.
    Run { command: String, expect: Expect },
    /// An HTTP GET through the host's SSH connection.
    /// `port` is a number, or a template that becomes one.
    Http { address: String, port: String, path: String, host: Option<String>, status: u16, body: BodyExpect },
    /// A TCP connection through the host's SSH connection.
    Tcp { address: String, port: String },
}

/// What the command must answer. The exit status always counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    pub exit: u32,
    pub equals: Option<String>,
    pub contains: Option<String>,
    pub matches: Option<String>,
    /// The first number of stdout; outside this range is a warning.
    pub warning: Option<Range>,
    /// Tested before `warning`.
    pub critical: Option<Range>,
}

/// What the body of an HTTP answer must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BodyExpect {
    pub contains: Option<String>,
    pub matches: Option<String>,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    Exited {
        code: u32,
        stdout: Output,
        stderr: Output,
    },
    Signalled {
        signal: String,
    },
    Answered {
        status: u16,
        body: String,
    },
    Connected,
    /// The service itself said no: nobody listens, or it hung up without an answer.
    NoService {
        why: String,
    },
    TimedOut {
        after: Duration,
    },
    /// Could not look: no connection to the host, forwarding not allowed.
    Blind {
        why: String,
    },
}

/// A verdict with the sentence that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub check: String,
    pub verdict: Verdict,
    pub text: String,
    /// Looks that were taken.
    pub looks: u32,
    /// What there is to tell beyond one line: the long text of a plugin, a difference. Bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Numbers that were measured, the one that was judged first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// From the first look to the end of the last one, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Nothing could be seen because no contact to the host could be made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_contact: bool,
}

impl CheckResult {
    /// A result with nothing but its sentence.
    pub fn new(check: &str, verdict: Verdict, text: impl Into<String>) -> CheckResult {
        CheckResult {
            check: check.into(),
            verdict,
            text: text.into(),
            looks: 0,
            detail: String::new(),
            readings: Vec::new(),
            took_ms: 0,
            no_contact: false,
        }
    }
}

/// Judges one observation. Total: what was not asked for is unknown.
pub fn judge(probe: &Probe, seen: &Observation) -> (Verdict, String) {
    match (probe, seen) {
        (_, Observation::Blind { why }) => (Verdict::Unknown, why.clone()),
        (Probe::Run { .. }, Observation::TimedOut { after }) => {
            (Verdict::Unknown, format!("no answer within {after:?}"))
        }
        (_, Observation::TimedOut { after }) => (Verdict::Critical, format!("no answer within {after:?}")),
        (_, Observation::NoService { why }) => (Verdict::Critical, why.clone()),
        (Probe::Run { expect, .. }, Observation::Exited { code, stdout, stderr }) => {
            judge_command(expect, *code, stdout, stderr)
        }
        (Probe::Run { .. }, Observation::Signalled { signal }) => {
            (Verdict::Unknown, format!("the command was ended by signal {signal}"))
        }
        (Probe::Http { status, body, .. }, Observation::Answered { status: got, body: text }) => {
            judge_answer(*status, body, *got, text)
        }
        (Probe::Tcp { port, .. }, Observation::Connected) => {
            (Verdict::Ok, format!("port {port} accepts connections"))
        }
        (_, other) => {
            (Verdict::Unknown, format!("the probe saw something else than was asked for: {other:?}"))
        }
    }
}

fn judge_command(expect: &Expect, code: u32, stdout: &Output, stderr: &Output) -> (Verdict, String) {
    if code != expect.exit {
        let said = if stderr.last_line().is_empty() { stdout.last_line() } else { stderr.last_line() };
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return (Verdict::Critical, format!("exit status {code}, wanted {}{said}", expect.exit));
    }
    let text = stdout.text.trim_end();
    if let Some(why) = text_fault(
        text,
        "stdout",
        expect.equals.as_deref(),
        expect.contains.as_deref(),
        expect.matches.as_deref(),
    ) {
        return (Verdict::Critical, why);
    }
    if expect.warning.is_some() || expect.critical.is_some() {
        return judge_number(expect, text);
    }
    let said = stdout.last_line();
    (Verdict::Ok, if said.is_empty() { format!("exit status {code}") } else { said.to_string() })
}

/// Why `text` is not what was wanted; `None` when it is.
fn text_fault(
    text: &str,
    what: &str,
    equals: Option<&str>,
    contains: Option<&str>,
    matches: Option<&str>,
) -> Option<String> {
    let got = shorten(text);
    if let Some(wanted) = equals.filter(|wanted| text != wanted.trim_end()) {
        return Some(format!("{what} is {got:?}, wanted {:?}", shorten(wanted)));
    }
    if let Some(wanted) = contains.filter(|wanted| !text.contains(*wanted)) {
        return Some(format!("{what} is {got:?}, wanted it to contain {:?}", shorten(wanted)));
    }
    let pattern = matches?;
    match regex::Regex::new(pattern) {
        Ok(regex) if regex.is_match(text) => None,
        Ok(_) => Some(format!("{what} is {got:?}, wanted it to match {pattern:?}")),
        Err(error) => Some(format!("the pattern {pattern:?} cannot be read: {error}")),
    }
}

fn judge_number(expect: &Expect, text: &str) -> (Verdict, String) {
    let Some(value) = first_number(text) else {
        return (Verdict::Unknown, format!("stdout is {:?}, wanted a number", shorten(text)));
    };
    for (range, verdict) in [(&expect.critical, Verdict::Critical), (&expect.warning, Verdict::Warning)] {
        if let Some(range) = range.as_ref().filter(|range| range.alerts(value)) {
            return (verdict, format!("{value} is not in {} range {range}", verdict.word()));
        }
    }
    (Verdict::Ok, format!("{value}"))
}

fn first_number(text: &str) -> Option<f64> {
    let number = |word: &str| word.parse::<f64>().ok().filter(|value| value.is_finite());
    text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'))).find_map(number)
}

fn judge_answer(wanted: u16, expect: &BodyExpect, got: u16, body: &str) -> (Verdict, String) {
    if got != wanted {
        return (Verdict::Critical, format!("HTTP status {got}, wanted {wanted}"));
    }
    match text_fault(body.trim_end(), "body", None, expect.contains.as_deref(), expect.matches.as_deref()) {
        Some(why) => (Verdict::Critical, why),
        None => (Verdict::Ok, format!("HTTP status {got}")),
    }
}

/// At most 120 characters of the first line, for messages.
fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(120).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: u32, stdout: &str) -> Observation {
        Observation::Exited {
            code,
            stdout: Output { text: stdout.into(), left_out: 0 },
            stderr: Output::default(),
        }
    }

    fn run(expect: Expect) -> Probe {
        Probe::Run { command: "x".into(), expect }
    }

    #[test]
    fn commands_are_judged_by_status_text_and_number() {
        let some = |text: &str| Some(text.to_string());
        let range = |text: &str| Some(text.parse::<Range>().unwrap());
        let table = [
            (Expect::default(), exited(0, "fine\n"), Verdict::Ok, "fine"),
            (Expect::default(), exited(3, ""), Verdict::Critical, "exit status 3, wanted 0"),
            (Expect { exit: 1, ..Expect::default() }, exited(1, ""), Verdict::Ok, "exit status 1"),
            (Expect { equals: some("yes"), ..Expect::default() }, exited(0, "yes\n"), Verdict::Ok, "yes"),
            (
                Expect { equals: some("yes"), ..Expect::default() },
                exited(0, "no\n"),
                Verdict::Critical,
                r#"stdout is "no", wanted "yes""#,
            ),
            (
                Expect { contains: some("es"), ..Expect::default() },
                exited(0, "no\n"),
                Verdict::Critical,
                r#"stdout is "no", wanted it to contain "es""#,
            ),
            (Expect { matches: some("^n.$"), ..Expect::default() }, exited(0, "no\n"), Verdict::Ok, "no"),
            (
                Expect { critical: range("10"), ..Expect::default() },
                exited(0, "lag: 12 s"),
                Verdict::Critical,
                "12 is not in critical range 10",
            ),
            (
                Expect { warning: range("10"), critical: range("20"), ..Expect::default() },
                exited(0, "12"),
                Verdict::Warning,
                "12 is not in warning range 10",
            ),
            (
                Expect { warning: range("10"), ..Expect::default() },
                exited(0, "none"),
                Verdict::Unknown,
                r#"stdout is "none", wanted a number"#,
            ),
        ];
        for (expect, seen, verdict, text) in table {
            assert_eq!(judge(&run(expect), &seen), (verdict, text.to_string()));
        }
    }

    #[test]
    fn what_could_not_be_seen_is_unknown_and_a_dead_service_is_critical() {
        let http = Probe::Http {
            address: "127.0.0.1".into(),
            port: "80".into(),
            path: "/".into(),
            host: None,
            status: 200,
            body: BodyExpect { contains: Some("1.2".into()), matches: None },
        };
        let blind = Observation::Blind { why: "connection lost".into() };
        let table = [
            (&http, Observation::Answered { status: 200, body: "v1.2.3".into() }, Verdict::Ok),
            (&http, Observation::Answered { status: 503, body: "v1.2.3".into() }, Verdict::Critical),
            (&http, Observation::Answered { status: 200, body: "v1.3".into() }, Verdict::Critical),
            (&http, Observation::NoService { why: "refused".into() }, Verdict::Critical),
            (&http, Observation::TimedOut { after: Duration::from_secs(1) }, Verdict::Critical),
            (&http, blind.clone(), Verdict::Unknown),
            (&http, Observation::Connected, Verdict::Unknown),
            (
                &run(Expect::default()),
                Observation::TimedOut { after: Duration::from_secs(1) },
                Verdict::Unknown,
            ),
            (&run(Expect::default()), Observation::Signalled { signal: "KILL".into() }, Verdict::Unknown),
            (&run(Expect::default()), blind, Verdict::Unknown),
        ];
        for (probe, seen, verdict) in table {
            assert_eq!(judge(probe, &seen).0, verdict, "{seen:?}");
        }
    }
}
