//! The last runs, newest first.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::outcome::milliseconds;
use crate::domain::run::record::RunSummary;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Link, Page, Table, TableRow};

/// The page.
pub fn page((runs, has_more): (&[RunSummary], bool), view: &View, (seq, now): (u64, Timestamp)) -> Page {
    let mut page = Page::at(view, "runs", (seq, now));
    let mut table = table(runs, "runs");
    if has_more {
        let all = View { all: true, ..view.clone() };
        table.more = Some(Link { text: "older runs".into(), address: all.to_string() });
    }
    page.tables.push(table);
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
