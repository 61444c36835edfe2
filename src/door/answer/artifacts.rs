//! `artifacts`: files that steps have fetched from hosts, as a tar archive.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::Refusal;
use crate::present::json;

/// Most files of a run that are listed and sent.
const FILES_LIMIT: usize = 100_000;

/// Most pieces of an archive that wait for the client.
const WAITING_PIECES: usize = 8;

/// Bytes of one piece.
const PIECE_BYTES: usize = 32 * 1024;

/// One file that was fetched.
#[derive(Clone, Serialize)]
struct Artifact {
    host: String,
    path: String,
    bytes: u64,
    #[serde(skip)]
    file: PathBuf,
}

impl Asked<'_> {
    pub(super) async fn artifacts(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let Command::Artifacts { run, host, list } = granted.command() else {
            return Err(Refusal::internal("this is about artifacts").into());
        };
        let (run, host, list) = (*run, host.as_deref(), *list);
        self.stored(granted, run).await?;
        let root = self.ports().hosts.downloads.join(run.to_string());
        let wanted = host.map(String::from);
        let found = tokio::task::spawn_blocking(move || find(&root, wanted.as_deref())).await;
        let internal = |why: String| Refusal::internal(why);
        let found = found.map_err(|error| internal(error.to_string()))?.map_err(internal)?;
        if found.is_empty() {
            let of = host.map(|host| format!(" of {host}")).unwrap_or_default();
            let why = format!("run {run} has kept nothing{of}; a step `download` does");
            return Err(Refusal::not_found(why).hint(format!("try: show {run}")).into());
        }
        if self.json {
            let lines: String = found.iter().map(|one| json::line("artifact", one)).collect();
            return self.say(&lines).await;
        }
        if list || self.terminal.is_interactive() {
            let line = |one: &Artifact| format!("{:>12}  {}/{}\n", one.bytes, one.host, one.path);
            let text: String = found.iter().map(line).collect();
            return self
                .say(&(text + &format!("to get them: ssh rollcall artifacts {run} >run-{run}.tar\n")))
                .await;
        }
        self.send(found).await
    }

    /// Sends the archive, created while it is sent: a slow reader delays its creation.
    async fn send(&mut self, found: Vec<Artifact>) -> Result<u8, Ended> {
        let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
        let packing = tokio::task::spawn_blocking(move || pack(&found, Pieces { sender, piece: Vec::new() }));
        while let Some(piece) = pieces.recv().await {
            self.terminal.bytes(piece).await?;
        }
        let packed = packing.await.map_err(|error| Refusal::internal(error.to_string()))?;
        packed.map_err(|error| Refusal::internal(format!("the archive is not whole: {error}")))?;
        Ok(0)
    }
}

/// The files of a run, sorted; of one host, if one is named.
fn find(root: &Path, wanted: Option<&str>) -> Result<Vec<Artifact>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = path.symlink_metadata() else { continue };
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() {
                found.extend(artifact(root, path, meta.len()));
            }
            if found.len() > FILES_LIMIT {
                return Err(format!("{} holds more than {FILES_LIMIT} files", root.display()));
            }
        }
    }
    let is_wanted = |one: &Artifact| {
        wanted.is_none_or(|name| one.host == name || HostName::from(one.host.as_str()).short() == name)
    };
    found.retain(is_wanted);
    found.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
    Ok(found)
}

/// `HOST/PATH` below the folder of the run; `None` for a file that is not complete yet.
fn artifact(root: &Path, file: PathBuf, bytes: u64) -> Option<Artifact> {
    let below = file.strip_prefix(root).ok()?.to_str()?;
    let (host, path) = below.split_once('/').filter(|(_, path)| !path.ends_with(".part"))?;
    Some(Artifact { host: host.into(), path: path.into(), bytes, file: file.clone() })
}

fn pack(found: &[Artifact], pieces: Pieces) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(pieces);
    for one in found {
        tar.append_path_with_name(&one.file, format!("{}/{}", one.host, one.path))?;
    }
    tar.into_inner()?.flush()
}

/// Passes on written bytes, piece by piece.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        self.sender.blocking_send(piece).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
