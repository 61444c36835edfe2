//! What operators can ask, and the one grammar for it: the line sent over SSH and the local command
//! line are parsed by the same types.

mod reading;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use super::ask::{Ask, Command, Format, Params, Tags, Title};
use super::name::{RunId, nearest};
use reading::{joined, read_ask, read_check, read_mark, read_reason, read_task};

/// Longest line that an operator may send, in bytes.
pub const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// A parsed line: the command and how to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub command: Command,
    pub json: bool,
}

/// Why a line was not understood. `text` is for people; a request for help is no error to them.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageError {
    pub text: String,
}

/// The grammar. Its help is what `help` prints.
#[derive(Parser, Debug)]
#[command(
    name = "rollcall",
    about = "Push a release host by host, then call the roll: every host answers for itself.",
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = false,
    subcommand_required = true,
    override_usage = "ssh rollcall COMMAND",
    after_help = AFTER_HELP
)]
struct Grammar {
    /// Answer in JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    words: Words,
}

const AFTER_HELP: &str = "\
Every task is a command:
  TASK SELECTOR [NAME=VALUE...]           ssh rollcall deploy prod version=1.4.2
Selectors: prod  prod.web  web03  web[01-20]  'web:&prod:!web03'  @canary  'we*'  'web[0:4]'
Quote what your own shell would read; ssh joins its words with spaces.
A closed connection detaches: the run goes on. `watch N` follows it again, `cancel N` stops it.
Exit status of runs: 0 done, 2 failed and safe, 3 a person is needed, 4 unreachable hosts only,
5 somebody else is at it, 6 cancelled; of checks: 0 ok, 1 warning, 2 critical, 3 unknown;
64 usage, 77 not allowed, 1 internal error.";

