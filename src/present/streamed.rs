//! Output of hosts as it arrives: of one host as it is, of several in lines with the host in front.

use std::collections::BTreeMap;

use crate::domain::base::name::HostName;
use crate::domain::base::output::to_text;
use crate::domain::plan::plan::Plan;

/// Longest line in bytes that is held back for its end; the rest of a longer one is another line.
const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// Longest character of UTF-8, in bytes.
const CHARACTER_BYTES: usize = 4;

/// Text for the two outputs of the client.
#[derive(Debug, Default, PartialEq)]
pub struct OutputText {
    pub out: String,
    pub err: String,
}

/// The begins of lines that have not ended, by host and output.
pub struct Streamed {
    alone: bool,
    begun: BTreeMap<(HostName, bool), Vec<u8>>,
}

impl Streamed {
    /// The output of the hosts of a plan.
    pub fn new(plan: &Plan) -> Streamed {
        Streamed { alone: plan.hosts.len() == 1, begun: BTreeMap::new() }
    }

    /// The text of a piece of standard output or standard error, as far as it can be shown.
    pub fn take(&mut self, (host, is_error): (&HostName, bool), bytes: &[u8]) -> OutputText {
        let begun = self.begun.entry((host.clone(), is_error)).or_default();
        begun.extend_from_slice(bytes);
        let whole = if self.alone { whole_characters(begun) } else { whole_lines(begun) };
        let rest = begun.split_off(whole);
        let whole = std::mem::replace(begun, rest);
        self.text((host, is_error), &whole)
    }

    /// What is left when all commands have ended.
    pub fn rest(&mut self) -> OutputText {
        let mut text = OutputText::default();
        for ((host, is_error), bytes) in std::mem::take(&mut self.begun) {
            let rest = self.text((&host, is_error), &bytes);
            text.out += &rest.out;
            text.err += &rest.err;
        }
        text
    }

    fn text(&self, (host, is_error): (&HostName, bool), bytes: &[u8]) -> OutputText {
        let text = to_text(bytes);
        let text = match self.alone {
            true => text,
            // Every line gets the host, so that none can imitate a line of another host or of rollcall.
            false => text.lines().map(|line| format!("{host}: {line}\n")).collect(),
        };
        match is_error {
            true => OutputText { err: text, ..OutputText::default() },
            false => OutputText { out: text, ..OutputText::default() },
        }
    }
}

/// The length without a character at the end of which only a part is there.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(CHARACTER_BYTES);
    match bytes[tail..].utf8_chunks().last() {
        Some(last) if is_begun(last.invalid()) => bytes.len() - last.invalid().len(),
        _ => bytes.len(),
    }
}

/// Bytes that more bytes could make a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The length of the whole lines.
fn whole_lines(bytes: &[u8]) -> usize {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if bytes.len() > LINE_LIMIT_BYTES => whole_characters(bytes),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(alone: bool) -> Streamed {
        Streamed { alone, begun: BTreeMap::new() }
    }

    #[test]
    fn one_host_is_shown_as_it_prints() {
        let mut one = streamed(true);
        let mut out = String::new();
        for byte in "no newline: é 🦀\nand \u{ff}".as_bytes() {
            out += &one.take((&"web1".into(), false), &[*byte]).out;
        }
        assert_eq!(out, "no newline: é 🦀\nand ÿ");
        assert_eq!(one.take((&"web1".into(), false), b"\xff").out, "\\xff", "never a character");
        assert_eq!(
            one.take((&"web1".into(), true), b"oops"),
            OutputText { out: String::new(), err: "oops".into() }
        );
        assert_eq!(one.take((&"web1".into(), false), b"\xf0\x9f").out, "");
        assert_eq!(one.rest().out, "\\xf0\\x9f");
    }

    #[test]
    fn lines_of_several_hosts_have_their_host_in_front() {
        let mut two = streamed(false);
        assert_eq!(two.take((&"web1".into(), false), b"a"), OutputText::default());
        assert_eq!(two.take((&"web2".into(), false), b"x\ny").out, "web2: x\n");
        assert_eq!(two.take((&"web1".into(), false), b"b\r\nc\n").out, "web1: ab\nweb1: c\n");
        assert_eq!(two.take((&"web1".into(), true), b"e\n").err, "web1: e\n");
        assert_eq!(two.rest().out, "web2: y\n");
        let long = two.take((&"web1".into(), false), &[b'x'; LINE_LIMIT_BYTES + 1]).out;
        assert_eq!(long.len(), "web1: \n".len() + LINE_LIMIT_BYTES + 1);
    }
}
