//! Reads an output by lines: a window of it, or its end. Nothing but the window is in memory.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::beside;
use super::index::{CHUNK_BYTES, LineIndex};
use super::parts::{Origin, OutputEnd, Part, Source, Summary, each, origins};

/// Most bytes that are read of one line; what is behind them is counted. Screens show less.
pub const LINE_BYTES: usize = 64 * 1024;

/// Most bytes of a window: then it ends early.
pub const WINDOW_BYTES: usize = 1024 * 1024;

/// Most lines of a window.
pub const WINDOW_LINES: usize = 10_000;

/// An output below this size has no index on the disk: reading it takes less than a millisecond.
pub const INDEXED_BYTES: u64 = 1024 * 1024;

/// One line of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// Counted from 1; it never changes.
    pub number: u64,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Without its line feed.
    pub bytes: Vec<u8>,
    /// Bytes of it that were not read.
    pub beyond: u64,
    /// When it came and from where, if that is on record.
    pub origin: Option<Origin>,
}

/// What is known of an output without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputState {
    pub bytes: u64,
    pub lines: u64,
    /// When it started, in milliseconds since 1970.
    pub begun_ms: Option<i64>,
    /// `None` while it is written, and if rollcall ended before it had.
    pub end: Option<OutputEnd>,
}

/// An output that is open for reading: what it had when it was opened, also if it grows afterwards.
pub struct OutputFile {
    path: PathBuf,
    data: File,
    length: u64,
    index: LineIndex,
    ends: bool,
}

impl OutputFile {
    /// Opens an output; `None` if there is none.
    pub fn open(path: &Path) -> std::io::Result<Option<OutputFile>> {
        let mut data = match File::open(path) {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = data.metadata()?.len();
        let kept = if length < INDEXED_BYTES { None } else { std::fs::read(beside(path, "lines")).ok() };
        let mut index = kept.and_then(|bytes| LineIndex::decode(&bytes, length)).unwrap_or_default();
        index.catch_up(&mut data.by_ref())?;
        // It may have grown while it was read.
        let length = index.covered();
        let ends = length > 0 && byte_at(&mut data, length - 1)? == b'\n';
        Ok(Some(OutputFile { path: path.to_path_buf(), data, length, index, ends }))
    }

    /// Its size, and how it ended.
    pub fn state(&self) -> std::io::Result<OutputState> {
        let summary = self.summary()?;
        Ok(OutputState {
            bytes: self.length,
            lines: self.lines(),
            begun_ms: summary.begun_ms,
            end: summary.end.filter(|_| summary.out + summary.err + summary.breaks == self.length),
        })
    }

    /// The number of its lines.
    pub fn lines(&self) -> u64 {
        self.index.lines(self.ends)
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Lines from this number on: fewer than `count` at the end, and when they are long.
    pub fn window(&mut self, from: u64, count: usize) -> std::io::Result<Vec<OutputLine>> {
        let lines = window(&mut self.data, &self.index, self.length, (from, count))?;
        self.with_origins(lines)
    }

    /// The lines with these ascending numbers.
    pub fn pick(&mut self, numbers: &[u64]) -> std::io::Result<Vec<OutputLine>> {
        let mut lines = Vec::with_capacity(numbers.len());
        for number in numbers {
            lines.extend(window(&mut self.data, &self.index, self.length, (*number, 1))?);
        }
        self.with_origins(lines)
    }

    fn with_origins(&self, mut lines: Vec<OutputLine>) -> std::io::Result<Vec<OutputLine>> {
        let offsets: Vec<u64> = lines.iter().map(|line| line.offset).collect();
        let found = match self.parts()? {
            Some(mut parts) => origins(&mut parts, &offsets).unwrap_or_default(),
            None => Vec::new(),
        };
        lines.iter_mut().zip(found).for_each(|(line, origin)| line.origin = origin);
        Ok(lines)
    }

    /// The last lines.
    pub fn tail(&mut self, count: usize) -> std::io::Result<Vec<OutputLine>> {
        let first = self.lines().saturating_sub(count as u64) + 1;
        self.window(first, count)
    }

    /// All of it, from the first byte on.
    pub fn reader(&mut self) -> std::io::Result<impl Read + '_> {
        self.data.rewind()?;
        Ok((&mut self.data).take(self.length))
    }

    /// Passes all of it on, piece by piece, each with the stream that it is of.
    pub fn pieces(&mut self, mut take: impl FnMut(Source, &[u8])) -> std::io::Result<()> {
        let (mut chunk, parts) = (vec![0; CHUNK_BYTES], self.parts()?);
        self.data.rewind()?;
        let mut data = (&mut self.data).take(self.length);
        let mut pass = |length: u64, source: Option<Source>| -> std::io::Result<()> {
            let mut left = length;
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                let read = data.read(&mut chunk[..wanted])?;
                if read == 0 {
                    return Ok(());
                }
                source.iter().for_each(|source| take(*source, &chunk[..read]));
                left -= read as u64;
            }
            Ok(())
        };
        let mut failed = None;
        if let Some(mut parts) = parts {
            each(&mut parts, |part, _| {
                let passed = match part {
                    Part::Bytes { source, bytes, .. } => pass(*bytes, Some(*source)),
                    // A line end that the command did not print.
                    Part::Break => pass(1, None),
                    Part::Begun { .. } | Part::End(_) => Ok(()),
                };
                failed = passed.err();
                failed.is_none()
            })?;
        }
        match failed {
            Some(error) => Err(error),
            // Bytes of which no part is on record.
            None => pass(u64::MAX, Some(Source::Out)),
        }
    }

