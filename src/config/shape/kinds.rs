//! What a step does: one key for each kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::checks::Http;
use super::parts::{Mode, OneOrMany, Port, Time};

/// One of these keys.
#[derive(JsonSchema)]
pub struct Kind {
    /// A script for the host's `sh`. Values of templates reach it as variables of the shell (docs/steps.md, "Values in scripts").
    run: Option<String>,
    /// A file of `files/`, given to an interpreter on the host.
    script: Option<Script>,
    /// A file, template or tree of `files/`.
    upload: Option<Upload>,
    /// A file of the host, copied to the machine of rollcall.
    download: Option<Download>,
    /// One line of a file on the host.
    line: Option<Line>,
    /// Several lines of a file on the host, between two markers.
    block: Option<Block>,
    /// A symbolic link, replaced atomically.
    link: Option<Link>,
    /// A directory with its parents.
    directory: Option<Directory>,
    /// A path that must not exist.
    delete: Option<String>,
    /// Packages of the host's distribution: apt, dnf, yum, apk, zypper.
    package: Option<Package>,
    /// A service of the host's init system: systemd, OpenRC, SysV.
    service: Option<Service>,
    /// An archive, unpacked into a directory.
    archive: Option<Archive>,
    /// Capistrano's layout: a release unpacked below `releases/`, links to `shared/`, and an atomic `current`.
    release: Option<Release>,
    /// Waits until something exists, or is gone; at most for the step's `timeout`.
    wait_for: Option<WaitFor>,
    /// `true`, or a table: restarts the host and waits until it has booted again.
    reboot: Option<Reboot>,
    /// A check of `checks/`, by its name; as `set/name` where two sets have one of that name.
    check: Option<String>,
    /// Waits this long.
    pause: Option<Time>,
    /// Waits until an operator approves; the text is the question.
    confirm: Option<String>,
    /// A script on the machine of rollcall itself; needs `allow_local` in rollcall.toml.
    local: Option<String>,
    /// Another task, step by step.
    task: Option<String>,
    /// The parameters of that task.
    with: Option<BTreeMap<String, Value>>,
}

/// A file of `files/`, given to an interpreter on the host.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Script {
    /// Below `files/`.
    from: String,
    /// Default: `sh`.
    interpreter: Option<String>,
    /// Arguments.
    args: Option<OneOrMany>,
}

/// A file, template or tree of `files/`. Content is compared first; a file becomes visible only whole.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Upload {
    /// Below `files/`; with a `/` at its end, a directory with all that is below it.
    from: String,
    to: String,
    /// The file is a template. Default: false.
    template: Option<bool>,
    /// Default: `"0644"`.
    mode: Option<Mode>,
    /// `user` or `user:group`.
    owner: Option<String>,
    /// Keeps a copy of the replaced file beside it.
    backup: Option<bool>,
    /// A script that gets the new file as `$1` before it replaces the old one; if it fails, nothing changes.
    validate: Option<String>,
}

/// A file of the host, copied to the machine of rollcall.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Download {
    from: String,
    /// Below the folder of the run and the host.
    to: String,
}

/// One line of a file on the host.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Line {
    path: String,
    /// The line.
    line: Option<String>,
    /// A regular expression that selects the lines. Default: lines equal to `line`.
    matches: Option<String>,
    /// Default: `present`.
    state: Option<LineState>,
    /// A new line is inserted behind the last line that matches this. Default: at the end.
    after: Option<String>,
    /// What comments begin with. Default: `#`.
    comment: Option<String>,
    /// Creates the file if it does not exist.
    create: Option<bool>,
    /// Keeps a copy of the replaced file beside it.
    backup: Option<bool>,
    /// A script that gets the new file as `$1` before it replaces the old one; if it fails, nothing changes.
    validate: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum LineState {
    Present,
    Absent,
    Commented,
    Uncommented,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum There {
    Present,
    Absent,
}

/// Several lines of a file on the host, between two markers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Block {
    path: String,
    /// The lines. Not needed with `state = "absent"`.
    text: Option<String>,
    /// The word in the lines around the block. Default: `rollcall`.
    marker: Option<String>,
    /// Default: `present`.
    state: Option<There>,
    /// A new block is inserted behind the last line that matches this. Default: at the end.
    after: Option<String>,
    /// What comments begin with. Default: `#`.
    comment: Option<String>,
    /// Creates the file if it does not exist.
    create: Option<bool>,
    /// Keeps a copy of the replaced file beside it.
    backup: Option<bool>,
    /// A script that gets the new file as `$1` before it replaces the old one; if it fails, nothing changes.
    validate: Option<String>,
}

/// A symbolic link, replaced atomically.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Link {
    /// What it points to.
    from: String,
    /// The link.
    at: String,
}

/// A directory with its parents.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Directory {
    path: String,
    mode: Option<Mode>,
    /// `user` or `user:group`.
    owner: Option<String>,
}

/// Packages of the host's distribution.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Package {
    name: OneOrMany,
    /// Default: `present`.
    state: Option<PackageState>,
    /// The version of a single package with `state = "present"`.
    version: Option<String>,
    /// Updates the package index first.
    refresh: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum PackageState {
    Present,
    Latest,
    Absent,
}

/// A service of the host's init system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    name: String,
    state: Option<ServiceState>,
    /// Whether it is started at boot.
    enabled: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum ServiceState {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

/// An archive, unpacked into a directory.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Archive {
    /// Below `files/`.
    from: Option<String>,
    /// Or on the host.
    path: Option<String>,
    to: String,
    /// Leading directories of the names in it that are removed. Default: 0.
    strip: Option<u32>,
}

/// Capistrano's layout.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Release {
    /// Holds `releases/`, `shared/` and `current`.
    root: String,
    /// The name of the release below `releases/`.
    name: String,
    /// The archive, below `files/`.
    from: Option<String>,
    /// Or on the host.
    path: Option<String>,
    /// Leading directories of the names in it that are removed. Default: 0.
    strip: Option<u32>,
    /// Paths below the release that are links into `shared/`.
    shared: Option<OneOrMany>,
    /// How many releases are kept; the live one and the one before it always are. Default: 5.
    keep: Option<u32>,
}

/// Waits until one of these exists, or is gone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WaitFor {
    /// A path on the host.
    path: Option<String>,
    /// A command that must succeed.
    command: Option<String>,
    /// A port, as seen from the host.
    port: Option<Port>,
    /// The address of the port. Default: `127.0.0.1`.
    address: Option<String>,
    /// An HTTP answer.
    http: Option<Http>,
    /// Default: `present`.
    state: Option<There>,
    /// Between two attempts. Default: `"1s"`.
    interval: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Reboot {
    Yes(bool),
    How(RebootHow),
}

/// How a host is restarted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RebootHow {
    /// Default: `reboot`.
    command: Option<String>,
    /// A command whose output differs at each boot. Default: `cat /proc/sys/kernel/random/boot_id`.
    boot_id: Option<String>,
}
