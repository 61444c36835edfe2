//! Roles of `rollcall.toml`: what each includes is listed, and everything else is denied. Pure: the time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::command::{Command, Connection, GitService, Record};
use super::hours::Hours;
use super::login::Login;
use super::role::{Role, needed_role};

/// One `[roles.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRole {
    pub name: String,
    /// A built-in role, of which this role has all commands.
    pub includes: Option<Role>,
    /// Further commands, in full: `show`, `balancer status`.
    pub commands: BTreeSet<String>,
    /// The tasks that it may run.
    pub tasks: BTreeSet<String>,
    /// The groups that it may see and act on; `None` means all.
    pub groups: Option<BTreeSet<String>>,
    /// When it may do anything; `None` means always.
    pub hours: Option<Hours>,
    /// A run that it starts waits until another person approves it.
    pub needs_approval: bool,
    /// It acts over connections that logged in at most this long ago.
    pub fresh: Option<Duration>,
    /// It acts over logins with a security key.
    pub touch: bool,
}

/// The part of a role that decided about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clause {
    /// Every role has it.
    Everyone,
    Includes,
    Commands,
    Tasks,
    Hours,
    Fresh,
    Touch,
    /// No part of the role names it.
    Unlisted,
}

impl Clause {
    /// The key of the role.
    pub fn word(self) -> &'static str {
        match self {
            Clause::Everyone => "everyone",
            Clause::Includes => "includes",
            Clause::Commands => "commands",
            Clause::Tasks => "tasks",
            Clause::Hours => "hours",
            Clause::Fresh => "fresh",
            Clause::Touch => "touch",
            Clause::Unlisted => "unlisted",
        }
    }
}

impl OwnRole {
    /// The clause that grants the command, or the one that refuses it, with the reason.
    pub fn judge(&self, command: &Command, now: Timestamp) -> Result<Clause, (Clause, String)> {
        if is_for_everyone(command) {
            return Ok(Clause::Everyone);
        }
        if let Some(hours) = self.hours.as_ref().filter(|hours| !hours.contain(now)) {
            return Err((Clause::Hours, format!("the role {} may do nothing now, only {hours}", self.name)));
        }
        // With it, a role could give itself any right.
        if matches!(command, Command::Enroll { .. }) {
            return Err((
                Clause::Unlisted,
                format!("the role {} does not include `operator enroll`", self.name),
            ));
        }
        if self.needs_approval && is_push(command) {
            let why = format!(
                "the role {} acts with the approval of another person, and a push has none",
                self.name
            );
            return Err((Clause::Unlisted, why));
        }
        // A push replaces `operators`, and a fetch has raw files: both are more than any role that is included.
        let is_git = matches!(command, Command::Record(Record::Git { .. }));
        if !is_git && self.includes.is_some_and(|role| role >= needed_role(command)) {
            return Ok(Clause::Includes);
        }
        let path = command.path();
        let lists = |path: &str| self.commands.contains(path);
        let refused =
            |what: String| Err((Clause::Unlisted, format!("the role {} does not include {what}", self.name)));
        match command {
            Command::Task { ask, .. } if self.tasks.contains(&ask.task) => Ok(Clause::Tasks),
            // The same words for a task that does not exist: a refusal reveals nothing.
            Command::Task { ask, .. } => refused(format!("the task `{}`", ask.task)),
            Command::Plan { ask, .. } if lists("plan") && self.tasks.contains(&ask.task) => {
                Ok(Clause::Commands)
            }
            Command::Plan { ask, .. } => refused(format!("`plan {}`", ask.task)),
            Command::PlanRollback { .. } if lists("plan") && lists("rollback") => Ok(Clause::Commands),
            Command::PlanRollback { .. } => refused("`plan rollback`".into()),
            _ if lists(path) => Ok(Clause::Commands),
            _ => refused(format!("`{path}`")),
        }
    }

    /// What the role demands of the login before it acts; the error says what is missing. To read, any login does.
    pub fn step_up(
        &self,
        login: Option<&Login>,
        command: &Command,
        now: Timestamp,
    ) -> Result<(), (Clause, String)> {
        // Checks and facts change nothing on hosts.
        let observes = matches!(command, Command::Check { .. } | Command::Facts { .. });
        if is_for_everyone(command) || command.only_reads() || observes {
            return Ok(());
        }
        let name = &self.name;
        if self.touch && !login.is_some_and(|login| login.security_key) {
            let why = format!(
                "the role {name} acts with a security key alone, and this login was with another key"
            );
            return Err((Clause::Touch, why));
        }
        let Some(limit) = self.fresh else { return Ok(()) };
        if login.is_some_and(|login| login.is_fresh(limit, now)) {
            return Ok(());
        }
        let most = limit.as_secs();
        let old = login.map_or_else(String::new, |login| {
            format!(", and this connection logged in {} s ago", now.duration_since(login.at).as_secs())
        });
        Err((Clause::Fresh, format!("the role {name} acts within {most} s of the login alone{old}")))
    }

    /// True if it may know of the task.
    pub fn knows_task(&self, task: &str) -> bool {
        self.includes.is_some() || self.tasks.contains(task)
    }
}

fn is_push(command: &Command) -> bool {
    matches!(command, Command::Record(Record::Git { service: GitService::Push, .. }))
}

/// Commands that reveal and change nothing; every operator may use them at any time.
fn is_for_everyone(command: &Command) -> bool {
    matches!(
        command,
        Command::Help { .. }
            | Command::Version
            | Command::Misread { .. }
            | Command::Whoami
            | Command::Connection(
                Connection::Setup { .. } | Connection::Web { .. } | Connection::Complete { .. }
            )
    )
}
