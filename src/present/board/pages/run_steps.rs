//! The steps of a run, each with what became of it on all hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::ask::view::{PageName, StepNumber, View};
use crate::domain::base::name::count;
use crate::domain::base::outcome::seconds;
use crate::domain::run::times::{RunTimes, StepName};
use crate::present::board::fold::RunFold;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Link, Table, TableRow};
use crate::present::board::spark;

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
pub fn table(fold: &RunFold, view: &View, before: &[Arc<RunTimes>]) -> Option<Table> {
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
    let columns = [("state", 0), ("step", 0), ("hosts", 1), ("median", 2), ("longest", 2), ("before", 3)];
    let mut table = Table::new("steps", &columns, "");
    // The hosts above raise the alarm.
    table.is_history = true;
    let shown = if view.all { ALL_STEPS } else { STEPS_SHOWN };
    if steps.len() > shown {
        let all = View { all: true, ..view.clone() };
        let text = format!("{} more steps", steps.len() - shown);
        table.more = Some(Link { text, address: all.to_string() });
    }
    let mut names: BTreeMap<StepName, usize> = BTreeMap::new();
    steps.iter().for_each(|(number, row)| *names.entry(row.step(*number)).or_default() += 1);
    for (number, row) in steps.into_iter().take(shown) {
        let name = row.step(number);
        // Steps of other runs are found by name, so steps that share a name have no earlier times.
        let is_one = names.get(&name) == Some(&1);
        let times = if is_one { times_of(&name, before) } else { Cell::text("") };
        table.rows.push(row.row(fold, view, (number, times)));
    }
    if before.is_empty() {
        table.columns.pop();
        table.rows.iter_mut().for_each(|row| _ = row.cells.pop());
    }
    Some(table)
}

/// The medians of a step in earlier runs.
fn times_of(step: &StepName, before: &[Arc<RunTimes>]) -> Cell {
    let medians: Vec<Option<f64>> =
        before.iter().map(|run| run.steps.get(step).map(|time| time.median_ms as f64)).collect();
    let runs = count(medians.iter().flatten().count(), "run");
    spark::cell(&medians, |low, high| match (seconds(low as u64), seconds(high as u64)) {
        (low, high) if low == high => format!("{low} in {runs}"),
        (low, high) => format!("{low} to {high} in {runs}"),
    })
}

impl StepRow<'_> {
    fn step(&self, number: StepNumber) -> StepName {
        StepName { is_back: number.is_back, name: self.name.into() }
    }

    fn row(mut self, fold: &RunFold, view: &View, (number, before): (StepNumber, Cell)) -> TableRow {
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
                before,
            ],
            address: Some(View { at: view.at, ..View::of(page) }.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;
    use crate::domain::base::outcome::Outcome;
    use crate::domain::run::times::StepTime;
    use crate::present::board::story::Story;

    #[test]
    fn steps_say_how_long_they_took_in_the_runs_before() {
        let mut story = Story::of_steps(2, 2);
        story.steps(1, 2, (Outcome::Ok, ""));
        let times = |run, median_ms| {
            let step = StepName { is_back: false, name: "step 2".into() };
            Arc::new(RunTimes { run: RunId(run), steps: [(step, StepTime { hosts: 2, median_ms })].into() })
        };
        let view = View::of(PageName::Run(RunId(41)));
        let of = |before: &[Arc<RunTimes>]| table(&story.fold, &view, before).unwrap();
        assert_eq!(of(&[]).rows[1].cells.len(), 5);
        let steps = of(&[times(38, 1_000), times(39, 4_500), times(40, 8_000)]);
        assert_eq!(steps.rows[0].cells[5], Cell::text(""), "it was not in them");
        let words = "1.0s to 8.0s in 3 runs".to_string();
        assert_eq!(steps.rows[1].cells[5], Cell::Spark(vec![Some(0), Some(4), Some(7)], words));
        assert_eq!(
            of(&[times(40, 1_000)]).rows[1].cells[5],
            Cell::Spark(vec![Some(0)], "1.0s in 1 run".into())
        );
    }
}
