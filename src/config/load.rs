//! The disk, the scripts in `hosts/`, and what they said last, put together.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::config::{Config, understand};
use crate::config::daemon::settings::{self, Settings};
use crate::config::daemon::sources::Machine;
use crate::config::disk::disk::{self};
use crate::config::hosts::scripted::{self, Kept, OUTPUT, Scripted, in_short};
use crate::config::text::diagnostic::{Diagnostics, Doc, Sink};
use crate::config::text::origin::Nowhere;
use crate::config::text::texts::Texts;

/// Reads the configuration directory `root`. Blocks on the disk, and on the scripts in `hosts/`: each has to
/// answer well.
pub fn load(root: &Path) -> Result<Config, Diagnostics> {
    load_with(root, None)
}

/// The same for a rollcall that stays: where a script does not answer well, what it said last is used, and
/// [`Config::scripted`] says so.
pub fn load_kept(root: &Path, now: Timestamp) -> Result<Config, Diagnostics> {
    load_with(root, Some(now))
}

/// Reads everything. With a time: what scripts said last stands in for what they do not say, and what they
/// say is kept.
fn load_with(root: &Path, now: Option<Timestamp>) -> Result<Config, Diagnostics> {
    let disk::Found { mut texts, scripts, mut wrong } = disk::read(root);
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
    // Where a file could not be read, that there are none of its kind would be an echo.
    let complete = wrong.is_empty();
    sink.extend(wrong);
    let mut config = match on_disk(root, Arc::new(texts.clone()), sink, complete) {
        Ok(config) => config,
        Err(wrong) if complete => return with_last(root, texts, all, &settings).ok_or(wrong),
        Err(wrong) => return Err(wrong),
    };
    keep_all(&config.settings, &config.texts.0, &mut all);
    config.scripted = all;
    Ok(config)
}

/// Understands files whose values may come from this machine.
fn on_disk(root: &Path, texts: Arc<Texts>, sink: Sink, complete: bool) -> Result<Config, Diagnostics> {
    understand(root, texts, sink, complete, |settings| Box::new(Machine::new(root, settings)))
}

/// What scripts say now does not go with the other files; perhaps what they said last does.
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

/// Asks scripts again whose time has come, and reads nothing else anew; `None` when there are none. What does
/// not answer well, or does not go with the other files, leaves what was in force. `wanted` is when somebody
/// came who wants to know; `clock` tells when the scripts had answered.
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

/// Puts what a script says in force, if it goes with the other files.
fn take(config: &mut Config, path: &str, text: Arc<str>) -> Result<(), String> {
    if config.texts.0.get(&output_of(path)) == Some(&text) {
        return Ok(());
    }
    let mut texts = (*config.texts.0).clone();
    texts.insert(output_of(path), text);
    let new = on_disk(&config.root, Arc::new(texts), Sink::default(), true);
    let new = new.map_err(|wrong| in_short(wrong.iter()))?;
    *config = Config { scripted: std::mem::take(&mut config.scripted), ..new };
    Ok(())
}

/// Keeps what was said just now.
fn keep_all(settings: &Settings, texts: &Texts, all: &mut [Scripted]) {
    for one in all.iter_mut().filter(|one| one.trouble.is_none()) {
        let Some(text) = texts.get(&output_of(&one.path)) else { continue };
        let kept = Kept { at: one.at, text: text.clone() };
        one.trouble = scripted::keep(&settings.store, &one.path, &kept).err();
    }
}

fn output_of(path: &str) -> String {
    format!("{path}{OUTPUT}")
}

/// What is needed before all files are understood; its mistakes are told then.
fn early_settings(root: &Path, texts: &Texts) -> Settings {
    let sink = Sink::default();
    let file = texts.get_key_value("rollcall.toml");
    file.map(|(path, text)| {
        settings::read(Doc { path, text, sink: &sink, sources: &Nowhere, quiet: true }, root)
    })
    .unwrap_or_default()
}
