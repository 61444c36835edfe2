//! The events of all runs, for programs that follow them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::asked::{Asked, Ended, may_see};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::{Command, Since};
use crate::domain::base::name::{HostName, RunId, clipped, nearest};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::run::event::EVENT_TYPES;
use crate::door::tail::{EventLine, Following};
use crate::engine::StartError;
use crate::present::json as lines;

/// Events that are read at once: each may hold 32 KiB of output.
const READ_AT_ONCE: usize = 200;

/// The longest silence of a stream, so that its reader knows that it is not cut off.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Most runs whose visibility is remembered for one reader.
const RUNS_REMEMBERED: usize = 10_000;

/// Refuses the name of a type that no event has.
fn known_types(types: &[String]) -> Result<(), Refusal> {
    let Some(word) = types.iter().find(|word| !EVENT_TYPES.contains(&word.as_str())) else { return Ok(()) };
    let near =
        nearest(word, EVENT_TYPES).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let known = EVENT_TYPES.join(", ");
    Err(Refusal::usage(format!("no event has the type `{}`{near} (known: {known})", clipped(word))))
}

/// The line for events that retention has removed.
fn removed_gap(since: u64, oldest: u64, newest: u64) -> String {
    lines::line("gap", json!({ "since": since, "oldest": oldest, "newest": newest }))
}

impl Asked<'_> {
    pub(super) async fn events(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let Command::Events { since, follow, types } = granted.command() else {
            return Err(Refusal::internal("this is about events").into());
        };
        known_types(types)?;
        let log = self.ports().events.clone();
        let mut newest = log.newest();
        let removed = log.removed().await?;
        let (mut after, is_cut) = match *since {
            Since::Event(seq) => (seq, seq < removed.last),
            Since::Time(time) => {
                let from = self.ports().hosts.clock.now().checked_sub(time).unwrap_or(Timestamp::MIN);
                (log.last_before(from).await?, removed.at.is_some_and(|at| at >= from))
            }
        };
        let last = *newest.borrow_and_update();
        if is_cut {
            self.say(&removed_gap(after, removed.last + 1, last)).await?;
            after = after.max(removed.last);
        }
        if after > last {
            self.say(&lines::line("gap", json!({ "since": after, "newest": last }))).await?;
            after = last;
        }
        let (mut seen, mut spoke) = (HashMap::new(), Instant::now());
        let (tail, mut following) = (self.desk.tail.clone(), None);
        loop {
            let events = tail.lines_after(&*log, after, READ_AT_ONCE).await?;
            let Some(last) = events.last() else {
                if !*follow {
                    return Ok(0);
                }
                let following = following.get_or_insert_with(|| tail.follow());
                self.next_event(&mut newest, after, &mut spoke).await?;
                self.in_turn(following).await?;
                self.sees_as_before(after)?;
                continue;
            };
            self.sees_as_before(after)?;
            // Retention may remove events that a reader has not reached yet.
            if let Some(oldest) = events.first().map(|event| event.seq).filter(|oldest| *oldest > after + 1) {
                let newest = *newest.borrow();
                self.say(&removed_gap(after, oldest, newest)).await?;
            }
            after = last.seq;
            let text = self.visible_events(granted, events, (types, &mut seen)).await?;
            self.terminal.out(&text).await?;
            if !text.is_empty() {
                spoke = Instant::now();
            } else if *follow && spoke.elapsed() >= HEARTBEAT {
                self.beat(after).await?;
                spoke = Instant::now();
            }
        }
    }

    async fn beat(&mut self, seq: u64) -> Result<(), Ended> {
        let at = self.ports().hosts.clock.now();
        Ok(self.terminal.out(&lines::line("heartbeat", json!({ "seq": seq, "at": at }))).await?)
    }

    pub(super) fn has_same_view(&self) -> bool {
        self.granted.operator().groups.is_none()
            || self.desk.config.borrow().inventory == self.config.inventory
    }

    /// Ends the stream of an operator with groups when hosts or groups have changed: what they may see is decided by the
    /// inventory with which the stream started.
    fn sees_as_before(&self, after: u64) -> Result<(), Refusal> {
        if self.has_same_view() {
            return Ok(());
        }
        let why = "the hosts of the configuration have changed, and what you may see may be different";
        Err(Refusal::new(Cause::Continues, why).hint(format!("to continue: events --since {after} --follow")))
    }

    /// Waits for the next event, with heartbeats since it last `spoke`.
    async fn next_event(
        &mut self,
        newest: &mut watch::Receiver<u64>,
        after: u64,
        spoke: &mut Instant,
    ) -> Result<(), Ended> {
        let mut config = self.desk.config.clone();
        config.mark_unchanged();
        while *newest.borrow_and_update() <= after && self.has_same_view() {
            let gone = self.terminal.gone();
            let stopping = self.desk.engine.keeper().stopping();
            tokio::select! {
                biased;
                // The store outlives every session.
                _ = newest.changed() => {}
                _ = config.changed() => {}
                () = gone.cancelled() => return Err(Ended::Gone),
                () = self.interrupted() => return Err(Ended::Gone),
                () = stopping => return Err(StartError::Draining.into()),
                () = sleep_until(*spoke + HEARTBEAT) => {
                    self.beat(after).await?;
                    *spoke = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Waits for the turn of this follower.
    async fn in_turn(&self, following: &mut Following) -> Result<(), Ended> {
        let gone = self.terminal.gone();
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(Ended::Gone),
            () = following.turn() => Ok(()),
        }
    }

    /// The lines of the events that the operator may see.
    async fn visible_events(
        &self,
        granted: &Granted,
        events: Vec<Arc<EventLine>>,
        (types, seen): (&[String], &mut HashMap<RunId, bool>),
    ) -> Result<String, Ended> {
        let mut text = String::new();
        for event in events {
            if !self.sees_run(granted, event.run, seen).await? {
                continue;
            }
            if types.is_empty() || types.iter().any(|wanted| wanted == event.kind()) {
                text += &event.text;
            }
        }
        Ok(text)
    }

    async fn sees_run(
        &self,
        granted: &Granted,
        run: RunId,
        seen: &mut HashMap<RunId, bool>,
    ) -> Result<bool, Ended> {
        if granted.operator().groups.is_none() {
            return Ok(true);
        }
        if let Some(known) = seen.get(&run) {
            return Ok(*known);
        }
        let stored = self.ports().store.load(run).await?;
        // Retention has removed the run in the meantime.
        let Some(stored) = stored else { return Ok(false) };
        let hosts: Vec<HostName> = stored.plan.touched().into_iter().collect();
        let sees = may_see(granted, &self.config.inventory, &hosts);
        if seen.len() >= RUNS_REMEMBERED {
            seen.clear();
        }
        seen.insert(run, sees);
        Ok(sees)
    }
}
