//! The loop of one run: decide, append, apply, publish, act; then wait for a report, a request or a
//! time, and again. It owns the run; nobody else changes it.

use std::sync::Arc;

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
        let pause = wake_at.and_then(|time| std::time::Duration::try_from(time.duration_since(now)).ok());
        let wake = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let mut news = Vec::new();
        tokio::select! {
            biased;
            Some(control) = requests.recv() => news.push(self.control(control)),
            Some(report) = self.effects.join_next() => news.extend(report.ok()),
            () = wake => {}
        }
        while let Some(report) = self.effects.try_join_next() {
            news.extend(report.ok());
        }
        news
    }

    fn control(&mut self, control: Control) -> EventKind {
        let Control::Cancel { by, now } = control;
        if now || !self.run.plan.has_bracket() {
            self.kill.cancel();
        }
        EventKind::CancelRequested { by, now }
    }

    /// Append, then apply, then publish.
    async fn record(&mut self, kinds: Vec<EventKind>) -> Result<(), String> {
        if kinds.is_empty() {
            return Ok(());
        }
        let events = self.ports.store.append(self.run.id, self.ports.clock.now(), kinds).await;
        self.take_in(events.map_err(|error| format!("the journal cannot be written: {error}"))?)
    }

    fn take_in(&mut self, events: Vec<Event>) -> Result<(), String> {
        for event in &events {
            self.run.apply(event).map_err(|illegal| illegal.to_string())?;
        }
        self.live.publish(&events);
        Ok(())
    }
}
