//! One command on one connection. The channel is always read to its end, output is bounded, and a
//! command is ended by TERM, then by KILL, and then abandoned.

use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::kept::{KeptStream, Lines, MarkGate};
use super::wire::wire;
use crate::domain::base::output::{Capture, Output, clipped};
use crate::domain::task::task::Sudo;
use crate::local::planned::Proven;
use crate::port::talk::Feed;
use crate::port::{Content, Exec, ExecEnd, ExecReport, Input, Packed};

/// Between TERM and KILL: time for a process to clean up.
pub(super) const TERM_GRACE: Duration = Duration::from_secs(5);

/// After KILL, and after an exit status: how long the host may take to close the channel. A child
/// that keeps the output open must not delay the step.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The exit status of a script that did not arrive whole.
const CUT_OFF: u32 = 75;

/// Most characters of another program's last line in a reason.
const SAID_CHARS: usize = 500;

/// The block size of tar.
const TAR_BLOCK_BYTES: usize = 512;

/// Runs `request` on a new channel. `why_lost` explains a lost connection.
pub async fn exec(channel: Channel<Msg>, request: Exec, why_lost: impl Fn() -> String) -> ExecReport {
    let (reader, writer) = channel.split();
    let wire = wire(&request.program, &request.sudo, request.input);
    if writer.exec(true, wire.command.as_bytes()).await.is_err() {
        return ExecReport {
            end: ExecEnd::NotStarted(why_lost()),
            stdout: Default::default(),
            stderr: Default::default(),
        };
    }
    let sending = tokio::spawn(send(writer.make_writer(), wire.input));
    let mut command = WireCommand {
        reader,
        writer,
        stdout: KeptStream::new(
            MarkGate::new(wire.marked),
            Capture::keeping(request.keep_bytes),
            &request.masks,
        ),
        stderr: KeptStream::new(MarkGate::new(wire.marked), Capture::default(), &request.masks).of_stderr(),
        lines: Lines::new(request.lines, request.recorder),
        sink: request.sink,
        end: None,
        stopping: None,
    };
    let end = command.follow(Instant::now() + request.timeout, &request.cancel, &why_lost).await;
    sending.abort();
    // Closing frees the host's session slot; a lost connection has none.
    let _ = command.writer.close().await;
    let WireCommand { stdout, stderr, mut lines, .. } = command;
    let ran = stdout.gate.passed() || stderr.gate.passed();
    let (stdout, stderr) = (stdout.finish(&mut lines), stderr.finish(&mut lines));
    lines.end();
    let end = if ran { end } else { foreign(end, &request.sudo, &stdout, &stderr) };
    ExecReport { end, stdout, stderr }
}

/// The end of a command of which no mark came: the exit status belongs to something else. A failure of `sudo` comes before
/// the mark, too.
pub(super) fn foreign(end: ExecEnd, sudo: &Sudo, stdout: &Output, stderr: &Output) -> ExecEnd {
    match end {
        ExecEnd::Exited(code) if code == 0 || code == CUT_OFF || *sudo == Sudo::No => {
            let said = [stderr.last_line(), stdout.last_line()].into_iter().find(|line| !line.is_empty());
            let said =
                said.map(|line| format!(", and printed: {}", clipped(line, SAID_CHARS))).unwrap_or_default();
            ExecEnd::Foreign(format!(
                "the login did not run rollcall's command: something else ended with exit status {code}{said}; try: a login \
                 with a shell, and without a forced command (ForceCommand in sshd_config, command= in authorized_keys)"
            ))
        }
        end => end,
    }
}

/// Sends the input and then EOF. If the command does not read it, or the
/// connection breaks, the end of the command shows that.
pub(super) async fn send(mut writer: impl tokio::io::AsyncWrite + Unpin, mut input: Input) {
    while let Input::After(first, rest) = input {
        let _ = writer.write_all(&first).await;
        input = *rest;
    }
    match input {
        Input::None | Input::After(..) => {}
        Input::Bytes(bytes) => _ = writer.write_all(&bytes).await,
        // The host refuses a file that is cut short.
        Input::File(file) => _ = copy(&file, &mut writer).await,
        Input::Tar(members) => pack(&members, &mut writer).await,
        Input::Live(feed) => feed_to(&feed, &mut writer).await,
    }
    let _ = writer.shutdown().await;
}

async fn feed_to(feed: &Feed, writer: &mut (impl tokio::io::AsyncWrite + Unpin)) {
    let mut reader = feed.reader();
    while let Some(piece) = reader.next().await {
        let written = async { writer.write_all(&piece).await.and(writer.flush().await) };
        if written.await.is_err() {
            return;
        }
    }
}

