//! The task that watches: one loop over due probes, results, and questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::orders::{MonitorEnvironment, MonitorQuestion, Orders, Watchlist, until};
use super::probe::{Observed, Sight, id_of};
use crate::domain::base::name::HostName;
use crate::domain::check::check::CheckResult;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::watch::roster::{Batch, DueProbe, ProbeTarget, Roster, WatchedId};
use crate::engine::HeldHosts;
use crate::panics::Panicked;
use crate::port::{StoreError, Watches};

/// Results are stored after this time, or when there are this many: one commit for many probes.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const KEEP_AT: usize = 500;

/// Limit while the store fails: the oldest probes beyond it are dropped, states and alerts are not.
const UNSTORED_LIMIT: usize = 200_000;

/// The pause between two attempts to use a failing store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Attempts of a stop to store the remaining results.
const STOP_TRIES: u32 = 3;

/// The interval at which a part of the outdated records is deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// The shortest interval between two reads of the hosts' releases, however many runs settle hosts.
const TAKEN_EVERY: Duration = Duration::from_secs(1);

/// Longest sleep, so that a changed clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A finished probe.
struct FinishedProbe {
    key: WatchedId,
    begun: Timestamp,
    ended: Timestamp,
    found: Observed,
}

/// See the module.
pub(super) struct Actor<W> {
    around: MonitorEnvironment<W>,
    orders: Orders,
    sight: Sight,
    stop: CancellationToken,
    roster: Roster,
    probes: JoinSet<FinishedProbe>,
    /// The batch that the store is writing, one at a time; it is returned if it could not be stored.
    keeping: JoinSet<Option<Arc<Batch>>>,
    kept_at: Instant,
    /// The number of batches handed to the store.
    batches: u64,
    /// Callers that wait until this many batches are stored.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    prunes: JoinSet<u64>,
    prune_at: Instant,
    prune_from: u64,
    held: HeldHosts,
    /// Runs have settled hosts: the releases have to be read again.
    taken_is_old: bool,
    /// When they were last read.
    taken_at: Instant,
}

impl<W: Watchlist> Actor<W> {
    pub(super) async fn load(
        mut around: MonitorEnvironment<W>,
        stop: CancellationToken,
    ) -> Result<Actor<W>, StoreError> {
        let config = around.config.borrow_and_update().clone();
        around.watches.adopt(config.checks()).await?;
        let (states, downtimes) = around.watches.watched().await?;
        let taken = around.ports.store.taken().await?;
        let held = around.in_hand.borrow_and_update().clone();
        let orders = config.orders();
        let now = around.ports.hosts.clock.now();
        let mut roster = Roster::new(orders.settings.clone());
        roster.set_in_hand((*held.hosts).clone(), now);
        roster.begin_with(config.wanted(taken), states, downtimes, now);
        let sight =
            Sight { ports: around.ports.clone(), files: orders.files.as_path().into(), stop: stop.clone() };
        Ok(Actor {
            around,
            orders,
            sight,
            stop,
            roster,
            probes: JoinSet::new(),
            keeping: JoinSet::new(),
            kept_at: Instant::now(),
            batches: 0,
            waiting: Vec::new(),
            prunes: JoinSet::new(),
            prune_at: Instant::now() + PRUNE_EVERY,
            prune_from: 0,
            held,
            taken_is_old: false,
            taken_at: Instant::now(),
        })
    }

    fn now(&self) -> Timestamp {
        self.around.ports.hosts.clock.now()
    }

