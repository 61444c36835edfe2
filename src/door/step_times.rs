//! How long the steps of ended runs took, read once for all who look at later runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::base::name::RunId;
use crate::domain::run::times::RunTimes;
use crate::port::StoreError;
use crate::port::report::Reports;

/// Runs whose times are kept, each in some kilobytes.
const KEPT: usize = 500;

/// See the module.
#[derive(Default)]
pub struct StepTimes {
    times: Mutex<HashMap<RunId, Arc<RunTimes>>>,
    /// The runs that a run is compared with: what was before it never changes.
    before: Mutex<HashMap<RunId, Arc<[RunId]>>>,
}

impl StepTimes {
    /// The times of runs that have ended.
    pub async fn of(&self, reports: &dyn Reports, runs: &[RunId]) -> Result<Vec<Arc<RunTimes>>, StoreError> {
        let mut found = Vec::new();
        for run in runs {
            let known = lock(&self.times).get(run).cloned();
            found.push(match known {
                Some(times) => times,
                None => {
                    let times = Arc::new(reports.step_times(*run).await?);
                    keep(&self.times, *run, times.clone());
                    times
                }
            });
        }
        Ok(found)
    }

    /// The runs that were found before for this one.
    pub fn before(&self, run: RunId) -> Option<Arc<[RunId]>> {
        lock(&self.before).get(&run).cloned()
    }

    /// Keeps them.
    pub fn found(&self, run: RunId, before: Arc<[RunId]>) {
        keep(&self.before, run, before);
    }
}

fn keep<T>(kept: &Mutex<HashMap<RunId, T>>, run: RunId, value: T) {
    let mut kept = lock(kept);
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(run, value);
}

fn lock<T>(kept: &Mutex<HashMap<RunId, T>>) -> MutexGuard<'_, HashMap<RunId, T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
