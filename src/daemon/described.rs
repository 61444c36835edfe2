//! A configuration in a few words, for the log and for `reload`.

use crate::config::{Config, Diagnostic};
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
