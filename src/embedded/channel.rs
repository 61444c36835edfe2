//! The channels of one connection. Each has a task that always reads, and one that works and writes;
//! neither waits for the other, so no channel can hold up its neighbours.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::behaviour::{CommandEnd, Door, ExecIo, Writing};
use super::pipe::{Inlet, Outlet, pipe};
use crate::cut::Cut;
use crate::port::Stream;

/// Signals that wait for the command's attention; a client that sends more repeats itself.
const SIGNALS: usize = 16;

/// Serves a session channel: one command, once it is `started`.
pub(super) async fn session(channel: Channel<Msg>, started: oneshot::Receiver<String>, door: Door) {
    let (mut reader, writer) = channel.split();
    let Some(command) = command(&mut reader, started).await else { return };
    let (inlet, stdin) = pipe();
    let (to_command, signals) = mpsc::channel(SIGNALS);
    let gone = CancellationToken::new();
    let io = ExecIo {
        stdin: Box::new(stdin),
        stdout: Box::new(output(&writer, None, &gone)),
        stderr: Box::new(output(&writer, Some(1), &gone)),
    };
    tokio::spawn(run(command, io, signals, writer, gone.clone(), door));
    drain(&mut reader, inlet, Some(to_command)).await;
    gone.cancel();
}

/// Waits for the command; `None` when the client closed instead.
async fn command(reader: &mut ChannelReadHalf, mut started: oneshot::Receiver<String>) -> Option<String> {
    loop {
        tokio::select! {
            biased;
            command = &mut started => return command.ok(),
            message = reader.wait() => match message {
                None | Some(ChannelMsg::Close) => return None,
                // Nothing that comes before a command is for one.
                Some(_) => {}
            },
        }
    }
}

/// Reads a channel until it is closed, whatever becomes of what it says.
async fn drain(reader: &mut ChannelReadHalf, mut inlet: Inlet, signals: Option<mpsc::Sender<Sig>>) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => inlet.push(data).await,
            ChannelMsg::Eof => inlet.finish(),
            ChannelMsg::Signal { signal } => {
                if let Some(signals) = &signals {
                    // A command that takes none is not waited for.
                    let _ = signals.try_send(signal);
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Runs the command and says how it ended: output, status, end of output, close; in that order.
async fn run(
    command: String,
    io: ExecIo,
    signals: mpsc::Receiver<Sig>,
    writer: ChannelWriteHalf<Msg>,
    gone: CancellationToken,
    door: Door,
) {
    let behaviour = door.behaviour.clone();
    let running = tokio::spawn(async move { behaviour.exec(command, io, signals).await });
    // A behaviour that breaks down must not leave the client waiting.
    let ended = running.await.unwrap_or(CommandEnd::Signal(Sig::ABRT));
    if gone.is_cancelled() {
        return;
    }
    // A connection that is gone takes no answers.
    match ended {
        CommandEnd::Exit(status) => _ = writer.exit_status(status).await,
        CommandEnd::Signal(signal) => {
            let text = String::new();
            _ = door.handle.exit_signal_request(writer.id(), signal, false, text, "en".into()).await;
        }
        CommandEnd::Vanish => return door.cut.cancel(),
    }
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// Serves a forwarded connection to `address:port`.
pub(super) async fn forward(
    channel: Channel<Msg>,
    address: &str,
    port: u16,
    reply: ChannelOpenHandle,
    door: Door,
) {
    let stream = match door.behaviour.connect(address, port).await {
        Ok(stream) => stream,
        Err(error) => return reply.reject(refusal(&error)).await,
    };
    reply.accept().await;
    let (mut reader, writer) = channel.split();
    let (inlet, from_client) = pipe();
    let gone = CancellationToken::new();
    tokio::spawn(join(stream, from_client, writer, gone.clone()));
    drain(&mut reader, inlet, None).await;
    gone.cancel();
}

fn refusal(error: &io::Error) -> ChannelOpenFailure {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ChannelOpenFailure::AdministrativelyProhibited,
        _ => ChannelOpenFailure::ConnectFailed,
    }
}

/// Copies both ways until both have ended, one has failed, or the client is gone.
async fn join(
    stream: Box<dyn Stream>,
    mut from_client: Outlet,
    writer: ChannelWriteHalf<Msg>,
    gone: CancellationToken,
) {
    let (mut from_host, mut to_host) = tokio::io::split(stream);
    let mut to_client = output(&writer, None, &gone);
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_host).await?;
        to_host.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from_host, &mut to_client).await?;
        writer.eof().await.map_err(io::Error::other)
    };
    tokio::select! {
        biased;
        () = gone.cancelled() => {}
        // Which way it broke is for the two ends to find out: the channel closes.
        _ = async { tokio::try_join!(up, down) } => {}
    }
    let _ = writer.close().await;
}

/// A writer into the channel that fails once the client is gone: without that it would wait for ever
/// for a window that the client does not open.
fn output(writer: &ChannelWriteHalf<Msg>, ext: Option<u32>, gone: &CancellationToken) -> Output {
    Output(Cut::new(Box::new(writer.make_writer_ext(ext)), gone.clone()))
}

struct Output(Cut<Writing>);

impl AsyncWrite for Output {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    /// Nothing: the channel's writer would say EOF here, before the exit status and for both outputs.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
