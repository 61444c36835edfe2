//! Artifacts: files that were given to commands, kept in one folder by their SHA-256.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::domain::base::digest::{artifact_sum, hex};
use crate::domain::task::task::artifact_name;
use crate::local::planned::reason;

/// Pieces of a file that wait for the disk. Beyond them its sender waits.
pub const WAITING_PIECES: usize = 32;

/// Files that are received at the same time: each has a thread for the disk.
const AT_ONCE: usize = 16;

/// The space that stays free for the store, in bytes: a full disk would stop all runs.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// The free space is read again after this many bytes.
const SPACE_EVERY_BYTES: u64 = 4 << 20;

/// A file that was used within this time is not removed to make room: a command may be about to use it.
const IN_USE: Duration = Duration::from_secs(60 * 60);

/// The start of the name of a file that is not complete.
const PART: &str = ".part-";

/// A piece of a file, or its end. A sender that ends without [`Piece::End`] was cut off.
#[derive(Debug)]
pub enum Piece {
    Bytes(Bytes),
    End,
}

/// The limits of one file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In bytes, of this file and of all.
    pub max_size: u64,
    pub max_total: u64,
    /// The space that stays free.
    pub reserve: u64,
    /// How long the sender may send nothing.
    pub idle: Duration,
    /// How long it may take as a whole.
    pub max_time: Duration,
}

/// A file that is kept now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub sha256: String,
    pub bytes: u64,
}

/// Why a file was not received. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    Empty,
    Cut,
    Stalled(Duration),
    /// It took longer than this as a whole.
    TooSlow(Duration),
    TooLarge(u64),
    /// All files together would be larger than this.
    Full(u64),
    /// The free space, in bytes.
    NoRoom(u64),
    Crowded,
    /// It is another file.
    Other {
        wanted: String,
        found: String,
    },
    Disk(String),
}

/// The folder, and the files on their way into it.
pub struct Artifacts {
    folder: PathBuf,
    parts: AtomicU64,
    /// Bytes of files that are not complete.
    under_way: Arc<AtomicU64>,
    places: Arc<Semaphore>,
}

/// A file that is not complete; it is removed unless it is kept.
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
    under_way: Arc<AtomicU64>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.under_way.fetch_sub(self.bytes, Ordering::Relaxed);
        // After it was kept there is no file of this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// An error for an artifact that is not kept.
pub fn not_kept(sha256: &str) -> String {
    format!(
        "{}: it is not kept here, or not any more; try: NAME=- with the file on standard input",
        artifact_name(sha256)
    )
}

/// Records that an artifact is used now; an error if it is not kept.
pub fn touch(folder: &Path, sha256: &str) -> Result<(), String> {
    let now = TimeSpec::new(0, nix::libc::UTIME_NOW);
    match utimensat(AT_FDCWD, &folder.join(sha256), &now, &now, UtimensatFlags::NoFollowSymlink) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::ENOENT) => Err(not_kept(sha256)),
        Err(errno) => Err(format!("{}: {}", artifact_name(sha256), reason(&errno.into()))),
    }
}

