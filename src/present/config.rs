//! Versions of the configuration in words.

use std::collections::BTreeMap;
use std::time::Duration;

use similar::TextDiff;

use super::table::{columns, moment};
use crate::domain::ask::audit::{AuditKind, AuditRow};
use crate::domain::base::configuration::short;

/// The time limit of the search for the shortest difference of one file; then the best one so far is printed.
const SEARCH_TIME: Duration = Duration::from_secs(1);

/// Context lines around each difference.
const CONTEXT_LINES: usize = 3;

/// `config log`: one line for each change, oldest first.
pub fn log(rows: &[AuditRow]) -> String {
    let head = ["TIME", "WHO", "HOW", "VERSION", "COMMIT", "FILES"].map(String::from).to_vec();
    let line = |row: &AuditRow| {
        let AuditKind::ConfigChanged { how, new, commit, files, .. } = &row.fact.kind else { return None };
        let commit = commit.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let name = row.fact.name.clone();
        Some(vec![moment(row.fact.at), name, how.word().into(), short(new).into(), commit, files.join(" ")])
    };
    columns(&[head].into_iter().chain(rows.iter().filter_map(line)).collect::<Vec<_>>())
}

/// One side of a comparison: by its path, the digest of each file, and its text without secrets.
pub struct ConfigSide {
    /// `3f2a..., in force`
    pub name: String,
    pub files: BTreeMap<String, String>,
    pub texts: BTreeMap<String, String>,
}

/// `config diff`: a unified diff of all files.
pub fn diff(old: &ConfigSide, new: &ConfigSide) -> String {
    let mut paths: Vec<&String> = old.files.keys().chain(new.files.keys()).collect();
    paths.sort();
    paths.dedup();
    let differing = paths.into_iter().filter(|path| old.files.get(*path) != new.files.get(*path));
    let text: String = differing.map(|path| file(path, old, new)).collect();
    if text.is_empty() { format!("{} and {} are the same\n", old.name, new.name) } else { text }
}

fn file(path: &str, old: &ConfigSide, new: &ConfigSide) -> String {
    let text = |side: &ConfigSide| side.texts.get(path).cloned().unwrap_or_default();
    let name = |side: &ConfigSide| match side.files.contains_key(path) {
        true => format!("{path} ({})", side.name),
        false => "/dev/null".into(),
    };
    let (before, after) = (text(old), text(new));
    if before == after {
        return format!(
            "{path}: differs only in comments, or in texts that are not shown since they may be secret\n"
        );
    }
    let diff = TextDiff::configure().timeout(SEARCH_TIME).diff_lines(&before, &after);
    diff.unified_diff().context_radius(CONTEXT_LINES).header(&name(old), &name(new)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, files: &[(&str, &str, &str)]) -> ConfigSide {
        let of = |which: fn(&(&str, &str, &str)) -> String| {
            files.iter().map(|file| (file.0.to_string(), which(file))).collect()
        };
        ConfigSide { name: name.into(), files: of(|file| file.1.into()), texts: of(|file| file.2.into()) }
    }

    #[test]
    fn files_that_differ_are_compared_and_hidden_differences_are_named() {
        let old = side(
            "a",
            &[("hosts/a.toml", "1", "x = 1\n"), ("operators", "1", "1 with admin\n"), ("same", "1", "")],
        );
        let new = side(
            "b",
            &[("hosts/a.toml", "2", "x = 2\n"), ("operators", "2", "1 with admin\n"), ("same", "1", "")],
        );
        let text = diff(&old, &new);
        let wanted = "--- hosts/a.toml (a)\n+++ hosts/a.toml (b)\n@@ -1 +1 @@\n-x = 1\n+x = 2\n\
                      operators: differs only in comments, or in texts that are not shown since they may be secret\n";
        assert_eq!(text, wanted);
        assert_eq!(diff(&old, &old), "a and a are the same\n");
        let gone = diff(&old, &side("c", &[("same", "1", "")]));
        assert!(gone.contains("--- operators (a)\n+++ /dev/null\n"), "{gone}");
    }
}
