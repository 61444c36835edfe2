//! The doors: they move bytes and call the engine. [`answer`] implements the commands; a door only
//! identifies the operator and delivers the answer.

pub mod answer;
pub mod api;
pub mod audit;
pub mod candidates;
pub mod client;
pub mod differences;
pub mod entrances;
pub mod file_digests;
pub mod folds;
pub mod host_lines;
pub mod kept;
pub mod keys;
pub mod local;
pub mod log_lines;
pub mod pasts;
pub mod rights;
pub mod seals;
pub mod sessions;
pub mod shown;
pub mod signer;
pub mod ssh;
pub mod step_times;
pub mod streams;
pub mod tail;
pub mod turns;
mod watchlist;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::audit::Audit;
use self::candidates::Candidates;
use self::entrances::Entrances;
use self::file_digests::FileDigests;
use self::folds::Folds;
use self::host_lines::HostLines;
use self::keys::KeyPress;
use self::pasts::Pasts;
use self::rights::Rights;
use self::seals::Seals;
use self::sessions::{DoorCommand, Sessions};
use self::signer::Signer;
use self::step_times::StepTimes;
use self::tail::Tail;
use self::turns::Turns;
use crate::config::Config;
use crate::domain::ask::access::{Granted, Operator};
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::GitService;
use crate::domain::ask::enrolled::{Denial, Presented};
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::{LEFT, Refusal};
use crate::domain::base::request::RequestKey;
use crate::engine::Engine;
use crate::local::artifacts::{Artifacts, Piece};
use crate::notices::Tell;
use crate::panics::caught;
use crate::port::audit::ConfigVersions;
use crate::port::report::Reports;
use crate::port::talk::Feed;
use crate::port::visits::Visited;
use crate::port::vitals::Vitals;
use crate::port::{Clock, Fetcher, Watches};
use crate::present::board::block::Screen;
use crate::present::board::page::Page;
use crate::watch::Monitor;

/// The client is gone. The run continues.
#[derive(Debug, PartialEq)]
pub struct Gone;

/// The receiver of an answer.
#[async_trait]
pub trait Terminal: Send + Sync {
    /// Results.
    async fn out(&mut self, text: &str) -> Result<(), Gone>;
    /// Output of hosts: as they print it, also where it is wider than the screen.
    async fn printed(&mut self, text: &str, is_error: bool) -> Result<(), Gone>;
    /// Words that this operator has typed: they are printed as they are, also if they name what they may not see.
    fn may_name(&mut self, _typed: &str) {}
    /// Remarks: errors, hints, open debts.
    async fn err(&mut self, text: &str) -> Result<(), Gone>;
    /// Binary results. Content of hosts is sent unchanged, and therefore never to a screen.
    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone>;
    /// True when the client has a screen.
    fn is_interactive(&self) -> bool;
    /// What the client's screen can show; `None` without one.
    fn screen(&self) -> Option<Screen> {
        None
    }
    /// Draws these lines at the bottom of the screen, in the place of those before; what is printed stands above them.
    async fn draw(&mut self, _lines: Vec<String>) -> Result<(), Gone> {
        Ok(())
    }
    /// Takes the whole screen for a board, or gives it back as it was.
    async fn full_screen(&mut self, _is_on: bool) -> Result<(), Gone> {
        Ok(())
    }
    /// The operator as of now, by the key of the connection; or why there is none any more.
    fn admitted(&self) -> Result<Operator, String> {
        Err("who you are cannot be looked up here".into())
    }
    /// Sends what draws a screen, as it is: every text in it was made safe, and [`covered`](Terminal::covered).
    async fn paint(&mut self, _frame: String) -> Result<(), Gone> {
        Ok(())
    }
    /// A text without the names that the operator may not read. Answers are covered as they are sent; this is for screens.
    fn covered(&self, text: &str) -> String {
        text.into()
    }
    /// Fires when the client is gone, so that no task waits for it.
    fn gone(&self) -> CancellationToken;
    /// The client's standard input, for commands that pass it on to hosts.
    fn input(&mut self) -> Option<Feed>;
    /// The client's standard input as a file; `None` on a terminal.
    fn file(&mut self) -> Option<mpsc::Receiver<Piece>>;
    /// The client has sent a file on purpose: standard input is there in any case.
    fn brings_file(&self) -> bool {
        false
    }
    /// Resolves when the client does not answer any more, although its connection has not ended.
    fn silence(&self) -> BoxFuture<'static, ()>;
    /// The command as its session lists it, from the first words of the answer; see [`Terminal::listed`].
    fn list(&mut self, _command: DoorCommand) {}
    /// `None` for a local user, who has no session.
    fn listed(&self) -> Option<&DoorCommand>;
    /// The command is not done. People read it by [`Terminal::err`].
    fn refuse(&mut self, _refusal: &Refusal) {}
    /// What [`Terminal::bytes`] gets next is this part of a whole.
    fn part(&mut self, _part: BytesPart) {}
    /// Takes a page as it is, for one who does not read it as text or JSON; gives it back otherwise. It is covered.
    fn page(&mut self, page: Page) -> Option<Page> {
        Some(page)
    }
    /// The list goes on: the same command, with this option and number, prints more of it.
    fn more(&mut self, _option: &'static str, _number: u64) {}
    /// The digest of the plan that an agent is shown.
    fn planned(&mut self, _digest: &str) {}
    /// What makes the request of a program one that was sent before.
    fn request(&self) -> Option<RequestKey> {
        None
    }
    /// The command has started a run, which it follows from now on.
    fn started(&mut self, _run: RunId) {}
    /// The exit status of an answer that ends since the client has left.
    fn left_status(&self) -> u8 {
        LEFT
    }
    /// The keys of a terminal. Until they are taken, the first Ctrl-C or Ctrl-D ends the answer.
    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>>;
}

/// A part of something with a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesPart {
    /// Its name as a file.
    pub name: String,
    /// In bytes, of the whole.
    pub length: u64,
    /// The first byte, and the one behind the last; `None` if the whole has none of those that were asked for.
    pub range: Option<(u64, u64)>,
}

