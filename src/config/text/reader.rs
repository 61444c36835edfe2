//! Reads one TOML table key by key. Keys that its declaration does not have are mistakes, reported with the nearest
//! known key.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Doc;
use super::keys::{Choice, In, Key, KeyType, ListOf, MapOf, Text, Time, WordList};
use super::table::{Declared, Table};
use crate::config::text::hints::{did_you_mean, foreign, known_names};

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
    /// The keys that were read.
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
    /// Reads a table whose keys are those of `T`. Messages call it `what`.
    pub fn of<T: Declared>(
        doc: Doc<'t>,
        what: impl Into<String>,
        (table, span): (&'t DeTable<'t>, Option<Range<usize>>),
    ) -> Self {
        Reader { doc, span, what: what.into(), table, known: vec![T::TABLE], asked: Vec::new() }
    }

    /// Reads a value that is a table with the keys of `T`; any other value is reported.
    pub fn inside<T: Declared>(
        doc: Doc<'t>,
        what: impl Into<String>,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Self> {
        Some(Reader { known: vec![T::TABLE], ..Reader::free(doc, what, key, value)? })
    }

    /// Reads a value that is a table with any keys; any other value is reported.
    pub fn free(
        doc: Doc<'t>,
        what: impl Into<String>,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Self> {
        let (what, span) = (what.into(), Some(value.span()));
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Reader { doc, span, what, table, known: Vec::new(), asked: Vec::new() })
            }
            other => {
                doc.wrong(value.span(), expected(key, "a table", other));
                None
            }
        }
    }

    /// From here on, it may have only the keys of these tables.
    pub fn narrow(&mut self, tables: &[&'static Table]) {
        self.known = tables.to_vec();
    }

    /// The value of `key`, of any type.
    pub fn value<T, D>(&mut self, key: Key<T, D>) -> Option<&'t Spanned<DeValue<'t>>> {
        debug_assert!(self.may_have(key.name), "`{}` is not a key of {}", key.name, self.what);
        self.asked.push(key.name);
        self.table.get(key.name)
    }

    fn may_have(&self, key: &str) -> bool {
        let has =
            |table: &&Table| table.others.is_some() || table.all_keys().iter().any(|own| own.name == key);
        self.known.is_empty() || self.known.iter().any(has)
    }

    fn at<T, D>(&mut self, key: Key<T, D>) -> Option<At<'t>> {
        let (doc, name) = (self.doc, key.name);
        self.value(key).map(|value| At { doc, key: name, value })
    }

    /// The value of `key`; `None` if it is absent or wrong.
    pub fn get<T: Readable, D>(&mut self, key: Key<T, D>) -> Option<T::Value<'t>> {
        self.at(key).and_then(T::read)
    }

    /// The value of `key`, or its default.
    pub fn or_default<T: Readable>(&mut self, key: Key<T, T::Default>) -> T::Value<'t>
    where
        T::Value<'t>: From<T::Default>,
    {
        let name = Key::<T>::new(key.name, ());
        self.get(name).unwrap_or_else(|| key.default.into())
    }

    /// A time that must not be zero; `why` explains that in the message.
    pub fn positive<D>(&mut self, key: Key<Time, D>, why: &str) -> Option<Duration> {
        let (name, time) = (key.name, self.get(key)?);
        if time.is_zero() {
            let span = self.table.get(name).map(Spanned::span);
            self.doc.wrong(span, format!("`{name}` cannot be zero: {why}"));
        }
        Some(time).filter(|time| !time.is_zero())
    }

    /// A required string, which must not be empty.
    pub fn required<T, D>(&mut self, key: Key<T, D>) -> Option<Spanned<String>> {
        let name = key.name;
        let Some(at) = self.at(key) else {
            self.missing(name);
            return None;
        };
        let text = Text::read(at)?;
        if text.get_ref().trim().is_empty() {
            self.doc.wrong(text.span(), format!("`{name}` is empty"));
            return None;
        }
        Some(text)
    }

    /// One word out of some of those that the key can have.
    pub fn among<W: WordList, D>(
        &mut self,
        key: Key<Choice<W>, D>,
        words: &[(&str, W::Meaning)],
    ) -> Option<W::Meaning> {
        choose(self.at(key)?, words)
    }

    /// A table that messages call `what`.
    pub fn inner<T: Declared, D>(&mut self, key: Key<In<T>, D>, what: &str) -> Option<Reader<'t>> {
        let at = self.at(key)?;
        Reader::inside::<T>(at.doc, what, at.key, at.value)
    }

    /// Tables written `[[key]]`, which messages call `what`.
    pub fn list<T: Declared, D>(&mut self, key: Key<ListOf<In<T>>, D>, what: &str) -> Vec<Reader<'t>> {
        let Some(at) = self.at(key) else { return Vec::new() };
        let DeValue::Array(items) = at.value.get_ref() else {
            at.mismatch::<()>(&format!("a list of tables, each written [[{}]]", at.key));
            return Vec::new();
        };
        items.iter().filter_map(|item| Reader::inside::<T>(at.doc, what, at.key, item)).collect()
    }

    /// The same, where there must be one.
    pub fn required_list<T: Declared>(&mut self, key: Key<ListOf<In<T>>>, what: &str) -> Vec<Reader<'t>> {
        let empty =
            |value: &Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|all| all.is_empty());
        if self.value(key).is_none_or(empty) {
            let message = format!("{} needs at least {}", self.what, what.replacen("a ", "one ", 1));
            self.doc.report(self.key_span(key.name), message, format!("write [[{}]]", key.name));
        }
        self.list(key, what)
    }

    /// The entries of a table whose keys its writer chose. Empty if the key is absent.
    pub fn entries<T: KeyType, D>(&mut self, key: Key<MapOf<T>, D>) -> Vec<Entry<'t>> {
        self.get(key).map(|table| table.rest()).unwrap_or_default()
    }

    /// The span of the name of `key`.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.keys().find(|known| known.get_ref() == key).map(Spanned::span)
    }

    /// Reports that `key` is missing.
    pub fn missing(&self, key: &str) {
        self.doc.wrong(self.span.clone(), format!("{} needs `{key}`", self.what));
    }

    /// Every key that was not read, instead of [`Reader::finish`].
    pub fn rest(self) -> Vec<Entry<'t>> {
        self.others(&self.asked)
    }

    fn others(&self, known: &[&str]) -> Vec<Entry<'t>> {
        let left = self.table.iter().filter(|(key, _)| !known.contains(&&**key.get_ref()));
        left.map(|(key, value)| (Spanned::new(key.span(), key.get_ref().to_string()), value)).collect()
    }

    /// Reports every key that is not declared.
    pub fn finish(self) {
        let declared = self.known.iter().flat_map(|table| table.all_keys());
        let mut known: Vec<&str> = declared.map(|key| key.name).collect();
        known.sort_unstable();
        for (key, _) in self.others(&known) {
            let guess = foreign(key.get_ref(), &known)
                .unwrap_or_else(|| did_you_mean(key.get_ref(), known.iter().copied()));
            let message = format!("{} has no key `{}`{guess}", self.what, key.get_ref());
            self.doc.report(key.span(), message, format!("known keys: {}", known.join(", ")));
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
