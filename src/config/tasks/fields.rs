//! Keys of several kinds of steps.

use toml::Spanned;

use crate::config::text::reader::Reader;
use crate::config::text::templates::{self, Known};

pub fn text(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<String> {
    let text = table.string(key)?;
    if text.get_ref().trim().is_empty() {
        table.doc.wrong(text.span(), format!("`{key}` is empty"));
        return None;
    }
    templates::names(table.doc, key, &text, known);
    Some(text.into_inner())
}

pub fn required_text(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<Spanned<String>> {
    let text = table.required(key)?;
    templates::names(table.doc, key, &text, known);
    Some(text)
}
