//! The three built-in roles, and the least one that each command needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::adhoc::AdHoc;
use super::command::{Command, Record, RightCommand};

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

/// Commands that need more than the role viewer in every form.
const OF_OPERATORS: [&str; 22] = [
    "ack",
    "approve",
    "artifacts",
    "balancer drain",
    "balancer enable",
    "cancel",
    "copy",
    "doctor",
    "fetch",
    "hold",
    "logs",
    "mark bad",
    "mark good",
    "notify list",
    "pause",
    "resume",
    "retry",
    "rollback",
    "run",
    "settle",
    "unlock",
    "TASK",
];
const OF_ADMINS: [&str; 9] = [
    "config diff",
    "config log",
    "git-receive-pack",
    "git-upload-pack",
    "host accept",
    "host forget",
    "notify test",
    "operator enroll",
    "reload",
];

/// The least role that may use a command in some form; by its words, as [`Command::path`] has them.
pub fn least_role(path: &str) -> Role {
    match path {
        _ if OF_ADMINS.contains(&path) => Role::Admin,
        _ if OF_OPERATORS.contains(&path) => Role::Operator,
        _ => Role::Viewer,
    }
}

/// The role that a command needs.
pub fn needed_role(command: &Command) -> Role {
    match command {
        Command::Help { .. }
        | Command::Version
        | Command::Misread { .. }
        | Command::Whoami
        | Command::Connection(_)
        | Command::Rights(RightCommand::List | RightCommand::Ask { .. } | RightCommand::End { .. })
        | Command::Hosts { .. }
        | Command::Board(_)
        | Command::Plan { diff: false, .. }
        | Command::PlanRollback { .. }
        | Command::Check { .. }
        | Command::Facts { .. }
        | Command::Runs { .. }
        | Command::Show { .. }
        | Command::Output { .. }
        | Command::Watch { .. }
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
        | Command::Events { .. }
        | Command::Metrics
        | Command::Record(Record::Audit(_) | Record::Receipt { .. } | Record::Signers | Record::Report(_))
        | Command::Debts => Role::Viewer,
        // A dry run executes guards on hosts, and prints the content of their files.
        Command::Plan { diff: true, .. }
        | Command::Artifacts { .. }
        | Command::Task { .. }
        | Command::Doctor { .. }
        // A log may hold anything, and any file that the login can read is one.
        | Command::Logs(_)
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
        Command::AdHoc(asked) => of_ad_hoc(asked),
        Command::Rights(RightCommand::Grant { .. })
        | Command::NotifyTest { .. }
        | Command::Reload
        | Command::Record(
            Record::Verify | Record::ConfigLog | Record::ConfigDiff { .. } | Record::Git { .. },
        )
        | Command::HostKeys(_)
        | Command::Enroll { .. } => Role::Admin,
    }
}

fn of_ad_hoc(asked: &AdHoc) -> Role {
    match asked {
        // A ping connects, and changes nothing.
        AdHoc::Ping { .. } | AdHoc::Nodes(_) | AdHoc::Last { .. } => Role::Viewer,
        AdHoc::Copy(_) | AdHoc::Fetch(_) => Role::Operator,
    }
}
