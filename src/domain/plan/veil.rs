//! Hides what an operator with groups may not read. Answers contain only what they may see; but texts that the
//! schedule or a check wrote for all operators can name other hosts, and those names are covered.

use std::borrow::Cow;
use std::collections::HashSet;

use super::plan::Plan;
use crate::domain::base::nodeset;
use crate::domain::inventory::inventory::{Endpoint, Host, Inventory};

/// Replaces a covered name.
pub const COVERED: &str = "(hidden)";

/// Longest node set that is expanded, in bytes; longer ones, and those of many names, are covered unread.
const SET_LIMIT_BYTES: usize = 200;

/// Names of node sets that are expanded in one text: more would delay other sessions.
const SET_LIMIT_NAMES: usize = 20_000;

/// The covered names of hosts and groups, in lower case.
#[derive(Debug, Default)]
pub struct Veil {
    hosts: HashSet<String>,
    groups: HashSet<String>,
    /// Addresses that are not words.
    addresses: Vec<String>,
}

impl Veil {
    /// Covers the names in `whole` that are not in `visible`.
    pub fn new(whole: &Inventory, visible: &Inventory) -> Veil {
        let lower = |name: &str| name.to_ascii_lowercase();
        let shown: HashSet<String> = visible.hosts.iter().flat_map(names).map(lower).collect();
        let hidden = whole.hosts.iter().filter(|host| visible.host(&host.name).is_none());
        let names = hidden.flat_map(names).map(lower).filter(|name| !shown.contains(name));
        let (addresses, hosts): (Vec<String>, Vec<String>) = names.partition(|name| name.contains(':'));
        let groups = whole.groups.keys().filter(|group| !visible.groups.contains_key(*group));
        Veil {
            hosts: hosts.into_iter().collect(),
            groups: groups.map(|group| lower(group)).collect(),
            addresses,
        }
    }

    /// The same without the words of `typed`: words that an operator has typed are printed unchanged, so that the
    /// answer does not show whether such a host exists.
    pub fn without(mut self, typed: &str) -> Veil {
        for (begin, end) in words(typed) {
            let word = typed[begin..end].trim_end_matches('.').to_ascii_lowercase();
            self.hosts.remove(&word);
            self.groups.remove(&word);
        }
        self
    }

    /// The text with every covered name replaced.
    pub fn over<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut covered = String::new();
        let (mut done, mut left) = (0, SET_LIMIT_NAMES);
        for (begin, end) in words(text) {
            if self.covers(&text[..begin], &text[begin..end], &mut left) {
                covered.push_str(&text[done..begin]);
                covered.push_str(COVERED);
                done = end;
            }
        }
        let text = match done {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(covered + &text[done..]),
        };
        let found = self.addresses.iter().filter(|address| text.contains(address.as_str()));
        found.fold(text.clone(), |text, address| Cow::Owned(text.replace(address.as_str(), COVERED)))
    }

    fn covers(&self, before: &str, word: &str, left: &mut usize) -> bool {
        let bare = word.trim_end_matches('.').to_ascii_lowercase();
        if word.contains('[') {
            return self.covers_set(&bare, left);
        }
        let is_group = bare.contains('.') || before.ends_with("group:");
        self.hosts.contains(&bare) || (is_group && self.groups.contains(&bare))
    }

    fn covers_set(&self, set: &str, left: &mut usize) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        if set.len() > SET_LIMIT_BYTES || *left == 0 {
            return true;
        }
        let Ok(names) = nodeset::expand(set) else { return false };
        *left = left.saturating_sub(names.len());
        names.iter().any(|name| self.hosts.contains(name))
    }
}

/// The names of a host in texts, and its address. A short name without a digit may be a word of any text.
fn names(host: &Host) -> impl Iterator<Item = &str> {
    let is_elsewhere = |address: &&str| !matches!(*address, "127.0.0.1" | "::1" | "localhost");
    let addresses = host.endpoint.addresses().filter(is_elsewhere);
    let short = Some(host.name.short()).filter(|short| short.contains(|c: char| c.is_ascii_digit()));
    [host.name.as_str(), host.written.as_str()].into_iter().chain(short).chain(addresses)
}

