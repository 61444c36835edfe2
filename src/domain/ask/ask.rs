//! Commands of operators as values, and the words that would repeat them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adhoc::AdHoc;
use super::logs::LogsAsk;
pub use super::options::{
    AuditAsk, Connection, Format, GitService, HostKeys, NewLine, Record, RightCommand, Shell, Since, Topic,
};
use super::output::OutputOf;
use super::run_ask::{RunAsk, RunWork};
use super::view::View;
use crate::domain::base::name::RunId;

/// Parameters of a task as typed: `version=1.2.3`.
pub type Params = BTreeMap<String, String>;

/// A task with its arguments: `deploy prod version=1.2.3 --tags config`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    pub task: String,
    pub selector: String,
    pub params: Params,
    pub tags: Tags,
    /// Hosts that are on the release already are deployed all the same.
    pub force: bool,
}

impl Ask {
    /// The whole task.
    pub fn new(task: &str, selector: &str, params: &Params) -> Ask {
        Ask { task: task.into(), selector: selector.into(), params: params.clone(), ..Ask::default() }
    }
}

/// The selected steps of a task, by their tags. Without any, all steps are selected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tags {
    pub only: BTreeSet<String>,
    pub skip: BTreeSet<String>,
}

impl Tags {
    /// True when a step with these tags is selected. The tag `always` is selected with any others, as in Ansible.
    pub fn want(&self, tags: &BTreeSet<String>) -> bool {
        let named = self.only.is_empty() || tags.contains("always") || !tags.is_disjoint(&self.only);
        named && tags.is_disjoint(&self.skip)
    }

    /// True when not all steps are selected.
    pub fn leave_out_some(&self) -> bool {
        !self.are_none()
    }

    /// True when all steps are selected.
    pub fn are_none(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }
}

/// Serializes as the words that would repeat the command; for journals and screens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Title(pub String);

impl Title {
    /// `deploy prod version=1.2.3`
    pub fn of_task(task: &str, selector: &str, params: &Params) -> Title {
        Title::of_words(&format!("{task} {}", shell_words::quote(selector)), params)
    }

    /// Words as they are, and parameters behind them.
    pub fn of_words(words: &str, params: &Params) -> Title {
        let params: String =
            params.iter().map(|(name, value)| format!(" {name}={}", shell_words::quote(value))).collect();
        Title(format!("{words}{params}"))
    }

    /// Adds the selected tags.
    pub fn with_tags(self, tags: &Tags) -> Title {
        let list = |option: &str, names: &BTreeSet<String>| match names.is_empty() {
            true => String::new(),
            false => format!(" {option} {}", names.iter().cloned().collect::<Vec<_>>().join(",")),
        };
        Title(self.0 + &list("--tags", &tags.only) + &list("--skip-tags", &tags.skip))
    }

    /// Adds `--force`.
    pub fn forced(self, force: bool) -> Title {
        Title(self.0 + if force { " --force" } else { "" })
    }
}

