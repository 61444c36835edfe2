//! The last runs, newest first, with the problems of their hosts: new ones, and those that are still there. Time runs down.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, RunId, count, natural};
use crate::domain::base::outcome::{End, milliseconds};
use crate::domain::run::history::{EndsOfRuns, MATRIX_RUNS, Standing, is_bad};
use crate::domain::run::record::RunSummary;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Column, Line, Link, Page, Table, TableRow};
use crate::present::table::folded;

/// Columns of hosts; more of them fit no screen.
const COLUMNS_SHOWN: usize = 40;

/// Sets of hosts that are named in the row of a run.
const SETS_SHOWN: usize = 3;

/// What is known of the ends of hosts in the runs of a page.
pub struct RunEnds<'a> {
    pub ends: &'a EndsOfRuns,
    /// Of the runs that the operator may see, which are not all.
    pub is_part: bool,
}

/// Hosts that ended alike in all runs of the page.
struct HostColumn<'a> {
    hosts: Vec<&'a HostName>,
    marks: Vec<Mark>,
}

/// The page.
pub fn page(
    (runs, has_more): (&[RunSummary], bool),
    ends: &RunEnds<'_>,
    view: &View,
    (seq, now): (u64, Timestamp),
) -> Page {
    let mut page = Page::at(view, "runs", (seq, now));
    if ends.is_part {
        page.head.push(Line::plain("problems are compared with the runs that you may see"));
    }
    if ends.ends.is_cut {
        page.head.push(Line::plain(
            "more hosts had a problem in these runs than a page reads; the older ones are left out",
        ));
    }
    let newest = &runs[..runs.len().min(MATRIX_RUNS)];
    let columns = host_columns(newest, ends.ends);
    let shown = &columns[..columns.len().min(COLUMNS_SHOWN)];
    let mut table = table(runs, "runs");
    with_ends(&mut table, runs, ends.ends, shown);
    if has_more {
        let all = View { all: true, ..view.clone() };
        table.more = Some(Link { text: "older runs".into(), address: all.to_string() });
    }
    page.tables.push(table);
    if !columns.is_empty() {
        page.tables.push(legend(newest, ends.ends, (shown, columns.len() - shown.len())));
    }
    page
}

/// Runs as rows.
pub fn table(runs: &[RunSummary], caption: &str) -> Table {
    let columns =
        [("state", 0), ("run", 0), ("what", 0), ("by", 1), ("hosts", 2), ("started", 2), ("took", 1)];
    let mut table = Table::new(caption, &columns, "none of the newest runs is one that you may see");
    table.is_history = true;
    table.rows = runs.iter().map(row).collect();
    table
}

fn row(run: &RunSummary) -> TableRow {
    let mark = Mark::of_run(run.outcome);
    let took = match run.ended_at {
        Some(ended) => {
            Cell::Took(milliseconds(ended.duration_since(run.started_at).try_into().unwrap_or_default()))
        }
        None => Cell::Since(run.started_at),
    };
    TableRow {
        key: run.run.to_string(),
        count: 1,
        mark,
        cells: vec![
            Cell::text(run.outcome.map_or("under way", |outcome| outcome.word())),
            Cell::text(run.run.to_string()),
            Cell::text(run.title.clone()),
            Cell::text(run.by.clone()),
            Cell::text(run.hosts.len().to_string()),
            Cell::Since(run.started_at),
            took,
        ],
        address: Some(View::of(PageName::Run(run.run)).to_string()),
    }
}

