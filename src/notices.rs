//! Notifies people: for each channel, one task makes messages from alerts and the time, and another one delivers them.
//! Both work from the store, so that a hanging channel delays no other, and a process that dies loses no message.

pub mod pending;
mod runs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::notify::channel::{Channel, Only};
use crate::domain::notify::incidents::Incidents;
use crate::domain::notify::notice::{Notice, NoticeContent};
use crate::domain::plan::plan::Plan;
use crate::domain::watch::subject::Subject;
use crate::panics::caught;
use crate::port::outbox::{ChannelUpdate, Fares, Outbox, PendingMessage};
use crate::port::{Clock, EventLog, Messenger, SendError, Store, StoreError};

/// Most alerts read at once.
const ALERTS_AT_ONCE: usize = 500;

/// Most messages handled in one round.
const MESSAGES_AT_ONCE: usize = 100;

/// The time limit of one delivery.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a delivery under way may still take when rollcall stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The interval at which alerts are read even without a signal, and at which a failed store is retried.
const POLL: Duration = Duration::from_secs(10);

/// Longest time until incidents are checked again, even if nothing is due.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Longest sleep of a delivery task without waiting messages.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The pauses between two attempts to deliver a message; the last one repeats.
const BACKOFF: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(900), Duration::from_secs(3600)];

/// The shortest interval between two messages that watching has failed: a repeated failure is one problem.
const FAILED_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// The pause before a task of a channel restarts after an internal failure.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// The number of hosts that have a check, by top-level group and check.
pub type Sizes = Box<dyn Fn(&str, &Subject) -> usize + Send + Sync>;

/// The groups of a run's hosts, and its title as the channel may read it; `None` if the channel is not for it.
pub type RunScope = Box<dyn Fn(&Only, &Plan) -> Option<(String, String)> + Send + Sync>;

/// Where runs are read.
pub struct RunParts {
    pub events: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub scope: RunScope,
}

/// The environment of notification.
pub struct Parts {
    pub outbox: Arc<dyn Outbox>,
    pub messenger: Arc<dyn Messenger>,
    pub clock: Arc<dyn Clock>,
    /// Those of the configuration in force.
    pub channels: watch::Receiver<Arc<Channels>>,
    /// The number of hosts in a top-level group that have a check.
    pub sizes: Sizes,
    pub runs: RunParts,
}

/// The channels of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    pub list: Vec<Channel>,
    /// The time zone of digest times.
    pub zone: TimeZone,
}

/// The tasks of one channel.
struct Worker {
    channel: Channel,
    zone: TimeZone,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Ends; a delivery under way may still end well.
    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Tell {
    parts: Arc<Parts>,
    bell: Arc<watch::Sender<()>>,
    /// Signals new messages, by channel.
    posted: Arc<Mutex<BTreeMap<String, Arc<Notify>>>>,
    /// When the last message that watching has failed was posted.
    failed_at: Arc<Mutex<Option<Timestamp>>>,
    /// Held by [`Tell::run`].
    running: Arc<tokio::sync::Mutex<()>>,
}

/// The state of one channel from the alerts read so far.
struct Folded {
    cursor: u64,
    incidents: Incidents,
    /// When the next message is due, if no alert comes before; `None` before the first check.
    wake: Option<Timestamp>,
}

impl Tell {
    /// No message is sent before [`Tell::run`].
    pub fn new(parts: Parts) -> Tell {
        Tell {
            parts: Arc::new(parts),
            bell: Arc::new(watch::Sender::new(())),
            posted: Arc::default(),
            failed_at: Arc::default(),
            running: Arc::default(),
        }
    }

    /// Posts to all channels that watching has failed inside rollcall, once within `FAILED_EVERY`.
    pub fn watching_failed(&self) {
        let now = self.parts.clock.now();
        let mut last = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.duration_since(last) < FAILED_EVERY) {
            return;
        }
        *last = Some(now);
        let tell = self.clone();
        tokio::spawn(async move {
            let notice = Notice {
                key: format!("watching-failed-{}", now.as_millisecond()),
                at: now,
                what: NoticeContent::WatchingFailed,
            };
            let channels = tell.channels();
            let all = channels.list.iter().map(|channel| (channel.name.clone(), notice.clone())).collect();
            if let Err(error) = tell.post(Vec::new(), now, all).await {
                tracing::error!(%error, "the message that watching has failed could not be stored");
            }
        });
    }

