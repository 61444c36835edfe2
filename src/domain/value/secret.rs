//! Secrets: values that are never printed, and the redactor that removes them from all output, in every
//! form in which programs print them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::shell;

/// Printed in place of a secret.
pub const HIDDEN: &str = "***";

/// Shortest secret: a shorter one is part of many texts, and hiding it would make them unreadable.
pub const SHORTEST_BYTES: usize = 4;

/// Longest secret; a key with its certificates fits.
pub const LONGEST_BYTES: usize = 16 * 1024;

/// Shortest line of a multi-line secret that is hidden separately, and the shortest piece of base64.
const SHORTEST_PIECE_BYTES: usize = 6;

/// The line widths of base64: 64 of `openssl` and PEM, and 76 of most other programs.
const BASE64_COLUMNS: [usize; 2] = [64, 76];

/// A text that is never printed: no `Display`, no serialization, `***` for debugging; wiped when the last copy is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// A secret that can be hidden. The error says why this one cannot, without its text.
    pub fn new(text: impl Into<String>) -> Result<Secret, String> {
        let text = Zeroizing::new(text.into());
        let bytes = text.len();
        if bytes < SHORTEST_BYTES {
            return Err(format!(
                "a secret has at least {SHORTEST_BYTES} bytes, and this one has {bytes}: hiding it would hide everything"
            ));
        }
        if bytes > LONGEST_BYTES {
            return Err(format!("a secret has at most {LONGEST_BYTES} bytes, and this one has {bytes}"));
        }
        if text.contains('\0') {
            return Err("it holds a NUL character, which no host can be given".into());
        }
        Ok(Secret(Arc::new(text)))
    }

    /// The text itself: for the host that needs it, and for [`Masks`].
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Secrets by name, as templates of steps read them.
pub type SecretVars = BTreeMap<String, Secret>;

/// Finds secrets in text and replaces them with [`HIDDEN`]. Without secrets it costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    /// Each part is a separate set, so that adding a few secrets need not sort many again.
    parts: Vec<Arc<SecretPart>>,
}

struct SecretPart {
    /// Sorted.
    forms: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
    find: AhoCorasick,
}

impl fmt::Debug for SecretPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forms", self.forms.len())
    }
}

impl SecretPart {
    fn new(forms: BTreeSet<Vec<u8>>) -> Result<SecretPart, String> {
        let forms: Vec<Zeroizing<Vec<u8>>> = forms.into_iter().map(Zeroizing::new).collect();
        let find = AhoCorasick::builder()
            // If secrets overlap, hiding only the first would leave the end of the second.
            .match_kind(MatchKind::Standard)
            .build(forms.iter().map(|form| form.as_slice()))
            .map_err(|error| format!("there are too many secrets: {error}"))?;
        Ok(SecretPart { longest: forms.iter().map(|form| form.len()).max().unwrap_or_default(), forms, find })
    }

    /// True when a form starts with `start` and is longer.
    fn may_go_on(&self, start: &[u8]) -> bool {
        let at = self.forms.partition_point(|form| form.as_slice() <= start);
        self.forms.get(at).is_some_and(|form| form.starts_with(start))
    }
}

impl Masks {
    /// Masks for these secrets.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Result<Masks, String> {
        let forms: BTreeSet<Vec<u8>> =
            secrets.into_iter().flat_map(|secret| forms(secret.expose())).collect();
        Masks::of_forms(forms)
    }

    fn of_forms(forms: BTreeSet<Vec<u8>>) -> Result<Masks, String> {
        let part = (!forms.is_empty()).then(|| SecretPart::new(forms)).transpose()?;
        Ok(Masks { parts: part.into_iter().map(Arc::new).collect() })
    }

    /// Masks for the secrets of both.
    pub fn and(&self, more: &Masks) -> Masks {
        Masks { parts: self.parts.iter().chain(&more.parts).cloned().collect() }
    }

    /// True when there is no secret to hide.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Masks without the forms that appear in `text`, which has to stay readable: it is the vocabulary of our own
    /// scripts, and a password that equals a host name must not make their answers unreadable.
    pub fn sparing(self: &Arc<Masks>, text: &str) -> Result<Arc<Masks>, String> {
        if self.places(text.as_bytes()).is_empty() {
            return Ok(self.clone());
        }
        let stands_in = |form: &[u8]| text.as_bytes().windows(form.len()).any(|piece| piece == form);
        let forms = self.parts.iter().flat_map(|part| &part.forms);
        Masks::of_forms(forms.map(|form| form.to_vec()).filter(|form| !stands_in(form)).collect())
            .map(Arc::new)
    }

    /// A text without its secrets.
    pub fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_string();
        }
        let mut stream = self.stream();
        let mut out = stream.push(text.as_bytes());
        out.extend(stream.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A text that was cut at its end, without its secrets, and without what may be the start of one; and how many bytes
    /// that left out.
    pub fn beginning(&self, text: &[u8]) -> (Vec<u8>, usize) {
        let open = if self.is_empty() { 0 } else { text.len() - self.open_end(text) };
        (self.stream().push(text), open)
    }

    /// Masks for a text in pieces.
    pub fn stream(&self) -> Stream {
        Stream { masks: self.clone(), held: Zeroizing::default(), covered: 0 }
    }

    /// The places of secrets, in order; overlapping ones are joined.
    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let found = self.parts.iter().flat_map(|part| part.find.find_overlapping_iter(text));
        let mut found: Vec<Range<usize>> = found.map(|place| place.range()).collect();
        found.sort_by_key(|place| (place.start, place.end));
        let mut merged: Vec<Range<usize>> = Vec::new();
        for place in found {
            match merged.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => merged.push(place),
            }
        }
        merged
    }

    /// The start of the first possible secret that may continue behind `text`.
    fn open_end(&self, text: &[u8]) -> usize {
        let longest = self.parts.iter().map(|part| part.longest).max().unwrap_or_default();
        let from = text.len().saturating_sub(longest.saturating_sub(1));
        let open = |at: &usize| self.parts.iter().any(|part| part.may_go_on(&text[*at..]));
        (from..text.len()).find(open).unwrap_or(text.len())
    }
}

