//! Probes that run a command on a host: rollcall's own scripts, plugins, and commands of checks.
//! Plain POSIX `sh` with the host's own tools; nothing is installed except the plugins that a check sends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;

use crate::domain::base::digest::sha256_hex;
use crate::domain::check::check::Check;
use crate::domain::check::probe::{Dns, FileProbe, Log, Plugin, Port, Probe, Process};
use crate::domain::check::seen::{Observation, ScriptLines};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::expansion;
use crate::domain::value::shell;
use crate::local::beneath;
use crate::local::planned::reason;
use crate::port::{Exec, ExecEnd, Input, LogPosition, Program};
use crate::probes::context::ProbeContext;
use crate::script::{RUN_FILE, bare};

/// Bytes kept of a probe's output, from its head and from its tail: a file whose content is checked, a schema
/// that is compared.
const KEEP_BYTES: usize = 512 * 1024;

/// Most bytes of a log that one probe reads. Older ones are skipped, and the result says so.
const LOG_BYTES: &str = "8388608";

/// Largest plugin that is sent, in bytes.
const PLUGIN_BYTES: u64 = 16 * 1024 * 1024;

/// The exit status of `plugin.sh` when the plugin was not sent yet.
const NOT_SENT: u32 = 120;

/// The plugin directories of distributions.
const PLUGIN_PLACES: &str = "/usr/lib/nagios/plugins:/usr/lib64/nagios/plugins:/usr/lib/monitoring-plugins:\
                             /usr/libexec/monitoring-plugins:/usr/local/libexec/nagios:/usr/local/nagios/libexec";

/// A script that queries nothing itself: probes call it with their own arguments.
const SERVICE_NAMED: &str = r#"
name=$1 state=stopped enabled=
no_such_service() { say runs no; say enabled no; say done; exit 0; }
"#;

/// Detects the init system and its services, for probes and for steps.
pub const INIT: &str = include_str!("sh/init.sh");

/// Detects the package manager and the installed packages, for both.
pub const MANAGER: &str = include_str!("sh/manager.sh");

static DNS: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/dns.sh")]));
static PORT: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/port.sh")]));
static PROCESS: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/process.sh")]));
static SERVICE: LazyLock<String> =
    LazyLock::new(|| probe_script(&[SERVICE_NAMED, INIT, include_str!("sh/service.sh")]));
static FILE: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/file.sh")]));
static LOG: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/log.sh")]));
static PACKAGE: LazyLock<String> = LazyLock::new(|| probe_script(&[MANAGER, include_str!("sh/package.sh")]));
static DISK: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/disk.sh")]));
static LOAD: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/load.sh")]));
static MEMORY: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/memory.sh")]));
static CLOCK: LazyLock<String> = LazyLock::new(|| probe_script(&[include_str!("sh/clock.sh")]));
static PLUGIN: LazyLock<String> = LazyLock::new(|| bare(&[RUN_FILE, include_str!("sh/plugin.sh")].concat()));

fn probe_script(parts: &[&str]) -> String {
    [include_str!("sh/prelude.sh")].iter().chain(parts).map(|part| bare(part)).collect()
}

/// One probe by a command on `seat`, which is the host of the check unless the check names others.
pub(super) struct CommandProbe<'a> {
    pub eyes: &'a ProbeContext<'a>,
    /// The host of the check.
    pub host: &'a Endpoint,
    pub seat: &'a Endpoint,
    pub check: &'a Check,
}

