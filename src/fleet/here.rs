//! The daemon's machine, for steps that run on it: a process group instead of
//! a connection, with the same bounds. All other hosts are reached over the fleet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::exec::{CLOSE_GRACE, TERM_GRACE, foreign, send};
use super::kept::{KeptStream, Lines, MarkGate};
use super::wire::wire;
use crate::domain::base::output::Capture;
use crate::domain::inventory::inventory::Endpoint;
use crate::local::process::{self, ProcessGroup};
use crate::port::{Contact, Diagnosis, Exec, ExecEnd, ExecReport, HostKey, OpenError, Ping, Remote, Stream};

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

const REFUSED: &str = "steps on the machine of rollcall are not allowed; write allow_local = true in rollcall.toml: \
                       everyone who may write tasks can then act as rollcall";

const LOOPBACK_REFUSED: &str = "what listens on the loopback of rollcall's own machine is not asked; write allow_local = true \
                                in rollcall.toml: every author of tasks and checks then acts as rollcall";

/// All hosts, and the daemon's machine.
pub struct Here {
    pub fleet: Arc<dyn Remote>,
    /// Whether the present configuration allows commands on the daemon's machine.
    pub allowed: Box<dyn Fn() -> bool + Send + Sync>,
    /// The folder for records of steps on this machine: like the store, it has to outlive the daemon.
    pub state: PathBuf,
}

impl Here {
    fn spawn(&self, script: &str) -> std::io::Result<Child> {
        let mut command = Command::from(process::command("sh"));
        command.args(["-c", script]).current_dir("/").kill_on_drop(true);
        command.env("XDG_STATE_HOME", &self.state);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    async fn run(&self, request: Exec) -> ExecReport {
        let none = |why: String| ExecReport {
            end: ExecEnd::NotStarted(why),
            stdout: Default::default(),
            stderr: Default::default(),
        };
        if !(self.allowed)() {
            return none(REFUSED.into());
        }
        let wire = wire(&request.program, &request.sudo, request.input);
        let mut child = match self.spawn(&wire.command) {
            Ok(child) => child,
            Err(error) => {
                return none(format!("sh could not be started on the machine of rollcall: {error}"));
            }
        };
        let sending = child.stdin.take().map(|stdin| tokio::spawn(send(stdin, wire.input)));
        let mut local = Local {
            group: ProcessGroup::of(child.id()),
            out: child.stdout.take(),
            err: child.stderr.take(),
            child,
            stdout: KeptStream::new(
                MarkGate::new(wire.marked),
                Capture::keeping(request.keep_bytes),
                &request.masks,
            ),
            stderr: KeptStream::new(MarkGate::new(wire.marked), Capture::default(), &request.masks)
                .of_stderr(),
            lines: Lines::new(request.lines, request.recorder),
            sink: request.sink,
            ended: None,
            stopping: None,
        };
        let end = local.follow(Instant::now() + request.timeout, &request.cancel).await;
        sending.iter().for_each(tokio::task::JoinHandle::abort);
        let Local { stdout, stderr, mut lines, .. } = local;
        let ran = stdout.gate.passed() || stderr.gate.passed();
        let (stdout, stderr) = (stdout.finish(&mut lines), stderr.finish(&mut lines));
        lines.end();
        let end = if ran { end } else { foreign(end, &request.sudo, &stdout, &stderr) };
        ExecReport { end, stdout, stderr }
    }
}

/// One command on this machine.
struct Local {
    child: Child,
    group: ProcessGroup,
    /// `None` once it is closed.
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    stdout: KeptStream,
    stderr: KeptStream,
    lines: Lines,
    sink: Option<mpsc::Sender<Bytes>>,
    ended: Option<ExitStatus>,
    /// The reported end once it has ended, and whether KILL was sent.
    stopping: Option<(ExecEnd, bool)>,
}

impl Local {
    async fn follow(&mut self, timeout: Instant, cancel: &CancellationToken) -> ExecEnd {
        let (mut out, mut err) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut until = timeout;
        while self.ended.is_none() || self.out.is_some() || self.err.is_some() {
            let may_cancel = self.stopping.is_none() && self.ended.is_none();
            tokio::select! {
                // Limits come first: a command that prints without end must not delay them.
                biased;
                () = cancel.cancelled(), if may_cancel => until = self.stop(ExecEnd::Cancelled),
                () = sleep_until(until) => match self.overdue() {
                    Some(next) => until = next,
                    None => break,
                },
                status = self.child.wait(), if self.ended.is_none() => {
                    self.ended = status.ok();
                    until = until.min(Instant::now() + CLOSE_GRACE);
                }
                read = read(&mut self.out, &mut out) => {
                    if !self.print(&out[..read]).await && may_cancel {
                        until = self.stop(ExecEnd::Cancelled);
                    }
                }
                read = read(&mut self.err, &mut err) => self.stderr.push(&Bytes::copy_from_slice(&err[..read]), &mut self.lines),
            }
        }
        self.end()
    }

