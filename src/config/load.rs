//! Combines the files on disk, the scripts in `hosts/`, and their last valid output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::config::{Config, understand};
use crate::config::daemon::settings::{self, Settings};
use crate::config::daemon::sources::Machine;
use crate::config::disk::disk;
use crate::config::disk::files::FilesDir;
use crate::config::hosts::scripted::{self, KeptOutput, OUTPUT, Scripted, in_short};
use crate::config::redacted::redacted_files;
use crate::config::text::diagnostic::{Diagnostic, Diagnostics, Doc, Sink, doubtful};
use crate::config::text::origin::Nowhere;
use crate::config::text::texts::Texts;
use crate::config::version::version;
use crate::domain::base::configuration::ConfigVersion;
use crate::domain::check::probe::{Plugin, Probe};
use crate::domain::task::task::Source;

/// Reads the configuration directory `root`. Blocks on the disk, and on the scripts in `hosts/`: each of them must
/// succeed.
pub fn load(root: &Path) -> Result<Config, Diagnostics> {
    load_with(root, None)
}

/// As above, for a daemon: the last valid output replaces that of a script that fails, and
/// [`Config::scripted`] reports the failure.
pub fn load_kept(root: &Path, now: Timestamp) -> Result<Config, Diagnostics> {
    load_with(root, Some(now))
}

/// The path of the store, also if other settings are wrong.
pub fn store_of(root: &Path) -> PathBuf {
    early_settings(root, &disk::read(root).texts).store
}

/// The files on disk now, without secrets; whether they can be read as a configuration or not.
pub fn on_disk_now(root: &Path) -> (ConfigVersion, BTreeMap<String, String>) {
    let read = disk::read(root);
    (version(root, &read), redacted_files(&read.texts))
}

/// Reads everything. With a time, the last valid output replaces that of scripts that fail, and new valid
/// output is kept.
fn load_with(root: &Path, now: Option<Timestamp>) -> Result<Config, Diagnostics> {
    let read = disk::read(root);
    let version = version(root, &read);
    Ok(Config { version, ..load_read(root, read, now)? })
}

fn load_read(
    root: &Path,
    read: disk::DirectoryContent,
    now: Option<Timestamp>,
) -> Result<Config, Diagnostics> {
    let disk::DirectoryContent { mut texts, scripts, mut wrong, ignored } = read;
    let settings = early_settings(root, &texts);
    let answers = scripted::ask_all(root, &scripts, settings.inventory_timeout);
    let last = |path: &str| now.and_then(|now| Some((now, scripted::kept(&settings.store, path)?)));
    let mut all = Vec::new();
    for (path, answer) in scripts.iter().zip(answers) {
        match (answer, last(path)) {
            (Ok(text), _) => {
                texts.insert(output_of(path), text);
                all.extend(now.map(|now| Scripted::new(path, now, now, None)));
            }
            (Err(found), Some((now, kept))) => {
                texts.insert(output_of(path), kept.text);
                all.push(Scripted::new(path, kept.at, now, Some(in_short(&found))));
            }
            (Err(found), None) => wrong.extend(found),
        }
    }
    let sink = Sink::default();
    // If a file could not be read, a message that none of its kind exists would be misleading.
    let complete = wrong.is_empty();
    sink.extend(wrong);
    sink.extend(ignored);
    let mut config = match on_disk(root, Arc::new(texts.clone()), sink, complete) {
        Ok(config) => config,
        Err(wrong) if complete => return with_last(root, texts, all, &settings).ok_or(wrong),
        Err(wrong) => return Err(wrong),
    };
    keep_all(&config.settings, &config.texts.0, &mut all);
    config.scripted = all;
    config.warnings.extend(missing_files(root, &config));
    Ok(config)
}

/// The warnings about files that tasks and checks send and that do not exist. A build may put them there later.
fn missing_files(root: &Path, config: &Config) -> Vec<Diagnostic> {
    let files = FilesDir::new(root);
    let mut warnings = Vec::new();
    for task in config.tasks.values() {
        for written in task.steps.iter().chain(&task.rollback).chain(&task.handlers) {
            let missing = written.step.body.clone().sources().into_iter().find_map(|s| files.find(s).err());
            let message = missing.map(|why| format!("step `{}`: {why}", written.step.name));
            warnings.extend(message.map(|message| not_there(&format!("tasks/{}.toml", task.name), message)));
        }
    }
    for check in config.checks.values().flatten() {
        let Probe::Plugin(Plugin { upload: Some(path), .. }) = &check.probe else { continue };
        let missing = files.find(&Source::File { path: path.clone(), sha256: String::new() }).err();
        let message = missing.map(|why| format!("check `{}`: {why}", check.name));
        warnings.extend(message.map(|message| not_there(&format!("checks/{}.toml", check.set), message)));
    }
    warnings
}

