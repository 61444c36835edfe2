//! Selectors: text that picks hosts. Ansible's pattern rules, plus qualified names, tags and node sets.
//!
//! `prod`, `prod.web`, `web:&prod:!web03`, `web[0]` and `web[1:2]` (subscripts), `web[01-20]` (a node
//! set), `we*`, `~web[12]$`, `@canary`, `all`. Order of evaluation is Ansible's: plain terms are
//! united, then `&` terms intersect, then `!` terms exclude. Unlike in Ansible, a term that matches
//! nothing and an empty selection are errors.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use regex::{Regex, RegexBuilder};

use super::inventory::{Group, Host, Inventory};
use crate::domain::base::name::{HostName, clipped, nearest};
use crate::domain::base::nodeset;
use crate::domain::base::refusal::Refusal;

/// Most terms of one selector that are not names of hosts: each may select the whole fleet.
pub const TERM_LIMIT: usize = 256;

/// Most patterns (`~regex`, `we*`) among them: each is matched against every host and group.
pub const PATTERN_LIMIT: usize = 16;

/// Longest pattern, in bytes.
pub const PATTERN_LIMIT_BYTES: usize = 1024;

/// Memory that a compiled pattern may take, in bytes: `x{999}{999}` is short and takes much.
const PATTERN_SIZE_LIMIT_BYTES: usize = 256 * 1024;

/// How many candidates an error lists before it says "and N more".
const CANDIDATES_SHOWN: usize = 12;

/// The hosts that `text` selects, each once, in the order in which they were first named.
pub fn select(inventory: &Inventory, text: &str) -> Result<Vec<HostName>, Refusal> {
    let mut united: Option<Vec<HostName>> = None;
    let (mut intersections, mut exclusions) = (Vec::new(), Vec::new());
    let nicknames = Nicknames { inventory, hosts: OnceCell::new(), groups: OnceCell::new() };
    let terms = split(text)?;
    check_terms(inventory, &terms)?;
    for term in terms {
        match term.chars().next() {
            Some('&') => intersections.push(resolve(&nicknames, &term[1..])?),
            Some('!') => exclusions.push(resolve(&nicknames, &term[1..])?),
            _ => united.get_or_insert_default().extend(resolve(&nicknames, &term)?),
        }
    }
    let all = || inventory.hosts.iter().map(|host| host.name.clone()).collect();
    let mut picked = united.unwrap_or_else(all);
    let mut seen = HashSet::new();
    picked.retain(|host| seen.insert(host.clone()));
    for set in intersections {
        let set: HashSet<HostName> = set.into_iter().collect();
        picked.retain(|host| set.contains(host));
    }
    for set in exclusions {
        let set: HashSet<HostName> = set.into_iter().collect();
        picked.retain(|host| !set.contains(host));
    }
    if picked.is_empty() {
        return Err(Refusal::not_found(format!("`{}` selects no host", clipped(text))));
    }
    Ok(picked)
}

fn check_terms(inventory: &Inventory, terms: &[String]) -> Result<(), Refusal> {
    let terms = terms.iter().filter(|term| inventory.hosts.named(term).is_none());
    if terms.clone().count() > TERM_LIMIT {
        let why = format!("a selector has at most {TERM_LIMIT} terms");
        return Err(Refusal::usage(why).hint("try: a group, a tag, or a node set web[01-20]"));
    }
    let bare = |term: &String| term.trim_start_matches(['&', '!']).to_string();
    let patterns = terms.map(bare).filter(|term| term.starts_with('~') || is_glob(term)).count();
    if patterns > PATTERN_LIMIT {
        let why = format!("a selector has at most {PATTERN_LIMIT} patterns");
        return Err(Refusal::usage(why).hint("try: one pattern, ~(web|db)[12]"));
    }
    Ok(())
}

