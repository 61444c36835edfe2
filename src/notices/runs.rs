//! Makes messages about runs from the journal. The cursor of a channel and its messages are one transaction.

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{MESSAGES_AT_ONCE, POLL, Tell};
use crate::domain::notify::channel::Channel;
use crate::domain::notify::run_news::{RunMoment, RunNews, is_told, news};
use crate::domain::notify::runs::{RunPace, notices};
use crate::domain::run::event::Event;
use crate::port::StoreError;

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 500;

/// How far a channel is.
struct Reading {
    cursor: u64,
    pace: RunPace,
}

impl Tell {
    /// Makes messages until rollcall stops.
    pub(super) async fn follow_runs(&self, channel: &Channel, stop: CancellationToken) {
        let mut newest = self.parts.runs.events.newest();
        let mut reading = None;
        while !stop.is_cancelled() {
            newest.mark_unchanged();
            let wake = match self.read_runs(channel, &mut reading).await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::error!(channel = channel.name, %error, "runs cannot be read; tried again soon");
                    // What is in memory may be ahead of the store.
                    reading = None;
                    Some(self.parts.clock.now() + POLL)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                // Before the time, nothing may be sent.
                _ = newest.changed(), if wake.is_none() => {}
                () = tokio::time::sleep(self.until(wake, super::LONGEST_SLEEP)) => {}
            }
        }
    }

    /// Reads the journal to its end; or returns the time until which no more messages may be made.
    async fn read_runs(
        &self,
        channel: &Channel,
        reading: &mut Option<Reading>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let outbox = &self.parts.outbox;
        if reading.is_none() {
            let cursor = outbox.run_cursor(&channel.name).await?;
            *reading = Some(Reading { cursor, pace: RunPace::default() });
        }
        let Some(Reading { cursor, pace }) = reading else { return Ok(None) };
        loop {
            let left = match pace.left(self.parts.clock.now(), channel.pace.update_every) {
                Ok(left) => left,
                Err(until) => return Ok(Some(until)),
            };
            let events = self.parts.runs.events.events_after(*cursor, EVENTS_AT_ONCE).await?;
            let Some(last) = events.last().map(|event| event.seq) else { return Ok(None) };
            let found = self.found(channel, &events).await?;
            let made = notices(channel, found, left.min(MESSAGES_AT_ONCE));
            pace.take(made.len());
            *cursor = last;
            // A cursor that is behind leads to the same messages: those of events that have none.
            if !made.is_empty() || events.len() == EVENTS_AT_ONCE {
                let posts = !made.is_empty();
                outbox.tell_runs(&channel.name, last, made).await?;
                if posts {
                    self.posted(&channel.name).notify_one();
                }
            }
        }
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
