//! The outputs of hosts, to compare them: equal lines have equal digests, also where each host prints its own name.

use core::net::IpAddr;
use std::borrow::Cow;

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::name::HostName;
use super::output::Output;

/// Most bytes of a line in which names are looked for; the rest of a longer line is compared as it is.
const LINE_BYTES: usize = 64 * 1024;

/// The last line of an output that a host has not kept whole, as the wrapper of steps prints it.
const CUT: &[u8] = b"[... the rest was not kept ...]";

/// Stands for a zero byte of the output itself. Behind the zero byte of a mark is its kind.
const ZERO: [u8; 2] = [0, 0];

/// A kind of own names. Each has a mark of its own: a host that prints its name does not print the same as one that prints
/// its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Short = 1,
    Name,
    /// An address that is a name.
    Alias,
    V4,
    V6,
}

/// The names that a host may print of itself: each host prints others.
#[derive(Clone, Debug)]
pub struct OwnNames {
    /// The longest one first: a short name is part of the long one.
    words: Vec<(memmem::Finder<'static>, Kind)>,
}

impl OwnNames {
    pub fn new(name: &HostName, address: &str) -> OwnNames {
        let kinds = [(name.short(), Kind::Short), (name.as_str(), Kind::Name), (address, Kind::Alias)];
        let mut words: Vec<(&str, Kind)> = Vec::new();
        for (word, kind) in kinds {
            let Some(kind) = kind_of(word, kind) else { continue };
            if words.iter().all(|(known, _)| *known != word) {
                words.push((word, kind));
            }
        }
        words.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let finder = |(word, kind): (&str, Kind)| (memmem::Finder::new(word).into_owned(), kind);
        OwnNames { words: words.into_iter().map(finder).collect() }
    }

    /// The line with a mark in the place of each own name.
    pub fn masked<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        if self.is_plain(line) {
            return Cow::Borrowed(line);
        }
        let (mut masked, mut at) = (Vec::with_capacity(line.len()), 0);
        while let Some(byte) = line.get(at) {
            if let Some((length, kind)) = self.at(line, at) {
                masked.extend([0, kind as u8]);
                at += length;
                continue;
            }
            match byte {
                0 => masked.extend(ZERO),
                byte => masked.push(*byte),
            }
            at += 1;
        }
        Cow::Owned(masked)
    }

    /// True for text in which nothing is masked.
    fn is_plain(&self, text: &[u8]) -> bool {
        self.words.iter().all(|(word, _)| word.find(text).is_none()) && memchr::memchr(0, text).is_none()
    }

    /// The length and kind of the name that begins there, and is no part of a longer word or address.
    fn at(&self, line: &[u8], at: usize) -> Option<(usize, Kind)> {
        let is_word =
            |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        if is_word(at.checked_sub(1)) {
            return None;
        }
        let names = self.words.iter().map(|(word, kind)| (word.needle(), *kind));
        let mut here = names.filter(|(name, kind)| {
            let end = at + name.len();
            line[at..].starts_with(name) && !is_word(Some(end)) && !kind.continues(&line[..at], &line[end..])
        });
        here.next().map(|(name, kind)| (name.len(), kind))
    }
}

/// The kind of a name; `None` for one that may as well be a number of the output.
fn kind_of(word: &str, kind: Kind) -> Option<Kind> {
    match word.parse() {
        Ok(IpAddr::V4(_)) => Some(Kind::V4),
        Ok(IpAddr::V6(_)) => Some(Kind::V6),
        Err(_) => word.contains(|c: char| c.is_ascii_alphabetic()).then_some(kind),
    }
}

impl Kind {
    /// True if the address is a part of a longer one, such as a version number.
    fn continues(self, before: &[u8], after: &[u8]) -> bool {
        let is_joined = |separator: u8, near: Option<&u8>, next: Option<&u8>| {
            near == Some(&separator) && next.is_some_and(u8::is_ascii_hexdigit)
        };
        let reaches = |separator| {
            let mut back = before.iter().rev();
            is_joined(separator, back.next(), back.next())
                || is_joined(separator, after.first(), after.get(1))
        };
        match self {
            Kind::V4 => reaches(b'.'),
            Kind::V6 => reaches(b':'),
            Kind::Short | Kind::Name | Kind::Alias => false,
        }
    }
}

/// True for lines of two hosts that are the same, as they are or apart from their own names.
pub fn is_same((line, names): (&[u8], &OwnNames), (other, of_other): (&[u8], &OwnNames)) -> bool {
    line == other || names.masked(line) == of_other.masked(other)
}

/// A whole output, by digests of its lines. Two outputs are equal if one of their digests is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// Of the lines as they are.
    pub plain: u128,
    /// Of the lines with a mark in the place of own names.
    pub masked: u128,
    pub lines: u64,
}