/// Terms are separated by `,`, or by `:` if no comma is outside of brackets.
fn split(text: &str) -> Result<Vec<String>, Refusal> {
    let separator = if top_level(text).any(|(_, c)| c == ',') { ',' } else { ':' };
    let (mut terms, mut begin) = (Vec::new(), 0);
    for (at, _) in top_level(text).filter(|(_, c)| *c == separator) {
        terms.push(&text[begin..at]);
        begin = at + 1;
    }
    terms.push(&text[begin..]);
    let terms: Vec<String> =
        terms.iter().map(|term| term.trim().to_string()).filter(|term| !term.is_empty()).collect();
    if terms.is_empty() {
        return Err(Refusal::usage("the selector is empty").hint("try: all, a group, or a host"));
    }
    Ok(terms)
}

/// Characters outside of brackets. A `~regex` keeps its brackets too.
fn top_level(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut depth = 0usize;
    text.char_indices().filter(move |(_, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    })
}

/// Other names of hosts beside their unique names: the name in the file, the short name, and `FILE.SHORT`.
/// Collected once for a whole selector, because a node set may name thousands.
struct Nicknames<'a> {
    inventory: &'a Inventory,
    hosts: OnceCell<HashMap<&'a str, Vec<&'a Host>>>,
    /// By the last part of their names.
    groups: OnceCell<HashMap<&'a str, Vec<&'a Group>>>,
}

impl<'a> Nicknames<'a> {
    fn hosts(&self, word: &str) -> Vec<&'a Host> {
        let hosts = self.hosts.get_or_init(|| gather(self.inventory));
        let mut called = hosts.get(word).cloned().unwrap_or_default();
        if let Some((file, short)) = word.split_once('.') {
            let of_file = hosts.get(short).into_iter().flatten().copied();
            let of_file = of_file.filter(|host| host.file() == file && short_written(host) == short);
            called.extend(of_file.filter(|host| host.written != word));
        }
        called
    }

    fn groups(&self, word: &str) -> &[&'a Group] {
        let groups = self.groups.get_or_init(|| {
            let mut groups: HashMap<&str, Vec<&Group>> = HashMap::new();
            for group in self.inventory.groups.values() {
                let bare = group.name.rsplit_once('.').map(|(_, last)| last);
                bare.into_iter().for_each(|bare| groups.entry(bare).or_default().push(group));
            }
            groups
        });
        groups.get(word).map_or(&[], Vec::as_slice)
    }
}

fn gather(inventory: &Inventory) -> HashMap<&str, Vec<&Host>> {
    let mut hosts: HashMap<&str, Vec<&Host>> = HashMap::new();
    for host in &inventory.hosts {
        let short = short_written(host);
        hosts.entry(short).or_default().push(host);
        if short != host.written {
            hosts.entry(&host.written).or_default().push(host);
        }
    }
    hosts
}

fn short_written(host: &Host) -> &str {
    host.written.split('.').next().unwrap_or_default()
}

fn resolve(nicknames: &Nicknames<'_>, term: &str) -> Result<Vec<HostName>, Refusal> {
    if let Some(pattern) = term.strip_prefix('~') {
        return by_regex(nicknames.inventory, pattern);
    }
    if let Some((base, subscript)) = subscript(term)
        && let Ok(hosts) = by_word(nicknames, base)
    {
        return Ok(subscript.of(hosts));
    }
    if is_glob(term) {
        return by_word(nicknames, term);
    }
    if term.contains('[') && !term.starts_with('@') {
        let names = nodeset::expand(term).map_err(Refusal::usage)?;
        let hosts: Vec<Vec<HostName>> =
            names.iter().map(|name| by_word(nicknames, name)).collect::<Result<_, _>>()?;
        return Ok(hosts.concat());
    }
    by_word(nicknames, term)
}

/// `[n]`, `[-n]`, `[a:b]`, `[a:]` behind a term: zero-based, ends inclusive.
struct Subscript {
    from: i64,
    to: Option<i64>,
}

fn subscript(term: &str) -> Option<(&str, Subscript)> {
    let (base, inside) = term.strip_suffix(']')?.split_once('[')?;
    let number = |text: &str| text.parse::<i64>().ok();
    let subscript = match inside.split_once(':') {
        None => Subscript { from: number(inside)?, to: Some(number(inside)?) },
        Some((from, "")) => Subscript { from: number(from)?, to: None },
        Some((from, to)) => Subscript { from: number(from)?, to: Some(number(to)?) },
    };
    Some((base, subscript))
}

