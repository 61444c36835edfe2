//! Files of hosts, kept on the daemon's machine. A file gets its name only after its SHA-256 was verified.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::fs::{self, DirBuilder, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::diff::bounded;
use super::stream::Taker;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::paths::check_below;
use crate::port::{ExecEnd, Input};
use crate::steps::attempt::{Attempt, Done};
use crate::steps::scripts::{DOWNLOAD, call, split_word};

/// Largest file that is fetched.
const DOWNLOAD_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;

/// Attempts to fetch a file that changes during the transfer.
const TRIES: usize = 2;

/// Bytes read at once from a file that was fetched before.
const CHUNK_BYTES: usize = 64 * 1024;

/// The scripts that print a file, and a directory.
const FILE: &str = "cat <\"$1\"\n";
const DIRECTORY: &str = "tar cf - -C \"$1\" .\n";

/// The state on the host.
enum There {
    File { bytes: u64, sha256: String },
    Directory,
}

impl Attempt<'_> {
    pub(super) async fn download(&self, from: &str, to: (&str, bool), act: bool) -> Done {
        self.fetch_to(from, to, act).await.unwrap_or_else(|early| early)
    }

    /// `once`: an operator waits for it, and nothing of it is kept.
    async fn fetch_to(&self, from: &str, (to, once): (&str, bool), act: bool) -> Result<Done, Done> {
        for _ in 0..TRIES {
            let there = self.what_is_there(from).await?;
            if !act {
                let stdout = bounded(&format!("{from} would be fetched; nothing is changed on the host\n"));
                return Ok(Done { outcome: Outcome::Unchanged, stdout, stderr: Default::default() });
            }
            let (name, wanted) = match &there {
                There::File { sha256, .. } => (to.to_string(), Some(sha256)),
                There::Directory if once => {
                    let why = format!(
                        "{from} is a directory; try: fetch of a file in it, or a task with a step download"
                    );
                    return Err(Done::failed(why));
                }
                There::Directory => (format!("{to}.tar"), None),
            };
            let target = self.place(&name)?;
            if wanted.is_some() && digest(&target).await.as_ref() == wanted {
                return Ok(Done::silent(self.unchanged()));
            }
            let script = call(if wanted.is_some() { FILE } else { DIRECTORY }, &[from], self.step);
            let mut part = PartialFile::new(&target, &self.suffix());
            let report = self.stream(&script, Input::None, &mut part).await;
            let report = match report {
                Ok(report) if report.end == ExecEnd::Exited(0) => report,
                Ok(report) => {
                    part.discard().await;
                    return Err(self.inspection_failed(report));
                }
                Err(early) => {
                    part.discard().await;
                    return Err(early);
                }
            };
            let (bytes, sha256) = part.finish(wanted).await.map_err(Done::failed)?;
            if wanted.is_some_and(|wanted| *wanted != sha256) {
                continue;
            }
            let host = &self.endpoint().name;
            let run = self.context.run;
            let text = match once {
                true => format!("{from}: {bytes} bytes\n"),
                false => format!("{from}: {bytes} bytes kept as {name}; to get it: artifacts {run} {host}\n"),
            };
            return Ok(Done { outcome: Outcome::Ok, stdout: bounded(&text), stderr: report.stderr });
        }
        Err(Done::failed(format!("{from} changes while it is read; fetch a copy that does not change")))
    }

    async fn what_is_there(&self, from: &str) -> Result<There, Done> {
        let script = call(&DOWNLOAD, &["dry-run", from], self.step);
        let (report, _) = self.exec(script, Input::None, self.step.timeout).await;
        if report.end != ExecEnd::Exited(0) {
            return Err(self.inspection_failed(report));
        }
        let (_, last) = split_word(report.stdout);
        let words: Vec<&str> = last.split(' ').collect();
        match words[..] {
            ["directory"] => Ok(There::Directory),
            ["file", bytes, sha256] => {
                let bytes = bytes.parse().unwrap_or(u64::MAX);
                self.within_limit(from, There::File { bytes, sha256: sha256.into() })
            }
            _ => Err(Done::failed(format!("{from}: the host answered `{last}`"))),
        }
    }

    fn within_limit(&self, from: &str, there: There) -> Result<There, Done> {
        match there {
            There::File { bytes, .. } if bytes > DOWNLOAD_LIMIT_BYTES => {
                let why = format!(
                    "{from} has {bytes} bytes; at most {DOWNLOAD_LIMIT_BYTES} are fetched: pack or split it"
                );
                Err(Done::failed(why))
            }
            there => Ok(there),
        }
    }

    /// A path below the folder of the run and the host.
    fn place(&self, name: &str) -> Result<PathBuf, Done> {
        let host = self.endpoint().name.as_str();
        check_below(host)
            .and_then(|()| check_below(name))
            .map_err(|why| Done::failed(format!("`to`: {why}")))?;
        Ok(self.context.ports.downloads.join(self.context.run.to_string()).join(host).join(name))
    }
}

/// A file that is not complete yet.
struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    hash: Sha256,
}

impl PartialFile {
    /// Its name contains the operation: other steps may fetch the same file.
    fn new(target: &Path, suffix: &str) -> PartialFile {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{suffix}.part"));
        PartialFile { target: target.into(), path: path.into(), file: None, bytes: 0, hash: Sha256::new() }
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: {error}; see `downloads` in rollcall.toml", self.path.display())
    }

    async fn make(&self) -> std::io::Result<File> {
        if let Some(parent) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).await?;
        }
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path).await
    }

    /// Renames it if its content is as expected. Returns its size and its SHA-256.
    async fn finish(mut self, wanted: Option<&String>) -> Result<(u64, String), String> {
        let sha256: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if wanted.is_some_and(|wanted| *wanted != sha256) {
            self.discard().await;
            return Ok((self.bytes, sha256));
        }
        if let Some(file) = self.file.take() {
            file.sync_all().await.map_err(|error| self.failed(&error))?;
        }
        fs::rename(&self.path, &self.target).await.map_err(|error| self.failed(&error))?;
        Ok((self.bytes, sha256))
    }

    /// A failure to delete it does not matter: the next one replaces it.
    async fn discard(&self) {
        let _ = fs::remove_file(&self.path).await;
    }
}

impl Taker for PartialFile {
    async fn begin(&mut self) -> Result<(), String> {
        (self.bytes, self.hash) = (0, Sha256::new());
        self.file = Some(self.make().await.map_err(|error| self.failed(&error))?);
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        if self.bytes > DOWNLOAD_LIMIT_BYTES {
            return Err(format!("more than {DOWNLOAD_LIMIT_BYTES} bytes came; pack or split it"));
        }
        self.hash.update(bytes);
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(bytes).await;
        written.map_err(|error| self.failed(&error))
    }
}

/// The SHA-256 of a file that was fetched before.
async fn digest(path: &Path) -> Option<String> {
    let mut file = File::open(path).await.ok()?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk).await.ok()? {
            0 => return Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&chunk[..read]),
        }
    }
}
