//! One channel: reads the request, answers it, and keeps reading so that the connection never
//! stalls. Output is bounded by the client's window; a client that does not read is disconnected.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::drawn::Drawn;
use super::pulse;
use super::visit::{CommandSlot, Visit};
use crate::domain::ask::access::{Operator, authorize};
use crate::domain::ask::command::{Command, Record, Request, UsageError, parse_line};
use crate::domain::base::output::{fitted, printable};
use crate::domain::base::refusal::Cause;
use crate::domain::plan::supply::reads_input;
use crate::door::api::{self, Subsystem};
use crate::door::client::{Client, ClientLine};
use crate::door::keys::{KeyPress, Keyboard, keyboard};
use crate::door::sessions::DoorCommand;
use crate::door::{Gone, Terminal, unbroken};
use crate::local::artifacts::{Piece, WAITING_PIECES};
use crate::port::talk::Feed;
use crate::present::board::block::Screen;
use crate::tui::paint::{ENTER, LEAVE};

/// How long a client may leave its output unread. No events are lost by that: `watch` shows them again.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Bytes sent at once; the time limit for reading applies to each part.
const PART_BYTES: usize = 64 * 1024;

/// How long a client may hold a channel open without a request.
const REQUEST_GRACE: Duration = Duration::from_secs(20);

/// Most messages before the request: environment variables and the like.
const REQUESTS_LIMIT: usize = 64;

/// How long a client may take to close a channel whose answer is complete.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// How long the last line of a session may wait for a client that does not read.
const LAST_WORD_GRACE: Duration = Duration::from_millis(500);

/// What a client asks for on a channel.
enum ChannelRequest {
    /// A command line, and the screen if there is one.
    Line(Vec<u8>, Option<Pty>),
    Subsystem(Subsystem),
}

/// Serves one channel to its end.
pub async fn serve(client: Arc<Client>, visit: Arc<Visit>, channel: Channel<Msg>, slot: CommandSlot) {
    let (mut reader, writer) = channel.split();
    match timeout(REQUEST_GRACE, request(&mut reader)).await {
        Ok(Some(ChannelRequest::Line(line, screen))) => {
            serve_line((&client, &visit), (reader, writer), (line, screen), slot).await;
        }
        Ok(Some(ChannelRequest::Subsystem(subsystem))) => {
            let stream = tokio::io::join(reader.make_reader(), writer.make_writer());
            api::serve(client, subsystem, stream, visit.parting.child_token()).await;
            let _ = writer.exit_status(0).await;
            let _ = writer.eof().await;
            let _ = writer.close().await;
            drop(slot);
        }
        Ok(None) | Err(_) => _ = writer.close().await,
    }
}

async fn serve_line(
    (client, visit): (&Arc<Client>, &Visit),
    (reader, writer): (ChannelReadHalf, ChannelWriteHalf<Msg>),
    (line, screen): (Vec<u8>, Option<Pty>),
    slot: CommandSlot,
) {
    let gone = visit.parting.child_token();
    let pty = screen.is_some();
    let size =
        screen.as_ref().map(|screen| (screen.width.clone(), screen.height.clone())).unwrap_or_default();
    let parsed = parse_line(&line);
    let (keyboard, keys) = keyboard();
    let reads = parsed.as_ref().is_ok_and(|request| may_send_input(client, &request.command));
    let input = reads.then(|| Feed::within(client.desk.turns.inputs.clone()));
    let (to_file, file) = match takes_file(client, &parsed) && !pty {
        true => Some(mpsc::channel(WAITING_PIECES)).unzip(),
        false => (None, None),
    };
    // What is typed on a terminal is read as keys.
    input.iter().filter(|_| pty).for_each(|input| input.close(true));
    let typed = Typed { keyboard: pty.then_some(keyboard), input: input.clone(), file: to_file, size };
    let mut reading = tokio::spawn(drain(reader, typed, gone.clone()));
    let (first_key, keys) = (keys.first, Some(keys.keys));
    let handle = visit.handle.get().cloned();
    let mut out = ChannelTerminal {
        writer,
        pty: screen,
        gone,
        input,
        file,
        first_key,
        handle,
        keys,
        listed: None,
        drawn: Drawn::default(),
        has_screen: false,
        client: client.clone(),
    };
    let status = answered((client, visit), (&line, parsed), &mut out).await;
    // Freed before the client can know that the command has ended, and sends the next one.
    drop(slot);
    out.end(status).await;
    // The written data is sent while the connection exists. russh passes on nothing of a channel that we
    // have closed, so there is nothing more to read.
    if timeout(CLOSE_GRACE, &mut reading).await.is_err() {
        reading.abort();
    }
}

