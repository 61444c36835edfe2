//! How many messages about runs a channel sends, and which.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::channel::Channel;
use super::notice::{Notice, NoticeContent};
use super::run_news::{RunMoment, RunNews};

/// Most messages about runs that a channel sends within its `update_every`. More of them become one.
pub const MESSAGES: usize = 20;

/// Most runs that a message about many of them names.
const NAMED: usize = 20;

/// How many messages about runs a channel has sent of late.
#[derive(Clone, Debug, Default)]
pub struct RunPace {
    since: Option<Timestamp>,
    sent: usize,
}

impl RunPace {
    /// How many messages may be sent now; or when more may be.
    pub fn left(&mut self, now: Timestamp, every: Duration) -> Result<usize, Timestamp> {
        let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
        let until = self.since.and_then(|since| since.checked_add(every).ok());
        // A clock that was set back opens a new window, too.
        let is_open = until.is_some_and(|until| now < until) && self.since.is_some_and(|since| since <= now);
        if !is_open {
            *self = RunPace { since: Some(now), sent: 0 };
        }
        match (MESSAGES.saturating_sub(self.sent), until) {
            (0, Some(until)) => Err(until),
            (left, _) => Ok(left),
        }
    }

    /// Records sent messages.
    pub fn take(&mut self, sent: usize) {
        self.sent += sent;
    }
}

/// The messages of some news: one for each, if no more than `left`; otherwise one for those that fit and need a person, and
/// one for all others together.
pub fn notices(channel: &Channel, mut news: Vec<RunNews>, left: usize) -> Vec<Notice> {
    news.retain(|news| channel.runs.contains(&news.moment));
    let single =
        |news: RunNews| Notice { key: news.key(), at: news.at, what: NoticeContent::Run(Box::new(news)) };
    if news.len() <= left {
        return news.into_iter().map(single).collect();
    }
    let (mut urgent, mut rest): (Vec<RunNews>, Vec<RunNews>) =
        news.into_iter().partition(|news| news.moment.is_urgent());
    rest.extend(urgent.split_off(urgent.len().min(left.saturating_sub(1))));
    let last = rest.iter().max_by_key(|news| news.seq).map(|news| (news.seq, news.at));
    let mut all: Vec<Notice> = urgent.into_iter().map(single).collect();
    all.extend(last.map(|(seq, at)| Notice { key: format!("runs.{seq}"), at, what: together(rest) }));
    all
}

/// One message about many moments.
fn together(mut news: Vec<RunNews>) -> NoticeContent {
    let mut counts: BTreeMap<RunMoment, usize> = BTreeMap::new();
    news.iter().for_each(|news| *counts.entry(news.moment).or_default() += 1);
    news.sort_by_key(|news| (news.moment, news.seq));
    let left_out = news.len().saturating_sub(NAMED);
    news.truncate(NAMED);
    NoticeContent::Runs { counts: counts.into_iter().collect(), news, left_out }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
