//! What a probe saw. Judging it is `judge`'s work.

use std::time::Duration;

use crate::domain::base::output::Output;

/// Stands before each line that rollcall's own scripts print: a login may print lines of its own.
pub const MARK: &str = "rollcall ";

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
    Answered(Box<Answer>),
    /// A connection was made, and this was read of it.
    Connected {
        banner: String,
        took: Duration,
    },
    Shook(Box<Handshake>),
    /// How far the clock of a host is ahead of rollcall's, and how exactly that is known; in seconds.
    Ticked {
        ahead: f64,
        give_or_take: f64,
    },
    /// The service itself said no: nobody listens, or it hung up without an answer.
    NoService {
        why: String,
    },
    TimedOut {
        after: Duration,
    },
    /// Could not look: forwarding is not allowed, a file is missing here.
    Blind {
        why: String,
    },
    /// Could not look: no contact to the host.
    NoContact {
        why: String,
    },
}

/// An HTTP answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// There was more of it than is looked at.
    pub cut: bool,
    pub took: Duration,
    /// What was got when it was asked for again with its validator; `None` where there is none.
    pub revalidated: Option<u16>,
}

impl Answer {
    /// All values of one header, in order.
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// What a TLS server presented.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handshake {
    pub subject: String,
    pub issuer: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Until it is not valid any more; negative once that is over.
    pub days_left: f64,
    /// Why the chain does not lead to a known root, or is not for that name.
    pub distrusted: Option<String>,
    /// Why it cannot be said whether it is to be trusted.
    pub cannot_tell: Option<String>,
    /// Certificates that were sent.
    pub chain: usize,
}

/// The lines that one of rollcall's own scripts printed: a word and the rest of the line.
pub struct Words(Vec<(String, String)>);

impl Words {
    /// Reads them out of whatever else was printed.
    pub fn of(stdout: &str) -> Words {
        let lines = stdout.lines().filter_map(|line| line.strip_prefix(MARK));
        let parted = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
        Words(parted.map(|(word, rest)| (word.into(), rest.into())).collect())
    }

    /// What the first line with this word says.
    pub fn get(&self, word: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == word).map(|(_, rest)| rest.as_str())
    }

    /// What each line with this word says.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == word).map(|(_, rest)| rest.as_str())
    }

    /// The number that the first line with this word says.
    pub fn number(&self, word: &str) -> Option<f64> {
        self.get(word)?.trim().parse::<f64>().ok().filter(|number| number.is_finite())
    }
}
