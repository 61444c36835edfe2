//! Messages about runs that wait for their time: `after` and `hours` of a channel. Pure: the time is an argument.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::Pace;
use super::run_news::{RunMoment, RunNews};
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::End;
use crate::domain::run::event::{Event, EventKind};

/// What a channel remembers of runs beside its place in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunLog {
    /// No more than a few for each run that is open or needs a person.
    held: Vec<HeldMoment>,
    /// Runs under way of which the channel has sent a message.
    heard: BTreeSet<RunId>,
}

/// A moment that is sent when its time has come, if it still matters then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMoment {
    pub run: RunId,
    pub seq: u64,
    pub due: Timestamp,
    pub open: HeldWhile,
}

/// As long as what a held moment matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldWhile {
    /// The run is not over.
    Running,
    Paused,
    /// A debt of the run is open.
    Debt,
    /// In any case.
    Always,
}

impl RunLog {
    /// Applies events with the news among them, and returns what is sent now.
    pub fn take(
        &mut self,
        pace: &Pace,
        events: &[Event],
        news: Vec<RunNews>,
        now: Timestamp,
    ) -> Vec<RunNews> {
        let mut news = news.into_iter().peekable();
        let mut sent = Vec::new();
        for event in events {
            self.drop_over(event);
            while let Some(one) = news.next_if(|one| one.seq <= event.seq) {
                sent.extend(self.admit(pace, one, now));
            }
            if matches!(event.kind, EventKind::RunEnded { .. }) {
                self.heard.remove(&event.run);
            }
        }
        sent
    }

    /// Forgets held moments that an event has ended.
    fn drop_over(&mut self, event: &Event) {
        let over = |open: HeldWhile| match &event.kind {
            EventKind::RunEnded { .. } => matches!(open, HeldWhile::Running | HeldWhile::Paused),
            EventKind::Resumed { .. } | EventKind::Approved { .. } | EventKind::Paused(_) => {
                open == HeldWhile::Paused
            }
            EventKind::RunStarted { .. }
            | EventKind::BatchStarted { .. }
            | EventKind::ObserveStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::DrainStarted { .. }
            | EventKind::DrainEnded { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepEnded { .. }
            | EventKind::StepSkipped { .. }
            | EventKind::ChecksStarted { .. }
            | EventKind::ChecksEnded { .. }
            | EventKind::SnapshotStarted { .. }
            | EventKind::SnapshotEnded { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::EnableStarted { .. }
            | EventKind::EnableEnded { .. }
            | EventKind::HostSettled { .. }
            | EventKind::DrainForgotten { .. }
            | EventKind::RedrainStarted { .. }
            | EventKind::RedrainEnded { .. }
            | EventKind::Stopped { .. }
            | EventKind::Recovered { .. }
            | EventKind::DebtSettled { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::HookStarted { .. }
            | EventKind::HookEnded { .. } => false,
        };
        self.held.retain(|held| held.run != event.run || !over(held.open));
    }

    /// The news, if it is sent now. An end is sent only to a channel that waited for nothing, or that had a message about
    /// the run before.
    fn admit(&mut self, pace: &Pace, news: RunNews, now: Timestamp) -> Option<RunNews> {
        let is_end = news.is_over && !news.moment.is_urgent();
        let waits = pace.after.filter(|_| news.moment.is_urgent());
        let due = waits.map_or(news.at, |wait| after(news.at, wait));
        let may_send = pace.may_send(now) && due <= now;
        let heard = self.heard.contains(&news.run);
        let is_for_it = match (is_end, news.moment) {
            (true, _) => heard || (pace.after.is_none() && may_send),
            (false, RunMoment::Started) => pace.after.is_none(),
            (false, _) => true,
        };
        if !is_for_it {
            return None;
        }
        if may_send {
            self.heard.insert(news.run);
            return Some(news);
        }
        self.held.push(HeldMoment { run: news.run, seq: news.seq, due, open: held_while(&news) });
        None
    }

    /// Removes and returns the moments whose time has come.
    pub fn take_due(&mut self, pace: &Pace, now: Timestamp) -> Vec<HeldMoment> {
        if !pace.may_send(now) {
            return Vec::new();
        }
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|held| held.due <= now);
        self.held = held;
        due
    }

    /// Records that a message about a held moment was made.
    pub fn sent(&mut self, news: &RunNews) {
        if !news.is_over {
            self.heard.insert(news.run);
        }
    }

    /// When the next held moment is due.
    pub fn wake(&self, pace: &Pace, now: Timestamp) -> Option<Timestamp> {
        let next = self.held.iter().map(|held| held.due).min()?;
        Some(pace.may_send_from(next.max(now)))
    }

    /// The number of held moments.
    pub fn pending(&self) -> usize {
        self.held.len()
    }
}

fn held_while(news: &RunNews) -> HeldWhile {
    match (news.is_over, news.moment) {
        (false, RunMoment::Started) => HeldWhile::Running,
        (false, _) => HeldWhile::Paused,
        (true, RunMoment::NeedsPerson) if news.ends.iter().any(|end| end.end == End::Held.word()) => {
            HeldWhile::Debt
        }
        (true, _) => HeldWhile::Always,
    }
}

fn after(at: Timestamp, wait: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(at)
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
