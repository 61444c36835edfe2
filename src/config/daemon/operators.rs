//! `operators`: the keys of operators, in OpenSSH's authorized_keys format.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use russh::keys::{HashAlg, PublicKey};

use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::{did_you_mean, known_names};
use crate::domain::ask::access::{Operator, Role};

/// Shortest RSA key that is accepted: shorter ones have less than 128 bits of strength (NIST SP 800-57).
const RSA_LIMIT_BITS: u32 = 3072;

/// Longest name of an operator, in bytes: it appears in every line of history.
const NAME_LIMIT_BYTES: usize = 128;

const ROLES: [(&str, Role); 3] =
    [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];
const OPTIONS: [&str; 2] = ["role", "groups"];

/// Prefixes of a line without options.
const KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];

/// What private keys have in them: OpenSSH's and PEM's, PuTTY's, and the first bytes of OpenSSH's where the line above is
/// missing.
const PRIVATE_KEYS: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key-File", "b3BlbnNzaC1rZXktdjE"];

/// Shortest line of one word that may be a part of a private key without its header, in bytes.
const KEY_LINE_BYTES: usize = 32;

/// Part of a line, with its position in the file.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t str,
    start: usize,
}

impl<'t> Piece<'t> {
    fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The part behind the first `bytes` bytes.
    fn after(&self, bytes: usize) -> Piece<'t> {
        Piece { text: &self.text[bytes..], start: self.start + bytes }
    }

    /// The part before a blank, and the part after the blanks.
    fn split_at_blank(&self, at: usize) -> (Piece<'t>, Piece<'t>) {
        let rest = self.after(at);
        let blanks = rest.text.len() - rest.text.trim_start().len();
        (Piece { text: &self.text[..at], start: self.start }, rest.after(blanks))
    }
}

/// Reads the file. `groups` are all existing groups, if known.
pub fn read(doc: Doc<'_>, groups: Option<&BTreeSet<String>>) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    if PRIVATE_KEYS.iter().any(|mark| doc.text.contains(mark)) || doc.text.lines().any(is_part_of_key) {
        let hint = "write the line of the file that ends in .pub instead, and make a new key: others may have read this one";
        // Without a place: no message may quote the file.
        doc.report(None, "the file holds a private key, or a part of one", hint.to_string());
        return operators;
    }
    let mut start = 0;
    for raw in doc.text.split_inclusive('\n') {
        let indent = raw.len() - raw.trim_start().len();
        let line = Piece { text: raw.trim(), start: start + indent };
        start += raw.len();
        if line.text.is_empty() || line.text.starts_with('#') {
            continue;
        }
        let Some(operator) = read_line(doc, line, groups) else { continue };
        if let Some(other) = operators.iter().find(|other| other.key == operator.key) {
            doc.wrong(line.span(), format!("the key of {} is that of {} too", operator.name, other.name));
        }
        operators.push(operator);
    }
    operators
}

/// True for a line of base64 alone.
fn is_part_of_key(line: &str) -> bool {
    let line = line.trim();
    let base64 = |c: char| c.is_ascii_alphanumeric() || ['+', '/', '='].contains(&c);
    line.len() >= KEY_LINE_BYTES && line.chars().all(base64)
}

fn read_line(doc: Doc<'_>, line: Piece<'_>, groups: Option<&BTreeSet<String>>) -> Option<Operator> {
    let is_key = KEY_TYPES.iter().any(|prefix| line.text.starts_with(prefix));
    let (options, key) = match is_key {
        true => (Piece { text: "", ..line }, line),
        false => line.split_at_blank(end_of_options(line.text)),
    };
    // Options without a key behind them are not parsed.
    let options = read_options(doc, if key.text.is_empty() { key } else { options });
    let (name, key) = read_key(doc, if key.text.is_empty() { line } else { key })?;
    let role = options.get("role").map_or(Some(Role::Viewer), |role| read_role(doc, *role))?;
    let groups = options.get("groups").map(|list| read_groups(doc, *list, groups));
    Some(Operator { name, key, role, groups })
}

/// The first blank outside of quotes.
fn end_of_options(line: &str) -> usize {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    end.unwrap_or(line.len())
}

