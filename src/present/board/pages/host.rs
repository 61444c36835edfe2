//! One host: its checks, its releases, and the runs that worked on it.

use jiff::Timestamp;

use super::debts::Debts;
use super::{checks, runs};
use crate::domain::ask::view::{PageName, View};
use crate::domain::inventory::inventory::Host;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::run::record::RunSummary;
use crate::domain::watch::roll::{CheckLine, History, Sample};
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Page, Table, TableRow};

/// What the page is made from.
pub struct HostFacts<'a> {
    pub host: &'a Host,
    pub debts: &'a Debts<'a>,
    pub lines: &'a [CheckLine],
    pub history: &'a [History],
    pub taken: &'a [ReleaseTakeover],
    pub runs: &'a [RunSummary],
}

impl HostFacts<'_> {
    /// The page.
    pub fn page(&self, view: &View, (seq, now): (u64, Timestamp)) -> Page {
        let host = self.host;
        let mut page = Page::at(view, &format!("host {}", host.name), (seq, now));
        page.head.extend(self.debts.strip());
        let at = &host.endpoint;
        let reached = format!("{}@{}, in {}", at.login, at.shown_address(), host.groups.join(", "));
        page.head.push(Line::plain(reached));
        page.tables.push(self.checks(now));
        page.tables.push(self.releases());
        page.tables.push(runs::table(self.runs, "runs"));
        page
    }

    fn checks(&self, now: Timestamp) -> Table {
        let columns =
            [("state", 0), ("check", 0), ("last day", 1), ("for", 1), ("measured", 3), ("observed", 1)];
        let mut table = Table::new("checks", &columns, "no check of it is watched");
        for line in self.lines {
            let samples = self.history.iter().find(|kept| kept.check == line.check);
            let samples: &[Sample] = samples.map_or(&[], |kept| &kept.samples);
            let strip = checks::strip(samples, now);
            let mark = Mark::of_verdict(line.verdict);
            let words =
                format!("{} parts with a problem", strip.iter().filter(|mark| mark.is_problem()).count());
            let name = line.check.to_string();
            table.rows.push(TableRow {
                key: name.clone(),
                count: 1,
                mark,
                cells: vec![
                    Cell::text(if mark == Mark::NotStarted { "not probed yet" } else { mark.word() }),
                    Cell::text(name.clone()),
                    Cell::Strip(strip, words),
                    line.since.map_or_else(|| Cell::text(""), Cell::Since),
                    checks::measured(samples, now),
                    Cell::text(line.text.replace('\n', " ")),
                ],
                address: Some(View::of(PageName::Check(name)).to_string()),
            });
        }
        table
    }

    fn releases(&self) -> Table {
        let columns = [("state", 0), ("release", 0), ("run", 1), ("since", 1)];
        let mut table = Table::new("releases", &columns, "no release is on record");
        table.is_history = true;
        for taken in self.taken {
            let (mark, word) = match (taken.good, taken.rollback_failed) {
                (true, _) => (Mark::Ok, "good"),
                (false, true) => (Mark::Unknown, "not known: its rollback failed"),
                (false, false) => (Mark::Unknown, "not proven"),
            };
            table.rows.push(TableRow {
                key: format!("{} {}", taken.run, taken.release.fingerprint),
                count: 1,
                mark,
                cells: vec![
                    Cell::text(word),
                    Cell::text(taken.release.words()),
                    Cell::text(taken.run.to_string()),
                    Cell::Since(taken.at),
                ],
                address: Some(View::of(PageName::Run(taken.run)).to_string()),
            });
        }
        table
    }
}
