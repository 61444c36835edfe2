//! How hosts with a problem ended in the runs before. That never changes, so it is read once for all who look at a run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::history::HostPast;
use crate::port::StoreError;
use crate::port::report::Reports;

/// Runs whose hosts are kept.
const KEPT: usize = 8;

/// Most hosts of a run, so that a run on a large fleet that failed everywhere delays no other work at the store.
const HOSTS: usize = 2_000;

/// See the module.
#[derive(Default)]
pub struct Pasts(Mutex<VecDeque<(RunId, BTreeMap<HostName, HostPast>)>>);

impl Pasts {
    /// What is on record of these hosts, which have ended in the run.
    pub async fn of(
        &self,
        reports: &dyn Reports,
        run: RunId,
        hosts: &[HostName],
    ) -> Result<Vec<HostPast>, StoreError> {
        let mut known = self.take(run);
        let room = HOSTS.saturating_sub(known.len());
        let missing: Vec<HostName> =
            hosts.iter().filter(|host| !known.contains_key(*host)).take(room).cloned().collect();
        if !missing.is_empty() {
            let read = reports.past(run, &missing).await?;
            known.extend(read.into_iter().map(|past| (past.host.clone(), past)));
        }
        let found = hosts.iter().filter_map(|host| known.get(host).cloned()).collect();
        self.keep(run, known);
        Ok(found)
    }

    fn take(&self, run: RunId) -> BTreeMap<HostName, HostPast> {
        let kept = self.lock();
        kept.iter().find(|(known, _)| *known == run).map(|(_, pasts)| pasts.clone()).unwrap_or_default()
    }

    fn keep(&self, run: RunId, pasts: BTreeMap<HostName, HostPast>) {
        let mut kept = self.lock();
        kept.retain(|(known, _)| *known != run);
        kept.push_back((run, pasts));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RunId, BTreeMap<HostName, HostPast>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
