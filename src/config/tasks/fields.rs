//! Values of several kinds of steps.

use toml::Spanned;

use super::fetched;
pub use super::fetched::FileOrUrl;
use crate::config::text::keys::{Flag, Key, Text, Texts};
use crate::config::text::paths::check_path;
use crate::config::text::reader::Reader;
use crate::config::text::templates::{self, Known};
use crate::domain::task::task::Source;
use crate::domain::value::template::is_template;

pub fn text<D>(table: &mut Reader<'_>, key: Key<Text, D>, known: &Known) -> Option<String> {
    let name = key.name;
    let text = table.get(key)?;
    if text.get_ref().trim().is_empty() {
        table.doc.wrong(text.span(), format!("`{name}` is empty"));
        return None;
    }
    templates::names(table.doc, name, &text, known);
    Some(text.into_inner())
}

/// A text that may be absent.
pub fn text_or_default(table: &mut Reader<'_>, key: Key<Text, &'static str>, known: &Known) -> String {
    text(table, key, known).unwrap_or_else(|| key.default.into())
}

pub fn texts(table: &mut Reader<'_>, key: Key<Texts>, known: &Known) -> Vec<String> {
    let all = table.get(key).unwrap_or_default();
    all.iter().for_each(|text| templates::names(table.doc, key.name, text, known));
    all.into_iter().map(Spanned::into_inner).collect()
}

pub fn required_text(table: &mut Reader<'_>, key: Key<Text>, known: &Known) -> Option<Spanned<String>> {
    let text = table.required(key)?;
    templates::names(table.doc, key.name, &text, known);
    Some(text)
}

pub fn required(table: &mut Reader<'_>, key: Key<Text>, known: &Known) -> Option<String> {
    required_text(table, key, known).map(Spanned::into_inner)
}

pub fn pattern(table: &mut Reader<'_>, key: Key<Text>, known: &Known) -> Option<String> {
    let pattern = table.get(key)?;
    templates::names(table.doc, key.name, &pattern, known);
    templates::pattern(table.doc, key.name, &pattern);
    Some(pattern.into_inner())
}

/// A file of `files/`, or at an address.
pub fn source<D: Copy>(table: &mut Reader<'_>, key: Key<FileOrUrl, D>, known: &Known) -> Option<Source> {
    match table.value(key).is_some_and(|value| value.get_ref().as_table().is_some()) {
        true => fetched::read(table.get(key.second())?, known),
        false => of_files(table, key.first(), known),
    }
}

/// A file of `files/`; with a `/` at its end a directory.
fn of_files(table: &mut Reader<'_>, key: Key<Text>, known: &Known) -> Option<Source> {
    let from = required_text(table, key, known)?;
    if !is_template(from.get_ref())
        && let Err(why) = check_path(from.get_ref())
    {
        table.doc.wrong(from.span(), format!("`{}`: {why}", key.name));
    }
    let path = from.into_inner();
    Some(match path.strip_suffix('/') {
        Some(path) => Source::Tree { path: path.into(), files: vec![] },
        None => Source::File { path, sha256: String::new() },
    })
}

/// The same, where a file may be a template.
pub fn source_or_template(
    table: &mut Reader<'_>,
    (from, template): (Key<FileOrUrl>, Key<Flag, bool>),
    known: &Known,
) -> Option<Source> {
    let is_template = table.or_default(template);
    match source(table, from, known)? {
        Source::Fetched { .. } if is_template => {
            table.doc.wrong(table.key_span(template.name), "a file that is fetched is no template");
            None
        }
        Source::File { path, .. } if is_template => Some(Source::Template { path }),
        source => Some(source),
    }
}
