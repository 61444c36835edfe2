//! Finds lines of an output: those with a text, and those that look like problems. A line is found by its text without
//! control sequences, so that colours hide nothing.

use std::borrow::Cow;
use std::io::Read;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use super::index::CHUNK_BYTES;
use super::problems::{first_word, is_problem};
use crate::domain::base::rendered::stripped;

/// Most hits that are listed; all are counted.
pub const HITS_LIMIT: usize = 1000;

/// Most bytes of a line that are searched; more of it is another part of the same line.
const LINE_BYTES: usize = 1024 * 1024;

/// Most memory that a pattern may take, in bytes.
const PATTERN_BYTES: usize = 1024 * 1024;

const ESCAPE: u8 = 0x1b;

/// What is searched for.
pub enum Pattern {
    Text(Box<memmem::Finder<'static>>),
    /// Takes a time that grows with the output alone.
    Regex(Box<Regex>),
    /// Lines that look like problems.
    Problems,
}

impl Pattern {
    /// This text, as it is.
    pub fn text(text: &str) -> Pattern {
        Pattern::Text(Box::new(memmem::Finder::new(text).into_owned()))
    }

    /// A regular expression.
    pub fn regex(text: &str) -> Result<Pattern, String> {
        let regex = RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
        let regex = regex.map_err(|error| format!("`{text}` is no pattern: {error}"))?;
        Ok(Pattern::Regex(Box::new(regex)))
    }

    fn is_in(&self, line: &[u8]) -> bool {
        match self {
            Pattern::Text(finder) => finder.find(line).is_some(),
            Pattern::Regex(regex) => regex.is_match(line),
            Pattern::Problems => is_problem(line),
        }
    }

    /// Where it may be in a text of many lines; `None` if each line has to be searched by itself.
    fn ahead(&self) -> Option<Ahead<'_>> {
        match self {
            Pattern::Text(finder) if finder.needle().is_empty() || finder.needle().contains(&b'\n') => None,
            Pattern::Text(finder) => Some(Box::new(|text| finder.find(text))),
            Pattern::Problems => Some(Box::new(first_word)),
            // It may span lines, or ask for the end of one.
            Pattern::Regex(_) => None,
        }
    }
}

/// Finds the place of a pattern in a text.
type Ahead<'p> = Box<dyn Fn(&[u8]) -> Option<usize> + 'p>;

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The numbers of lines, the first [`HITS_LIMIT`] or fewer.
    pub lines: Vec<u64>,
    /// All lines that were found.
    pub total: u64,
    /// The line at which the search ended, because its time was up.
    pub stopped_at: Option<u64>,
}

/// Searches lines, of which the first has the number `first`, until `is_over` says that there is no more time.
pub fn search(
    from: &mut impl Read,
    pattern: &Pattern,
    (first, limit): (u64, usize),
    is_over: impl Fn() -> bool,
) -> std::io::Result<Found> {
    let mut search =
        Search { pattern, limit: limit.min(HITS_LIMIT), number: first, last: 0, found: Found::default() };
    let mut buffer = Vec::with_capacity(2 * CHUNK_BYTES);
    loop {
        let begun = buffer.len();
        let read = from.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut buffer)?;
        if read == 0 {
            search.lines(&buffer, true);
            return Ok(search.found);
        }
        let end = memchr::memrchr(b'\n', &buffer[begun..]).map(|at| begun + at + 1);
        match end {
            Some(end) => {
                search.lines(&buffer[..end], false);
                buffer.drain(..end);
            }
            // Nothing is found across the border of two parts of such a line.
            None if buffer.len() >= LINE_BYTES => {
                search.line(&buffer);
                buffer.clear();
            }
            None => {}
        }
        if is_over() {
            search.found.stopped_at = Some(search.number);
            return Ok(search.found);
        }
    }
}

/// Lines without the sequences of styles; `None` if there are others, which only a parser can find the end of.
fn without_styles(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(ESCAPE, text) else { return Some(Cow::Borrowed(text)) };
    let mut plain = text[..first].to_vec();
    let mut rest = &text[first..];
    while !rest.is_empty() {
        let sequence = rest.strip_prefix(b"\x1b[")?;
        let end = sequence.iter().position(|byte| !matches!(byte, b' '..=b'?'))?;
        if !matches!(sequence[end], b'@'..=b'~') {
            return None;
        }
        rest = &sequence[end + 1..];
        let next = memchr::memchr(ESCAPE, rest).unwrap_or(rest.len());
        plain.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
    }
    Some(Cow::Owned(plain))
}

struct Search<'p> {
    pattern: &'p Pattern,
    limit: usize,
    /// The line that comes next.
    number: u64,
    /// The last line that was found.
    last: u64,
    found: Found,
}

