//! Uploads of files. One inspection finds those that differ; only these are sent.

use std::sync::Arc;

use bytes::Bytes;

use super::stream::{Memory, would_change};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::task::task::{Source, TreeFile, Upload, artifact_name};
use crate::local::planned::PlannedFile;
use crate::port::{Content, ExecEnd, ExecReport, Input, Packed};
use crate::steps::attempt::{Attempt, Done, LOOK_TIMEOUT};
use crate::steps::scripts::{PLACE, RECEIVE, TREE, TREE_RECEIVE, call, split_word};

/// Most output of the inspection of a tree: a line for each file.
const TREE_LOOK_BYTES: usize = 1024 * 1024;

/// Most files of a tree whose differences are printed; the others are only named.
const SHOWN_FILES: usize = 20;

/// The content of one file, and its proof.
pub(super) struct Sent {
    pub sha256: String,
    pub content: Content,
}

impl Sent {
    /// The content as it is sent. A file that differs from the planned one is refused.
    pub(super) async fn input(self) -> Result<Input, Done> {
        match self.content {
            Content::Bytes(bytes) => Ok(Input::Bytes(bytes)),
            Content::File(planned) => planned.open().await.map(Input::File).map_err(Done::failed),
        }
    }

    /// The content for a diff; `None` if it is too large for one.
    async fn bytes(self) -> Result<Option<Vec<u8>>, Done> {
        let limit = super::diff::DIFF_LIMIT_BYTES as u64;
        let planned = match self.content {
            Content::Bytes(bytes) => return Ok(Some(bytes.to_vec())),
            Content::File(planned) => planned,
        };
        let file = planned.open().await.map_err(Done::failed)?;
        if file.bytes() > limit {
            return Ok(None);
        }
        let failed = |error| Done::failed(format!("{}: {error}; try: reload", planned.name));
        file.whole(limit).await.map(Some).map_err(failed)
    }
}

/// How a file is installed; see receive.sh.
#[derive(Clone, Default)]
pub(super) struct Manner<'a> {
    pub to: &'a str,
    /// Empty: unchanged.
    pub mode: String,
    pub owner: &'a str,
    pub backup: bool,
    pub validate: &'a str,
    /// The expected old content: a SHA-256 or `none`; empty if it does not matter.
    pub old: String,
}

impl<'a> Manner<'a> {
    fn of(upload: &'a Upload) -> Manner<'a> {
        Manner {
            to: &upload.to,
            mode: if upload.keep_mode { String::new() } else { format!("{:o}", upload.mode) },
            owner: upload.owner.as_deref().unwrap_or_default(),
            backup: upload.backup,
            validate: upload.validate.as_deref().unwrap_or_default(),
            old: String::new(),
        }
    }
}

impl Attempt<'_> {
    pub(super) async fn upload(&self, upload: &Upload, act: bool) -> Done {
        let done = match &upload.source {
            Source::Tree { path, files } => self.tree(upload, path, files, act).await,
            _ => self.one_file(upload, act).await,
        };
        done.unwrap_or_else(|early| early)
    }

    async fn one_file(&self, upload: &Upload, act: bool) -> Result<Done, Done> {
        let sent = self.content(&upload.source)?;
        let manner = Manner::of(upload);
        let place = [mode_word(act), manner.to, &sent.sha256, &manner.mode, manner.owner];
        let (report, again) = self.exec(call(&PLACE, &place, self.step), Input::None, LOOK_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return Err(self.inspection_failed(report));
        }
        let (stdout, word) = split_word(report.stdout);
        match (word.as_str(), act) {
            ("send", true) => Ok(self.send(&manner, sent).await),
            ("send", false) => match sent.bytes().await? {
                None => Ok(would_change(&format!("{}: too large for a diff\n", manner.to))),
                Some(new) => Ok(would_change(&self.difference(manner.to, new).await?)),
            },
            (word, _) => {
                let outcome = match (word, act) {
                    ("unchanged", true) if again => Outcome::Ok,
                    ("unchanged", true) => self.unchanged(),
                    ("unchanged", false) => Outcome::Unchanged,
                    (_, true) => Outcome::Ok,
                    (_, false) => Outcome::WouldChange,
                };
                Ok(Done { outcome, stdout, stderr: report.stderr })
            }
        }
    }

    /// Sends a file and installs it.
    pub(super) async fn send(&self, manner: &Manner<'_>, sent: Sent) -> Done {
        let (backup, suffix) = (if manner.backup { "1" } else { "" }, self.suffix());
        let Manner { to, mode, owner, validate, old, .. } = manner;
        let sum = sent.sha256.clone();
        let arguments = ["act", to, &sum, mode, owner, backup, validate, old, &suffix];
        match sent.input().await {
            Ok(input) => self.run_own(call(&RECEIVE, &arguments, self.step), input).await,
            Err(done) => done,
        }
    }

    /// The content of a source that is one file.
    pub(super) fn content(&self, source: &Source) -> Result<Sent, Done> {
        match source {
            Source::File { path, sha256 } => {
                Ok(Sent { sha256: sha256.clone(), content: Content::File(self.planned(path, sha256)) })
            }
            Source::Text(text) => Ok(Sent {
                sha256: sha256_hex(text.as_bytes()),
                content: Content::Bytes(Bytes::from(text.clone())),
            }),
            Source::Artifact { sha256 } => {
                let content = Content::File(self.artifact(sha256));
                Ok(Sent { sha256: sha256.clone(), content })
            }
            other => Err(Done::failed(format!("files/{} was not rendered by the plan", other.path()))),
        }
    }

