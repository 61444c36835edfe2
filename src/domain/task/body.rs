//! The bodies of steps: their kinds, and the template texts of each.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::check::check::Check;
use crate::domain::check::probe::Probe;
use crate::domain::value::param::shown_url;

/// The body of a step. A kind with an expected state inspects the host first, changes only what differs, and
/// reports truthfully whether it changed something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepBody {
    /// A script for the host's `sh`.
    Run { script: String },
    /// A file from `files/` that an interpreter on the host runs.
    Script { source: Source, interpreter: String, args: Vec<String> },
    /// A file or a tree from `files/`; files are replaced atomically, and only when their content differs.
    Upload(Upload),
    /// A file of the host, copied to the daemon's machine; `once`: it is printed and then deleted, and no directory.
    Download {
        from: String,
        to: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        once: bool,
    },
    /// One line of a file on the host.
    Line(Line),
    /// Several lines of a file on the host, between two markers.
    Block(Block),
    /// A symbolic link, replaced atomically.
    Link { from: String, at: String },
    /// A directory with its parents.
    Directory { path: String, mode: Option<u32>, owner: Option<String> },
    /// A file, link or directory that must not exist.
    Delete { path: String },
    /// Packages of the host's distribution.
    Package { names: Vec<String>, state: PackageState, version: Option<String>, refresh: bool },
    /// A service of the host's init system.
    Service { name: String, state: Option<ServiceState>, enabled: Option<bool> },
    /// An archive from `files/` or on the host, unpacked into a directory.
    Archive { source: Source, to: String, strip: u32 },
    /// Capistrano's layout: a release unpacked below `releases/`, and `current` pointing to it.
    Release(ReleaseLayout),
    /// Waits until something exists, or is gone.
    WaitFor { what: Awaited, gone: bool, interval: Duration },
    /// Restarts the host and waits until it has booted again.
    Reboot { command: String, boot_id: String },
    /// A check of `checks/`, by its name; planning inserts the check itself.
    Check { name: String, check: Option<Box<Check>> },
    /// Waits.
    Pause { time: Duration },
    /// Waits until an operator has approved.
    Confirm { text: String },
    /// Gathers facts; the output is the host's facts as JSON. `custom` are programs below `files/`
    /// that run on the host, by the name of the fact.
    Facts { custom: BTreeMap<String, Source> },
    /// Another task, with its parameters. Plans hold its steps instead.
    Task { name: String, with: Vec<(String, Value)> },
}

/// See [`StepBody::Upload`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub source: Source,
    pub to: String,
    /// The mode of the file, or of each file of a tree.
    pub mode: u32,
    /// A file that is there keeps its mode, and `mode` is that of a new one. Not for trees.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_mode: bool,
    /// As chown reads it: `user` or `user:group`.
    #[serde(default)]
    pub owner: Option<String>,
    /// Keeps the replaced file beside the new one.
    #[serde(default)]
    pub backup: bool,
    /// A script that gets the temporary file as `$1` before that replaces the file.
    #[serde(default)]
    pub validate: Option<String>,
}

/// The source of content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file below `files/`, sent unchanged. `sha256` is empty until planning fills it.
    File { path: String, sha256: String },
    /// A file below `files/` that is a template.
    Template { path: String },
    /// A template whose text planning has read, and that is rendered when its step is due.
    Draft { path: String, text: String },
    /// A rendered template: only in plans.
    Text(String),
    /// A directory below `files/`. `files` is empty until planning fills it.
    Tree { path: String, files: Vec<TreeFile> },
    /// A file at an address: only in files. Once the task is read, it is an artifact parameter of the task.
    Fetched { url: String, sha256: String },
    /// A file that was given to the command, kept by its content: only in plans.
    Artifact { sha256: String },
    /// A file that already exists on the host.
    Remote { path: String },
}

/// The short name of an artifact: as many digits as tell any two apart.
pub fn artifact_name(sha256: &str) -> String {
    format!("artifact sha256:{}", sha256.get(..12).unwrap_or(sha256))
}