    /// Abandons messages, and stores others, which are delivered from now on.
    async fn post(
        &self,
        given_up: Vec<u64>,
        now: Timestamp,
        new: Vec<(String, Notice)>,
    ) -> Result<(), StoreError> {
        let names: Vec<String> = new.iter().map(|(name, _)| name.clone()).collect();
        self.parts.outbox.give_up(given_up, now, new).await?;
        names.iter().for_each(|name| self.posted(name).notify_one());
        Ok(())
    }

    /// Signals new alerts.
    pub fn ring(&self) {
        self.bell.send_replace(());
    }

    /// Signals new messages of a channel.
    fn posted(&self, channel: &str) -> Arc<Notify> {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.entry(channel.into()).or_default().clone()
    }

    /// The channels of the configuration in force, in their order.
    pub fn channels(&self) -> Arc<Channels> {
        self.parts.channels.borrow().clone()
    }

    /// The delivery state of each channel.
    pub async fn fares(&self) -> Result<BTreeMap<String, Fares>, StoreError> {
        self.parts.outbox.fares().await
    }

    /// Sends a test message now, ahead of all waiting messages.
    pub async fn test(&self, channel: &Channel, by: &str) -> Result<(), SendError> {
        let at = self.parts.clock.now();
        let key = format!("test-{}", at.as_millisecond());
        self.send(channel, &Notice { key, at, what: NoticeContent::Test { by: by.into() } }).await
    }

    /// True while [`Tell::run`] is under way.
    pub fn is_running(&self) -> bool {
        self.running.try_lock().is_err()
    }

    /// Notifies people until rollcall stops. A reload starts the channels again that it changes.
    pub async fn run(&self, stop: CancellationToken) {
        let _running = self.running.lock().await;
        let mut changes = self.parts.channels.clone();
        let mut workers: Vec<Worker> = Vec::new();
        while !stop.is_cancelled() {
            let channels = changes.borrow_and_update().clone();
            let is_current =
                |worker: &Worker| worker.zone == channels.zone && channels.list.contains(&worker.channel);
            let (current, old): (Vec<Worker>, Vec<Worker>) = workers.into_iter().partition(is_current);
            workers = current;
            let is_old = |channel: &&Channel| old.iter().any(|worker| worker.channel.name == channel.name);
            let (changed, new): (Vec<&Channel>, Vec<&Channel>) = channels
                .list
                .iter()
                .filter(|channel| !workers.iter().any(|worker| worker.channel == **channel))
                .partition(is_old);
            workers.extend(new.into_iter().map(|channel| self.start(channel, &channels.zone, &stop)));
            // Two workers of one channel would send each message twice.
            join_all(old.into_iter().map(Worker::end)).await;
            workers.extend(changed.into_iter().map(|channel| self.start(channel, &channels.zone, &stop)));
            tokio::select! {
                () = stop.cancelled() => {}
                changed = changes.changed() => if changed.is_err() {
                    // Without a sender there are no more reloads.
                    stop.cancelled().await;
                },
            }
        }
        join_all(workers.into_iter().map(Worker::end)).await;
    }

    /// Starts the tasks of a channel.
    fn start(&self, channel: &Channel, zone: &TimeZone, stop: &CancellationToken) -> Worker {
        let (channel, zone) = (channel.clone(), zone.clone());
        let (stop, mut tasks) = (stop.child_token(), JoinSet::new());
        let (tell, own, hours, stopping) = (self.clone(), channel.clone(), zone.clone(), stop.clone());
        tasks.spawn(async move { kept_up(&stopping, || tell.fold(&own, &hours, stopping.clone())).await });
        let (tell, own, stopping) = (self.clone(), channel.clone(), stop.clone());
        tasks.spawn(async move { kept_up(&stopping, || tell.deliver(&own, stopping.clone())).await });
        if !channel.runs.is_empty() {
            let (tell, own, stopping) = (self.clone(), channel.clone(), stop.clone());
            tasks.spawn(async move { kept_up(&stopping, || tell.follow_runs(&own, stopping.clone())).await });
        }
        Worker { channel, zone, stop, tasks }
    }

