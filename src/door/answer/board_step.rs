//! `board step`: the outputs of one step on all hosts of a run, compared.

use std::path::Path;
use std::sync::Arc;

use super::asked::{Asked, Ended};
use super::board::time_of;
use crate::domain::ask::access::Granted;
use crate::domain::ask::view::{StepNumber, View};
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::domain::run::event::operation_id;
use crate::door::differences::{Budget, Open, compare};
use crate::door::file_digests::Ended as EndedOutput;
use crate::door::folds::SharedFold;
use crate::door::kept::{Step, open, steps_of};
use crate::port::StoredRun;
use crate::present::board::answers::{AnswerGroup, StepAnswers, last_attempt};
use crate::present::board::page::Page;
use crate::present::board::pages::run_step::{self, Compared, groups_shown};

impl Asked<'_> {
    pub(super) async fn run_step(
        &self,
        granted: &Granted,
        view: &View,
        (run, step): (RunId, StepNumber),
    ) -> Result<Page, Ended> {
        let fold = self.fold(granted, run, view.at).await?;
        let outputs = &self.ports().hosts.outputs;
        // What was printed until now can be read.
        outputs.written().await;
        let (folder, digests) = (outputs.folder(), self.desk.answers.clone());
        let (shared, from) = (fold.clone(), folder.clone());
        let answers = move || {
            let ended: Vec<EndedOutput> = StepAnswers::in_files(&shared, step)
                .into_iter()
                .map(|(host, attempt)| {
                    let (way, at) = (attempt.way, attempt.step);
                    let operation = operation_id(run, &host, way, at, attempt.attempt);
                    EndedOutput { operation, names: shared.names(&host), host }
                })
                .collect();
            StepAnswers::of(&shared, step, &digests.of(from.as_deref(), &ended))
        };
        let answers = self.work(answers).await?.ok_or_else(|| {
            let why = format!("run {run} has no step {step}");
            Refusal::not_found(why).hint(format!("try: board run {run}"))
        })?;
        let answers = Arc::new(answers);
        let mut compared = vec![Compared::Common; answers.groups.len().min(1)];
        if answers.groups.len() > 1 {
            let stored = self.stored(granted, run).await?;
            let (shared, answers, shown) = (fold.clone(), answers.clone(), groups_shown(view));
            let differences =
                move || compared_all(folder.as_deref(), (&shared, &stored), step, (&answers, shown));
            let read = self.work(differences).await?;
            let read =
                read.map_err(|error| Refusal::internal(format!("an output could not be read: {error}")))?;
            let covered = |compared: Compared| compared.with_texts(&|text| self.terminal.covered(text));
            compared = read.into_iter().map(covered).collect();
        }
        let now = time_of(&fold, view, self.desk.clock.now());
        Ok(run_step::page(&fold, (view, step), (&answers, &compared), now))
    }
}

/// Each group that is shown, compared with the first one.
fn compared_all(
    folder: Option<&Path>,
    (fold, stored): (&SharedFold, &StoredRun),
    step: StepNumber,
    (answers, shown): (&StepAnswers, usize),
) -> std::io::Result<Vec<Compared>> {
    let output = |group: &AnswerGroup| -> std::io::Result<Option<Open>> {
        let Some(member) = group.members.first() else { return Ok(None) };
        let Some((_, attempt)) = last_attempt(fold, &member.host, step) else { return Ok(None) };
        let number = attempt.number().to_string();
        let steps = steps_of(stored, member.host.as_str());
        let is_wanted = |step: &&Step| step.number == number && step.attempt == attempt.attempt;
        let step = steps.iter().find(is_wanted);
        let kept = step.map(|step| open(folder, step)).transpose()?;
        Ok(kept.map(|kept| Open { kept, names: fold.names(&member.host) }))
    };
    let (mut all, mut budget, mut common) = (Vec::new(), Budget::default(), None);
    for (at, group) in answers.groups.iter().take(shown).enumerate() {
        let is_common = answers.groups.first().is_some_and(|first| first.digest == group.digest);
        // To open an output reads a part of it, too.
        let is_read = at == 0 || !(is_common || budget.is_over());
        let mut own = if is_read { output(group)? } else { None };
        all.push(match (at, &mut common, &mut own) {
            (0, ..) => Compared::Common,
            _ if is_common => Compared::SameLines,
            (_, Some(common), Some(own)) => compare(common, own, &mut budget)?,
            _ if budget.is_over() => Compared::not_looked_for(),
            _ => Compared::Somewhere("differs".into()),
        });
        if at == 0 {
            common = own;
        }
    }
    Ok(all)
}
