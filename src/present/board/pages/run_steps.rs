//! The steps of a run, each with what became of it on all hosts.

use std::collections::BTreeMap;

use crate::domain::ask::view::{PageName, StepNumber, View};
use crate::present::board::fold::RunFold;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Link, Table, TableRow};

/// Most steps of a page; the others are on the page with all rows.
const STEPS_SHOWN: usize = 40;
const ALL_STEPS: usize = 1_000;

/// One step on all hosts.
#[derive(Default)]
struct StepRow<'f> {
    name: &'f str,
    marks: BTreeMap<Mark, usize>,
    took: Vec<u64>,
}

/// The table; `None` for a run without steps.
pub fn table(fold: &RunFold, view: &View) -> Option<Table> {
    let mut steps: BTreeMap<StepNumber, StepRow<'_>> = BTreeMap::new();
    for (host, plan) in &fold.run.plan().hosts {
        for (at, step) in plan.steps.iter().enumerate() {
            let number = StepNumber { is_back: false, number: at + 1 };
            let row = steps.entry(number).or_default();
            if row.name.is_empty() {
                row.name = &step.name;
            }
        }
        let attempts = fold.attempts(host);
        for (at, attempt) in attempts.iter().enumerate() {
            let number = attempt.number();
            // The last attempt counts; others of the same step are right before it.
            if attempts.get(at + 1).is_some_and(|next| next.number() == number) {
                continue;
            }
            let row = steps.entry(number).or_default();
            if row.name.is_empty() {
                row.name = &attempt.name;
            }
            *row.marks.entry(attempt.mark).or_default() += 1;
            row.took.extend(attempt.took_ms);
        }
    }
    if steps.is_empty() {
        return None;
    }
    let columns = [("state", 0), ("step", 0), ("hosts", 1), ("median", 2), ("longest", 2)];
    let mut table = Table::new("steps", &columns, "");
    // The hosts above raise the alarm.
    table.is_history = true;
    let shown = if view.all { ALL_STEPS } else { STEPS_SHOWN };
    if steps.len() > shown {
        let all = View { all: true, ..view.clone() };
        let text = format!("{} more steps", steps.len() - shown);
        table.more = Some(Link { text, address: all.to_string() });
    }
    table.rows = steps.into_iter().take(shown).map(|(number, row)| row.row(fold, view, number)).collect();
    Some(table)
}

impl StepRow<'_> {
    fn row(mut self, fold: &RunFold, view: &View, number: StepNumber) -> TableRow {
        self.took.sort_unstable();
        let median = self.took.len().checked_sub(1).map(|last| self.took[last / 2]);
        let took = |ms: Option<u64>| ms.map_or_else(|| Cell::text(""), Cell::Took);
        let words = self.marks.iter().map(|(mark, number)| format!("{number} {}", mark.word()));
        // Marks are in the order of boards: the first one needs a person most.
        let mark = self.marks.keys().next().copied().unwrap_or(Mark::NotStarted);
        let page = PageName::RunStep(fold.run.id(), number);
        TableRow {
            key: format!("step:{number}"),
            count: 1,
            mark,
            cells: vec![
                Cell::text(mark.word()),
                Cell::text(format!("{number} {}", self.name)),
                Cell::text(words.collect::<Vec<_>>().join(", ")),
                took(median),
                took(self.took.last().copied()),
            ],
            address: Some(View { at: view.at, ..View::of(page) }.to_string()),
        }
    }
}