/// One file of a tree, or a directory without files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeFile {
    /// Below the tree, with `/` between its parts.
    pub path: String,
    /// Empty for a directory without files.
    pub sha256: String,
    /// Its owner may execute it, also on the host.
    pub executable: bool,
}

impl TreeFile {
    /// A directory without files.
    pub fn directory(path: &str) -> TreeFile {
        TreeFile { path: path.into(), sha256: String::new(), executable: true }
    }

    /// True for a directory without files.
    pub fn is_directory(&self) -> bool {
        self.sha256.is_empty()
    }
}

/// See [`StepBody::Line`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub path: String,
    /// The expected line. Not needed to remove or (un)comment lines by a pattern.
    pub line: Option<String>,
    /// The pattern of the lines to edit; without it, the lines equal to `line`.
    pub matches: Option<String>,
    pub state: LineState,
    /// A new line is inserted behind the last line that matches this; without it, at the end.
    pub after: Option<String>,
    /// The sign that starts a comment.
    pub comment: String,
    /// A missing file may be created.
    pub create: bool,
    pub backup: bool,
    pub validate: Option<String>,
}

/// See [`StepBody::Block`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub path: String,
    pub text: String,
    /// Part of the two lines around the block, which identify it: `# BEGIN marker`.
    pub marker: String,
    pub present: bool,
    pub after: Option<String>,
    pub comment: String,
    pub create: bool,
    pub backup: bool,
    pub validate: Option<String>,
}

/// The expected state of a line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineState {
    Present,
    Absent,
    Commented,
    Uncommented,
}

/// The expected state of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    Present,
    Latest,
    Absent,
}

/// The expected state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    Started,
    Stopped,
    /// Restarted in every run.
    Restarted,
    /// Reloaded in every run; started if it does not run.
    Reloaded,
}

/// See [`StepBody::Release`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseLayout {
    /// Holds `releases/`, `shared/` and `current`.
    pub root: String,
    /// The name of the release below `releases/`.
    pub name: String,
    /// An archive that is unpacked into it.
    pub source: Source,
    pub strip: u32,
    /// Paths below the release that are links into `shared/`.
    pub shared: Vec<String>,
    /// How many releases are kept; the live one and the one before it are always kept.
    pub keep: u32,
}

/// The condition of [`StepBody::WaitFor`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    Path(String),
    /// A script that must succeed.
    Command(String),
    /// A port or an HTTP answer.
    Probe(Box<Probe>),
}

/// A text of a step that is a template.
pub struct Field<'a> {
    /// The key as the operator writes it.
    pub key: &'static str,
    pub text: &'a mut String,
    /// A shell reads it: its values become variables of the shell.
    pub is_script: bool,
}

/// A text that no shell reads.
pub(super) fn plain<'a>(key: &'static str, text: &'a mut String) -> Field<'a> {
    Field { key, text, is_script: false }
}

/// A text that a shell reads.
pub(super) fn script<'a>(key: &'static str, text: &'a mut String) -> Field<'a> {
    Field { key, text, is_script: true }
}

impl PackageState {
    /// The word in TOML.
    pub fn word(self) -> &'static str {
        match self {
            PackageState::Present => "present",
            PackageState::Latest => "latest",
            PackageState::Absent => "absent",
        }
    }
}

impl ServiceState {
    /// The word in TOML.
    pub fn word(self) -> &'static str {
        match self {
            ServiceState::Started => "started",
            ServiceState::Stopped => "stopped",
            ServiceState::Restarted => "restarted",
            ServiceState::Reloaded => "reloaded",
        }
    }
}

