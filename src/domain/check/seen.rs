//! Observations of probes. `judge` judges them.

use std::time::Duration;

use crate::domain::base::output::Output;

/// The prefix of each line that rollcall's own scripts print: a login may print lines of its own.
pub const MARK: &str = "rollcall ";

/// An observation of a probe.
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
    Answered(Box<HttpAnswer>),
    /// The connection opened, and these bytes were read.
    Connected {
        banner: String,
        took: Duration,
    },
    Shook(Box<Handshake>),
    /// How far the host's clock is ahead of rollcall's, and the uncertainty of that; in seconds.
    Ticked {
        ahead: f64,
        give_or_take: f64,
    },
    /// The service refused: no process listens, or it closed the connection without an answer.
    NoService {
        why: String,
    },
    TimedOut {
        after: Duration,
    },
    /// Nothing was observed: forwarding is not allowed, a file is missing on the daemon's machine.
    Blind {
        why: String,
    },
    /// Nothing was observed: the host could not be reached.
    NoContact {
        why: String,
    },
}

impl Observation {
    /// True when the host that the probe was made on has certainly answered.
    pub fn proves_contact(&self) -> bool {
        match self {
            Observation::Exited { .. }
            | Observation::Signalled { .. }
            | Observation::Answered(_)
            | Observation::Connected { .. }
            | Observation::Shook(_)
            | Observation::Ticked { .. }
            | Observation::NoService { .. } => true,
            Observation::TimedOut { .. } | Observation::Blind { .. } | Observation::NoContact { .. } => false,
        }
    }
}

/// An HTTP answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The answer was longer than the limit.
    pub cut: bool,
    pub took: Duration,
    /// The status of a second request with its validator; `None` without a validator.
    pub revalidated: Option<u16>,
}

impl HttpAnswer {
    /// All values of one header, in order.
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// The certificates that a TLS server presented.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handshake {
    pub subject: String,
    pub issuer: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Days until it expires; negative once it has expired.
    pub days_left: f64,
    /// Why the chain does not lead to a known root, or does not match the name.
    pub distrusted: Option<String>,
    /// Why the trust could not be verified.
    pub cannot_tell: Option<String>,
    /// The number of certificates that were sent.
    pub chain: usize,
}

/// Lines printed by one of rollcall's own scripts: a word and the rest of the line.
pub struct ScriptLines(Vec<(String, String)>);

impl ScriptLines {
    /// Picks these lines out of all output.
    pub fn of(stdout: &str) -> ScriptLines {
        let lines = stdout.lines().filter_map(|line| line.strip_prefix(MARK));
        let parted = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
        ScriptLines(parted.map(|(word, rest)| (word.into(), rest.into())).collect())
    }

    /// The rest of the first line with this word.
    pub fn get(&self, word: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == word).map(|(_, rest)| rest.as_str())
    }

    /// The rest of each line with this word.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == word).map(|(_, rest)| rest.as_str())
    }

    /// The number in the first line with this word.
    pub fn number(&self, word: &str) -> Option<f64> {
        self.get(word)?.trim().parse::<f64>().ok().filter(|number| number.is_finite())
    }
}
