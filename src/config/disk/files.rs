//! `files/`: files to upload. No file outside of it can be named, by `..` or by a link.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::text::hints::did_you_mean;
use crate::config::text::paths::check_path;
use crate::domain::base::digest::hex;
use crate::domain::task::task::{Files, Source, TreeFile};
use crate::domain::value::template::is_template;
use crate::local::planned::reason;
use crate::local::{artifacts, beneath};

/// Largest template, in bytes: it is held in memory and becomes part of a plan in the journal.
pub const TEXT_LIMIT_BYTES: u64 = 1024 * 1024;

/// Bytes read at a time while a file is hashed.
const CHUNK_BYTES: usize = 64 * 1024;

/// Most names that are searched for the nearest one, when a file does not exist.
const NAMES_LIMIT: usize = 10_000;

/// Most files of a tree: each is inspected on each host.
const TREE_LIMIT: usize = 2_000;

/// The files below `files/` of a configuration directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesDir {
    root: PathBuf,
    /// The folder of artifacts.
    artifacts: Option<PathBuf>,
    /// Artifacts that are about to arrive.
    expected: Vec<String>,
}

impl FilesDir {
    /// The files of the configuration at `root`. Nothing is read yet.
    pub fn new(root: &Path) -> Self {
        FilesDir { root: root.join("files"), artifacts: None, expected: Vec::new() }
    }

    /// The same with the artifacts in a folder.
    pub fn with_artifacts(self, folder: PathBuf, expected: Vec<String>) -> Self {
        FilesDir { artifacts: Some(folder), expected, ..self }
    }

    /// The real path of a file, with links resolved. The error names `files/PATH`, and the nearest file
    /// that exists.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        check_path(path)?;
        let named = |error: io::Error| format!("files/{path}: {}", reason(&error));
        let (root, below) =
            beneath::place(&self.root, Path::new(path)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => self.missing(path),
                _ => named(error),
            })?;
        let real = root.join(below);
        if !fs::metadata(&real).map_err(named)?.is_file() {
            return Err(format!("files/{path}: is no regular file"));
        }
        Ok(real)
    }

    /// An error if the source is a file or directory below `files/` that does not exist. A template as a name is known only
    /// once a run renders it.
    pub fn find(&self, source: &Source) -> Result<(), String> {
        match source {
            Source::File { path, .. } | Source::Template { path } if !is_template(path) => {
                self.resolve(path).map(drop)
            }
            Source::Tree { path, .. } if !is_template(path) => self.directory(path).map(drop),
            Source::File { .. }
            | Source::Template { .. }
            | Source::Tree { .. }
            | Source::Draft { .. }
            | Source::Text(_)
            | Source::Artifact { .. }
            | Source::Fetched { .. }
            | Source::Remote { .. } => Ok(()),
        }
    }

    /// The real path of a directory.
    fn directory(&self, path: &str) -> Result<PathBuf, String> {
        check_path(path)?;
        let named = |error: io::Error| format!("files/{path}: {}", reason(&error));
        let real = fs::canonicalize(self.root.join(path)).map_err(named)?;
        match real.starts_with(fs::canonicalize(&self.root).map_err(named)?) && real.is_dir() {
            true => Ok(real),
            false => Err(format!("files/{path}: is no directory below files/")),
        }
    }

    fn open(&self, path: &str) -> Result<File, String> {
        check_path(path)?;
        beneath::open(&self.root, Path::new(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(path),
            _ => format!("files/{path}: {}", reason(&error)),
        })
    }

    fn missing(&self, path: &str) -> String {
        if let Ok(to) = fs::read_link(self.root.join(path)) {
            return format!("files/{path}: is a link to {}, which is not there", to.display());
        }
        let names = self.names();
        let guess = did_you_mean(path, names.iter().map(String::as_str));
        format!("files/{path}: does not exist{guess}")
    }

    /// Names of existing files, at most [`NAMES_LIMIT`].
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if names.len() + folders.len() >= NAMES_LIMIT {
                    return names;
                }
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if let Ok(name) = path.strip_prefix(&self.root) {
                    names.push(name.to_string_lossy().into_owned());
                }
            }
        }
        names
    }
}

impl Files for FilesDir {
    fn artifact(&self, sha256: &str) -> Result<(), String> {
        if self.expected.iter().any(|expected| expected == sha256) {
            return Ok(());
        }
        let folder = self.artifacts.as_deref().ok_or_else(|| artifacts::not_kept(sha256))?;
        artifacts::touch(folder, sha256)
    }

    fn sha256(&self, path: &str) -> Result<String, String> {
        let mut file = self.open(path)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).map_err(|error| format!("files/{path}: {}", reason(&error)))?;
            if read == 0 {
                return Ok(hex(&hash.finalize()));
            }
            hash.update(&chunk[..read]);
        }
    }

    fn text(&self, path: &str) -> Result<String, String> {
        let mut bytes = Vec::new();
        let mut file = self.open(path)?.take(TEXT_LIMIT_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(|error| format!("files/{path}: {}", reason(&error)))?;
        if bytes.len() as u64 > TEXT_LIMIT_BYTES {
            return Err(format!("files/{path}: a template has at most {TEXT_LIMIT_BYTES} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| format!("files/{path}: is not UTF-8"))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String> {
        let root = self.directory(path)?;
        let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let entries =
                fs::read_dir(&folder).map_err(|error| format!("files/{path}: {}", reason(&error)))?;
            let entries: Vec<fs::DirEntry> = entries.flatten().collect();
            if entries.is_empty() && folder != root {
                let name = folder.strip_prefix(&root).ok().and_then(Path::to_str);
                let name = name.ok_or_else(|| format!("files/{path}: holds a name that is not UTF-8"))?;
                found.push(TreeFile::directory(name));
            }
            for entry in entries {
                let below = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(below);
                    continue;
                }
                let name = below.strip_prefix(&root).ok().and_then(Path::to_str);
                let name = name.ok_or_else(|| format!("files/{path}: holds a name that is not UTF-8"))?;
                let whole = format!("{}/{name}", path.trim_end_matches('/'));
                let mode = self.open(&whole).and_then(|file| {
                    file.metadata().map_err(|error| format!("files/{whole}: {}", reason(&error)))
                })?;
                let executable = mode.permissions().mode() & 0o100 != 0;
                found.push(TreeFile { path: name.into(), sha256: self.sha256(&whole)?, executable });
            }
            if found.len() + folders.len() > TREE_LIMIT {
                return Err(format!(
                    "files/{path}: holds more than {TREE_LIMIT} files; upload an archive instead"
                ));
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}
