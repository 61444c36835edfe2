//! What a step does: its kinds, and the texts of each that are templates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::check::check::Check;
use crate::domain::check::probe::Probe;

/// What a step does. Where a kind has a state to reach it looks first, changes only what differs, and says
/// truthfully whether it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepBody {
    /// A script for the host's `sh`.
    Run { script: String },
    /// A file of ours, given to an interpreter on the host.
    Script { source: Source, interpreter: String, args: Vec<String> },
    /// A file or a tree of ours; files are replaced atomically, and only when their content differs.
    Upload(Upload),
    /// A file of the host, kept where rollcall runs.
    Download { from: String, to: String },
    /// One line of a file on the host.
    Line(Line),
    /// Several lines of a file on the host, between two markers.
    Block(Block),
    /// A symbolic link, replaced atomically.
    Link { from: String, at: String },
    /// A directory with its parents.
    Directory { path: String, mode: Option<u32>, owner: Option<String> },
    /// A file, link or directory that is not to be there.
    Delete { path: String },
    /// Packages of the host's distribution.
    Package { names: Vec<String>, state: PackageState, version: Option<String>, refresh: bool },
    /// A service of the host's init system.
    Service { name: String, state: Option<ServiceState>, enabled: Option<bool> },
    /// An archive of ours or of the host, unpacked into a directory.
    Archive { source: Source, to: String, strip: u32 },
    /// Capistrano's layout: a release unpacked below `releases/`, and `current` pointing to it.
    Release(ReleaseLayout),
    /// Waits until something is there, or gone.
    WaitFor { what: Awaited, gone: bool, interval: Duration },
    /// Restarts the host and waits for another boot of it.
    Reboot { command: String, boot_id: String },
    /// A check of `checks/`, by its name; the plan puts it in.
    Check { name: String, check: Option<Box<Check>> },
    /// Waits.
    Pause { time: Duration },
    /// Waits until an operator has approved.
    Confirm { text: String },
    /// A look at the host; what it prints is the host's facts as JSON. `custom` are programs below `files/`
    /// that run there, by the name of the fact.
    Facts { custom: BTreeMap<String, Source> },
    /// Another task, with its parameters. Plans hold its steps instead.
    Task { name: String, with: Vec<(String, Value)> },
}

/// See [`StepBody::Upload`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub source: Source,
    pub to: String,
    /// Of a tree: of each of its files.
    pub mode: u32,
    /// As chown reads it: `user` or `user:group`.
    #[serde(default)]
    pub owner: Option<String>,
    /// Keeps the file that is replaced beside it.
    #[serde(default)]
    pub backup: bool,
    /// A script that is given the temporary file as `$1` before it takes the file's place.
    #[serde(default)]
    pub validate: Option<String>,
}

/// Where content comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file below `files/`, sent as it is. `sha256` is empty until the plan has looked.
    File { path: String, sha256: String },
    /// A file below `files/` that is a template.
    Template { path: String },
    /// A template whose text the plan has read, and that is rendered when its step is due.
    Draft { path: String, text: String },
    /// A rendered template: only in plans.
    Text(String),
    /// A directory below `files/`. `files` is empty until the plan has looked.
    Tree { path: String, files: Vec<TreeFile> },
    /// A file that is on the host already.
    Remote { path: String },
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeFile {
    /// Below the tree, with `/` between its parts.
    pub path: String,
    pub sha256: String,
    /// Its owner may execute it; it is so on the host, too.
    pub executable: bool,
}

/// See [`StepBody::Line`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub path: String,
    /// The line as it is to be. Not needed for what is only removed or (un)commented by a pattern.
    pub line: Option<String>,
    /// Which lines are meant: those that match this pattern; else those that are `line`.
    pub matches: Option<String>,
    pub state: LineState,
    /// Where a new line goes: behind the last line that matches this; else to the end.
    pub after: Option<String>,
    /// What comments begin with.
    pub comment: String,
    /// The file may be made where there is none.
    pub create: bool,
    pub backup: bool,
    pub validate: Option<String>,
}

