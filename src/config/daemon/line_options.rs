//! The values of options in `operators`.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::keys::RoleWords;
use super::roles::Roles;
use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::{did_you_mean, known_names};
use crate::config::text::keys::WordList;
use crate::domain::ask::access::OperatorRole;
use crate::domain::ask::enrolled::Person;
use crate::domain::base::networks::Networks;
use crate::domain::inventory::inventory::is_within;

const PERSONS: [(&str, Person); 2] = [("key-id", Person::KeyId), ("principal", Person::Principal)];

/// Part of a line, with its position in the file.
#[derive(Clone, Copy)]
pub struct Piece<'t> {
    pub text: &'t str,
    pub start: usize,
}

impl<'t> Piece<'t> {
    /// Its place in the file.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The part behind the first `bytes` bytes.
    pub fn after(&self, bytes: usize) -> Piece<'t> {
        Piece { text: &self.text[bytes..], start: self.start + bytes }
    }

    /// The part before a blank, and the part after the blanks.
    pub fn split_at_blank(&self, at: usize) -> (Piece<'t>, Piece<'t>) {
        let rest = self.after(at);
        let blanks = rest.text.len() - rest.text.trim_start().len();
        (Piece { text: &self.text[..at], start: self.start }, rest.after(blanks))
    }
}

/// A built-in role, or one of `rollcall.toml`.
pub fn role(doc: Doc<'_>, role: Piece<'_>, own: &Roles) -> Option<OperatorRole> {
    let found = match RoleWords::meaning(role.text) {
        Some(role) => Some(OperatorRole::Standard(role)),
        None => own.get(role.text).cloned().map(OperatorRole::Own),
    };
    if found.is_none() {
        let words: Vec<&str> = RoleWords::words().into_iter().chain(own.keys().map(String::as_str)).collect();
        let guess = did_you_mean(role.text, words.iter().copied());
        doc.report(role.span(), format!("no role is called `{}`{guess}", role.text), known_names(words));
    }
    found
}

/// Names with commas, and their places.
fn names(list: Piece<'_>) -> impl Iterator<Item = Piece<'_>> {
    let mut start = list.start;
    list.text.split(',').map(move |part| {
        let name = part.trim();
        let from = start + (part.len() - part.trim_start().len());
        start += part.len() + 1;
        Piece { text: name, start: from }
    })
}

/// `groups="prod.web,test"`.
pub fn groups(doc: Doc<'_>, list: Piece<'_>, known: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let check = |name: &Piece<'_>| {
        if let Some(known) = known.filter(|known| !known.contains(name.text)) {
            doc.unknown(name.span(), "group", name.text, known.iter().map(String::as_str));
        }
    };
    names(list).inspect(check).map(|name| name.text.to_string()).collect()
}

/// The groups of a line within those of its role: neither widens the other.
pub fn groups_within(
    doc: Doc<'_>,
    line: Piece<'_>,
    own: Option<BTreeSet<String>>,
    role: &OperatorRole,
) -> Option<BTreeSet<String>> {
    let of_role = match role {
        OperatorRole::Own(role) => role.groups.clone(),
        OperatorRole::Standard(_) => None,
    };
    let (own, of_role) = match (own, of_role) {
        (Some(own), Some(of_role)) => (own, of_role),
        (own, of_role) => return own.or(of_role),
    };
    let narrower = own.iter().filter(|group| is_within(group, &of_role));
    let both: BTreeSet<String> =
        narrower.chain(of_role.iter().filter(|group| is_within(group, &own))).cloned().collect();
    if both.is_empty() {
        let hint = "name groups within those of the role".to_string();
        doc.report(
            line.span(),
            format!("no group of this line is within the groups of the role {role}"),
            hint,
        );
    }
    Some(both)
}

/// `principals="ann,bob"`. OpenSSH's patterns are no names.
pub fn principals(doc: Doc<'_>, list: Piece<'_>) -> BTreeSet<String> {
    let check = |name: &Piece<'_>| {
        if name.text.is_empty()
            || name.text.contains(['*', '?', '!'])
            || name.text.contains(char::is_whitespace)
        {
            let hint = "write names without blanks and wildcards".to_string();
            doc.report(name.span(), format!("`{}` is no principal", name.text), hint);
        }
    };
    names(list).inspect(check).map(|name| name.text.to_string()).collect()
}

/// `person="principal"`.
pub fn person(doc: Doc<'_>, word: Piece<'_>) -> Option<Person> {
    let found = PERSONS.iter().find(|(known, _)| *known == word.text);
    if found.is_none() {
        let hint = "key-id or principal: which of them names the operator".to_string();
        doc.report(word.span(), format!("`person` cannot be `{}`", word.text), hint);
    }
    found.map(|(_, person)| *person)
}

/// `from="192.0.2.0/24,!192.0.2.9"`.
pub fn from(doc: Doc<'_>, list: Piece<'_>) -> Option<Networks> {
    Networks::parse(list.text).map_err(|why| doc.wrong(list.span(), why)).ok()
}

/// `expiry-time="20270131Z"`, `"202701311200Z"` or with seconds, as OpenSSH writes it.
pub fn expiry(doc: Doc<'_>, time: Piece<'_>) -> Option<Timestamp> {
    let digits = time.text.strip_suffix('Z').unwrap_or(time.text);
    let parsed = match digits.len() {
        8 => DateTime::strptime("%Y%m%d%H%M%S", format!("{digits}000000")).ok(),
        12 => DateTime::strptime("%Y%m%d%H%M%S", format!("{digits}00")).ok(),
        14 => DateTime::strptime("%Y%m%d%H%M%S", digits).ok(),
        _ => None,
    };
    let parsed = parsed.filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let at = parsed.and_then(|time| time.to_zoned(TimeZone::UTC).ok()).map(|time| time.timestamp());
    if at.is_none() {
        let hint = "such as 20270131Z or 202701311200Z".to_string();
        doc.report(time.span(), format!("`{}` is no time", time.text), hint);
    } else if digits == time.text {
        let hint =
            format!("write {digits}Z: rollcall reads times in UTC, and OpenSSH in the zone of its machine");
        doc.report(time.span(), format!("the time zone of `{}` is open", time.text), hint);
    }
    at
}
