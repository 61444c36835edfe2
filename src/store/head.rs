//! A head file: the last row of a chain, in a file beside the store. A chain of hashes shows that no event was
//! changed, but not that the end is missing. The file is written after each commit, so it may lack the
//! last writes of a process that died; it is never ahead. A store that is behind its file has lost its end.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::chain::{Chain, ChainEnd, end_of};
use super::error::failed;
use crate::domain::base::digest::sha256_hex;
use crate::port::StoreError;

/// The size of each of the two slots in the file, which are written in turn: an interrupted write leaves the other.
const SLOT_BYTES: usize = 256;

/// Digits of the digest that distinguishes a complete entry from a partial one.
const CHECK_DIGITS: usize = 16;

/// The file.
#[derive(Debug)]
pub(super) struct Head {
    chain: &'static Chain,
    path: PathBuf,
    file: File,
    /// The last entry of the file, and its slot.
    last: Option<ChainEnd>,
    slot: u64,
}

impl Head {
    /// Opens the head file of a chain of the store at `store`, and compares the two.
    pub fn open(store: &Path, chain: &'static Chain, connection: &Connection) -> Result<Head, StoreError> {
        let path = PathBuf::from(format!("{}.{}", store.display(), chain.suffix));
        let wrong = |error: std::io::Error| StoreError::Failed(format!("{}: {error}", path.display()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(wrong)?;
        let (last, slot) = read(&file).map_err(wrong)?;
        let mut head = Head { chain, path, file, last, slot };
        head.compare(connection)?;
        head.follow(connection, true);
        Ok(head)
    }

    /// True for the file of this chain.
    pub fn is_of(&self, chain: &Chain) -> bool {
        self.chain.table == chain.table
    }

    /// Refuses a store without the row that the file names.
    pub fn compare(&self, connection: &Connection) -> Result<(), StoreError> {
        let Chain { noun, row, table, .. } = self.chain;
        let end = end_of(connection, self.chain)?;
        let Some(last) = &self.last else {
            if self.file.metadata().map_err(failed)?.len() > 0 {
                return Err(self.refused("cannot be read"));
            }
            if let Some(end) = end {
                let path = self.path.display();
                tracing::warn!("{path} is new: that the {noun} ends at {row} {} cannot be verified", end.seq);
            }
            return Ok(());
        };
        let found = end.as_ref().map_or(0, |end| end.seq);
        if found == 0 && last.seq > 0 {
            return Err(self.refused(&format!(
                "says that the {noun} has {} {row}s, and this store has 0: the file of the store was removed, and the \
                 one that is there now is empty",
                last.seq
            )));
        }
        if found < last.seq {
            return Err(self.refused(&format!(
                "says that the {noun} has {} {row}s, and this store has {found}: the last ones were removed, or the \
                 store is an older copy",
                last.seq
            )));
        }
        let hash: Option<String> = connection
            .query_row(&format!("SELECT hash FROM {table} WHERE seq = ?"), [last.seq], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        if hash.as_ref() != Some(&last.hash) {
            let what = "than the one that this store has there: the store was rewritten, or restored from a \
                        copy and used since";
            return Err(self.refused(&format!("names for number {} another {row} {what}", last.seq)));
        }
        Ok(())
    }

    fn refused(&self, what: &str) -> StoreError {
        let path = self.path.display();
        StoreError::Failed(format!(
            "{path} {what}; try: restore the newest copy of the store. If you restored an older one on purpose, compare \
             the hosts and balancers with `debts` and `runs` afterwards, and accept it now: mv {path} {path}.old"
        ))
    }

    /// Writes the present end of the journal; with `safe` it survives a loss of power. The event is
    /// in the store even if this fails, so a failure is logged and is no error of the event.
    pub fn follow(&mut self, connection: &Connection, safe: bool) {
        if let Err(error) = self.write(connection, safe) {
            tracing::error!(
                "{}: {error}; that the {} is whole cannot be verified up to its end",
                self.path.display(),
                self.chain.noun
            );
        }
    }

    fn write(&mut self, connection: &Connection, safe: bool) -> Result<(), StoreError> {
        let end = end_of(connection, self.chain)?;
        let Some(mark) = end.filter(|end| self.last.as_ref() != Some(end)) else { return Ok(()) };
        let slot = 1 - self.slot;
        self.file.write_all_at(&entry(&mark), slot * SLOT_BYTES as u64).map_err(failed)?;
        if safe {
            self.file.sync_data().map_err(failed)?;
        }
        (self.last, self.slot) = (Some(mark), slot);
        Ok(())
    }
}

fn check(text: &str) -> String {
    sha256_hex(text.as_bytes())[..CHECK_DIGITS].to_string()
}

fn entry(mark: &ChainEnd) -> Vec<u8> {
    let text = format!("{} {}", mark.seq, mark.hash);
    let mut entry = format!("{text} {}", check(&text)).into_bytes();
    entry.resize(SLOT_BYTES - 1, b' ');
    entry.push(b'\n');
    entry
}

/// The newer of the two entries, and its slot.
fn read(file: &File) -> std::io::Result<(Option<ChainEnd>, u64)> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let marks = bytes.chunks(SLOT_BYTES).map(parse).zip(0..);
    let newest = marks.filter_map(|(mark, slot)| Some((mark?, slot))).max_by_key(|(mark, _)| mark.seq);
    Ok(newest.map_or((None, 1), |(mark, slot)| (Some(mark), slot)))
}

fn parse(bytes: &[u8]) -> Option<ChainEnd> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let (said, digits) = text.rsplit_once(' ')?;
    let (seq, hash) = said.split_once(' ')?;
    (check(said) == digits).then_some(ChainEnd { seq: seq.parse().ok()?, hash: hash.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_the_file_is_read_or_not_believed() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), seq in proptest::prelude::any::<u64>())| {
            proptest::prop_assert_eq!(parse(&bytes), None);
            let mark = ChainEnd { seq, hash: "h".repeat(64) };
            proptest::prop_assert_eq!(parse(&entry(&mark)), Some(mark.clone()));
            let mut changed = entry(&mark);
            changed[0] = changed[0].wrapping_add(1);
            proptest::prop_assert_eq!(parse(&changed), None);
        });
    }
}
