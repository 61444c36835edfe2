//! What is beside an output: which of its bytes came when and from which stream, and how it ended. One line for each part:
//!
//! ```text
//! rollcall 1 1764346800000    the version, and the time of the start in milliseconds
//! out 4096 120                bytes of standard output, and how long after the start they came
//! err 12 130
//! break                       a line end that neither stream printed: the other one began within a line
//! end 0                       the end: bytes that were not kept, and why
//! ```

use std::io::{BufRead, ErrorKind};

/// The first word of the file, and its version.
const FIRST: &str = "rollcall 1 ";

/// Longest line of the file, in bytes. A longer one is not ours.
const LINE_BYTES: u64 = 1024;

/// One of the two outputs of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Out,
    Err,
}

impl Source {
    /// Standard error, or standard output.
    pub fn of(is_error: bool) -> Source {
        if is_error { Source::Err } else { Source::Out }
    }
}

/// How the output of a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputEnd {
    /// Bytes that are not in the file.
    pub not_kept: u64,
    /// Why; empty if everything is there.
    pub why: String,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Begun { at_ms: i64 },
    Bytes { source: Source, bytes: u64, after_ms: u64 },
    Break,
    End(OutputEnd),
}

impl Part {
    /// The line.
    pub fn text(&self) -> String {
        match self {
            Part::Begun { at_ms } => format!("{FIRST}{at_ms}\n"),
            Part::Bytes { source: Source::Out, bytes, after_ms } => format!("out {bytes} {after_ms}\n"),
            Part::Bytes { source: Source::Err, bytes, after_ms } => format!("err {bytes} {after_ms}\n"),
            Part::Break => "break\n".into(),
            Part::End(end) => format!("end {} {}\n", end.not_kept, end.why.replace('\n', " ")),
        }
    }

    fn parse(line: &str) -> Option<Part> {
        if let Some(at_ms) = line.strip_prefix(FIRST) {
            return Some(Part::Begun { at_ms: at_ms.parse().ok()? });
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (number, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let bytes =
            |source| Some(Part::Bytes { source, bytes: number.parse().ok()?, after_ms: more.parse().ok()? });
        match word {
            "out" => bytes(Source::Out),
            "err" => bytes(Source::Err),
            "break" if rest.is_empty() => Some(Part::Break),
            "end" => Some(Part::End(OutputEnd { not_kept: number.parse().ok()?, why: more.into() })),
            _ => None,
        }
    }
}

/// What all parts say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub begun_ms: Option<i64>,
    /// Bytes of standard output and of standard error.
    pub out: u64,
    pub err: u64,
    /// Line ends that neither printed.
    pub breaks: u64,
    /// The stream that the last bytes came from.
    pub last: Option<Source>,
    pub end: Option<OutputEnd>,
    /// Bytes of the file itself that are whole lines; a line that was cut off by a loss of power is behind them.
    pub whole: u64,
}

impl Summary {
    /// Bytes of the output that the parts account for.
    pub fn bytes(&self) -> u64 {
        self.out + self.err + self.breaks
    }

    /// Bytes of one stream.
    pub fn of(&self, source: Source) -> u64 {
        match source {
            Source::Out => self.out,
            Source::Err => self.err,
        }
    }

    /// Adds a part.
    pub fn take(&mut self, part: &Part) {
        match part {
            Part::Begun { at_ms } => self.begun_ms = Some(*at_ms),
            Part::Bytes { source, bytes, .. } => {
                match source {
                    Source::Out => self.out += bytes,
                    Source::Err => self.err += bytes,
                }
                self.last = Some(*source);
                self.end = None;
            }
            Part::Break => self.breaks += 1,
            Part::End(end) => self.end = Some(end.clone()),
        }
    }

    /// Reads all parts that belong to an output of this length. Parts beyond it were written just before a loss of power,
    /// which took the output with it.
    pub fn read(from: &mut impl BufRead, length: u64) -> std::io::Result<Summary> {
        let mut summary = Summary::default();
        each(from, |part, whole| {
            let mut next = summary.clone();
            next.take(part);
            let fits = next.bytes() <= length;
            if fits {
                summary = Summary { whole, ..next };
            }
            fits
        })?;
        Ok(summary)
    }
}

/// Where a byte of an output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub source: Source,
    pub after_ms: u64,
}

