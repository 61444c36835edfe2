//! How a run is shown while it lasts: on a terminal, a block at its bottom with the failures above it; without one, lines that
//! matter and a heartbeat.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::asked::Asked;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::Event;
use crate::domain::run::record::RunSummary;
use crate::domain::run::run::Run;
use crate::port::talk::{Feed, Inlet};
use crate::present::board::block::{Following, Screen, Usual, usual};
use crate::present::board::progress::RunProgress;

/// A run of more hosts is not printed step by step, unless it is asked for with `--verbose`.
const BRIEF_ABOVE_HOSTS: usize = 20;

/// Without a terminal, a reader hears at least this often that the run is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The block shows seconds.
const CLOCK: Duration = Duration::from_secs(1);

/// Shortest time between two drawings of the block.
const FRAME: Duration = Duration::from_millis(100);

/// Runs that are searched for earlier ones of the same kind on the same hosts, and how many of them count.
const RUNS_SEARCHED: usize = 100;
const RUNS_COUNTED: usize = 10;

/// What of a run is shown while it lasts, and what its client sends.
#[derive(Default)]
pub(super) struct FollowView {
    /// Only its end is shown.
    pub quiet: bool,
    /// It is a command that this client has typed: a second Ctrl-C stops it.
    pub own: bool,
    pub input: Option<Feed>,
    pub output: Option<Inlet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A document, or output of hosts: nothing of rollcall's own comes between.
    Silent,
    Block(Screen),
    Beats,
}

/// See the module.
pub(super) struct Face {
    mode: Mode,
    /// Only the lines that matter are printed.
    pub is_brief: bool,
    progress: RunProgress,
    usual: Option<Usual>,
    /// The time of the next drawing, or of the next heartbeat.
    due: Instant,
    /// From one frame to the next.
    next: Duration,
}

/// What is to be shown now.
pub(super) enum Frame {
    Block(Vec<String>),
    Beat(String),
}

impl Face {
    fn new(mode: Mode, is_brief: bool, usual: Option<Usual>) -> Face {
        let due = Instant::now() + if mode == Mode::Beats { HEARTBEAT } else { FRAME };
        Face { mode, is_brief, progress: RunProgress::default(), usual, due, next: FRAME }
    }

    /// The client has been sent a line.
    pub fn printed(&mut self) {
        if self.mode == Mode::Beats {
            self.due = Instant::now() + HEARTBEAT;
        }
    }

    /// Adds an event, which the next frame shows.
    pub fn take(&mut self, event: &Event) {
        self.progress.take(event);
        if self.mode != Mode::Beats {
            self.due = self.due.min(Instant::now() + FRAME);
        }
    }

    /// The time of the next frame.
    pub fn due(&self) -> Option<Instant> {
        (self.mode != Mode::Silent).then_some(self.due)
    }

    /// The next frame.
    pub fn frame(&mut self, run: &Run, now: Timestamp) -> Option<Frame> {
        let following = Following { run, progress: &self.progress, usual: self.usual, now };
        let (frame, next) = match self.mode {
            Mode::Silent => return None,
            Mode::Block(screen) => (Frame::Block(following.block(screen)), CLOCK),
            Mode::Beats => (Frame::Beat(following.heartbeat()), HEARTBEAT),
        };
        self.next = next;
        Some(frame)
    }

    /// The frame was sent: a client that reads slowly gets fewer frames, and all events.
    pub fn shown(&mut self) {
        self.due = Instant::now() + self.next;
    }

    /// The screen has another width.
    pub fn resize(&mut self, screen: Option<Screen>) {
        if let (Mode::Block(_), Some(screen)) = (self.mode, screen) {
            self.mode = Mode::Block(screen);
        }
    }
}

impl Asked<'_> {
    /// How a run is shown to this client.
    pub(super) async fn face(&self, view: &FollowView, plan: &Plan) -> Face {
        let is_silent = view.own || self.json || self.format.is_document();
        let mode = match self.terminal.screen() {
            _ if is_silent => Mode::Silent,
            Some(screen) if !self.verbose => Mode::Block(screen),
            _ => Mode::Beats,
        };
        let is_brief =
            !self.verbose && (matches!(mode, Mode::Block(_)) || plan.hosts.len() > BRIEF_ABOVE_HOSTS);
        let usual = if mode == Mode::Silent { None } else { self.usual(plan).await };
        Face::new(mode, is_brief, usual)
    }

    /// How long earlier runs of the same kind on the same hosts took. A store that cannot be read costs only this line.
    pub(super) async fn usual(&self, plan: &Plan) -> Option<Usual> {
        let waits = plan.needs_approval || plan.rollout.pause_after.is_some();
        // The time of those that waited for a person says nothing, and checks of other sets are of the same kind.
        if waits || plan.kind == RunKind::Check {
            return None;
        }
        let runs = self.ports().store.runs(RUNS_SEARCHED).await.ok()?;
        let is_same = |run: &&RunSummary| run.kind == plan.kind && run.hosts.iter().eq(plan.hosts.keys());
        let well = runs
            .iter()
            .filter(is_same)
            .filter(|run| run.outcome.is_some_and(|outcome| outcome.exit_status() == 0));
        let took =
            well.filter_map(|run| Duration::try_from(run.ended_at?.duration_since(run.started_at)).ok());
        usual(took.take(RUNS_COUNTED).collect())
    }
}