/// The exit status of an answer, also if it panics or the connection has to be closed.
async fn answered(
    (client, visit): (&Client, &Visit),
    asked: ClientLine<'_>,
    out: &mut ChannelTerminal,
) -> u8 {
    let status = match unbroken(client.ask(asked, out)).await {
        Ok(status) => status,
        Err(text) => {
            out.last_word(text).await;
            Cause::Internal.exit_status()
        }
    };
    match visit.why.get() {
        Some(why) if visit.parting.is_cancelled() => {
            out.last_word(&format!("rollcall: {why}\n")).await;
            Cause::NotAllowed.exit_status()
        }
        _ => status,
    }
}

/// The width of a screen in characters, or its height in lines, as the client reports it; 0 if it does not.
type Width = Arc<AtomicU32>;

/// The screen of a client, as its requests before the command describe it.
struct Pty {
    width: Width,
    height: Width,
    has_utf8: bool,
    has_colour: bool,
    /// It obeys sequences that move the cursor.
    can_draw: bool,
}

/// Terminals without UTF-8, and those that cannot move their cursor.
const PLAIN_TERMINALS: [&str; 3] = ["linux", "vt100", "dumb"];
const DUMB: [&str; 2] = ["", "dumb"];

impl Pty {
    fn of(term: &str, (width, height): (u32, u32), env: &HashMap<String, String>) -> Pty {
        let value = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        // As setlocale(3) decides it.
        let locale =
            value("LC_ALL").or_else(|| value("LC_CTYPE")).or_else(|| value("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Pty {
            width: Width::new(AtomicU32::new(width)),
            height: Width::new(AtomicU32::new(height)),
            has_utf8: is_utf8 && !PLAIN_TERMINALS.contains(&term),
            // https://no-color.org: any value but an empty one.
            has_colour: value("NO_COLOR").is_none(),
            can_draw: !DUMB.contains(&term),
        }
    }

    fn columns(&self) -> usize {
        self.width.load(Ordering::Relaxed) as usize
    }
}

/// The request of a channel; `None` if the client disconnected first.
async fn request(reader: &mut ChannelReadHalf) -> Option<ChannelRequest> {
    let (mut pty, mut env) = (None, HashMap::new());
    let screen = |pty: Option<(String, (u32, u32))>, env: &HashMap<String, String>| {
        pty.map(|(term, size)| Pty::of(&term, size, env))
    };
    for _ in 0..REQUESTS_LIMIT {
        match reader.wait().await? {
            ChannelMsg::Exec { command, .. } => {
                return Some(ChannelRequest::Line(command, screen(pty, &env)));
            }
            // A bare `ssh rollcall`: the board, for those who can see one.
            ChannelMsg::RequestShell { .. } => {
                let screen = screen(pty, &env);
                let line = if screen.as_ref().is_some_and(|pty| pty.can_draw) { "board" } else { "help" };
                return Some(ChannelRequest::Line(line.into(), screen));
            }
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                env.insert(variable_name, variable_value);
            }
            ChannelMsg::RequestSubsystem { name, .. } => {
                if let Some(subsystem) = Subsystem::of(&name) {
                    return Some(ChannelRequest::Subsystem(subsystem));
                }
            }
            ChannelMsg::RequestPty { term, col_width, row_height, .. } => {
                pty = Some((term, (col_width, row_height)));
            }
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
    None
}

/// Input of a command that will be refused is not kept.
fn may_send_input(client: &Client, command: &Command) -> bool {
    let may = |operator: Operator| authorize(&operator, command.clone(), client.desk.clock.now()).is_ok();
    command.reads_input() && client.admitted().is_ok_and(may)
}

/// True if the client may send an artifact of the task that it runs or plans, a script, or what git sends.
fn takes_file(client: &Client, parsed: &Result<Request, UsageError>) -> bool {
    let Some(command) = parsed.as_ref().ok().map(|request| &request.command) else { return false };
    if matches!(command, Command::Record(Record::Git { .. })) || command.takes_own_file() {
        let may = |operator: Operator| authorize(&operator, command.clone(), client.desk.clock.now()).is_ok();
        return client.admitted().is_ok_and(may);
    }
    let Some(ask) = command.of_task() else { return false };
    let config = client.desk.config.borrow();
    let reads = config.tasks.get(&ask.task).is_some_and(|task| reads_input(task, &ask.params));
    let may = |operator: Operator| {
        let granted = authorize(&operator, command.clone(), client.desk.clock.now());
        granted.is_ok_and(|granted| granted.operator().may_run(&ask.task))
    };
    reads && client.admitted().is_ok_and(may)
}

/// The receivers of what a client sends.
struct Typed {
    keyboard: Option<Keyboard>,
    input: Option<Feed>,
    /// Until the file is complete, or no longer read.
    file: Option<mpsc::Sender<Piece>>,
    size: (Width, Width),
}

impl Typed {
    /// Passes on a piece of a file. The client waits while the disk does; nothing is kept in memory for it.
    async fn pass_on(&mut self, piece: Piece) {
        let is_end = matches!(piece, Piece::End);
        if let Some(to) = &self.file
            && (to.send(piece).await.is_err() || is_end)
        {
            self.file = None;
        }
    }

    fn take(&self, data: &[u8]) {
        match (&self.keyboard, &self.input) {
            (Some(keyboard), _) => keyboard.typed(data),
            (None, Some(input)) => input.push(data),
            (None, None) => {}
        }
    }
}

/// Reads until the client is gone. What the command does not read is discarded, so that the connection never stalls.
async fn drain(mut reader: ChannelReadHalf, mut typed: Typed, gone: CancellationToken) {
    let _gone_at_the_end = gone.clone().drop_guard();
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Close => break,
            ChannelMsg::Data { data } if typed.file.is_some() => typed.pass_on(Piece::Bytes(data)).await,
            ChannelMsg::Eof if typed.file.is_some() => typed.pass_on(Piece::End).await,
            ChannelMsg::Data { data } => typed.take(&data),
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                typed.size.0.store(col_width, Ordering::Relaxed);
                typed.size.1.store(row_height, Ordering::Relaxed);
                typed.keyboard.iter().for_each(Keyboard::resized);
            }
            ChannelMsg::Eof => {
                typed.keyboard.iter().for_each(Keyboard::closed);
                typed.input.iter().for_each(|input| input.close(true));
            }
            _ => {}
        }
    }
    typed.input.iter().for_each(|input| input.close(false));
}

