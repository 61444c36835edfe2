//! One host of a run: its steps with their ends, its checks, and where it stands.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, count};
use crate::present::board::fold::RunFold;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Page, Table, TableRow};
use crate::present::board::progress::HostProgress;

/// The page; `None` if the run has no such host.
pub fn page(fold: &RunFold, view: &View, host: &HostName, now: Timestamp) -> Option<Page> {
    let state = fold.run.host(host)?;
    let run = fold.run.id();
    let mut page = Page::at(view, &format!("{host} in run {run}"), (fold.seq, now));
    page.is_past = view.at.is_some();
    let HostProgress { mark, action, since } = fold.progress.of(host, state);
    let since =
        since.map(|since| format!(", since {}", crate::present::table::moment(since))).unwrap_or_default();
    let why = if action.is_empty() { String::new() } else { format!(": {action}") };
    page.head.push(Line::marked(mark, format!("{}{why}{since}", mark.word())));
    if state.is_owed() {
        let line = Line::marked(Mark::Held, "out of rotation, by rollcall");
        page.head.push(line.with_command(format!("ssh rollcall settle {host} because REASON")));
    }
    if let Some(previous) = state.previous() {
        page.head.push(Line::plain(format!("release before this run: {previous}")));
    }
    let own = View::of(PageName::Host(host.to_string()));
    page.head.push(Line::plain(format!("all about {host}")).leading_to(own));
    page.tables.push(steps(fold, view, host));
    page.tables.push(checks(fold, host));
    Some(page)
}

fn steps(fold: &RunFold, view: &View, host: &HostName) -> Table {
    let columns = [("state", 0), ("step", 0), ("took", 1), ("output", 2), ("why", 1)];
    let mut table = Table::new("steps", &columns, "no step has started");
    for (at, attempt) in fold.attempts(host).iter().enumerate() {
        let output = match (attempt.lines, attempt.left_out) {
            (0, 0) => String::new(),
            (lines, 0) => count(lines, "line"),
            (lines, left_out) => format!("{}, {left_out} bytes left out", count(lines, "line")),
        };
        let took = attempt.took_ms.map_or(Cell::Since(attempt.started_at), Cell::Took);
        let took = if attempt.has_run() { took } else { Cell::text("") };
        let step = View { at: view.at, ..View::of(PageName::Step(fold.run.id(), host.to_string(), at + 1)) };
        table.rows.push(TableRow {
            key: (at + 1).to_string(),
            count: 1,
            mark: attempt.mark,
            cells: vec![
                Cell::text(attempt.mark.word()),
                Cell::text(format!("{} {}", at + 1, attempt.words())),
                took,
                Cell::text(output),
                Cell::text(attempt.why.replace('\n', " ")),
            ],
            address: Some(step.to_string()),
        });
    }
    table
}

fn checks(fold: &RunFold, host: &HostName) -> Table {
    let columns = [("state", 0), ("check", 0), ("took", 2), ("observed", 1)];
    let mut table = Table::new("checks", &columns, "no check has ended");
    for result in fold.run.host(host).map(|state| state.checks()).unwrap_or_default() {
        let mark = Mark::of_verdict(Some(result.verdict));
        table.rows.push(TableRow {
            key: result.check.to_string(),
            count: 1,
            mark,
            cells: vec![
                Cell::text(mark.word()),
                Cell::text(result.check.to_string()),
                Cell::Took(result.took_ms),
                Cell::text(result.text.replace('\n', " ")),
            ],
            address: Some(View::of(PageName::Check(result.check.to_string())).to_string()),
        });
    }
    table
}