/// One command of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Help {
        topic: Topic,
    },
    Version,
    /// Words that begin as a task does, and cannot be read as one. `why` holds if there is such a task.
    Misread {
        word: String,
        why: String,
    },
    Whoami,
    /// About the operator's own way to rollcall.
    Connection(Connection),
    /// Rights for a time.
    Rights(RightCommand),
    /// A page of the boards.
    Board(View),
    /// `unreachable`: those that the last contact did not reach.
    Hosts {
        selector: String,
        unreachable: bool,
    },
    /// `diff`: with a dry run on the hosts.
    Plan {
        ask: Ask,
        diff: bool,
    },
    PlanRollback {
        selector: String,
        to: Option<String>,
    },
    /// `check`: a dry run that changes nothing.
    Task {
        ask: Ask,
        check: bool,
    },
    Check {
        selector: String,
        name: Option<String>,
        params: Params,
        format: Format,
    },
    Run(RunAsk),
    /// Other work of the moment.
    AdHoc(AdHoc),
    /// Without a selector: rollcall itself.
    Doctor {
        selector: Option<String>,
    },
    Facts {
        selector: String,
        fresh: bool,
    },
    /// Lines of logs of hosts.
    Logs(LogsAsk),
    Runs {
        last: usize,
    },
    Show {
        run: RunId,
        host: Option<String>,
        format: Format,
    },
    /// Without a step: which outputs there are.
    Output {
        run: RunId,
        host: String,
        step: Option<OutputOf>,
    },
    Watch {
        run: RunId,
    },
    /// `types`: all without any.
    Events {
        since: Since,
        follow: bool,
        types: Vec<String>,
    },
    /// `list`: names only.
    Artifacts {
        run: RunId,
        host: Option<String>,
        list: bool,
    },
    Cancel {
        run: RunId,
        now: bool,
    },
    Pause {
        run: RunId,
    },
    Resume {
        run: RunId,
    },
    Approve {
        run: RunId,
    },
    Retry {
        run: RunId,
    },
    /// Runs and leases that are in the way of others, and who waits.
    Queue,
    /// The locks and holds.
    Leases,
    Lock {
        selector: String,
        time: Duration,
        reason: String,
        take_over: bool,
    },
    Unlock {
        id: u64,
        reason: Option<String>,
    },
    Hold {
        selector: String,
        reason: Option<String>,
        take_over: bool,
    },
    /// The freezes of operators and of the configuration.
    Freezes,
    Freeze {
        selector: String,
        time: Duration,
        reason: String,
    },
    FreezeEnd {
        id: u64,
        reason: Option<String>,
    },
    Debts,
    Settle {
        host: String,
        write_off: bool,
        reason: String,
    },
    Drain {
        selector: String,
        reason: String,
    },
    Enable {
        selector: String,
    },
    Releases {
        selector: String,
    },
    Rollback {
        selector: String,
        /// A value of the release, or NAME=VALUE; without it, the release directly before the present one.
        to: Option<String>,
    },
    Mark {
        task: String,
        params: Params,
        bad: bool,
        reason: String,
    },
    /// The state of watched checks.
    Status {
        selector: String,
    },
    History {
        host: String,
        check: Option<String>,
    },
    Why {
        host: String,
        check: Option<String>,
    },
    Downtimes,
    Downtime {
        selector: String,
        check: Option<String>,
        time: Duration,
        reason: String,
    },
    DowntimeEnd {
        id: u64,
    },
    Ack {
        host: String,
        check: String,
        reason: String,
    },
    Reload,
    /// About recorded keys of hosts.
    HostKeys(HostKeys),
    Sudoers {
        selector: String,
    },
    BalancerStatus {
        selector: String,
    },
    /// The channels, and the state of their deliveries.
    NotifyList,
    /// Makes a line of `operators` of the key with this code.
    Enroll {
        code: String,
        line: NewLine,
    },
    /// `None`: all of them.
    NotifyTest {
        name: Option<String>,
    },
    Metrics,
    /// What is on record: the audit, receipts, versions of the configuration.
    Record(Record),
}

impl Command {
    /// True if the client's standard input is for the hosts.
    pub fn reads_input(&self) -> bool {
        match self {
            Command::HostKeys(HostKeys::Accept { fingerprint, .. }) => fingerprint.as_deref() == Some("-"),
            Command::Run(asked) => matches!(asked.work, RunWork::Line(_)),
            Command::AdHoc(asked) => asked.reads_input(),
            other => matches!(other, Command::Retry { .. }),
        }
    }

    /// The format of its answer.
    pub fn format(&self) -> Format {
        match self {
            Command::Check { format, .. } | Command::Show { format, .. } => *format,
            Command::Events { .. } => Format::Jsonl,
            Command::Help { .. }
            | Command::Version
            | Command::Misread { .. }
            | Command::Whoami
            | Command::Connection(_)
            | Command::Rights(_)
            | Command::Hosts { .. }
            | Command::Board(_)
            | Command::Plan { .. }
            | Command::PlanRollback { .. }
            | Command::Task { .. }
            | Command::Run(_)
            | Command::AdHoc(_)
            | Command::Facts { .. }
            | Command::Logs(_)
            | Command::Doctor { .. }
            | Command::Runs { .. }
            | Command::Watch { .. }
            | Command::Output { .. }
            | Command::Artifacts { .. }
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Approve { .. }
            | Command::Retry { .. }
            | Command::Debts
            | Command::Settle { .. }
            | Command::Drain { .. }
            | Command::Enable { .. }
            | Command::Releases { .. }
            | Command::Rollback { .. }
            | Command::Mark { .. }
            | Command::Status { .. }
            | Command::History { .. }
            | Command::Why { .. }
            | Command::Downtimes
            | Command::Downtime { .. }
            | Command::DowntimeEnd { .. }
            | Command::Ack { .. }
            | Command::Reload
            | Command::HostKeys(_)
            | Command::Sudoers { .. }
            | Command::Enroll { .. }
            | Command::BalancerStatus { .. }
            | Command::Queue
            | Command::Leases
            | Command::Lock { .. }
            | Command::Unlock { .. }
            | Command::Hold { .. }
            | Command::Freezes
            | Command::Freeze { .. }
            | Command::FreezeEnd { .. }
            | Command::NotifyList
            | Command::NotifyTest { .. }
            | Command::Record(_)
            | Command::Metrics => Format::Text,
        }
    }
}
