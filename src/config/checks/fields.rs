//! Keys of several kinds of probes.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::text::reader::Reader;
use crate::config::text::templates;
use crate::domain::base::range::{Limits, Range};
use crate::domain::value::template::is_template;

pub const DEFAULT_ADDRESS: &str = "127.0.0.1";

/// The default address of a check that runs from another place: loopback would be that place's own.
pub const ADDRESS_FROM_ELSEWHERE: &str = "{{ host.address }}";

/// Keys beside the probe in its check.
pub struct Common {
    pub limits: Limits,
    /// It is compared with other hosts: its number needs no limits of its own.
    pub is_compared: bool,
    /// It does not run from the host itself.
    pub from_elsewhere: bool,
}

impl Common {
    pub fn address(&self) -> String {
        if self.from_elsewhere { ADDRESS_FROM_ELSEWHERE.into() } else { DEFAULT_ADDRESS.into() }
    }
}

/// A number, or a template of one for each host.
pub fn required_port(table: &mut Reader<'_>) -> Option<String> {
    if table.value("port").is_none() {
        table.missing("port");
        return None;
    }
    port_at(table, "port")
}

pub fn port_at(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    match table.value(key)?.get_ref() {
        DeValue::String(text) if is_template(text) => self::text(table, key),
        _ => table.port(key).map(|port| port.to_string()),
    }
}

pub fn required_text(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = table.required(key)?;
    templates::syntax(table.doc, key, &text);
    Some(text.into_inner())
}

pub fn text(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = table.string(key)?;
    templates::syntax(table.doc, key, &text);
    Some(text.into_inner())
}

/// An empty text asserts nothing, since every text contains it.
pub fn some_text(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = text(table, key)?;
    if text.is_empty() {
        nothing_asserted(table, key, "write what is to be there");
    }
    Some(text)
}

pub fn list(table: &mut Reader<'_>, key: &'static str) -> Vec<String> {
    let texts = table.strings(key);
    texts.iter().for_each(|text| _ = templates::syntax(table.doc, key, text));
    texts.into_iter().map(Spanned::into_inner).collect()
}

pub fn regex(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = table.string(key)?;
    if text.get_ref().is_empty() {
        nothing_asserted(table, key, "write what is to match");
    }
    if templates::syntax(table.doc, key, &text) {
        templates::pattern(table.doc, key, &text);
    }
    Some(text.into_inner())
}

/// `warning` and `critical`.
pub fn limits(table: &mut Reader<'_>) -> Limits {
    Limits { warning: range(table, "warning"), critical: range(table, "critical") }
}

/// Reports a check that would be ok with any observation: it is worse than none.
pub fn nothing_asserted(table: &Reader<'_>, key: &str, hint: &str) {
    let span = table.key_span(key).or(table.span.clone());
    table.doc.report(
        span,
        format!("`{key}` asserts nothing: it would be ok whatever is seen"),
        hint.to_string(),
    );
}

/// A threshold: Nagios' text, or a bare number.
pub fn range(table: &mut Reader<'_>, key: &'static str) -> Option<Range> {
    let value = table.value(key)?;
    let text = match value.get_ref() {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        _ => table.string(key)?.into_inner(),
    };
    text.parse().map_err(|why: String| table.doc.wrong(value.span(), format!("`{key}`: {why}"))).ok()
}
