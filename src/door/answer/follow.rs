//! Following a run to its end, with the keys of a terminal; and commands that an operator typed, with their input and their
//! output as it arrives.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::asked::{Asked, Ended};
use super::face::{Face, FollowView, Frame};
use crate::domain::ask::access::{Granted, authorize};
use crate::domain::ask::command::Command;
use crate::domain::ask::run_ask::RunAnswer;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::Event;
use crate::domain::run::request::RunRequest;
use crate::domain::run::run::Run;
use crate::door::INPUTS;
use crate::door::keys::KeyPress;
use crate::engine::feed::{FeedItem, Follower, Over};
use crate::port::talk::{Feed, INPUT_LIMIT_BYTES, Inlet, InputEnd, Missed, Piece, Talk, outlet};
use crate::present::live::Lines;
use crate::present::sessions::others as others_follow;
use crate::present::streamed::Streamed;
use crate::present::{copied, json, majority, recap, streamed};

/// How long a second Ctrl-C stops the commands. After that the first one has meant to leave.
const SECOND_KEY: Duration = Duration::from_secs(5);

/// The next thing that happens to a follower.
enum FollowerEvent {
    Gone,
    Key(KeyPress),
    Spoilt(InputEnd),
    Piece(Piece),
    Seen(FeedItem),
    Frame,
    Leave,
}

/// A run that is followed.
struct Following {
    watch: Follower,
    view: FollowView,
    gone: CancellationToken,
    /// `None` without a terminal.
    keys: Option<mpsc::Receiver<KeyPress>>,
    /// Ctrl-C was pressed, and the client leaves unless it is pressed again.
    leaves_at: Option<Instant>,
    stopping: bool,
    warned: bool,
    /// Ctrl-C was pressed, and the next key says what becomes of the run.
    asks: bool,
    /// The input was cut off, and the client knows.
    spoilt: bool,
    face: Face,
}

impl Following {
    async fn next(&mut self) -> FollowerEvent {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => FollowerEvent::Gone,
            Some(key) = next_key(&mut self.keys) => FollowerEvent::Key(key),
            end = spoilt(self.view.input.as_ref()), if !self.spoilt => FollowerEvent::Spoilt(end),
            () = at(self.leaves_at) => FollowerEvent::Leave,
            // All output is there before the event that ends its command.
            Some(piece) = next_piece(&mut self.view.output) => FollowerEvent::Piece(piece),
            // Before the events, which may come faster than they can be shown.
            () = at(self.face.due()) => FollowerEvent::Frame,
            seen = self.watch.next() => FollowerEvent::Seen(seen),
        }
    }
}

/// The next key; forever without a terminal.
async fn next_key(keys: &mut Option<mpsc::Receiver<KeyPress>>) -> Option<KeyPress> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_piece(output: &mut Option<Inlet>) -> Option<Piece> {
    match output {
        Some(output) => output.pieces.recv().await,
        None => std::future::pending().await,
    }
}

