//! Where the lines of a long output are: the offset of each 128th line. 100 MB of lines take some 60 KiB.

use std::io::{Read, Seek, SeekFrom};

/// Lines from one offset of the index to the next.
pub const STRIDE: u64 = 128;

/// Bytes read at once.
pub const CHUNK_BYTES: usize = 256 * 1024;

const MAGIC: &[u8; 8] = b"RCLINES1";

/// An index of lines. A line is ended by a line feed; what is behind the last one is a line, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineIndex {
    /// The offsets of line 1 + 128 n.
    offsets: Vec<u64>,
    /// Line feeds so far.
    feeds: u64,
    /// Bytes that were read.
    covered: u64,
}

impl LineIndex {
    /// Adds the next bytes of the output.
    pub fn extend(&mut self, bytes: &[u8]) {
        for at in memchr::memchr_iter(b'\n', bytes) {
            self.feeds += 1;
            if self.feeds.is_multiple_of(STRIDE) {
                self.offsets.push(self.covered + at as u64 + 1);
            }
        }
        self.covered += bytes.len() as u64;
    }

    /// Reads what was added to an output since.
    pub fn catch_up(&mut self, from: &mut (impl Read + Seek)) -> std::io::Result<()> {
        from.seek(SeekFrom::Start(self.covered))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut chunk)? {
                0 => return Ok(()),
                read => self.extend(&chunk[..read]),
            }
        }
    }

    /// Bytes of the output that it covers.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// The number of lines, with one that has not ended. `ends` says whether the output ends with a line feed.
    pub fn lines(&self, ends: bool) -> u64 {
        self.feeds + u64::from(!ends && self.covered > 0)
    }

    /// An offset at or before the start of a line, and the number of the line that starts there. Lines count from 1.
    pub fn before(&self, line: u64) -> (u64, u64) {
        let at = line.saturating_sub(1) / STRIDE;
        match usize::try_from(at).ok().and_then(|at| at.checked_sub(1)) {
            None => (0, 1),
            Some(at) => match self.offsets.get(at) {
                Some(offset) => (*offset, (at as u64 + 1) * STRIDE + 1),
                None => match self.offsets.last() {
                    Some(offset) => (*offset, self.offsets.len() as u64 * STRIDE + 1),
                    None => (0, 1),
                },
            },
        }
    }

    /// The index as bytes of a file.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = [self.covered, self.feeds].into_iter().chain(self.offsets.iter().copied());
        MAGIC.iter().copied().chain(numbers.flat_map(u64::to_le_bytes)).collect()
    }

    /// Reads an index that belongs to an output of this length; `None` if it does not.
    pub fn decode(bytes: &[u8], length: u64) -> Option<LineIndex> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (numbers, odd) = rest.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let (covered, feeds) = (numbers.next()?, numbers.next()?);
        let offsets: Vec<u64> = numbers.collect();
        let fits = odd.is_empty()
            && covered <= length
            && feeds <= covered
            && offsets.len() as u64 == feeds / STRIDE
            && offsets.is_sorted_by(|a, b| a < b)
            && offsets.last().is_none_or(|last| *last <= covered);
        fits.then_some(LineIndex { offsets, feeds, covered })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        (1..=count).map(|n| format!("line {n}\n")).collect::<String>().into_bytes()
    }

    #[test]
    fn every_line_is_found() {
        let text = lines(1000);
        let mut whole = LineIndex::default();
        whole.extend(&text);
        let mut pieces = LineIndex::default();
        text.chunks(7).for_each(|piece| pieces.extend(piece));
        let mut caught_up = LineIndex::default();
        caught_up.extend(&text[..5000]);
        caught_up.catch_up(&mut Cursor::new(&text)).unwrap();
        assert!(whole == pieces && whole == caught_up);
        assert_eq!((whole.lines(true), whole.lines(false), whole.covered()), (1000, 1001, text.len() as u64));
        for line in [1, 2, 128, 129, 130, 256, 257, 896, 897, 1000, 5000] {
            let (offset, number) = whole.before(line);
            let at = usize::try_from(offset).unwrap();
            assert!(text[at..].starts_with(format!("line {number}\n").as_bytes()), "{line}: {number}");
            assert!(number <= line && (line > 1000 || line - number < STRIDE));
        }
        assert_eq!(LineIndex::default().before(7), (0, 1));
    }

    #[test]
    fn an_index_of_another_file_is_not_taken() {
        let text = lines(300);
        let mut index = LineIndex::default();
        index.extend(&text);
        let (bytes, length) = (index.encode(), text.len() as u64);
        assert_eq!(LineIndex::decode(&bytes, length), Some(index.clone()));
        assert_eq!(LineIndex::decode(&bytes, length + 1), Some(index), "the output has grown");
        assert_eq!(LineIndex::decode(&bytes, length - 1), None);
        for at in 0..bytes.len() {
            let _ = LineIndex::decode(&bytes[..at], length);
        }
        assert_eq!(LineIndex::decode(&bytes[..bytes.len() - 8], length), None);
        assert_eq!(LineIndex::decode(b"", length), None);
    }
}