impl Answer {
    /// The answer that the journal has all of; `None` if the host has not kept it whole.
    pub fn of(names: &OwnNames, stdout: &Output, stderr: &Output) -> Option<Answer> {
        let mut reader = AnswerReader::new(names);
        reader.push(false, stdout.text.as_bytes());
        reader.push(true, stderr.text.as_bytes());
        reader.finish()
    }
}

/// Reads an output piece by piece, in little memory. The two streams are apart: which of them came first is chance.
pub struct AnswerReader<'n> {
    names: &'n OwnNames,
    streams: [StreamReader; 2],
}

#[derive(Default)]
struct StreamReader {
    plain: Sha256,
    masked: Sha256,
    /// The line that is not over.
    line: Vec<u8>,
    is_long: bool,
    is_open: bool,
    lines: u64,
    is_cut: bool,
}

impl<'n> AnswerReader<'n> {
    pub fn new(names: &'n OwnNames) -> AnswerReader<'n> {
        AnswerReader { names, streams: Default::default() }
    }

    /// Adds bytes of standard output, or of standard error.
    pub fn push(&mut self, is_error: bool, bytes: &[u8]) {
        let stream = &mut self.streams[usize::from(is_error)];
        // Most pieces have no name in them, and are hashed at once.
        let bytes = match memchr::memrchr(b'\n', bytes) {
            Some(end) if !stream.is_open && self.names.is_plain(&bytes[..=end]) => {
                stream.plain_lines(&bytes[..=end]);
                &bytes[end + 1..]
            }
            _ => bytes,
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    stream.add(self.names, end);
                    stream.end(self.names);
                }
                None => stream.add(self.names, part),
            }
        }
    }

    /// `None` if the host has not kept it whole.
    pub fn finish(mut self) -> Option<Answer> {
        let mut answer = Answer { plain: 0, masked: 0, lines: 0 };
        let (mut plain, mut masked) = (Sha256::new(), Sha256::new());
        for stream in &mut self.streams {
            // A last line without its end is a line, too.
            if stream.is_open {
                stream.end(self.names);
            }
            if stream.is_cut {
                return None;
            }
            answer.lines += stream.lines;
            plain.update(std::mem::take(&mut stream.plain).finalize());
            masked.update(std::mem::take(&mut stream.masked).finalize());
        }
        Some(Answer { plain: short(plain), masked: short(masked), ..answer })
    }
}

impl StreamReader {
    fn add(&mut self, names: &OwnNames, part: &[u8]) {
        self.is_open = true;
        self.plain.update(part);
        let room = if self.is_long { 0 } else { LINE_BYTES - self.line.len() };
        let (head, rest) = part.split_at(room.min(part.len()));
        self.line.extend_from_slice(head);
        if !rest.is_empty() {
            self.flush(names);
            self.is_long = true;
            self.masked.update(rest);
        }
    }

    /// Whole lines in which nothing is masked.
    fn plain_lines(&mut self, lines: &[u8]) {
        self.plain.update(lines);
        self.masked.update(lines);
        self.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
        let last = lines.strip_suffix(b"\n").unwrap_or(lines);
        let start = memchr::memrchr(b'\n', last).map_or(0, |at| at + 1);
        self.is_cut = &last[start..] == CUT;
    }

    fn end(&mut self, names: &OwnNames) {
        self.is_cut = !self.is_long && self.line == CUT;
        self.flush(names);
        self.plain.update(b"\n");
        self.masked.update(b"\n");
        (self.is_long, self.is_open) = (false, false);
        self.lines += 1;
    }

    fn flush(&mut self, names: &OwnNames) {
        self.masked.update(names.masked(&self.line));
        self.line.clear();
    }
}

