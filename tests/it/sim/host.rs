//! A web host in memory: files, releases, a link and an application. It understands exactly what rollcall
//! sends, and fails as its fate wants.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use rollcall::domain::base::digest::sha256_hex;
use rollcall::domain::base::name::HostName;
use rollcall::embedded::behaviour::{Behaviour, CommandEnd, ExecIo};
use rollcall::port::Stream;
use rollcall::steps::wrapper::record_of;
use russh::Sig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::asked::{Asked, Heard};
use super::fate::{Fate, Trouble};
use super::ledger::{Ledger, Work};
use super::ops::{self, Ops};
use super::world::{APP_PORT, CURRENT, OLD, dice, release_path};

/// How long a command that hangs does so, if nobody ends it.
const HANGS: Duration = Duration::from_secs(300);

/// See the module.
pub struct SimHost {
    pub name: HostName,
    pub fate: Arc<Fate>,
    pub ledger: Arc<Ledger>,
    pub ops: Ops,
    disk: Mutex<Disk>,
    me: Weak<SimHost>,
}

/// What a host is, at one instant.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Path to SHA-256 and mode.
    pub files: BTreeMap<String, (String, String)>,
    pub releases: BTreeSet<String>,
    pub link: String,
    /// The version that the application says it is.
    pub running: String,
    rebooted: bool,
}

/// Which signals end a process.
#[derive(Clone, Copy)]
pub enum Heeds {
    All,
    Kill,
    Nothing,
}

/// How a process gets on.
pub enum Course {
    Goes(Duration),
    Fails(Duration),
    /// Until it is ended by one of the signals it listens to.
    Hangs(Duration, Heeds),
}

impl SimHost {
    /// A host on the old release.
    pub fn new(name: HostName, fate: Arc<Fate>, ledger: Arc<Ledger>) -> Arc<SimHost> {
        let old = release_path(OLD);
        let disk = Disk {
            files: BTreeMap::new(),
            releases: BTreeSet::from([old.clone()]),
            link: old,
            running: OLD.into(),
            rebooted: false,
        };
        let (ops, disk) = (Ops::default(), Mutex::new(disk));
        Arc::new_cyclic(|me| SimHost { name, fate, ledger, ops, disk, me: me.clone() })
    }

    /// For what goes on when nobody listens.
    pub fn me(&self) -> Arc<SimHost> {
        self.me.upgrade().expect("a host is there for as long as it is asked")
    }

    /// True when what was asked so long ago may have been asked before the host died.
    pub fn restarted_within(&self, age: Duration) -> bool {
        age > Duration::ZERO
            && self.fate.down().is_some_and(|(_, to, _)| to.elapsed() <= age && self.fate.has_died())
    }

