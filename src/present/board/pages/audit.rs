//! What people did, newest first.

use jiff::Timestamp;

use crate::domain::ask::audit::{AuditKind, AuditRow};
use crate::domain::ask::view::View;
use crate::present::audit::words;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Page, Table, TableRow};
use crate::present::table::moment;

/// The page. `rows` are those that the operator may read, oldest first.
pub fn page(rows: &[AuditRow], view: &View, (seq, now): (u64, Timestamp)) -> Page {
    let mut page = Page::at(view, "audit", (seq, now));
    page.head.push(Line::plain("the newest rows, newest first; all of them: audit"));
    let columns = [("state", 0), ("row", 2), ("time", 1), ("who", 0), ("from", 2), ("what", 0)];
    let mut table = Table::new("audit", &columns, "nothing is on record that you may read");
    table.is_history = true;
    table.rows = rows.iter().rev().map(row).collect();
    page.tables.push(table);
    page
}

fn row(row: &AuditRow) -> TableRow {
    let fact = &row.fact;
    let is_refused = matches!(fact.kind, AuditKind::LoginRefused { .. } | AuditKind::CommandRefused { .. });
    let (mark, word) = if is_refused { (Mark::Warning, "refused") } else { (Mark::Ok, "granted") };
    TableRow {
        key: row.seq.to_string(),
        count: 1,
        mark,
        cells: vec![
            Cell::text(word),
            Cell::text(row.seq.to_string()),
            Cell::text(moment(fact.at)),
            Cell::text(fact.name.clone()),
            Cell::text(fact.from.map(|from| from.to_string()).unwrap_or_default()),
            Cell::text(words(fact).replace('\n', " ")),
        ],
        address: None,
    }
}
