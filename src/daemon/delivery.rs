//! `git push` and `git fetch` of the configuration: git moves the bytes, and rollcall decides, in a hook, what it accepts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::described::check_config;
use super::placing::add_others;
use super::repository::{BRANCH, Repository, Scratch};
use super::tree::{Tree, changed, check_tree, in_the_way};
use crate::config::{Config, on_disk_now, redacted_files};
use crate::domain::ask::command::GitService;
use crate::domain::base::configuration::short;
use crate::domain::base::output::printable;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::{GitOutput, GitWire};
use crate::local::artifacts::Piece;
use crate::local::process::ProcessGroup;
use crate::present::config::{ConfigSide, diff};

/// How long one push or fetch may take.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The pause between two reads for the question of the hook.
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

impl Accepted {
    /// Puts the commit in place, unless the directory has changed since the verdict. Blocks.
    pub fn place(&self, repository: &Repository) -> Result<(), String> {
        if repository.tip()?.as_ref() != Some(&self.new) {
            return Err("git did not take it over; nothing was changed".into());
        }
        let old = self.old.as_deref();
        let before = old.map(|old| repository.tree(old, None)).transpose()?.unwrap_or_default();
        let after = repository.tree(&self.new, None)?;
        let local = local_files(repository, (old.is_some(), &before, &after))?;
        if !local.is_empty() {
            repository.take_back(old, &self.new)?;
            return Err(format!(
                "the directory changed during the push, which was taken back; nothing was changed: {}; try: git pull --rebase, then push again",
                local.join(", ")
            ));
        }
        repository.check_out(old, &self.new)
    }
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
            match service {
                GitService::Push => printing.spawn(pass_on_all(stdout, output.clone())),
                GitService::Fetch => printing.spawn(pass_on(stdout, output.clone())),
            };
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
                stop(&mut self.child).await;
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

    /// Waits for the end of git, whose output waits for no client that receives. A client that is gone is not waited for.
    pub async fn ended(&mut self) {
        let (gone, deadline) = (self.gone.clone(), self.deadline);
        let is_over = tokio::select! {
            status = self.child.wait() => status.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = async { gone.cancelled().await; sleep(Duration::from_secs(10)).await } => false,
        };
        if !is_over {
            stop(&mut self.child).await;
        }
    }

    pub async fn stop(&mut self) {
        stop(&mut self.child).await;
    }

    /// Waits until the client has what git has printed.
    pub async fn end(mut self) {
        self.ended().await;
        let rest = async { while self.printing.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(60), rest).await;
        // The client may keep its side open until it reads the end of ours.
        self.feeding.iter().for_each(JoinHandle::abort);
    }
}

/// Ends git and what it has started. SIGTERM comes first: with it, git removes its quarantine and its locks.
async fn stop(child: &mut Child) {
    ProcessGroup::of(child.id()).signal(Signal::SIGTERM);
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Files of the directory that a commit does not have and its delivery would replace, or leave beside it.
fn local_files(
    repository: &Repository,
    (is_later, before, after): (bool, &Tree, &Tree),
) -> Result<Vec<String>, String> {
    let here = repository.here()?;
    let mut local = match is_later {
        true => changed(before, &here),
        // The first push takes a directory over that is the same, or a part of it.
        false => changed(after, &here).into_iter().filter(|path| here.contains_key(path)).collect(),
    };
    local.extend(in_the_way(repository.root(), before, after, &here));
    local.sort();
    local.dedup();
    Ok(local)
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

/// Like [`pass_on`], and git waits for no slow client: a push prints little, and what it changes waits for its end.
async fn pass_on_all(mut from: ChildStdout, to: mpsc::Sender<GitOutput>) {
    let (queue, mut waiting) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let _ = queue.send(Bytes::copy_from_slice(&buffer[..read]));
        }
    };
    let sending = async {
        while let Some(bytes) = waiting.recv().await {
            let _ = to.send(GitOutput::Bytes(bytes)).await;
        }
    };
    tokio::join!(reading, sending);
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
        let before = old.as_deref().map(|old| repository.tree(old, None)).transpose()?.unwrap_or_default();
        self.check_directory(repository, (old.as_deref(), &before, &after))?;
        repository.check_writable(&changed(&before, &after))?;
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
        (old, before, after): (Option<&str>, &Tree, &Tree),
    ) -> Result<(), String> {
        let local = local_files(repository, (old.is_some(), before, after))?;
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
        add_others(repository.root(), &folder.0, &repository.here()?).map_err(|error| error.to_string())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::process::command;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Child {
        let mut sh = command("sh");
        sh.args(["-c", script]);
        Command::from(sh).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    #[tokio::test]
    async fn git_may_clean_up_before_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (ready, cleaned) = (dir.path().join("ready"), dir.path().join("cleaned"));
        let trap = format!("trap 'echo >{}; exit' TERM", cleaned.display());
        let mut child = sh(&format!("{trap}; echo >{}; while :; do sleep 0.05; done", ready.display()));
        while !ready.exists() {
            sleep(PAUSE).await;
        }
        stop(&mut child).await;
        assert!(cleaned.exists() && child.try_wait().unwrap().is_some());
    }

    #[tokio::test]
    async fn a_push_ends_while_its_client_reads_nothing() {
        let (output, mut client) = mpsc::channel(1);
        let mut child = sh("head -c 1000000 /dev/zero");
        let passing = tokio::spawn(pass_on_all(child.stdout.take().unwrap(), output));
        let ended = tokio::time::timeout(LONG, child.wait()).await;
        assert!(ended.is_ok_and(|status| status.unwrap().success()));
        let mut bytes = 0;
        while let Some(GitOutput::Bytes(piece)) = client.recv().await {
            bytes += piece.len();
        }
        passing.await.unwrap();
        assert_eq!(bytes, 1_000_000);
    }
}
