//! What a command is asked with, beside names: formats, times, topics.

use std::time::Duration;

use clap::ValueEnum;

use crate::domain::base::name::RunId;

/// The format of the results of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One document.
    Json,
    /// One object a line, as it happens; the same as `--json`.
    Jsonl,
    /// As a plugin of Nagios answers, exit status included.
    Nagios,
    /// As Jenkins and GitLab read results of tests.
    Junit,
    /// The Test Anything Protocol.
    Tap,
    /// Metrics for the textfile collector of Prometheus.
    Prometheus,
}

impl Format {
    /// True if a program reads the whole answer at the end.
    pub fn is_document(self) -> bool {
        !matches!(self, Format::Text | Format::Jsonl)
    }
}

/// What help is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Topic {
    /// The help of all commands; the tasks follow.
    All(String),
    /// The help of one command.
    Command(String),
    /// A name that no command has: perhaps a task.
    Name(String),
}

/// From where events are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Since {
    /// After the one with this number.
    Event(u64),
    /// Those of the last time.
    Time(Duration),
}

/// A line for `operators`, without its key.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLine {
    pub name: String,
    pub role: Option<String>,
    pub groups: Option<String>,
}

impl NewLine {
    /// The whole line.
    pub fn line(&self, key: &str) -> String {
        let option = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{name}=\"{value}\"")).into_iter().collect::<Vec<_>>()
        };
        let options = [option("role", &self.role), option("groups", &self.groups)].concat().join(",");
        format!("{options}{}{key} {}", if options.is_empty() { "" } else { " " }, self.name)
    }
}

/// A command about connections of operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Connection {
    Sessions,
    /// Ends a session.
    Kick {
        session: u64,
        reason: Option<String>,
    },
    /// What the operator's machine needs.
    Setup {
        alias: String,
        host: Option<String>,
        completion: Option<Shell>,
    },
    /// What lets a browser or a program in at a forwarded port.
    Web {
        port: u16,
        token: bool,
    },
    /// The words that may come after these.
    Complete {
        words: Vec<String>,
    },
}

impl Connection {
    /// Its words in full, as [`Command::path`](super::ask::Command::path).
    pub fn path(&self) -> &'static str {
        match self {
            Connection::Sessions => "sessions",
            Connection::Kick { .. } => "kick",
            Connection::Setup { .. } => "setup",
            Connection::Web { .. } => "web",
            Connection::Complete { .. } => "complete",
        }
    }
}

/// A command about rights for a time.
#[derive(Clone, Debug, PartialEq)]
pub enum RightCommand {
    List,
    Ask {
        role: String,
        groups: Vec<String>,
        time: Duration,
        reason: String,
    },
    /// Grants a request.
    Grant {
        id: u64,
    },
    /// Ends a right or a request before its time.
    End {
        id: u64,
        reason: Option<String>,
    },
}

impl RightCommand {
    /// Its words in full, as [`Command::path`](super::ask::Command::path).
    pub fn path(&self) -> &'static str {
        match self {
            RightCommand::List | RightCommand::Ask { .. } => "ask",
            RightCommand::Grant { .. } | RightCommand::End { .. } => "grant",
        }
    }
}

/// What `audit` is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditAsk {
    pub since: Option<Since>,
    /// Only rows before this number, the newest of them.
    pub before: Option<u64>,
    pub operator: Option<String>,
    pub types: Vec<String>,
    pub refused: bool,
}

/// What `report` is about.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportAsk {
    pub selector: String,
    /// Back from now.
    pub time: Duration,
}

/// A command about what is on record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Audit(AuditAsk),
    /// Whether the audit and the journal are unchanged.
    Verify,
    /// `signature`: the signature instead of the record.
    Receipt {
        run: RunId,
        signature: bool,
    },
    /// The key that signs receipts, as `ssh-keygen -Y verify` reads it.
    Signers,
    /// The versions of the configuration that were in force.
    ConfigLog,
    /// Without any: what is in force, against the disk. With one: that version against what is in force.
    ConfigDiff {
        old: Option<String>,
        new: Option<String>,
    },
    /// What happened to hosts in a time.
    Report(ReportAsk),
    /// The configuration as a repository of git.
    Git {
        service: GitService,
        /// As the client names it.
        path: String,
    },
}

/// What a client of git asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitService {
    Push,
    /// `git fetch`, `pull` and `clone`.
    Fetch,
}

impl Record {
    /// Its words in full, as [`Command::path`](super::ask::Command::path).
    pub fn path(&self) -> &'static str {
        match self {
            Record::Audit(_) | Record::Verify => "audit",
            Record::Receipt { .. } | Record::Signers => "receipt",
            Record::Report(_) => "report",
            Record::ConfigLog => "config log",
            Record::ConfigDiff { .. } => "config diff",
            Record::Git { service: GitService::Push, .. } => "git-receive-pack",
            Record::Git { service: GitService::Fetch, .. } => "git-upload-pack",
        }
    }
}

/// A command about recorded keys of hosts.
#[derive(Clone, Debug, PartialEq)]
pub enum HostKeys {
    /// `fingerprint`: of one host, of a set, or `-` for a list on standard input.
    Accept {
        selector: String,
        fingerprint: Option<String>,
        trust: bool,
    },
    Forget {
        selector: String,
    },
}

impl HostKeys {
    /// Its words in full, as [`Command::path`](super::ask::Command::path).
    pub fn path(&self) -> &'static str {
        match self {
            HostKeys::Accept { .. } => "host accept",
            HostKeys::Forget { .. } => "host forget",
        }
    }
}

/// The shells with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Options that are those of all commands.
pub(super) struct CommonOptions {
    pub json: bool,
    pub verbose: bool,
    pub wait: bool,
}

impl CommonOptions {
    /// True if the word is one of them, which is given then.
    pub fn takes(&mut self, word: &str) -> bool {
        match word {
            "--json" => self.json = true,
            "--verbose" => self.verbose = true,
            "--wait" => self.wait = true,
            _ => return false,
        }
        true
    }
}
