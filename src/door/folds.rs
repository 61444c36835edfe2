//! Runs as the boards know them, folded once for all who look at them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use crate::domain::ask::access::Granted;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::engine::Engine;
use crate::engine::ports::Ports;
use crate::present::board::fold::RunFold;

/// Runs that are kept. One of 1,000 hosts and 20 steps takes about 10 MB.
const KEPT: usize = 4;

/// Events that are read at once.
const READ_AT_ONCE: usize = 1_000;

/// A run that several pages may be made from at the same time.
pub type SharedFold = Arc<RunFold>;

/// See the module.
#[derive(Default)]
pub struct Folds {
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

struct Kept {
    run: RunId,
    /// The fold, and the number of the last event that was read for it, of whichever run.
    state: AsyncMutex<Option<(SharedFold, u64)>>,
}

impl Folds {
    /// The run as it is now; `None` if there is none with this number. Whether the operator may see it is for the caller.
    pub async fn of(
        &self,
        granted: &Granted,
        engine: &Engine,
        run: RunId,
    ) -> Result<Option<SharedFold>, Refusal> {
        let kept = self.kept(run);
        // Those who ask at the same time wait for one fold.
        let mut state = kept.state.lock().await;
        let ports = engine.ports_for(granted);
        let begun = match state.take() {
            Some(begun) => begun,
            None => match load(ports, run).await? {
                Some(begun) => begun,
                None => return Ok(None),
            },
        };
        let caught_up = catch_up(ports, begun).await?;
        let fold = caught_up.0.clone();
        *state = Some(caught_up);
        Ok(Some(fold))
    }

    fn kept(&self, run: RunId) -> Arc<Kept> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|kept| kept.run == run);
        let kept = at
            .and_then(|at| all.remove(at))
            .unwrap_or_else(|| Arc::new(Kept { run, state: AsyncMutex::default() }));
        all.push_back(kept.clone());
        if all.len() > KEPT {
            all.pop_front();
        }
        kept
    }
}

async fn load(ports: &Ports, run: RunId) -> Result<Option<(SharedFold, u64)>, Refusal> {
    // Events up to this one that belong to the run are loaded with it.
    let known = *ports.events.newest().borrow();
    let Some(stored) = ports.store.load(run).await? else { return Ok(None) };
    let fold = tokio::task::spawn_blocking(move || RunFold::replay(run, stored.plan, &stored.events));
    let fold = fold.await.map_err(|error| Refusal::internal(error.to_string()))?;
    let fold = fold.map_err(|illegal| Refusal::internal(format!("run {run}: {illegal}")))?;
    let seq = fold.seq.max(known);
    Ok(Some((Arc::new(fold), seq)))
}

async fn catch_up(
    ports: &Ports,
    (mut fold, mut read): (SharedFold, u64),
) -> Result<(SharedFold, u64), Refusal> {
    let run = fold.run.id();
    let newest = *ports.events.newest().borrow();
    // Debts may be settled after the end of a run.
    while read < newest {
        let events = ports.events.events_after(read, READ_AT_ONCE).await?;
        let Some(last) = events.last() else { break };
        read = last.seq;
        let mut own = events.iter().filter(|event| event.run == run).peekable();
        if own.peek().is_some() {
            let fold = Arc::make_mut(&mut fold);
            own.try_for_each(|event| fold.take(event))
                .map_err(|illegal| Refusal::internal(format!("run {run}: {illegal}")))?;
        }
    }
    Ok((fold, read))
}