/// Names, and node sets such as `web[01-03,07].example.com`: the start and end of each. A letter behind a backslash
/// belongs to no name: texts in JSON are escaped.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at = begin(bytes, at)?;
        let begin = at;
        while let Some(byte) = bytes.get(at) {
            if is_word(*byte) {
                at += 1;
            } else if let Some(length) = brackets(&bytes[at..]) {
                at += length;
            } else {
                break;
            }
        }
        Some((begin, at))
    })
}

fn begin(bytes: &[u8], mut at: usize) -> Option<usize> {
    while !is_word(*bytes.get(at)?) {
        at += match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b'u')) => 6,
            (b'\\', Some(_)) => 2,
            // The end of a colour sequence.
            (0x1b, Some(b'[')) => {
                2 + bytes[at + 2..].iter().take_while(|byte| !byte.is_ascii_alphabetic()).count() + 1
            }
            _ => 1,
        };
    }
    Some(at)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The length of `[01-03,07]`.
fn brackets(bytes: &[u8]) -> Option<usize> {
    let inside = bytes.strip_prefix(b"[")?;
    let is_range = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b'/' | b':');
    let length = inside.iter().take_while(|byte| is_range(byte)).count();
    (length > 0 && inside.get(length) == Some(&b']')).then_some(length + 2)
}

/// The plan without the parts about hidden hosts and about the daemon's machine.
pub fn visible_part(mut plan: Plan, visible: &Inventory) -> Plan {
    plan.files_root = Default::default();
    for balancer in plan.balancers.values_mut() {
        for place in
            [&mut balancer.on].into_iter().chain(balancer.further.iter_mut().map(|place| &mut place.on))
        {
            place.retain(|endpoint| visible.host(&endpoint.name).is_some());
            place.iter_mut().for_each(|endpoint| endpoint.via = visible_way(endpoint.via.take(), visible));
        }
    }
    for host in plan.hosts.values_mut() {
        host.endpoint.via = visible_way(host.endpoint.via.take(), visible);
    }
    plan
}

/// The jump hosts up to the first hidden one.
fn visible_way(via: Option<Box<Endpoint>>, visible: &Inventory) -> Option<Box<Endpoint>> {
    let mut via = via.filter(|via| visible.host(&via.name).is_some())?;
    via.via = visible_way(via.via.take(), visible);
    Some(via)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_covered_whole_and_in_node_sets() {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let veil = Veil {
            hosts: set(&["db1.x.com", "db2.x.com", "db1", "lb1", "10.0.0.7"]),
            groups: set(&["prod.db", "secret"]),
            addresses: vec!["2001:db8::7".into()],
        };
        let table = [
            (r#""a\ndb1.x.com" "\u001b[32mdb1.x.com""#, r#""a\n(hidden)" "\u001b[32mdb1.x.com""#),
            ("\u{1b}[32mdb1.x.com\u{1b}[0m", "\u{1b}[32m(hidden)\u{1b}[0m"),
            ("DB1.X.COM, db1, [2001:db8::7]:80", "(hidden), (hidden), [(hidden)]:80"),
            ("db[1:2].x.com", "(hidden)"),
            ("web1 differs from db1.x.com.", "web1 differs from (hidden)"),
            ("db[1-2].x.com, web1", "(hidden), web1"),
            ("lb1: lb10 my-lb1 \"lb1\"", "(hidden): lb10 my-lb1 \"(hidden)\""),
            ("from 10.0.0.7:80 and 10.0.0.70", "from (hidden):80 and 10.0.0.70"),
            ("prod.db, group:secret, secret", "(hidden), group:(hidden), secret"),
            ("a[b] x[ é[1", "a[b] x[ é[1"),
        ];
        for (text, wanted) in table {
            assert_eq!(veil.over(text), wanted, "{text}");
        }
    }

    /// Texts of hosts may hold anything; a node set that seems large is covered unread.
    #[test]
    fn what_a_text_costs_is_bounded() {
        let veil = Veil { hosts: [String::from("db1")].into(), ..Veil::default() };
        assert_eq!(veil.over(&"a[".repeat(100_000)).len(), 200_000);
        let sets = "x[1-100000] ".repeat(200);
        assert!(veil.over(&sets).contains(COVERED));
        assert_eq!(veil.over(&format!("x{}", "[1]".repeat(100))), COVERED);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}|[a-z0-9\\[\\],.-]{0,40}") {
            let veil = Veil { hosts: [String::from("a")].into(), ..Veil::default() };
            let _ = veil.over(&text);
        }
    }
}
