//! Following a run. Events are kept as long as the run lives, and every follower reads them at its
//! own pace: a slow one delays no other and misses nothing. Progress is droppable.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::hands::Hands;
use crate::domain::ask::access::Operator;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::{Event, Progress};
use crate::domain::run::request::RunRequest;
use crate::port::talk::{Feed, Talk};

/// Lines of live output kept for a slow follower; older ones are dropped, and their number is reported.
/// The journal has the output in any case.
pub const PROGRESS_CAPACITY_LINES: usize = 1024;

/// Most waiting requests to one run: it handles them between two events.
pub const CONTROL_CAPACITY: usize = 16;

/// A request to a run under way, with the sender of its answer.
#[derive(Debug)]
pub struct Control {
    pub request: RunRequest,
    pub who: Operator,
    pub answer: oneshot::Sender<Result<(), Refusal>>,
}

/// A run under way, for followers and requests.
pub struct Live {
    pub id: RunId,
    pub plan: Arc<Plan>,
    pub by: String,
    events: Mutex<Vec<Event>>,
    /// The number of events; the second part is `None` until the run is over.
    length: watch::Sender<(usize, Option<Over>)>,
    pub progress: broadcast::Sender<Progress>,
    pub control: mpsc::Sender<Control>,
    /// The operator at an ad-hoc command, while they are there.
    pub talk: OnceLock<Talk>,
    hands: Arc<Hands>,
}

/// Why no more events follow.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    Ended,
    /// Rollcall is stopping: the run continues after the next start.
    Suspended,
    /// The journal could not be written: the run has stopped, and the store has its state.
    Broken(String),
}

impl Live {
    /// A run without events, and the receiver of its requests.
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
            talk: OnceLock::new(),
            hands,
        };
        (Arc::new(live), requests)
    }

    /// True if the operator has sent input to its commands.
    pub fn had_input(&self) -> bool {
        self.talk.get().and_then(|talk| talk.input.as_ref()).is_some_and(Feed::is_used)
    }

    /// Shows followers events that are in the journal.
    pub fn publish(&self, new: &[Event]) {
        self.hands.saw(&self.plan.kind, new);
        let mut events = self.events();
        events.extend_from_slice(new);
        let length = events.len();
        self.length.send_modify(|state| state.0 = length);
    }

    /// Marks the end of the events.
    pub fn close(&self, over: Over) {
        self.length.send_modify(|state| state.1 = Some(over));
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One follower of one run, from its first event.
pub struct Follower {
    live: Arc<Live>,
    next: usize,
    length: watch::Receiver<(usize, Option<Over>)>,
    progress: broadcast::Receiver<Progress>,
}

/// An item for a follower.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedItem {
    Event(Box<Event>),
    Progress(Progress),
    /// This many lines of live output were dropped, because they came faster than they were read.
    Dropped(u64),
    Over(Over),
}

impl Follower {
    /// Follows `live`.
    pub fn new(live: Arc<Live>) -> Follower {
        Follower { next: 0, length: live.length.subscribe(), progress: live.progress.subscribe(), live }
    }

    /// The run that is followed.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The next item; events come in order, without gaps. [`FeedItem::Over`] is the last item.
    pub async fn next(&mut self) -> FeedItem {
        loop {
            let event = self.live.events().get(self.next).cloned();
            if let Some(event) = event {
                self.next += 1;
                return FeedItem::Event(Box::new(event));
            }
            let (length, over) = self.length.borrow_and_update().clone();
            if length > self.next {
                continue;
            }
            if let Some(over) = over {
                return FeedItem::Over(over);
            }
            tokio::select! {
                biased;
                changed = self.length.changed() => if changed.is_err() { return FeedItem::Over(Over::Ended) },
                line = self.progress.recv() => match line {
                    Ok(progress) => return FeedItem::Progress(progress),
                    Err(broadcast::error::RecvError::Lagged(lines)) => return FeedItem::Dropped(lines),
                    Err(broadcast::error::RecvError::Closed) => {}
                },
            }
        }
    }
}
