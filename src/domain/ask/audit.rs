//! The audit: who logged in, what they asked for, who decided it, and how it ended. Rows are never changed, and removed only by age.

use core::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::{Granted, Operator};
use super::ask::{Command, Connection, GitService, Record, RightCommand};
use crate::domain::base::configuration::ConfigCommit;
use crate::domain::base::name::RunId;
use crate::domain::base::output::clipped;

/// Most characters of a command line or a reason in a row, so that long lines do not fill the disk.
const TEXT_CHARS_LIMIT: usize = 4_096;

/// The same of a line that changes nothing: everyone can send as many as they like.
const HARMLESS_CHARS_LIMIT: usize = 512;

/// The types of rows, as `audit --type` takes them.
pub const TYPES: [&str; 10] = [
    "login",
    "login-refused",
    "logins-left-out",
    "command",
    "command-refused",
    "command-ended",
    "config-changed",
    "host-key",
    "enrolled",
    "rows-removed",
];

/// One fact, before it has its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditFact {
    pub at: Timestamp,
    /// The operator; empty before a login.
    pub name: String,
    /// The fingerprint of the key, or what identifies the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The digest of the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Equal facts within a second are one row; this is their number.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
    #[serde(flatten)]
    pub kind: AuditKind,
}

fn once() -> u64 {
    1
}

fn is_once(times: &u64) -> bool {
    *times == 1
}

/// The kinds of facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum AuditKind {
    Login {
        /// The user name that the client sent; rollcall identifies people by their keys.
        user: String,
    },
    LoginRefused {
        user: String,
        /// The keys that were offered, each with the reason.
        keys: Vec<String>,
    },
    /// Refused logins beyond the limit for an hour.
    LoginsLeftOut { count: u64 },
    /// A granted command. One that only reads has its end in the same row.
    Command {
        line: String,
        rule: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<CommandEnd>,
    },
    CommandRefused {
        line: String,
        /// The rule that refused it; none for a line that is no command, or a login that is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        why: String,
    },
    /// The end of the command in row `command`.
    CommandEnded { command: u64, end: CommandEnd },
    /// Another version of the configuration was put in force.
    ConfigChanged {
        how: ConfigCause,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old: Option<String>,
        new: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<ConfigCommit>,
        /// `+` new files, `-` gone, `~` changed.
        files: Vec<String>,
    },
    HostKey {
        host: String,
        change: KeyChange,
        /// The accepted key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
    },
    Enrolled {
        operator: String,
        fingerprint: String,
        /// The line of `operators`, without its key.
        line: String,
    },
    /// The oldest rows of a chain were removed by `[retention]`.
    RowsRemoved {
        /// `audit` or `journal`.
        chain: String,
        /// The first and the last number that were removed.
        first: u64,
        last: u64,
        /// The hash of the last one: the chain begins behind it.
        hash: String,
    },
}

/// What put a version of the configuration in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigCause {
    Start,
    Reload,
    Enroll,
    Push,
}

impl ConfigCause {
    pub fn word(self) -> &'static str {
        match self {
            ConfigCause::Start => "start",
            ConfigCause::Reload => "reload",
            ConfigCause::Enroll => "enroll",
            ConfigCause::Push => "push",
        }
    }
}

