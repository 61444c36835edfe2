//! Permissions. A [`Granted`] can be created in this file only, so code that needs one
//! cannot be reached without [`authorize`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::Command;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::{Host, Inventory};

/// The key of a local user who can read the store: no key proves an identity there.
pub const LOCAL_KEY: &str = "local";

/// A connected operator, identified by their key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The comment of the line in `operators`.
    pub name: String,
    /// SHA-256 fingerprint of the key that was used; [`LOCAL_KEY`] for a local user.
    pub key: String,
    pub role: Role,
    /// Groups they may see and act on; `None` means all.
    pub groups: Option<BTreeSet<String>>,
}

/// The permissions of an operator; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads: hosts, plans, runs, and the checks that the configuration defines.
    Viewer,
    /// Acts on hosts: tasks, ad-hoc commands, cancel.
    Operator,
    /// Changes rollcall: reload, host keys.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

/// A command that this operator is allowed to run.
#[derive(Clone, Debug)]
pub struct Granted {
    operator: Operator,
    command: Command,
}

impl Granted {
    /// The operator of the command.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// The part of the inventory that the operator may see. All selections use this one.
    pub fn inventory(&self, whole: &Arc<Inventory>) -> Arc<Inventory> {
        match &self.operator.groups {
            None => whole.clone(),
            groups => Arc::new(whole.visible_to(groups.as_ref())),
        }
    }

    /// True when the operator may see the host.
    pub fn sees(&self, host: &Host) -> bool {
        host.is_within(self.operator.groups.as_ref())
    }
}

/// The role that a command needs.
pub fn needed_role(command: &Command) -> Role {
    match command {
        Command::Help { .. }
        | Command::Version
        | Command::Misread { .. }
        | Command::Whoami
        | Command::Hosts { .. }
        | Command::Plan { diff: false, .. }
        | Command::PlanRollback { .. }
        | Command::Check { .. }
        | Command::Facts { .. }
        | Command::Runs { .. }
        | Command::Show { .. }
        | Command::Watch { .. }
        | Command::Events { .. }
        | Command::Releases { .. }
        | Command::Sudoers { .. }
        | Command::BalancerStatus { .. }
        | Command::Status { .. }
        | Command::History { .. }
        | Command::Why { .. }
        | Command::Downtimes
        | Command::Queue
        | Command::Leases
        | Command::Freezes
        | Command::Metrics
        | Command::Debts => Role::Viewer,
        // A dry run executes guards on hosts, and prints the content of their files.
        Command::Plan { diff: true, .. }
        | Command::Artifacts { .. }
        | Command::Task { .. }
        | Command::Run { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Approve { .. }
        | Command::Retry { .. }
        | Command::Lock { .. }
        | Command::Unlock { .. }
        | Command::Hold { .. }
        | Command::Freeze { .. }
        | Command::FreezeEnd { .. }
        | Command::Settle { .. }
        | Command::Drain { .. }
        | Command::Enable { .. }
        | Command::Rollback { .. }
        | Command::Downtime { .. }
        | Command::DowntimeEnd { .. }
        | Command::Ack { .. }
        | Command::NotifyList
        | Command::Mark { .. } => Role::Operator,
        Command::NotifyTest { .. }
        | Command::Reload
        | Command::HostAccept { .. }
        | Command::HostForget { .. } => Role::Admin,
    }
}

/// Grants the command, or returns the reason for the refusal.
pub fn authorize(operator: &Operator, command: Command) -> Result<Granted, Refusal> {
    let needed = needed_role(&command);
    if operator.role >= needed {
        return Ok(Granted { operator: operator.clone(), command });
    }
    let why = format!("this needs the role {needed}, and {} has the role {}", operator.name, operator.role);
    Err(Refusal::new(Cause::NotAllowed, why).hint("try: ask an admin to change your line in `operators`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::command::parse_line;

    #[test]
    fn each_command_needs_its_role() {
        let table = [
            ("help", Role::Viewer),
            ("version", Role::Viewer),
            ("deploy prod --nonesuch", Role::Viewer),
            ("whoami", Role::Viewer),
            ("hosts", Role::Viewer),
            ("plan deploy prod", Role::Viewer),
            ("check prod", Role::Viewer),
            ("facts prod --fresh", Role::Viewer),
            ("runs", Role::Viewer),
            ("show 1", Role::Viewer),
            ("watch 1", Role::Viewer),
            ("events", Role::Viewer),
            ("artifacts 1 web1 --list", Role::Operator),
            ("debts", Role::Viewer),
            ("balancer status prod", Role::Viewer),
            ("deploy prod", Role::Operator),
            ("run prod -- true", Role::Operator),
            ("cancel 1", Role::Operator),
            ("releases", Role::Viewer),
            ("pause 1", Role::Operator),
            ("resume 1", Role::Operator),
            ("approve 1", Role::Operator),
            ("retry 1", Role::Operator),
            ("queue", Role::Viewer),
            ("lock", Role::Viewer),
            ("lock web1 for 2h because x", Role::Operator),
            ("unlock 3", Role::Operator),
            ("hold web1", Role::Operator),
            ("freeze", Role::Viewer),
            ("freeze web1 for 2d because x", Role::Operator),
            ("freeze end 3", Role::Operator),
            ("settle web1 because x", Role::Operator),
            ("balancer drain web1 because x", Role::Operator),
            ("balancer enable web1", Role::Operator),
            ("balancer status web1", Role::Viewer),
            ("rollback prod", Role::Operator),
            ("mark bad deploy because x", Role::Operator),
            ("status", Role::Viewer),
            ("history web1 http", Role::Viewer),
            ("why web1", Role::Viewer),
            ("downtime", Role::Viewer),
            ("downtime web1 for 2h because x", Role::Operator),
            ("downtime end 3", Role::Operator),
            ("ack web1 http because x", Role::Operator),
            ("metrics", Role::Viewer),
            ("notify list", Role::Operator),
            ("notify test mail", Role::Admin),
            ("reload", Role::Admin),
            ("host accept web1", Role::Admin),
            ("host forget web1", Role::Admin),
        ];
        for (line, needed) in table {
            for role in [Role::Viewer, Role::Operator, Role::Admin] {
                let operator = Operator { name: "ann".into(), key: "k".into(), role, groups: None };
                let command = parse_line(line.as_bytes()).unwrap().command;
                assert_eq!(authorize(&operator, command).is_ok(), role >= needed, "{line} as {role}");
            }
        }
    }
}
