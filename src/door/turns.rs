//! Turns: limits for work that takes processors or memory. Each operator has fewer turns than there are
//! in total, so that none can take all of them, and one that has to wait delays no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns for one kind of work.
pub struct Turns {
    all: Arc<Semaphore>,
    /// By operator. Entries without a turn, and without a waiting request, are dropped.
    each: Mutex<HashMap<String, Arc<Semaphore>>>,
    own: usize,
}

/// A turn, until it is dropped.
pub struct WorkTurn {
    _all: Option<OwnedSemaphorePermit>,
    _own: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// `all` turns, `own` of them for one operator.
    pub fn new(all: usize, own: usize) -> Turns {
        Turns { all: Arc::new(Semaphore::new(all)), each: Mutex::default(), own }
    }

    /// Waits for a turn: first among those of the operator, so that an operator's own crowd delays only that operator.
    pub async fn take(&self, operator: &str) -> WorkTurn {
        // The semaphores are never closed, which is the only error.
        let own = self.of(operator).acquire_owned().await.ok();
        let all = self.all.clone().acquire_owned().await.ok();
        WorkTurn { _all: all, _own: own }
    }

    /// A turn, if one is free now.
    pub fn try_take(&self, operator: &str) -> Option<WorkTurn> {
        let own = self.of(operator).try_acquire_owned().ok()?;
        let all = self.all.clone().try_acquire_owned().ok()?;
        Some(WorkTurn { _all: Some(all), _own: Some(own) })
    }

    fn of(&self, operator: &str) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|_, turns| Arc::strong_count(turns) > 1 || turns.available_permits() < self.own);
        each.entry(operator.to_string()).or_insert_with(|| Arc::new(Semaphore::new(self.own))).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_operator_takes_all_turns() {
        let turns = Turns::new(2, 1);
        let first = turns.take("ann").await;
        assert!(turns.take("ann").now_or_never().is_none(), "ann has hers");
        let second = turns.take("bob").now_or_never().unwrap();
        assert!(turns.take("eve").now_or_never().is_none(), "all are taken");
        drop(first);
        let third = tokio::time::timeout(Duration::from_secs(1), turns.take("ann")).await;
        assert!(third.is_ok());
        drop((second, third));
        _ = turns.take("eve").await;
        assert_eq!(turns.each.lock().unwrap().len(), 1, "the others are forgotten");
    }

    /// Of 12 files that are received at the same time, 3 are those of one operator.
    #[tokio::test]
    async fn slow_files_of_one_operator_keep_out_no_file_of_others() {
        let uploads = crate::door::AllTurns::default().uploads;
        let mut turns = Vec::new();
        for operator in ["ann", "bob", "eve", "vic"] {
            for _ in 0..3 {
                turns.push(uploads.take(operator).now_or_never().expect("a turn"));
            }
            assert!(uploads.take(operator).now_or_never().is_none(), "{operator} has all of theirs");
        }
        assert!(uploads.take("mia").now_or_never().is_none(), "all are taken");
        drop(turns.pop());
        assert!(uploads.take("mia").now_or_never().is_some());
    }
}
