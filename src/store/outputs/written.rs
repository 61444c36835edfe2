//! One output while it is written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::job::Piece;
use crate::local::artifacts::{RESERVE_BYTES, free_bytes};
use crate::local::outputs::beside;
use crate::local::outputs::index::LineIndex;
use crate::local::outputs::parts::{OutputEnd, Part, Source, Summary};
use crate::local::outputs::read::INDEXED_BYTES;
use crate::port::outputs::Resent;

/// The free space of the disk is read again after this many bytes.
const SPACE_EVERY_BYTES: u64 = 4 * 1024 * 1024;

/// One output.
pub(super) struct Written {
    path: PathBuf,
    /// `None` until there is something to write.
    files: Option<Files>,
    /// The exchange that the last piece was of.
    session: u64,
    /// For each stream: where the session starts, and how much of it was read.
    base: [u64; 2],
    seen: [u64; 2],
    /// Why nothing more is written.
    broken: Option<String>,
}

struct Files {
    data: File,
    parts: File,
    summary: Summary,
    index: LineIndex,
    /// The output is empty, or ends with a line feed.
    ends: bool,
    /// Bytes that were written since the free space was read.
    unproven: u64,
}

impl Written {
    pub(super) fn new(path: PathBuf) -> Written {
        Written { path, files: None, session: 0, base: [0; 2], seen: [0; 2], broken: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.files.is_some()
    }

    /// Closes the files; the counts of read and stored bytes stay.
    pub(super) fn close(&mut self) {
        self.files = None;
    }

    /// Writes what is new in a piece. Returns why it was not kept, if the disk is the reason.
    pub(super) fn write(&mut self, piece: &Piece, limit: u64) -> Option<String> {
        if piece.session != self.session {
            self.begin(piece);
        }
        if let Err(error) = self.open(piece.at_ms, false) {
            self.broken = Some(reason(&error));
        }
        let at = usize::from(piece.source == Source::Err);
        let from = self.base[at] + piece.from;
        self.seen[at] = self.seen[at].max(from + piece.bytes.len() as u64);
        if self.broken.is_some() {
            return None;
        }
        let (kept, total) = self
            .files
            .as_ref()
            .map_or((0, 0), |files| (files.summary.of(piece.source), files.summary.bytes()));
        if from > kept {
            self.broken = Some("the disk could not keep up".into());
            return self.broken.clone();
        }
        let known = usize::try_from(kept - from).unwrap_or(usize::MAX).min(piece.bytes.len());
        let new = &piece.bytes[known..];
        let room = usize::try_from(limit.saturating_sub(total)).unwrap_or(usize::MAX);
        let bytes = &new[..new.len().min(room)];
        if !bytes.is_empty()
            && let Err(error) = self.append(piece, bytes)
        {
            let why = reason(&error);
            self.broken = Some(why.clone());
            return Some(why);
        }
        if bytes.len() < new.len() {
            self.broken = Some(format!("the limit of one output is {limit} bytes"));
        }
        None
    }

    /// A session that starts again may fill a gap.
    fn begin(&mut self, piece: &Piece) {
        self.session = piece.session;
        self.broken = self.open(piece.at_ms, false).err().map(|error| reason(&error));
        let kept = self.files.as_mut().map_or([0; 2], |files| {
            if piece.resent == Resent::Anew {
                files.adopt();
            } else if files.cut_back().is_err() {
                self.broken = Some("the file could not be cut back to what is known of it".into());
            }
            [files.summary.out, files.summary.err]
        });
        self.base = if piece.resent == Resent::Anew { kept } else { [0; 2] };
        self.seen = [self.seen[0].max(kept[0]), self.seen[1].max(kept[1])];
    }

    /// Opens the files; without `create` only if they are there.
    fn open(&mut self, at_ms: i64, create: bool) -> std::io::Result<()> {
        if self.files.is_some() || (!create && !self.path.exists()) {
            return Ok(());
        }
        self.files = Some(Files::open(&self.path, at_ms)?);
        Ok(())
    }

    fn append(&mut self, piece: &Piece, bytes: &[u8]) -> std::io::Result<()> {
        self.open(piece.at_ms, true)?;
        let Some(files) = &mut self.files else { return Err(ErrorKind::NotFound.into()) };
        files.prove_space(&self.path, bytes.len())?;
        files.append(piece, bytes)
    }

    /// Records the end, if anything was printed.
    pub(super) fn end(&mut self, cut: Option<String>) {
        let anything = self.seen.iter().any(|seen| *seen > 0);
        let opened = self.open(0, false);
        let Some(files) = &mut self.files else {
            if anything && let Err(error) = opened {
                tracing::debug!(%error, "the end of an output is not on record");
            }
            return;
        };
        let kept = [files.summary.out, files.summary.err];
        let not_kept = self.seen.iter().zip(kept).map(|(seen, kept)| seen.saturating_sub(kept)).sum();
        let missing = self.broken.take().filter(|_| not_kept > 0);
        let why = [missing, cut].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let recorded =
            files.record(&Part::End(OutputEnd { not_kept, why })).and_then(|()| files.keep_index(&self.path));
        if let Err(error) = recorded {
            tracing::debug!(%error, "the end of an output is not on record");
        }
    }
}

impl Files {
    fn open(path: &Path, at_ms: i64) -> std::io::Result<Files> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let open =
            |path: &Path| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        let (data, mut parts) = (open(path)?, open(&beside(path, "parts"))?);
        let length = data.metadata()?.len();
        let summary = Summary::read(&mut BufReader::new(&mut parts), length)?;
        let mut files =
            Files { index: LineIndex::default(), ends: true, unproven: u64::MAX, data, parts, summary };
        files.index.catch_up(&mut files.data)?;
        files.ends = ends(&mut files.data)?;
        if files.summary.begun_ms.is_none() {
            files.record(&Part::Begun { at_ms })?;
        }
        Ok(files)
    }

