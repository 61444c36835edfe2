//! Reads the lines of one of the two streams of an output, as the command printed them: a line of the file that ends because
//! the other stream began within it goes on with the next bytes of its stream.

use std::io::{BufRead, BufReader};

use super::index::CHUNK_BYTES;
use super::parts::{Part, Source, next};
use super::read::{LINE_BYTES, OutputFile, OutputLine};

/// See the module. Both files are read forward, once.
pub struct StreamLines<'a> {
    data: Box<dyn BufRead + Send + 'a>,
    parts: Box<dyn BufRead + Send + 'a>,
    wanted: Source,
    /// The stream that the next bytes are of; `None` for a line end that the command did not print.
    source: Option<Source>,
    /// Bytes of it before the next part.
    left: u64,
    /// The line of the file that the next byte belongs to, and the offset of that byte.
    number: u64,
    offset: u64,
}

impl OutputFile {
    /// The lines of one of the two streams, from the first one on.
    pub fn stream(&mut self, wanted: Source) -> std::io::Result<StreamLines<'_>> {
        let parts: Box<dyn BufRead + Send> = match self.parts()? {
            Some(parts) => Box::new(parts),
            None => Box::new(std::io::empty()),
        };
        Ok(StreamLines::new(BufReader::with_capacity(CHUNK_BYTES, self.reader()?), parts, wanted))
    }
}

impl<'a> StreamLines<'a> {
    /// From the bytes of an output and the lines of the file beside it. Bytes of which no part is on record are of standard output.
    pub fn new(
        data: impl BufRead + Send + 'a,
        parts: impl BufRead + Send + 'a,
        wanted: Source,
    ) -> StreamLines<'a> {
        let (data, parts) = (Box::new(data), Box::new(parts));
        StreamLines { data, parts, wanted, source: None, left: 0, number: 1, offset: 0 }
    }

    /// The next line, with the number of the line of the file in which it starts. Subtracts the bytes that it reads from
    /// `budget`; `None` at the end, and as soon as the budget is 0.
    pub fn next(&mut self, budget: &mut usize) -> std::io::Result<Option<OutputLine>> {
        let mut line: Option<OutputLine> = None;
        while *budget > 0 {
            if self.left == 0 {
                self.next_part(budget)?;
                continue;
            }
            let chunk = self.data.fill_buf()?;
            if chunk.is_empty() {
                return Ok(line);
            }
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len()).min(*budget);
            let end = memchr::memchr(b'\n', &chunk[..most]);
            let read = end.map_or(most, |at| at + 1);
            let is_wanted = self.source == Some(self.wanted);
            if is_wanted {
                let (number, offset) = (self.number, self.offset);
                let line = line.get_or_insert_with(|| begun(number, offset));
                add(line, &chunk[..end.unwrap_or(read)]);
            }
            self.data.consume(read);
            *budget -= read;
            self.left -= read as u64;
            self.offset += read as u64;
            if end.is_some() {
                self.number += 1;
                if is_wanted {
                    return Ok(line);
                }
            }
        }
        Ok(None)
    }

    fn next_part(&mut self, budget: &mut usize) -> std::io::Result<()> {
        let part = next(&mut self.parts)?;
        if let Some((_, read)) = part {
            *budget = budget.saturating_sub(usize::try_from(read).unwrap_or(usize::MAX));
        }
        (self.source, self.left) = match part.map(|(part, _)| part) {
            Some(Part::Bytes { source, bytes, .. }) => (Some(source), bytes),
            Some(Part::Break) => (None, 1),
            Some(Part::Begun { .. } | Part::End(_)) => (None, 0),
            None => (Some(Source::Out), u64::MAX),
        };
        Ok(())
    }
}

fn begun(number: u64, offset: u64) -> OutputLine {
    OutputLine { number, offset, bytes: Vec::new(), beyond: 0, origin: None }
}

fn add(line: &mut OutputLine, part: &[u8]) {
    let room = LINE_BYTES.saturating_sub(line.bytes.len()).min(part.len());
    line.bytes.extend_from_slice(&part[..room]);
    line.beyond += (part.len() - room) as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, parts: &str, wanted: Source, mut budget: usize) -> Vec<(u64, String)> {
        let mut stream = StreamLines::new(text.as_bytes(), parts.as_bytes(), wanted);
        let next = || stream.next(&mut budget).unwrap();
        let line = |line: OutputLine| (line.number, String::from_utf8(line.bytes).unwrap());
        std::iter::from_fn(next).map(line).collect()
    }

    #[test]
    fn a_line_that_the_other_stream_cut_is_whole() {
        let text = "start\nerr\ning\nnext";
        let parts = "rollcall 1 0\nout 5 0\nbreak\nerr 4 0\nout 8 1\nend 0 \n";
        let rows = [
            (text, parts, Source::Out, vec![(1, "starting"), (4, "next")]),
            (text, parts, Source::Err, vec![(2, "err")]),
            (text, "", Source::Out, vec![(1, "start"), (2, "err"), (3, "ing"), (4, "next")]),
            (text, "", Source::Err, vec![]),
            ("a\n\nb\n", "out 2 0\nout 1 0\n", Source::Out, vec![(1, "a"), (2, ""), (3, "b")]),
            ("", "", Source::Out, vec![]),
            // Behind the end of the data.
            ("a", "out 9 0\nerr 9 0\n", Source::Out, vec![(1, "a")]),
        ];
        for (text, parts, wanted, found) in rows {
            let found: Vec<(u64, String)> =
                found.into_iter().map(|(number, line)| (number, line.into())).collect();
            assert_eq!(lines(text, parts, wanted, 1_000), found, "{text:?} {parts:?}");
        }
    }

    #[test]
    fn the_budget_ends_it_also_within_a_long_line_and_among_parts() {
        let many_parts = "err 0 0\n".repeat(100);
        let rows = [("a\nb\nc\n".to_string(), ""), ("x".repeat(500), ""), ("a\n".into(), &*many_parts)];
        for ((text, parts), wanted) in rows.iter().zip([2, 0, 0]) {
            assert_eq!(lines(text, parts, Source::Out, 5).len(), wanted, "{text:.9}");
        }
        let mut stream = StreamLines::new(&[b'x'; LINE_BYTES + 9][..], &b""[..], Source::Out);
        let mut budget = 2 * LINE_BYTES;
        let line = stream.next(&mut budget).unwrap().unwrap();
        assert_eq!((line.bytes.len(), line.beyond), (LINE_BYTES, 9));
        let mut other = StreamLines::new(&b"a"[..], &b"hello\n"[..], Source::Out);
        assert!(other.next(&mut 99).is_err(), "the file beside it is of another program");
    }
}