impl Subscript {
    fn of(&self, hosts: Vec<HostName>) -> Vec<HostName> {
        let length = hosts.len() as i64;
        let place = |n: i64| if n < 0 { n + length } else { n };
        let (from, to) = (place(self.from).max(0), self.to.map_or(length - 1, place));
        let wanted = |at: usize| (from..=to).contains(&(at as i64));
        hosts.into_iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, host)| host).collect()
    }
}

fn is_glob(term: &str) -> bool {
    let class = term.split_once('[').is_some_and(|(_, rest)| {
        let inside = rest.split(']').next().unwrap_or_default();
        !inside.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ',' | '/' | ':'))
    });
    term.contains(['*', '?']) || class
}

/// A word without subscript: `all`, `@tag`, a glob, a group, or a host.
fn by_word(nicknames: &Nicknames<'_>, word: &str) -> Result<Vec<HostName>, Refusal> {
    let inventory = nicknames.inventory;
    if word == "all" || word == "*" {
        return Ok(inventory.hosts.iter().map(|host| host.name.clone()).collect());
    }
    if let Some(tag) = word.strip_prefix('@') {
        return by_tag(inventory, tag);
    }
    if is_glob(word) {
        return by_regex(inventory, &format!("{}$", glob_to_regex(word)));
    }
    match by_group(nicknames, word)? {
        Some(group) => Ok(group.hosts.clone()),
        None => by_host(nicknames, word).map(|host| vec![host.name.clone()]),
    }
}

fn by_tag(inventory: &Inventory, tag: &str) -> Result<Vec<HostName>, Refusal> {
    let hosts: Vec<HostName> =
        inventory.hosts.iter().filter(|host| host.tags.contains(tag)).map(|host| host.name.clone()).collect();
    if hosts.is_empty() {
        let known: BTreeSet<&str> =
            inventory.hosts.iter().flat_map(|host| &host.tags).map(String::as_str).collect();
        return Err(unknown("tag", &format!("@{tag}"), tag, known));
    }
    Ok(hosts)
}

fn by_group<'a>(nicknames: &Nicknames<'a>, word: &str) -> Result<Option<&'a Group>, Refusal> {
    if let Some(group) = nicknames.inventory.groups.get(word) {
        return Ok(Some(group));
    }
    match nicknames.groups(word) {
        [] => Ok(None),
        [group] => Ok(Some(group)),
        candidates => Err(ambiguous(word, candidates.iter().map(|group| group.name.as_str()))),
    }
}

fn by_host<'a>(nicknames: &Nicknames<'a>, word: &str) -> Result<&'a Host, Refusal> {
    let inventory = nicknames.inventory;
    if let Some(host) = inventory.hosts.named(word) {
        return Ok(host);
    }
    let candidates = nicknames.hosts(word);
    match candidates[..] {
        [host] => Ok(host),
        [] => {
            let hosts = inventory.hosts.iter().flat_map(|host| [host.name.as_str(), host.name.short()]);
            let groups = inventory.groups.keys().map(String::as_str);
            Err(unknown("group or host", word, word, groups.chain(hosts).collect()))
        }
        _ => Err(ambiguous(word, candidates.iter().map(|host| host.name.as_str()))),
    }
}

/// Matches group names (qualified and bare) and host names, from their start.
fn by_regex(inventory: &Inventory, pattern: &str) -> Result<Vec<HostName>, Refusal> {
    let regex = compile(pattern)?;
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_string();
    let groups = inventory
        .groups
        .values()
        .filter(|group| regex.is_match(&group.name) || regex.is_match(&bare(&group.name)));
    let mut picked: Vec<HostName> = groups.flat_map(|group| group.hosts.clone()).collect();
    let host_matches = |host: &&Host| {
        regex.is_match(host.name.as_str())
            || regex.is_match(&host.written)
            || regex.is_match(host.name.short())
    };
    picked.extend(inventory.hosts.iter().filter(host_matches).map(|host| host.name.clone()));
    let mut seen = BTreeSet::new();
    picked.retain(|host| seen.insert(host.clone()));
    if picked.is_empty() {
        let why = format!("nothing matches `{}`", clipped(pattern.trim_end_matches('$')));
        return Err(Refusal::not_found(why));
    }
    Ok(picked)
}