    /// The host as it is now. Booting starts what the link points to.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fate.has_died() && !disk.rebooted {
            disk.rebooted = true;
            disk.running = version_of(&disk.link);
        }
        disk
    }

    async fn perform(&self, asked: &Asked, io: &mut ExecIo, signals: &mut mpsc::Receiver<Sig>) -> CommandEnd {
        match asked {
            Asked::Observe { at } if at == CURRENT => {
                let link = self.disk().link.clone();
                say(io, &format!("to {link}\n")).await
            }
            Asked::Place { path, sha256 } => {
                if self.disk().files.get(path).is_none_or(|(found, _)| found != sha256) {
                    return say(io, "send\n").await;
                }
                self.ledger.begin(&self.name, &Work::Mode);
                say(io, "unchanged\n").await
            }
            Asked::Exists { path } => CommandEnd::Exit(u32::from(!self.disk().releases.contains(path))),
            Asked::Receive { to, sha256, mode, suffix } => {
                let operation = self.ledger.begin(&self.name, &Work::Named(suffix));
                let mut content = Vec::new();
                let whole = io.stdin.read_to_end(&mut content).await.is_ok();
                if !whole || sha256_hex(&content) != *sha256 {
                    return CommandEnd::Exit(1);
                }
                let new = (sha256.clone(), mode.clone());
                let old = self.disk().files.insert(to.clone(), new.clone());
                if old != Some(new) {
                    self.ledger.changed(&self.name, operation.as_deref());
                }
                say(io, "changed\n").await
            }
            Asked::Link { from, at, suffix } if at == CURRENT => self.link(io, from, suffix).await,
            Asked::Run { script } if script == "version" => {
                let running = self.disk().running.clone();
                say(io, &format!("{running}\n")).await
            }
            Asked::Wrapper(call) => ops::answer(self, call, io, signals).await,
            other => self.strange(&format!("{other:?}")),
        }
    }

    fn strange(&self, what: &str) -> CommandEnd {
        self.ledger.fault("the simulation", &format!("{} does not understand {what}", self.name));
        CommandEnd::Exit(127)
    }

    async fn link(&self, io: &mut ExecIo, from: &str, suffix: &str) -> CommandEnd {
        let operation = self.ledger.begin(&self.name, &Work::Named(suffix));
        if !self.disk().releases.contains(from) {
            return CommandEnd::Exit(1);
        }
        let before = std::mem::replace(&mut self.disk().link, from.to_string());
        if before == from {
            return say(io, "unchanged\n").await;
        }
        self.ledger.changed(&self.name, operation.as_deref());
        say(io, "changed\n").await
    }

    /// Begins a step of the task; the operation that the journal has announced for it.
    pub fn begins(&self, name: &str, script: &str) -> Option<String> {
        let operation = self.ledger.begin(&self.name, &Work::Run(script));
        let mark = self.ledger.book().shadow.asked().mark.clone();
        if operation.as_deref().is_some_and(|operation| record_of(operation, &mark) != name) {
            let what = format!("{name} begins, and the journal announced {operation:?}");
            self.ledger.fault("I1 intent before effect", &what);
        }
        operation
    }

    /// What a step of the task does to the host, and what it prints.
    pub fn takes_effect(&self, operation: Option<&str>, script: &str) -> String {
        {
            let mut disk = self.disk();
            match script.strip_prefix("release ") {
                Some(version) => _ = disk.releases.insert(release_path(version)),
                None if script != "restart" => _ = self.strange(script),
                None if self.fate.trouble == Trouble::Lies => {}
                None => disk.running = version_of(&disk.link),
            }
        }
        self.ledger.changed(&self.name, operation);
        format!("{script} is done\n")
    }

    /// How a process gets on.
    pub fn course(&self, operation: &str, script: &str) -> Course {
        let mut dice = dice(self.fate.seed, &["course", operation]);
        let longest = if script == "restart" { 4_000 } else { 20_000 };
        let time = Duration::from_millis(dice.random_range(500..longest));
        let fortune = dice.random_range(0..100);
        let heeds = [Heeds::All, Heeds::Kill, Heeds::Nothing][dice.random_range(0..3)];
        match fortune {
            0..40 if self.fate.trouble == Trouble::Flaky => Course::Fails(time),
            40..60 if self.fate.trouble == Trouble::Flaky => Course::Hangs(HANGS, heeds),
            _ => Course::Goes(time),
        }
    }
}

async fn say(io: &mut ExecIo, text: &str) -> CommandEnd {
    // A connection that is gone is no trouble of the command.
    let _ = io.stdout.write_all(text.as_bytes()).await;
    CommandEnd::Exit(0)
}

fn version_of(link: &str) -> String {
    link.rsplit('/').next().unwrap_or_default().into()
}

#[async_trait]
impl Behaviour for SimHost {
    async fn exec(&self, command: String, mut io: ExecIo, mut signals: mpsc::Receiver<Sig>) -> CommandEnd {
        let work = async {
            match Asked::hear(&command, &mut io).await {
                Heard::Asked(asked) => self.perform(&asked, &mut io, &mut signals).await,
                Heard::CutOff => CommandEnd::Exit(75),
                Heard::Strange => self.strange(&command),
            }
        };
        tokio::select! {
            biased;
            () = self.fate.death() => CommandEnd::Vanish,
            ended = work => ended,
        }
    }

    async fn connect(&self, _: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        if port != APP_PORT {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, _) = tokio::io::duplex(64);
        Ok(Box::new(near))
    }
}