struct ChannelTerminal {
    writer: ChannelWriteHalf<Msg>,
    pty: Option<Pty>,
    gone: CancellationToken,
    input: Option<Feed>,
    file: Option<mpsc::Receiver<Piece>>,
    first_key: CancellationToken,
    handle: Option<Handle>,
    /// `None` once they are taken.
    keys: Option<mpsc::Receiver<KeyPress>>,
    /// From the first words of the answer.
    listed: Option<DoorCommand>,
    drawn: Drawn,
    /// A board has the whole screen.
    has_screen: bool,
    client: Arc<Client>,
}

impl ChannelTerminal {
    /// Text of rollcall's own, which fits the screen.
    async fn tell(&mut self, text: &str, stream: u32) -> Result<(), Gone> {
        match &self.pty {
            Some(pty) => self.write(&fitted(text, pty.columns()), stream).await,
            None => self.write(text, stream).await,
        }
    }

    async fn write(&mut self, text: &str, stream: u32) -> Result<(), Gone> {
        if text.is_empty() {
            return Ok(());
        }
        let text = self.drawn.above(&self.shown(text));
        self.send(Bytes::from(text), stream).await
    }

    /// Sends in pieces, so that the time limit is for each piece and not for a long answer.
    async fn send(&mut self, mut bytes: Bytes, stream: u32) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(PART_BYTES));
            self.send_part(part, stream).await?;
        }
        Ok(())
    }

    async fn send_part(&mut self, bytes: Bytes, stream: u32) -> Result<(), Gone> {
        let sending = async {
            match stream {
                0 => self.writer.data_bytes(bytes).await,
                ext => self.writer.extended_data_bytes(ext, bytes).await,
            }
        };
        let sent = tokio::select! {
            sent = timeout(STALL_LIMIT, sending) => sent,
            () = self.gone.cancelled() => return Err(Gone),
            () = self.first_key.cancelled(), if self.keys.is_some() => return Err(Gone),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                tracing::info!("a client did not read for {STALL_LIMIT:?} and is cut off; its run continues");
                self.gone.cancel();
                Err(Gone)
            }
        }
    }

    /// Prints a message for a client that may be gone, without waiting for it.
    async fn last_word(&mut self, text: &str) {
        self.file = None;
        let screen = if std::mem::take(&mut self.has_screen) { LEAVE } else { "" };
        let text = screen.to_string() + &self.drawn.replaced(Vec::new()) + &self.shown(text);
        let sending = async {
            match self.pty {
                Some(_) => self.writer.data_bytes(Bytes::from(text)).await,
                None => self.writer.extended_data_bytes(1, Bytes::from(text)).await,
            }
        };
        let _ = timeout(LAST_WORD_GRACE, sending).await;
    }

    /// The one place where text of hosts and people becomes safe for a terminal.
    fn shown(&self, text: &str) -> String {
        let text = printable(text);
        if self.pty.is_some() { text.replace('\n', "\r\n") } else { text }
    }

    /// Data, exit status, end of file, close: in this order, so that a cut answer is never taken for a
    /// whole one.
    async fn end(mut self, status: u8) {
        self.file = None;
        if self.drawn.is_there() || self.has_screen {
            self.last_word("").await;
        }
        // Errors here mean that the client is gone.
        let _ = self.writer.exit_status(u32::from(status)).await;
        let _ = self.writer.eof().await;
        let _ = self.writer.close().await;
    }
}

