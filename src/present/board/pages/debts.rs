//! Hosts that rollcall took out of rotation and that are not back, with what settles each.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::run::record::Debt;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Page, Table, TableRow};

/// The page.
pub fn page(debts: &[Debt], view: &View, (seq, now): (u64, Timestamp)) -> Page {
    let mut page = Page::at(view, "debts", (seq, now));
    page.head = head(debts);
    page.tables.push(table(debts));
    page
}

/// One line for each open debt: it is on every page until it is settled.
pub fn head(debts: &[Debt]) -> Vec<Line> {
    let open: Vec<&Debt> = debts.iter().filter(|debt| debt.is_open()).collect();
    if open.is_empty() {
        return vec![Line::marked(Mark::Ok, "no host is out of rotation by rollcall")];
    }
    open.into_iter().map(line).collect()
}

/// An open debt in one line.
pub fn line(debt: &Debt) -> Line {
    let why = if debt.why.is_empty() { String::new() } else { format!(": {}", debt.why.replace('\n', " ")) };
    let text = format!("{} is out of {} by run {}{why}", debt.host, debt.balancer, debt.run);
    Line::marked(Mark::Held, text)
        .leading_to(View::of(PageName::Debts))
        .with_command(format!("ssh rollcall settle {} because REASON", debt.host))
}

fn table(debts: &[Debt]) -> Table {
    let columns = [("state", 0), ("host", 0), ("balancer", 1), ("run", 1), ("by", 2), ("for", 1), ("why", 1)];
    let mut table = Table::new("debts", &columns, "no host is out of rotation by rollcall");
    for debt in debts {
        let (mark, word) = match &debt.written_off {
            Some(_) => (Mark::Skipped, "written off"),
            None => (Mark::Held, "open"),
        };
        table.rows.push(TableRow {
            key: format!("{} {}", debt.host, debt.balancer),
            mark,
            cells: vec![
                Cell::text(word),
                Cell::text(debt.host.to_string()),
                Cell::text(debt.balancer.clone()),
                Cell::text(debt.run.to_string()),
                Cell::text(debt.by.clone()),
                Cell::Since(debt.since),
                Cell::text(debt.why.replace('\n', " ")),
            ],
            address: Some(View::of(PageName::RunHost(debt.run, debt.host.to_string())).to_string()),
        });
    }
    table
}