/// See [`StepBody::Block`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub path: String,
    pub text: String,
    /// Stands in the two lines around the block, which tell it from the rest: `# BEGIN marker`.
    pub marker: String,
    pub present: bool,
    pub after: Option<String>,
    pub comment: String,
    pub create: bool,
    pub backup: bool,
    pub validate: Option<String>,
}

/// How a line of a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineState {
    Present,
    Absent,
    Commented,
    Uncommented,
}

/// How a package is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    Present,
    Latest,
    Absent,
}

/// How a service is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    Started,
    Stopped,
    /// In every run anew.
    Restarted,
    /// In every run anew; started where it does not run.
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
    /// How many releases are kept; the live one and the one before it always are.
    pub keep: u32,
}

/// What [`StepBody::WaitFor`] waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    Path(String),
    /// A script that has to succeed.
    Command(String),
    /// A port or an HTTP answer.
    Probe(Box<Probe>),
}

/// A text of a step that is a template.
pub struct Field<'a> {
    /// As the operator writes it.
    pub key: &'static str,
    pub text: &'a mut String,
    /// Values in it are quoted for the shell.
    pub is_script: bool,
}

/// A text in which values stand as they are.
pub(super) fn plain<'a>(key: &'static str, text: &'a mut String) -> Field<'a> {
    Field { key, text, is_script: false }
}

/// A text that a shell reads.
pub(super) fn script<'a>(key: &'static str, text: &'a mut String) -> Field<'a> {
    Field { key, text, is_script: true }
}

impl PackageState {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            PackageState::Present => "present",
            PackageState::Latest => "latest",
            PackageState::Absent => "absent",
        }
    }
}

impl ServiceState {
    /// As it is written.
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
    /// The word that a step of this kind is written with.
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

    /// The link that the step replaces: what it points to, and where it is. By it a host's present release
    /// is known.
    pub fn link(&self) -> Option<(String, String)> {
        match self {
            StepBody::Link { from, at } => Some((from.clone(), at.clone())),
            StepBody::Release(layout) => {
                Some((format!("releases/{}", layout.name), format!("{}/current", layout.root)))
            }
            _ => None,
        }
    }

    /// Every text of it that is a template, sources aside.
    pub fn fields(&mut self) -> Vec<Field<'_>> {
        match self {
            StepBody::Run { script: text } => vec![script("run", text)],
            StepBody::Script { interpreter, args, .. } => {
                let args = args.iter_mut().map(|arg| plain("args", arg));
                [plain("interpreter", interpreter)].into_iter().chain(args).collect()
            }
            StepBody::Upload(upload) => upload.fields(),
            StepBody::Download { from, to } => vec![plain("from", from), plain("to", to)],
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

    /// Where its content comes from, if it has any.
    pub fn sources(&mut self) -> Vec<&mut Source> {
        match self {
            StepBody::Upload(upload) => vec![&mut upload.source],
            StepBody::Script { source, .. } | StepBody::Archive { source, .. } => vec![source],
            StepBody::Release(layout) => vec![&mut layout.source],
            StepBody::Facts { custom } => custom.values_mut().collect(),
            _ => vec![],
        }
    }
}

impl Upload {
    /// A file with this mode.
    pub fn new(source: Source, to: impl Into<String>, mode: u32) -> Upload {
        Upload { source, to: to.into(), mode, owner: None, backup: false, validate: None }
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
                // `wait_for` reads no others.
                _ => vec![],
            },
        }
    }
}

impl Source {
    /// The path below `files/`, or on the host; empty for what is rendered.
    pub fn path(&self) -> &str {
        match self {
            Source::File { path, .. }
            | Source::Template { path }
            | Source::Draft { path, .. }
            | Source::Tree { path, .. }
            | Source::Remote { path } => path,
            Source::Text(_) => "",
        }
    }
}
