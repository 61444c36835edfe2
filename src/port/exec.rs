//! One command on one host, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::base::output::{Output, clipped};
use crate::domain::task::task::Sudo;
use crate::domain::value::secret::Masks;
use crate::local::planned::{PlannedFile, Proven};
use crate::port::outputs::Recorder;
use crate::port::talk::{Feed, Tap};

/// One command on one host.
pub struct Exec {
    pub program: Program,
    /// The user of a [`Program::Script`] and of [`Program::Own`].
    pub sudo: Sudo,
    pub input: Input,
    /// Measured from the moment the command is sent to its end.
    pub timeout: Duration,
    /// Ends the command on the host: TERM, then KILL, then the channel is closed.
    pub cancel: CancellationToken,
    /// Its output as it arrives, for those who follow it.
    pub lines: Option<Follow>,
    /// Over a connection made for this command alone: proof that the host accepts a new login.
    pub fresh: bool,
    /// Bytes kept of the head of its standard output, and of the tail; the bytes between are counted.
    pub keep_bytes: usize,
    /// Hides secrets in both outputs, before anything of them is kept or shown. Empty if rollcall itself
    /// reads the output.
    pub masks: Arc<Masks>,
    /// Receives all of its standard output as it arrives, which is then not kept or shown. The command waits for the
    /// receiver, and is ended when the receiver is dropped.
    pub sink: Option<mpsc::Sender<Bytes>>,
    /// Receives both outputs as they arrive, without secrets and without what the login prints before them.
    pub recorder: Option<Box<dyn Recorder>>,
}

impl Exec {
    /// A program as the login, without input and without followers.
    pub fn new(program: Program, timeout: Duration, keep_bytes: usize) -> Exec {
        Exec {
            program,
            sudo: Sudo::No,
            input: Input::None,
            timeout,
            cancel: CancellationToken::new(),
            lines: None,
            fresh: false,
            keep_bytes,
            masks: Arc::default(),
            sink: None,
            recorder: None,
        }
    }
}

/// How output is passed on while a command runs. It is kept as well.
pub enum Follow {
    /// Lines. Dropped when the reader is too slow.
    Lines(mpsc::Sender<String>),
    /// All of it, or a count of what finds no room: the command never waits for the receiver.
    All(Tap),
}

/// What a host runs. Output that the login prints before it, for instance from its `.bashrc`, is no part of its output.
#[derive(Clone, Debug)]
pub enum Program {
    /// A script for `sh`, sent on the standard input, before the [`Input`]: whatever an operator wrote is on no command
    /// line, where a `pgrep -f` of its own would find it.
    Script(String),
    /// A text of rollcall's own for `sh`, on the command line, with its arguments; `$1` is the text itself.
    Own { text: &'static str, arguments: Vec<String> },
    /// A command for the login's own shell, with all that the login prints.
    Login(&'static str),
}

/// The standard input of a command.
#[derive(Clone)]
pub enum Input {
    None,
    Bytes(Bytes),
    File(Proven),
    /// A tar archive, created while it is sent.
    Tar(Arc<[Packed]>),
    /// What an operator sends while the command runs.
    Live(Feed),
    /// These bytes, and then the rest.
    After(Bytes, Box<Input>),
}

/// One file of an archive that is sent.
pub struct Packed {
    /// Its name in the archive.
    pub name: String,
    pub content: Content,
}

/// The content of a packed file.
pub enum Content {
    Bytes(Bytes),
    /// Opened and verified at its turn.
    File(PlannedFile),
}

/// How a command ended, and its output.
#[derive(Debug)]
pub struct ExecReport {
    pub end: ExecEnd,
    pub stdout: Output,
    pub stderr: Output,
}

/// How a command ended on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecEnd {
    Exited(u32),
    Signalled(String),
    /// Exceeded its timeout and was ended.
    TimedOut,
    Cancelled,
    /// The connection was lost after the command was sent, and no exit status arrived.
    Lost(String),
    /// The command was never sent.
    NotStarted(String),
    /// The login ran something else: its exit status and its output are not those of the command.
    Foreign(String),
}

/// Most characters of a host's last line in a reason; the output of the step has the rest.
const SAID_CHARS: usize = 500;

impl ExecEnd {
    /// An unsuccessful end in words, with the last line that the command wrote to stderr.
    pub fn describe(&self, stderr: &Output) -> String {
        let said = match stderr.last_line() {
            "" => String::new(),
            line => format!(": {}", clipped(line, SAID_CHARS)),
        };
        match self {
            ExecEnd::Exited(code) => format!("exit status {code}{said}"),
            ExecEnd::Signalled(signal) => format!("ended by signal {signal}{said}"),
            ExecEnd::TimedOut => "took too long and was ended".into(),
            ExecEnd::Cancelled => "cancelled".into(),
            ExecEnd::Lost(why) | ExecEnd::NotStarted(why) | ExecEnd::Foreign(why) => why.clone(),
        }
    }
}
