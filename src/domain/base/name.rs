//! Names and numbers that identify things, and the rules for writing them.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of one host, unique in the whole inventory: as written in `hosts/`, or
/// `FILE.NAME` where two files define the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Takes any name; [`check_name`] checks names that people write.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        HostName(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot, which people type (`web01` for `web01.prod.example.com`).
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

/// Lets maps with names as keys be queried with text.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        HostName(name.into())
    }
}

/// The number of a run, as operators type it: `show 41`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest name that is accepted for a host, group, task, check or tag, in bytes: DNS allows 253.
pub const NAME_LIMIT_BYTES: usize = 253;

/// Why `name` cannot name a host, group, task, check set or tag.
///
/// A leading `-` would read as an option, a leading `.` as a hidden file, and every character
/// that the selector grammar or a shell gives a meaning is left out.
pub fn check_name(name: &str) -> Result<(), String> {
    let first_ok = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let rest_ok = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if name.is_empty() {
        return Err("a name cannot be empty".into());
    }
    if name.len() > NAME_LIMIT_BYTES {
        return Err(format!("a name has at most {NAME_LIMIT_BYTES} bytes"));
    }
    if first_ok && rest_ok {
        return Ok(());
    }
    Err("a name starts with a letter, digit or _, and goes on with letters, digits, . _ -".into())
}

/// True for a text that templates read as one name.
pub fn is_identifier(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The known name nearest to `wrong`, if one is near enough to be the intended one. Never `wrong` itself.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is longer, and the comparison costs the product of both lengths.
    if wrong.len() > NAME_LIMIT_BYTES {
        return None;
    }
    let limit = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| (1..=limit).contains(distance))
        .min()
        .map(|(_, name)| name)
}

/// The order in which people count: `web2` before `web10`, `127.0.1.2` before `127.0.1.10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let ((one, rest_left), (two, rest_right)) = (chunk(left), chunk(right));
        let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = match is_number(one) && is_number(two) {
            true => by_number(one, two),
            false => one.cmp(two),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (rest_left, rest_right);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the start, or the text before the next digit; and the rest.
fn chunk(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len()))
}

/// Digits as numbers of any length.
fn by_number(one: &str, two: &str) -> Ordering {
    let (one, two) = (one.trim_start_matches('0'), two.trim_start_matches('0'));
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

/// The start of a text that a message quotes.
pub fn clipped(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    beginning(text, SHOWN_CHARS)
}

/// A message with each of its lines cut: it may quote a long text that was typed.
pub fn clipped_lines(text: &str) -> String {
    const SHOWN_CHARS: usize = 1_000;
    text.lines().map(|line| beginning(line, SHOWN_CHARS)).collect::<Vec<_>>().join("\n")
}

fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// `1 host`, `2 hosts`: a count with its noun.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 {
        ""
    } else if noun.ends_with('h') {
        "es"
    } else {
        "s"
    };
    format!("{number} {noun}{plural}")
}

/// An IPv6 address without the brackets that URLs have.
pub fn bare_address(address: &str) -> &str {
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = |inside: &&str| {
        // A link-local address names its interface: fe80::1%eth0.
        let address = inside.split_once('%').map_or(*inside, |(address, _)| address);
        address.contains(':') && address.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
    };
    inside.filter(is_v6).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_has_no_brackets() {
        for (written, bare) in [
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("[fe80::1.2]", "fe80::1.2"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("[web]", "[web]"),
            ("a", "a"),
        ] {
            assert_eq!(bare_address(written), bare);
        }
    }

    #[test]
    fn names_that_a_shell_or_a_selector_would_read_are_refused() {
        for good in ["web", "web01.prod.example.com", "a-b_c", "_x", "9"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(NAME_LIMIT_BYTES + 1);
        for bad in ["", "-x", ".x", "a b", "a;b", "a/b", "a:b", "wéb", "a\u{202e}b", long.as_str()] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("depoly", ["deploy", "restart"]), Some("deploy"));
        assert_eq!(nearest("zzz", ["deploy", "restart"]), None);
        assert_eq!(nearest("deploy", ["deploy", "depoly"]), Some("depoly"), "never what was typed");
    }

    #[test]
    fn names_come_in_the_order_in_which_people_count() {
        let sorted = [
            "10.0.2.1",
            "10.0.10.1",
            "127.0.1.2",
            "127.0.1.10",
            "db",
            "web",
            "web1",
            "web01",
            "web2",
            "web2.a",
            "web10",
            "web10-9",
            "web10-10",
            "web99999999999999999999",
            "web100000000000000000000",
        ];
        let mut names = sorted;
        names.reverse();
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "10.0.2.1",
                "10.0.10.1",
                "127.0.1.2",
                "127.0.1.10",
                "db",
                "web",
                "web01",
                "web1",
                "web2",
                "web2.a",
                "web10",
                "web10-9",
                "web10-10",
                "web99999999999999999999",
                "web100000000000000000000"
            ]
        );
    }

    #[test]
    fn counts_take_their_plural() {
        assert_eq!(count(1, "host"), "1 host");
        assert_eq!(count(0, "host"), "0 hosts");
        assert_eq!(count(2, "batch"), "2 batches");
    }
}
