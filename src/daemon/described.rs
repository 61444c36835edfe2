//! A configuration in a few words, for the log and for `reload`.

use std::path::Path;

use super::credentials::mistakes;
use crate::config::{self, Config, Diagnostic};
use crate::domain::base::name::count;

/// What is in it, in one line.
pub fn describe(config: &Config) -> String {
    let parts = [
        count(config.inventory.hosts.len(), "host"),
        count(config.tasks.len(), "task"),
        count(config.checks.values().map(Vec::len).sum(), "check"),
        count(config.operators.lines.len(), "operator"),
    ];
    parts.join(", ")
}

/// The warnings of a configuration, one line each.
pub fn warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(Diagnostic::in_one_line).collect()
}

/// `rollcall check-config`: the warnings and a summary, or every mistake.
pub fn check_config(path: &Path) -> Result<String, String> {
    let config = config::load(path).map_err(|diagnostics| diagnostics.to_string())?;
    let fleet = &config.settings.fleet;
    let keys = mistakes(fleet);
    if !keys.is_empty() {
        return Err(format!("rollcall.toml: [fleet]: {}", keys.join("\nrollcall.toml: [fleet]: ")));
    }
    let mut said: String = config.warnings.iter().map(|warning| format!("{warning}\n\n")).collect();
    if fleet.identity.is_empty()
        && fleet.keys.is_empty()
        && fleet.agent.is_none()
        && fleet.certificates.is_none()
    {
        said.push_str(
            "warning: [fleet] has no `identity`, `agent` or `certificates`, so rollcall can log in to no host\n\n",
        );
    }
    said.push_str(&format!("configuration OK: {}", describe(&config)));
    Ok(said)
}
