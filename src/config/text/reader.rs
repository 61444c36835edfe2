//! Reads one TOML table key by key. Every key that is read becomes known; the keys left over
//! at the end are mistakes, reported with the nearest known key.

use std::ops::Range;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Doc;
use super::keys::{Choice, In, Key, KeyType, ListOf, MapOf, Time, Words};
use super::table::{Declared, Table};
use crate::config::text::hints::{did_you_mean, foreign, known_names};

/// Longest duration that is accepted: more is a typing error, and would overflow clocks.
const DURATION_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A key of a table that may hold any key, with its value.
pub type Entry<'t> = (Spanned<String>, &'t Spanned<DeValue<'t>>);

/// One table of one file. Values of a wrong type are reported and read as absent.
pub struct Reader<'t> {
    pub doc: Doc<'t>,
    /// The span of the table; `None` for the file itself.
    pub span: Option<Range<usize>>,
    /// Its name in messages: `a step`, `group web`.
    what: String,
    table: &'t DeTable<'t>,
    /// The tables whose keys it may have; empty if it may have any.
    known: Vec<&'static Table>,
    asked: Vec<&'static str>,
}

/// A value with its key.
#[derive(Clone, Copy)]
pub struct At<'t> {
    pub doc: Doc<'t>,
    pub key: &'static str,
    pub value: &'t Spanned<DeValue<'t>>,
}

impl At<'_> {
    /// Reports that the value is of another type than `wanted`.
    pub fn mismatch<T>(&self, wanted: &str) -> Option<T> {
        self.doc.wrong(self.value.span(), expected(self.key, wanted, self.value.get_ref()));
        None
    }
}

/// Types of values that a reader can read; `values.rs` says how.
pub trait Readable: KeyType {
    type Value<'t>;

    /// Reports a wrong value, and returns `None` for it.
    fn read<'t>(at: At<'t>) -> Option<Self::Value<'t>>;
}

/// What names a key.
pub trait Named {
    fn name(&self) -> &'static str;
}

impl<T, D> Named for Key<T, D> {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Named for &'static str {
    fn name(&self) -> &'static str {
        self
    }
}

/// Parses a file. Syntax errors are reported, and the readable part is returned; further
/// mistakes in the document are suppressed.
pub fn parse<'t>(mut doc: Doc<'t>) -> (Doc<'t>, DeTable<'t>) {
    let (table, errors) = DeTable::parse_recoverable(doc.text);
    for error in &errors {
        doc.wrong(error.span(), error.message());
    }
    doc.quiet = !errors.is_empty();
    (doc, table.into_inner())
}

impl<'t> Reader<'t> {
    /// Reads `table`, which messages call `what`.
    pub fn new(
        doc: Doc<'t>,
        what: impl Into<String>,
        table: &'t DeTable<'t>,
        span: Option<Range<usize>>,
    ) -> Self {
        Reader { doc, span, what: what.into(), table, known: Vec::new(), asked: Vec::new() }
    }

    /// Reads a table whose keys are those of `T`.
    pub fn of<T: Declared>(
        doc: Doc<'t>,
        what: impl Into<String>,
        (table, span): (&'t DeTable<'t>, Option<Range<usize>>),
    ) -> Self {
        Reader { known: vec![T::TABLE], ..Reader::new(doc, what, table, span) }
    }

