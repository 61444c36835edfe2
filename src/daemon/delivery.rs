//! `git push` and `git fetch` of the configuration: git moves the bytes, and rollcall decides, in a hook, what it accepts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::described::check_config;
use super::repository::{BRANCH, Repository, Scratch};
use super::tree::{Tree, check_tree, in_the_way};
use crate::config::{Config, on_disk_now, redacted_files};
use crate::domain::ask::command::GitService;
use crate::domain::base::configuration::short;
use crate::domain::base::output::printable;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::{GitOutput, GitWire};
use crate::local::artifacts::Piece;
use crate::present::config::{ConfigSide, diff};

/// How long one push or fetch may take.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The pause between two looks for the question of the hook.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of git that are passed on at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Asks rollcall, which has started git, and waits for its verdict: at most five minutes, and not for a rollcall that is gone.
const HOOK: &str = r#"#!/bin/sh
umask 077
at=$ROLLCALL_PUSH
{ printf '%s\n' "$GIT_OBJECT_DIRECTORY"; cat; } >"$at/asked.new" && mv "$at/asked.new" "$at/asked" || exit 1
left=3000
while [ ! -e "$at/verdict" ]; do
    left=$((left - 1))
    [ "$left" -gt 0 ] && [ -d "$at" ] && sleep 0.1 || exit 1
done
cat "$at/said" >&2
[ "$(cat "$at/verdict")" = accepted ]
"#;

/// A push that was accepted.
#[derive(Debug)]
pub struct Accepted {
    pub old: Option<String>,
    pub new: String,
}

/// A git that serves a client, and the folder by which its hook asks.
pub struct Serving {
    child: Child,
    asking: Scratch,
    feeding: Option<JoinHandle<()>>,
    printing: JoinSet<()>,
    gone: CancellationToken,
    deadline: Instant,
}

/// What a push asks for.
pub struct Question {
    objects: PathBuf,
    old: String,
    pub new: String,
    changes: Vec<String>,
}

impl Serving {
    /// Starts git for a client.
    pub fn start(repository: &Repository, service: GitService, wire: GitWire) -> Result<Serving, Refusal> {
        let internal = |why: String| Refusal::internal(why);
        let asking = Scratch::new(repository.folder(), "push").map_err(internal)?;
        fs::create_dir(&asking.0).map_err(|error| internal(error.to_string()))?;
        let mut git = repository.git();
        if service == GitService::Push {
            let hooks = write_hook(&asking.0).map_err(|error| internal(error.to_string()))?;
            git.args(["-c", &format!("core.hooksPath={}", hooks.display())]);
        }
        let word = if service == GitService::Push { "receive-pack" } else { "upload-pack" };
        git.arg(word).arg(repository.folder()).env("ROLLCALL_PUSH", &asking.0).env_remove("GIT_DIR");
        let mut git = Command::from(git);
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = git.spawn().map_err(|error| {
            let hint = "try: apt-get install git on the machine of rollcall";
            Refusal::new(Cause::Internal, format!("git cannot be started: {error}")).hint(hint)
        })?;
        let GitWire { input, output, gone } = wire;
        let (mut feeding, mut printing) = (None, JoinSet::new());
        if let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        {
            feeding = Some(tokio::spawn(feed(input, stdin)));
            printing.spawn(pass_on(stdout, output.clone()));
            printing.spawn(pass_on_errors(stderr, output));
        }
        Ok(Serving { child, asking, feeding, printing, gone, deadline: Instant::now() + WHOLE_TIMEOUT })
    }

    /// Waits until the hook asks; `None` if git ended without a question.
    pub async fn question(&mut self) -> Result<Option<Question>, Refusal> {
        let path = self.asking.0.join("asked");
        loop {
            let ended = self.child.try_wait().map_err(|error| Refusal::internal(error.to_string()))?;
            if let Ok(text) = fs::read_to_string(&path) {
                return Ok(Some(Question::read(&text)));
            }
            if ended.is_some() {
                return Ok(None);
            }
            if self.gone.is_cancelled() || Instant::now() > self.deadline {
                // Nothing was accepted, so nothing is left behind: git removes its quarantine, or its next start does.
                let _ = self.child.kill().await;
                return Err(Refusal::new(
                    Cause::Failed,
                    "the client is gone, or took too long; nothing was accepted",
                ));
            }
            sleep(PAUSE).await;
        }
    }

    /// The verdict on the question, with words for the client.
    pub fn answer(&self, verdict: &Result<String, String>) -> Result<(), Refusal> {
        let (word, said) = match verdict {
            Ok(said) => ("accepted", said),
            Err(why) => ("refused", why),
        };
        let said = printable(said);
        let written = fs::write(self.asking.0.join("said"), format!("{}\n", said.trim_end()))
            .and_then(|()| fs::write(self.asking.0.join("verdict.new"), word))
            .and_then(|()| fs::rename(self.asking.0.join("verdict.new"), self.asking.0.join("verdict")));
        written.map_err(|error| Refusal::internal(format!("the verdict on a push: {error}")))
    }

    /// Waits for the end of git; true if it succeeded. A client that is gone is not waited for.
    pub async fn end(mut self) -> bool {
        let (gone, deadline) = (self.gone.clone(), self.deadline);
        let status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = tokio::time::sleep_until(deadline) => None,
            () = async { gone.cancelled().await; sleep(Duration::from_secs(10)).await } => None,
        };
        if status.is_none() {
            let _ = self.child.kill().await;
        }
        // What git has printed reaches the client before the end.
        let rest = async { while self.printing.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(60), rest).await;
        // The client may keep its side open until it reads the end of ours.
        self.feeding.iter().for_each(JoinHandle::abort);
        status.is_some_and(|status| status.success())
    }
}