impl CommandProbe<'_> {
    pub(super) async fn observe(&self) -> Observation {
        match &self.check.probe {
            Probe::Log(log) => self.log(log).await,
            Probe::Clock { .. } => self.clock().await,
            Probe::Plugin(Plugin { command, upload: Some(path) }) => self.sent_plugin(command, path).await,
            probe @ (Probe::Run { .. }
            | Probe::Plugin(..)
            | Probe::Metric(..)
            | Probe::Http(..)
            | Probe::Tcp(..)
            | Probe::Tls(..)
            | Probe::Dns(..)
            | Probe::Port(..)
            | Probe::Process(..)
            | Probe::Service(..)
            | Probe::File(..)
            | Probe::Package(..)
            | Probe::Disk(..)
            | Probe::Load(..)
            | Probe::Memory(..)) => match script_of(probe) {
                Some(script) => self.run(&script, Input::None).await,
                None => Observation::Blind { why: "there is nothing to run for it".into() },
            },
        }
    }

    async fn run(&self, script: &str, input: Input) -> Observation {
        let request = Exec::new(Program::Script(script.into()), self.check.timeout, KEEP_BYTES);
        let request = Exec { input, cancel: self.eyes.cancel.clone(), ..request };
        let report = self.eyes.remote.exec(self.seat, request).await;
        match report.end {
            ExecEnd::Exited(code) => {
                Observation::Exited { code, stdout: report.stdout, stderr: report.stderr }
            }
            ExecEnd::Signalled(signal) => Observation::Signalled { signal },
            ExecEnd::TimedOut => Observation::TimedOut { after: self.check.timeout },
            ExecEnd::Cancelled => Observation::Blind { why: "cancelled".into() },
            ExecEnd::Foreign(why) => Observation::Blind { why },
            ExecEnd::Lost(why) | ExecEnd::NotStarted(why)
                if self.seat.here || self.eyes.cancel.is_cancelled() =>
            {
                Observation::Blind { why }
            }
            ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => Observation::NoContact { why },
        }
    }

    /// Reads a log from the position where the last probe ended.
    async fn log(&self, log: &Log) -> Observation {
        let now = self.eyes.clock.now();
        let id = self.check.id();
        let key = (self.eyes.who, &self.host.name, &id);
        let last = match self.eyes.places.place(key).await {
            Ok(last) => last,
            Err(error) => return Observation::Blind { why: error.to_string() },
        };
        let (inode, offset, trace) = match &last {
            Some(LogPosition { inode, offset, trace, .. }) => {
                (inode.as_str(), offset.to_string(), trace.as_str())
            }
            None => ("", String::new(), ""),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (appears, never) = (text(&log.appears), text(&log.never));
        let script = with(&LOG, &[&log.path, &appears, &never, inode, &offset, trace, LOG_BYTES]);
        let mut seen = self.run(&script, Input::None).await;
        let Observation::Exited { code: 0, stdout, .. } = &mut seen else { return seen };
        if let Some(last) = last {
            let since = now.duration_since(last.at).as_secs_f64().max(0.0);
            stdout.text.push_str(&format!("\nrollcall since {since:.3}\n"));
        }
        seen
    }

    /// The difference between the host's time and ours in the middle between question and answer.
    async fn clock(&self) -> Observation {
        let asked = self.eyes.clock.now();
        let seen = self.run(&with(&CLOCK, &[]), Input::None).await;
        let answered = self.eyes.clock.now();
        let Observation::Exited { code: 0, stdout, .. } = &seen else { return seen };
        let words = ScriptLines::of(&stdout.text);
        let Some(theirs) = words.number("now") else {
            return Observation::Blind { why: "date prints no time".into() };
        };
        // A date in whole seconds may be up to one second late.
        let coarse = if words.get("now").is_some_and(|now| now.contains('.')) { 0.0 } else { 0.5 };
        let (asked, answered) = (seconds(asked), seconds(answered));
        let middle = (asked + answered) / 2.0;
        Observation::Ticked {
            ahead: theirs + coarse - middle,
            give_or_take: (answered - asked).max(0.0) / 2.0 + coarse,
        }
    }

    /// A plugin of `files/`: sent unless the host has the same file already.
    async fn sent_plugin(&self, command: &str, path: &str) -> Observation {
        let content = match plugin_file(self.eyes.files, path).await {
            Ok(content) => content,
            Err(why) => return Observation::Blind { why: format!("files/{path}: {why}") },
        };
        let sum = sha256_hex(&content);
        // Its words come from a script, like the command of any other plugin.
        let (values, words) = expansion::split(command);
        let run = format!("{values}set -- {words}\nverb=run sum={sum}\n{}", *PLUGIN);
        let seen = self.run(&run, Input::None).await;
        if !matches!(&seen, Observation::Exited { code: NOT_SENT, .. }) {
            return seen;
        }
        let sent = self.run(&format!("verb=send sum={sum}\n{}", *PLUGIN), Input::Bytes(content)).await;
        match &sent {
            Observation::Exited { code: 0, .. } => self.run(&run, Input::None).await,
            Observation::Exited { stderr, .. } => {
                Observation::Blind { why: format!("files/{path} could not be sent: {}", stderr.last_line()) }
            }
            _ => sent,
        }
    }
}