#[async_trait]
impl Terminal for ChannelTerminal {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        self.tell(text, 0).await
    }

    async fn printed(&mut self, text: &str, is_error: bool) -> Result<(), Gone> {
        self.write(text, u32::from(is_error && self.pty.is_none())).await
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        // A terminal has only one stream.
        self.tell(text, u32::from(self.pty.is_none())).await
    }

    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() { Ok(()) } else { self.send(bytes, 0).await }
    }

    fn is_interactive(&self) -> bool {
        self.pty.is_some()
    }

    fn screen(&self) -> Option<Screen> {
        let pty = self.pty.as_ref().filter(|pty| pty.can_draw)?;
        let height = pty.height.load(Ordering::Relaxed) as usize;
        Some(Screen { width: pty.columns(), height, has_utf8: pty.has_utf8, has_colour: pty.has_colour })
    }

    async fn draw(&mut self, lines: Vec<String>) -> Result<(), Gone> {
        match self.drawn.replaced(lines) {
            text if text.is_empty() => Ok(()),
            text => self.send(Bytes::from(text), 0).await,
        }
    }

    async fn full_screen(&mut self, is_on: bool) -> Result<(), Gone> {
        // Asked for first, so that it is given back even if it was taken in part.
        self.has_screen |= is_on;
        self.send(Bytes::from_static(if is_on { ENTER } else { LEAVE }.as_bytes()), 0).await?;
        self.has_screen = is_on;
        Ok(())
    }

    fn admitted(&self) -> Result<Operator, String> {
        self.client.admitted()
    }

    async fn paint(&mut self, frame: String) -> Result<(), Gone> {
        if frame.is_empty() { Ok(()) } else { self.send(Bytes::from(frame), 0).await }
    }

    fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    fn input(&mut self) -> Option<Feed> {
        self.input.take()
    }

    fn file(&mut self) -> Option<mpsc::Receiver<Piece>> {
        self.file.take()
    }

    fn silence(&self) -> BoxFuture<'static, ()> {
        match &self.handle {
            Some(handle) => Box::pin(pulse::silence(handle.clone())),
            None => Box::pin(std::future::pending()),
        }
    }

    fn list(&mut self, command: DoorCommand) {
        self.listed = Some(command);
    }

    fn listed(&self) -> Option<&DoorCommand> {
        self.listed.as_ref()
    }

    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>> {
        self.keys.take().filter(|_| self.pty.is_some())
    }
}