    /// Fails when the disk has little space: the journal needs it.
    fn prove_space(&mut self, path: &Path, bytes: usize) -> std::io::Result<()> {
        self.unproven = self.unproven.saturating_add(bytes as u64);
        if self.unproven < SPACE_EVERY_BYTES {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(path);
        if free_bytes(folder)? < RESERVE_BYTES + SPACE_EVERY_BYTES {
            let why =
                format!("less than {} MiB are free on the disk of {}", RESERVE_BYTES >> 20, folder.display());
            return Err(std::io::Error::other(why));
        }
        self.unproven = 0;
        Ok(())
    }

    fn append(&mut self, piece: &Piece, bytes: &[u8]) -> std::io::Result<()> {
        if !self.ends && self.summary.last.is_some_and(|last| last != piece.source) {
            self.put(b"\n", &Part::Break)?;
        }
        let after_ms = piece.at_ms.saturating_sub(self.summary.begun_ms.unwrap_or(piece.at_ms));
        let after_ms = u64::try_from(after_ms).unwrap_or_default();
        self.put(bytes, &Part::Bytes { source: piece.source, bytes: bytes.len() as u64, after_ms })
    }

    /// The bytes first: a part without its bytes would be false.
    fn put(&mut self, bytes: &[u8], part: &Part) -> std::io::Result<()> {
        let length = self.summary.bytes();
        if let Err(error) = self.data.write_all(bytes).and_then(|()| self.record(part)) {
            // A part of them may be there.
            self.data.set_len(length)?;
            return Err(error);
        }
        self.index.extend(bytes);
        self.ends = bytes.ends_with(b"\n");
        Ok(())
    }

    fn record(&mut self, part: &Part) -> std::io::Result<()> {
        let text = part.text();
        if let Err(error) = self.parts.write_all(text.as_bytes()) {
            self.parts.set_len(self.summary.whole)?;
            return Err(error);
        }
        self.summary.take(part);
        self.summary.whole += text.len() as u64;
        Ok(())
    }

    /// Removes what a death left behind of which nothing is on record. The host sends it again.
    fn cut_back(&mut self) -> std::io::Result<()> {
        if self.data.metadata()?.len() == self.summary.bytes() {
            return Ok(());
        }
        self.data.set_len(self.summary.bytes())?;
        self.parts.set_len(self.summary.whole)?;
        self.index = LineIndex::default();
        self.index.catch_up(&mut self.data)?;
        self.ends = ends(&mut self.data)?;
        Ok(())
    }

    /// Keeps what a death left behind, as standard output: no host sends it again.
    fn adopt(&mut self) {
        let length = self.data.metadata().map_or(0, |about| about.len());
        let excess = length.saturating_sub(self.summary.bytes());
        if excess > 0 {
            let part = Part::Bytes { source: Source::Out, bytes: excess, after_ms: 0 };
            // Without it the file has no end on record, and counts as incomplete.
            let _ = self.parts.set_len(self.summary.whole).and_then(|()| self.record(&part));
        }
    }

    fn keep_index(&self, path: &Path) -> std::io::Result<()> {
        if self.index.covered() < INDEXED_BYTES {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(beside(path, "lines"))?;
        file.write_all(&self.index.encode())
    }
}

fn ends(data: &mut File) -> std::io::Result<bool> {
    let length = data.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    data.seek(SeekFrom::Start(length - 1))?;
    data.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => "no space on the disk".into(),
        ErrorKind::QuotaExceeded => "the quota of the disk is used up".into(),
        ErrorKind::InvalidData => "another program wrote the file beside it".into(),
        _ => error.to_string(),
    }
}