fn compile(pattern: &str) -> Result<Regex, Refusal> {
    if pattern.len() > PATTERN_LIMIT_BYTES {
        return Err(Refusal::usage(format!("a pattern has at most {PATTERN_LIMIT_BYTES} bytes")));
    }
    let mut builder = RegexBuilder::new(&format!("^(?:{pattern})"));
    builder.size_limit(PATTERN_SIZE_LIMIT_BYTES).dfa_size_limit(PATTERN_SIZE_LIMIT_BYTES);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            Refusal::usage(format!("`~{}` takes too much memory", clipped(pattern)))
                .hint("try: fewer repetitions")
        }
        error => Refusal::usage(format!("`~{}` is no pattern: {error}", clipped(pattern))),
    })
}

fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::new();
    for c in glob.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' | ']' | '-' => regex.push(c),
            '!' if regex.ends_with('[') => regex.push('^'),
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex
}

fn ambiguous<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Refusal {
    let why = format!("`{}` is ambiguous", clipped(word));
    Refusal::usage(why).hint(format!("it can be: {}", list(candidates.collect())))
}

fn unknown(kind: &str, shown: &str, word: &str, known: BTreeSet<&str>) -> Refusal {
    let known: Vec<&str> = known.into_iter().collect();
    let bare = known.iter().filter_map(|name| name.rsplit_once('.')).map(|(_, last)| last);
    let near = nearest(word, known.iter().copied().chain(bare));
    let known =
        if known.is_empty() { "there are none".to_string() } else { format!("known: {}", list(known)) };
    let why = format!("no {kind} is called `{}`", clipped(shown));
    match near {
        Some(near) => Refusal::not_found(why).hint(format!("did you mean `{near}`? ({known})")),
        None => Refusal::not_found(format!("{why} ({known})")),
    }
}

