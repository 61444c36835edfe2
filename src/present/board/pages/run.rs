//! One run: what is out, what failed first, and every host, folded where hosts are alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, natural};
use crate::domain::run::event::PausedUntil;
use crate::domain::run::history::Standing;
use crate::domain::run::times::RunTimes;
use crate::present::board::block::{Following, Usual};
use crate::present::board::fold::RunFold;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Link, Page, Table, TableRow};
use crate::present::board::pages::run_steps;
use crate::present::board::progress::HostProgress;
use crate::present::board::standing;
use crate::present::board::strip::strip_words;
use crate::present::table::folded;

/// Most hosts with a problem that have a row of their own.
const PROBLEMS_SHOWN: usize = 50;

/// Most rows of a page that shows all hosts.
const ALL_ROWS: usize = 10_000;

/// Hosts that are alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    mark: Mark,
    action: String,
    strip: Vec<Mark>,
}

/// What earlier runs say.
#[derive(Debug, Default)]
pub struct Before {
    pub usual: Option<Usual>,
    /// Of the hosts with a problem: whether it is new.
    pub standings: BTreeMap<HostName, Standing>,
    /// How long steps took in the last runs, oldest first.
    pub times: Vec<Arc<RunTimes>>,
}

/// The page.
pub fn page(fold: &RunFold, view: &View, before: &Before, now: Timestamp) -> Page {
    let usual = before.usual;
    let following = Following { run: &fold.run, progress: &fold.progress, usual, now: fold.time(now) };
    let mut page = Page::at(view, &format!("run {}", fold.run.id()), (fold.seq, now));
    page.head = head(fold, &following, view);
    page.tables.push(hosts(fold, view, &before.standings));
    page.tables.extend(run_steps::table(fold, view, &before.times));
    page.is_past = view.at.is_some();
    page
}

fn head(fold: &RunFold, following: &Following<'_>, view: &View) -> Vec<Line> {
    let run = &fold.run;
    let is_waiting = run.pause().is_some_and(|pause| pause.until == PausedUntil::Approved);
    let (mark, word) = match run.outcome() {
        Some(outcome) => (Mark::of_run(Some(outcome)), outcome.word()),
        // Before its first event, which `--at` can show.
        None if !run.is_started() => (Mark::NotStarted, "not started"),
        None if is_waiting => (Mark::Waiting, "waiting for approval"),
        None => (Mark::Running, "under way"),
    };
    let mut lines = vec![Line::marked(mark, format!("{word}: {}; by {}", following.headline(), fold.by))];
    lines.push(Line::plain(following.numbers(&fold.progress.rows(run))));
    if run.outcome().is_none() && view.at.is_none() {
        let command = match is_waiting {
            true => format!("ssh rollcall approve {}", run.id()),
            false => format!("ssh rollcall watch {}", run.id()),
        };
        let next = following.next().unwrap_or_else(|| "no earlier run shows how long it may take".into());
        lines.push(Line::plain(format!("next: {next}")).with_command(command));
    }
    if let Some((host, number)) = &fold.first_failure {
        let attempt = fold.attempts(host).get(number - 1);
        let what = attempt.map(|attempt| format!("{}: {}", attempt.words(), attempt.why)).unwrap_or_default();
        let address = View { at: view.at, ..View::of(PageName::Step(run.id(), host.to_string(), *number)) };
        lines.push(Line::marked(Mark::Failed, format!("first failure: {host}: {what}")).leading_to(address));
    }
    let owed: Vec<&HostName> =
        run.hosts().iter().filter(|(_, host)| host.is_owed()).map(|(name, _)| name).collect();
    if run.outcome().is_some() && !owed.is_empty() {
        let line = Line::marked(Mark::Held, format!("out of rotation: {}", folded(owed)));
        lines.push(line.with_command("ssh rollcall debts"));
    }
    lines
}

fn hosts(fold: &RunFold, view: &View, standings: &BTreeMap<HostName, Standing>) -> Table {
    let columns = [("state", 0), ("host", 0), ("hosts", 3), ("steps", 1), ("for", 2), ("note", 2)];
    let mut table = Table::new("hosts", &columns, "this run has no hosts");
    let mut states: Vec<(&HostName, HostProgress)> =
        fold.run.hosts().iter().map(|(name, state)| (name, fold.progress.of(name, state))).collect();
    states.sort_by(|(a, one), (b, other)| {
        one.mark.cmp(&other.mark).then_with(|| natural(a.as_str(), b.as_str()))
    });
    let mut folds: BTreeMap<Kind, (Vec<&HostName>, Option<Timestamp>)> = BTreeMap::new();
    let mut own = 0;
    for (host, HostProgress { mark, action, since }) in states {
        let action = match standings.get(host) {
            Some(standing) if action.is_empty() => standing::words(*standing),
            Some(standing) => format!("{}: {action}", standing::words(*standing)),
            None => action,
        };
        let strip = fold.strips.of(host);
        let is_own = view.all || (mark.is_problem() && own < PROBLEMS_SHOWN);
        if is_own && own < ALL_ROWS {
            own += 1;
            table.rows.push(row(fold, view, (&Kind { mark, action, strip }, since), &[host]));
            continue;
        }
        let entry = folds.entry(Kind { mark, action, strip }).or_insert((Vec::new(), since));
        entry.1 = entry.1.min(since).or(since);
        entry.0.push(host);
    }
    let is_folded = folds.values().any(|(hosts, _)| hosts.len() > 1);
    for (kind, (hosts, since)) in folds {
        table.rows.push(row(fold, view, (&kind, since), &hosts));
    }
    if is_folded {
        let all = View { all: true, ..view.clone() };
        table.more = Some(Link { text: "each host in a row of its own".into(), address: all.to_string() });
    }
    table
}

fn row(
    fold: &RunFold,
    view: &View,
    (kind, since): (&Kind, Option<Timestamp>),
    hosts: &[&HostName],
) -> TableRow {
    let run = fold.run.id();
    let state = match (kind.mark, kind.action.as_str()) {
        (Mark::Running, action) if !action.is_empty() => action.to_string(),
        (mark, _) => mark.word().to_string(),
    };
    let note = if kind.mark == Mark::Running { String::new() } else { kind.action.replace('\n', " ") };
    let page = match hosts {
        [one] => View { at: view.at, ..View::of(PageName::RunHost(run, one.to_string())) },
        _ => View { all: true, ..view.clone() },
    };
    let many = if hosts.len() > 1 { hosts.len().to_string() } else { String::new() };
    TableRow {
        key: hosts.first().map(|host| host.to_string()).unwrap_or_default(),
        count: hosts.len(),
        mark: kind.mark,
        cells: vec![
            Cell::text(state),
            Cell::text(folded(hosts.iter().copied())),
            Cell::text(many),
            Cell::Strip(kind.strip.clone(), strip_words(&kind.strip)),
            since.map_or_else(|| Cell::text(""), Cell::Since),
            Cell::text(note),
        ],
        address: Some(page.to_string()),
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