    /// The value of `key`; `None` if it is absent or wrong.
    pub fn get<T: Readable, D>(&mut self, key: Key<T, D>) -> Option<T::Value<'t>> {
        let value = self.value(key.name)?;
        T::read(At { doc: self.doc, key: key.name, value })
    }

    /// The value of `key`, or its default.
    pub fn or_default<T: Readable>(&mut self, key: Key<T, T::Default>) -> T::Value<'t>
    where
        T::Value<'t>: From<T::Default>,
    {
        let name = Key::<T>::new(key.name, ());
        self.get(name).unwrap_or_else(|| key.default.into())
    }

    /// A value that must not be zero; `why` explains that in the message.
    pub fn positive<D>(&mut self, key: Key<Time, D>, why: &str) -> Option<Duration> {
        let (name, time) = (key.name, self.get(key)?);
        if time.is_zero() {
            let span = self.table.get(name).map(Spanned::span);
            self.doc.wrong(span, format!("`{name}` cannot be zero: {why}"));
        }
        Some(time).filter(|time| !time.is_zero())
    }

    /// One word out of some of those that the key can have.
    pub fn among<W: Words, D>(
        &mut self,
        key: Key<Choice<W>, D>,
        words: &[(&str, W::Meaning)],
    ) -> Option<W::Meaning> {
        let value = self.value(key.name)?;
        choose(At { doc: self.doc, key: key.name, value }, words)
    }

    /// From here on, it may have only the keys of these tables.
    pub fn narrow(&mut self, tables: &[&'static Table]) {
        self.known = tables.to_vec();
    }

    /// A value that is a table, which messages call `what`.
    pub fn inside<T: Declared>(
        doc: Doc<'t>,
        what: impl Into<String>,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Self> {
        Some(Reader { known: vec![T::TABLE], ..Reader::of_value(doc, what, key, value)? })
    }

    /// A table that messages call `what`.
    pub fn inner<T: Declared, D>(&mut self, key: Key<In<T>, D>, what: &str) -> Option<Reader<'t>> {
        let value = self.value(key.name)?;
        Reader::inside::<T>(self.doc, what, key.name, value)
    }

    /// Tables written `[[key]]`, which messages call `what`.
    pub fn list<T: Declared, D>(&mut self, key: Key<ListOf<In<T>>, D>, what: &str) -> Vec<Reader<'t>> {
        let known = |table| Reader { known: vec![T::TABLE], ..table };
        self.tables(key.name, what).into_iter().map(known).collect()
    }

    /// Reads a value as a table; any other value is reported.
    pub fn of_value(
        doc: Doc<'t>,
        what: impl Into<String>,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Reader::new(doc, what, table, Some(value.span()))),
            other => {
                doc.wrong(value.span(), expected(key, "a table", other));
                None
            }
        }
    }

    /// The value of `key`, of any type.
    pub fn value(&mut self, key: impl Named) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key.name());
        self.table.get(key.name())
    }

    /// The span of the name of `key`.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.keys().find(|known| known.get_ref() == key).map(Spanned::span)
    }

    fn mismatch<T>(&self, key: &str, wanted: &str, value: &Spanned<DeValue<'t>>) -> Option<T> {
        self.doc.wrong(value.span(), expected(key, wanted, value.get_ref()));
        None
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
            _ => self.mismatch(key, "a string", value),
        }
    }

    /// A required string, which must not be empty.
    pub fn required(&mut self, key: impl Named) -> Option<Spanned<String>> {
        let key = key.name();
        if !self.table.contains_key(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        let text = self.string(key)?;
        if text.get_ref().trim().is_empty() {
            self.doc.wrong(text.span(), format!("`{key}` is empty"));
            return None;
        }
        Some(text)
    }

    /// Reports that `key` is missing.
    pub fn missing(&self, key: &str) {
        self.doc.wrong(self.span.clone(), format!("{} needs `{key}`", self.what));
    }

    /// A name without blanks: a login, an address.
    pub fn word(&mut self, key: &'static str) -> Option<String> {
        let text = self.string(key)?;
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if text.get_ref().is_empty() || text.get_ref().contains(bad) {
            self.doc.wrong(text.span(), format!("`{key}` is one word, without blanks"));
            return None;
        }
        Some(text.into_inner())
    }

    /// A string, or an array of strings. Empty if the key is absent.
    pub fn strings(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        self.value(key).map(|value| strings(self.doc, key, value)).unwrap_or_default()
    }

    /// A duration such as `30s`, `2m`, `1m30s`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        let DeValue::String(text) = value.get_ref() else {
            return self.mismatch(key, "a duration with its unit, such as \"30s\"", value);
        };
        let wrong = |why: &str| {
            let hint = "write it with its unit, such as \"30s\", \"2m\" or \"1m30s\"".to_string();
            self.doc.report(value.span(), format!("`{key}`: {why}"), hint);
        };
        let Ok(parsed) = text.parse::<SignedDuration>() else {
            wrong(&format!("`{text}` is no duration"));
            return None;
        };
        match Duration::try_from(parsed) {
            Err(_) => wrong("a duration cannot be negative"),
            Ok(duration) if duration > DURATION_LIMIT => wrong("a duration is at most 30 days"),
            Ok(duration) => return Some(duration),
        }
        None
    }

    /// A duration that must not be zero; `why` explains that in the message.
    pub fn positive_duration(&mut self, key: &'static str, why: &str) -> Option<Duration> {
        let duration = self.duration(key)?;
        if duration.is_zero() {
            let span = self.table.get(key).map(Spanned::span);
            self.doc.wrong(span, format!("`{key}` cannot be zero: {why}"));
            return None;
        }
        Some(duration)
    }

    /// A whole number between `from` and `to`, both included.
    pub fn number(&mut self, key: &'static str, from: u32, to: u32) -> Option<u32> {
        let value = self.value(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.mismatch(key, "a whole number", value);
        };
        let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let read = read.and_then(|number| u32::try_from(number).ok()).filter(|n| (from..=to).contains(n));
        if read.is_none() {
            let range =
                if to == u32::MAX { format!("at least {from}") } else { format!("from {from} to {to}") };
            self.doc.wrong(value.span(), format!("`{key}` is a whole number, {range}"));
        }
        read
    }

    /// `true` or `false`; false if the key is absent.
    pub fn bool(&mut self, key: &'static str) -> bool {
        let Some(value) = self.value(key) else { return false };
        value.get_ref().as_bool().or_else(|| self.mismatch(key, "true or false", value)).unwrap_or_default()
    }

    /// One word out of a list, with its meaning.
    pub fn one_of<T: Clone>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = words.iter().find(|(word, _)| word == text.get_ref());
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let guess = did_you_mean(text.get_ref(), known.iter().copied());
            let message = format!("`{key}` cannot be `{}`{guess}", text.get_ref());
            self.doc.report(text.span(), message, known_names(known));
        }
        found.map(|(_, meaning)| meaning.clone())
    }

    /// A table with keys of its own.
    pub fn table(&mut self, key: &'static str, what: impl Into<String>) -> Option<Reader<'t>> {
        let value = self.value(key)?;
        Reader::of_value(self.doc, what, key, value)
    }

    /// An array of tables, written `[[key]]`.
    pub fn tables(&mut self, key: &'static str, what: &str) -> Vec<Reader<'t>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.mismatch::<()>(key, &format!("a list of tables, each written [[{key}]]"), value);
            return Vec::new();
        };
        items.iter().filter_map(|item| Reader::of_value(self.doc, what, key, item)).collect()
    }

    /// An array of tables that cannot be empty.
    pub fn required_tables(&mut self, key: &'static str, what: &str) -> Vec<Reader<'t>> {
        let empty =
            |value: &Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|all| all.is_empty());
        if self.value(key).is_none_or(empty) {
            let message = format!("{} needs at least {}", self.what, what.replacen("a ", "one ", 1));
            self.doc.report(self.key_span(key), message, format!("write [[{key}]]"));
        }
        self.tables(key, what)
    }

    /// The same, where there must be one.
    pub fn required_list<T: Declared, D>(
        &mut self,
        key: Key<ListOf<In<T>>, D>,
        what: &str,
    ) -> Vec<Reader<'t>> {
        let known = |table| Reader { known: vec![T::TABLE], ..table };
        self.required_tables(key.name, what).into_iter().map(known).collect()
    }

    /// The entries of a table whose keys its writer chose. Empty if the key is absent.
    pub fn entries_of<T: KeyType, D>(&mut self, key: Key<MapOf<T>, D>) -> Vec<Entry<'t>> {
        self.get(key).map(|table| table.rest()).unwrap_or_default()
    }

    /// The entries of a table with any keys. Empty if the key is absent.
    pub fn entries(&mut self, key: &'static str) -> Vec<Entry<'t>> {
        let what = self.what.clone();
        self.table(key, what).map(|table| table.rest()).unwrap_or_default()
    }

    /// Every key that was not read, instead of [`Reader::finish`].
    pub fn rest(self) -> Vec<Entry<'t>> {
        let left = self.table.iter().filter(|(key, _)| !self.asked.contains(&&**key.get_ref()));
        left.map(|(key, value)| (Spanned::new(key.span(), key.get_ref().to_string()), value)).collect()
    }

    /// Reports every key that was not read.
    pub fn finish(mut self) {
        let (doc, what, mut known) = (self.doc, self.what.clone(), self.asked.clone());
        let declared = self.known.iter().flat_map(|table| table.all_keys());
        if !self.known.is_empty() {
            known = declared.map(|key| key.name).collect();
        }
        self.asked.extend(known.iter());
        known.sort_unstable();
        known.dedup();
        for (key, _) in self.rest() {
            let guess = foreign(key.get_ref(), &known)
                .unwrap_or_else(|| did_you_mean(key.get_ref(), known.iter().copied()));
            let message = format!("{what} has no key `{}`{guess}", key.get_ref());
            doc.report(key.span(), message, format!("known keys: {}", known.join(", ")));
        }
    }
}

