//! Makes messages about runs from the journal and the time. The cursor of a channel, what it holds back, and its messages
//! are one transaction.

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{MESSAGES_AT_ONCE, POLL, Tell};
use crate::domain::notify::channel::Channel;
use crate::domain::notify::held::{HeldMoment, HeldWhile, RunLog};
use crate::domain::notify::notice::Notice;
use crate::domain::notify::run_news::{RunMoment, RunNews, is_told, news};
use crate::domain::notify::runs::{RunPace, notices};
use crate::domain::run::event::Event;
use crate::port::StoreError;
use crate::port::outbox::RunUpdate;

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 500;

/// How far a channel is.
struct Reading {
    cursor: u64,
    log: RunLog,
    pace: RunPace,
}

/// When to read again.
enum Next {
    /// With the next event, or at this time.
    Event(Option<Timestamp>),
    /// Before this time, nothing may be sent.
    Time(Timestamp),
}

impl Tell {
    /// Makes messages until rollcall stops.
    pub(super) async fn follow_runs(&self, channel: &Channel, stop: CancellationToken) {
        let mut newest = self.parts.runs.events.newest();
        let mut reading = None;
        while !stop.is_cancelled() {
            newest.mark_unchanged();
            let next = match self.read_runs(channel, &mut reading).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(channel = channel.name, %error, "runs cannot be read; tried again soon");
                    // What is in memory may be ahead of the store.
                    reading = None;
                    Next::Time(self.parts.clock.now() + POLL)
                }
            };
            let (wake, on_event) = match next {
                Next::Event(wake) => (wake, true),
                Next::Time(time) => (Some(time), false),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = newest.changed(), if on_event => {}
                () = tokio::time::sleep(self.until(wake, super::LONGEST_SLEEP)) => {}
            }
        }
    }

    /// Reads the journal to its end, and makes the messages whose time has come.
    async fn read_runs(&self, channel: &Channel, reading: &mut Option<Reading>) -> Result<Next, StoreError> {
        let (outbox, clock) = (&self.parts.outbox, &self.parts.clock);
        if reading.is_none() {
            let (cursor, log) = outbox.run_teller(&channel.name).await?;
            *reading = Some(Reading { cursor, log, pace: RunPace::default() });
        }
        let Some(reading) = reading else { return Ok(Next::Event(None)) };
        loop {
            let left = match reading.pace.left(clock.now(), channel.pace.update_every) {
                Ok(left) => left.min(MESSAGES_AT_ONCE),
                Err(until) => return Ok(Next::Time(until)),
            };
            let events = self.parts.runs.events.events_after(reading.cursor, EVENTS_AT_ONCE).await?;
            let Some(last) = events.last().map(|event| event.seq) else {
                self.make_held(channel, reading, left).await?;
                return Ok(Next::Event(reading.log.wake(&channel.pace, clock.now())));
            };
            let found = self.found(channel, &events).await?;
            let before = reading.log.clone();
            let found = reading.log.take(&channel.pace, &events, found, clock.now());
            reading.cursor = last;
            // A cursor that is behind leads to the same messages: those of events that have none.
            if !found.is_empty() || events.len() == EVENTS_AT_ONCE || reading.log != before {
                self.make(channel, reading, notices(channel, found, left)).await?;
            }
        }
    }

    /// Makes the messages whose time has come, of what still matters.
    async fn make_held(
        &self,
        channel: &Channel,
        reading: &mut Reading,
        left: usize,
    ) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let due = reading.log.take_due(&channel.pace, now);
        if due.is_empty() {
            return Ok(());
        }
        let mut found = Vec::new();
        for held in &due {
            found.extend(self.held_news(channel, held).await?);
        }
        found.iter().for_each(|news| reading.log.sent(news));
        let mut made = notices(channel, found, left);
        // `give_up` counts from here: before, there was no message.
        made.iter_mut().for_each(|notice| notice.at = now);
        self.make(channel, reading, made).await
    }

    /// Stores messages with what has been read.
    async fn make(
        &self,
        channel: &Channel,
        reading: &mut Reading,
        notices: Vec<Notice>,
    ) -> Result<(), StoreError> {
        let posts = !notices.is_empty();
        reading.pace.take(notices.len());
        let (cursor, log) = (reading.cursor, reading.log.clone());
        let update = RunUpdate { channel: channel.name.clone(), cursor, log, notices };
        self.parts.outbox.tell_runs(update).await?;
        if posts {
            self.posted(&channel.name).notify_one();
        }
        Ok(())
    }

    /// The news of a held moment; `None` if its reason is gone.
    async fn held_news(&self, channel: &Channel, held: &HeldMoment) -> Result<Option<RunNews>, StoreError> {
        if held.open == HeldWhile::Debt {
            let debts = self.parts.runs.store.debts().await?;
            if !debts.iter().any(|debt| debt.run == held.run && debt.written_off.is_none()) {
                return Ok(None);
            }
        }
        let before = held.seq.saturating_sub(1);
        let event = self.parts.runs.events.events_after(before, 1).await?.pop();
        let Some(event) = event.filter(|event| event.seq == held.seq) else { return Ok(None) };
        self.news_of(channel, &event).await
    }

    /// The news among events.
    async fn found(&self, channel: &Channel, events: &[Event]) -> Result<Vec<RunNews>, StoreError> {
        let now = self.parts.clock.now();
        let oldest = SignedDuration::try_from(channel.give_up).unwrap_or(SignedDuration::MAX);
        let mut found = Vec::new();
        for event in events {
            let is_wanted =
                RunMoment::of(&event.kind).is_some_and(|(moment, _)| channel.runs.contains(&moment));
            // A channel that was away for so long is of no use to its readers.
            if is_wanted && now.duration_since(event.at) < oldest {
                found.extend(self.news_of(channel, event).await?);
            }
        }
        Ok(found)
    }

    async fn news_of(&self, channel: &Channel, event: &Event) -> Result<Option<RunNews>, StoreError> {
        let stored = match self.parts.runs.store.load(event.run).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            // A run that cannot be read must not hold up the messages of the others.
            Err(error @ StoreError::Changed { .. }) => {
                tracing::error!(run = %event.run, %error, "there is no message about it");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let plan = &stored.plan;
        if !is_told(&plan.kind) || !channel.only.is_about_task(plan.task()) {
            return Ok(None);
        }
        let Some((group, title)) = (self.parts.runs.scope)(&channel.only, plan) else { return Ok(None) };
        let found = news(event, (plan, &stored.by), &stored.events, group);
        Ok(found.map(|news| RunNews { title, ..news }))
    }
}