#[derive(Subcommand, Debug)]
enum Words {
    /// Show this, or the help of one command
    Help { command: Option<String> },
    /// Who you are to rollcall, and what you may do
    Whoami,
    /// Hosts and where they stand
    Hosts {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// What a task would do: batches, hosts, steps; nothing is touched
    Plan(TaskWords),
    /// Run the production checks of hosts
    Check {
        selector: String,
        /// A check, or a set of checks; then NAME=VALUE for what the checks need to know
        words: Vec<String>,
        /// How the results are told
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Run a shell command on hosts; equal answers are folded together
    #[command(override_usage = "ssh rollcall run SELECTOR -- COMMAND")]
    Run {
        selector: String,
        /// Everything behind `--` goes to the shell of the hosts as it is
        #[arg(last = true, required = true)]
        script: Vec<String>,
    },
    /// What hosts are: os, addresses, memory, and what programs in files/facts/ say
    Facts {
        #[arg(default_value = "all")]
        selector: String,
        /// Ask them anew, whatever is on record
        #[arg(long)]
        fresh: bool,
    },
    /// The last runs
    Runs {
        /// How many
        #[arg(long, default_value_t = 20)]
        last: usize,
    },
    /// One run: what happened on every host
    Show {
        run: u64,
        /// Only this host, with all its output
        #[arg(long)]
        host: Option<String>,
        /// How the results of its checks are told
        #[arg(long, value_enum, default_value_t, conflicts_with = "host")]
        format: Format,
    },
    /// Follow a run from its beginning
    Watch { run: u64 },
    /// What steps of a run have fetched from hosts, as a tar archive; on a terminal: what there is
    Artifacts {
        run: u64,
        host: Option<String>,
        /// Only tell what there is
        #[arg(long)]
        list: bool,
    },
    /// Stop a run: no further host begins, hosts in their bracket finish it
    Cancel {
        run: u64,
        /// End the steps that are running, too
        #[arg(long)]
        now: bool,
    },
    /// Let no further host begin for now; hosts in their bracket finish it
    Pause { run: u64 },
    /// Go on with a run that is paused
    Resume { run: u64 },
    /// Approve a run that waits for it: for its plan as it is, and no other
    Approve { run: u64 },
    /// Run the same again on the hosts of a run that failed or never began
    Retry { run: u64 },
    /// Hosts that a run took out of a balancer and did not put back
    Debts,
    /// Settle a debt that a run has left: the host is seen in rotation, or it is written off
    #[command(override_usage = "ssh rollcall settle HOST [--write-off] because REASON")]
    Settle {
        host: String,
        /// The host stays where it is, and rollcall no longer owes it
        #[arg(long)]
        write_off: bool,
        /// `because`, and why: for the record
        #[arg(required = true)]
        because: Vec<String>,
    },
    /// Load balancers
    #[command(subcommand)]
    Balancer(BalancerWords),
    /// Which host runs what, since when, by which run
    Releases {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// Take hosts back to the last good release before their present one
    Rollback { selector: String },
    /// Mark a release as bad, so that it is not deployed again, or as good
    #[command(subcommand)]
    Mark(MarkWords),
    /// How people are told of trouble
    #[command(subcommand)]
    Notify(NotifyWords),
    /// How rollcall fares and what it watches, for Prometheus
    Metrics,
    /// How everything that is watched stands: problems, worst first
    Status {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// What was seen of a host's checks, and when it changed
    History { host: String, check: Vec<String> },
    /// What is the matter with a host, since when, and what was done to it in between
    Why { host: String, check: Vec<String> },
    /// Times in which nothing is told of hosts, or of one check of theirs
    #[command(override_usage = "ssh rollcall downtime [SELECTOR [CHECK] for TIME because REASON | end N]")]
    Downtime { words: Vec<String> },
    /// Say that a problem is known: nothing more is told of it until it is over
    #[command(override_usage = "ssh rollcall ack HOST CHECK because REASON")]
    Ack {
        host: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Read the configuration again: all of it, or nothing
    Reload,
    /// Host keys
    #[command(subcommand)]
    Host(HostWords),
    #[command(external_subcommand)]
    Task(Vec<String>),
}

#[derive(Args, Debug)]
struct TaskWords {
    task: String,
    selector: String,
    /// NAME=VALUE
    params: Vec<String>,
    /// Look at the hosts, and say what each step would change there; nothing is touched
    #[arg(long)]
    diff: bool,
    /// Only the steps with one of these tags
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// Not the steps with one of these tags
    #[arg(long, value_delimiter = ',')]
    skip_tags: Vec<String>,
}

#[derive(Subcommand, Debug)]
enum BalancerWords {
    /// What the balancers themselves say of hosts: in rotation or not, and how many serve
    Status { selector: String },
    /// Take hosts out of rotation, and leave them so: `enable` or a deploy puts them back
    #[command(override_usage = "ssh rollcall balancer drain SELECTOR because REASON")]
    Drain {
        selector: String,
        /// `because`, and why: for the record
        #[arg(required = true)]
        because: Vec<String>,
    },
    /// Put hosts back that rollcall has taken out
    Enable { selector: String },
}

#[derive(Subcommand, Debug)]
enum MarkWords {
    /// It is refused from now on
    #[command(override_usage = "ssh rollcall mark bad TASK [NAME=VALUE...] because REASON")]
    Bad {
        task: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// It may be deployed again
    #[command(override_usage = "ssh rollcall mark good TASK [NAME=VALUE...] because REASON")]
    Good {
        task: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
enum NotifyWords {
    /// The channels: what was delivered, what waits, and what was wrong last
    List,
    /// Send a test message now, through one channel or all of them, and say what happened
    Test { name: Option<String> },
}

#[derive(Subcommand, Debug)]
enum HostWords {
    /// Show the host key that a host presents; with its fingerprint: record it
    Accept {
        selector: String,
        /// As shown before: the key is recorded only if the host presents this one
        fingerprint: Option<String>,
        /// Record what unknown hosts present now, without comparing (never a changed key)
        #[arg(long, conflicts_with = "fingerprint")]
        trust: bool,
    },
}

/// The names that no task may have.
pub fn built_in_names() -> Vec<String> {
    let mut names: Vec<String> =
        Grammar::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
    names.extend(["serve", "demo", "check-config", "schema"].map(String::from));
    names
}

/// Parses a line as it arrives over SSH.
pub fn parse_line(line: &[u8]) -> Result<Request, UsageError> {
    if line.len() > LINE_LIMIT_BYTES {
        return Err(usage(format!("a command has at most {LINE_LIMIT_BYTES} bytes")));
    }
    let line = std::str::from_utf8(line).map_err(|_| usage("the command is not UTF-8".into()))?;
    if line.contains('\0') {
        return Err(usage("the command holds a NUL character".into()));
    }
    let (head, script) = split_script(line);
    let mut words = shell_words::split(head).map_err(|_| {
        usage("a quote is not closed; your own shell takes one pair away: ssh rollcall run web -- \"echo 'a b'\"".into())
    })?;
    if let Some(script) = script {
        words.extend(["--".to_string(), script.to_string()]);
    }
    parse_words(&words)
}

/// Cuts the line at the first ` -- ` that stands outside of quotes: what follows is for the hosts'
/// shell and is not read here.
fn split_script(line: &str) -> (&str, Option<&str>) {
    for (at, _) in line.match_indices("--") {
        let (head, tail) = (&line[..at], &line[at + 2..]);
        let stands_alone = head.ends_with(char::is_whitespace) && tail.starts_with(char::is_whitespace);
        if stands_alone && shell_words::split(head).is_ok() {
            return (head, Some(tail.trim()));
        }
    }
    (line, None)
}

/// Parses words that a shell has split already.
pub fn parse_words(words: &[String]) -> Result<Request, UsageError> {
    if words.is_empty() {
        return Ok(Request { command: Command::Help { text: help(None)? }, json: false });
    }
    let matches = Grammar::command()
        .no_binary_name(true)
        .try_get_matches_from(words)
        .map_err(|error| usage(explain(&error)))?;
    let grammar = Grammar::from_arg_matches(&matches).map_err(|error| usage(explain(&error)))?;
    let mut json = grammar.json;
    let command = match grammar.words {
        Words::Help { command } => Command::Help { text: help(command.as_deref())? },
        Words::Whoami => Command::Whoami,
        Words::Hosts { selector } => Command::Hosts { selector },
        Words::Plan(words) => {
            let diff = words.diff;
            Command::Plan { ask: read_ask(words)?, diff }
        }
        Words::Check { selector, words, format } => read_check(selector, &words, format)?,
        Words::Run { selector, script } => Command::Run { selector, script: script.join(" ") },
        Words::Facts { selector, fresh } => Command::Facts { selector, fresh },
        Words::Runs { last } => Command::Runs { last },
        Words::Show { run, host, format } => Command::Show { run: RunId(run), host, format },
        Words::Watch { run } => Command::Watch { run: RunId(run) },
        Words::Artifacts { run, host, list } => Command::Artifacts { run: RunId(run), host, list },
        Words::Cancel { run, now } => Command::Cancel { run: RunId(run), now },
        Words::Pause { run } => Command::Pause { run: RunId(run) },
        Words::Resume { run } => Command::Resume { run: RunId(run) },
        Words::Approve { run } => Command::Approve { run: RunId(run) },
        Words::Retry { run } => Command::Retry { run: RunId(run) },
        Words::Debts => Command::Debts,
        Words::Settle { host, write_off, because } => {
            Command::Settle { host, write_off, reason: read_reason(&because)?.1 }
        }
        Words::Releases { selector } => Command::Releases { selector },
        Words::Rollback { selector } => Command::Rollback { selector },
        Words::Mark(MarkWords::Bad { task, words }) => read_mark(task, &words, true)?,
        Words::Mark(MarkWords::Good { task, words }) => read_mark(task, &words, false)?,
        Words::Status { selector } => Command::Status { selector },
        Words::History { host, check } => Command::History { host, check: joined(&check) },
        Words::Why { host, check } => Command::Why { host, check: joined(&check) },
        Words::Downtime { words } => Command::downtime(&words).map_err(usage)?,
        Words::Ack { host, words } => {
            let (check, reason) = read_reason(&words)?;
            let check = joined(check).ok_or_else(|| usage("say which check; see: status".into()))?;
            Command::Ack { host, check, reason }
        }
        Words::Reload => Command::Reload,
        Words::Host(HostWords::Accept { selector, fingerprint, trust }) => {
            Command::HostAccept { selector, fingerprint, trust }
        }
        Words::Notify(words) => read_notify(words),
        Words::Metrics => Command::Metrics,
        Words::Balancer(words) => read_balancer(words)?,
        Words::Task(words) => {
            let (flags, words): (Vec<String>, Vec<String>) =
                words.into_iter().partition(|word| word == "--json");
            json |= !flags.is_empty();
            read_task(&words)?
        }
    };
    if json && command.format().is_document() {
        return Err(usage(
            "`--json` and `--format` ask for two answers; try: --format json, or --json alone".into(),
        ));
    }
    json |= command.format() == Format::Jsonl;
    Ok(Request { command, json })
}

fn read_balancer(words: BalancerWords) -> Result<Command, UsageError> {
    Ok(match words {
        BalancerWords::Drain { selector, because } => {
            Command::Drain { selector, reason: read_reason(&because)?.1 }
        }
        BalancerWords::Enable { selector } => Command::Enable { selector },
        BalancerWords::Status { selector } => Command::BalancerStatus { selector },
    })
}

fn read_notify(words: NotifyWords) -> Command {
    match words {
        NotifyWords::List => Command::NotifyList,
        NotifyWords::Test { name } => Command::NotifyTest { name },
    }
}

fn meant(task: &str) -> String {
    let names = built_in_names();
    nearest(task, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

fn help(command: Option<&str>) -> Result<String, UsageError> {
    let mut grammar = Grammar::command();
    let Some(name) = command else { return Ok(grammar.render_help().to_string()) };
    match grammar.find_subcommand_mut(name) {
        Some(found) => Ok(found.clone().bin_name(format!("ssh rollcall {name}")).render_help().to_string()),
        None => Err(usage(format!("no command is called `{name}`{}; try: help", meant(name)))),
    }
}

fn explain(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let hint = if error.kind() == ErrorKind::DisplayHelp { "" } else { "\ntry: help" };
    let kept: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.contains("'--help'")).collect();
    kept.join("\n") + hint
}

fn usage(text: String) -> UsageError {
    UsageError { text }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