    /// Watches until it is stopped. [`Panicked`] when a batch was lost inside the store.
    pub(super) async fn run(mut self, asked: &mut mpsc::Receiver<MonitorQuestion>) -> Result<(), Panicked> {
        loop {
            self.go_on().await;
            let wake = self.wake_at();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ask) = asked.recv() => self.answer(ask).await,
                Some(seen) = self.probes.join_next() => self.saw_all(seen.ok()),
                Ok(()) = self.around.in_hand.changed() => {}
                Ok(()) = self.around.config.changed() => self.reload().await,
                Some(kept) = self.keeping.join_next() => {
                    kept.map_err(|_| Panicked)?;
                    self.tell_waiting();
                }
                Some(next) = self.prunes.join_next() => self.prune_from = next.unwrap_or_default(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.end().await;
        Ok(())
    }

    /// Does all work that is possible now.
    async fn go_on(&mut self) {
        self.check_guards().await;
        let now = self.now();
        self.roster.tick(now);
        if self.around.probes && self.orders.enabled {
            while let Some(probe) = self.roster.next_probe(now) {
                self.begin(probe, now);
            }
        }
        let due = self.kept_at.elapsed() >= KEEP_EVERY || self.roster.unstored() >= KEEP_AT;
        if due || !self.waiting.is_empty() {
            self.keep();
        }
        if self.around.probes && Instant::now() >= self.prune_at && self.prunes.is_empty() {
            self.prune(now);
        }
    }

    fn wake_at(&mut self) -> Instant {
        let (now, here) = (self.now(), Instant::now());
        let mut wake = here + LONGEST_SLEEP;
        if let Some(at) = self.roster.wake_at() {
            // A due probe that could not start waits for another event, not for the time.
            let pause = until(at, now);
            if self.around.probes && self.orders.enabled {
                wake = wake.min(here + pause.max(Duration::from_millis(1)));
            }
        }
        if self.roster.unstored() > 0 && self.keeping.is_empty() {
            wake = wake.min(self.kept_at + KEEP_EVERY);
        }
        if self.around.probes && self.prunes.is_empty() {
            wake = wake.min(self.prune_at);
        }
        if self.taken_is_old {
            wake = wake.min(self.taken_at + TAKEN_EVERY);
        }
        wake
    }

    fn begin(&mut self, probe: DueProbe, now: Timestamp) {
        if let ProbeTarget::Broken(why) = &probe.what {
            let result =
                CheckResult::new(id_of(&probe), crate::domain::base::outcome::Verdict::Unknown, &**why);
            return self.roster.took(&probe.key, now, result, now);
        }
        let sight = self.sight.clone();
        self.probes.spawn(async move {
            let found = sight.probe(&probe).await;
            FinishedProbe { key: probe.key, begun: now, ended: sight.ports.hosts.clock.now(), found }
        });
    }

    /// Applies all finished probes: many end together.
    fn saw_all(&mut self, first: Option<FinishedProbe>) {
        first.into_iter().for_each(|seen| self.saw(seen));
        while let Some(seen) = self.probes.try_join_next() {
            seen.into_iter().for_each(|seen| self.saw(seen));
        }
    }

    fn saw(&mut self, seen: FinishedProbe) {
        match seen.found {
            Observed::One(result) => self.roster.took(&seen.key, seen.begun, result, seen.ended),
            Observed::Many(results) => self.roster.took_together(&seen.key, seen.begun, results, seen.ended),
        }
    }

    /// Hosts that runs have started to work on are silenced before any other result is applied; hosts that runs have
    /// left are rendered for their present release.
    async fn check_guards(&mut self) {
        let held = self.around.in_hand.borrow_and_update().clone();
        self.taken_is_old |= held.settled != self.held.settled;
        let mut same = Arc::ptr_eq(&held.hosts, &self.held.hosts);
        let mut hosts = (*held.hosts).clone();
        self.held = held;
        if self.taken_is_old && self.taken_at.elapsed() < TAKEN_EVERY {
            // No host is released before its present release is known.
            hosts.extend(self.roster.in_hand().iter().map(|(host, run)| (host.clone(), *run)));
        } else if self.taken_is_old {
            self.taken_at = Instant::now();
            same = false;
            match self.around.ports.store.taken().await {
                Ok(taken) => {
                    self.taken_is_old = false;
                    self.render_again(taken);
                }
                Err(error) => tracing::error!(%error, "what hosts run cannot be read; trying again"),
            }
        }
        if !same {
            let now = self.now();
            self.roster.set_in_hand(hosts, now);
        }
    }

    fn render_again(&mut self, taken: BTreeMap<HostName, Vec<ReleaseTakeover>>) {
        let config = self.around.config.borrow().clone();
        let now = self.now();
        self.roster.render_again(config.wanted(taken), now);
    }

    async fn reload(&mut self) {
        let config = self.around.config.borrow_and_update().clone();
        let taken = match self.around.ports.store.taken().await {
            Ok(taken) => taken,
            Err(error) => {
                // Without releases checks would be rendered wrongly: the watched checks stay as they are until then.
                tracing::error!(%error, "what hosts run cannot be read; the new configuration is taken over later");
                tokio::time::sleep(STORE_PAUSE).await;
                return self.around.config.mark_changed();
            }
        };
        self.orders = config.orders();
        self.sight.files = self.orders.files.as_path().into();
        let now = self.now();
        self.roster.take_over(self.orders.settings.clone(), config.wanted(taken), now);
    }

    async fn answer(&mut self, ask: MonitorQuestion) {
        let now = self.now();
        // The session may be gone; its request holds without it.
        match ask {
            MonitorQuestion::Roll(answer) => _ = answer.send(self.roster.roll(now)),
            MonitorQuestion::Downtimes(answer) => _ = answer.send(self.roster.downtimes().to_vec()),
            MonitorQuestion::Begin(mut downtime, answer) => {
                let begun = self.around.watches.begin_downtime(&downtime).await.map(|id| {
                    downtime.id = id;
                    self.roster.add_downtime(downtime.clone(), now);
                    downtime
                });
                _ = answer.send(begun);
            }
            MonitorQuestion::End(id, answer) => {
                let ended = self.around.watches.end_downtime(id).await;
                _ = answer.send(ended.map(|()| self.roster.end_downtime(id, now)));
            }
            MonitorQuestion::Acknowledge(key, ack, answer) => {
                _ = answer.send(self.roster.acknowledge(&key, ack))
            }
            MonitorQuestion::Flush(answer) => {
                let next = u64::from(self.roster.unstored() > 0);
                self.waiting.push((self.batches + next, answer));
                self.tell_waiting();
            }
        }
    }

    /// Hands the pending batch to the store, unless the store is still writing one.
    fn keep(&mut self) {
        if !self.keeping.is_empty() {
            self.roster.forget_probes_beyond(UNSTORED_LIMIT);
            return;
        }
        self.kept_at = Instant::now();
        if self.roster.unstored() == 0 {
            return;
        }
        self.batches += 1;
        let batch = Arc::new(self.roster.take_batch());
        let (watches, stop) = (self.around.watches.clone(), self.stop.clone());
        let bell = self.around.bell.clone();
        self.keeping.spawn(async move {
            let kept = keep_until_it_is(&*watches, &batch, &stop).await;
            if kept && !batch.alerts.is_empty() {
                bell();
            }
            (!kept).then_some(batch)
        });
    }

    fn tell_waiting(&mut self) {
        let kept = self.batches - u64::from(!self.keeping.is_empty());
        for (_, answer) in self.waiting.extract_if(.., |(wanted, _)| *wanted <= kept) {
            // A session that has ended needs no answer.
            let _ = answer.send(());
        }
    }

    fn prune(&mut self, now: Timestamp) {
        self.prune_at = Instant::now() + PRUNE_EVERY;
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
        let (samples, changes) = (before(self.orders.keep_samples), before(self.orders.keep_changes));
        let (watches, from) = (self.around.watches.clone(), self.prune_from);
        self.prunes.spawn(async move {
            watches.prune(samples, changes, from).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "history that is too old is still there; trying again");
                from
            })
        });
    }

    /// Aborts probes under way, and stores all other results.
    async fn end(mut self) {
        self.probes.abort_all();
        let mut left: Vec<Arc<Batch>> = Vec::new();
        while let Some(unkept) = self.keeping.join_next().await {
            left.extend(unkept.ok().flatten());
        }
        // A monitor without probes has no states that are not stored.
        let last = if self.around.probes { self.roster.all_states() } else { self.roster.take_batch() };
        left.push(Arc::new(last));
        for batch in left.into_iter().filter(|batch| !batch.is_empty()) {
            if !self.keep_at_last(batch).await {
                // Later batches must not be stored without this one.
                break;
            }
        }
    }

    async fn keep_at_last(&self, batch: Arc<Batch>) -> bool {
        for attempt in 1..=STOP_TRIES {
            match self.around.watches.keep(batch.clone()).await {
                Ok(()) => return true,
                Err(error) => tracing::error!(%error, attempt, "the last results of probes are not stored"),
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
        false
    }
}

/// Retries until the batch is stored, or until a stop: then once more. True if it is stored.
async fn keep_until_it_is(watches: &dyn Watches, batch: &Arc<Batch>, stop: &CancellationToken) -> bool {
    loop {
        let last = stop.is_cancelled();
        match watches.keep(batch.clone()).await {
            Ok(()) => return true,
            Err(_) if last => return false,
            Err(error) => tracing::error!(%error, "results of probes are not stored yet; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(STORE_PAUSE) => {}
        }
    }
}