/// The position where a probe of a log ended. It is stored only with a final verdict: a retried probe
/// reads the same lines again.
pub(super) fn ended_at(seen: &Observation, at: jiff::Timestamp) -> Option<LogPosition> {
    let Observation::Exited { code: 0, stdout, .. } = seen else { return None };
    let words = ScriptLines::of(&stdout.text);
    words.get("done")?;
    let (inode, rest) = words.get("place")?.split_once(' ')?;
    let (offset, trace) = rest.split_once(' ')?;
    Some(LogPosition { inode: inode.into(), offset: offset.parse().ok()?, trace: trace.into(), at })
}

fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

async fn plugin_file(files: &Path, path: &str) -> Result<Bytes, String> {
    let (files, path) = (files.to_path_buf(), PathBuf::from(path));
    let read = move || {
        let mut bytes = Vec::new();
        let mut file = beneath::open(&files, &path)?.take(PLUGIN_BYTES + 1);
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    let bytes = read.map_err(|error| reason(&error))?;
    if bytes.len() as u64 > PLUGIN_BYTES {
        return Err(format!("it has more than {PLUGIN_BYTES} bytes"));
    }
    Ok(Bytes::from(bytes))
}

fn with(text: &str, arguments: &[&str]) -> String {
    shell::with_arguments(text, arguments)
}

/// The script of a probe; `None` for probes without a command.
fn script_of(probe: &Probe) -> Option<String> {
    let word = |on: bool, word: &'static str| if on { word } else { "" };
    let some = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(match probe {
        Probe::Run { command, .. } => command.clone(),
        Probe::Metric(metric) => metric.command.clone(),
        Probe::Plugin(plugin) => format!("PATH={PLUGIN_PLACES}:$PATH\n{}", plugin.command),
        Probe::Dns(Dns { name, record, server, .. }) => with(&DNS, &[name, record, &some(server)]),
        Probe::Port(Port { port, udp, .. }) => with(&PORT, &[port, word(*udp, "udp")]),
        Probe::Process(Process { name, user, args, .. }) => with(&PROCESS, &[name, &some(user), &some(args)]),
        Probe::Service(service) => with(&SERVICE, &[&service.name]),
        Probe::File(file) => file_script(file),
        Probe::Package(package) => with(&PACKAGE, &[&package.name]),
        Probe::Disk(disk) => with(&DISK, &[&disk.path, word(disk.inodes, "inodes")]),
        Probe::Load(_) => with(&LOAD, &[]),
        Probe::Memory(_) => with(&MEMORY, &[]),
        Probe::Http(_) | Probe::Tcp(_) | Probe::Tls(_) | Probe::Log(_) | Probe::Clock { .. } => return None,
    })
}

fn file_script(file: &FileProbe) -> String {
    let sum = if file.sha256.is_some() { "sum" } else { "" };
    let read = if file.reads() { "read" } else { "" };
    with(&FILE, &[&file.path, sum, read])
}

/// True for probes that open a connection instead of running a command.
pub(super) fn is_connection(probe: &Probe) -> bool {
    matches!(probe, Probe::Http(_) | Probe::Tcp(_) | Probe::Tls(_))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod probes_tests;

#[cfg(test)]
#[path = "log_tests.rs"]
mod log_tests;
