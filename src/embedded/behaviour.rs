//! What an embedded host does when it is asked something: implemented by each kind of host.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use russh::Sig;
use russh::server::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::port::Stream;

/// What a command reads.
pub type CommandInput = Box<dyn AsyncRead + Send + Unpin>;

/// What a command writes to.
pub type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// What an embedded host does when it is asked something.
#[async_trait]
pub trait Behaviour: Send + Sync + 'static {
    /// Runs a command, writes its output as it comes, and returns how it ended.
    ///
    /// `signals` yields what the client sends (TERM, KILL, ...) and ends when the channel or the
    /// connection is gone. Even then this is waited for to its end, as a process outlives its
    /// terminal; what it writes then fails with [`io::ErrorKind::BrokenPipe`].
    async fn exec(&self, command: String, io: ExecIo, signals: mpsc::Receiver<Sig>) -> CommandEnd;

    /// Opens a TCP connection that a client asks for through the host (direct-tcpip).
    ///
    /// [`io::ErrorKind::PermissionDenied`] is answered as "prohibited", every other error as "nothing
    /// accepts connections there".
    async fn connect(&self, address: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// The standard streams of one command.
///
/// Shutting a writer down does nothing: the channel ends when the command does.
pub struct ExecIo {
    /// Fails with [`io::ErrorKind::BrokenPipe`] where bytes were dropped because the reader did not read them for
    /// long; a command that never reads does not hold up others.
    pub stdin: CommandInput,
    pub stdout: Writing,
    pub stderr: Writing,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub enum CommandEnd {
    Exit(u32),
    Signal(Sig),
    /// Without a status: the whole connection dies, as when the machine does.
    Vanish,
}

/// What a channel's tasks need of its connection.
pub(super) struct Door {
    pub(super) behaviour: Arc<dyn Behaviour>,
    pub(super) handle: Handle,
    pub(super) cut: CancellationToken,
}
