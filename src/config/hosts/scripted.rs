//! Scripts in `hosts/`: groups that a program prints. The last valid output of a script is kept beside the
//! store, so that neither a restart nor a failing script loses it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{hosts, listing, script, tree};
use crate::config::text::diagnostic::{Diagnostic, Doc, Sink, unreadable};
use crate::config::text::origin::Nowhere;

/// The name of a script's output in messages: `hosts/cloud.py --list`.
pub const OUTPUT: &str = " --list";

/// Most scripts: they run at the same time.
pub const SCRIPTS_LIMIT: usize = 16;

/// A group that a script prints.
#[derive(Clone, Debug, PartialEq)]
pub struct Scripted {
    pub group: String,
    /// Below the configuration directory: `hosts/cloud.py`.
    pub path: String,
    /// When it printed the present output.
    pub at: Timestamp,
    /// When its last run ended.
    pub tried: Timestamp,
    /// The failure since then, if any.
    pub trouble: Option<String>,
}

impl Scripted {
    pub fn new(path: &str, at: Timestamp, tried: Timestamp, trouble: Option<String>) -> Scripted {
        Scripted { group: group_of(path).into(), path: path.into(), at, tried, trouble }
    }

    /// True when its last run ended too long before `now`; a script that ran after that does not run again.
    pub fn is_due(&self, now: Timestamp, max_age: Duration) -> bool {
        Duration::try_from(now.duration_since(self.tried)).is_ok_and(|age| age >= max_age)
    }
}

/// The group of a script: `cloud` for `hosts/cloud.py`.
pub fn group_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(group, _)| group)
}

/// Runs scripts at the same time; returns the output of each as TOML, or its mistakes. Blocks for up to `limit`.
pub fn ask_all(root: &Path, paths: &[String], limit: Duration) -> Vec<Result<Arc<str>, Vec<Diagnostic>>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = paths.iter().map(|path| scope.spawn(move || ask(root, path, limit))).collect();
        let lost = || vec![unreadable("hosts", "a script could not be asked".into(), None)];
        asked.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(lost()))).collect()
    })
}

fn ask(root: &Path, path: &str, limit: Duration) -> Result<Arc<str>, Vec<Diagnostic>> {
    let said = script::list(root, path, limit).and_then(|said| listing::to_toml(&said));
    let text: Arc<str> = said
        .map_err(|why| {
            let hint = format!("run it as rollcall's user, in the configuration directory: ./{path} --list");
            vec![unreadable(path, format!("its script failed: {why}"), Some(hint))]
        })?
        .into();
    match mistakes(path, &text) {
        None => Ok(text),
        Some(found) => Err(found),
    }
}

/// The mistakes in a script's output alone.
fn mistakes(path: &str, text: &Arc<str>) -> Option<Vec<Diagnostic>> {
    let sink = Sink::default();
    let output = format!("{path}{OUTPUT}");
    tree::tree(&hosts::read(
        Doc { path: &output, text, sink: &sink, sources: &Nowhere, quiet: false },
        group_of(path),
    ));
    Some(sink.into_warnings().err()?.iter().cloned().collect())
}

/// The mistakes in one line.
pub fn in_short<'d>(found: impl IntoIterator<Item = &'d Diagnostic>) -> String {
    found.into_iter().next().map_or_else(String::new, |one| match one.message.contains("its script failed") {
        true => one.message.clone(),
        false => format!("its script failed: what it says is wrong: {}", one.message),
    })
}

/// The last valid output of a script.
#[derive(Serialize, Deserialize)]
pub struct KeptOutput {
    pub at: Timestamp,
    pub text: Arc<str>,
}

fn place(store: &Path, path: &str) -> PathBuf {
    let folder = PathBuf::from(format!("{}.inventory", store.display()));
    folder.join(format!("{}.json", group_of(path)))
}

/// Reads it; `None` if there is none that can be used.
pub fn kept(store: &Path, path: &str) -> Option<KeptOutput> {
    let kept: KeptOutput = serde_json::from_slice(&fs::read(place(store, path)).ok()?).ok()?;
    mistakes(path, &kept.text).is_none().then_some(kept)
}

/// Writes it atomically. The vars may be secret, so other users cannot read the file.
pub fn keep(store: &Path, path: &str, kept: &KeptOutput) -> Result<(), String> {
    let place = place(store, path);
    let write = || -> io::Result<()> {
        fs::create_dir_all(place.parent().unwrap_or(store))?;
        let temporary = place.with_extension("new");
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &place)
    };
    write().map_err(|error| format!("what it says cannot be kept in {}: {error}", place.display()))
}
