//! A host whose commands really run, in a directory of their own, on the machine we are on.

use std::io;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use russh::Sig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, CommandEnd, CommandInput, ExecIo, Writing};
use crate::port::Stream;

/// How long an output is read that a background process keeps open after the command has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// Bytes read from a command's output at once: what a Linux pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a shell answers when it cannot run a command at all.
const NOT_RUN: u32 = 126;

/// Runs commands with `/bin/sh -c` in its directory, which is their home and holds their `bin`.
pub struct ShellHost {
    dir: PathBuf,
}

impl ShellHost {
    /// A host that lives in `dir`, which must be there when the first command comes.
    pub fn new(dir: PathBuf) -> ShellHost {
        ShellHost { dir }
    }

    fn spawn(&self, command: &str) -> io::Result<Child> {
        let mut path = self.dir.join("bin").into_os_string();
        path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .env_clear()
            .env("HOME", &self.dir)
            .env("PATH", path)
            .current_dir(&self.dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

#[async_trait]
impl Behaviour for ShellHost {
    async fn exec(&self, command: String, mut io: ExecIo, signals: mpsc::Receiver<Sig>) -> CommandEnd {
        let mut child = match self.spawn(&command) {
            Ok(child) => child,
            Err(error) => {
                let text = format!("/bin/sh in {}: {error}\n", self.dir.display());
                // The status says it too.
                let _ = io.stderr.write_all(text.as_bytes()).await;
                return CommandEnd::Exit(NOT_RUN);
            }
        };
        let mut group = KillOnDrop::of(&child);
        let exited = CancellationToken::new();
        let stdout = tokio::spawn(copy_out(child.stdout.take(), io.stdout, exited.clone()));
        let stderr = tokio::spawn(copy_out(child.stderr.take(), io.stderr, exited.clone()));
        let status = follow(&mut child, io.stdin, signals, &group).await;
        group.0 = None;
        exited.cancel();
        // Output that could not be delivered is lost: its client has left.
        let _ = stdout.await;
        let _ = stderr.await;
        status.map_or(CommandEnd::Exit(NOT_RUN), ended)
    }

    async fn connect(&self, address: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let loopback = match address {
            "localhost" => true,
            address => address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        };
        if !loopback {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let stream = TcpStream::connect((address, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Waits for the end of the command, passing on what the client sends. When the client is gone the
/// command is killed.
async fn follow(
    child: &mut Child,
    stdin: CommandInput,
    mut signals: mpsc::Receiver<Sig>,
    group: &KillOnDrop,
) -> io::Result<ExitStatus> {
    let feeding = feed(stdin, child.stdin.take());
    tokio::pin!(feeding);
    let (mut fed, mut watched) = (false, true);
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            signal = signals.recv(), if watched => match signal {
                Some(signal) => group.signal(number(&signal)),
                None => {
                    watched = false;
                    group.signal(Some(Signal::SIGKILL));
                }
            },
            part = &mut feeding, if !fed => {
                fed = true;
                // The input is closed after the kill: before it, it would look complete.
                if let Some(_open) = part {
                    group.signal(Some(Signal::SIGKILL));
                }
            }
        }
    }
}

/// Copies what the client sends. Gives the input back, still open, when the command came to a place
/// where bytes are missing: it must not take the part for the whole.
async fn feed(mut from: CommandInput, to: Option<ChildStdin>) -> Option<ChildStdin> {
    let mut to = to?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk).await {
            Ok(0) => return None,
            // A command that stopped reading has what it wants.
            Ok(read) if to.write_all(&chunk[..read]).await.is_err() => return None,
            Ok(_) => {}
            Err(_) => return Some(to),
        }
    }
}

/// Copies an output to its end. Once the command has `exited`, silence of [`OUTPUT_GRACE`] is an end
/// too: a child in the background may keep the output open for ever.
async fn copy_out(from: Option<impl AsyncRead + Unpin>, mut to: Writing, exited: CancellationToken) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let silence = async {
            exited.cancelled().await;
            tokio::time::sleep(OUTPUT_GRACE).await;
        };
        let read = tokio::select! {
            biased;
            read = from.read(&mut chunk) => read,
            () = silence => return,
        };
        match read {
            Ok(read) if read > 0 && to.write_all(&chunk[..read]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// The process group of a command; killed when it is dropped before the command has ended.
struct KillOnDrop(Option<Pid>);

impl KillOnDrop {
    fn of(child: &Child) -> KillOnDrop {
        KillOnDrop(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn signal(&self, signal: Option<Signal>) {
        if let (Some(group), Some(signal)) = (self.0, signal) {
            // A group that is gone needs no signal.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.signal(Some(Signal::SIGKILL));
    }
}

fn ended(status: ExitStatus) -> CommandEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => CommandEnd::Exit(code.unsigned_abs()),
        (None, signal) => CommandEnd::Signal(signal.map_or(Sig::ABRT, name)),
    }
}

/// The signals that SSH has words for.
const SIGNALS: [(Sig, Signal); 12] = [
    (Sig::ABRT, Signal::SIGABRT),
    (Sig::ALRM, Signal::SIGALRM),
    (Sig::FPE, Signal::SIGFPE),
    (Sig::HUP, Signal::SIGHUP),
    (Sig::ILL, Signal::SIGILL),
    (Sig::INT, Signal::SIGINT),
    (Sig::KILL, Signal::SIGKILL),
    (Sig::PIPE, Signal::SIGPIPE),
    (Sig::QUIT, Signal::SIGQUIT),
    (Sig::SEGV, Signal::SIGSEGV),
    (Sig::TERM, Signal::SIGTERM),
    (Sig::USR1, Signal::SIGUSR1),
];

fn number(signal: &Sig) -> Option<Signal> {
    SIGNALS.iter().find(|(name, _)| format!("{name:?}") == format!("{signal:?}")).map(|(_, number)| *number)
}

fn name(number: i32) -> Sig {
    let known = SIGNALS.into_iter().find(|(_, signal)| *signal as i32 == number);
    known.map_or_else(|| Sig::Custom(number.to_string()), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::pipe::pipe;
    use super::*;

    fn io(stdin: CommandInput) -> ExecIo {
        ExecIo { stdin, stdout: Box::new(tokio::io::sink()), stderr: Box::new(tokio::io::sink()) }
    }

    #[tokio::test]
    async fn a_part_of_the_input_is_never_taken_for_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let host = ShellHost::new(dir.path().to_path_buf());
        let (mut inlet, stdin) = pipe();
        inlet.push(vec![b'x'; 1000].into()).await;
        let (_open, signals) = mpsc::channel(1);
        inlet.lose();
        let ended = host.exec("cat >part; touch whole".into(), io(Box::new(stdin)), signals).await;
        assert!(matches!(ended, CommandEnd::Signal(Sig::KILL)), "{ended:?}");
        assert!(!dir.path().join("whole").exists());
    }

    #[tokio::test]
    async fn a_host_without_a_directory_says_so() {
        let host = ShellHost::new("/nonexistent".into());
        let (_open, signals) = mpsc::channel(1);
        let ended = host.exec("true".into(), io(Box::new(tokio::io::empty())), signals).await;
        assert!(matches!(ended, CommandEnd::Exit(NOT_RUN)), "{ended:?}");
    }
}