impl Artifacts {
    /// The artifacts in a folder, which is created when the first one arrives. What an earlier process has left
    /// incomplete is removed.
    pub fn new(folder: PathBuf) -> Artifacts {
        for path in names(&folder).filter(|path| name_of(path).starts_with(PART)) {
            let _ = fs::remove_file(path);
        }
        Artifacts {
            folder,
            parts: AtomicU64::new(0),
            under_way: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True if it is kept; it counts as used now.
    pub fn has(&self, sha256: &str) -> bool {
        touch(&self.folder, sha256).is_ok()
    }

    /// Receives a file onto the disk; with a digest, that file and no other.
    pub async fn receive(
        &self,
        limits: Limits,
        pieces: &mut mpsc::Receiver<Piece>,
        wanted: Option<&str>,
    ) -> Result<Kept, Trouble> {
        let _place = self.places.try_acquire().map_err(|_| Trouble::Crowded)?;
        let disk = |error: io::Error| Trouble::Disk(reason(&error));
        let part = self.part().map_err(disk)?;
        let room = limits.max_total.saturating_sub(self.total());
        let (to, from) = mpsc::channel(1);
        let writing = tokio::task::spawn_blocking(move || write(part, from, (limits, room)));
        let passing = pass_on(pieces, to, limits.idle);
        let passed = timeout(limits.max_time, passing).await;
        let passed = passed.unwrap_or(Err(Trouble::TooSlow(limits.max_time)));
        let (part, sha256) = writing.await.map_err(|error| Trouble::Disk(error.to_string()))??;
        passed?;
        if part.bytes == 0 {
            return Err(Trouble::Empty);
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != sha256) {
            return Err(Trouble::Other { wanted: wanted.into(), found: sha256 });
        }
        let to = self.folder.join(&sha256);
        let keeping = tokio::task::spawn_blocking(move || keep(&part, &to).map(|()| part.bytes));
        let bytes = keeping.await.map_err(|error| Trouble::Disk(error.to_string()))?.map_err(disk)?;
        Ok(Kept { sha256, bytes })
    }

    fn part(&self) -> io::Result<Part> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{PART}{}", self.parts.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Part { path, file, bytes: 0, under_way: self.under_way.clone() })
    }

    /// The bytes of all files that are kept.
    fn total(&self) -> u64 {
        kept_files(&self.folder).iter().map(|kept| kept.bytes).sum()
    }

    /// Removes files that no run or release needs: those whose last use is longer ago than `keep`; and, to make room for
    /// another file, the oldest ones.
    pub fn sweep(&self, needed: &BTreeSet<String>, now: SystemTime, keep: Duration, limits: Limits) {
        let mut files = kept_files(&self.folder);
        files.sort_by_key(|file| file.used);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        let most = limits.max_total.saturating_sub(limits.max_size);
        for file in files.iter().filter(|file| !needed.contains(&file.sha256)) {
            let unused = now.duration_since(file.used).unwrap_or_default();
            if unused > keep || (total > most && unused > IN_USE) {
                match fs::remove_file(self.folder.join(&file.sha256)) {
                    Ok(()) => {
                        tracing::info!(artifact = file.sha256, bytes = file.bytes, "an artifact was removed");
                        total = total.saturating_sub(file.bytes);
                    }
                    Err(error) => {
                        tracing::warn!(artifact = file.sha256, %error, "an artifact cannot be removed");
                    }
                }
            }
        }
    }
}

/// Passes pieces on until the end. If the other side has ended, its own error says why.
async fn pass_on(
    pieces: &mut mpsc::Receiver<Piece>,
    to: mpsc::Sender<Bytes>,
    idle: Duration,
) -> Result<(), Trouble> {
    loop {
        match timeout(idle, pieces.recv()).await {
            Err(_) => return Err(Trouble::Stalled(idle)),
            Ok(None) => return Err(Trouble::Cut),
            Ok(Some(Piece::End)) => return Ok(()),
            Ok(Some(Piece::Bytes(bytes))) => {
                if to.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

fn write(
    mut part: Part,
    mut from: mpsc::Receiver<Bytes>,
    (limits, room): (Limits, u64),
) -> Result<(Part, String), Trouble> {
    let mut hash = Sha256::new();
    let mut checked = None;
    while let Some(bytes) = from.blocking_recv() {
        let size = bytes.len() as u64;
        if part.bytes + size > limits.max_size {
            return Err(Trouble::TooLarge(limits.max_size));
        }
        part.bytes += size;
        if part.under_way.fetch_add(size, Ordering::Relaxed) + size > room {
            return Err(Trouble::Full(limits.max_total));
        }
        if checked.is_none_or(|at| part.bytes - at >= SPACE_EVERY_BYTES) {
            check_space(&part.path, limits.reserve)?;
            checked = Some(part.bytes);
        }
        hash.update(&bytes);
        part.file.write_all(&bytes).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Trouble::NoRoom(0),
            _ => Trouble::Disk(reason(&error)),
        })?;
    }
    let sha256 = hex(&hash.finalize());
    Ok((part, sha256))
}

/// An error if a disk has no more than `reserve` free.
fn check_space(path: &Path, reserve: u64) -> Result<(), Trouble> {
    let free = free_bytes(path.parent().unwrap_or(path)).map_err(|error| Trouble::Disk(reason(&error)))?;
    if free > reserve { Ok(()) } else { Err(Trouble::NoRoom(free)) }
}

/// The free space of the disk that holds `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let about = statvfs(folder)?;
    Ok(about.blocks_available().saturating_mul(about.fragment_size()))
}

/// Gives a complete file its name. Another operator may have sent the same file: one replaces the other.
fn keep(part: &Part, to: &Path) -> io::Result<()> {
    part.file.sync_all()?;
    fs::rename(&part.path, to)?;
    File::open(to.parent().unwrap_or(to))?.sync_all()
}

struct KeptFile {
    sha256: String,
    bytes: u64,
    used: SystemTime,
}

fn kept_files(folder: &Path) -> Vec<KeptFile> {
    let kept = |path: PathBuf| {
        let sha256 = name_of(&path);
        artifact_sum(&format!("sha256:{sha256}"))?;
        let about = path.symlink_metadata().ok()?;
        Some(KeptFile { sha256, bytes: about.len(), used: about.modified().ok()? })
    };
    names(folder).filter_map(kept).collect()
}

fn names(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::base::digest::sha256_hex;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: Limits =
        Limits { max_size: 1000, max_total: 1500, reserve: 0, idle: MINUTE, max_time: MINUTE };

    async fn give(artifacts: &Artifacts, limits: Limits, pieces: Vec<Piece>) -> Result<Kept, Trouble> {
        let (to, mut from) = mpsc::channel(WAITING_PIECES);
        for piece in pieces {
            to.send(piece).await.unwrap();
        }
        drop(to);
        artifacts.receive(limits, &mut from, None).await
    }

    fn bytes(text: &[u8]) -> Piece {
        Piece::Bytes(Bytes::copy_from_slice(text))
    }

    fn left(folder: &Path) -> Vec<String> {
        let mut left: Vec<String> = names(folder).map(|path| name_of(&path)).collect();
        left.sort();
        left
    }

    #[tokio::test]
    async fn a_file_is_kept_by_its_content_and_nothing_is_left_of_one_that_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state/artifacts");
        let artifacts = Artifacts::new(folder.clone());
        let table = [
            (LIMITS, vec![Piece::End], Trouble::Empty),
            (LIMITS, vec![bytes(b"half")], Trouble::Cut),
            (LIMITS, vec![bytes(&[0; 600]), bytes(&[0; 600]), Piece::End], Trouble::TooLarge(1000)),
            (Limits { max_total: 100, ..LIMITS }, vec![bytes(&[0; 600]), Piece::End], Trouble::Full(100)),
        ];
        for (limits, pieces, trouble) in table {
            assert_eq!(give(&artifacts, limits, pieces).await, Err(trouble.clone()));
            assert!(left(&folder).is_empty(), "{trouble:?}");
        }
        let no_disk = Limits { reserve: u64::MAX, ..LIMITS };
        let refused = give(&artifacts, no_disk, vec![bytes(b"x"), Piece::End]).await;
        assert!(matches!(refused, Err(Trouble::NoRoom(_))), "{refused:?}");
        assert!(left(&folder).is_empty());
        let sha256 = sha256_hex(b"whole");
        let whole = || vec![bytes(b"wh"), bytes(b"ole"), Piece::End];
        for _ in 0..2 {
            let kept = give(&artifacts, LIMITS, whole()).await.unwrap();
            assert_eq!(kept, Kept { sha256: sha256.clone(), bytes: 5 });
            assert_eq!(left(&folder), std::slice::from_ref(&sha256));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(&sha256))), (0o700, 0o600));
        assert!(artifacts.has(&sha256) && !artifacts.has(&sha256_hex(b"other")));
    }

    #[tokio::test]
    async fn a_sender_that_stalls_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(dir.path().into());
        let (to, mut from) = mpsc::channel(WAITING_PIECES);
        to.send(bytes(b"half")).await.unwrap();
        let idle = Duration::from_millis(20);
        let refused = artifacts.receive(Limits { idle, ..LIMITS }, &mut from, None).await;
        assert_eq!(refused, Err(Trouble::Stalled(idle)));
        assert!(left(dir.path()).is_empty());
        drop(to);
    }

    /// A sender that sends a little all the time is never idle.
    #[tokio::test]
    async fn a_file_has_a_limit_of_time_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(dir.path().into());
        let (to, mut from) = mpsc::channel(WAITING_PIECES);
        let dripping = tokio::spawn(async move {
            while to.send(bytes(b"")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let max_time = Duration::from_millis(50);
        let refused = artifacts.receive(Limits { max_time, ..LIMITS }, &mut from, None).await;
        assert_eq!(refused, Err(Trouble::TooSlow(max_time)));
        assert!(left(dir.path()).is_empty());
        drop(from);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn files_are_removed_when_no_run_or_release_needs_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".part-7"), "of a process that died").unwrap();
        let artifacts = Artifacts::new(dir.path().into());
        assert!(left(dir.path()).is_empty());
        let day = Duration::from_secs(24 * 60 * 60);
        let start = SystemTime::UNIX_EPOCH + 1000 * day;
        let sums: Vec<String> = (0u8..3).map(|n| sha256_hex(&[n])).collect();
        for (days, sum) in sums.iter().enumerate() {
            fs::write(dir.path().join(sum), vec![0; 400]).unwrap();
            let file = File::options().write(true).open(dir.path().join(sum)).unwrap();
            file.set_modified(start + day * u32::try_from(days).unwrap()).unwrap();
        }
        let mut all = sums.clone();
        all.sort();
        let needed = BTreeSet::from([sums[0].clone()]);
        let roomy = Limits { max_size: 10, max_total: 10_000, ..LIMITS };
        // Nothing is old enough.
        artifacts.sweep(&needed, start + 2 * day, 7 * day, roomy);
        assert_eq!(left(dir.path()), all);
        // The oldest one that is not needed makes room.
        artifacts.sweep(&needed, start + 3 * day, 7 * day, Limits { max_size: 600, ..LIMITS });
        all.retain(|sum| *sum != sums[1]);
        assert_eq!(left(dir.path()), all);
        // One that was used a moment ago stays, whatever the room.
        artifacts.sweep(&needed, start + 2 * day + day / 100, 7 * day, LIMITS);
        assert_eq!(left(dir.path()), all);
        artifacts.sweep(&needed, start + 10 * day, 7 * day, roomy);
        assert_eq!(left(dir.path()), std::slice::from_ref(&sums[0]));
    }
}
