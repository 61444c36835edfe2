//! The terminal board of a client: keys come in, pages are made by its rights, and the newest screen goes out.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use ratatui_core::buffer::Buffer;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer;
use super::asked::{Asked, Ended};
use crate::domain::ask::access::{Granted, authorize};
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::{Command, parse_line};
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::keys::KeyPress;
use crate::door::sessions::DoorCommand;
use crate::door::{Gone, Terminal};
use crate::engine::StartError;
use crate::local::artifacts::Piece;
use crate::port::talk::Feed;
use crate::tui::keys::{Key, KeyReader};
use crate::tui::model::{Ask, Model};
use crate::tui::paint::painted;
use crate::tui::screen::Shown;

/// Shortest time between two screens that events cause.
const FRAME: Duration = Duration::from_millis(100);

/// The same when a screen took longer than [`SLOW`] to leave: the line is slow.
const SLOW_FRAME: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_millis(200);

/// Ages are shown in seconds.
const CLOCK: Duration = Duration::from_secs(1);

/// Checks are no events: pages are made anew at least this often.
const REFRESH: Duration = Duration::from_secs(10);

/// Escape is a key of its own if nothing follows within this time.
const ESCAPE: Duration = Duration::from_millis(50);

/// Pages of an open board that are remembered as recorded.
const PAGES_REMEMBERED: usize = 256;

/// Keys that are handled before the next screen.
const KEYS_AT_ONCE: usize = 64;

/// A paste whose end is lost is over after this time.
const PASTE: Duration = Duration::from_secs(1);

/// Most characters of an answer that are shown below a board.
const ANSWER_CHARS: usize = 2_000;

/// A board that is open.
struct Board {
    model: Model,
    reader: KeyReader,
    painted: Option<Buffer>,
    newest: watch::Receiver<u64>,
    /// The page as it is laid out.
    shown: Option<Shown>,
    /// When the page was made.
    made_at: Instant,
    opened: HashSet<View>,
    /// The page that was made last.
    page: Option<PageName>,
    /// Shortest time between two screens, on this line.
    pace: Duration,
}

enum Woken {
    Key(Option<KeyPress>),
    /// There is a new event.
    New,
    Refresh,
    Clock,
    Pause,
}