impl Search<'_> {
    /// Searches whole lines.
    fn lines(&mut self, text: &[u8], is_end: bool) {
        if let Some(ahead) = self.pattern.ahead()
            && let Some(plain) = without_styles(text)
        {
            return self.at_once(ahead, &plain);
        }
        let mut rest = text;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line(&rest[..end]);
            self.number += 1;
            rest = &rest[end + 1..];
        }
        if is_end && !rest.is_empty() {
            self.line(rest);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let text = match memchr::memchr(ESCAPE, line) {
            None => Cow::Borrowed(line),
            Some(_) => Cow::Owned(stripped(line).into_bytes()),
        };
        if self.pattern.is_in(text.strip_suffix(b"\r").unwrap_or(&text)) {
            self.hit();
        }
    }

    /// Most lines are never searched by themselves.
    fn at_once(&mut self, ahead: impl Fn(&[u8]) -> Option<usize>, text: &[u8]) {
        let mut at = 0;
        while let Some(hit) = ahead(&text[at..]).map(|hit| at + hit) {
            self.number += memchr::memchr_iter(b'\n', &text[at..hit]).count() as u64;
            let start = memchr::memrchr(b'\n', &text[at..hit]).map_or(at, |feed| at + feed + 1);
            let end = memchr::memchr(b'\n', &text[hit..]).map(|end| hit + end);
            self.line(&text[start..end.unwrap_or(text.len())]);
            let Some(end) = end else { return };
            self.number += 1;
            at = end + 1;
        }
        self.number += memchr::memchr_iter(b'\n', &text[at..]).count() as u64;
    }

    fn hit(&mut self) {
        if self.last == self.number {
            return;
        }
        self.last = self.number;
        self.found.total += 1;
        if self.found.lines.len() < self.limit {
            self.found.lines.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(text: &[u8], pattern: &Pattern) -> Found {
        search(&mut &text[..], pattern, (1, HITS_LIMIT), || false).unwrap()
    }

    fn lines(text: &str, pattern: &Pattern) -> Vec<u64> {
        find(text.as_bytes(), pattern).lines
    }

    #[test]
    fn lines_with_a_text_are_found() {
        let text = "one\ntwo one one\n\x1b[31mo\x1b[0mne\nthree\none";
        assert_eq!(lines(text, &Pattern::text("one")), [1, 2, 3, 5]);
        assert_eq!(lines("one\ntwo one one\nthree\none\n", &Pattern::text("one")), [1, 2, 4]);
        assert_eq!(lines(text, &Pattern::regex("^t.*e+$").unwrap()), [2, 4]);
        assert_eq!(lines("one\r\n", &Pattern::regex("one$").unwrap()), [1]);
        assert_eq!(lines(text, &Pattern::regex("(?i)ONE").unwrap()), [1, 2, 3, 5]);
        assert_eq!(lines("ok\n\x1b[31mERROR\x1b[0m: x\n0 errors\nfailed", &Pattern::Problems), [2, 4]);
        assert_eq!(lines("a\n", &Pattern::text("a\nb")), [0; 0]);
        assert_eq!(lines("", &Pattern::text("")), [0; 0]);
        assert!(Pattern::regex("(").err().unwrap().contains("is no pattern"));
        assert!(Pattern::regex(r"(\w{100}){1000}").is_err(), "too large");
    }

    #[test]
    fn sequences_of_styles_are_left_out_of_many_lines_at_once() {
        let table: [(&str, Option<&str>); 7] = [
            ("a\nb\n", Some("a\nb\n")),
            ("\x1b[1;31mER\x1b[0mROR\n\x1b[2Kx\n", Some("ERROR\nx\n")),
            ("\x1b[38:5:1 qa\n", Some("a\n")),
            ("\x1b]0;title\x07a\n", None),
            ("\x1b[31\nb\n", None),
            ("a\x1b[", None),
            ("a\x1b", None),
        ];
        for (text, wanted) in table {
            let plain =
                without_styles(text.as_bytes()).map(|plain| String::from_utf8(plain.into_owned()).unwrap());
            assert_eq!(plain.as_deref(), wanted, "{text:?}");
            if let Some(wanted) = wanted {
                let by_line: Vec<String> = text.split('\n').map(|line| stripped(line.as_bytes())).collect();
                assert_eq!(by_line.join("\n"), wanted);
            }
        }
    }

    #[test]
    fn a_search_has_bounds() {
        let many = "x\n".repeat(5000);
        let found = find(many.as_bytes(), &Pattern::text("x"));
        assert_eq!((found.lines.len(), found.total, found.stopped_at), (HITS_LIMIT, 5000, None));
        let long = [vec![b'y'; 3 * LINE_BYTES], b"x\nx\n".to_vec()].concat();
        assert_eq!(find(&long, &Pattern::text("x")).lines, [1, 2]);
        assert_eq!(find(&long, &Pattern::text("y")).lines, [1]);
        let many = "some line\n".repeat(100_000);
        let found = search(&mut many.as_bytes(), &Pattern::text("some"), (1, 3), || true).unwrap();
        assert!(found.stopped_at.is_some_and(|line| line > 1 && line == found.total + 1), "{found:?}");
        assert_eq!(found.lines, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn a_search_finds_what_each_line_has(text in "[abc\n]{0,400}", wanted in "[abc]{1,3}") {
            let expected: Vec<u64> = text.split('\n').enumerate()
                .filter(|(_, line)| line.contains(&wanted)).map(|(at, _)| at as u64 + 1).collect();
            prop_assert_eq!(&lines(&text, &Pattern::text(&wanted)), &expected);
            prop_assert_eq!(&lines(&text, &Pattern::regex(&wanted).unwrap()), &expected);
            let problems = text.replace("cab", "error").replace("abc", "no errors, ");
            let by_line: Vec<u64> = problems.split('\n').enumerate()
                .filter(|(_, line)| is_problem(line.as_bytes())).map(|(at, _)| at as u64 + 1).collect();
            prop_assert_eq!(&lines(&problems, &Pattern::Problems), &by_line);
            let coloured = text.replace('b', "\x1b[1mb");
            prop_assert_eq!(&lines(&coloured, &Pattern::text(&wanted)), &expected);
        }
    }
}