/// What happened to the recorded keys of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyChange {
    Accepted,
    Forgotten,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandEnd {
    pub status: u8,
    pub millis: u64,
    /// The run that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The sender of a command, and the line without secrets.
#[derive(Clone, Debug)]
pub struct Caller {
    pub operator: Operator,
    /// `None` for a local user.
    pub from: Option<IpAddr>,
    /// The digest of the configuration in force.
    pub config: String,
    pub line: String,
}

impl Caller {
    /// A fact about this caller.
    pub fn fact(&self, at: Timestamp, kind: AuditKind) -> AuditFact {
        let Operator { name, key, .. } = &self.operator;
        let (name, key) = (name.clone(), Some(key.clone()));
        let config = Some(self.config.clone()).filter(|digest| !digest.is_empty());
        AuditFact { at, name, key, from: self.from, config, times: 1, kind }
    }

    /// The granted command, with its end if it has one already.
    pub fn granted(&self, granted: &Granted, end: Option<CommandEnd>) -> AuditKind {
        let limit = if granted.command().only_reads() { HARMLESS_CHARS_LIMIT } else { TEXT_CHARS_LIMIT };
        AuditKind::Command { line: clipped(&self.line, limit), rule: granted.rule().to_string(), end }
    }

    /// The refused command.
    pub fn refused(&self, rule: Option<String>, why: &str) -> AuditKind {
        let clip = |text: &str| clipped(text, HARMLESS_CHARS_LIMIT);
        AuditKind::CommandRefused { line: clip(&self.line), rule, why: clip(why) }
    }
}

impl AuditKind {
    /// True for an equal command or login, whose durations may differ.
    fn is_same(&self, other: &AuditKind) -> bool {
        match (self, other) {
            (
                AuditKind::Command { line, rule, end },
                AuditKind::Command { line: other_line, rule: other_rule, end: other_end },
            ) => {
                let without_millis = |end: &CommandEnd| CommandEnd { millis: 0, ..end.clone() };
                line == other_line
                    && rule == other_rule
                    && end.as_ref().map(without_millis) == other_end.as_ref().map(without_millis)
            }
            (AuditKind::CommandRefused { .. } | AuditKind::Login { .. }, _) => self == other,
            _ => false,
        }
    }
}

/// A text of bounded length.
pub fn short(text: &str) -> String {
    clipped(text, TEXT_CHARS_LIMIT)
}

impl AuditFact {
    /// The command line in it.
    pub fn typed(&self) -> &str {
        match &self.kind {
            AuditKind::Command { line, .. } | AuditKind::CommandRefused { line, .. } => line,
            AuditKind::Login { .. }
            | AuditKind::LoginRefused { .. }
            | AuditKind::LoginsLeftOut { .. }
            | AuditKind::CommandEnded { .. }
            | AuditKind::ConfigChanged { .. }
            | AuditKind::HostKey { .. }
            | AuditKind::Enrolled { .. }
            | AuditKind::RowsRemoved { .. } => "",
        }
    }

    /// Counts an equal fact in this one; false if it is another fact. Durations may differ: the longest stays.
    pub fn folds(&mut self, other: &AuditFact) -> bool {
        let AuditFact { at: _, name, key, from, config, times: _, kind } = other;
        let same = self.kind.is_same(kind)
            && (&self.name, &self.key, &self.from, &self.config) == (name, key, from, config);
        if same {
            self.times += other.times;
            if let (AuditKind::Command { end: Some(end), .. }, AuditKind::Command { end: Some(longer), .. }) =
                (&mut self.kind, &other.kind)
            {
                end.millis = end.millis.max(longer.millis);
            }
        }
        same
    }
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditRow {
    pub seq: u64,
    #[serde(flatten)]
    pub fact: AuditFact,
    /// SHA-256 of this row and the hash of the row before.
    pub hash: String,
}

/// A page of the audit.
#[derive(Debug, Default, PartialEq)]
pub struct AuditPage {
    /// Oldest first.
    pub rows: Vec<AuditRow>,
    /// Rows of the same kind are left out at the open end.
    pub more: bool,
}

/// What a chain of rows was found to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainSummary {
    /// `audit` or `journal`.
    pub chain: &'static str,
    /// The number of the last row that `[retention]` has removed; 0 if there is none.
    pub removed: u64,
    pub rows: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    /// The hash of the last row.
    pub head: String,
}

impl Command {
    /// True for a command that changes nothing but the record of itself. All others are on record before they act.
    pub fn only_reads(&self) -> bool {
        match self {
            Command::Help { .. }
            | Command::Version
            | Command::Misread { .. }
            | Command::Whoami
            | Command::Hosts { .. }
            | Command::Board(_)
            | Command::Rights(RightCommand::List)
            | Command::Doctor { .. }
            | Command::Plan { diff: false, .. }
            | Command::PlanRollback { .. }
            | Command::Runs { .. }
            | Command::Show { .. }
            | Command::Output { .. }
            | Command::Watch { .. }
            | Command::Events { .. }
            | Command::Artifacts { .. }
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
            | Command::BalancerStatus { .. }
            | Command::NotifyList
            | Command::Metrics => true,
            Command::Record(record) => !matches!(record, Record::Git { service: GitService::Push, .. }),
            Command::Connection(connection) => !matches!(connection, Connection::Kick { .. }),
            Command::AdHoc(asked) => asked.only_reads(),
            Command::Rights(
                RightCommand::Ask { .. } | RightCommand::Grant { .. } | RightCommand::End { .. },
            )
            | Command::Plan { diff: true, .. }
            | Command::Task { .. }
            | Command::Check { .. }
            | Command::Run { .. }
            | Command::Facts { .. }
            // It changes nothing, but what it reads may be secret: it is on record before, as what acts.
            | Command::Logs(_)
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
            | Command::Mark { .. }
            | Command::Downtime { .. }
            | Command::DowntimeEnd { .. }
            | Command::Ack { .. }
            | Command::Reload
            | Command::HostKeys(_)
            | Command::Enroll { .. }
            | Command::NotifyTest { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::access::Role;

    fn caller(line: &str) -> Caller {
        let operator = Operator::new("ann", "SHA256:k", Role::Viewer);
        Caller { operator, from: None, config: "c0ffee".into(), line: line.into() }
    }

    fn read(line: &str, millis: u64, status: u8) -> AuditFact {
        let end = Some(CommandEnd { status, millis, ..CommandEnd::default() });
        let kind = AuditKind::Command { line: line.into(), rule: "role viewer".into(), end };
        caller(line).fact(Timestamp::UNIX_EPOCH, kind)
    }

    #[test]
    fn equal_reads_are_one_row_and_others_stay_apart() {
        let mut first = read("runs", 5, 0);
        assert!(first.folds(&read("runs", 9, 0)) && first.folds(&read("runs", 1, 0)));
        assert_eq!((first.times, &first.kind), (3, &read("runs", 9, 0).kind));
        assert!(!first.folds(&read("runs", 5, 1)) && !first.folds(&read("debts", 5, 0)));
        let end = CommandEnd::default();
        let mut ended = caller("x").fact(Timestamp::UNIX_EPOCH, AuditKind::CommandEnded { command: 1, end });
        assert!(!ended.folds(&ended.clone()), "the end of an act is a row of its own");
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let refused = caller("reload").fact(Timestamp::UNIX_EPOCH, caller("reload").refused(None, "why"));
        for fact in [read("runs", 5, 0), refused] {
            let text = serde_json::to_string(&fact).unwrap();
            assert_eq!(serde_json::from_str::<AuditFact>(&text).unwrap(), fact);
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let AuditKind::CommandRefused { line, .. } = caller(&"x".repeat(64 * 1024)).refused(None, "y") else {
            unreachable!()
        };
        assert_eq!(line.chars().count(), HARMLESS_CHARS_LIMIT + 1);
    }
}
