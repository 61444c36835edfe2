//! A web host in memory: files, releases, a link and an application. It understands exactly what rollcall
//! sends, and fails as its fate wants.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use rollcall::domain::digest::sha256_hex;
use rollcall::domain::name::HostName;
use rollcall::embedded::sshd::{Behaviour, Ended, ExecIo};
use rollcall::engine::port::Stream;
use russh::Sig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::asked::Asked;
use super::fate::{Fate, Trouble};
use super::ledger::{Ledger, Work};
use super::world::{APP_PORT, CURRENT, OLD, dice, release_path};

/// How long a command that hangs does so, if nobody ends it.
const HANGS: Duration = Duration::from_secs(300);

/// See the module.
pub struct SimHost {
    pub name: HostName,
    pub fate: Arc<Fate>,
    pub ledger: Arc<Ledger>,
    disk: Mutex<Disk>,
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
enum Heeds {
    All,
    Kill,
    Nothing,
}

impl Heeds {
    fn takes(self, signal: &Sig) -> bool {
        match self {
            Heeds::All => true,
            Heeds::Kill => matches!(signal, Sig::KILL),
            Heeds::Nothing => false,
        }
    }
}

/// How a process gets on.
enum Course {
    Goes(Duration),
    Fails(Duration),
    /// Until it is ended by one of the signals it listens to.
    Hangs(Heeds),
}

impl SimHost {
    /// A host on the old release.
    pub fn new(name: HostName, fate: Arc<Fate>, ledger: Arc<Ledger>) -> SimHost {
        let old = release_path(OLD);
        let disk = Disk {
            files: BTreeMap::new(),
            releases: BTreeSet::from([old.clone()]),
            link: old,
            running: OLD.into(),
            rebooted: false,
        };
        SimHost { name, fate, ledger, disk: Mutex::new(disk) }
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

    async fn perform(&self, asked: &Asked, io: &mut ExecIo, signals: &mut mpsc::Receiver<Sig>) -> Ended {
        match asked {
            Asked::Observe { at } if at == CURRENT => {
                let link = self.disk().link.clone();
                say(io, &format!("to {link}\n")).await
            }
            Asked::Digest { path } => {
                let found = self.disk().files.get(path).map(|(sha256, _)| sha256.clone());
                say(io, &format!("{}\n", found.unwrap_or_else(|| "none".into()))).await
            }
            Asked::Exists { path } => Ended::Exit(u32::from(!self.disk().releases.contains(path))),
            Asked::Receive { to, sha256, mode, suffix } => {
                let operation = self.ledger.begin(&self.name, &Work::Named(suffix));
                let mut content = Vec::new();
                let whole = io.stdin.read_to_end(&mut content).await.is_ok();
                if !whole || sha256_hex(&content) != *sha256 {
                    return Ended::Exit(1);
                }
                self.disk().files.insert(to.clone(), (sha256.clone(), mode.clone()));
                self.ledger.changed(&self.name, operation.as_deref());
                say(io, "changed\n").await
            }
            Asked::Mode { .. } => {
                self.ledger.begin(&self.name, &Work::Mode);
                say(io, "unchanged\n").await
            }
            Asked::Link { from, at, suffix } if at == CURRENT => self.link(io, from, suffix).await,
            Asked::Run { script } if script == "version" => {
                let running = self.disk().running.clone();
                say(io, &format!("{running}\n")).await
            }
            Asked::Run { script } => self.step(script, io, signals).await,
            other => self.strange(&format!("{other:?}")),
        }
    }

    fn strange(&self, what: &str) -> Ended {
        self.ledger.fault("the simulation", &format!("{} does not understand {what}", self.name));
        Ended::Exit(127)
    }

    async fn link(&self, io: &mut ExecIo, from: &str, suffix: &str) -> Ended {
        let operation = self.ledger.begin(&self.name, &Work::Named(suffix));
        if !self.disk().releases.contains(from) {
            return Ended::Exit(1);
        }
        let before = std::mem::replace(&mut self.disk().link, from.to_string());
        if before == from {
            return say(io, "unchanged\n").await;
        }
        self.ledger.changed(&self.name, operation.as_deref());
        say(io, "changed\n").await
    }

    /// A step of the task.
    async fn step(&self, script: &str, io: &mut ExecIo, signals: &mut mpsc::Receiver<Sig>) -> Ended {
        let operation = self.ledger.begin(&self.name, &Work::Run(script));
        let course = self.course(operation.as_deref().unwrap_or(script), script);
        let status = match course {
            Course::Goes(time) => process(time, signals, Heeds::All, 0).await,
            Course::Fails(time) => process(time, signals, Heeds::All, 1).await,
            Course::Hangs(heeds) => process(HANGS, signals, heeds, 0).await,
        };
        if !matches!(status, Ended::Exit(0)) {
            return status;
        }
        {
            let mut disk = self.disk();
            match script.strip_prefix("release ") {
                Some(version) => _ = disk.releases.insert(release_path(version)),
                None if script != "restart" => return self.strange(script),
                None if self.fate.trouble == Trouble::Lies => {}
                None => disk.running = version_of(&disk.link),
            }
        }
        self.ledger.changed(&self.name, operation.as_deref());
        say(io, &format!("{script} is done\n")).await
    }

    fn course(&self, operation: &str, script: &str) -> Course {
        let mut dice = dice(self.fate.seed, &["course", operation]);
        let longest = if script == "restart" { 4_000 } else { 20_000 };
        let time = Duration::from_millis(dice.random_range(500..longest));
        let fortune = dice.random_range(0..100);
        let heeds = [Heeds::All, Heeds::Kill, Heeds::Nothing][dice.random_range(0..3)];
        match fortune {
            0..40 if self.fate.trouble == Trouble::Flaky => Course::Fails(time),
            40..60 if self.fate.trouble == Trouble::Flaky => Course::Hangs(heeds),
            _ => Course::Goes(time),
        }
    }
}

/// A process that takes its time, unless a signal that it heeds ends it. It outlives its connection.
async fn process(time: Duration, signals: &mut mpsc::Receiver<Sig>, heeds: Heeds, status: u32) -> Ended {
    let over = sleep(time);
    tokio::pin!(over);
    let mut connected = true;
    loop {
        tokio::select! {
            biased;
            signal = signals.recv(), if connected => match signal {
                Some(signal) if heeds.takes(&signal) => return Ended::Signal(signal),
                Some(_) => {}
                None => connected = false,
            },
            () = &mut over => return Ended::Exit(status),
        }
    }
}

async fn say(io: &mut ExecIo, text: &str) -> Ended {
    // A connection that is gone is no trouble of the command.
    let _ = io.stdout.write_all(text.as_bytes()).await;
    Ended::Exit(0)
}

fn version_of(link: &str) -> String {
    link.rsplit('/').next().unwrap_or_default().into()
}

#[async_trait]
impl Behaviour for SimHost {
    async fn exec(&self, command: String, mut io: ExecIo, mut signals: mpsc::Receiver<Sig>) -> Ended {
        let Some(asked) = Asked::parse(&command) else { return self.strange(&command) };
        tokio::select! {
            biased;
            () = self.fate.death() => Ended::Vanish,
            ended = self.perform(&asked, &mut io, &mut signals) => ended,
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
