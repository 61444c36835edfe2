//! Hosts that rollcall took out of rotation and that are not back, with what settles each.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, RunId, count};
use crate::domain::run::record::Debt;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Page, Table, TableRow};

/// Debts that have a line of their own at the head of a page.
const LINES: usize = 10;

/// The debts that an operator may see.
pub struct Debts<'a> {
    pub all: &'a [Debt],
    /// The hosts that runs are working on.
    pub in_hand: &'a BTreeMap<HostName, RunId>,
    /// The operator sees some groups only.
    pub is_part: bool,
}

impl<'a> Debts<'a> {
    /// True while a run works on the host. A host that has ended in its run, as held, waits for a person, although the run
    /// goes on with others.
    fn is_in_bracket(&self, debt: &Debt) -> bool {
        self.in_hand.get(&debt.host) == Some(&debt.run)
    }

    /// Those that a person has to settle.
    pub fn open(&self) -> impl Iterator<Item = &'a Debt> {
        self.all.iter().filter(|debt| debt.is_open() && !self.is_in_bracket(debt))
    }

    /// Those of hosts that a run is working on.
    pub fn in_bracket(&self) -> usize {
        self.all.iter().filter(|debt| debt.is_open() && self.is_in_bracket(debt)).count()
    }

    /// Those that were written off: the hosts are not proven to be back.
    pub fn written_off(&self) -> usize {
        self.all.iter().filter(|debt| !debt.is_open()).count()
    }

    /// Open debts of the hosts for which this is true.
    pub fn count_of(&self, is_of: impl Fn(&HostName) -> bool) -> usize {
        self.all.iter().filter(|debt| debt.is_open() && is_of(&debt.host)).count()
    }

    /// The page.
    pub fn page(&self, view: &View, (seq, now): (u64, Timestamp)) -> Page {
        let mut page = Page::at(view, "debts", (seq, now));
        page.head.push(self.summary());
        page.head.extend(self.head());
        page.tables.push(table(self));
        page
    }

    /// All debts in one line.
    pub fn summary(&self) -> Line {
        let (open, in_bracket, written_off) = (self.open().count(), self.in_bracket(), self.written_off());
        let mut parts = Vec::new();
        parts.extend((open > 0).then(|| format!("{} out of rotation, to be settled", count(open, "host"))));
        parts.extend(
            (in_bracket > 0).then(|| format!("{} out of rotation in a run", count(in_bracket, "host"))),
        );
        parts.extend((written_off > 0).then(|| format!("{written_off} written off, not proven in rotation")));
        if parts.is_empty() {
            let whose = if self.is_part { "no host that you may see" } else { "no host" };
            parts.push(format!("{whose} is out of rotation by rollcall"));
        }
        let mark = match (open, written_off, in_bracket) {
            (1.., ..) => Mark::Held,
            (0, 1.., _) => Mark::Warning,
            (0, 0, 1..) => Mark::Running,
            (0, 0, 0) => Mark::Ok,
        };
        Line::marked(mark, parts.join("; "))
    }

    /// All open debts, for pages that do not begin with [`summary`](Debts::summary).
    pub fn strip(&self) -> Vec<Line> {
        let in_bracket = self.in_bracket();
        let text = format!("{} out of rotation in a run", count(in_bracket, "host"));
        let line = Line::marked(Mark::Running, text).leading_to(View::of(PageName::Debts));
        self.head().into_iter().chain((in_bracket > 0).then_some(line)).collect()
    }

    /// The debts that have to be settled, at the head of every page until they are.
    pub fn head(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.open().take(LINES).map(line).collect();
        let more = self.open().count().saturating_sub(LINES);
        if more > 0 {
            let text = format!("{} more out of rotation", count(more, "host"));
            lines.push(Line::marked(Mark::Held, text).leading_to(View::of(PageName::Debts)));
        }
        lines
    }
}

/// An open debt in one line.
pub fn line(debt: &Debt) -> Line {
    let why = if debt.why.is_empty() { String::new() } else { format!(": {}", debt.why.replace('\n', " ")) };
    let text = format!("{} is out of {} by run {}{why}", debt.host, debt.balancer, debt.run);
    Line::marked(Mark::Held, text)
        .leading_to(View::of(PageName::Debts))
        .with_command(format!("ssh rollcall settle {} because REASON", debt.host))
}

fn table(debts: &Debts<'_>) -> Table {
    let columns = [("state", 0), ("host", 0), ("balancer", 1), ("run", 1), ("by", 2), ("for", 1), ("why", 1)];
    let mut table = Table::new("debts", &columns, "none");
    for debt in debts.all {
        let (mark, word) = match &debt.written_off {
            Some(_) => (Mark::Warning, "written off"),
            None if debts.is_in_bracket(debt) => (Mark::Running, "in its bracket"),
            None => (Mark::Held, "open"),
        };
        table.rows.push(TableRow {
            key: format!("{} {}", debt.host, debt.balancer),
            count: 1,
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
