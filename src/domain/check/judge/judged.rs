//! A verdict with its sentence and its numbers.

use crate::domain::base::digest::sha256_hex;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::base::range::Limits;

/// Most bytes of a value that is compared across hosts.
pub const VALUE_BYTES: usize = 64 * 1024;

/// A verdict, with its sentence, detail, numbers and value.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    pub text: String,
    pub detail: String,
    /// The measured numbers; the first one is the judged one.
    pub readings: Vec<Reading>,
    /// The value to compare with other hosts.
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

    /// Adds the judged number with its limits.
    pub(super) fn measured(self, reading: Reading, limits: &Limits) -> Judged {
        let words = |range: &Option<_>| range.as_ref().map(ToString::to_string).unwrap_or_default();
        let value = reading.value.map(|value| value.to_string());
        let reading =
            Reading { warning: words(&limits.warning), critical: words(&limits.critical), ..reading };
        Judged { readings: vec![reading], value: self.value.clone().or(value), ..self }
    }

    /// Keeps a value. A long one is cut and gets its digest, so that a difference behind the cut still shows.
    pub(super) fn of_value(self, value: &str) -> Judged {
        let mut kept = bounded(value, VALUE_BYTES);
        if kept.len() < value.len() {
            kept +=
                &format!("\n... {} bytes in all, SHA-256 {}\n", value.len(), sha256_hex(value.as_bytes()));
        }
        Judged { value: Some(kept), ..self }
    }
}

/// The verdict on a number; `words` describe it.
pub(super) fn by_limits(limits: &Limits, reading: Reading, words: &str) -> Judged {
    let (verdict, range) = limits.judge(reading.value.unwrap_or_default());
    let text = match range {
        Some(range) => format!("{words} is not in {} range {range}", verdict.word()),
        None => words.to_string(),
    };
    Judged::new(verdict, text).measured(reading, limits)
}

/// The first bytes of a text, cut at a character boundary.
pub fn bounded(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
