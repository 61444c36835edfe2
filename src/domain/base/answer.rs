//! The outputs of hosts, to compare them: equal lines have equal digests, also where each host prints its own name.

use std::borrow::Cow;

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::name::HostName;
use super::output::Output;

/// Most bytes of a line in which names are looked for; the rest of a longer line is compared as it is.
const LINE_BYTES: usize = 64 * 1024;

/// The last line of an output that a host has not kept whole, as the wrapper of steps prints it.
const CUT: &[u8] = b"[... the rest was not kept ...]";

/// What stands for a name of the host. A zero byte of the output itself is written in another way.
const NAME: [u8; 2] = [0, 1];
const ZERO: [u8; 2] = [0, 2];

/// The names that a host may print of itself: each host prints others.
#[derive(Clone, Debug)]
pub struct OwnNames {
    /// The longest one first: a short name is part of the long one.
    words: Vec<memmem::Finder<'static>>,
}

impl OwnNames {
    pub fn new(name: &HostName, address: &str) -> OwnNames {
        let mut words: Vec<String> = [name.as_str(), name.short(), address].map(String::from).into();
        words.retain(|word| !word.is_empty());
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        let finder = |word: &String| memmem::Finder::new(word).into_owned();
        OwnNames { words: words.iter().map(finder).collect() }
    }

    /// The line with the same mark in the place of each own name.
    pub fn masked<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        if self.is_plain(line) {
            return Cow::Borrowed(line);
        }
        let (mut masked, mut at) = (Vec::with_capacity(line.len()), 0);
        while let Some(byte) = line.get(at) {
            if let Some(length) = self.at(line, at) {
                masked.extend(NAME);
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
        self.words.iter().all(|word| word.find(text).is_none()) && memchr::memchr(0, text).is_none()
    }

    /// The length of the name that begins there, and is no part of a longer word.
    fn at(&self, line: &[u8], at: usize) -> Option<usize> {
        let is_word =
            |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        if is_word(at.checked_sub(1)) {
            return None;
        }
        let names = self.words.iter().map(memmem::Finder::needle);
        let mut here = names.filter(|name| line[at..].starts_with(name) && !is_word(Some(at + name.len())));
        here.next().map(<[u8]>::len)
    }
}

/// True for lines of two hosts that are the same, as they are or but for their own names.
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
            ("web1: web1.prod.example.com", "N: N.example.com"),
            ("/var/log/app-web1.log", "/var/log/app-N.log"),
            ("web10 web1x xweb1", "web10 web1x xweb1"),
            ("10.0.0.7:80 10.0.0.70 110.0.0.7", "N:80 10.0.0.70 110.0.0.7"),
            ("web2.prod", "web2.prod"),
            ("", ""),
        ];
        for (line, wanted) in table {
            let masked = String::from_utf8(own.masked(line.as_bytes()).into_owned()).unwrap();
            assert_eq!(masked.replace("\0\u{1}", "N"), wanted);
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
