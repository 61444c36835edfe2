//! Waiting for hosts that are in use: a place in the queue, and one attempt whenever it may succeed.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::{Granted, authorize};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::lease::claim::Claim;
use crate::domain::lease::lease::LeaseKind;
use crate::door::keys::KeyPress;
use crate::engine::StartError;
use crate::engine::queue::{NoPlace, Ticket, WAITING_OF_ONE_LIMIT};
use crate::port::StoreError;

/// The turn of one command.
pub(super) struct CommandTurn {
    claim: Claim,
    /// The command in words.
    title: String,
    pub ticket: Option<Ticket>,
    /// Subscribed before the first attempt, so that no end of another is missed.
    changes: watch::Receiver<u64>,
    said: String,
}

/// When an attempt that did not succeed may succeed by the time alone.
fn over_at(error: &StartError) -> Option<Timestamp> {
    match error {
        StartError::Store(StoreError::Held { lease, .. }) => lease.until,
        StartError::Store(_)
        | StartError::Draining
        | StartError::Crowded(_)
        | StartError::Proposed(_)
        | StartError::Queued { .. } => None,
    }
}

/// True if others are in the way, so that waiting helps.
fn in_other_hands(error: &StartError) -> bool {
    match error {
        StartError::Store(StoreError::Held { lease, .. }) => lease.kind != LeaseKind::Freeze,
        StartError::Store(error) => matches!(error, StoreError::Busy { .. }),
        StartError::Queued { .. } => true,
        StartError::Draining | StartError::Crowded(_) | StartError::Proposed(_) => false,
    }
}

fn no_place(why: NoPlace, operator: &str) -> Refusal {
    let why = match why {
        NoPlace::Own => {
            format!("{WAITING_OF_ONE_LIMIT} commands of {operator} wait already, the most for one operator")
        }
        NoPlace::Any => "too many commands wait already".into(),
    };
    Refusal::new(Cause::Busy, why).hint("try again when some of them had their turn; see: queue")
}

impl Asked<'_> {
    /// The turn of a command, before its first attempt.
    pub(super) fn turn(&self, claim: Claim, title: String) -> CommandTurn {
        let changes = self.desk.engine.keeper().queue().changes();
        CommandTurn { claim, title, ticket: None, changes, said: String::new() }
    }

    /// Waits after an attempt that failed, until the next one may succeed; without `--wait`, or if waiting does not help,
    /// returns the error.
    pub(super) async fn wait_for(&mut self, turn: &mut CommandTurn, error: StartError) -> Result<(), Ended> {
        if !self.wait || !in_other_hands(&error) {
            return Err(error.into());
        }
        let queue = self.desk.engine.keeper().queue().clone();
        let mut until = over_at(&error);
        if turn.ticket.is_none() {
            let now = self.ports().hosts.clock.now();
            let joined = queue.join(turn.claim.clone(), turn.title.clone(), now);
            turn.ticket = Some(joined.map_err(|why| no_place(why, &turn.claim.by))?);
        }
        let Some(ticket) = &turn.ticket else { return Err(error.into()) };
        let position = queue.position(&turn.claim, ticket.number);
        let said =
            format!("rollcall: waiting, number {position} in the queue: {}\n", Refusal::from(error).why);
        if turn.said != said {
            self.terminal.err(&said).await?;
            turn.said = said;
        }
        loop {
            self.next_change(turn, until.take()).await?;
            if self.desk.engine.keeper().in_turn(&turn.claim, turn.ticket.as_ref()).await.is_ok() {
                return Ok(());
            }
        }
    }

    /// Refuses a command whose rights have ended while it waited: hours of a role, an expired key.
    pub(super) fn may_still(&self, granted: &Granted) -> Result<(), Ended> {
        let now = self.ports().hosts.clock.now();
        let person = self.desk.rights.add_to(granted.person().clone(), &self.desk.config.borrow(), now);
        match authorize(&person, granted.typed().clone(), now) {
            Ok(still) if still.operator() == granted.operator() => Ok(()),
            Ok(_) => {
                let why = "your rights have changed while you waited";
                Err(Refusal::new(Cause::NotAllowed, why).hint("see: whoami").into())
            }
            Err(denied) => Err(denied.refusal.into()),
        }
    }

    async fn next_change(&mut self, turn: &mut CommandTurn, until: Option<Timestamp>) -> Result<(), Ended> {
        let now = self.ports().hosts.clock.now();
        let left = until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default());
        let gone = self.terminal.gone();
        let silence = self.terminal.silence();
        let stopping = self.desk.engine.keeper().stopping();
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(Ended::Gone),
            () = silence => Err(Ended::Gone),
            () = stopping => Err(StartError::Draining.into()),
            () = self.interrupted() => {
                self.terminal.err("rollcall: you have left the queue, and nothing was started\n").await?;
                Err(Ended::Gone)
            }
            _ = turn.changes.changed() => Ok(()),
            () = sleep(left.unwrap_or(Duration::MAX)) => Ok(()),
        }
    }

    /// Resolves with Ctrl-C or Ctrl-D on a terminal. The keys stay with this command: a run that starts later reads them.
    pub(super) async fn interrupted(&mut self) {
        if self.keys.is_none() {
            self.keys = self.terminal.keys();
        }
        let Some(keys) = &mut self.keys else { return std::future::pending().await };
        loop {
            match keys.recv().await {
                Some(KeyPress::Interrupt | KeyPress::End) => return,
                Some(KeyPress::Plain(_) | KeyPress::Resized | KeyPress::Closed) => {}
                None => return std::future::pending().await,
            }
        }
    }
}
