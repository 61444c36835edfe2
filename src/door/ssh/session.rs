//! One channel: reads the request, answers it, and keeps reading so that the connection never
//! stalls. Output is bounded by the client's window; a client that does not read is disconnected.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::visit::{Slot, Visit};
use crate::domain::ask::command::{Request, parse_line};
use crate::domain::base::output::printable;
use crate::domain::base::refusal::Cause;
use crate::door::answer::answer;
use crate::door::shown::shown;
use crate::door::{Desk, Gone, Terminal, unbroken};

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

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;

/// Serves one channel to its end.
pub async fn serve(desk: Desk, visit: Arc<Visit>, channel: Channel<Msg>, slot: Slot) {
    let (mut reader, writer) = channel.split();
    let Ok(Some((line, pty))) = timeout(REQUEST_GRACE, request(&mut reader)).await else {
        let _ = writer.close().await;
        return;
    };
    let gone = visit.parting.child_token();
    let mut reading = tokio::spawn(drain(reader, pty, gone.clone()));
    let mut out = ChannelTerminal { writer, pty, gone };
    let status = answered(&desk, &visit, &line, &mut out).await;
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
async fn answered(desk: &Desk, visit: &Visit, line: &[u8], out: &mut ChannelTerminal) -> u8 {
    let status = match unbroken(respond(desk, visit, line, out)).await {
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

/// The command line, and whether there is a terminal; `None` if the client disconnected first.
async fn request(reader: &mut ChannelReadHalf) -> Option<(Vec<u8>, bool)> {
    let mut pty = false;
    for _ in 0..REQUESTS_LIMIT {
        match reader.wait().await? {
            ChannelMsg::Exec { command, .. } => return Some((command, pty)),
            // A bare `ssh rollcall` has no screen of its own yet, so it gets the help.
            ChannelMsg::RequestShell { .. } => return Some((b"help".to_vec(), pty)),
            ChannelMsg::RequestPty { .. } => pty = true,
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
    None
}

/// Reads until the client is gone, and discards what it sends; on a terminal Ctrl-C and Ctrl-D
/// detach.
async fn drain(mut reader: ChannelReadHalf, pty: bool, gone: CancellationToken) {
    let _gone_at_the_end = gone.clone().drop_guard();
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Close => break,
            ChannelMsg::Data { data } if pty && data.iter().any(|byte| [CTRL_C, CTRL_D].contains(byte)) => {
                gone.cancel()
            }
            _ => {}
        }
    }
}

async fn respond(desk: &Desk, visit: &Visit, line: &[u8], out: &mut ChannelTerminal) -> u8 {
    let key = visit.login.get().map(|login| login.key.as_str()).unwrap_or_default();
    let Some(operator) = desk.operator(key) else {
        let _ = out.err("rollcall: your key is not in `operators` any more\n").await;
        return Cause::NotAllowed.exit_status();
    };
    let parsed = parse_line(line);
    let shown = shown(line, &parsed, &desk.config.borrow());
    let shown = desk.engine.masks().text(&shown);
    tracing::info!(operator = %operator.name, key, command = ?shown, "asked");
    match parsed {
        Ok(Request { command, json }) => answer(desk, &operator, Request { command, json }, out).await,
        Err(error) => {
            let _ = out.err(&format!("rollcall: {}\n", error.text)).await;
            Cause::Usage.exit_status()
        }
    }
}

struct ChannelTerminal {
    writer: ChannelWriteHalf<Msg>,
    pty: bool,
    gone: CancellationToken,
}

impl ChannelTerminal {
    async fn write(&mut self, text: &str, stream: u32) -> Result<(), Gone> {
        if text.is_empty() {
            return Ok(());
        }
        let text = self.shown(text);
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
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                tracing::info!("a client did not read for {STALL_LIMIT:?} and is cut off; its run goes on");
                self.gone.cancel();
                Err(Gone)
            }
        }
    }

    /// Prints a message for a client that may be gone, without waiting for it.
    async fn last_word(&mut self, text: &str) {
        let text = self.shown(text);
        let sending = async {
            match self.pty {
                true => self.writer.data_bytes(Bytes::from(text)).await,
                false => self.writer.extended_data_bytes(1, Bytes::from(text)).await,
            }
        };
        let _ = timeout(LAST_WORD_GRACE, sending).await;
    }

    /// The one place where text of hosts and people becomes safe for a terminal.
    fn shown(&self, text: &str) -> String {
        let text = printable(text);
        if self.pty { text.replace('\n', "\r\n") } else { text }
    }

    /// Data, exit status, end of file, close: in this order, so that a cut answer is never taken for a
    /// whole one.
    async fn end(self, status: u8) {
        // Errors here mean that the client is gone.
        let _ = self.writer.exit_status(u32::from(status)).await;
        let _ = self.writer.eof().await;
        let _ = self.writer.close().await;
    }
}

#[async_trait]
impl Terminal for ChannelTerminal {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        self.write(text, 0).await
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        // A terminal has only one stream.
        self.write(text, if self.pty { 0 } else { 1 }).await
    }

    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() { Ok(()) } else { self.send(bytes, 0).await }
    }

    fn is_interactive(&self) -> bool {
        self.pty
    }

    fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }
}