/// `name="value"` pairs, separated by commas outside of quotes.
fn read_options<'t>(doc: Doc<'_>, options: Piece<'t>) -> BTreeMap<&'t str, Piece<'t>> {
    let mut values = BTreeMap::new();
    let mut rest = options;
    while !rest.text.is_empty() {
        let mut quoted = false;
        let end = rest.text.find(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let end = end.unwrap_or(rest.text.len());
        let option = Piece { text: &rest.text[..end], start: rest.start };
        rest = rest.after((end + 1).min(rest.text.len()));
        if let Some((name, value)) = read_option(doc, option)
            && values.insert(name, value).is_some()
        {
            doc.wrong(option.span(), format!("`{name}` is given twice"));
        }
    }
    values
}

fn read_option<'t>(doc: Doc<'_>, option: Piece<'t>) -> Option<(&'t str, Piece<'t>)> {
    let name = option.text.split('=').next().unwrap_or_default();
    if !OPTIONS.contains(&name) {
        let guess = did_you_mean(name, OPTIONS);
        let hint = "an operator's line knows role=\"...\" and groups=\"...\"".to_string();
        doc.report(option.span(), format!("no option is called `{name}`{guess}"), hint);
        return None;
    }
    let value = option.after((name.len() + 1).min(option.text.len()));
    let inside = value.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inside.filter(|text| !text.contains('"') && !text.is_empty()) {
        Some(text) => Some((name, Piece { text, start: value.start + 1 })),
        None => {
            doc.report(option.span(), format!("`{name}` needs a value in quotes"), format!("{name}=\"...\""));
            None
        }
    }
}

/// The operator's name and the fingerprint of the key.
fn read_key(doc: Doc<'_>, line: Piece<'_>) -> Option<(String, String)> {
    let words: Vec<&str> = line.text.split_whitespace().collect();
    let (Some(kind), Some(data)) = (words.first(), words.get(1)) else {
        doc.report(
            line.span(),
            "a line needs a key",
            "TYPE BASE64 NAME, as in an id_ed25519.pub".to_string(),
        );
        return None;
    };
    let key = match PublicKey::from_openssh(&format!("{kind} {data}")) {
        Ok(key) => key,
        Err(error) => {
            doc.wrong(line.span(), format!("the key cannot be read: {error}"));
            return None;
        }
    };
    check_strength(doc, line, &key);
    let name = words[2..].join(" ");
    if name.is_empty() {
        let hint = "write who it is behind the key".to_string();
        doc.report(line.span(), "the key has no name: history could not say who it was", hint);
        return None;
    }
    if name.len() > NAME_LIMIT_BYTES || name.contains(char::is_control) {
        let message = format!("a name has at most {NAME_LIMIT_BYTES} bytes, and no control characters");
        doc.wrong(line.span(), message);
    }
    Some((name, key.fingerprint(HashAlg::Sha256).to_string()))
}

fn check_strength(doc: Doc<'_>, line: Piece<'_>, key: &PublicKey) {
    let hint = || "make a new one: ssh-keygen -t ed25519".to_string();
    let data = key.key_data();
    if data.is_dsa() {
        doc.report(line.span(), "DSA keys are too weak", hint());
    } else if let Some(rsa) = data.rsa().filter(|rsa| rsa.key_size() < RSA_LIMIT_BITS) {
        let bits = rsa.key_size();
        doc.report(
            line.span(),
            format!("an RSA key of {bits} bits is too weak: {RSA_LIMIT_BITS} at least"),
            hint(),
        );
    } else if data.is_certificate() || data.is_other() {
        doc.report(line.span(), "a key of this type cannot be used", hint());
    }
}

fn read_role(doc: Doc<'_>, role: Piece<'_>) -> Option<Role> {
    let found = ROLES.iter().find(|(word, _)| *word == role.text);
    if found.is_none() {
        let words: Vec<&str> = ROLES.iter().map(|(word, _)| *word).collect();
        let guess = did_you_mean(role.text, words.iter().copied());
        doc.report(role.span(), format!("no role is called `{}`{guess}", role.text), known_names(words));
    }
    found.map(|(_, role)| *role)
}

fn read_groups(doc: Doc<'_>, list: Piece<'_>, known: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let mut groups = BTreeSet::new();
    let mut start = list.start;
    for part in list.text.split(',') {
        let name = part.trim();
        let from = start + (part.len() - part.trim_start().len());
        start += part.len() + 1;
        if let Some(known) = known.filter(|known| !known.contains(name)) {
            doc.unknown(from..from + name.len(), "group", name, known.iter().map(String::as_str));
        }
        groups.insert(name.to_string());
    }
    groups
}
