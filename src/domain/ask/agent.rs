//! What an agent may ask for. An agent is a program that a language model drives. The model reads output of hosts, which may
//! steer it, so nothing that an agent asks for reaches a host before another person has approved it.

use super::adhoc::AdHoc;
use super::ask::{Command, Connection, Record, RightCommand};
use super::output::{OutputOf, OutputPart};
use crate::domain::base::refusal::{Cause, Refusal};

/// What a command is to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentUse {
    /// It reads what rollcall has on record, and reaches no host.
    Reads,
    /// It shows what a run would do.
    Plans,
    /// It starts a run, which waits for the approval of another person.
    Starts,
    /// It acts, reaches hosts, or is for people alone.
    Never,
}

/// A request that an agent sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAsk {
    Reads,
    /// `digest`: of the plan that the agent was shown. The run starts if its plan is still the same.
    Starts {
        digest: String,
    },
}

impl AgentAsk {
    /// Refuses a command that agents may not use. The rights of the operator come on top.
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        match (self, AgentUse::of(command)) {
            (AgentAsk::Reads, AgentUse::Reads | AgentUse::Plans)
            | (AgentAsk::Starts { .. }, AgentUse::Starts) => Ok(()),
            // It says why a task cannot be read.
            _ if matches!(command, Command::Misread { .. }) => Ok(()),
            _ => {
                let why = format!("`{}` is not for agents", command.path());
                let hint = "an agent reads, plans, and starts tasks that another person approves";
                Err(Refusal::new(Cause::NotAllowed, why).hint(hint))
            }
        }
    }
}

/// Bytes of hosts, as they are, are not for a model.
fn of_output(step: Option<&OutputOf>) -> AgentUse {
    let is_raw = step.is_some_and(|step| matches!(step.part, OutputPart::Raw(_)));
    if is_raw { AgentUse::Never } else { AgentUse::Reads }
}

impl AgentUse {
    /// That of a command. No tool starts what is planned for `rollback` and `retry`. Commands that reach hosts are never for agents, also those that change nothing there; nor are
    /// links and tokens, completion, files of hosts, and answers without an end.
    pub fn of(command: &Command) -> AgentUse {
        match command {
            Command::Help { .. }
            | Command::Version
            | Command::Misread { .. }
            | Command::Whoami
            | Command::Connection(Connection::Sessions)
            | Command::Rights(RightCommand::List)
            | Command::Hosts { .. }
            | Command::Board(_)
            | Command::Doctor { selector: None }
            | Command::Runs { .. }
            | Command::Show { .. }
            | Command::Artifacts { list: true, .. }
            | Command::Queue
            | Command::Leases
            | Command::Freezes
            | Command::Debts
            | Command::Releases { .. }
            | Command::Status { .. }
            | Command::History { .. }
            | Command::Why { .. }
            | Command::Downtimes
            | Command::Sudoers { .. }
            | Command::NotifyList
            | Command::Metrics => AgentUse::Reads,
            Command::Record(asked) => of_record(asked),
            Command::AdHoc(asked) => of_ad_hoc(asked),
            Command::Output { step, .. } => of_output(step.as_ref()),
            Command::Plan { diff: false, .. } => AgentUse::Plans,
            Command::Task { check: false, .. } => AgentUse::Starts,
            // These reach hosts: `facts` gathers those that are too old, and a balancer is asked on its host.
            Command::Facts { .. }
            | Command::Doctor { selector: Some(_) }
            | Command::BalancerStatus { .. }
            | Command::Plan { diff: true, .. }
            | Command::Task { check: true, .. }
            | Command::Check { .. }
            | Command::Run { .. }
            | Command::Logs(_)
            | Command::Connection(_)
            | Command::Artifacts { list: false, .. }
            | Command::Watch { .. }
            | Command::Events { .. }
            | Command::PlanRollback { .. }
            | Command::Rollback { .. }
            | Command::Retry { .. }
            | Command::Rights(_)
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Approve { .. }
            | Command::Lock { .. }
            | Command::Unlock { .. }
            | Command::Hold { .. }
            | Command::Freeze { .. }
            | Command::FreezeEnd { .. }
            | Command::Settle { .. }
            | Command::Drain { .. }
            | Command::Enable { .. }
            | Command::Mark { .. }
            | Command::Downtime { .. }
            | Command::DowntimeEnd { .. }
            | Command::Ack { .. }
            | Command::Reload
            | Command::HostKeys(_)
            | Command::Enroll { .. }
            | Command::NotifyTest { .. } => AgentUse::Never,
        }
    }
}

fn of_ad_hoc(asked: &AdHoc) -> AgentUse {
    match asked {
        AdHoc::Nodes(_) | AdHoc::Last { .. } => AgentUse::Reads,
        AdHoc::Ping { .. } | AdHoc::Copy(_) | AdHoc::Fetch(_) => AgentUse::Never,
    }
}

fn of_record(asked: &Record) -> AgentUse {
    match asked {
        Record::Audit(_)
        | Record::Verify
        | Record::Receipt { .. }
        | Record::Signers
        | Record::Report(_)
        | Record::ConfigLog
        | Record::ConfigDiff { .. } => AgentUse::Reads,
        Record::Git { .. } => AgentUse::Never,
    }
}
