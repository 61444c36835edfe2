//! `operators`: the keys of operators and of CAs, in OpenSSH's authorized_keys format.

use std::collections::{BTreeMap, BTreeSet};

use russh::keys::{HashAlg, PublicKey};

use super::line_options::{self, Piece};
use super::roles::Roles;
use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::did_you_mean;
use crate::domain::ask::access::{OperatorRole, Role};
use crate::domain::ask::enrolled::{Authority, LineKey, NAME_LIMIT_BYTES, OperatorLine, Person};

/// Shortest RSA key that is accepted: shorter ones have less than 128 bits of strength (NIST SP 800-57).
const RSA_LIMIT_BITS: u32 = 3072;

/// The options with a value, and the one without.
const OPTIONS: [&str; 6] = ["role", "groups", "from", "expiry-time", "principals", "person"];
const AUTHORITY: &str = "cert-authority";

/// Prefixes of a line without options.
const KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];

/// What private keys have in them: OpenSSH's and PEM's, PuTTY's, and the first bytes of OpenSSH's where the line above is
/// missing.
const PRIVATE_KEYS: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key-File", "b3BlbnNzaC1rZXktdjE"];

/// Shortest line of one word that may be a part of a private key without its header, in bytes.
const KEY_LINE_BYTES: usize = 32;

/// The names that lines refer to.
#[derive(Clone, Copy)]
pub struct OperatorNames<'n> {
    /// All existing groups, if they are known.
    pub groups: Option<&'n BTreeSet<String>>,
    pub roles: &'n Roles,
}

/// Reads the file.
pub fn read(doc: Doc<'_>, names: OperatorNames<'_>) -> Vec<OperatorLine> {
    let mut lines: Vec<OperatorLine> = Vec::new();
    if PRIVATE_KEYS.iter().any(|mark| doc.text.contains(mark)) || doc.text.lines().any(is_part_of_key) {
        let hint = "write the line of the file that ends in .pub instead, and make a new key: others may have read this one";
        // Without a place: no message may quote the file.
        doc.report(None, "the file holds a private key, or a part of one", hint.to_string());
        return lines;
    }
    let mut start = 0;
    for raw in doc.text.split_inclusive('\n') {
        let indent = raw.len() - raw.trim_start().len();
        let piece = Piece { text: raw.trim(), start: start + indent };
        start += raw.len();
        if piece.text.is_empty() || piece.text.starts_with('#') {
            continue;
        }
        let Some(line) = read_line(doc, piece, names) else { continue };
        lines
            .iter()
            .filter_map(|other| clash(&line, other))
            .take(1)
            .for_each(|why| doc.wrong(piece.span(), why));
        lines.push(line);
    }
    lines
}

/// Why two lines cannot both count.
fn clash(line: &OperatorLine, other: &OperatorLine) -> Option<String> {
    match (&line.subject, &other.subject) {
        (LineKey::Key(key), LineKey::Key(known)) if key == known => {
            Some(format!("the key of {} is that of {} too", line.name, other.name))
        }
        (LineKey::Authority(own), LineKey::Authority(known)) if own.ca == known.ca => {
            let both = own.principals.intersection(&known.principals).next()?;
            Some(format!("the principal {both} of this CA is in the line of {} too", other.name))
        }
        (LineKey::Key(key), LineKey::Authority(Authority { ca, .. }))
        | (LineKey::Authority(Authority { ca, .. }), LineKey::Key(key))
            if key == ca =>
        {
            Some(format!("the key of {} is a CA in the line of {}", line.name, other.name))
        }
        _ => None,
    }
}

/// True for a line of base64 alone.
fn is_part_of_key(line: &str) -> bool {
    let line = line.trim();
    let base64 = |c: char| c.is_ascii_alphanumeric() || ['+', '/', '='].contains(&c);
    line.len() >= KEY_LINE_BYTES && line.chars().all(base64)
}

fn read_line(doc: Doc<'_>, line: Piece<'_>, names: OperatorNames<'_>) -> Option<OperatorLine> {
    let is_key = KEY_TYPES.iter().any(|prefix| line.text.starts_with(prefix));
    let (options, key) = match is_key {
        true => (Piece { text: "", ..line }, line),
        false => line.split_at_blank(end_of_options(line.text)),
    };
    // Options without a key behind them are not parsed.
    let options = read_options(doc, if key.text.is_empty() { key } else { options });
    let (name, key) = read_key(doc, if key.text.is_empty() { line } else { key })?;
    let role = match options.get("role") {
        Some(role) => line_options::role(doc, *role, names.roles)?,
        None => OperatorRole::Standard(Role::Viewer),
    };
    let groups = options.get("groups").map(|list| line_options::groups(doc, *list, names.groups));
    let groups = line_options::groups_within(doc, line, groups, &role);
    Some(OperatorLine {
        subject: read_subject(doc, line, &options, key),
        name,
        role,
        groups,
        from: options.get("from").and_then(|list| line_options::from(doc, *list)),
        until: options.get("expiry-time").and_then(|time| line_options::expiry(doc, *time)),
    })
}

/// A CA's line needs principals: without them every certificate of the CA would log in.
fn read_subject(doc: Doc<'_>, line: Piece<'_>, options: &LineOptions<'_>, key: String) -> LineKey {
    let person = options.get("person").and_then(|word| line_options::person(doc, *word));
    let principals = options.get("principals").map(|list| line_options::principals(doc, *list));
    if !options.contains_key(AUTHORITY) {
        for name in ["principals", "person"].into_iter().filter(|name| options.contains_key(name)) {
            let hint = "write cert-authority in front".to_string();
            doc.report(line.span(), format!("`{name}` is for the key of a CA"), hint);
        }
        return LineKey::Key(key);
    }
    if principals.is_none() {
        let hint = "cert-authority,principals=\"...\"".to_string();
        doc.report(line.span(), "a CA needs `principals`: the names that its certificates must have", hint);
    }
    let principals = principals.unwrap_or_default();
    LineKey::Authority(Authority { ca: key, principals, person: person.unwrap_or(Person::KeyId) })
}

/// The values of options, by name.
type LineOptions<'t> = BTreeMap<&'t str, Piece<'t>>;

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
fn read_options<'t>(doc: Doc<'_>, options: Piece<'t>) -> LineOptions<'t> {
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
    if option.text == AUTHORITY {
        return Some((AUTHORITY, option));
    }
    let name = option.text.split('=').next().unwrap_or_default();
    if !OPTIONS.contains(&name) {
        let guess = did_you_mean(name, OPTIONS.into_iter().chain([AUTHORITY]));
        let hint = "an operator's line knows role, groups, from and expiry-time; that of a CA cert-authority, principals and person, too".to_string();
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
