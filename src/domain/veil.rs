//! What an operator with groups may not read. Answers are made from what they may see; texts that the schedule or a
//! check has made for everybody can name other hosts all the same, and those names are covered.

use std::borrow::Cow;
use std::collections::HashSet;

use super::inventory::{Host, Inventory};
use super::nodeset;
use super::plan::Plan;

/// Stands where a name is covered.
pub const COVERED: &str = "(hidden)";

/// The names of hosts and groups that are covered.
#[derive(Debug, Default)]
pub struct Veil {
    hosts: HashSet<String>,
    groups: HashSet<String>,
}

impl Veil {
    /// Covers what is in `whole` and not in `visible`.
    pub fn new(whole: &Inventory, visible: &Inventory) -> Veil {
        let shown: HashSet<&str> = visible.hosts.iter().flat_map(names).collect();
        let hidden = whole.hosts.iter().filter(|host| visible.host(&host.name).is_none());
        let hosts = hidden.flat_map(names).filter(|name| !shown.contains(name)).map(String::from).collect();
        let groups =
            whole.groups.keys().filter(|group| !visible.groups.contains_key(*group)).cloned().collect();
        Veil { hosts, groups }
    }

    /// The text with every covered name replaced.
    pub fn over<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut covered = String::new();
        let mut done = 0;
        for (begin, end) in words(text) {
            if self.covers(&text[..begin], &text[begin..end]) {
                covered.push_str(&text[done..begin]);
                covered.push_str(COVERED);
                done = end;
            }
        }
        match done {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(covered + &text[done..]),
        }
    }

    fn covers(&self, before: &str, word: &str) -> bool {
        let bare = word.trim_end_matches('.');
        if word.contains('[') {
            return nodeset::expand(bare)
                .is_ok_and(|names| names.iter().any(|name| self.hosts.contains(name)));
        }
        let is_group = bare.contains('.') || before.ends_with("group:");
        self.hosts.contains(bare) || (is_group && self.groups.contains(bare))
    }
}

/// What a host is called in texts, and where it is.
fn names(host: &Host) -> impl Iterator<Item = &str> {
    // This machine is where many things are.
    let address = Some(host.endpoint.address.as_str())
        .filter(|address| !matches!(*address, "127.0.0.1" | "::1" | "localhost"));
    [host.name.as_str(), host.written.as_str()].into_iter().chain(address)
}

/// Names, and node sets such as `web[01-03,07].example.com`: where each begins and ends.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().position(|byte| is_word(*byte))?;
        let begin = at;
        while let Some(byte) = bytes.get(at) {
            if *byte == b'[' {
                match brackets(&bytes[at..]) {
                    Some(length) => at += length,
                    None => break,
                }
            } else if is_word(*byte) {
                at += 1;
            } else {
                break;
            }
        }
        Some((begin, at))
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The length of `[01-03,07]`.
fn brackets(bytes: &[u8]) -> Option<usize> {
    let close = bytes.iter().position(|byte| *byte == b']')?;
    let inside = bytes.get(1..close)?;
    let is_range = inside.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b'/'));
    (is_range && !inside.is_empty()).then_some(close + 1)
}

/// A plan without what it says of hosts that are not visible, and of the machine of rollcall.
pub fn visible_part(mut plan: Plan, visible: &Inventory) -> Plan {
    plan.files_root = Default::default();
    for balancer in plan.balancers.values_mut() {
        balancer.on.retain(|endpoint| visible.host(&endpoint.name).is_some());
    }
    for host in plan.hosts.values_mut() {
        host.endpoint.via = host.endpoint.via.take().filter(|via| visible.host(&via.name).is_some());
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_covered_whole_and_in_node_sets() {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let veil = Veil {
            hosts: set(&["db1.x.com", "db2.x.com", "lb1", "10.0.0.7"]),
            groups: set(&["prod.db", "secret"]),
        };
        let table = [
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

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}|[a-z0-9\\[\\],.-]{0,40}") {
            let veil = Veil { hosts: [String::from("a")].into(), groups: HashSet::new() };
            let _ = veil.over(&text);
        }
    }
}
