//! `facts`: the facts of hosts. Equal values are folded over their hosts, so that an outlier stands out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::line;
use super::table::{age, alike, columns, folded};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::End;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;
use crate::domain::task::facts::{Facts, Gathered, NAMES};

/// Most values of one fact that are listed; for more values only their number is printed.
const VALUES_SHOWN: usize = 8;

/// Widest value, in characters: a custom fact may be long.
const VALUE_WIDTH: usize = 100;

/// The facts of hosts, and why the facts of others are missing.
#[derive(Default)]
pub struct FactsReport<'a> {
    pub known: Vec<(&'a HostName, &'a Gathered)>,
    pub unknown: Vec<(&'a HostName, &'a str)>,
}

/// For people.
pub fn facts(report: &FactsReport<'_>, now: Timestamp) -> String {
    let known: Vec<(&HostName, &Facts)> =
        report.known.iter().map(|(host, gathered)| (*host, &gathered.facts)).collect();
    let mut text = table(&known);
    let ages = alike(report.known.iter().map(|(host, gathered)| (age(gathered.at, now), *host)));
    for (age, hosts) in ages {
        _ = writeln!(text, "{}: as of {age} ago", folded(hosts));
    }
    for (why, hosts) in alike(report.unknown.iter().map(|(host, why)| (*why, *host))) {
        _ = writeln!(text, "{}: not known: {why}", folded(hosts));
    }
    text
}

/// For programs: a line for each host.
pub fn lines(report: &FactsReport<'_>, now: Timestamp) -> String {
    let known = report.known.iter().map(|(host, gathered)| {
        let age_s = now.duration_since(gathered.at).as_secs().max(0);
        let Gathered { facts, at, run, .. } = gathered;
        line("facts", json!({ "host": host, "gathered_at": at, "age_s": age_s, "run": run, "facts": facts }))
    });
    let unknown = report
        .unknown
        .iter()
        .map(|(host, why)| line("facts", json!({ "host": host, "facts": null, "why": why })));
    known.chain(unknown).collect()
}

/// The end of a run that gathered facts: `show N`, `watch N`.
pub fn recap(run: &Run, events: &[Event]) -> String {
    let seen: Vec<(&HostName, Facts)> = events.iter().filter_map(gathered).collect();
    let seen: Vec<(&HostName, &Facts)> = seen.iter().map(|(host, facts)| (*host, facts)).collect();
    let mut text = table(&seen);
    for (why, hosts) in alike(missing(run).iter().map(|(host, why)| (*why, *host))) {
        _ = writeln!(text, "{}: not known: {why}", folded(hosts));
    }
    let outcome = run.outcome().map_or("under way", |outcome| outcome.word());
    _ = writeln!(text, "run {}: {outcome}", run.id());
    text
}

/// The hosts of a run that did not answer, and why.
pub fn missing(run: &Run) -> Vec<(&HostName, &str)> {
    let failed = run.hosts().iter().filter_map(|(name, host)| {
        let why = host.failure().as_ref().map(|failure| failure.why.as_str());
        let unasked = host.end().filter(|end| *end == End::NotStarted);
        why.or(unasked.map(|_| "not asked")).map(|why| (name, why))
    });
    failed.collect()
}

fn gathered(event: &Event) -> Option<(&HostName, Facts)> {
    match &event.kind {
        EventKind::StepEnded { host, outcome, stdout, .. } if outcome.is_good() => {
            Some((host, serde_json::from_str(&stdout.text).ok()?))
        }
        _ => None,
    }
}

/// A row for each value of each fact, with its hosts.
fn table(known: &[(&HostName, &Facts)]) -> String {
    let values: Vec<(&HostName, BTreeMap<String, String>)> =
        known.iter().map(|(host, facts)| (*host, named(facts))).collect();
    let mut names: Vec<&str> = NAMES.to_vec();
    let custom: Vec<&str> = values.iter().flat_map(|(_, values)| values.keys().map(String::as_str)).collect();
    names.extend(custom);
    let mut rows = Vec::new();
    let mut printed = BTreeSet::new();
    for name in names.into_iter().filter(|name| printed.insert(*name)) {
        let have = values.iter().filter_map(|(host, values)| Some((values.get(name)?.as_str(), *host)));
        rows.extend(fact(name, alike(have), known.len()));
    }
    columns(&rows)
}

fn fact(name: &str, mut values: Vec<(&str, Vec<&HostName>)>, hosts: usize) -> Vec<Vec<String>> {
    if values.len() > VALUES_SHOWN {
        let many = format!("{} different values; see: facts HOST, or --json", values.len());
        return vec![vec![name.into(), many]];
    }
    values.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
    let row = |(at, (value, with)): (usize, (&str, Vec<&HostName>))| {
        let name = if at == 0 { name.to_string() } else { String::new() };
        let who = if hosts > 1 && with.len() < hosts { folded(with) } else { String::new() };
        vec![name, value.to_string(), who]
    };
    values.into_iter().enumerate().map(row).collect()
}

/// Every fact that is known, in words; custom ones by name.
fn named(facts: &Facts) -> BTreeMap<String, String> {
    let Value::Object(all) = facts.to_value() else { return BTreeMap::new() };
    let mut words = BTreeMap::new();
    for (name, value) in all {
        match (name.as_str(), value) {
            ("custom" | "custom_errors", Value::Object(inner)) => {
                let inner = inner.into_iter();
                words.extend(inner.map(|(fact, value)| (format!("{name}.{fact}"), word(&value))));
            }
            (_, value) => _ = words.insert(name, word(&value)),
        }
    }
    words.retain(|_, word| !word.is_empty());
    words
}

fn word(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Object(all) => match (all.get("mount"), all.get("size_mb"), all.get("free_mb")) {
            (Some(Value::String(mount)), Some(size), Some(free)) => {
                format!("{mount} {free} of {size} MB free")
            }
            _ => all.values().map(word).collect::<Vec<_>>().join(" "),
        },
        other => other.to_string(),
    };
    let text = text.replace('\n', " ");
    match text.char_indices().nth(VALUE_WIDTH) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
