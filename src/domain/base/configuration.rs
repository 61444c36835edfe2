//! The version of a configuration directory: a digest over the names and contents of its files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::sha256_hex;

/// Digits of a digest that people read and type.
pub const SHORT_DIGITS: usize = 12;

/// A version of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigVersion {
    /// SHA-256 over the names and the digests of all files.
    pub digest: String,
    /// The SHA-256 of each file, by its path.
    pub files: BTreeMap<String, String>,
    /// Where the directory is a checkout of git.
    pub commit: Option<ConfigCommit>,
}

/// The commit of a checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigCommit {
    pub id: String,
    /// Files differ from the commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_dirty: bool,
}

impl fmt::Display for ConfigCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dirty = if self.is_dirty { " with changes" } else { "" };
        write!(f, "{}{dirty}", short(&self.id))
    }
}

/// The digits of a digest or a commit that people read.
pub fn short(digest: &str) -> &str {
    digest.get(..SHORT_DIGITS).unwrap_or(digest)
}

impl ConfigVersion {
    /// The version of files with these contents.
    pub fn of<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> ConfigVersion {
        let files = files.into_iter().map(|(path, content)| (path.to_string(), sha256_hex(content)));
        let files: BTreeMap<String, String> = files.collect();
        // No path has a NUL, so no two sets of files have one text.
        let all: String = files.iter().map(|(path, digest)| format!("{path}\0{digest}\n")).collect();
        ConfigVersion { digest: sha256_hex(all.as_bytes()), files, commit: None }
    }

    /// The files that differ from those of an older version: `+` new, `-` gone, `~` changed.
    pub fn changes_since(&self, old: &BTreeMap<String, String>) -> Vec<String> {
        let gone = old.keys().filter(|path| !self.files.contains_key(*path)).map(|path| format!("-{path}"));
        let other = self.files.iter().filter_map(|(path, digest)| match old.get(path) {
            None => Some(format!("+{path}")),
            Some(before) if before != digest => Some(format!("~{path}")),
            Some(_) => None,
        });
        let mut changes: Vec<String> = other.chain(gone).collect();
        changes.sort_by(|a, b| a[1..].cmp(&b[1..]));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_names_and_contents_alone() {
        let of = |files: &[(&'static str, &'static str)]| {
            ConfigVersion::of(files.iter().map(|(path, text)| (*path, text.as_bytes())))
        };
        let one = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(one, of(&[("b", "2"), ("a", "1")]));
        for other in [of(&[("a", "1")]), of(&[("a", "2"), ("b", "1")]), of(&[("a", "1"), ("c", "2")])] {
            assert_ne!(one.digest, other.digest);
        }
        let other = of(&[("a", "1"), ("b", "3"), ("c", "")]);
        assert_eq!(other.changes_since(&one.files), ["~b", "+c"]);
        assert_eq!(one.changes_since(&other.files), ["~b", "-c"]);
    }

    #[test]
    fn a_dirty_checkout_says_so() {
        let commit = |is_dirty| ConfigCommit { id: "0123456789abcdef".into(), is_dirty }.to_string();
        assert_eq!(
            (commit(false), commit(true)),
            ("0123456789ab".into(), "0123456789ab with changes".into())
        );
    }
}
