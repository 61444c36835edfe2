//! Files of `files/` to send to hosts: only a file with the planned hash is opened and sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::base::digest::hex;
use crate::local::beneath;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file with its planned hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// The folder `files/`.
    pub root: PathBuf,
    /// The path below it.
    pub path: String,
    pub sha256: String,
    /// For people.
    pub name: String,
}

/// An open file with the planned hash. It is read from this open file, even if its name leads to another file by then;
/// the host verifies the received hash again, so a file that is written to while it is sent replaces nothing.
#[derive(Clone, Debug)]
pub struct Proven {
    file: Arc<File>,
    bytes: u64,
}

impl PlannedFile {
    /// Opens and reads the whole file. The error names it and says what to do.
    pub async fn open(&self) -> Result<Proven, String> {
        let planned = self.clone();
        match tokio::task::spawn_blocking(move || planned.open_now()).await {
            Ok(proven) => proven,
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    fn open_now(&self) -> Result<Proven, String> {
        let named = |error: io::Error| {
            format!("{}: {}; try: the same again, with a new plan", self.name, reason(&error))
        };
        let file = beneath::open(&self.root, Path::new(&self.path)).map_err(named)?;
        let mut proven = Proven { file: Arc::new(file), bytes: 0 };
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = proven.read_at(&mut chunk, proven.bytes).map_err(named)?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
            proven.bytes += read as u64;
        }
        if hex(&hash.finalize()) != self.sha256 {
            return Err(format!(
                "{}: it was changed after the plan was made, and nothing of it was sent; try: the same again, with a \
                 new plan",
                self.name
            ));
        }
        Ok(proven)
    }
}

impl Proven {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece from `at` on, empty at the end: never more than was verified.
    pub async fn piece(&self, at: u64) -> io::Result<Vec<u8>> {
        let proven = self.clone();
        let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = move || {
            let mut chunk = vec![0; left];
            let read = proven.read_at(&mut chunk, at)?;
            chunk.truncate(read);
            Ok(chunk)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// The whole content, if it has at most `limit` bytes.
    pub async fn whole(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.piece(all.len() as u64).await?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
            if all.len() as u64 > limit {
                return Err(io::Error::other(format!("it has more than {limit} bytes")));
            }
        }
    }

    fn read_at(&self, chunk: &mut [u8], at: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(chunk, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// The text of an error, without the number of the system.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::digest::sha256_hex;

    #[tokio::test]
    async fn what_is_sent_is_what_was_planned_whatever_takes_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("files").join(name);
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let content = "planned ".repeat(20_000);
        std::fs::write(at("app"), &content).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        let planned = |sha256: &str| PlannedFile {
            root: dir.path().join("files"),
            path: "app".into(),
            sha256: sha256.into(),
            name: "files/app".into(),
        };
        let right = planned(&sha256_hex(content.as_bytes()));
        let proven = right.open().await.unwrap();
        std::fs::rename(at("app"), at("old")).unwrap();
        std::os::unix::fs::symlink("../secret", at("app")).unwrap();
        assert_eq!(proven.whole(1 << 20).await.unwrap(), content.as_bytes());
        assert!(proven.whole(10).await.unwrap_err().to_string().contains("more than 10 bytes"));
        // The name leads elsewhere now, and the secret is not read under any name.
        let error = right.open().await.unwrap_err();
        assert_eq!(error, "files/app: is a link that leaves files/; try: the same again, with a new plan");
        std::fs::remove_file(at("app")).unwrap();
        std::fs::write(at("app"), "other").unwrap();
        let error = right.open().await.unwrap_err();
        assert!(
            error.starts_with("files/app: it was changed after the plan was made, and nothing of it"),
            "{error}"
        );
        // A file that grows while it is sent is sent with its old length.
        let short = planned(&sha256_hex(b"other")).open().await.unwrap();
        std::fs::write(at("app"), "other and more").unwrap();
        assert_eq!(short.whole(100).await.unwrap(), b"other");
    }
}
