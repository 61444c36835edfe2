//! `rollcall support`: one file without secrets for a bug report. Everything is read, and nothing is changed.

mod log;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{self, Config};
use crate::domain::base::output::printable;
use crate::port::Secrets;
use crate::store::survey::survey;
use crate::vault::Vault;
use crate::version::COMMIT;

/// Only its owner may read the file.
const FILE_MODE: u32 = 0o600;

/// Writes the file and returns its path: `to`, or a new name in the present directory.
pub fn write(root: &Path, to: Option<PathBuf>, now: Timestamp) -> Result<PathBuf, String> {
    let path =
        to.unwrap_or_else(|| format!("rollcall-support-{}.txt", now.strftime("%Y%m%dT%H%M%SZ")).into());
    let failed = |error: std::io::Error| {
        format!(
            "{}: {error}; try: rollcall support --to FILE, with a name that is not in use",
            path.display()
        )
    };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(&path).map_err(failed)?;
    file.write_all(text(root, now).as_bytes()).map_err(failed)?;
    Ok(path)
}

fn text(root: &Path, now: Timestamp) -> String {
    let loaded = config::load(root);
    let mut text = String::new();
    section(&mut text, "version", &version(now));
    section(&mut text, "configuration, every text that may be a secret as ***", &config::redacted(root));
    section(&mut text, "is it valid", &valid(&loaded));
    section(&mut text, "store", &store(root));
    section(&mut text, "log", &masked_log(loaded.ok()));
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    _ = writeln!(text, "==== {title} ====\n{}\n", printable(body).trim_end());
}

fn version(now: Timestamp) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    format!(
        "rollcall {}\ncommit {COMMIT}\nwritten {now}\nsystem {} {}\nkernel {}\n{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        kernel.as_deref().map_or("unknown", str::trim),
        distribution(),
    )
}

fn distribution() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    format!("distribution {}", name.unwrap_or("unknown: /etc/os-release has no PRETTY_NAME"))
}

/// Mistakes quote the files, which may hold secrets: only whether there are any.
fn valid(loaded: &Result<Config, impl std::fmt::Display>) -> String {
    match loaded {
        Ok(config) => format!(
            "yes: {} hosts, {} tasks, {} checks, {} operators",
            config.inventory.hosts.len(),
            config.tasks.len(),
            config.checks.values().map(Vec::len).sum::<usize>(),
            config.operators.lines.len(),
        ),
        Err(_) => "no; `rollcall check-config` prints the mistakes, with the lines that hold them".into(),
    }
}

fn store(root: &Path) -> String {
    let path = config::store_of(root);
    match survey(&path) {
        Ok(facts) => facts.iter().map(|(name, value)| format!("{name}: {value}\n")).collect(),
        Err(why) => format!("cannot be read: {why}"),
    }
}

/// The log is masked again. Without the configuration its secrets are not known, and the log is left out.
fn masked_log(config: Option<Config>) -> String {
    let Some(config) = config else {
        return "left out: the configuration could not be loaded, so its secrets are not known; \
                try: journalctl -u rollcall, and read it before you attach it"
            .into();
    };
    match Vault::new(Arc::new(config)) {
        Ok(vault) => vault.masks(None).text(&log::tail()),
        Err(why) => format!("left out: {why}"),
    }
}