impl Asked<'_> {
    /// Shows a board until its operator leaves it.
    pub(super) async fn live_board(&mut self, granted: &Granted, view: &View) -> Result<u8, Ended> {
        let Some(mut keys) = self.terminal.keys() else {
            return Err(Refusal::internal("a board needs a terminal").into());
        };
        self.terminal.full_screen(true).await?;
        let mut board = Board {
            model: Model::new(view.clone(), false),
            reader: KeyReader::default(),
            painted: None,
            shown: None,
            newest: self.ports().events.newest(),
            made_at: Instant::now(),
            pace: FRAME,
            page: None,
            // The command that opens the board is on record.
            opened: HashSet::from([View { at: None, line: None, find: None, ..view.clone() }]),
        };
        let ended = self.show_board(granted, &mut board, &mut keys).await;
        let _ = self.terminal.full_screen(false).await;
        ended.map(|()| 0)
    }

    async fn show_board(
        &mut self,
        granted: &Granted,
        board: &mut Board,
        keys: &mut mpsc::Receiver<KeyPress>,
    ) -> Result<(), Ended> {
        self.turn_page(granted, board).await?;
        loop {
            self.paint_board(board).await?;
            let woken = self.board_wakes(board, keys).await?;
            let asked = match woken {
                Woken::Key(None) => return Ok(()),
                Woken::Key(Some(key)) => self.board_keys(board, key, keys),
                Woken::Pause => board.reader.pause().map_or(Ask::Nothing, |key| self.pressed(board, key)),
                Woken::New | Woken::Refresh => Ask::Page,
                Woken::Clock => {
                    board.shown = None;
                    Ask::Nothing
                }
            };
            match asked {
                Ask::Nothing => {}
                Ask::Page => self.turn_page(granted, board).await?,
                Ask::Repaint => (board.painted, board.shown) = (None, None),
                Ask::Leave => return Ok(()),
                Ask::Act(line) => {
                    board.model.message = Some(self.act_on_board(&line).await);
                    self.turn_page(granted, board).await?;
                }
            }
        }
    }

    /// Makes the page of the board by the present rights and configuration.
    async fn turn_page(&mut self, granted: &Granted, board: &mut Board) -> Result<(), Ended> {
        self.has_same_rights(granted)?;
        self.config = self.desk.config.borrow().clone();
        let inventory = self.visible(granted).await?;
        board.newest.borrow_and_update();
        let view =
            View { is_open: board.page.as_ref() == Some(&board.model.view.page), ..board.model.view.clone() };
        board.page = Some(view.page.clone());
        // Words that this operator has typed are no secret to them.
        self.terminal.may_name(&format!("{view:?}"));
        let made = match self.may_open(granted, board).await {
            Ok(()) => {
                let _turn = self.desk.turns.answers.take(&self.operator).await;
                self.page(granted, &inventory, &view).await
            }
            Err(refused) => Err(refused),
        };
        let page = match made {
            Ok(page) => Ok(page.with_texts(&|text| self.terminal.covered(text))),
            Err(Ended::Refused(refusal)) => Err(self.terminal.covered(&refusal.to_string())),
            Err(Ended::Gone) => return Err(Ended::Gone),
        };
        board.model.arrived(page);
        (board.shown, board.made_at) = (None, Instant::now());
        Ok(())
    }

    /// Each page is authorized, and on record once while the board is open.
    async fn may_open(&self, granted: &Granted, board: &mut Board) -> Result<(), Ended> {
        let view = View { at: None, line: None, find: None, ..board.model.view.clone() };
        if board.opened.contains(&view) {
            return Ok(());
        }
        let command = Command::Board(board.model.view.clone());
        let opened = authorize(granted.person(), command, self.desk.clock.now());
        let opened = opened.map_err(|denied| denied.refusal)?;
        let line = board.model.view.words().join(" ");
        let caller = Caller { line, config: self.desk.digest(), ..self.caller.clone() };
        self.desk.audit.begin(&caller, &opened).await?.end(0, None, None);
        if board.opened.len() >= PAGES_REMEMBERED {
            board.opened.clear();
        }
        board.opened.insert(view);
        Ok(())
    }

    /// Ends a board whose operator may do or see something else by now: names are covered by what they could see at its start.
    fn has_same_rights(&self, granted: &Granted) -> Result<(), Ended> {
        let lost = |why: String| Refusal::new(Cause::NotAllowed, why);
        let operator = self.terminal.admitted().map_err(lost)?;
        let still = authorize(&operator, granted.typed().clone(), self.desk.clock.now());
        let still = still.map_err(|denied| denied.refusal)?;
        match still.operator() == granted.operator() && self.has_same_view() {
            true => Ok(()),
            false => Err(lost("your rights or your hosts have changed; open the board again".into()).into()),
        }
    }

    /// Lays the page out anew: it has changed, or its ages have.
    fn lay_out(&self, board: &mut Board) {
        let Some(screen) = self.terminal.screen() else { return };
        let shown = Shown::new(&board.model, screen, self.desk.clock.now());
        board.model.settle(&shown);
        board.shown = Some(shown);
    }

    /// Sends what differs. The next screen waits until this one has left, so that a slow line gets the newest state only.
    async fn paint_board(&mut self, board: &mut Board) -> Result<(), Ended> {
        if board.shown.is_none() {
            self.lay_out(board);
        }
        let Some(shown) = &board.shown else { return Ok(()) };
        let buffer = shown.draw(&board.model);
        let frame = painted(board.painted.as_ref(), &buffer);
        let begun = Instant::now();
        self.terminal.paint(frame).await?;
        board.pace = if begun.elapsed() > SLOW { SLOW_FRAME } else { FRAME };
        board.painted = Some(buffer);
        Ok(())
    }

    async fn board_wakes(
        &mut self,
        board: &mut Board,
        keys: &mut mpsc::Receiver<KeyPress>,
    ) -> Result<Woken, Ended> {
        let now = Instant::now();
        let pause = if board.reader.is_pasting() { PASTE } else { ESCAPE };
        let (clock_at, pause_at) = (now + CLOCK, now + pause);
        let (frame_at, refresh_at) = (now + board.pace, board.made_at + REFRESH);
        let frame_at = frame_at.max(board.made_at + pace_of(&board.model.view));
        let gone = self.terminal.gone();
        let stopping = self.desk.engine.keeper().stopping();
        let newest = &mut board.newest;
        let is_open = board.reader.is_open();
        let is_past = board.model.view.at.is_some();
        let new = async {
            sleep_until(frame_at).await;
            newest.changed().await
        };
        Ok(tokio::select! {
            biased;
            () = gone.cancelled() => return Err(Ended::Gone),
            () = stopping => return Err(StartError::Draining.into()),
            key = keys.recv() => Woken::Key(key),
            () = sleep_until(pause_at), if is_open => Woken::Pause,
            _ = new, if !is_past => Woken::New,
            () = sleep_until(refresh_at), if !is_past => Woken::Refresh,
            () = sleep_until(clock_at) => Woken::Clock,
        })
    }

    /// Handles the keys that wait before the next screen, up to the first that asks for something.
    fn board_keys(&self, board: &mut Board, first: KeyPress, keys: &mut mpsc::Receiver<KeyPress>) -> Ask {
        let mut asked = self.board_key(board, first);
        for _ in 0..KEYS_AT_ONCE {
            if asked != Ask::Nothing {
                break;
            }
            let Ok(key) = keys.try_recv() else { break };
            asked = self.board_key(board, key);
        }
        asked
    }

    fn board_key(&self, board: &mut Board, key: KeyPress) -> Ask {
        let byte = match key {
            KeyPress::Interrupt => 0x03,
            KeyPress::End => 0x04,
            KeyPress::Resized => return Ask::Repaint,
            // Nothing else could end it.
            KeyPress::Closed => return Ask::Leave,
            KeyPress::Plain(byte) => byte,
        };
        board.reader.take(byte).map_or(Ask::Nothing, |key| self.pressed(board, key))
    }

    fn pressed(&self, board: &mut Board, key: Key) -> Ask {
        if board.shown.is_none() {
            self.lay_out(board);
        }
        let Some(shown) = &board.shown else { return Ask::Nothing };
        board.model.pressed(key, shown)
    }

    /// Does what a line says as if its operator had typed it, with a record of its own; what it answers.
    async fn act_on_board(&mut self, line: &str) -> String {
        let request = match parse_line(line.as_bytes()) {
            Ok(request) => request,
            Err(error) => return error.text,
        };
        let operator = match self.terminal.admitted() {
            Ok(operator) => operator,
            Err(why) => return why,
        };
        let caller =
            Caller { operator, line: line.into(), config: self.desk.digest(), ..self.caller.clone() };
        let mut kept = KeptAnswer { text: String::new(), gone: self.terminal.gone() };
        answer(self.desk, &caller, request, &mut kept).await;
        let text = kept.text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.terminal.covered(&text)
    }
}

