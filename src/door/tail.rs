//! The newest events as their followers receive them: read from the store and encoded once, not once for each follower.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::domain::base::name::RunId;
use crate::domain::run::event::Event;
use crate::port::{EventLog, StoreError};
use crate::present::json;

/// Most events that are kept. Followers are at most some seconds behind each other, unless they stall; those read the store.
const EVENTS: usize = 4096;

/// Most bytes of their lines: a line may have 64 KiB of output.
const BYTES: usize = 8 * 1024 * 1024;

/// What a follower adds to the time between two reads of each follower. A read costs the daemon and the network about 100
/// microseconds (encryption, packets), so that all followers together take a small part of a processor from the runs.
const PACE_PER_FOLLOWER: Duration = Duration::from_micros(500);

/// The longest time between two reads while there are events: a person still takes it for live.
const LONGEST_PACE: Duration = Duration::from_millis(500);

/// An event as programs read it.
pub struct EventLine {
    pub seq: u64,
    pub run: RunId,
    /// The line, with its end.
    pub text: String,
    kind: OnceLock<String>,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

impl EventLine {
    fn new(event: &Event) -> Arc<EventLine> {
        let text = json::event(event);
        Arc::new(EventLine { seq: event.seq, run: event.run, text, kind: OnceLock::new() })
    }

