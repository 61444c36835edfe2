//! `last`: the operator's own last run again.

use super::asked::{Asked, Ended, may_see};
use crate::domain::ask::access::Granted;
use crate::domain::base::refusal::Refusal;
use crate::domain::plan::plan::{RunKind, repeated};

/// How many runs are searched, step by step: most operators find theirs among the first.
const SEARCHED: [usize; 3] = [50, 1_000, 10_000];

impl Asked<'_> {
    /// The last run that the operator has started, of a task or command if one is named; as `show` prints it.
    pub(super) async fn last(&mut self, granted: &Granted, task: Option<&str>) -> Result<u8, Ended> {
        let store = self.ports().store.clone();
        for count in SEARCHED {
            let runs = store.runs(count).await?;
            let found = runs.iter().find(|run| {
                run.by == self.operator
                    && task.is_none_or(|task| is_called(&run.title, &run.kind, task))
                    && may_see(granted, &self.config.inventory, &run.hosts)
            });
            if let Some(found) = found {
                return self.show(granted, found.run, None).await;
            }
            if runs.len() < count {
                break;
            }
        }
        let of = task.map(|task| format!(" of `{task}`")).unwrap_or_default();
        Err(Refusal::not_found(format!("you have started no run{of}")).hint("see: runs").into())
    }
}

/// True for a run of this task, or of the command with this word; also if it repeats one.
fn is_called(title: &str, kind: &RunKind, word: &str) -> bool {
    let first = repeated(title).unwrap_or(title).split_whitespace().next();
    let task = match kind {
        RunKind::Release { task } | RunKind::Task { task } | RunKind::DryRun { task } => Some(task.as_str()),
        RunKind::Check | RunKind::Run | RunKind::Facts | RunKind::Drain | RunKind::Enable => None,
    };
    first == Some(word) || task == Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_by_its_task_or_its_first_word() {
        let task = || RunKind::Release { task: "deploy".into() };
        let table = [
            ("deploy prod version=1", task(), "deploy", true),
            ("retry 4: deploy prod version=1", task(), "deploy", true),
            ("rollback prod", task(), "rollback", true),
            ("rollback prod", task(), "deploy", true),
            ("run web -- deploy", RunKind::Run, "run", true),
            ("run web -- deploy", RunKind::Run, "deploy", false),
            ("retry 4: copy web /x", RunKind::Run, "copy", true),
            ("copy web /x", RunKind::Run, "run", false),
        ];
        for (title, kind, word, wanted) in table {
            assert_eq!(is_called(title, &kind, word), wanted, "{title}: {word}");
        }
    }
}
