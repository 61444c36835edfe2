//! Tables: hosts, runs, debts, releases.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;

use crate::domain::base::name::{HostName, RunId, count};
use crate::domain::base::nodeset::fold;
use crate::domain::base::outcome::seconds;
use crate::domain::base::output::clipped;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::rotation::{Capacity, Standing};
use crate::domain::plan::release::{ReleaseMark, ReleaseTakeover, arrival, last_good, marked_bad};
use crate::domain::run::record::{Debt, RunSummary, WrittenOff};

/// Most characters of one cell: cells may hold output of hosts. `--json` has all of it.
const CELL_CHARS_LIMIT: usize = 2_000;

/// Widest column, in characters; a longer cell exceeds it, and other rows are not padded to it.
const COLUMN_WIDTH_LIMIT: usize = 200;

/// Columns as wide as their widest cell, two spaces between, nothing behind the last.
pub fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).min(COLUMN_WIDTH_LIMIT)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The text of a cell: in one line, which cannot imitate several rows, and bounded.
fn cell(text: &str) -> String {
    clipped(text, CELL_CHARS_LIMIT).replace('\n', "\\n").replace('\r', "")
}

/// Groups things by key, in the order in which each key came first.
pub fn alike<K: PartialEq, T>(things: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, thing) in things {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(thing),
            None => groups.push((key, vec![thing])),
        }
    }
    groups
}

/// Names folded into one set.
pub fn folded<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    fold(hosts.into_iter().map(HostName::as_str))
}

/// To the second, to compare with other logs.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The age of a time, in its largest unit.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let s = now.duration_since(since).as_secs().max(0);
    let (size, unit, smaller, rest) = match s {
        0..60 => return format!("{s}s"),
        60..3_600 => (60, "m", 1, "s"),
        3_600..86_400 => (3_600, "h", 60, "m"),
        _ => (86_400, "d", 3_600, "h"),
    };
    match s % size / smaller {
        0 => format!("{}{unit}", s / size),
        left => format!("{}{unit}{left}{rest}", s / size),
    }
}

/// The warning when a script in `hosts/` has failed: its group is outdated.
pub fn old_inventory(group: &str, said_at: Timestamp, trouble: &str, now: Timestamp) -> String {
    format!("inventory `{group}` is {} old: {trouble}", age(said_at, now))
}

/// `hosts`: the hosts, their addresses, and their releases.
pub fn hosts(
    inventory: &Inventory,
    picked: &[HostName],
    debts: &[Debt],
    taken: &BTreeMap<HostName, Vec<ReleaseTakeover>>,
) -> String {
    let mut rows =
        vec![["HOST", "ADDRESS", "GROUPS", "TAGS", "RELEASE", "ROTATION"].map(String::from).to_vec()];
    let taken_last = |host: &HostName| taken.get(host).and_then(|taken| taken.first());
    for host in picked.iter().filter_map(|name| inventory.host(name)) {
        let present = taken.get(&host.name).and_then(|taken| arrival(taken));
        let release = present.map_or_else(String::new, |taken| {
            let params: Vec<String> =
                taken.release.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let last =
                taken_last(&host.name).map_or_else(|| params.join(" "), |last| last.shown(params.join(" ")));
            format!("{last} (run {})", taken.run)
        });
        let owed = debts.iter().find(|debt| debt.host == host.name);
        let rotation = match (owed, &host.balancer) {
            (Some(debt), _) if !debt.is_open() => format!("out since run {}, written off", debt.run),
            (Some(debt), _) => format!("out since run {}", debt.run),
            (None, Some(_)) => "in".into(),
            (None, None) => "-".into(),
        };
        rows.push(vec![
            host.name.to_string(),
            format!("{}@{}", host.endpoint.login, host.endpoint.shown_address()),
            host.groups.join(","),
            host.tags.iter().cloned().collect::<Vec<_>>().join(","),
            release,
            rotation,
        ]);
    }
    columns(&rows)
}

/// `runs`: the last runs, newest first.
pub fn runs(runs: &[RunSummary], now: Timestamp) -> String {
    if runs.is_empty() {
        return "no runs yet\n".into();
    }
    let mut rows = vec![["RUN", "AGE", "TOOK", "BY", "OUTCOME", "WHAT"].map(String::from).to_vec()];
    for run in runs {
        let took = run.ended_at.map_or_else(String::new, |end| {
            seconds(u64::try_from(end.duration_since(run.started_at).as_millis()).unwrap_or(0))
        });
        rows.push(vec![
            run.run.to_string(),
            age(run.started_at, now),
            took,
            run.by.clone(),
            run.outcome.map_or("under way", |outcome| outcome.word()).to_string(),
            run.title.clone(),
        ]);
    }
    columns(&rows)
}

