//! The words of commands, as roles of `rollcall.toml` list them.

use super::ask::Command;

impl Command {
    /// True if it starts a run, or follows one, and may print its steps.
    pub(super) fn is_followed(&self) -> bool {
        matches!(
            self,
            Command::Task { .. }
                | Command::Rollback { .. }
                | Command::Retry { .. }
                | Command::Watch { .. }
                | Command::Check { .. }
                | Command::Drain { .. }
                | Command::Enable { .. }
                | Command::Misread { .. }
        )
    }

    /// Its words in full, without arguments, as roles of `rollcall.toml` list them; `TASK` for a task.
    pub fn path(&self) -> &'static str {
        match self {
            Command::Help { .. } | Command::Misread { .. } => "help",
            Command::Version => "version",
            Command::Whoami => "whoami",
            Command::Rights(asked) => asked.path(),
            Command::Connection(connection) => connection.path(),
            Command::Hosts { .. } => "hosts",
            Command::Board(_) => "board",
            Command::Plan { .. } | Command::PlanRollback { .. } => "plan",
            Command::Task { .. } => "TASK",
            Command::Check { .. } => "check",
            Command::Run(_) => "run",
            Command::AdHoc(asked) => asked.path(),
            Command::Doctor { .. } => "doctor",
            Command::Facts { .. } => "facts",
            Command::Logs(_) => "logs",
            Command::Runs { .. } => "runs",
            Command::Show { .. } => "show",
            Command::Output { .. } => "output",
            Command::Watch { .. } => "watch",
            Command::Artifacts { .. } => "artifacts",
            Command::Cancel { .. } => "cancel",
            Command::Pause { .. } => "pause",
            Command::Resume { .. } => "resume",
            Command::Approve { .. } => "approve",
            Command::Retry { .. } => "retry",
            Command::Debts => "debts",
            Command::Queue => "queue",
            Command::Leases | Command::Lock { .. } => "lock",
            Command::Unlock { .. } => "unlock",
            Command::Hold { .. } => "hold",
            Command::Freezes | Command::Freeze { .. } | Command::FreezeEnd { .. } => "freeze",
            Command::Events { .. } => "events",
            Command::Settle { .. } => "settle",
            Command::Drain { .. } => "balancer drain",
            Command::Enable { .. } => "balancer enable",
            Command::Releases { .. } => "releases",
            Command::Rollback { .. } => "rollback",
            Command::Mark { bad: true, .. } => "mark bad",
            Command::Mark { bad: false, .. } => "mark good",
            Command::Status { .. } => "status",
            Command::History { .. } => "history",
            Command::Why { .. } => "why",
            Command::Downtimes | Command::Downtime { .. } | Command::DowntimeEnd { .. } => "downtime",
            Command::Ack { .. } => "ack",
            Command::Reload => "reload",
            Command::HostKeys(asked) => asked.path(),
            Command::Sudoers { .. } => "sudoers",
            Command::BalancerStatus { .. } => "balancer status",
            Command::Enroll { .. } => "operator enroll",
            Command::NotifyList => "notify list",
            Command::NotifyTest { .. } => "notify test",
            Command::Metrics => "metrics",
            Command::Record(asked) => asked.path(),
        }
    }
}