/// The message that replaces an answer that panicked.
pub const BROKEN: &str = "rollcall: internal error, please report it; the daemon's log has it. \
                          Runs are not harmed by it; try: runs\n";

/// The exit status of an answer, or [`BROKEN`] when it panics: a panic may cost an answer, never a session.
pub async fn unbroken(answering: impl Future<Output = u8>) -> Result<u8, &'static str> {
    // Only the terminal is used afterwards, and it has no state of the answer.
    caught(answering).await.map_err(|_| BROKEN)
}

/// What git prints for its client.
pub enum GitOutput {
    Bytes(Bytes),
    Error(String),
}

/// What a client of git sends and reads, and whether it is gone.
pub struct GitWire {
    pub input: mpsc::Receiver<Piece>,
    pub output: mpsc::Sender<GitOutput>,
    pub gone: CancellationToken,
}

/// Reads the whole configuration again and activates it, or keeps the old one and reports the mistakes.
#[async_trait]
pub trait Reload: Send + Sync {
    /// A summary of the new configuration in one line; or the diagnostics.
    async fn reload(&self, by: &Caller) -> Result<String, String>;

    /// Runs due scripts in `hosts/` again, for a command that plans. A script that fails leaves the
    /// present groups unchanged; see [`Config::scripted`].
    async fn refresh(&self);

    /// Serves a client of git; words for it. A client that is gone ends nothing that was accepted.
    async fn serve_git(
        self: Arc<Self>,
        service: GitService,
        by: Caller,
        wire: GitWire,
    ) -> Result<String, Refusal>;

    /// Adds a line to `operators`, and reads the configuration again; its summary. If the line is there and nothing was taken
    /// over, the inner result says why.
    async fn enroll(&self, line: &str, by: &Caller) -> Result<Result<String, Refusal>, Refusal>;
}

/// The stored states of scheduled checks: only a granted command reaches them.
#[derive(Clone)]
pub struct WatchStates(Arc<dyn Watches>);

impl WatchStates {
    pub fn new(store: Arc<dyn Watches>) -> WatchStates {
        WatchStates(store)
    }

    /// For a granted command.
    pub fn of(&self, _proof: &Granted) -> &dyn Watches {
        &*self.0
    }
}

/// What `report` reads: only a granted command reaches it.
#[derive(Clone)]
pub struct ReportRecords(Arc<dyn Reports>);

impl ReportRecords {
    pub fn new(store: Arc<dyn Reports>) -> ReportRecords {
        ReportRecords(store)
    }

