//! A configuration as one value: every file parsed, and the names between files resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::checks::{checks, watching};
use crate::config::daemon::roles::{self, Roles};
use crate::config::daemon::settings::Settings;
use crate::config::daemon::{freeze, notify, operators, revoked, settings};
use crate::config::disk::facts;
use crate::config::hosts::scripted::Scripted;
use crate::config::hosts::{hosts, inventory, scripted};
use crate::config::tasks::{review, tasks};
use crate::config::text::diagnostic::{Diagnostic, Diagnostics, Doc, Sink, doubtful, unreadable};
use crate::config::text::origin::{Nowhere, Sources};
use crate::config::text::templates::Known;
use crate::config::text::texts::Texts;
use crate::domain::ask::enrolled::Enrolled;
use crate::domain::base::configuration::ConfigVersion;
use crate::domain::base::name::check_name;
use crate::domain::check::check::Check;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::lease::window::Window;
use crate::domain::notify::channel::Channel;
use crate::domain::task::task::{Source, Task};

/// The content of a configuration directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The directory itself.
    pub root: PathBuf,
    pub settings: Settings,
    pub inventory: Arc<Inventory>,
    /// By name.
    pub tasks: BTreeMap<String, Task>,
    /// By name of the check set.
    pub checks: BTreeMap<String, Vec<Check>>,
    /// Custom facts: the programs in `files/facts/`, by name.
    pub facts: BTreeMap<String, Source>,
    pub operators: Enrolled,
    /// Roles beside the built-in ones.
    pub roles: Roles,
    /// The channels of notification.
    pub channels: Vec<Channel>,
    /// Times in which nothing is released.
    pub freezes: Vec<Window>,
    /// Groups from scripts in `hosts/`.
    pub scripted: Vec<Scripted>,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// The version of the files on disk.
    pub version: ConfigVersion,
    /// The files as read, so that scripts can run again without reading the other files.
    pub texts: ReadTexts,
}

/// The files as read. `Debug` does not print their content, which may contain secrets.
#[derive(Clone, Default, PartialEq)]
pub struct ReadTexts(pub Arc<Texts>);

impl std::fmt::Debug for ReadTexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Parses files that were read before: path relative to `root` -> content. A value from another source
/// is reported as a mistake here.
pub fn from_texts(root: &Path, texts: &BTreeMap<String, Arc<str>>) -> Result<Config, Diagnostics> {
    understand(root, Arc::new(texts.clone()), Sink::default(), true, |_| Box::new(Nowhere))
}

pub fn understand(
    root: &Path,
    texts: Arc<Texts>,
    sink: Sink,
    complete: bool,
    sources: impl FnOnce(&Settings) -> Box<dyn Sources>,
) -> Result<Config, Diagnostics> {
    let settings = texts.get_key_value("rollcall.toml");
    let settings =
        settings.map(|(path, text)| Doc { path, text, sink: &sink, sources: &Nowhere, quiet: false });
    let settings = settings.map(|doc| settings::read(doc, root)).unwrap_or_default();
    let sources = sources(&settings);
    let read = ReadFiles { texts: &texts, sink: &sink, sources: &*sources, complete };
    let config = Config { texts: ReadTexts(texts.clone()), ..read_all(root, settings, &read) };
    Ok(Config { warnings: sink.into_warnings()?, ..config })
}

/// The files as read, and the rest of the input.
struct ReadFiles<'t> {
    texts: &'t Texts,
    sink: &'t Sink,
    sources: &'t dyn Sources,
    /// Every file could be read.
    complete: bool,
}

impl<'t> ReadFiles<'t> {
    fn doc(&self, path: &str) -> Option<Doc<'t>> {
        let (path, text) = self.texts.get_key_value(path)?;
        Some(Doc { path, text, sink: self.sink, sources: self.sources, quiet: false })
    }
}