async fn spoilt(input: Option<&Feed>) -> InputEnd {
    match input {
        Some(input) => input.spoilt().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Asked<'_> {
    /// Runs a command that the operator typed: its input is theirs, and its output arrives as the hosts print it.
    pub(super) async fn command(
        &mut self,
        granted: &Granted,
        plan: Plan,
        command: &Command,
    ) -> Result<u8, Ended> {
        let answer = match command {
            Command::Run(asked) => asked.answer,
            _ => RunAnswer::Streamed,
        };
        // A script has been read from it.
        let input = if command.reads_input() { self.terminal.input() } else { None };
        let (outlet, inlet) = outlet();
        let streams = answer == RunAnswer::Streamed && !self.json && !matches!(command, Command::AdHoc(_));
        let missed = inlet.missed.clone();
        let talk = Talk { input: input.clone(), output: streams.then_some(outlet) };
        let watch = self
            .desk
            .engine
            .start_talking(&granted.planned_from(&self.config.version.digest), plan, talk)
            .await?;
        self.has_started(watch.live().id);
        let view = FollowView { quiet: true, own: true, input, output: streams.then_some(inlet) };
        let (run, events) = self.see(watch, view).await?;
        let status = run.outcome().map_or(Cause::Internal.exit_status(), |outcome| outcome.exit_status());
        if streams {
            self.terminal.err(&recap::failures(&run, &events)).await?;
            return self.streamed_whole(run.id(), status, &missed).await;
        }
        let cut = recap::cut(&events);
        let (json, copies) = (self.json, matches!(command, Command::AdHoc(_)));
        let render = move || match answer {
            _ if json => json::recap(&run),
            _ if copies => copied::recap(&run, &events),
            RunAnswer::Compared => majority::compared(&run, &events),
            RunAnswer::Folded | RunAnswer::Streamed => recap::recap(&run, &events),
        };
        let text = self.work(render).await?;
        self.terminal.out(&text).await?;
        self.terminal.err(&cut).await?;
        // A program would take the rest for all of it.
        let is_missed = !cut.is_empty() && status == 0 && !self.terminal.is_interactive();
        Ok(if is_missed { Cause::Failed.exit_status() } else { status })
    }

    /// The exit status of a command whose output was streamed: output that is missing is no success.
    async fn streamed_whole(&mut self, id: RunId, status: u8, missed: &Missed) -> Result<u8, Ended> {
        let missed = missed.by_host();
        for (host, bytes) in &missed {
            let text = format!(
                "rollcall: {host}: {bytes} bytes of output were not passed on: your client reads too slowly; the first and \
                 the last part are kept; try: show {id} --host {host}\n"
            );
            self.terminal.err(&text).await?;
        }
        Ok(if status == 0 && !missed.is_empty() { Cause::Failed.exit_status() } else { status })
    }

    /// Follows a run to its end. A run whose follower is lost is offered at their next command.
    pub(super) async fn see(
        &mut self,
        watch: Follower,
        view: FollowView,
    ) -> Result<(Run, Vec<Event>), Ended> {
        let id = watch.live().id;
        if let Some(listed) = self.terminal.listed() {
            listed.follows(id);
        }
        let seen = self.see_all(watch, view).await;
        if matches!(seen, Err(Ended::Gone))
            && self.terminal.gone().is_cancelled()
            && let Some(listed) = self.terminal.listed()
        {
            listed.lost(id);
        }
        seen
    }

    async fn see_all(&mut self, watch: Follower, view: FollowView) -> Result<(Run, Vec<Event>), Ended> {
        let (id, plan) = (watch.live().id, watch.live().plan.clone());
        let (gone, keys) = (self.terminal.gone(), self.keys.take().or_else(|| self.terminal.keys()));
        let face = self.face(&view, &plan).await;
        let mut following = Following {
            watch,
            view,
            gone,
            keys,
            leaves_at: None,
            stopping: false,
            warned: false,
            asks: false,
            spoilt: false,
            face,
        };
        let (mut run, mut events) = (Run::new(id, (*plan).clone()), Vec::new());
        let mut lines = Lines::new(&plan);
        lines.is_brief = following.face.is_brief;
        let mut streamed = Streamed::new(&plan);
        self.say_how_to_leave(&following).await?;
        loop {
            match following.next().await {
                FollowerEvent::Gone => {
                    self.stop_if_cut(&following).await;
                    return Err(Ended::Gone);
                }
                FollowerEvent::Leave => return self.leave(id).await,
                FollowerEvent::Key(key) => self.press(&mut following, key).await?,
                FollowerEvent::Spoilt(end) => self.stop_spoilt(&mut following, end).await?,
                FollowerEvent::Piece(piece) => {
                    let text = streamed.take((&piece.host, piece.is_error), &piece.bytes);
                    self.show_piece(text).await?;
                }
                FollowerEvent::Frame => self.show_frame(&mut following, &run).await?,
                FollowerEvent::Seen(FeedItem::Event(event)) => {
                    run.apply(&event).map_err(|illegal| Refusal::internal(illegal.to_string()))?;
                    following.face.take(&event);
                    events.push(*event);
                    let text = self.shown_event(&following, (&run, &events), &mut lines);
                    if !text.is_empty() {
                        self.terminal.out(&text).await?;
                        following.face.printed();
                    }
                }
                FollowerEvent::Seen(FeedItem::Progress(progress)) => {
                    if !following.view.quiet && !self.json && !following.face.is_brief {
                        self.terminal.out(&lines.progress(&progress)).await?;
                        following.face.printed();
                    }
                }
                FollowerEvent::Seen(FeedItem::Dropped(lost)) => {
                    if !following.view.quiet && !following.face.is_brief {
                        let text =
                            format!("({lost} lines of output left out here; see: show {id} --host H)\n");
                        self.terminal.err(&text).await?;
                    }
                }
                FollowerEvent::Seen(FeedItem::Over(over)) => {
                    self.terminal.draw(Vec::new()).await?;
                    self.show_piece(streamed.rest()).await?;
                    ended(id, over)?;
                    return Ok((run, events));
                }
            }
        }
    }

    async fn show_frame(&mut self, following: &mut Following, run: &Run) -> Result<(), Ended> {
        following.face.resize(self.terminal.screen());
        match following.face.frame(run, self.desk.clock.now()) {
            Some(Frame::Block(lines)) => self.terminal.draw(lines).await?,
            Some(Frame::Beat(line)) => self.terminal.err(&line).await?,
            None => {}
        }
        following.face.shown();
        Ok(())
    }

    /// The text of the last event.
    fn shown_event(
        &self,
        following: &Following,
        (run, events): (&Run, &[Event]),
        lines: &mut Lines<'_>,
    ) -> String {
        let Some(event) = events.last() else { return String::new() };
        match (following.view.own, following.view.quiet, self.json) {
            (true, true, true) => json::result(run, events),
            (_, true, _) => String::new(),
            (_, false, true) => json::event(event),
            (_, false, false) => lines.event(event),
        }
    }

    /// Without a terminal nothing can be said once the client has been interrupted, so it is said before.
    async fn say_how_to_leave(&mut self, following: &Following) -> Result<(), Ended> {
        let id = following.watch.live().id;
        let text = match (following.view.own, following.view.quiet) {
            _ if self.json => return Ok(()),
            (true, _) if self.terminal.is_interactive() => return Ok(()),
            (true, _) => format!(
                "run {id}: if this connection closes, the commands continue; to follow: watch {id}; to stop them: \
                 cancel {id} --now\n"
            ),
            (false, true) => return Ok(()),
            (false, false) if self.terminal.is_interactive() && self.may_cancel(id) => {
                format!(
                    "run {id}: Ctrl-C detaches, or cancels it if you say so; a closed connection only detaches\n"
                )
            }
            (false, false) => {
                let stop =
                    if self.may_cancel(id) { format!("; to stop: cancel {id}") } else { String::new() };
                format!(
                    "run {id}: Ctrl-C and a closed connection only detach; to follow again: watch {id}{stop}\n"
                )
            }
        };
        self.terminal.err(&text).await?;
        let others = self.terminal.listed().map(|listed| self.desk.sessions.others_at(id, listed.session()));
        if let Some(others) = others.as_ref().and_then(others_follow) {
            self.terminal.err(&format!("run {id}: {others}\n")).await?;
        }
        Ok(())
    }

    async fn show_piece(&mut self, text: streamed::OutputText) -> Result<(), Ended> {
        self.terminal.printed(&text.out, false).await?;
        Ok(self.terminal.printed(&text.err, true).await?)
    }

    async fn press(&mut self, following: &mut Following, key: KeyPress) -> Result<(), Ended> {
        let id = following.watch.live().id;
        match (key, following.view.own) {
            (KeyPress::Plain(key), false) if following.asks => {
                following.asks = false;
                self.decide(id, key).await?;
            }
            (KeyPress::Interrupt, false) if !following.asks && self.may_cancel(id) => {
                following.asks = true;
                let text = format!(
                    "run {id}: d detaches and the run continues, c cancels it (hosts in their bracket finish it), any other \
                     key goes on\n"
                );
                self.terminal.err(&text).await?;
            }
            (KeyPress::Plain(_), true) if !following.warned => {
                following.warned = true;
                let text =
                    "rollcall: what is typed on a terminal is not sent to the hosts; try: ssh without -t\n";
                self.terminal.err(text).await?;
            }
            (KeyPress::Plain(_) | KeyPress::Resized | KeyPress::Closed, _) => {}
            (KeyPress::Interrupt, true) if following.leaves_at.is_some() => {
                following.leaves_at = None;
                let text = match self.stop(following).await {
                    Ok(()) => format!("run {id}: the commands are being stopped\n"),
                    Err(why) => format!("rollcall: the commands of run {id} were not stopped: {why}\n"),
                };
                self.terminal.err(&text).await?;
            }
            (KeyPress::Interrupt | KeyPress::End, true) if following.stopping => {
                let text = format!("run {id} is being stopped; to follow it: watch {id}\n");
                self.terminal.err(&text).await?;
                return Err(Ended::Gone);
            }
            (KeyPress::Interrupt, true) => {
                following.leaves_at = Some(Instant::now() + SECOND_KEY);
                let text = format!(
                    "run {id}: the commands continue on the hosts; Ctrl-C again within {} seconds stops them\n",
                    SECOND_KEY.as_secs()
                );
                self.terminal.err(&text).await?;
            }
            (KeyPress::Interrupt | KeyPress::End, _) => self.leave(id).await?,
        }
        Ok(())
    }

    /// What becomes of a run after Ctrl-C.
    async fn decide(&mut self, id: RunId, key: u8) -> Result<(), Ended> {
        match key.to_ascii_lowercase() {
            b'd' => self.leave(id).await,
            b'c' => {
                let text = match self.cancel_as_typed(id).await {
                    Ok(()) => format!("run {id} is being cancelled: no further host starts\n"),
                    Err(Ended::Refused(why)) => format!("rollcall: run {id} was not cancelled: {why}\n"),
                    Err(Ended::Gone) => return Err(Ended::Gone),
                };
                Ok(self.terminal.err(&text).await?)
            }
            _ => Ok(self.terminal.err(&format!("run {id} goes on, and is followed\n")).await?),
        }
    }

    /// The same as `cancel N`, with its rights and its rows in the audit.
    async fn cancel_as_typed(&mut self, id: RunId) -> Result<(), Ended> {
        let granted = self.to_cancel(id)?;
        self.stored(&granted, id).await?;
        let recording = self.desk.audit.begin(self.caller, &granted).await?;
        let asked = self.desk.engine.ask(&granted, id, RunRequest::Cancel { now: false }).await;
        let status = asked.as_ref().map_or_else(|why| why.cause.exit_status(), |()| 0);
        recording.end(status, Some(id), asked.as_ref().err().map(ToString::to_string));
        Ok(asked?)
    }

    fn to_cancel(&self, id: RunId) -> Result<Granted, Refusal> {
        let now = self.desk.clock.now();
        let person = self.desk.rights.add_to(self.granted.person().clone(), &self.desk.config.borrow(), now);
        authorize(&person, Command::Cancel { run: id, now: false }, now).map_err(|denied| denied.refusal)
    }

    fn may_cancel(&self, id: RunId) -> bool {
        self.to_cancel(id).is_ok()
    }

    /// The client leaves, and the run continues.
    async fn leave<T>(&mut self, id: RunId) -> Result<T, Ended> {
        let stop = match self.may_cancel(id) {
            true => format!("; to stop it: cancel {id}"),
            false => String::new(),
        };
        self.terminal.err(&format!("run {id} continues; to watch it again: watch {id}{stop}\n")).await?;
        Err(Ended::Gone)
    }

    /// The commands get half of an input, which they must not take for all of it.
    async fn stop_spoilt(&mut self, following: &mut Following, end: InputEnd) -> Result<(), Ended> {
        following.spoilt = true;
        let stopped = self.stop(following).await;
        let limit = INPUT_LIMIT_BYTES / (1024 * 1024);
        let why = match end {
            InputEnd::TooLong => format!("the input has more than {limit} MiB; try: a step `upload`"),
            InputEnd::Cut | InputEnd::Whole => "the input was cut off".into(),
            InputEnd::Crowded => {
                format!("{INPUTS} commands with input are under way, and no more are kept; try again later")
            }
        };
        let id = following.watch.live().id;
        let then = match stopped {
            Ok(()) => format!("the commands of run {id} are being stopped"),
            Err(error) => format!("the commands of run {id} were not stopped: {error}"),
        };
        Ok(self.terminal.err(&format!("rollcall: {why}; {then}\n")).await?)
    }

    /// The same for a client that has left.
    async fn stop_if_cut(&mut self, following: &Following) {
        let Some(input) = &following.view.input else { return };
        input.close(false);
        if input.is_spoilt()
            && let Err(why) = self.cancel(following.watch.live().id).await
        {
            tracing::warn!(%why, "a client left in the middle of its input, and its commands were not stopped");
        }
    }

    /// Stops the commands; otherwise the reason why they are not stopped.
    async fn stop(&mut self, following: &mut Following) -> Result<(), Refusal> {
        self.cancel(following.watch.live().id).await?;
        following.stopping = true;
        Ok(())
    }

    async fn cancel(&mut self, id: RunId) -> Result<(), Refusal> {
        self.desk.engine.ask(&self.granted, id, RunRequest::Cancel { now: true }).await
    }
}

fn ended(id: RunId, over: Over) -> Result<(), Refusal> {
    match over {
        Over::Ended => Ok(()),
        Over::Suspended => {
            let why = format!("rollcall is stopping; run {id} continues when it is back: watch {id}");
            Err(Refusal::new(Cause::Continues, why))
        }
        Over::Broken(why) => Err(Refusal::internal(format!("run {id} has stopped working: {why}"))),
    }
}