fn list(mut names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(CANDIDATES_SHOWN);
    names.truncate(CANDIDATES_SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &tail
}

#[cfg(test)]
mod tests {
    use super::super::inventory::Endpoint;
    use super::*;

    /// Groups of `features.md` 6.1 in one file, and a second file that writes `web` again.
    fn inventory() -> Inventory {
        let mut inventory = Inventory::default();
        let hosts = |names: &[&str]| names.iter().map(|name| HostName::from(*name)).collect::<Vec<_>>();
        let mut group = |name: &str, members: &[&str]| {
            let group = Group { name: name.into(), hosts: hosts(members), balancer: None };
            inventory.groups.insert(name.into(), group);
        };
        group("site", &["web1", "web2", "web3", "web4", "web3x", "db1"]);
        group("site.web", &["web1", "web2", "web3", "web4", "web3x"]);
        group("site.prod", &["web1", "web2", "web3"]);
        group("site.db", &["db1"]);
        group("site.dup", &["web1"]);
        group("test", &["t01.test.example.com", "t02.test.example.com"]);
        group("test.dup", &["t01.test.example.com"]);
        for name in
            ["web1", "web2", "web3", "web4", "web3x", "db1", "t01.test.example.com", "t02.test.example.com"]
        {
            let file = if name.starts_with('t') { "test" } else { "site" };
            inventory.hosts.push(host(name, file));
        }
        inventory
    }

    fn host(name: &str, file: &str) -> Host {
        let endpoint = Endpoint {
            name: name.into(),
            here: false,
            address: name.into(),
            further: Vec::new(),
            key: None,
            port: 22,
            login: "d".into(),
            via: None,
        };
        let tags = if name == "web2" { BTreeSet::from(["canary".to_string()]) } else { BTreeSet::new() };
        Host {
            name: name.into(),
            written: name.into(),
            endpoint,
            tags,
            vars: Default::default(),
            secrets: Default::default(),
            checks: vec![],
            groups: vec![file.into()],
            balancer: None,
        }
    }

    #[test]
    fn selectors_follow_ansibles_vectors() {
        let table = [
            ("web:&prod:!web3", "web1 web2"),
            ("web,&prod,!web3", "web1 web2"),
            ("web[0]", "web1"),
            ("web[1:2]", "web2 web3"),
            ("web[-1]", "web3x"),
            ("web[3:]", "web4 web3x"),
            ("~web[12]$", "web1 web2"),
            ("site:!db", "web1 web2 web3 web4 web3x"),
            ("!web:&site", "db1"),
            ("we*", "web1 web2 web3 web4 web3x"),
            ("web*[0]", "web1"),
            ("web3", "web3"),
            ("web[0:1]:db", "web1 web2 db1"),
            ("web[1-3]", "web1 web2 web3"),
            ("web[1,4],db1", "web1 web4 db1"),
            ("web[34]", ""),
            ("web?", "web1 web2 web3 web4"),
            ("web[!12]*", "web3 web4 web3x"),
            ("@canary", "web2"),
            ("site.prod:!@canary", "web1 web3"),
            ("t[01-02]", "t01.test.example.com t02.test.example.com"),
            ("t01", "t01.test.example.com"),
            ("test.dup", "t01.test.example.com"),
            ("db:web1:db1", "db1 web1"),
        ];
        for (selector, wanted) in table {
            let got = select(&inventory(), selector)
                .map(|hosts| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "))
                .map_err(|refusal| refusal.to_string());
            match wanted {
                "" => assert_eq!(got, Err(format!("`{selector}` selects no host"))),
                _ => assert_eq!(got, Ok(wanted.to_string()), "{selector}"),
            }
        }
        assert_eq!(select(&inventory(), "all").unwrap().len(), 8);
    }

    #[test]
    fn what_names_nothing_is_an_error_with_candidates() {
        let table = [
            ("dup", "`dup` is ambiguous; it can be: site.dup, test.dup"),
            ("prood", "no group or host is called `prood`; did you mean `prod`? (known: "),
            ("web:!nonesuch", "no group or host is called `nonesuch` (known: "),
            ("@canry", "no tag is called `@canry`; did you mean `canary`? (known: canary)"),
            ("prod:!prod", "`prod:!prod` selects no host"),
            ("zz*", "nothing matches `zz.*`"),
            ("web[9-10]", "no group or host is called `web9`"),
            ("x[3-1]", "`x[3-1]`: bad range `3-1`: it runs backwards"),
            ("~[", "`~[` is no pattern"),
            ("", "the selector is empty"),
            (",:", "no group or host is called `:`"),
        ];
        for (selector, wanted) in table {
            let error = select(&inventory(), selector).expect_err(selector).to_string();
            assert!(error.starts_with(wanted), "{selector}: {error}");
        }
    }

    #[test]
    fn what_one_selector_costs_is_bounded() {
        let refusal = |text: &str| select(&inventory(), text).unwrap_err().to_string();
        assert!(refusal(&"a,".repeat(8_000)).starts_with("a selector has at most 256 terms; try: "));
        assert!(refusal(&"we*,".repeat(20)).starts_with("a selector has at most 16 patterns; try: "));
        assert!(refusal(&"!~a,".repeat(20)).starts_with("a selector has at most 16 patterns; try: "));
        assert_eq!(refusal(&format!("~{}", "a".repeat(2_000))), "a pattern has at most 1024 bytes");
        assert!(refusal("~x{999}{999}").contains("takes too much memory; try: fewer repetitions"));
        assert!(refusal(&format!("x{}", "[1]".repeat(4_000))).contains("has more than 16 brackets"));
        assert!(refusal(&"x".repeat(16_000)).len() < 1_000, "a message does not repeat it whole");
    }

    #[test]
    fn no_text_makes_it_panic() {
        proptest::proptest!(|(text in "[-a-z0-9\\[\\]:,!&@~*?. ]{0,30}")| {
            let _ = select(&inventory(), &text);
        });
    }
}