    /// False when the receiver was dropped.
    async fn print(&mut self, data: &[u8]) -> bool {
        let data = Bytes::copy_from_slice(data);
        let Some(sink) = &self.sink else {
            self.stdout.push(&data, &mut self.lines);
            return true;
        };
        let data = self.stdout.gate.pass(&data);
        data.is_empty() || sink.send(data).await.is_ok()
    }

    /// A time limit has passed. Returns the next limit, or `None` when there is nothing left to wait for.
    fn overdue(&mut self) -> Option<Instant> {
        match &mut self.stopping {
            // A child that keeps the output open must not delay the step.
            _ if self.ended.is_some() => None,
            None => Some(self.stop(ExecEnd::TimedOut)),
            Some((_, killed)) if !*killed => {
                *killed = true;
                self.group.signal(Signal::SIGKILL);
                Some(Instant::now() + CLOSE_GRACE)
            }
            Some(_) => None,
        }
    }

    fn stop(&mut self, as_end: ExecEnd) -> Instant {
        self.stopping = Some((as_end, false));
        self.group.signal(Signal::SIGTERM);
        Instant::now() + TERM_GRACE
    }

    fn end(&mut self) -> ExecEnd {
        use std::os::unix::process::ExitStatusExt;
        match (self.ended, self.stopping.take()) {
            (Some(_), Some((as_end, _))) => as_end,
            (Some(status), None) => match (status.code(), status.signal()) {
                (Some(code), _) => ExecEnd::Exited(u32::try_from(code).unwrap_or(u32::MAX)),
                (None, Some(signal)) => {
                    ExecEnd::Signalled(Signal::try_from(signal).map_or("?", Signal::as_str).into())
                }
                (None, None) => ExecEnd::Lost("it ended without an exit status".into()),
            },
            (None, _) => ExecEnd::Lost("it was asked to stop and did not end; it may still run".into()),
        }
    }
}

/// Returns the number of bytes; zero when the pipe was just closed. A pipe that is already closed waits forever.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let Some(open) = pipe else { return std::future::pending().await };
    match open.read(into).await {
        Ok(read) if read > 0 => read,
        _ => {
            *pipe = None;
            0
        }
    }
}

fn not_reached() -> String {
    "the machine of rollcall is not reached over SSH, and has no host key here".into()
}

#[async_trait]
impl Remote for Here {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        if host.here { self.run(request).await } else { self.fleet.exec(host, request).await }
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        if !host.here {
            return self.fleet.open(host, address, port).await;
        }
        // Connecting to this machine's loopback acts as rollcall: it needs the same permission as a command here.
        let places = tokio::net::lookup_host((address, port)).await.map_err(refused)?;
        let places: Vec<SocketAddr> = places.collect();
        let is_own = |place: &SocketAddr| {
            let ip = place.ip().to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        };
        if places.iter().any(is_own) && !(self.allowed)() {
            return Err(OpenError::Blind(LOOPBACK_REFUSED.into()));
        }
        let opened = TcpStream::connect(&*places).await;
        opened.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(refused)
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        if !host.here {
            return self.fleet.open_unix(host, path).await;
        }
        if !(self.allowed)() {
            return Err(OpenError::Blind(REFUSED.into()));
        }
        let opened = UnixStream::connect(path).await;
        opened.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(refused)
    }

    async fn reach(&self, host: &Endpoint) -> Result<(), String> {
        if host.here { Ok(()) } else { self.fleet.reach(host).await }
    }

    async fn ping(&self, host: &Endpoint) -> Ping {
        if host.here { Ping::failed(not_reached()) } else { self.fleet.ping(host).await }
    }

    fn contact(&self, host: &Endpoint) -> Option<Contact> {
        self.fleet.contact(host)
    }

    async fn diagnose(&self, host: &Endpoint, request: Exec) -> Diagnosis {
        self.fleet.diagnose(host, request).await
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        if host.here { Err(not_reached()) } else { self.fleet.host_key(host).await }
    }

    async fn forget_host_key(&self, host: &Endpoint) -> Result<usize, String> {
        if host.here { Err(not_reached()) } else { self.fleet.forget_host_key(host).await }
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        if host.here { Err(not_reached()) } else { self.fleet.accept_host_key(host, fingerprint).await }
    }
}

fn refused(error: std::io::Error) -> OpenError {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => {
            OpenError::Refused(error.to_string())
        }
        _ => OpenError::Blind(error.to_string()),
    }
}

#[cfg(test)]
#[path = "here_tests.rs"]
mod tests;
