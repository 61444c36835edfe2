//! `sessions` and `kick`. Operators have their own sessions; an admin of all groups has those of everyone.

use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::domain::ask::command::{Command, Connection, Format};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::present::json;
use crate::present::sessions::{self, SessionLine};

impl Asked<'_> {
    /// The commands about connections to the door.
    pub(super) async fn connections(
        &mut self,
        asked: &Connection,
        inventory: &Arc<Inventory>,
    ) -> Result<u8, Ended> {
        match asked {
            Connection::Kick { session, reason } => self.kick(*session, reason.as_deref()).await,
            Connection::Setup { alias, host, completion } => {
                self.setup(alias, host.as_deref(), *completion).await
            }
            Connection::Web { port, token } => self.web(*port, *token).await,
            Connection::Complete { words } => self.complete(inventory, words).await,
            Connection::Sessions => self.sessions().await,
        }
    }

    async fn sessions(&mut self) -> Result<u8, Ended> {
        let all = self.visible_sessions();
        // What operators have typed themselves reveals nothing to them.
        for one in all.iter().filter(|one| one.guest.operator == self.operator) {
            one.commands.iter().for_each(|doing| self.terminal.may_name(&doing.line));
        }
        let text = match self.json {
            true => all.iter().map(|one| json::line("session", one)).collect(),
            false => sessions::sessions(&all, self.own_session(), self.desk.clock.now()),
        };
        self.say(&text).await
    }

    async fn kick(&mut self, id: u64, reason: Option<&str>) -> Result<u8, Ended> {
        let all = self.visible_sessions();
        let Some(found) = all.iter().find(|one| one.id == id) else {
            return Err(Refusal::not_found(format!("there is no session {id}")).hint("see: sessions").into());
        };
        if self.own_session() == Some(id) {
            let why = format!("session {id} is the one that you type this in");
            return Err(Refusal::new(Cause::Rule, why).hint("try: close the connection").into());
        }
        let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.desk.sessions.end(id, &format!("{} has ended this session{because}", self.operator));
        let of = &found.guest.operator;
        tracing::info!(operator = self.operator, session = id, %of, reason, "kicked");
        let text = match self.json {
            true => json::line("kicked", found),
            false => format!(
                "session {id} of {of} is being ended; runs that it started continue\n{of} can log in again; to prevent that, \
                 remove or revoke the key in `operators` or `revoked`\n"
            ),
        };
        self.say(&text).await
    }

    /// Says what became of runs that the operator followed when their connection was lost.
    pub(super) async fn offer_lost(&mut self) -> Result<(), Ended> {
        let is_for_people = !self.json && self.format == Format::Text;
        if self.terminal.listed().is_none() || !is_for_people || is_silent(self.granted.command()) {
            return Ok(());
        }
        for id in self.desk.sessions.take_lost(&self.operator) {
            let Ok(run) = self.stored(&self.granted, id).await else { continue };
            let is_under_way = self.desk.engine.under_way().contains(&id);
            let what = if is_under_way { "goes on; to follow it: watch" } else { "has ended; see: show" };
            let title = &run.plan.title.0;
            let text = format!(
                "run {id} ({title}), which you followed when your connection was lost, {what} {id}\n"
            );
            self.terminal.err(&text).await?;
        }
        Ok(())
    }

    /// Lines of commands name hosts and groups, so that no one with groups reads those of others.
    fn visible_sessions(&self) -> Vec<SessionLine> {
        let operator = self.granted.operator();
        let is_of_all = operator.is_admin() && operator.groups.is_none();
        let mut all = self.desk.sessions.list();
        all.retain(|one| is_of_all || one.guest.operator == operator.name);
        all
    }

    fn own_session(&self) -> Option<u64> {
        self.terminal.listed().map(|command| command.session())
    }
}

/// Commands that programs send, and those that say it themselves.
fn is_silent(command: &Command) -> bool {
    matches!(
        command,
        Command::Connection(_)
            | Command::Metrics
            | Command::Events { .. }
            | Command::Watch { .. }
            | Command::Show { .. }
            | Command::Output { .. }
    )
}