    pub(super) fn planned(&self, path: &str, sha256: &str) -> PlannedFile {
        let root = self.context.files_root.clone();
        PlannedFile { root, path: path.into(), sha256: sha256.into(), name: format!("files/{path}") }
    }

    fn artifact(&self, sha256: &str) -> PlannedFile {
        let root = self.context.ports.artifacts.clone();
        PlannedFile { root, path: sha256.into(), sha256: sha256.into(), name: artifact_name(sha256) }
    }

    async fn tree(&self, upload: &Upload, path: &str, files: &[TreeFile], act: bool) -> Result<Done, Done> {
        let (report, to_send, said) = self.compare_tree(upload, files, act).await?;
        if to_send.is_empty() {
            let (stdout, word) = split_word(said);
            let outcome = match (word.as_str(), act) {
                ("unchanged", true) => self.unchanged(),
                ("unchanged", false) => Outcome::Unchanged,
                (_, true) => Outcome::Ok,
                (_, false) => Outcome::WouldChange,
            };
            return Ok(Done { outcome, stdout, stderr: report.stderr });
        }
        if !act {
            let text = split_word(said).0.text + &self.tree_difference(upload, path, &to_send).await?;
            return Ok(would_change(&text));
        }
        let mut list = String::new();
        let mut members = Vec::new();
        for (number, file) in to_send.iter().enumerate() {
            list.push_str(&line(number, file, upload.mode));
            let planned = self.planned(&format!("{path}/{}", file.path), &file.sha256);
            // Checks all files before sending any; each is checked again at its turn, since they are not all kept open.
            planned.open().await.map_err(Done::failed)?;
            let content = Content::File(planned);
            members.push(Packed { name: number.to_string(), content });
        }
        members.insert(0, Packed { name: "list".into(), content: Content::Bytes(Bytes::from(list)) });
        let (manner, suffix) = (Manner::of(upload), self.suffix());
        let backup = if manner.backup { "1" } else { "" };
        let arguments = ["act", manner.to, manner.owner, backup, manner.validate, &suffix];
        let members: Arc<[Packed]> = members.into();
        let done = self.run_own(call(&TREE_RECEIVE, &arguments, self.step), Input::Tar(members)).await;
        // Modes and owners that the inspection has corrected count, too.
        let text = split_word(said).0.text + &done.stdout.text;
        let stdout = super::diff::bounded(&text);
        let outcome = if done.outcome == Outcome::Unchanged { Outcome::Ok } else { done.outcome };
        Ok(Done { outcome, stdout, ..done })
    }

    /// The files to send, and the rest of the inspection's output.
    async fn compare_tree<'t>(
        &self,
        upload: &Upload,
        files: &'t [TreeFile],
        act: bool,
    ) -> Result<(ExecReport, Vec<&'t TreeFile>, Output), Done> {
        if let Some(file) = files.iter().find(|file| file.path.contains('\n')) {
            return Err(Done::failed(format!(
                "files/.../{:?} has a name that is no line; rename it",
                file.path
            )));
        }
        let list: String =
            files.iter().enumerate().map(|(number, file)| line(number, file, upload.mode)).collect();
        let arguments = [mode_word(act), &upload.to, upload.owner.as_deref().unwrap_or_default()];
        let mut memory = Memory { bytes: Vec::new(), limit: TREE_LOOK_BYTES };
        let input = Input::Bytes(Bytes::from(list));
        let report = self.stream(&call(&TREE, &arguments, self.step), input, &mut memory).await?;
        if report.end != ExecEnd::Exited(0) {
            return Err(self.inspection_failed(report));
        }
        let text = String::from_utf8_lossy(&memory.bytes).into_owned();
        let number = |line: &str| line.strip_prefix("send ")?.parse::<usize>().ok();
        let to_send = text.lines().filter_map(number).filter_map(|number| files.get(number)).collect();
        let said: String =
            text.lines().filter(|line| number(line).is_none()).flat_map(|line| [line, "\n"]).collect();
        Ok((report, to_send, super::diff::bounded(&said)))
    }

    async fn tree_difference(
        &self,
        upload: &Upload,
        path: &str,
        files: &[&TreeFile],
    ) -> Result<String, Done> {
        let mut text = String::new();
        for file in files.iter().take(SHOWN_FILES) {
            let content = Content::File(self.planned(&format!("{path}/{}", file.path), &file.sha256));
            let name = format!("{}/{}", root(upload), file.path);
            text += &match (Sent { sha256: file.sha256.clone(), content }).bytes().await? {
                Some(new) => self.difference(&name, new).await?,
                None => format!("{name}: too large for a diff\n"),
            };
        }
        for file in files.iter().skip(SHOWN_FILES) {
            text += &format!("{}/{}: differs\n", root(upload), file.path);
        }
        Ok(text)
    }
}

fn root(upload: &Upload) -> &str {
    upload.to.trim_end_matches('/')
}

/// See tree.sh. Users who may read a file that its owner may execute may execute it, too.
fn line(number: usize, file: &TreeFile, mode: u32) -> String {
    let mode = if file.executable { mode | (mode & 0o444) >> 2 } else { mode };
    let sum = if file.is_directory() { "dir" } else { &file.sha256 };
    format!("{number} {sum} {mode:o} {}\n", file.path)
}

fn mode_word(act: bool) -> &'static str {
    if act { "act" } else { "dry-run" }
}