impl StepBody {
    /// The TOML key of a step of this kind.
    pub fn word(&self) -> &'static str {
        match self {
            StepBody::Run { .. } => "run",
            StepBody::Script { .. } => "script",
            StepBody::Upload(_) => "upload",
            StepBody::Download { .. } => "download",
            StepBody::Line(_) => "line",
            StepBody::Block(_) => "block",
            StepBody::Link { .. } => "link",
            StepBody::Directory { .. } => "directory",
            StepBody::Delete { .. } => "delete",
            StepBody::Package { .. } => "package",
            StepBody::Service { .. } => "service",
            StepBody::Archive { .. } => "archive",
            StepBody::Release(_) => "release",
            StepBody::WaitFor { .. } => "wait_for",
            StepBody::Reboot { .. } => "reboot",
            StepBody::Check { .. } => "check",
            StepBody::Pause { .. } => "pause",
            StepBody::Confirm { .. } => "confirm",
            StepBody::Facts { .. } => "facts",
            StepBody::Task { .. } => "task",
        }
    }

    /// The link that the step replaces: its target, and its path. It identifies a host's present
    /// release.
    pub fn link(&self) -> Option<(String, String)> {
        match self {
            StepBody::Link { from, at } => Some((from.clone(), at.clone())),
            StepBody::Release(layout) => {
                Some((format!("releases/{}", layout.name), format!("{}/current", layout.root)))
            }
            StepBody::Run { .. }
            | StepBody::Script { .. }
            | StepBody::Upload(_)
            | StepBody::Download { .. }
            | StepBody::Line(_)
            | StepBody::Block(_)
            | StepBody::Directory { .. }
            | StepBody::Delete { .. }
            | StepBody::Package { .. }
            | StepBody::Service { .. }
            | StepBody::Archive { .. }
            | StepBody::WaitFor { .. }
            | StepBody::Reboot { .. }
            | StepBody::Check { .. }
            | StepBody::Pause { .. }
            | StepBody::Confirm { .. }
            | StepBody::Facts { .. }
            | StepBody::Task { .. } => None,
        }
    }

    /// The SHA-256 of the artifact that an ad-hoc command sends by this step.
    pub fn artifact(&self) -> Option<&str> {
        let (StepBody::Script { source, .. } | StepBody::Upload(Upload { source, .. })) = self else {
            return None;
        };
        let Source::Artifact { sha256 } = source else { return None };
        Some(sha256)
    }

    /// Every template text of the step, except sources.
    pub fn fields(&mut self) -> Vec<Field<'_>> {
        match self {
            StepBody::Run { script: text } => vec![script("run", text)],
            StepBody::Script { interpreter, args, .. } => {
                let args = args.iter_mut().map(|arg| plain("args", arg));
                [plain("interpreter", interpreter)].into_iter().chain(args).collect()
            }
            StepBody::Upload(upload) => upload.fields(),
            StepBody::Download { from, to, .. } => vec![plain("from", from), plain("to", to)],
            StepBody::Line(line) => line.fields(),
            StepBody::Block(block) => block.fields(),
            StepBody::Link { from, at } => vec![plain("link", from), plain("link", at)],
            StepBody::Directory { path, owner, .. } => {
                [plain("path", path)].into_iter().chain(owner.iter_mut().map(|o| plain("owner", o))).collect()
            }
            StepBody::Delete { path } => vec![plain("path", path)],
            StepBody::Package { names, version, .. } => {
                let names = names.iter_mut().map(|name| plain("name", name));
                names.chain(version.iter_mut().map(|version| plain("version", version))).collect()
            }
            StepBody::Service { name, .. } => vec![plain("name", name)],
            StepBody::Archive { to, .. } => vec![plain("to", to)],
            StepBody::Release(layout) => {
                let shared = layout.shared.iter_mut().map(|path| plain("shared", path));
                [plain("root", &mut layout.root), plain("name", &mut layout.name)]
                    .into_iter()
                    .chain(shared)
                    .collect()
            }
            StepBody::WaitFor { what, .. } => what.fields(),
            StepBody::Reboot { command, boot_id } => {
                vec![script("command", command), script("boot_id", boot_id)]
            }
            StepBody::Confirm { text } => vec![plain("confirm", text)],
            StepBody::Check { name, .. } => vec![plain("check", name)],
            StepBody::Task { .. } | StepBody::Facts { .. } | StepBody::Pause { .. } => vec![],
        }
    }

    /// The source of its content, if it has any.
    pub fn sources(&mut self) -> Vec<&mut Source> {
        match self {
            StepBody::Upload(upload) => vec![&mut upload.source],
            StepBody::Script { source, .. } | StepBody::Archive { source, .. } => vec![source],
            StepBody::Release(layout) => vec![&mut layout.source],
            StepBody::Facts { custom } => custom.values_mut().collect(),
            StepBody::Run { .. }
            | StepBody::Download { .. }
            | StepBody::Line(_)
            | StepBody::Block(_)
            | StepBody::Link { .. }
            | StepBody::Directory { .. }
            | StepBody::Delete { .. }
            | StepBody::Package { .. }
            | StepBody::Service { .. }
            | StepBody::WaitFor { .. }
            | StepBody::Reboot { .. }
            | StepBody::Check { .. }
            | StepBody::Pause { .. }
            | StepBody::Confirm { .. }
            | StepBody::Task { .. } => vec![],
        }
    }
}