/// How often a page may be made anew when there are new events. Some read much, and some change with no event.
fn pace_of(view: &View) -> Duration {
    match &view.page {
        PageName::Fleet | PageName::Run(_) | PageName::Debts => FRAME,
        PageName::Runs | PageName::RunHost(..) | PageName::Step(..) | PageName::RunStep(..) => CLOCK,
        PageName::Host(_) | PageName::Checks | PageName::Check(_) | PageName::Audit => REFRESH,
    }
}

/// The terminal of an act on a board: its answer is shown in one line.
struct KeptAnswer {
    text: String,
    gone: CancellationToken,
}

impl KeptAnswer {
    fn keep(&mut self, text: &str) {
        if self.text.len() < ANSWER_CHARS {
            self.text.push_str(text);
        }
    }
}

#[async_trait]
impl Terminal for KeptAnswer {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        self.keep(text);
        Ok(())
    }

    async fn printed(&mut self, text: &str, _is_error: bool) -> Result<(), Gone> {
        self.keep(text);
        Ok(())
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        self.keep(text);
        Ok(())
    }

    async fn bytes(&mut self, _bytes: Bytes) -> Result<(), Gone> {
        Ok(())
    }

    fn is_interactive(&self) -> bool {
        false
    }

    fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    fn input(&mut self) -> Option<Feed> {
        None
    }

    fn file(&mut self) -> Option<mpsc::Receiver<Piece>> {
        None
    }

    fn silence(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn listed(&self) -> Option<&DoorCommand> {
        None
    }

    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>> {
        None
    }
}
