//! What earlier runs say about the hosts of a page: which problems are new.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asked::{Asked, Ended};
use super::board::RUNS_SEARCHED;
use crate::domain::ask::access::Granted;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::plan::plan::repeated;
use crate::domain::run::history::{EndsOfRuns, Standing, VisibleRuns, is_bad};
use crate::domain::run::record::RunSummary;
use crate::domain::run::times::RunTimes;
use crate::door::folds::SharedFold;

/// Most hosts with a problem that the list of runs reads: for each of them the store reads its runs.
const HOSTS_READ: usize = 300;

/// Earlier runs whose steps are compared.
const RUNS_BEFORE: usize = 8;

impl Asked<'_> {
    /// How hosts ended in these runs.
    pub(super) async fn ends_of(&self, granted: &Granted, runs: &[RunSummary]) -> Result<EndsOfRuns, Ended> {
        let numbers: Vec<RunId> = runs.iter().map(|run| run.run).collect();
        let mut ends = self.desk.reports.of(&self.granted).ends_of_runs(&numbers, HOSTS_READ).await?;
        if let Some(visible) = self.visible_runs(granted, &numbers).await? {
            ends.retain(&visible);
        }
        Ok(ends)
    }

    /// Of the hosts that ended badly in the run as it is shown: whether that is new.
    pub(super) async fn standings(
        &self,
        granted: &Granted,
        fold: &SharedFold,
    ) -> Result<BTreeMap<HostName, Standing>, Ended> {
        let run = fold.run.id();
        let ended = fold.run.hosts().iter().filter_map(|(host, state)| Some((host, state.settled()?)));
        let bad = ended.filter(|(_, (end, _))| is_bad(*end));
        let hosts: Vec<HostName> = bad.map(|(host, _)| host.clone()).collect();
        if hosts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut pasts = self.desk.pasts.of(self.desk.reports.of(&self.granted), run, &hosts).await?;
        if let Some(visible) = self.visible_runs(granted, &[run]).await? {
            pasts.iter_mut().for_each(|past| past.retain(&visible));
        }
        Ok(pasts.into_iter().filter_map(|past| Some((past.host.clone(), past.standing(run)?))).collect())
    }

    /// How long the steps of the last runs of the same task or command took that had ended when this one began. Oldest first.
    pub(super) async fn times_before(
        &self,
        granted: &Granted,
        fold: &SharedFold,
    ) -> Result<Vec<Arc<RunTimes>>, Ended> {
        let (run, plan) = (fold.run.id(), fold.run.plan());
        let Some(started_at) = fold.progress.started_at else { return Ok(Vec::new()) };
        let sees_all = granted.operator().groups.is_none();
        let kept = &self.desk.step_times;
        let before = match kept.before(run).filter(|_| sees_all) {
            Some(before) => before,
            None => {
                let (runs, _) = self.runs_of(granted, RUNS_SEARCHED).await?;
                let first = |title: &str| repeated(title).unwrap_or(title).to_string();
                let is_same = |other: &&RunSummary| {
                    let is_task = plan.task().is_some();
                    other.kind == plan.kind && (is_task || first(&other.title) == first(&plan.title.0))
                };
                let same = runs.iter().filter(|other| other.run < run).filter(is_same);
                let ended = same.filter(|other| other.ended_at.is_some_and(|at| at <= started_at));
                let mut before: Vec<RunId> = ended.map(|other| other.run).take(RUNS_BEFORE).collect();
                before.reverse();
                let before: Arc<[RunId]> = before.into();
                if sees_all {
                    kept.found(run, before.clone());
                }
                before
            }
        };
        Ok(kept.of(self.desk.reports.of(&self.granted), &before).await?)
    }

    /// The runs that the operator may see, with those that they look at; `None` if they see all.
    async fn visible_runs(&self, granted: &Granted, shown: &[RunId]) -> Result<Option<VisibleRuns>, Ended> {
        if granted.operator().groups.is_none() {
            return Ok(None);
        }
        let (runs, has_more) = self.runs_of(granted, RUNS_SEARCHED).await?;
        let oldest = runs.iter().map(|run| run.run).min().filter(|_| has_more);
        let runs = runs.iter().map(|run| run.run).chain(shown.iter().copied()).collect();
        Ok(Some(VisibleRuns { runs, known_from: oldest.unwrap_or(RunId(0)) }))
    }
}