impl Upload {
    /// A file with this mode.
    pub fn new(source: Source, to: impl Into<String>, mode: u32) -> Upload {
        Upload { source, to: to.into(), mode, keep_mode: false, owner: None, backup: false, validate: None }
    }

    fn fields(&mut self) -> Vec<Field<'_>> {
        let owner = self.owner.iter_mut().map(|owner| plain("owner", owner));
        let validate = self.validate.iter_mut().map(|command| script("validate", command));
        [plain("to", &mut self.to)].into_iter().chain(owner).chain(validate).collect()
    }
}

impl Line {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let line = self.line.iter_mut().map(|line| plain("line", line));
        let matches = self.matches.iter_mut().map(|pattern| plain("matches", pattern));
        let after = self.after.iter_mut().map(|pattern| plain("after", pattern));
        let validate = self.validate.iter_mut().map(|command| script("validate", command));
        let path = plain("path", &mut self.path);
        [path].into_iter().chain(line).chain(matches).chain(after).chain(validate).collect()
    }
}

impl Block {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let after = self.after.iter_mut().map(|pattern| plain("after", pattern));
        let validate = self.validate.iter_mut().map(|command| script("validate", command));
        let own =
            [plain("path", &mut self.path), plain("text", &mut self.text), plain("marker", &mut self.marker)];
        own.into_iter().chain(after).chain(validate).collect()
    }
}

impl Awaited {
    fn fields(&mut self) -> Vec<Field<'_>> {
        match self {
            Awaited::Path(path) => vec![plain("path", path)],
            Awaited::Command(command) => vec![script("command", command)],
            Awaited::Probe(probe) => match probe.as_mut() {
                Probe::Http(http) => {
                    let own = [
                        plain("address", &mut http.address),
                        plain("port", &mut http.port),
                        plain("path", &mut http.path),
                    ];
                    own.into_iter().chain(http.host.iter_mut().map(|host| plain("host", host))).collect()
                }
                Probe::Tcp(tcp) => vec![plain("address", &mut tcp.address), plain("port", &mut tcp.port)],
                // `wait_for` accepts no other probes.
                Probe::Run { .. }
                | Probe::Plugin(_)
                | Probe::Metric(_)
                | Probe::Tls(_)
                | Probe::Dns(_)
                | Probe::Port(_)
                | Probe::Process(_)
                | Probe::Service(_)
                | Probe::File(_)
                | Probe::Log(_)
                | Probe::Package(_)
                | Probe::Disk(_)
                | Probe::Load(_)
                | Probe::Memory(_)
                | Probe::Clock { .. } => vec![],
            },
        }
    }
}

impl Source {
    /// The path below `files/`, or on the host; the SHA-256 of an artifact; empty for rendered text.
    pub fn path(&self) -> &str {
        match self {
            Source::File { path, .. }
            | Source::Template { path }
            | Source::Draft { path, .. }
            | Source::Tree { path, .. }
            | Source::Remote { path } => path,
            Source::Artifact { sha256 } => sha256,
            Source::Fetched { url, .. } => url,
            Source::Text(_) => "",
        }
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Source::Artifact { sha256 } => artifact_name(sha256),
            Source::Fetched { url, .. } => shown_url(url),
            Source::Remote { path } => path.clone(),
            Source::File { .. }
            | Source::Template { .. }
            | Source::Draft { .. }
            | Source::Text(_)
            | Source::Tree { .. } => format!("files/{}", self.path()),
        }
    }
}