    /// Makes messages from alerts and the time.
    async fn fold(&self, channel: &Channel, zone: &TimeZone, stop: CancellationToken) {
        let mut bell = self.bell.subscribe();
        let mut folded = None;
        while !stop.is_cancelled() {
            bell.mark_unchanged();
            let wake = match self.fold_all((channel, zone), &mut folded).await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::error!(channel = channel.name, %error, "alerts cannot be read; tried again soon");
                    // The state in memory may be ahead of the store.
                    folded = None;
                    None
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                // The sender lives as long as this task.
                _ = bell.changed() => {}
                () = tokio::time::sleep(self.until(wake, POLL)) => {}
            }
        }
    }

    /// The time from now to then, at most `limit`: the clock may be changed.
    fn until(&self, then: Option<Timestamp>, limit: Duration) -> Duration {
        let left = then.map(|then| then.duration_since(self.parts.clock.now()).max(SignedDuration::ZERO));
        left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(limit).min(limit)
    }

    async fn fold_all(
        &self,
        (channel, zone): (&Channel, &TimeZone),
        folded: &mut Option<Folded>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Parts { outbox, clock, .. } = &*self.parts;
        if folded.is_none() {
            let left = outbox.teller(&channel.name).await?;
            let incidents = Incidents::resume(left.open, left.log);
            *folded = Some(Folded { cursor: left.cursor, incidents, wake: None });
        }
        let Some(Folded { cursor, incidents, wake }) = folded else { return Ok(None) };
        loop {
            let alerts = outbox.alerts(*cursor, ALERTS_AT_ONCE).await?;
            if alerts.is_empty() && wake.is_some_and(|wake| wake > clock.now()) {
                return Ok(*wake);
            }
            let (before, log) = (*cursor, incidents.log.clone());
            for (id, alert) in &alerts {
                incidents.take(channel, alert);
                *cursor = *id;
            }
            let all = alerts.len() < ALERTS_AT_ONCE;
            // While alerts of the time without a daemon are still being read, no message is due yet.
            let mut notices = if all { incidents.due(channel, clock.now(), zone) } else { Vec::new() };
            notices.iter_mut().for_each(|notice| self.complete(notice));
            let changed = incidents.take_changed();
            let posts = !notices.is_empty();
            if *cursor != before || !changed.is_empty() || posts || incidents.log != log {
                let (channel, log) = (channel.name.clone(), incidents.log.clone());
                outbox.tell(ChannelUpdate { channel, cursor: *cursor, log, changed, notices }).await?;
            }
            if posts {
                self.posted(&channel.name).notify_one();
            }
            if all {
                // Without a due time it sleeps for a day; a changed clock is noticed then.
                *wake = incidents
                    .wake(channel, clock.now(), zone)
                    .or_else(|| clock.now().checked_add(LONGEST_WAIT).ok());
                return Ok(*wake);
            }
        }
    }

    fn complete(&self, notice: &mut Notice) {
        if let NoticeContent::Incident(about) = &mut notice.what {
            about.of = (self.parts.sizes)(&about.group, &about.check);
        }
    }

    /// Delivers waiting messages, oldest first.
    async fn deliver(&self, channel: &Channel, stop: CancellationToken) {
        // The state is unknown after a start: the first delivered message shows that the others need not wait longer.
        let mut down = true;
        let posted = self.posted(&channel.name);
        while !stop.is_cancelled() {
            let (next, limit) = match self.round(channel, &mut down, &stop).await {
                Ok(next) => (next, LONGEST_SLEEP),
                Err(error) => {
                    tracing::error!(channel = channel.name, %error, "messages cannot be read; tried again soon");
                    (None, POLL)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = posted.notified() => {}
                () = tokio::time::sleep(self.until(next, limit)) => {}
            }
        }
    }

    /// Attempts every message whose time has come; returns the next due time.
    async fn round(
        &self,
        channel: &Channel,
        down: &mut bool,
        stop: &CancellationToken,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Parts { outbox, clock, .. } = &*self.parts;
        if !channel.pace.may_send(clock.now()) {
            return Ok(Some(channel.pace.may_send_from(clock.now())));
        }
        let waiting = outbox.waiting(&channel.name, MESSAGES_AT_ONCE).await?;
        for one in waiting.iter().filter(|one| one.next_try <= clock.now()) {
            let Some(sent) = self.send_unless(channel, &one.notice, stop).await else { return Ok(None) };
            let now = clock.now();
            match sent {
                Ok(()) => {
                    outbox.delivered(one.id, now).await?;
                    if std::mem::take(down) {
                        tracing::debug!(channel = channel.name, "messages arrive");
                        outbox.hurry(&channel.name, now).await?;
                        return Ok(Some(now));
                    }
                }
                Err(SendError::Refused(why)) => _ = self.failed(channel, one, (false, &why)).await?,
                Err(SendError::Down(why)) => {
                    *down = true;
                    let next_try = self.failed(channel, one, (true, &why)).await?;
                    outbox.postpone(&channel.name, next_try).await?;
                    break;
                }
            }
        }
        let waiting = outbox.waiting(&channel.name, MESSAGES_AT_ONCE).await?;
        Ok(waiting.iter().map(|one| one.next_try).min())
    }

    /// `None` when rollcall stops: the result is unknown then, and the message is sent again.
    async fn send_unless(
        &self,
        channel: &Channel,
        notice: &Notice,
        stop: &CancellationToken,
    ) -> Option<Result<(), SendError>> {
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            sent = self.send(channel, notice) => Some(sent),
            () = stopped => None,
        }
    }

    async fn send(&self, channel: &Channel, notice: &Notice) -> Result<(), SendError> {
        let sending = self.parts.messenger.send(channel, notice);
        let sent = tokio::time::timeout(SEND_TIMEOUT, sending).await;
        sent.unwrap_or_else(|_| Err(SendError::Down(format!("no answer within {SEND_TIMEOUT:?}"))))
    }

    /// Records that it was refused, or abandons it; returns the time of the next attempt.
    async fn failed(
        &self,
        channel: &Channel,
        one: &PendingMessage,
        (down, why): (bool, &str),
    ) -> Result<Timestamp, StoreError> {
        let Parts { outbox, clock, .. } = &*self.parts;
        let now = clock.now();
        tracing::warn!(channel = channel.name, key = one.notice.key, why, "a message was not delivered");
        let waiting = outbox.waiting(&channel.name, MESSAGES_AT_ONCE).await?;
        // A new message is attempted soon, and waits as long as the others if the channel is still down.
        let patient = waiting.iter().map(|other| other.tries).max().filter(|_| down).unwrap_or_default();
        let tries = usize::try_from(one.tries.max(patient)).unwrap_or(usize::MAX);
        let next_try = now + BACKOFF[tries.min(BACKOFF.len() - 1)];
        outbox.not_delivered(one.id, next_try, why).await?;
        let too_old = |one: &&PendingMessage| {
            SignedDuration::try_from(channel.give_up)
                .is_ok_and(|limit| now.duration_since(one.notice.at) >= limit)
        };
        let tried = |other: &&PendingMessage| other.id == one.id || down;
        let hopeless: Vec<&PendingMessage> = waiting.iter().filter(too_old).filter(tried).collect();
        if !hopeless.is_empty() {
            self.give_up(channel, &hopeless, why).await?;
        }
        Ok(next_try)
    }

    async fn give_up(
        &self,
        channel: &Channel,
        hopeless: &[&PendingMessage],
        why: &str,
    ) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let count = hopeless.len();
        tracing::error!(channel = channel.name, count, why, "messages are abandoned");
        // A message about the failure of another channel causes no further message.
        let worth =
            hopeless.iter().filter(|one| !matches!(one.notice.what, NoticeContent::GaveUp { .. })).count();
        let ids: Vec<u64> = hopeless.iter().map(|one| one.id).collect();
        let first = ids.first().copied().unwrap_or_default();
        let what = NoticeContent::GaveUp { channel: channel.name.clone(), count: worth, why: why.into() };
        let notice = Notice { key: format!("gave-up-{}-{first}", channel.name), at: now, what };
        let channels = self.channels();
        let others = channels.list.iter().filter(|other| worth > 0 && other.name != channel.name);
        let tell: Vec<(String, Notice)> = others.map(|other| (other.name.clone(), notice.clone())).collect();
        self.post(ids, now, tell).await
    }
}

/// Restarts work after an internal failure, from the store, until rollcall stops.
async fn kept_up<F: Future<Output = ()>>(stop: &CancellationToken, work: impl Fn() -> F) {
    while caught(work()).await.is_err() && !stop.is_cancelled() {
        tracing::error!("a channel failed inside rollcall and starts again; please report it with this log");
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
    }
}