    /// Some of its bytes, at most `CHUNK_BYTES`.
    pub fn piece(&mut self, from: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
        let bytes = bytes.min(CHUNK_BYTES as u64).min(self.length.saturating_sub(from));
        self.data.seek(SeekFrom::Start(from))?;
        let mut piece = Vec::new();
        (&mut self.data).take(bytes).read_to_end(&mut piece)?;
        Ok(piece)
    }

    /// The file beside it; `None` if there is none.
    pub(super) fn parts(&self) -> std::io::Result<Option<BufReader<File>>> {
        match File::open(beside(&self.path, "parts")) {
            Ok(file) => Ok(Some(BufReader::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn summary(&self) -> std::io::Result<Summary> {
        match self.parts()? {
            // Of another program: then nothing but the bytes is known.
            Some(mut parts) => Ok(Summary::read(&mut parts, self.length).unwrap_or_default()),
            None => Ok(Summary::default()),
        }
    }
}

fn byte_at(from: &mut (impl Read + Seek), at: u64) -> std::io::Result<u8> {
    let mut byte = [0];
    from.seek(SeekFrom::Start(at))?;
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Lines of any source with an index, within its first `length` bytes.
pub fn window(
    from: &mut (impl Read + Seek),
    index: &LineIndex,
    length: u64,
    (first, count): (u64, usize),
) -> std::io::Result<Vec<OutputLine>> {
    let (start, number) = index.before(first);
    from.seek(SeekFrom::Start(start))?;
    let mut taker = Taker {
        first: first.max(1),
        count: count.min(WINDOW_LINES),
        number,
        offset: start,
        line: None,
        lines: Vec::new(),
        bytes: 0,
    };
    let (mut chunk, mut left) = (vec![0; CHUNK_BYTES], length.saturating_sub(start));
    while left > 0 && !taker.is_done() {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let read = from.read(&mut chunk[..wanted])?;
        if read == 0 {
            break;
        }
        taker.take(&chunk[..read]);
        left -= read as u64;
    }
    Ok(taker.finish())
}

/// Takes lines out of pieces of an output.
struct Taker {
    first: u64,
    count: usize,
    /// The line that the next byte belongs to.
    number: u64,
    offset: u64,
    line: Option<OutputLine>,
    lines: Vec<OutputLine>,
    bytes: usize,
}

impl Taker {
    fn is_done(&self) -> bool {
        self.lines.len() >= self.count || self.bytes >= WINDOW_BYTES
    }

    fn take(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() && !self.is_done() {
            let end = memchr::memchr(b'\n', chunk);
            let (part, rest) = chunk.split_at(end.map_or(chunk.len(), |at| at + 1));
            if self.number >= self.first {
                self.add(part.strip_suffix(b"\n").unwrap_or(part));
            }
            self.offset += part.len() as u64;
            if end.is_some() {
                self.number += 1;
                self.lines.extend(self.line.take());
            }
            chunk = rest;
        }
    }

    fn add(&mut self, part: &[u8]) {
        let (number, offset) = (self.number, self.offset);
        let line = self.line.get_or_insert_with(|| OutputLine {
            number,
            offset,
            bytes: Vec::new(),
            beyond: 0,
            origin: None,
        });
        let room = LINE_BYTES.saturating_sub(line.bytes.len()).min(part.len());
        line.bytes.extend_from_slice(&part[..room]);
        line.beyond += (part.len() - room) as u64;
        self.bytes += room;
    }

    fn finish(mut self) -> Vec<OutputLine> {
        if !self.is_done() {
            self.lines.extend(self.line.take());
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn indexed(text: &[u8]) -> LineIndex {
        let mut index = LineIndex::default();
        index.extend(text);
        index
    }

    fn numbers(text: &[u8], from: u64, count: usize) -> Vec<(u64, String)> {
        let lines = window(&mut Cursor::new(text), &indexed(text), text.len() as u64, (from, count)).unwrap();
        lines.into_iter().map(|line| (line.number, String::from_utf8(line.bytes).unwrap())).collect()
    }

    #[test]
    fn a_window_has_the_lines_that_were_asked_for() {
        let text: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
        let wanted = |range: std::ops::RangeInclusive<u64>| -> Vec<_> {
            range.map(|n| (n, format!("line {n}"))).collect()
        };
        let of = |from, count| numbers(text.as_bytes(), from, count);
        assert_eq!(of(1, 3), wanted(1..=3));
        assert_eq!(of(0, 3), wanted(1..=3));
        assert_eq!(of(127, 5), wanted(127..=131));
        assert_eq!(of(999, 5), wanted(999..=1000));
        assert_eq!(of(1001, 5), []);
        assert_eq!(of(5, 0), []);
        assert_eq!(numbers(b"a\n\nb", 1, 9), [(1, "a".into()), (2, String::new()), (3, "b".into())]);
        assert_eq!(numbers(b"", 1, 9), []);
    }

    #[test]
    fn long_lines_do_not_fill_the_memory() {
        let long = vec![b'x'; 3 * LINE_BYTES];
        let text = [&long[..], b"\nnext\n"].concat();
        let lines = window(&mut Cursor::new(&text), &indexed(&text), text.len() as u64, (1, 2)).unwrap();
        assert_eq!((lines[0].bytes.len(), lines[0].beyond), (LINE_BYTES, 2 * LINE_BYTES as u64));
        assert_eq!((lines[1].number, &lines[1].bytes[..]), (2, &b"next"[..]));
        let many = [&long[..LINE_BYTES], b"\n"].concat().repeat(40);
        let lines = window(&mut Cursor::new(&many), &indexed(&many), many.len() as u64, (1, 40)).unwrap();
        assert_eq!(lines.len(), WINDOW_BYTES / LINE_BYTES, "the next window continues there");
    }

    proptest! {
        #[test]
        fn windows_are_the_lines_of_the_text(text in "[a-c\n]{0,600}", from in 1u64..300, count in 0usize..200) {
            let all = text.strip_suffix('\n').unwrap_or(&text);
            let lines: Vec<&str> = if text.is_empty() { vec![] } else { all.split('\n').collect() };
            let skipped = usize::try_from(from).unwrap() - 1;
            let wanted: Vec<(u64, String)> = lines.iter().enumerate().skip(skipped).take(count)
                .map(|(at, line)| (at as u64 + 1, line.to_string())).collect();
            prop_assert_eq!(numbers(text.as_bytes(), from, count), wanted);
            prop_assert_eq!(indexed(text.as_bytes()).lines(text.ends_with('\n')), lines.len() as u64);
        }
    }

    #[test]
    fn a_file_is_read_with_what_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("5-1");
        assert!(OutputFile::open(&path).unwrap().is_none());
        std::fs::write(&path, "one\ntwo\nthree").unwrap();
        let mut file = OutputFile::open(&path).unwrap().unwrap();
        assert_eq!(file.state().unwrap(), OutputState { bytes: 13, lines: 3, begun_ms: None, end: None });
        assert_eq!(file.tail(2).unwrap().iter().map(|line| line.number).collect::<Vec<_>>(), [2, 3]);
        std::fs::write(beside(&path, "parts"), "rollcall 1 50\nout 4 1\nerr 9 2\nend 0 \n").unwrap();
        let state = file.state().unwrap();
        assert_eq!((state.begun_ms, state.end), (Some(50), Some(OutputEnd::default())));
        let line = &file.window(2, 1).unwrap()[0];
        assert_eq!(line.origin, Some(Origin { source: Source::Err, after_ms: 2 }));
        let mut text = String::new();
        file.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\nthree");
        let picked: Vec<_> = file.pick(&[1, 3, 9]).unwrap().iter().map(|line| line.number).collect();
        assert_eq!(picked, [1, 3]);
        assert_eq!(file.piece(4, 3).unwrap(), b"two");
        let mut streams = [Vec::new(), Vec::new()];
        file.pieces(|source, bytes| streams[usize::from(source == Source::Err)].extend_from_slice(bytes))
            .unwrap();
        assert_eq!(streams, [b"one\n".to_vec(), b"two\nthree".to_vec()]);
        assert_eq!(file.piece(12, 300).unwrap(), b"e");
        // Something else than ours is beside it: the output is there all the same.
        std::fs::write(beside(&path, "parts"), "hello\n").unwrap();
        assert_eq!(file.state().unwrap().end, None);
        assert_eq!(file.window(1, 1).unwrap()[0].bytes, b"one");
    }
}
