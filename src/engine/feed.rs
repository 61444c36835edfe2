//! Following a run. Events are kept for as long as the run lives, and every watcher reads them at its
//! own pace: a slow one holds nobody up and misses nothing. Progress is droppable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::hands::Hands;
use crate::domain::ask::access::Operator;
use crate::domain::base::name::RunId;
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::{Event, Progress};
use crate::domain::run::wish::Wish;

/// Lines of live output kept for a watcher that is behind; older ones are dropped, and said to be.
/// Output is in the journal all the same.
pub const PROGRESS_CAPACITY_LINES: usize = 1024;

/// Requests to one run that may wait: it looks at them between two events.
pub const CONTROL_CAPACITY: usize = 16;

/// What can be asked of a run that is under way, with the place where its answer goes.
#[derive(Debug)]
pub struct Control {
    pub wish: Wish,
    pub who: Operator,
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// A run that is under way, as others see it.
pub struct Live {
    pub id: RunId,
    pub plan: Arc<Plan>,
    pub by: String,
    events: Mutex<Vec<Event>>,
    /// The number of events; `None` in the second place until the run is over.
    length: watch::Sender<(usize, Option<Over>)>,
    pub progress: broadcast::Sender<Progress>,
    pub control: mpsc::Sender<Control>,
    hands: Arc<Hands>,
}

/// Why no more events come.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    Ended,
    /// Rollcall is stopping: the run goes on at the next start.
    Suspended,
    /// The journal could not be written: the run stands still, and what it left is in the store.
    Broken(String),
}

impl Live {
    /// A run with nothing in it yet, and the end where its requests arrive.
    pub fn new(
        id: RunId,
        plan: Arc<Plan>,
        by: String,
        hands: Arc<Hands>,
    ) -> (Arc<Live>, mpsc::Receiver<Control>) {
        let (control, requests) = mpsc::channel(CONTROL_CAPACITY);
        let live = Live {
            id,
            plan,
            by,
            events: Mutex::default(),
            length: watch::Sender::new((0, None)),
            progress: broadcast::Sender::new(PROGRESS_CAPACITY_LINES),
            control,
            hands,
        };
        (Arc::new(live), requests)
    }

    /// Shows events that are in the journal.
    pub fn publish(&self, new: &[Event]) {
        self.hands.saw(&self.plan.kind, new);
        let mut events = self.events();
        events.extend_from_slice(new);
        let length = events.len();
        self.length.send_modify(|state| state.0 = length);
    }

    /// Says that no more events come.
    pub fn close(&self, over: Over) {
        self.length.send_modify(|state| state.1 = Some(over));
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One follower of one run, from its first event.
pub struct Watch {
    live: Arc<Live>,
    next: usize,
    length: watch::Receiver<(usize, Option<Over>)>,
    progress: broadcast::Receiver<Progress>,
}

/// What a follower sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Event(Box<Event>),
    Progress(Progress),
    /// So many lines of live output were dropped, because they came faster than they were taken.
    Dropped(u64),
    Over(Over),
}

impl Watch {
    /// Follows `live`.
    pub fn new(live: Arc<Live>) -> Watch {
        Watch { next: 0, length: live.length.subscribe(), progress: live.progress.subscribe(), live }
    }

    /// What is being followed.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The next thing to see; events in order, without gaps. After [`Seen::Over`] nothing comes.
    pub async fn next(&mut self) -> Seen {
        loop {
            let event = self.live.events().get(self.next).cloned();
            if let Some(event) = event {
                self.next += 1;
                return Seen::Event(Box::new(event));
            }
            let (length, over) = self.length.borrow_and_update().clone();
            if length > self.next {
                continue;
            }
            if let Some(over) = over {
                return Seen::Over(over);
            }
            tokio::select! {
                biased;
                changed = self.length.changed() => if changed.is_err() { return Seen::Over(Over::Ended) },
                line = self.progress.recv() => match line {
                    Ok(progress) => return Seen::Progress(progress),
                    Err(broadcast::error::RecvError::Lagged(lines)) => return Seen::Dropped(lines),
                    Err(broadcast::error::RecvError::Closed) => {}
                },
            }
        }
    }
}