fn read_all(root: &Path, settings: Settings, read: &ReadFiles<'_>) -> Config {
    let sets = folder(read, "checks", "a set of checks");
    let files = host_files(read);
    let check_sets = sets.iter().map(|(name, _)| name.to_string()).collect();
    // Names that a broken file would define cannot be distinguished from undefined ones.
    let complete = read.complete && files.iter().all(|file| !file.doc.quiet);
    let inventory = inventory::resolve(&files, &settings.fleet, &check_sets, complete);
    let together = inventory.hosts.iter().map(|host| host.checks.as_slice()).collect();
    watching::check_dependencies(&sets, &together);
    let facts = facts::read(read.texts, read.sink);
    let vars = Known { facts: facts.keys().cloned().collect(), ..known_vars(&inventory, complete) };
    let tasks: Vec<tasks::TaskFile<'_>> = folder(read, "tasks", "a task")
        .into_iter()
        .map(|(name, doc)| tasks::read(doc, name, &vars))
        .collect();
    let groups = inventory.groups.keys().cloned().collect();
    let around = |name: &str| checks::SetScope {
        secrets: secrets_at(&inventory, &tasks, name),
        groups: complete.then_some(&groups),
    };
    let checks: BTreeMap<String, Vec<Check>> = sets
        .into_iter()
        .map(|(name, doc)| (name.to_string(), checks::read(doc, name, &around(name))))
        .collect();
    let check_ids: Vec<CheckId> = checks.values().flatten().map(Check::id).collect();
    tasks::check_calls(&tasks, &check_ids);
    tasks::check_local(&tasks, settings.allow_local);
    if complete {
        let fixed = !read.texts.keys().any(|path| path.ends_with(scripted::OUTPUT));
        review::review(&tasks, &inventory, &checks, fixed);
    }
    let tasks_by_name: BTreeMap<String, Task> =
        tasks.into_iter().map(|file| (file.task.name.clone(), file.task)).collect();
    let known_tasks: BTreeSet<String> = tasks_by_name.keys().cloned().collect();
    let (tasks_known, groups_known) = (complete.then_some(&known_tasks), complete.then_some(&groups));
    let zone = &settings.schedule.time_zone;
    let of_roles = roles::RoleNames { tasks: tasks_known, groups: groups_known, zone };
    let roles = read.doc("rollcall.toml").map(|doc| roles::read(doc, &of_roles)).unwrap_or_default();
    let operators = read_operators(read, operators::OperatorNames { groups: groups_known, roles: &roles });
    let names = notify::ChannelNames {
        groups: inventory.groups.keys().map(String::as_str).collect(),
        checks: &check_ids,
        tasks: known_tasks.iter().map(String::as_str).collect(),
        zone,
        complete,
    };
    let channels = read.doc("rollcall.toml").map(|doc| notify::read(doc, root, &names)).unwrap_or_default();
    let freezes = read.doc("rollcall.toml").map(|doc| freeze::read(doc, &inventory, zone, complete));
    Config {
        root: root.to_path_buf(),
        channels,
        freezes: freezes.unwrap_or_default(),
        settings,
        inventory: Arc::new(inventory),
        tasks: tasks_by_name,
        checks,
        facts,
        operators,
        roles,
        scripted: Vec::new(),
        warnings: Vec::new(),
        version: ConfigVersion::default(),
        texts: ReadTexts::default(),
    }
}

fn host_files<'t>(read: &ReadFiles<'t>) -> Vec<hosts::HostFile<'t>> {
    let files: Vec<hosts::HostFile<'_>> = folder(read, "hosts", "a group")
        .into_iter()
        .inspect(|(name, doc)| check_top_group(*doc, name))
        .map(|(name, doc)| hosts::read(doc, name))
        .collect();
    if files.is_empty() && read.complete {
        let hint = "write a first one, such as hosts/test.toml".to_string();
        read.sink.extend([unreadable("hosts", "there is no file hosts/*.toml".into(), Some(hint))]);
    }
    files
}

