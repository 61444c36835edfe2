//! The loop of one run: decide, append, apply, publish, act; then wait for a report, a request or a
//! time, and again. It owns the run; nobody else changes it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Ports;
use super::effect::{Work, crashed};
use super::feed::{Control, Live, Over};
use crate::domain::event::{Event, EventKind};
use crate::domain::rollout::{Effect, decide};
use crate::domain::run::Run;

/// How often a journal that cannot be written is tried again, while what is under way goes on: a full
/// disk is made room on within minutes, or not at all.
const APPEND_TRIES: u32 = 120;

/// Between two tries.
const APPEND_PAUSE: Duration = Duration::from_secs(1);

/// Longest sleep before the decision is asked again.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

struct Driver<'a> {
    ports: &'a Ports,
    live: &'a Arc<Live>,
    run: Run,
    effects: JoinSet<EventKind>,
    /// Ends what is running on the way forward.
    kill: CancellationToken,
}

/// Carries a run from its first event to its last.
pub async fn drive(ports: &Ports, live: &Arc<Live>, started: Event, mut requests: mpsc::Receiver<Control>) {
    let run = Run::new(live.id, (*live.plan).clone());
    let mut driver = Driver { ports, live, run, effects: JoinSet::new(), kill: CancellationToken::new() };
    let over = match driver.carry(started, &mut requests).await {
        Ok(()) => Over::Ended,
        Err(why) => {
            tracing::error!(run = %live.id, %why, "the run stands still");
            Over::Broken(why)
        }
    };
    live.close(over);
}

impl Driver<'_> {
    async fn carry(&mut self, started: Event, requests: &mut mpsc::Receiver<Control>) -> Result<(), String> {
        self.take_in(vec![started])?;
        loop {
            let wake_at = self.act().await?;
            if self.run.outcome.is_some() {
                return Ok(());
            }
            let news = self.wait(requests, wake_at).await;
            self.record(news).await?;
        }
    }

    /// Decides until there is nothing left to decide; the time to ask again, if there is one.
    async fn act(&mut self) -> Result<Option<Timestamp>, String> {
        loop {
            let decided = decide(&self.run, self.ports.clock.now());
            if decided.decisions.is_empty() {
                return Ok(decided.wake_at);
            }
            let (events, effects): (Vec<EventKind>, Vec<Option<Effect>>) =
                decided.decisions.into_iter().map(|decision| (decision.event, decision.effect)).unzip();
            self.record(events).await?;
            effects.into_iter().flatten().for_each(|effect| self.start(effect));
        }
    }

    fn start(&mut self, effect: Effect) {
        let work = Work::new(self.ports, self.live, &self.run, effect.clone(), &self.kill);
        let guarded = std::panic::AssertUnwindSafe(work.perform()).catch_unwind();
        self.effects.spawn(async move { guarded.await.unwrap_or_else(|_| crashed(&effect)) });
    }

    /// Waits for news, and takes all that is there: one append for many reports.
    async fn wait(
        &mut self,
        requests: &mut mpsc::Receiver<Control>,
        wake_at: Option<Timestamp>,
    ) -> Vec<EventKind> {
        let now = self.ports.clock.now();
        // A time that has passed meanwhile is no reason to sleep, and a clock that jumps none to oversleep.
        let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
        let pause = wake_at.map(|time| until(time).min(LONGEST_SLEEP));
        let wake = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let mut news = Vec::new();
        tokio::select! {
            biased;
            Some(Control::Cancel { by, key, now }) = requests.recv() => {
                news.push(EventKind::CancelRequested { by, key, now });
            }
            Some(report) = self.effects.join_next() => news.extend(report.ok()),
            () = wake => {}
        }
        while let Some(report) = self.effects.try_join_next() {
            news.extend(report.ok());
        }
        news
    }

    /// Append, then apply, then publish.
    async fn record(&mut self, kinds: Vec<EventKind>) -> Result<(), String> {
        if kinds.is_empty() {
            return Ok(());
        }
        for attempt in 1.. {
            let now = self.ports.clock.now();
            match self.ports.store.append(self.run.id, now, kinds.clone()).await {
                Ok(events) => return self.take_in(events),
                Err(error) if attempt >= APPEND_TRIES => {
                    return Err(format!("the journal cannot be written: {error}"));
                }
                Err(error) => {
                    tracing::error!(run = %self.run.id, %error, "the journal cannot be written; trying again")
                }
            }
            tokio::time::sleep(APPEND_PAUSE).await;
        }
        Ok(())
    }

    fn take_in(&mut self, events: Vec<Event>) -> Result<(), String> {
        for event in &events {
            self.run.apply(event).map_err(|illegal| illegal.to_string())?;
        }
        self.live.publish(&events);
        // Running commands are ended only once it is on record who wanted that.
        if self.run.cancel.as_ref().is_some_and(|cancel| cancel.now) {
            self.kill.cancel();
        }
        Ok(())
    }
}