/// One of the words, with its meaning.
pub fn choose<M: Clone>(at: At<'_>, words: &[(&str, M)]) -> Option<M> {
    let DeValue::String(text) = at.value.get_ref() else { return at.mismatch("a string") };
    let found = words.iter().find(|(word, _)| word == text);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let guess = did_you_mean(text, known.iter().copied());
        at.doc.report(at.value.span(), format!("`{}` cannot be `{text}`{guess}", at.key), known_names(known));
    }
    found.map(|(_, meaning)| meaning.clone())
}

/// A string, or an array of strings.
pub fn strings(doc: Doc<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Spanned<String>> {
    let items = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(Spanned::new(item.span(), text.to_string())),
        other => {
            doc.wrong(item.span(), expected(key, "a string or an array of strings", other));
            None
        }
    };
    items.into_iter().filter_map(text).collect()
}

/// A TOML value for templates. Dates become text; values that JSON does not have are reported.
pub fn json(doc: Doc<'_>, value: &Spanned<DeValue<'_>>) -> Value {
    let wrong = || {
        doc.wrong(value.span(), "a var cannot be infinite, not a number, or longer than 64 bits");
        Value::Null
    };
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| wrong(), Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().ok().filter(|n| n.is_finite()).map_or_else(wrong, Value::from)
        }
        DeValue::Array(items) => Value::Array(items.iter().map(|item| json(doc, item)).collect()),
        DeValue::Table(table) => Value::Object(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(doc, value))).collect(),
        ),
    }
}

fn expected(key: &str, wanted: &str, got: &DeValue<'_>) -> String {
    let got = match got {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    format!("`{key}` is {wanted}, not {got}")
}