    /// The type of the event.
    pub fn kind(&self) -> &str {
        self.kind.get_or_init(|| {
            serde_json::from_str(&self.text).map_or_else(|_| String::new(), |Typed { r#type }| r#type)
        })
    }
}

/// Lines of consecutive events, the newest ones that any follower has asked for.
#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<EventLine>>,
    bytes: usize,
}

impl Kept {
    /// The lines behind event `after`; `None` if the store has to be asked.
    fn after(&self, after: u64, limit: usize) -> Option<Vec<Arc<EventLine>>> {
        let first = self.lines.front()?.seq;
        let skipped = usize::try_from(after.checked_add(1)?.checked_sub(first)?).ok()?;
        let found: Vec<_> = self.lines.iter().skip(skipped).take(limit).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    /// Keeps lines that were read at once, unless there are newer ones.
    fn add(&mut self, new: &[Arc<EventLine>], (events, bytes): (usize, usize)) {
        let last = self.lines.back().map_or(0, |line| line.seq);
        for line in new.iter().filter(|line| line.seq > last) {
            if self.lines.back().is_some_and(|last| last.seq + 1 != line.seq) {
                *self = Kept::default();
            }
            self.bytes += line.text.len();
            self.lines.push_back(line.clone());
        }
        while self.lines.len() > events || self.bytes > bytes {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

/// See the module.
pub struct Tail {
    kept: Mutex<Kept>,
    /// Held by the one follower that asks the store for new events.
    asking: tokio::sync::Mutex<()>,
    followers: AtomicU32,
    bounds: (usize, usize),
}

impl Default for Tail {
    fn default() -> Tail {
        Tail::with((EVENTS, BYTES))
    }
}

impl Tail {
    fn with(bounds: (usize, usize)) -> Tail {
        Tail {
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            followers: AtomicU32::new(0),
            bounds,
        }
    }

    /// The lines of the events behind number `after`, oldest first: the first of those that [`EventLog::events_after`] has, at
    /// most `limit`; none only if it has none. Events never change, so a kept line is never out of date.
    pub async fn lines_after(
        &self,
        log: &dyn EventLog,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<EventLine>>, StoreError> {
        let mut known = self.kept().after(after, limit);
        if known.is_none() && self.is_ahead(after) {
            let _asking = self.asking.lock().await;
            known = self.kept().after(after, limit);
            if known.is_none() {
                let read = read(log, after, limit).await?;
                self.kept().add(&read, self.bounds);
                return Ok(read);
            }
        }
        match known {
            Some(lines) => Ok(lines),
            None => read(log, after, limit).await,
        }
    }

    /// Whether the events behind `after` are newer than those that are kept.
    fn is_ahead(&self, after: u64) -> bool {
        self.kept().lines.back().is_none_or(|last| last.seq <= after)
    }

    /// Counts a follower, until the value is dropped.
    pub fn follow(self: &Arc<Tail>) -> Following {
        let place = self.followers.fetch_add(1, Ordering::Relaxed);
        Following { tail: self.clone(), place, read: None }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(log: &dyn EventLog, after: u64, limit: usize) -> Result<Vec<Arc<EventLine>>, StoreError> {
    Ok(log.events_after(after, limit).await?.iter().map(EventLine::new).collect())
}

/// A follower.
pub struct Following {
    tail: Arc<Tail>,
    place: u32,
    /// Its last turn.
    read: Option<Instant>,
}

impl Following {
    /// Waits until this follower reads, after there is an event: at once if there are few followers. Many read one after the
    /// other, and then several events at once.
    pub async fn turn(&mut self) {
        let (pace, offset) = pace(self.place, self.tail.followers.load(Ordering::Relaxed));
        let due = Instant::now() + offset;
        sleep_until(self.read.map_or(due, |read| due.max(read + pace))).await;
        self.read = Some(Instant::now());
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.tail.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time between two reads of a follower, and its own part of that time, so that not all of them read at the same moment.
fn pace(place: u32, followers: u32) -> (Duration, Duration) {
    let followers = followers.max(1);
    let pace = (PACE_PER_FOLLOWER * followers).min(LONGEST_PACE);
    (pace, pace * (place % followers) / followers)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use async_trait::async_trait;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::*;
    use crate::domain::run::event::EVENT_TYPES;
    use crate::port::RemovedEvents;
    use crate::store::SqliteStore;
    use crate::store::tests::{ann, at, drain, enabled, plan};

    #[test]
    fn many_followers_read_less_often_and_one_after_the_other() {
        let rows = [
            ((0, 1), (500, 0)),
            ((0, 40), (20_000, 0)),
            ((39, 40), (20_000, 19_500)),
            // Others have left since then.
            ((45, 40), (20_000, 2_500)),
            ((500, 1_000), (500_000, 250_000)),
            ((5_000, 10_000), (500_000, 250_000)),
        ];
        for ((place, followers), (every, offset)) in rows {
            let wanted = (Duration::from_micros(every), Duration::from_micros(offset));
            assert_eq!(pace(place, followers), wanted, "{place} of {followers}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_alone_reads_at_once_and_a_crowd_reads_in_turn() {
        let (tail, start) = (Arc::new(Tail::default()), Instant::now());
        let mut alone = tail.follow();
        alone.turn().await;
        assert!(start.elapsed() <= Duration::from_millis(2));
        let mut crowd: Vec<Following> = (1..1_000).map(|_| tail.follow()).collect();
        let reads = crowd.iter_mut().map(async |one| {
            one.turn().await;
            start.elapsed().as_millis() / 100
        });
        let mut each: HashMap<u128, u32> = HashMap::new();
        for at in futures::future::join_all(reads).await {
            *each.entry(at).or_default() += 1;
        }
        assert!(each.values().all(|reads| *reads < 300), "they are spread: {each:?}");
        drop(crowd);
        let begun = Instant::now();
        alone.turn().await;
        assert!(begun.elapsed() <= Duration::from_millis(2));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Append(usize),
        /// Behind an event that is so far from the newest one, at most so many.
        Read(u64, usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1..5_usize).prop_map(Act::Append),
            (0..12_u64, 1..6_usize).prop_map(|(back, limit)| Act::Read(back, limit)),
        ]
    }

    /// What the tail answers, and what the store answers.
    async fn both(tail: &Tail, store: &SqliteStore, after: u64, limit: usize) -> (Vec<String>, Vec<String>) {
        let lines = tail.lines_after(store, after, limit).await.unwrap();
        let stored = store.events_after(after, limit).await.unwrap();
        assert!(lines.iter().all(|line| EVENT_TYPES.contains(&line.kind())));
        (lines.iter().map(|line| line.text.clone()).collect(), stored.iter().map(json::event).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn the_tail_answers_what_the_store_has(
            acts in proptest::collection::vec(act(), 1..60),
            lines in 1..8_usize,
            bytes in 100..3000_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = SqliteStore::in_memory().unwrap();
            let run = store.create_run_now(&plan("1"), &ann(), at(0)).unwrap().run;
            let tail = Tail::with((lines, bytes));
            for act in acts {
                match act {
                    Act::Append(count) => {
                        let kinds = (0..count).map(|n| if n % 2 == 0 { drain() } else { enabled() });
                        store.append_now(run, at(1), kinds.collect()).unwrap();
                    }
                    Act::Read(back, limit) => {
                        let after = store.newest().borrow().saturating_sub(back);
                        let (shown, stored) = runtime.block_on(both(&tail, &store, after, limit));
                        prop_assert_eq!(&shown[..], &stored[..shown.len()]);
                        prop_assert_eq!(shown.is_empty(), stored.is_empty());
                    }
                }
                let kept = tail.kept();
                prop_assert!(kept.lines.len() <= lines && kept.bytes <= bytes);
                prop_assert_eq!(kept.bytes, kept.lines.iter().map(|line| line.text.len()).sum::<usize>());
            }
        }
    }

    struct Counting(SqliteStore, AtomicU32);

    #[async_trait]
    impl EventLog for Counting {
        async fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.events_after(after, limit).await
        }

        async fn last_before(&self, time: Timestamp) -> Result<u64, StoreError> {
            self.0.last_before(time).await
        }

        async fn hash_of(&self, seq: u64) -> Result<Option<String>, StoreError> {
            self.0.hash_of(seq).await
        }

        async fn removed(&self) -> Result<RemovedEvents, StoreError> {
            self.0.removed().await
        }

        fn newest(&self) -> watch::Receiver<u64> {
            self.0.newest()
        }
    }

    #[tokio::test]
    async fn followers_at_the_end_read_the_store_once() {
        let store = SqliteStore::in_memory().unwrap();
        let run = store.create_run_now(&plan("1"), &ann(), at(0)).unwrap().run;
        let (tail, log) = (Tail::default(), Counting(store.clone(), AtomicU32::new(0)));
        let mut after = 1;
        for round in 1..=3 {
            store.append_now(run, at(round), vec![drain(), enabled()]).unwrap();
            let reads = (0..100).map(|_| tail.lines_after(&log, after, 200));
            let read = futures::future::try_join_all(reads).await.unwrap();
            assert!(read.iter().all(|lines| lines.len() == 2));
            after = read[0][1].seq;
        }
        assert_eq!(log.1.load(Ordering::Relaxed), 3);
    }
}
