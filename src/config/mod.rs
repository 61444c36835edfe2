//! The configuration directory -> domain values. All mistakes of all files are told at once, each
//! with file, line, caret and the nearest known name; a configuration that holds one is not used.
//!
//! Knows the domain only. Reading the disk (`disk.rs`, `files.rs`) is kept apart from understanding
//! what was read, so that [`from_texts`] is a pure function.

mod balancer;
mod checks;
mod diagnostic;
mod disk;
mod drivers;
mod facts;
mod files;
mod hosts;
mod inventory;
mod listing;
mod load;
mod operators;
mod reader;
mod script;
mod scripted;
mod settings;
mod steps;
mod tasks;
mod templates;
mod tree;
mod via;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use files::{FilesDir, TEXT_LIMIT_BYTES};
pub use load::refresh;
pub use scripted::Scripted;
pub use settings::{FleetSettings, Settings};

use jiff::Timestamp;

use crate::domain::access::Operator;
use crate::domain::check::Check;
use crate::domain::inventory::Inventory;
use crate::domain::name::check_name;
use crate::domain::task::{Source, Task};
use diagnostic::{Doc, Sink, unreadable};
use templates::Known;

/// Everything that a configuration directory says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The directory itself.
    pub root: PathBuf,
    pub settings: Settings,
    pub inventory: Inventory,
    /// By name.
    pub tasks: BTreeMap<String, Task>,
    /// By name of the set.
    pub checks: BTreeMap<String, Vec<Check>>,
    /// Custom facts: the programs in `files/facts/`, by name.
    pub facts: BTreeMap<String, Source>,
    pub operators: Vec<Operator>,
    /// Groups that scripts in `hosts/` say.
    pub scripted: Vec<Scripted>,
    /// What was read: scripts are asked again without reading anything else anew.
    texts: Arc<disk::Texts>,
}

/// Reads the configuration directory `root`. Blocks on the disk, and on the scripts in `hosts/`: each has to
/// answer well.
pub fn load(root: &Path) -> Result<Config, Diagnostics> {
    load::load(root, None)
}

/// The same for a rollcall that stays: where a script does not answer well, what it said last is used, and
/// [`Config::scripted`] says so.
pub fn load_kept(root: &Path, now: Timestamp) -> Result<Config, Diagnostics> {
    load::load(root, Some(now))
}

/// Understands files that were read before: path relative to `root` -> content.
pub fn from_texts(root: &Path, texts: &BTreeMap<String, Arc<str>>) -> Result<Config, Diagnostics> {
    understand(root, Arc::new(texts.clone()), Sink::default(), true)
}

fn understand(
    root: &Path,
    texts: Arc<disk::Texts>,
    sink: Sink,
    complete: bool,
) -> Result<Config, Diagnostics> {
    let config = Config { texts: texts.clone(), ..read_all(root, &texts, &sink, complete) };
    match sink.into_diagnostics() {
        None => Ok(config),
        Some(diagnostics) => Err(diagnostics),
    }
}

fn read_all(root: &Path, texts: &disk::Texts, sink: &Sink, complete: bool) -> Config {
    let doc = |path: &'_ str| {
        let (path, text) = texts.get_key_value(path)?;
        Some(Doc { path, text, sink, quiet: false })
    };
    let settings = doc("rollcall.toml").map(|doc| settings::read(doc, root)).unwrap_or_default();
    let checks: BTreeMap<String, Vec<Check>> = folder(texts, sink, "checks", "a set of checks")
        .into_iter()
        .map(|(name, doc)| (name.to_string(), checks::read(doc)))
        .collect();
    let files: Vec<hosts::HostFile<'_>> = folder(texts, sink, "hosts", "a group")
        .into_iter()
        .inspect(|(name, doc)| check_top_group(*doc, name))
        .map(|(name, doc)| hosts::read(doc, name))
        .collect();
    if files.is_empty() && complete {
        let hint = "write a first one, such as hosts/test.toml".to_string();
        sink.extend([unreadable("hosts", "there is no file hosts/*.toml".into(), Some(hint))]);
    }
    let check_sets = checks.keys().cloned().collect();
    // What a file that is broken would have defined cannot be told from what nothing defines.
    let complete = complete && files.iter().all(|file| !file.doc.quiet);
    let inventory = inventory::resolve(&files, &settings.fleet, &check_sets, complete);
    let names: BTreeSet<String> = inventory.hosts.iter().flat_map(|host| host.vars.keys()).cloned().collect();
    let facts = facts::read(texts, sink);
    let vars = Known { names, facts: facts.keys().cloned().collect(), complete };
    let tasks = folder(texts, sink, "tasks", "a task")
        .into_iter()
        .map(|(name, doc)| (name.to_string(), tasks::read(doc, name, &vars)))
        .collect();
    let groups = inventory.groups.keys().cloned().collect();
    let operators =
        doc("operators").map(|doc| operators::read(doc, complete.then_some(&groups))).unwrap_or_default();
    Config {
        root: root.to_path_buf(),
        settings,
        inventory,
        tasks,
        checks,
        facts,
        operators,
        scripted: Vec::new(),
        texts: Arc::default(),
    }
}

/// The files `FOLDER/NAME.toml` by name. A file whose name cannot name `what` is reported.
fn folder<'t>(texts: &'t disk::Texts, sink: &'t Sink, folder: &str, what: &str) -> Vec<(&'t str, Doc<'t>)> {
    let mut docs = Vec::new();
    for (path, text) in texts {
        let inside = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = inside.and_then(name_of) else { continue };
        let doc = Doc { path, text, sink, quiet: false };
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

/// What a file is named after; `None` for what is no file of this kind. What a script printed is a file, too.
fn name_of(file: &str) -> Option<&str> {
    file.strip_suffix(".toml").or_else(|| file.strip_suffix(scripted::OUTPUT).map(scripted::group_of))
}

/// `all` selects everything, so no file can be called so.
fn check_top_group(doc: Doc<'_>, name: &str) {
    if name == "all" {
        let message = "`all` selects every host of every file, so no group can have that name";
        doc.report(None, message, "rename the file".to_string());
    }
}