/// Adds how the hosts of each run ended, the marks of hosts with problems, and what these problems are.
fn with_ends(table: &mut Table, runs: &[RunSummary], ends: &EndsOfRuns, columns: &[HostColumn<'_>]) {
    let more = [("ends", 4), ("matrix", 3), ("problems", 0)];
    table.columns.extend(more.map(|(name, rank)| Column { name: name.into(), rank }));
    for (at, (row, run)) in table.rows.iter_mut().zip(runs).enumerate() {
        let counts = ends.counts.get(&run.run).into_iter().flatten();
        let counts: Vec<String> = counts.map(|(end, number)| format!("{number} {}", end.word())).collect();
        let marks: Vec<Mark> = columns.iter().filter_map(|column| column.marks.get(at).copied()).collect();
        row.cells.push(Cell::text(counts.join(", ")));
        row.cells.push(match marks.is_empty() {
            true => Cell::text(""),
            false => Cell::Strip(marks.clone(), in_words(&marks)),
        });
        row.cells.push(Cell::text(problems(run.run, ends)));
    }
}

/// The marks of a run for those who cannot see them: `2 failed, 5 no end`.
fn in_words(marks: &[Mark]) -> String {
    let mut counts: BTreeMap<Mark, usize> = BTreeMap::new();
    marks.iter().for_each(|mark| *counts.entry(*mark).or_default() += 1);
    let words = counts.into_iter().map(|(mark, number)| format!("{number} {}", mark.word()));
    words.collect::<Vec<_>>().join(", ")
}

/// The problems of the hosts of a run: `NEW web03; still web[07-08] since run 38`.
fn problems(run: RunId, ends: &EndsOfRuns) -> String {
    let mut sets: BTreeMap<Standing, Vec<&HostName>> = BTreeMap::new();
    for past in &ends.past {
        if let Some(standing) = past.standing(run) {
            sets.entry(standing).or_default().push(&past.host);
        }
    }
    let mut words: Vec<String> = Vec::new();
    for (standing, hosts) in sets.iter().take(SETS_SHOWN) {
        let hosts = folded(sorted(hosts.clone()));
        words.push(match standing {
            Standing::New => format!("NEW {hosts}"),
            Standing::Still { since, is_older, .. } => {
                format!("still {hosts} since run {since}{}", if *is_older { " or before" } else { "" })
            }
        });
    }
    let rest: usize = sets.values().skip(SETS_SHOWN).map(Vec::len).sum();
    words.extend((rest > 0).then(|| format!("still {} more", count(rest, "host"))));
    words.join("; ")
}

fn sorted(mut hosts: Vec<&HostName>) -> Vec<&HostName> {
    hosts.sort_by(|a, b| natural(a.as_str(), b.as_str()));
    hosts
}

/// The hosts with a problem, folded where their columns are equal: those with the newest problem first.
fn host_columns<'a>(runs: &[RunSummary], ends: &'a EndsOfRuns) -> Vec<HostColumn<'a>> {
    let mut columns: BTreeMap<Vec<Mark>, Vec<&HostName>> = BTreeMap::new();
    for (host, of_host) in &ends.ends {
        let end = |run: &RunSummary| of_host.get(&run.run).copied();
        if !runs.iter().any(|run| end(run).is_some_and(is_bad)) {
            continue;
        }
        let marks = runs.iter().map(|run| end(run).map_or(Mark::Absent, Mark::of)).collect();
        columns.entry(marks).or_default().push(host);
    }
    let mut columns: Vec<HostColumn<'_>> =
        columns.into_iter().map(|(marks, hosts)| HostColumn { hosts: sorted(hosts), marks }).collect();
    let first_problem = |column: &HostColumn<'_>| column.marks.iter().position(|mark| mark.is_problem());
    let name = |column: &HostColumn<'_>| column.hosts.first().map_or("", |host| host.as_str()).to_string();
    columns.sort_by(|a, b| first_problem(a).cmp(&first_problem(b)).then_with(|| natural(&name(a), &name(b))));
    columns
}

/// The hosts of the columns, in their order.
fn legend(runs: &[RunSummary], ends: &EndsOfRuns, (columns, rest): (&[HostColumn<'_>], usize)) -> Table {
    let heads = [("state", 0), ("host", 0), ("hosts", 1), ("column", 1), ("last problem", 0)];
    let mut table = Table::new("hosts with a problem in these runs", &heads, "");
    table.is_history = true;
    for (at, column) in columns.iter().enumerate() {
        let Some(host) = column.hosts.first() else { continue };
        let newest = column.marks.iter().find(|mark| **mark != Mark::Absent).copied().unwrap_or(Mark::Absent);
        let last = column.marks.iter().position(|mark| mark.is_problem()).and_then(|at| runs.get(at));
        let page = match column.hosts.as_slice() {
            [one] => Some(PageName::Host(one.to_string())),
            _ => last.map(|run| PageName::Run(run.run)),
        };
        table.rows.push(TableRow {
            key: host.to_string(),
            count: column.hosts.len(),
            mark: newest,
            cells: vec![
                Cell::text(newest.word()),
                Cell::text(folded(column.hosts.iter().copied())),
                Cell::text(column.hosts.len().to_string()),
                Cell::text((at + 1).to_string()),
                Cell::text(last.map(|run| last_problem(run.run, host, ends)).unwrap_or_default()),
            ],
            address: page.map(|page| View::of(page).to_string()),
        });
    }
    table.caption +=
        &if rest > 0 { format!(", without {}", count(rest, "more column")) } else { String::new() };
    table
}

fn last_problem(run: RunId, host: &HostName, ends: &EndsOfRuns) -> String {
    let end: Option<End> = ends.ends.get(host).and_then(|ends| ends.get(&run)).copied();
    let end = end.map(|end| format!(", {}", end.word())).unwrap_or_default();
    format!("run {run}{end}")
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