async fn copy(file: &Proven, writer: &mut (impl tokio::io::AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut at = 0;
    while at < file.bytes() {
        let piece = file.piece(at).await?;
        if piece.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        writer.write_all(&piece).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Sends a tar archive. An incomplete one has no end, and the host reports that.
async fn pack(members: &[Packed], writer: &mut (impl tokio::io::AsyncWrite + Unpin)) {
    for member in members {
        if pack_one(member, writer).await.is_err() {
            return;
        }
    }
    // Two blocks of zeros end an archive.
    let _ = writer.write_all(&[0; 2 * TAR_BLOCK_BYTES]).await;
}

async fn pack_one(member: &Packed, writer: &mut (impl tokio::io::AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(&member.name)?;
    header.set_mode(0o600);
    let file = match &member.content {
        Content::Bytes(_) => None,
        Content::File(planned) => Some(planned.open().await.map_err(std::io::Error::other)?),
    };
    let size = match (&member.content, &file) {
        (_, Some(file)) => file.bytes(),
        (Content::Bytes(bytes), None) => bytes.len() as u64,
        (Content::File(_), None) => 0,
    };
    header.set_size(size);
    header.set_cksum();
    writer.write_all(header.as_bytes()).await?;
    match (&member.content, &file) {
        (Content::Bytes(bytes), _) => writer.write_all(bytes).await?,
        (_, Some(file)) => copy(file, writer).await?,
        (Content::File(_), None) => {}
    }
    let filled = usize::try_from(size % TAR_BLOCK_BYTES as u64).unwrap_or_default();
    writer.write_all(&[0; TAR_BLOCK_BYTES][..(TAR_BLOCK_BYTES - filled) % TAR_BLOCK_BYTES]).await
}

struct WireCommand {
    reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
    stdout: KeptStream,
    stderr: KeptStream,
    lines: Lines,
    sink: Option<mpsc::Sender<Bytes>>,
    /// The exit status or signal, once it has arrived.
    end: Option<ExecEnd>,
    stopping: Option<Stopping>,
}

/// A command that is being ended.
struct Stopping {
    /// The reported end once it has ended.
    as_end: ExecEnd,
    killed: bool,
}

impl WireCommand {
    async fn follow(
        &mut self,
        timeout: Instant,
        cancel: &tokio_util::sync::CancellationToken,
        why_lost: &impl Fn() -> String,
    ) -> ExecEnd {
        let mut until = timeout;
        loop {
            let may_cancel = self.stopping.is_none() && self.end.is_none();
            tokio::select! {
                // Limits come first: a host that prints without end must not delay them.
                biased;
                () = cancel.cancelled(), if may_cancel => until = self.stop(ExecEnd::Cancelled).await,
                () = sleep_until(until) => match self.overdue().await {
                    Some(next) => until = next,
                    None => return self.finish(&|| "it was asked to stop and did not confirm that it did (sshd takes no \
                        signals for root logins); it may still run".to_string()),
                },
                message = self.reader.wait() => match message {
                    Some(ChannelMsg::Data { data }) if self.sink.is_some() => {
                        let data = self.stdout.gate.pass(&data);
                        if !self.pour(data).await && may_cancel {
                            until = self.stop(ExecEnd::Cancelled).await;
                        }
                    }
                    Some(message) => match self.take(message) {
                        Taken::Nothing => {}
                        Taken::Ended => until = until.min(Instant::now() + CLOSE_GRACE),
                        Taken::Over => return self.finish(why_lost),
                    },
                    None => return self.finish(why_lost),
                },
            }
        }
    }

    fn take(&mut self, message: ChannelMsg) -> Taken {
        match message {
            ChannelMsg::Data { data } => self.print(&data, 0),
            ChannelMsg::ExtendedData { data, ext } => self.print(&data, ext),
            ChannelMsg::ExitStatus { exit_status } => {
                self.end.get_or_insert(ExecEnd::Exited(exit_status));
                return Taken::Ended;
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.end.get_or_insert(ExecEnd::Signalled(signal_text(&signal_name)));
                return Taken::Ended;
            }
            ChannelMsg::Failure => {
                self.end.get_or_insert(ExecEnd::NotStarted("the host refused to run a command".into()));
                return Taken::Over;
            }
            ChannelMsg::Close => return Taken::Over,
            _ => {}
        }
        Taken::Nothing
    }

    /// False when the receiver was dropped.
    async fn pour(&self, data: Bytes) -> bool {
        match &self.sink {
            Some(sink) if !data.is_empty() => sink.send(data).await.is_ok(),
            _ => true,
        }
    }

    fn print(&mut self, data: &Bytes, ext: u32) {
        let kept = if ext == 1 { &mut self.stderr } else { &mut self.stdout };
        kept.push(data, &mut self.lines);
    }

    /// A time limit has passed. Returns the next limit, or `None` when there is nothing left to wait for.
    async fn overdue(&mut self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        match &mut self.stopping {
            None => Some(self.stop(ExecEnd::TimedOut).await),
            Some(stopping) if !stopping.killed => {
                stopping.killed = true;
                let _ = self.writer.signal(Sig::KILL).await;
                Some(Instant::now() + CLOSE_GRACE)
            }
            Some(_) => None,
        }
    }

    async fn stop(&mut self, as_end: ExecEnd) -> Instant {
        self.stopping = Some(Stopping { as_end, killed: false });
        // The next message shows a lost connection.
        let _ = self.writer.signal(Sig::TERM).await;
        Instant::now() + TERM_GRACE
    }

    /// An exit status or signal that has arrived is the end; without one the end is unknown.
    fn finish(&mut self, why: &impl Fn() -> String) -> ExecEnd {
        match (self.end.take(), self.stopping.take()) {
            (Some(ExecEnd::Signalled(_) | ExecEnd::Exited(_)), Some(stopping)) => stopping.as_end,
            (Some(end), _) => end,
            (None, _) => ExecEnd::Lost(why()),
        }
    }
}

enum Taken {
    Nothing,
    Ended,
    Over,
}

fn signal_text(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