/// `debts`: the hosts that runs left drained, and by which run.
pub fn debts(debts: &[Debt], now: Timestamp) -> String {
    if debts.is_empty() {
        return "no debts: every host that rollcall took out of rotation was put back, with proof\n".into();
    }
    let mut rows = vec![["HOST", "BALANCER", "RUN", "BY", "AGE", "WHY"].map(String::from).to_vec()];
    for debt in debts {
        rows.push(vec![
            debt.host.to_string(),
            debt.balancer.clone(),
            debt.run.to_string(),
            debt.by.clone(),
            age(debt.since, now),
            debt.written_off.as_ref().map_or_else(|| debt.why.clone(), |off| written_off(off, now)),
        ]);
    }
    columns(&rows)
}

fn written_off(off: &WrittenOff, now: Timestamp) -> String {
    format!("written off by {}, {} ago: {}", off.by, age(off.at, now), off.reason)
}

/// `releases`: the release of each host, since when, by which run, and the target of `rollback`.
pub fn releases(
    picked: &[HostName],
    taken: &[(&HostName, &[ReleaseTakeover])],
    marks: &[ReleaseMark],
    now: Timestamp,
) -> String {
    let mut rows = vec![["HOST", "RELEASE", "SINCE", "RUN", "STATE", "ROLLBACK"].map(String::from).to_vec()];
    for (host, history) in taken {
        let (Some(present), Some(since)) = (history.first(), arrival(history)) else { continue };
        let bad = marked_bad(marks, &present.release.task, &present.release.params);
        let state = match (bad, present.good) {
            (Some(mark), _) => format!("bad: {}", mark.reason),
            (None, true) => "good".into(),
            (None, false) if present.rollback_failed => "not known".into(),
            (None, false) => "failing".into(),
        };
        let back = last_good(history, marks).map_or_else(|| "-".into(), |taken| taken.release.words());
        rows.push(vec![
            host.to_string(),
            present.shown(present.release.words()),
            format!("{} ago", age(since.at, now)),
            since.run.to_string(),
            state,
            back,
        ]);
    }
    let unknown: Vec<&HostName> =
        picked.iter().filter(|name| !taken.iter().any(|(host, _)| host == name)).collect();
    let unknown = match unknown.is_empty() {
        true => String::new(),
        false => format!("nothing on record: {}\n", folded(unknown)),
    };
    let table = if rows.len() > 1 { columns(&rows) } else { String::new() };
    table + &unknown
}

/// `mark`.
pub fn mark(mark: &ReleaseMark) -> String {
    let params: String = mark.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    match mark.bad {
        true => {
            format!("{}{params} is marked bad: it is not deployed, and no rollback leads to it\n", mark.task)
        }
        false => format!("{}{params} is marked good\n", mark.task),
    }
}

/// `balancer status`: the states of hosts in their balancers, and how many servers are in service.
pub fn standings(hosts: &[Standing], balancers: &[Capacity]) -> String {
    let mut rows = vec![["HOST", "BALANCER", "ROTATION", "DEBT", "NOTE"].map(String::from).to_vec()];
    for standing in hosts {
        rows.push(vec![
            standing.host.to_string(),
            standing.balancer.clone().unwrap_or_else(|| "-".into()),
            standing.seen.rotation.word().to_string(),
            standing.debt.map_or_else(|| "-".into(), |run| debt_word(run, standing.written_off.as_deref())),
            standing.seen.note.clone(),
        ]);
    }
    let mut text = columns(&rows);
    for Capacity { balancer, serving, total, floor } in balancers {
        let servers = count(*total, "server");
        _ = writeln!(text, "{balancer}: {serving} of {servers} in service, {floor} have to stay");
    }
    text
}

fn debt_word(run: RunId, written_off: Option<&str>) -> String {
    match written_off {
        None => format!("run {run}"),
        Some(by) => format!("run {run}, written off by {by}"),
    }
}

/// The line under every answer while there are debts that are not written off; `None` without such debts.
pub fn footer(debts: &[Debt]) -> Option<String> {
    let open: Vec<&HostName> = debts.iter().filter(|debt| debt.is_open()).map(|debt| &debt.host).collect();
    if open.is_empty() {
        return None;
    }
    let debts = count(open.len(), "open debt");
    Some(format!("out of rotation: {} ({debts}); see: debts\n", folded(open)))
}