    /// For a granted command.
    pub fn of(&self, _proof: &Granted) -> &dyn Reports {
        &*self.0
    }
}

/// Visits to the page of the fleet: only a granted command reaches them.
#[derive(Clone)]
pub struct FleetVisits(Arc<dyn Visited>);

impl FleetVisits {
    pub fn new(store: Arc<dyn Visited>) -> FleetVisits {
        FleetVisits(store)
    }

    /// For a granted command.
    pub fn of(&self, _proof: &Granted) -> &dyn Visited {
        &*self.0
    }
}

/// The kept versions of the configuration: only a granted command reaches them.
#[derive(Clone)]
pub struct Versions(Arc<dyn ConfigVersions>);

impl Versions {
    pub fn new(store: Arc<dyn ConfigVersions>) -> Versions {
        Versions(store)
    }

    /// For a granted command.
    pub fn of(&self, _proof: &Granted) -> &dyn ConfigVersions {
        &*self.0
    }
}

/// The parts that every door needs.
#[derive(Clone)]
pub struct Desk {
    pub engine: Engine,
    pub tell: Tell,
    /// The present configuration. A command keeps the one that it started with.
    pub config: watch::Receiver<Arc<Config>>,
    pub reload: Arc<dyn Reload>,
    pub monitor: Monitor,
    pub watches: WatchStates,
    pub reports: ReportRecords,
    pub visits: FleetVisits,
    pub clock: Arc<dyn Clock>,
    /// Keys that logged in in vain.
    pub candidates: Arc<Candidates>,
    pub sessions: Arc<Sessions>,
    pub entrances: Arc<Entrances>,
    /// Runs as the boards know them.
    pub folds: Arc<Folds>,
    pub pasts: Arc<Pasts>,
    pub step_times: Arc<StepTimes>,
    /// Digests of long outputs.
    pub answers: Arc<FileDigests>,
    pub seals: Arc<Seals>,
    pub rights: Arc<Rights>,
    /// The public key of the door: type and base64.
    pub public_key: String,
    pub turns: Arc<AllTurns>,
    /// The newest events, for their followers.
    pub tail: Arc<Tail>,
    pub host_lines: Arc<HostLines>,
    /// Files that are given to commands, and how they are fetched.
    pub artifacts: Arc<Artifacts>,
    pub fetcher: Arc<dyn Fetcher>,
    pub audit: Audit,
    pub signer: Signer,
    pub versions: Versions,
    /// What this process observes of itself.
    pub vitals: Arc<dyn Vitals>,
}

impl Desk {
    /// The digest of the present configuration.
    pub fn digest(&self) -> String {
        self.config.borrow().version.digest.clone()
    }

    /// The operator of a key or certificate, by the present configuration and time: one that was removed,
    /// revoked or has expired is refused at its next command.
    pub fn admit(&self, presented: &Presented) -> Result<Operator, Denial> {
        let (config, now) = (self.config.borrow().clone(), self.clock.now());
        let operator = config.operators.admit(presented, now)?;
        Ok(self.rights.add_to(operator, &config, now))
    }
}

/// Most commands whose input is kept at the same time, each with up to [`crate::port::talk::INPUT_LIMIT_BYTES`].
pub const INPUTS: usize = 64;

/// How much work may run at the same time, in total and for one operator.
pub struct AllTurns {
    /// Processor work: the daemon's machine has few processors, and its runs need them, too.
    pub work: Turns,
    /// Printed plans, from planning to the last byte read: each may take hundreds of megabytes.
    pub plans: Turns,
    /// Other answers about many hosts or runs, from their start to the last byte read.
    pub answers: Turns,
    /// Commands whose input is kept.
    pub inputs: Arc<Semaphore>,
    /// Files that are received.
    pub uploads: Turns,
    /// Logs that are read: their lines are in memory until the last host has answered.
    pub logs: Turns,
    /// Logs that are followed: each takes memory, and a connection to each of its hosts.
    pub follows: Turns,
}

impl Default for AllTurns {
    fn default() -> Self {
        AllTurns {
            work: Turns::new(4, 1),
            plans: Turns::new(2, 1),
            answers: Turns::new(16, 4),
            inputs: Arc::new(Semaphore::new(INPUTS)),
            uploads: Turns::new(12, 3),
            logs: Turns::new(8, 2),
            follows: Turns::new(64, 8),
        }
    }
}