/// The secrets of one run, given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub values: SecretVars,
    pub masks: Masks,
}

impl Given {
    /// With these secrets.
    pub fn new(values: SecretVars) -> Result<Given, String> {
        let masks = Masks::new(values.values())?;
        Ok(Given { values, masks })
    }
}

/// Hides secrets in a text that arrives in pieces. A possible start of a secret is held back: less than the
/// longest form of a secret.
#[derive(Debug)]
pub struct Stream {
    masks: Masks,
    held: Zeroizing<Vec<u8>>,
    /// Bytes at the start of the held text for which [`HIDDEN`] was already printed.
    covered: usize,
}

impl Stream {
    /// Adds a piece; returns the text that can be printed now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.masks.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let until = self.masks.open_end(&self.held);
        self.print(until)
    }

    /// Returns the rest after the last piece.
    pub fn finish(mut self) -> Vec<u8> {
        let until = self.held.len();
        self.print(until)
    }

    /// Prints the text before `until`. Every secret that starts there is complete.
    fn print(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until);
        let mut covered = self.covered;
        for place in self.masks.places(&self.held) {
            if place.start >= covered {
                if place.start >= until {
                    break;
                }
                out.extend_from_slice(&self.held[covered..place.start]);
                out.extend_from_slice(HIDDEN.as_bytes());
            }
            covered = covered.max(place.end);
        }
        out.extend_from_slice(&self.held[covered.min(until)..until]);
        self.held.drain(..until);
        self.covered = covered.saturating_sub(until);
        out
    }
}

/// Every form in which a secret is searched for: the whole secret, and each of its lines.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    add_forms(secret, &mut found);
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_PIECE_BYTES);
    lines.filter(|line| *line != secret).for_each(|line| add_forms(line, &mut found));
    found.retain(|form| form.len() >= SHORTEST_BYTES);
    found
}

fn add_forms(text: &str, found: &mut Vec<Vec<u8>>) {
    let mut add = |form: String| found.push(form.into_bytes());
    add(text.to_string());
    if let Ok(json) = serde_json::to_string(text) {
        let inner = &json[1..json.len() - 1];
        add(inner.to_string());
        add(inner.replace('/', "\\/"));
        add(ascii_json(inner));
    }
    add(shell::quote(text));
    add(text.replace('\'', r"'\''"));
    add(in_double_quotes(text));
    add(text.escape_debug().to_string());
    for keep in ["-._~", "-._~!'()*", "-._~!'()*;/?:@&=+$,#"] {
        add(url_encoded(text, keep, true));
        add(url_encoded(text, keep, false));
        add(url_encoded(text, keep, true).replace("%20", "+"));
        add(url_encoded(text, keep, false).replace("%20", "+"));
    }
    add(text.bytes().map(|byte| format!("%{byte:02X}")).collect());
    add(text.bytes().map(|byte| format!("%{byte:02x}")).collect());
    found.extend(base64_forms(text));
}

/// The JSON form of programs that write only ASCII.
fn ascii_json(text: &str) -> String {
    let mut units = [0; 2];
    let mut escaped = |c: char| -> String {
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect()
}

fn in_double_quotes(text: &str) -> String {
    let escaped = |c: char| if "\\\"$`".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escaped).collect()
}

fn url_encoded(text: &str, keep: &str, upper: bool) -> String {
    let encoded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => {
            char::from(byte).to_string()
        }
        byte if upper => format!("%{byte:02X}"),
        byte => format!("%{byte:02x}"),
    };
    text.bytes().map(encoded).collect()
}

/// The base64 forms: alone, with a line end, in lines, and inside a longer text: there the first and
/// the last character hold bits of the neighbours, and only those between them belong to the secret alone.
fn base64_forms(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let with_end = format!("{text}\n");
    for whole in [text, &with_end] {
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            found.push(engine.encode(whole).into_bytes());
        }
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let shifted = Zeroizing::new([&vec![0; before], text.as_bytes()].concat());
            let encoded = Zeroizing::new(engine.encode(shifted.as_slice()).into_bytes());
            let (from, to) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
            found.push(encoded[from..to].to_vec());
            if before == 0 {
                found.extend(in_lines(&encoded[..to]));
            }
        }
    }
    found
}

fn in_lines(encoded: &[u8]) -> Vec<Vec<u8>> {
    let lines = BASE64_COLUMNS.into_iter().filter(|columns| encoded.len() > *columns);
    let lines = lines.flat_map(|columns| encoded.chunks(columns));
    lines.filter(|line| line.len() >= SHORTEST_PIECE_BYTES).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