/// The origins of some bytes, by their ascending offsets. Bytes of which no part is on record have none.
pub fn origins(from: &mut impl BufRead, offsets: &[u64]) -> std::io::Result<Vec<Option<Origin>>> {
    let mut origins = Vec::with_capacity(offsets.len());
    let mut end = 0;
    each(from, |part, _| {
        let origin = match part {
            Part::Bytes { source, bytes, after_ms } => {
                end += bytes;
                Some(Origin { source: *source, after_ms: *after_ms })
            }
            Part::Break => {
                end += 1;
                None
            }
            _ => return true,
        };
        while offsets.get(origins.len()).is_some_and(|offset| *offset < end) {
            origins.push(origin);
        }
        origins.len() < offsets.len()
    })?;
    origins.resize(offsets.len(), None);
    Ok(origins)
}

/// Calls `take` for each whole line with the length of the file up to its end, until it returns false.
pub(super) fn each(from: &mut impl BufRead, mut take: impl FnMut(&Part, u64) -> bool) -> std::io::Result<()> {
    let mut whole = 0;
    while let Some((part, read)) = next(from)? {
        whole += read;
        if !take(&part, whole) {
            return Ok(());
        }
    }
    Ok(())
}

/// The next part, and the bytes of its line; `None` at the end, and at a line that was cut off.
pub(super) fn next(from: &mut impl BufRead) -> std::io::Result<Option<(Part, u64)>> {
    let mut line = Vec::new();
    let read = std::io::Read::take(&mut *from, LINE_BYTES).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    let part = std::str::from_utf8(&line).ok().and_then(|line| Part::parse(line.trim_end_matches('\n')));
    let part =
        part.ok_or_else(|| std::io::Error::new(ErrorKind::InvalidData, "a line of another program"))?;
    Ok(Some((part, read as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "rollcall 1 1000\nout 10 5\nerr 4 7\nbreak\nout 6 9\nend 12 no space\n";

    #[test]
    fn parts_are_written_and_read() {
        let mut parts = Vec::new();
        each(&mut FILE.as_bytes(), |part, _| {
            parts.push(part.clone());
            true
        })
        .unwrap();
        assert_eq!(parts.iter().map(Part::text).collect::<String>(), FILE);
        let summary = Summary::read(&mut FILE.as_bytes(), 21).unwrap();
        let wanted = Summary {
            begun_ms: Some(1000),
            out: 16,
            err: 4,
            breaks: 1,
            last: Some(Source::Out),
            end: Some(OutputEnd { not_kept: 12, why: "no space".into() }),
            whole: FILE.len() as u64,
        };
        assert_eq!(summary, wanted);
    }

    #[test]
    fn what_a_loss_of_power_took_is_not_counted() {
        let of = |text: &str, length| Summary::read(&mut text.as_bytes(), length).unwrap();
        let table = [
            (FILE, 20, 15),
            (FILE, 14, 14),
            (FILE, 13, 10),
            ("rollcall 1 1000\nout 10 5\nerr 4", 14, 10),
            ("", 5, 0),
        ];
        for (text, length, wanted) in table {
            let summary = of(text, length);
            assert_eq!((summary.bytes(), summary.end), (wanted, None), "{text:?} {length}");
        }
        assert!(Summary::read(&mut &b"hello\n"[..], 1).is_err());
        assert!(Summary::read(&mut &b"out -1 0\n"[..], 1).is_err());
    }

    #[test]
    fn each_byte_has_its_origin() {
        let at = |source, after_ms| Some(Origin { source, after_ms });
        let wanted =
            [at(Source::Out, 5), at(Source::Out, 5), at(Source::Err, 7), None, at(Source::Out, 9), None];
        assert_eq!(origins(&mut FILE.as_bytes(), &[0, 9, 10, 14, 15, 21]).unwrap(), wanted);
    }
}