fn not_there(file: &str, message: String) -> Diagnostic {
    doubtful(file, message, "it fails on every host until the file exists")
}

/// Parses files whose values may come from this machine.
fn on_disk(root: &Path, texts: Arc<Texts>, sink: Sink, complete: bool) -> Result<Config, Diagnostics> {
    understand(root, texts, sink, complete, |settings| Box::new(Machine::new(root, settings)))
}

/// Retries with the last valid output of scripts whose present output does not fit the other files.
fn with_last(root: &Path, mut texts: Texts, mut all: Vec<Scripted>, settings: &Settings) -> Option<Config> {
    let fresh = all.iter_mut().filter(|one| one.trouble.is_none());
    let mut replaced = false;
    for one in fresh {
        let Some(kept) = scripted::kept(&settings.store, &one.path) else { continue };
        let said = texts.insert(output_of(&one.path), kept.text.clone());
        if said.is_some_and(|said| said != kept.text) {
            one.at = kept.at;
            one.trouble =
                Some("what its script says now does not go with the other files; see: check-config".into());
            replaced = true;
        }
    }
    let config = replaced.then(|| on_disk(root, Arc::new(texts), Sink::default(), true).ok())??;
    Some(Config { scripted: all, ..config })
}

/// Runs due scripts again, and reads no other file again; `None` when no script is due. Output
/// that is invalid, or does not fit the other files, leaves the present groups unchanged. `wanted` is the time of
/// the request; `clock` returns the time when the scripts have ended.
pub fn refresh(config: &Config, wanted: Timestamp, clock: impl Fn() -> Timestamp) -> Option<Config> {
    let Settings { inventory_timeout, inventory_max_age, .. } = config.settings;
    let is_due = |one: &&Scripted| one.is_due(wanted, inventory_max_age);
    let paths: Vec<String> = config.scripted.iter().filter(is_due).map(|one| one.path.clone()).collect();
    if paths.is_empty() {
        return None;
    }
    let answers = scripted::ask_all(&config.root, &paths, inventory_timeout);
    let (mut new, now) = (config.clone(), clock());
    for (path, answer) in paths.iter().zip(answers) {
        let taken = answer.map_err(|found| in_short(&found)).and_then(|text| take(&mut new, path, text));
        let Some(one) = new.scripted.iter_mut().find(|one| one.path == *path) else { continue };
        one.tried = now;
        one.trouble = taken.err();
        if one.trouble.is_none() {
            one.at = now;
            keep_all(&config.settings, &new.texts.0, std::slice::from_mut(one));
        }
    }
    Some(new)
}

/// Activates the output of a script, if it fits the other files.
fn take(config: &mut Config, path: &str, text: Arc<str>) -> Result<(), String> {
    if config.texts.0.get(&output_of(path)) == Some(&text) {
        return Ok(());
    }
    let mut texts = (*config.texts.0).clone();
    texts.insert(output_of(path), text);
    let new = on_disk(&config.root, Arc::new(texts), Sink::default(), true);
    let new = new.map_err(|wrong| in_short(wrong.iter()))?;
    let version = std::mem::take(&mut config.version);
    *config = Config { scripted: std::mem::take(&mut config.scripted), version, ..new };
    Ok(())
}

/// Keeps the present valid output of scripts.
fn keep_all(settings: &Settings, texts: &Texts, all: &mut [Scripted]) {
    for one in all.iter_mut().filter(|one| one.trouble.is_none()) {
        let Some(text) = texts.get(&output_of(&one.path)) else { continue };
        let kept = KeptOutput { at: one.at, text: text.clone() };
        one.trouble = scripted::keep(&settings.store, &one.path, &kept).err();
    }
}

fn output_of(path: &str) -> String {
    format!("{path}{OUTPUT}")
}

/// The settings that are needed before all files are parsed; their mistakes are reported later.
fn early_settings(root: &Path, texts: &Texts) -> Settings {
    let sink = Sink::default();
    let file = texts.get_key_value("rollcall.toml");
    file.map(|(path, text)| {
        settings::read(Doc { path, text, sink: &sink, sources: &Nowhere, quiet: true }, root)
    })
    .unwrap_or_default()
}