fn read_operators(read: &ReadFiles<'_>, names: operators::OperatorNames<'_>) -> Enrolled {
    let lines = read.doc("operators").map(|doc| operators::read(doc, names)).unwrap_or_default();
    if lines.is_empty() {
        let message = "no operator is known, so no one can log in".to_string();
        let hint =
            "write a file `operators`: role=\"admin\" and the line of your id_ed25519.pub; see keys.example";
        read.sink.extend([doubtful("operators", message, hint)]);
    }
    Enrolled { lines, revoked: read.doc("revoked").map(revoked::read).unwrap_or_default() }
}

/// The mistakes of another content of `operators`.
pub fn check_operators(config: &Config, text: &str) -> Result<(), Diagnostics> {
    let (sink, text) = (Sink::default(), Arc::from(text));
    let doc = Doc { path: "operators", text: &text, sink: &sink, sources: &Nowhere, quiet: false };
    let groups = config.inventory.groups.keys().cloned().collect();
    operators::read(doc, operators::OperatorNames { groups: Some(&groups), roles: &config.roles });
    sink.into_warnings().map(drop)
}

/// The names that hosts define.
fn known_vars(inventory: &Inventory, complete: bool) -> Known {
    let plain = inventory.hosts.iter().flat_map(|host| host.vars.keys());
    let secrets: BTreeSet<String> =
        inventory.hosts.iter().flat_map(|host| host.secrets.keys()).cloned().collect();
    Known { names: plain.chain(&secrets).cloned().collect(), secrets, facts: BTreeSet::new(), complete }
}

/// The secret names that checks of a set must not use: those of their hosts, and of the tasks.
fn secrets_at(inventory: &Inventory, tasks: &[tasks::TaskFile<'_>], set: &str) -> BTreeSet<String> {
    let hosts = || inventory.hosts.iter().filter(|host| host.checks.iter().any(|named| named == set));
    let of_hosts = hosts().flat_map(|host| host.secrets.keys());
    let params = tasks.iter().flat_map(|file| &file.task.params);
    let of_tasks = tasks.iter().flat_map(|file| file.task.secrets.keys());
    let of_tasks = of_tasks.chain(params.filter(|(_, param)| param.secret).map(|(name, _)| name));
    let plain = |name: &&String| hosts().any(|host| host.vars.contains_key(*name));
    of_hosts.chain(of_tasks.filter(|name| !plain(name))).cloned().collect()
}

/// The files `FOLDER/NAME.toml` by name. A file whose name cannot name `what` is reported.
fn folder<'t>(read: &ReadFiles<'t>, folder: &str, what: &str) -> Vec<(&'t str, Doc<'t>)> {
    let mut docs = Vec::new();
    for path in read.texts.keys() {
        let inside = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = inside.and_then(name_of) else { continue };
        let Some(doc) = read.doc(path) else { continue };
        if let Err(why) = check_name(name) {
            doc.report(None, format!("`{name}` cannot name {what}: {why}"), "rename the file".to_string());
        } else if name.contains('.') {
            let message = format!("`{name}` cannot name {what}: a dot separates file and group");
            doc.report(None, message, "rename the file".to_string());
        } else if let Some((_, other)) = docs.iter().find(|(other, _)| *other == name) {
            let other: &Doc<'_> = other;
            doc.report(
                None,
                format!("{} is {what} `{name}` already", other.path),
                "rename one of them".to_string(),
            );
        }
        docs.push((name, doc));
    }
    docs
}

/// The name of a file without its extension; `None` for other files. The output of a script counts as a file, too.
fn name_of(file: &str) -> Option<&str> {
    file.strip_suffix(".toml").or_else(|| file.strip_suffix(scripted::OUTPUT).map(scripted::group_of))
}

/// `all` selects everything, so no file can have that name.
fn check_top_group(doc: Doc<'_>, name: &str) {
    if name == "all" {
        let message = "`all` selects every host of every file, so no group can have that name";
        doc.report(None, message, "rename the file".to_string());
    }
}
