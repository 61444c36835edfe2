//! What `nodes`, `copy` and `fetch` are asked for, and their words.

use clap::{Args, Subcommand, ValueEnum};

use super::run_ask::RunLimits;
use super::run_words::LimitWords;

const COPY_USAGE: &str = "ssh rollcall copy SELECTOR PATH [OPTIONS] <FILE";
const NODES_USAGE: &str = "ssh rollcall nodes fold|expand|count [WORD...]";
const NODES_HELP: &str = "\
Operators, from left to right: `,` unites, `!` takes away, `&` keeps what is in both, `^` what is in one of two.
@prod.web is a group or a host of the inventory, @@canary a tag, @* all hosts. Other names need not be in it.
Without words, they come from standard input. Quote what your own shell would read.";

/// Work of the moment, beside `run`.
#[derive(Clone, Debug, PartialEq)]
pub enum AdHoc {
    /// Whether hosts answer.
    Ping {
        selector: String,
    },
    Copy(CopyAsk),
    Fetch(FetchAsk),
    Nodes(NodesAsk),
    /// The operator's own last run; of a task or command, if one is named.
    Last {
        task: Option<String>,
    },
}

impl AdHoc {
    /// Its words in full, as [`Command::path`](super::ask::Command::path).
    pub fn path(&self) -> &'static str {
        match self {
            AdHoc::Ping { .. } => "ping",
            AdHoc::Copy(_) => "copy",
            AdHoc::Fetch(_) => "fetch",
            AdHoc::Nodes(_) => "nodes",
            AdHoc::Last { .. } => "last",
        }
    }

    /// True if nothing of it has to be on record before.
    pub fn only_reads(&self) -> bool {
        match self {
            AdHoc::Ping { .. } | AdHoc::Nodes(_) | AdHoc::Last { .. } => true,
            AdHoc::Copy(_) | AdHoc::Fetch(_) => false,
        }
    }

    /// True if the client's standard input is read while it runs.
    pub fn reads_input(&self) -> bool {
        matches!(self, AdHoc::Nodes(asked) if asked.reads_input())
    }
}

/// What is done with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NodesVerb {
    /// One set: db1,web[01-03]
    Fold,
    /// All names
    Expand,
    /// Their number
    Count,
}

/// What `nodes` is asked for. Without words, they are on standard input.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct NodesAsk {
    #[arg(value_enum)]
    pub verb: NodesVerb,
    /// Names and sets of names: web[01-20], @prod.web!web03
    pub words: Vec<String>,
}

impl NodesAsk {
    pub fn reads_input(&self) -> bool {
        self.words.is_empty() || self.words == ["-"]
    }
}

/// What `copy` is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyAsk {
    pub selector: String,
    pub to: String,
    /// The SHA-256 of the file; `None` until it has arrived.
    pub sha256: Option<String>,
    /// `None`: that of the file that is there, and [`COPY_MODE`] for a new one.
    pub mode: Option<u32>,
    pub owner: Option<String>,
    pub backup: bool,
    pub limits: RunLimits,
}

/// The mode of a new file, unless another one is given.
pub const COPY_MODE: u32 = 0o644;

impl CopyAsk {
    /// The words that would repeat it, with the name of the file.
    pub fn title(&self) -> String {
        let mode = self.mode.map(|mode| format!(" --mode {mode:o}"));
        let owner = self.owner.as_ref().map(|owner| format!(" --owner {}", shell_words::quote(owner)));
        let backup = self.backup.then(|| " --backup".to_string());
        let options: String = [mode, owner, backup].into_iter().flatten().collect();
        let sum = self.sha256.as_deref().unwrap_or_default();
        let (to, limits) = (shell_words::quote(&self.to), self.limits.words());
        format!("copy {} {to}{options}{limits} <sha256:{}", self.selector, sum.get(..12).unwrap_or(sum))
    }
}

/// What `fetch` is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchAsk {
    pub host: String,
    pub path: String,
    pub limits: RunLimits,
}

impl FetchAsk {
    /// The words that would repeat it.
    pub fn title(&self) -> String {
        format!("fetch {} {}{}", self.host, shell_words::quote(&self.path), self.limits.words())
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum AdHocWords {
    /// Copy a file from standard input to hosts; a host that has it already is left as it is
    #[command(override_usage = COPY_USAGE)]
    Copy(CopyWords),
    /// Print a file of a host, unchanged
    #[command(override_usage = "ssh rollcall fetch HOST PATH [OPTIONS] >FILE")]
    Fetch(FetchWords),
    /// Whether hosts answer: a round trip over the open connection to each, or over a new one
    Ping { selector: String },
    /// Your own last run again: what happened on every host
    Last {
        /// Only of this task or command: deploy, run
        task: Option<String>,
    },
    /// Sets of names, folded, expanded or counted: web[01-20], @prod.web!web03
    #[command(override_usage = NODES_USAGE, after_help = NODES_HELP)]
    Nodes(NodesAsk),
}

#[derive(Args, Debug)]
pub(super) struct CopyWords {
    selector: String,
    /// The path of the file on the hosts
    #[arg(value_parser = read_path)]
    path: String,
    /// The mode of the file, in octal; without it, a file that is there keeps its mode, and a new one gets 644
    #[arg(long, value_parser = read_mode)]
    mode: Option<u32>,
    /// Its owner, as chown reads it: user, or user:group
    #[arg(long)]
    owner: Option<String>,
    /// Keep a file that is replaced beside the new one
    #[arg(long)]
    backup: bool,
    #[command(flatten)]
    limits: LimitWords,
}

#[derive(Args, Debug)]
pub(super) struct FetchWords {
    host: String,
    /// The path of the file on the host
    #[arg(value_parser = read_path)]
    path: String,
    /// End it after this time: 30s, 2h; without it, 10 minutes
    #[arg(long, value_parser = super::run_words::read_timeout)]
    timeout: Option<std::time::Duration>,
    /// As root, by `sudo -n`
    #[arg(long)]
    sudo: bool,
}

pub(super) fn read_ad_hoc(words: AdHocWords) -> Result<AdHoc, String> {
    Ok(match words {
        AdHocWords::Copy(words) => AdHoc::Copy(read_copy(words)?),
        AdHocWords::Fetch(words) => AdHoc::Fetch(read_fetch(words)),
        AdHocWords::Ping { selector } => AdHoc::Ping { selector },
        AdHocWords::Last { task } => AdHoc::Last { task },
        AdHocWords::Nodes(asked) => AdHoc::Nodes(asked),
    })
}

/// No shell of the host reads the path.
fn read_path(text: &str) -> Result<String, String> {
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let rest = rest.trim_start_matches('/');
            Err(format!(
                "`~` means nothing here; a path without `/` in front begins in the home of the login: {rest}"
            ))
        }
        _ => Ok(text.into()),
    }
}

fn read_copy(words: CopyWords) -> Result<CopyAsk, String> {
    let CopyWords { selector, path, mode, owner, backup, limits } = words;
    if path.ends_with('/') {
        return Err(format!("`{path}` is a directory; say the name of the file, too: {path}NAME"));
    }
    Ok(CopyAsk { selector, to: path, sha256: None, mode, owner, backup, limits: limits.read() })
}

fn read_fetch(words: FetchWords) -> FetchAsk {
    let limits = RunLimits { timeout: words.timeout, fanout: None, sudo: words.sudo };
    FetchAsk { host: words.host, path: words.path, limits }
}

fn read_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("a mode is up to four octal digits: 644, 0755".into()),
    }
}
