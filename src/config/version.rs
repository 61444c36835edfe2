//! The version of the files on disk, and the commit of git that they are.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::disk::disk::DirectoryContent;
use crate::domain::base::configuration::{ConfigCommit, ConfigVersion};
use crate::local::process::{self, ProcessLimits};

/// How long git may take. A configuration directory is small; its disk may be slow.
const GIT_LIMITS: ProcessLimits = ProcessLimits { time: Duration::from_secs(5), output_bytes: 1024 * 1024 };

/// What git may not do here: ask, write, or run the programs of another configuration. The directory is trusted as its
/// files are, whatever its owner.
const OPTIONS: [&str; 6] =
    ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"];
const ENVIRONMENT: [(&str, &str); 4] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// The version of what was read from `root`.
pub fn version(root: &Path, read: &DirectoryContent) -> ConfigVersion {
    // A script that cannot be read is reported elsewhere.
    let scripts = read.scripts.iter().map(|path| (path, fs::read(root.join(path)).unwrap_or_default()));
    let scripts: Vec<(&String, Vec<u8>)> = scripts.collect();
    let texts = read.texts.iter().map(|(path, text)| (path.as_str(), text.as_bytes()));
    let version =
        ConfigVersion::of(texts.chain(scripts.iter().map(|(path, text)| (path.as_str(), text.as_slice()))));
    ConfigVersion { commit: commit(root), ..version }
}

/// The commit, if the directory is in a checkout and git is there.
fn commit(root: &Path) -> Option<ConfigCommit> {
    let root = fs::canonicalize(root).ok()?;
    root.ancestors().find(|folder| folder.join(".git").exists())?;
    let id = git(&root, &["rev-parse", "--verify", "HEAD"])?.trim().to_string();
    let is_dirty = !git(&root, &["status", "--porcelain", "--", "."])?.is_empty();
    Some(ConfigCommit { id, is_dirty })
}

fn git(root: &Path, words: &[&str]) -> Option<String> {
    let mut command = process::command("git");
    command.envs(ENVIRONMENT).args(OPTIONS).args([OsStr::new("-C"), root.as_os_str()]).args(words);
    let ran = process::run(command, &GIT_LIMITS).ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.output).into_owned())
}
