//! `files/facts/`: programs that print a fact of the host on which they run, each named after its fact.

use std::collections::BTreeMap;

use crate::config::text::diagnostic::{Sink, unreadable};
use crate::config::text::texts::Texts;
use crate::domain::base::name::{count, is_identifier};
use crate::domain::task::facts::CUSTOM_LIMIT;
use crate::domain::task::task::Source;

/// Their folder.
pub const FOLDER: &str = "files/facts";

/// The custom facts by name. Only the names of the files are read here.
pub fn read(texts: &Texts, sink: &Sink) -> BTreeMap<String, Source> {
    let mut facts: BTreeMap<String, Source> = BTreeMap::new();
    let report = |file: &str, message: String| {
        sink.extend([unreadable(file, message, Some("rename the file".into()))]);
    };
    for path in texts.keys() {
        let Some(file) = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
        let below_files = path.trim_start_matches("files/").to_string();
        if !is_identifier(name) {
            report(path, format!("`{name}` cannot name a fact: no template could read it"));
        } else if facts.contains_key(name) {
            report(path, format!("another file is the fact `{name}` already"));
        } else {
            facts.insert(name.into(), Source::File { path: below_files, sha256: String::new() });
        }
    }
    if facts.len() > CUSTOM_LIMIT {
        let message = format!("{}, and there are at most {CUSTOM_LIMIT}", count(facts.len(), "custom fact"));
        let hint = "each is a question of its own to every host: let one program print several things";
        sink.extend([unreadable(FOLDER, message, Some(hint.into()))]);
    }
    facts
}