/// Half of a digest, which is as good as all of it here.
fn short(digest: Sha256) -> u128 {
    digest.finalize().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> OwnNames {
        OwnNames::new(&name.into(), "10.0.0.7")
    }

    fn answer(name: &str, stdout: &str, stderr: &str) -> Option<Answer> {
        let of = |text: &str| Output { text: text.into(), left_out: 0 };
        Answer::of(&names(name), &of(stdout), &of(stderr))
    }

    #[test]
    fn own_names_are_masked_and_longer_words_are_not() {
        let own = names("web1.prod");
        let table = [
            ("web1.prod is up", "N is up"),
            ("web1: web1.prod.example.com", "S: N.example.com"),
            ("/var/log/app-web1.log", "/var/log/app-S.log"),
            ("web10 web1x xweb1", "web10 web1x xweb1"),
            ("10.0.0.7:80 10.0.0.70 110.0.0.7", "A:80 10.0.0.70 110.0.0.7"),
            ("at 10.0.0.7. 1.10.0.0.7 10.0.0.7.1", "at A. 1.10.0.0.7 10.0.0.7.1"),
            ("web2.prod", "web2.prod"),
            ("", ""),
        ];
        for (line, wanted) in table {
            let masked = String::from_utf8(own.masked(line.as_bytes()).into_owned()).unwrap();
            let marks = [("\0\u{1}", "S"), ("\0\u{2}", "N"), ("\0\u{4}", "A")];
            let text = marks.iter().fold(masked, |text, (mark, letter)| text.replace(mark, letter));
            assert_eq!(text, wanted);
        }
        assert_ne!(own.masked(b"web1"), own.masked(b"\0\x01"), "no output imitates the mark");
    }

    #[test]
    fn equal_lines_have_equal_digests() {
        let one = answer("web1", "a\nweb1 is up\n", "").unwrap();
        let rows = [
            (answer("web2", "a\nweb2 is up\n", ""), (false, true)),
            (answer("web2", "a\nweb1 is up\n", ""), (true, false)),
            (answer("web1", "a\nweb1 is up", ""), (true, true)),
            (answer("web2", "a\nweb2 is up\n\n", ""), (false, false)),
            (answer("web2", "a\n", "web2 is up\n"), (false, false)),
            (answer("web2", "aweb2 is up\n", ""), (false, false)),
        ];
        for (at, (other, wanted)) in rows.into_iter().enumerate() {
            let other = other.unwrap();
            assert_eq!((one.plain == other.plain, one.masked == other.masked), wanted, "row {at}");
        }
        assert_eq!(one.lines, 2);
        assert_eq!(answer("web1", "", "").unwrap().lines, 0);
        assert_eq!(answer("web1", "a\n[... the rest was not kept ...]\n", ""), None);
    }

    #[test]
    fn a_name_is_not_an_address_and_a_number_is_no_name() {
        let of = |name: &str, address: &str| OwnNames::new(&name.into(), address);
        let rows = [
            // The hosts, their lines, and whether these are the same.
            (of("web1", "10.0.0.1"), "bind web1", of("web2", "10.0.0.2"), "bind 10.0.0.2", false),
            (of("web1", "10.0.0.1"), "bind 10.0.0.1", of("web2", "10.0.0.2"), "bind 10.0.0.2", true),
            (of("web1", "10.0.0.1"), "bind 10.0.0.1", of("web2", "fe80::2"), "bind fe80::2", false),
            (of("web1.a", ""), "host web1", of("web2.a", ""), "host web2.a", false),
            (of("web1.a", ""), "host web1.a", of("web2.a", ""), "host web2.a", true),
            (of("web1", "a.b"), "host a.b", of("web2", "10.0.0.2"), "host 10.0.0.2", false),
            (of("10.0.0.7", "10.0.0.7"), "10 errors", of("192.168.0.1", ""), "192 errors", false),
            (of("10.0.0.7", ""), "at 10.0.0.7", of("web2", "10.0.0.2"), "at 10.0.0.2", true),
            (of("7", "7"), "7 errors", of("8", "8"), "8 errors", false),
            (of("a", "::1"), "on [::1]:80", of("b", "::2"), "on [::2]:80", true),
            (of("a", "::1"), "on ::1:5", of("b", "::2"), "on ::2:5", false),
        ];
        for (names, line, of_other, other, wanted) in rows {
            let same = is_same((line.as_bytes(), &names), (other.as_bytes(), &of_other));
            assert_eq!(same, wanted, "{line} {other}");
        }
    }

    #[test]
    fn pieces_and_long_lines_change_nothing() {
        let own = names("web1");
        let text = [vec![b'x'; 3 * LINE_BYTES], b"\nweb1 ok\n".repeat(9), b"plain\nend\n".to_vec()].concat();
        let read = |size: usize| {
            let mut reader = AnswerReader::new(&own);
            text.chunks(size).for_each(|piece| reader.push(false, piece));
            reader.finish().unwrap()
        };
        assert_eq!(read(7), read(100_000));
        assert_eq!(read(7).lines, 20);
        assert_eq!(read(3 * LINE_BYTES), read(text.len()));
    }

    #[test]
    fn lines_are_the_same_as_they_are_or_but_for_own_names() {
        let (one, other) = (names("a"), names("b"));
        let rows = [("a file", "a file", true), ("host a", "host b", true), ("host a", "host c", false)];
        for (line, with, wanted) in rows {
            assert_eq!(is_same((line.as_bytes(), &one), (with.as_bytes(), &other)), wanted, "{line} {with}");
        }
    }
}
