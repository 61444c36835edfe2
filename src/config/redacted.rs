//! Configuration files without secrets: structure, keys, numbers, truth values and the words of the schema stay;
//! every other text becomes `***`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use toml::Value as Toml;

use crate::config::disk::disk;
use crate::config::hosts::scripted::OUTPUT;
use crate::config::shape;
use crate::config::text::table::AMOUNT;
use crate::config::text::texts::Texts;
use crate::domain::base::schedule::read_time;
use crate::domain::value::secret::HIDDEN;

/// Deepest reference in a schema that is followed.
const DEPTH: usize = 32;

/// What the schema knows of the values of each key, by its name.
type Known = BTreeMap<String, Values>;

#[derive(Default)]
struct Values {
    words: BTreeSet<String>,
    /// A time or a part of a whole may be its value.
    is_amount: bool,
}

/// Every file of the configuration.
pub fn redacted(root: &Path) -> String {
    let found = disk::read(root);
    let mut text = String::new();
    for (path, body) in redacted_files(&found.texts) {
        _ = writeln!(text, "-- {path}\n{body}");
    }
    found.scripts.iter().for_each(|path| _ = writeln!(text, "-- {path}\na program\n"));
    if !found.wrong.is_empty() {
        _ = writeln!(text, "{} files could not be read", found.wrong.len());
    }
    text
}

/// Each file without secrets, by its path; not what scripts print.
pub fn redacted_files(texts: &Texts) -> BTreeMap<String, String> {
    let files = texts.iter().filter(|(path, _)| !path.ends_with(OUTPUT));
    files.map(|(path, content)| (path.clone(), body(path, content))).collect()
}

fn body(path: &str, content: &str) -> String {
    match path {
        "operators" => operators(content),
        "revoked" => format!("{} lines\n", content.lines().count()),
        path if path.ends_with(".toml") => file(path, content),
        _ => "a program\n".into(),
    }
}

/// The number of operators of each role: neither names nor keys.
fn operators(content: &str) -> String {
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        let named = ["admin", "operator", "viewer"].into_iter().find(|role| {
            line.contains(&format!("role=\"{role}\"")) || line.contains(&format!("role={role}"))
        });
        *roles.entry(named.unwrap_or("no role")).or_default() += 1;
    }
    roles.iter().map(|(role, number)| format!("{number} with {role}\n")).collect()
}

fn file(path: &str, content: &str) -> String {
    let kind = path.split(['/', '.']).next().unwrap_or_default();
    let words = words_of(kind);
    match content.parse::<toml::Table>() {
        Ok(table) => {
            let redacted = without_texts(Toml::Table(table), None, &words);
            toml::to_string_pretty(&redacted).unwrap_or_else(|_| "cannot be written\n".into())
        }
        // The error would quote the line.
        Err(error) => {
            let before = error.span().and_then(|span| content.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count() + 1);
            format!("{} lines, no TOML at line {line}\n", content.lines().count())
        }
    }
}

fn without_texts(value: Toml, key: Option<&str>, words: &Known) -> Toml {
    match value {
        Toml::String(text) if is_known(key, &text, words) => Toml::String(text),
        Toml::String(_) => Toml::String(HIDDEN.into()),
        Toml::Array(items) => {
            Toml::Array(items.into_iter().map(|item| without_texts(item, key, words)).collect())
        }
        Toml::Table(table) => {
            let none = Known::new();
            let entry = |(name, value): (String, Toml)| {
                let below = match is_free(&name) {
                    true => without_texts(value, None, &none),
                    false => without_texts(value, Some(&name), words),
                };
                (name, below)
            };
            Toml::Table(table.into_iter().map(entry).collect())
        }
        plain @ (Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_) | Toml::Datetime(_)) => plain,
    }
}

/// Tables whose keys and values operators choose: no word of the schema is meant there.
fn is_free(key: &str) -> bool {
    ["vars", "env", "headers", "with"].contains(&key)
}

fn is_known(key: Option<&str>, text: &str, words: &Known) -> bool {
    // In a free table no word and no amount is known.
    let Some(key) = key.filter(|_| !words.is_empty()) else { return false };
    let percent = text.strip_suffix('%').is_some_and(|number| number.parse::<f64>().is_ok());
    let is_amount = percent || read_time(text).is_ok();
    words.get(key).is_some_and(|known| known.words.contains(text) || known.is_amount && is_amount)
}

/// The words that the schema of a kind of file lists.
fn words_of(kind: &str) -> Known {
    let mut words = Known::new();
    if let Some(schema) = shape::schema(kind) {
        collect(&schema, &schema, None, (&mut words, DEPTH));
    }
    words
}

fn collect(node: &Value, whole: &Value, key: Option<&str>, (words, depth): (&mut Known, usize)) {
    let Some(entries) = node.as_object().filter(|_| depth > 0) else {
        let items = node.as_array().into_iter().flatten();
        items.for_each(|item| collect(item, whole, key, (words, depth.saturating_sub(1))));
        return;
    };
    for (name, below) in entries {
        match name.as_str() {
            "enum" | "const" => {
                let texts = below.as_array().map_or(std::slice::from_ref(below), Vec::as_slice);
                let texts = texts.iter().filter_map(Value::as_str).map(String::from);
                words.entry(key.unwrap_or_default().into()).or_default().words.extend(texts);
            }
            AMOUNT => words.entry(key.unwrap_or_default().into()).or_default().is_amount = true,
            "properties" => {
                for (property, below) in below.as_object().into_iter().flatten() {
                    collect(below, whole, Some(property), (words, depth - 1));
                }
            }
            "$ref" => {
                let target = below.as_str().and_then(|path| whole.pointer(path.trim_start_matches('#')));
                target.into_iter().for_each(|target| collect(target, whole, key, (words, depth / 2)));
            }
            "definitions" => {}
            _ => collect(below, whole, key, (words, depth - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_hidden_and_the_words_of_the_schema_stay() {
        let text = "[web]\nhosts = [\"web1\", \"web2\"]\nport = 22\n[web.vars]\nstyle = \"down\"\npin = 7\n\
                    [web.balancer]\ndriver = \"nginx\"\nstyle = \"down\"\non = \"lb\"\nmin_in_service = \"50%\"\n\
                    drain_timeout = \"30s\"\nsudo = true\nreload = \"curl -u me:s3cret\"\n";
        let redacted: toml::Table = file("hosts/prod.toml", text).parse().unwrap();
        let wanted = "[web]\nhosts = [\"***\", \"***\"]\nport = 22\n[web.vars]\nstyle = \"***\"\npin = 7\n\
                      [web.balancer]\ndriver = \"nginx\"\nstyle = \"down\"\non = \"***\"\nmin_in_service = \"50%\"\n\
                      drain_timeout = \"30s\"\nsudo = true\nreload = \"***\"\n";
        assert_eq!(redacted, wanted.parse().unwrap());
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        assert_eq!(file("hosts/prod.toml", "a = 1\npassword = s3cret\n"), "2 lines, no TOML at line 2\n");
    }

    #[test]
    fn operators_are_counted_by_role() {
        let text = "# comment\nrole=\"admin\" ssh-ed25519 AAAA ann\nssh-ed25519 BBBB bob\n";
        assert_eq!(operators(text), "1 with admin\n1 with no role\n");
    }
}
