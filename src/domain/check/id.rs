//! The identity of a check: its check set and its name. Two sets may have checks of the same name.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A check: `http/serves the release`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckId {
    /// The name of its file in `checks/`, which has no `/`. Empty in records of earlier builds, which did not keep it.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub set: Arc<str>,
    #[serde(rename = "check")]
    pub name: Arc<str>,
}

fn is_unknown(set: &Arc<str>) -> bool {
    set.is_empty()
}

impl CheckId {
    pub fn new(set: &str, name: &str) -> CheckId {
        CheckId { set: set.into(), name: name.into() }
    }

    /// True when `text` is its full name.
    pub fn is_written(&self, text: &str) -> bool {
        text.split_once('/').is_some_and(|(set, name)| set == &*self.set && name == &*self.name)
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.set {
            "" => f.write_str(&self.name),
            set => write!(f, "{set}/{}", self.name),
        }
    }
}

/// Why a word names no check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misnamed {
    /// No check has this name.
    Unknown,
    /// Several checks have it; the message names them.
    Ambiguous(String),
}

/// The one check among `known` that `word` names: by its full name, or by a bare name that no other check has.
pub fn one_named<'a>(word: &str, known: impl IntoIterator<Item = &'a CheckId>) -> Result<CheckId, Misnamed> {
    let (mut whole, mut bare) = (None, BTreeSet::new());
    for id in known {
        if id.is_written(word) {
            whole = Some(id);
        } else if &*id.name == word {
            bare.insert(id);
        }
    }
    if let Some(id) = whole {
        return Ok(id.clone());
    }
    // Checks with a set come before records of earlier builds, which have only the bare name.
    if bare.iter().any(|id| !id.set.is_empty()) {
        bare.retain(|id| !id.set.is_empty());
    }
    match (bare.first(), bare.len()) {
        (Some(id), 1) => Ok((*id).clone()),
        (None, _) => Err(Misnamed::Unknown),
        (Some(_), _) => Err(Misnamed::Ambiguous(ambiguous(word, bare))),
    }
}

/// As above, but `word` may also name a set and then selects all its checks; a check of that bare name needs its set.
pub fn all_named<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a CheckId> + Clone,
) -> Result<BTreeSet<CheckId>, Misnamed> {
    let of_set: BTreeSet<CheckId> =
        known.clone().into_iter().filter(|id| &*id.set == word).cloned().collect();
    match of_set.is_empty() {
        true => one_named(word, known).map(|id| BTreeSet::from([id])),
        false => Ok(of_set),
    }
}

fn ambiguous(word: &str, ids: BTreeSet<&CheckId>) -> String {
    let names: Vec<String> = ids.into_iter().map(CheckId::to_string).collect();
    format!("`{word}` is ambiguous: {}; write one of them", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[(&str, &str)]) -> Vec<CheckId> {
        names.iter().map(|(set, name)| CheckId::new(set, name)).collect()
    }

    #[test]
    fn a_bare_name_stands_for_a_check_as_long_as_one_check_has_it() {
        let known = ids(&[("http", "up"), ("api", "up"), ("api", "log"), ("", "old")]);
        let one = |word: &str| one_named(word, &known).map(|id| id.to_string());
        assert_eq!(one("log").as_deref(), Ok("api/log"));
        assert_eq!(one("http/up").as_deref(), Ok("http/up"));
        assert_eq!(one("old").as_deref(), Ok("old"));
        assert_eq!(one("api"), Err(Misnamed::Unknown));
        let both = "`up` is ambiguous: api/up, http/up; write one of them";
        assert_eq!(one("up"), Err(Misnamed::Ambiguous(both.into())));
        // A record of an earlier build with the same bare name makes no name ambiguous.
        let known = ids(&[("", "up"), ("http", "up")]);
        assert_eq!(one_named("up", &known).map(|id| id.to_string()).as_deref(), Ok("http/up"));
    }

    #[test]
    fn a_set_is_all_of_its_checks_and_a_full_name_goes_before_a_bare_one() {
        let known = ids(&[("http", "up"), ("http", "log"), ("x", "http"), ("x", "http/up")]);
        let all = |word: &str| -> Vec<String> {
            all_named(word, &known).unwrap().iter().map(CheckId::to_string).collect()
        };
        assert_eq!(all("http"), ["http/log", "http/up"]);
        assert_eq!(all("http/up"), ["http/up"]);
        assert_eq!(all("x/http"), ["x/http"]);
        assert_eq!(all("x/http/up"), ["x/http/up"]);
    }

    #[test]
    fn what_was_written_without_a_set_is_read() {
        let old: CheckId = serde_json::from_str(r#"{"check":"up"}"#).unwrap();
        assert_eq!((old.to_string().as_str(), &*old.set), ("up", ""));
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"check":"up"}"#);
        let new = CheckId::new("http", "up");
        assert_eq!(serde_json::to_string(&new).unwrap(), r#"{"set":"http","check":"up"}"#);
    }
}
