//! Keys of several kinds of probes.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::text::keys::{Key, PortOrTemplate, Text, Texts, Threshold, table};
use crate::config::text::reader::{At, Readable, Reader};
use crate::config::text::templates;
use crate::domain::base::range::{Limits, Range};
use crate::domain::value::template::is_template;

pub const DEFAULT_ADDRESS: &str = "127.0.0.1";

/// The default address of a check that runs from another place: loopback would be that place's own.
pub const ADDRESS_FROM_ELSEWHERE: &str = "{{ host.address }}";

table! {
    /// What the number of a check may be.
    pub LimitKeys "Limits" {
        /// A range for the number; outside of it the verdict is warning.
        WARNING "warning": Threshold,
        /// The same for critical, which is tested first.
        CRITICAL "critical": Threshold,
    }
}

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
pub fn required_port(table: &mut Reader<'_>, key: Key<PortOrTemplate>) -> Option<String> {
    let Some(value) = table.value(key) else {
        table.missing(key.name);
        return None;
    };
    match value.get_ref() {
        DeValue::String(text) if is_template(text) => self::text(table, key.second()),
        _ => table.get(key.first()).map(|port| port.to_string()),
    }
}

pub fn required_text(table: &mut Reader<'_>, key: Key<Text>) -> Option<String> {
    let text = table.required(key)?;
    templates::syntax(table.doc, key.name, &text);
    Some(text.into_inner())
}

pub fn text<D>(table: &mut Reader<'_>, key: Key<Text, D>) -> Option<String> {
    let name = key.name;
    let text = table.get(key)?;
    templates::syntax(table.doc, name, &text);
    Some(text.into_inner())
}

/// An empty text asserts nothing, since every text contains it.
pub fn some_text(table: &mut Reader<'_>, key: Key<Text>) -> Option<String> {
    let text = text(table, key)?;
    if text.is_empty() {
        nothing_asserted(table, key.name, "write what is to be there");
    }
    Some(text)
}

pub fn list(table: &mut Reader<'_>, key: Key<Texts>) -> Vec<String> {
    let texts = table.get(key).unwrap_or_default();
    texts.iter().for_each(|text| _ = templates::syntax(table.doc, key.name, text));
    texts.into_iter().map(Spanned::into_inner).collect()
}

pub fn regex(table: &mut Reader<'_>, key: Key<Text>) -> Option<String> {
    let text = table.get(key)?;
    if text.get_ref().is_empty() {
        nothing_asserted(table, key.name, "write what is to match");
    }
    if templates::syntax(table.doc, key.name, &text) {
        templates::pattern(table.doc, key.name, &text);
    }
    Some(text.into_inner())
}

/// `warning` and `critical`.
pub fn limits(table: &mut Reader<'_>) -> Limits {
    Limits { warning: table.get(LimitKeys::WARNING), critical: table.get(LimitKeys::CRITICAL) }
}

/// Reports a check that would be ok with any observation: it is worse than none.
pub fn nothing_asserted(table: &Reader<'_>, key: &str, hint: &str) {
    let span = table.key_span(key).or(table.span.clone());
    table.doc.report(
        span,
        format!("`{key}` asserts nothing: it would be ok for every result"),
        hint.to_string(),
    );
}

/// Nagios' text, or a bare number.
impl Readable for Threshold {
    type Value<'t> = Range;

    fn read<'t>(at: At<'t>) -> Option<Range> {
        let text = match at.value.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => Text::read(at)?.into_inner(),
        };
        let wrong = |why: String| at.doc.wrong(at.value.span(), format!("`{}`: {why}", at.key));
        text.parse().map_err(wrong).ok()
    }
}