fn write_hook(folder: &Path) -> std::io::Result<PathBuf> {
    let hooks = folder.join("hooks");
    fs::create_dir(&hooks)?;
    let path = hooks.join("pre-receive");
    fs::write(&path, HOOK)?;
    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
    Ok(hooks)
}

/// The input of git; cut off, git sees its end and gives up.
async fn feed(mut input: mpsc::Receiver<Piece>, mut stdin: ChildStdin) {
    while let Some(Piece::Bytes(bytes)) = input.recv().await {
        if stdin.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

async fn pass_on(mut from: ChildStdout, to: mpsc::Sender<GitOutput>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // A client that is gone reads nothing; git still ends by itself.
        let _ = to.send(GitOutput::Bytes(Bytes::copy_from_slice(&buffer[..read]))).await;
    }
}

async fn pass_on_errors(mut from: ChildStderr, to: mpsc::Sender<GitOutput>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let _ = to.send(GitOutput::Error(String::from_utf8_lossy(&buffer[..read]).into_owned())).await;
    }
}

impl Question {
    fn read(text: &str) -> Question {
        let mut lines = text.lines();
        let objects = PathBuf::from(lines.next().unwrap_or_default());
        let changes: Vec<String> = lines.map(String::from).collect();
        let mut words = changes.first().map(String::as_str).unwrap_or_default().split(' ');
        let (old, new) = (words.next().unwrap_or_default().into(), words.next().unwrap_or_default().into());
        Question { objects, old, new, changes }
    }

    /// Whether the push is accepted, and what the client reads. Blocks.
    pub fn judge(&self, repository: &Repository, config: &Config) -> Result<(Accepted, String), String> {
        let old = Some(self.old.clone()).filter(|old| old.bytes().any(|digit| digit != b'0'));
        self.check_reference()?;
        if repository.tip()? != old {
            return Err("another push was faster; try: git pull, then push again".into());
        }
        if let Some(old) = &old
            && !repository.continues(old, &self.new, &self.objects)
        {
            return Err("it does not continue what rollcall has; try: git pull, then push again".into());
        }
        let after = repository.tree(&self.new, Some(&self.objects))?;
        check_tree(&after)?;
        repository.check_writable()?;
        self.check_directory(repository, (old.as_deref(), &after))?;
        let said = self.check_whole(repository, config)?;
        Ok((Accepted { old, new: self.new.clone() }, said))
    }

    fn check_reference(&self) -> Result<(), String> {
        let one = format!("{} {} {BRANCH}", self.old, self.new);
        if self.changes.len() != 1 || self.changes[0] != one {
            return Err("rollcall has the branch `main` alone; try: git push rollcall HEAD:main".into());
        }
        match self.new.bytes().any(|digit| digit != b'0') {
            true => Ok(()),
            false => Err("the branch `main` cannot be deleted".into()),
        }
    }

    /// What the directory has and the pushed history does not is never replaced.
    fn check_directory(
        &self,
        repository: &Repository,
        (old, after): (Option<&str>, &Tree),
    ) -> Result<(), String> {
        let (differing, before) = match old {
            Some(old) => (repository.differing(Some(old), None)?, repository.tree(old, None)?),
            // The first push takes a directory over that is the same, or a part of it.
            None => {
                let mut differing = repository.differing(Some(&self.new), Some(&self.objects))?;
                differing.retain(|path| repository.root().join(path).symlink_metadata().is_ok());
                (differing, Default::default())
            }
        };
        let here = repository.here()?;
        let mut local = differing;
        local.extend(in_the_way(repository.root(), &before, after, &here));
        local.sort();
        local.dedup();
        if local.is_empty() {
            return Ok(());
        }
        let how = match old {
            Some(_) => "git pull, which has it, then push again",
            None => {
                "git fetch rollcall, git merge --allow-unrelated-histories rollcall/main, then push again"
            }
        };
        Err(format!(
            "the configuration directory has what the push does not have, and nothing was changed: {}\ntry: {how}",
            local.join(", ")
        ))
    }

    /// Reads the pushed files as `check-config` does, in a folder of their own.
    fn check_whole(&self, repository: &Repository, config: &Config) -> Result<String, String> {
        let folder = Scratch::new(repository.folder(), "check")?;
        fs::create_dir(&folder.0).map_err(|error| error.to_string())?;
        repository.export(&self.new, Some(&self.objects), &folder.0)?;
        link_others(repository.root(), &folder.0).map_err(|error| error.to_string())?;
        let summary = check_config(&folder.0)
            .map_err(|mistakes| format!("the configuration has mistakes:\n{mistakes}"))?;
        let (version, texts) = on_disk_now(&folder.0);
        let new = ConfigSide { name: format!("pushed {}", short(&self.new)), files: version.files, texts };
        let current = &config.version;
        let old = ConfigSide {
            name: format!("{}, in force", short(&current.digest)),
            files: current.files.clone(),
            texts: redacted_files(&config.texts.0),
        };
        Ok(format!("{}{summary}", diff(&old, &new)))
    }
}

/// Files beside those of a configuration, such as keys, which settings may name relative to the directory.
fn link_others(root: &Path, to: &Path) -> std::io::Result<()> {
    const OURS: [&str; 8] =
        ["rollcall.toml", "operators", "revoked", "README.md", ".gitignore", "hosts", "tasks", "checks"];
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (name, place) = (entry.file_name(), to.join(entry.file_name()));
        let is_ours = OURS.iter().any(|ours| name == *ours);
        if !is_ours && name != ".git" && !place.exists() {
            symlink(entry.path(), place)?;
        }
    }
    Ok(())
}
