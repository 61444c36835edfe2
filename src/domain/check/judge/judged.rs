//! A verdict with the sentence and the numbers that go with it.

use crate::domain::base::digest::sha256_hex;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::base::range::Limits;

/// Of what may be compared across hosts, in bytes.
pub const VALUE_BYTES: usize = 64 * 1024;

/// A verdict, and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    pub text: String,
    pub detail: String,
    /// The number that was judged first.
    pub readings: Vec<Reading>,
    /// What may be compared with other hosts.
    pub value: Option<String>,
}

impl Judged {
    /// A verdict with its sentence.
    pub fn new(verdict: Verdict, text: impl Into<String>) -> Judged {
        Judged { verdict, text: text.into(), detail: String::new(), readings: Vec::new(), value: None }
    }

    pub(super) fn ok(text: impl Into<String>) -> Judged {
        Judged::new(Verdict::Ok, text)
    }

    pub(super) fn critical(text: impl Into<String>) -> Judged {
        Judged::new(Verdict::Critical, text)
    }

    pub(super) fn unknown(text: impl Into<String>) -> Judged {
        Judged::new(Verdict::Unknown, text)
    }

    /// The number that was judged, with the limits that it was judged by.
    pub(super) fn measured(self, reading: Reading, limits: &Limits) -> Judged {
        let words = |range: &Option<_>| range.as_ref().map(ToString::to_string).unwrap_or_default();
        let value = reading.value.map(|value| value.to_string());
        let reading =
            Reading { warning: words(&limits.warning), critical: words(&limits.critical), ..reading };
        Judged { readings: vec![reading], value: self.value.clone().or(value), ..self }
    }

    /// What is too long to be kept whole is kept with its digest: what differs behind the end differs.
    pub(super) fn of_value(self, value: &str) -> Judged {
        let mut kept = bounded(value, VALUE_BYTES);
        if kept.len() < value.len() {
            kept +=
                &format!("\n... {} bytes in all, SHA-256 {}\n", value.len(), sha256_hex(value.as_bytes()));
        }
        Judged { value: Some(kept), ..self }
    }
}

/// The verdict on a number; `words` say it with what it is.
pub(super) fn by_limits(limits: &Limits, reading: Reading, words: &str) -> Judged {
    let (verdict, range) = limits.judge(reading.value.unwrap_or_default());
    let text = match range {
        Some(range) => format!("{words} is not in {} range {range}", verdict.word()),
        None => words.to_string(),
    };
    Judged::new(verdict, text).measured(reading, limits)
}

/// At most so many bytes, cut at the end of a character.
pub fn bounded(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
