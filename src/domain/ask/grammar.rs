//! The words of every command. Their help is what `help` prints.

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::adhoc::AdHocWords;
use super::ask::{Format, Shell};
use super::config_words::{ConfigWords, GitWords};
use super::logs_words::{LOGS_HELP, LOGS_USAGE, LogsWords};
use super::long_help::{AFTER_HELP, AUDIT_HELP, EVENTS_HELP, FREEZE_HELP, HOLD_HELP, RECEIPT_HELP, RUN_HELP};
use super::number::Number;
use super::output_words::{OUTPUT_HELP, OutputWords};
use super::report_words::{REPORT_HELP, ReportWords};
use super::run_words::{RUN_USAGE, RunWords};
use super::view::{BOARD_USAGE, BoardWords};

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
pub(super) struct Grammar {
    /// Answer in JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// While a run is followed: each step of each host
    #[arg(long, global = true)]
    pub(super) verbose: bool,
    #[command(subcommand)]
    pub(super) words: Words,
}

#[derive(Subcommand, Debug)]
pub(super) enum Words {
    /// Show this, or the help of one command or task
    #[command(override_usage = "ssh rollcall help [COMMAND | TASK]")]
    Help { words: Vec<String> },
    /// The version of rollcall
    Version,
    /// Who you are to rollcall, and what you may do
    Whoami,
    /// Ask for rights for a time, which another person grants. Without words: the requests and rights
    #[command(override_usage = "ssh rollcall ask [ROLE GROUP[,GROUP...] for TIME because REASON]")]
    Ask { words: Vec<String> },
    /// Grant the rights that an operator asked for, or end them before their time
    #[command(override_usage = "ssh rollcall grant NUMBER | end NUMBER [because REASON]")]
    Grant {
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Who is connected to rollcall, and which commands are under way
    Sessions,
    /// End a session; its runs continue. One of another operator takes an admin
    #[command(override_usage = "ssh rollcall kick SESSION [because REASON]")]
    Kick {
        session: Number,
        /// `because`, and why: the operator reads it
        because: Vec<String>,
    },
    /// What your machine needs: lines for ssh_config and known_hosts, and completion for your shell
    Setup {
        /// The name for `ssh NAME`
        #[arg(default_value = "rollcall", value_parser = alias)]
        alias: String,
        /// How your machine reaches rollcall; without it, the address of this connection
        #[arg(long, value_parser = reachable)]
        host: Option<String>,
        /// Only the completion script of this shell
        #[arg(long, value_enum)]
        completion: Option<Shell>,
    },
    /// The API and the board through a port of your machine: the line that forwards it, and a link that lets you in once
    Web {
        /// The port of your machine
        #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// Only a token, for programs: it lets them in for 12 hours
        #[arg(long)]
        token: bool,
    },
    /// The words that may come next, for completion scripts
    #[command(hide = true)]
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The fleet and its runs, as the boards in a terminal and a browser show them
    #[command(override_usage = BOARD_USAGE)]
    Board(BoardWords),
    /// Hosts: address, groups, release, rotation
    Hosts {
        #[arg(default_value = "all")]
        selector: String,
        /// Those that the last contact did not reach, since when and why; and those that were never tried
        #[arg(long)]
        unreachable: bool,
    },
    /// What a task would do: batches, hosts, steps; changes nothing
    Plan(TaskWords),
    /// Run the production checks of hosts
    Check {
        selector: String,
        /// A check, or a set of checks; then NAME=VALUE for what the checks need to know
        words: Vec<String>,
        /// The format of the results
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Run a shell command or a script on hosts; output appears as it arrives, with its host in front
    #[command(override_usage = RUN_USAGE, after_help = RUN_HELP)]
    Run(RunWords),
    #[command(flatten)]
    AdHoc(AdHocWords),
    /// A new connection to hosts, phase by phase, and what a release needs there; without a selector, rollcall itself
    Doctor { selector: Option<String> },
    /// Facts about hosts: os, addresses, memory, and the output of programs in files/facts/
    Facts {
        #[arg(default_value = "all")]
        selector: String,
        /// Gather them again, even if recent ones are on record
        #[arg(long)]
        fresh: bool,
    },
    /// Lines of the journal or of a file on hosts, and new ones as they come
    #[command(override_usage = LOGS_USAGE, after_help = LOGS_HELP)]
    Logs(LogsWords),
    /// The last runs
    Runs {
        /// How many runs
        #[arg(long, default_value_t = 20, value_parser = some_runs)]
        last: usize,
    },
    /// One run: what happened on every host
    Show {
        run: Number,
        /// Only this host, with all its output
        #[arg(long)]
        host: Option<String>,
        /// The format of the results of its checks
        #[arg(long, value_enum, default_value_t, conflicts_with = "host")]
        format: Format,
    },
    /// The whole output of the commands of a run on a host; without a step: which there are
    #[command(override_usage = "ssh rollcall output RUN HOST [STEP] [OPTIONS]", after_help = OUTPUT_HELP)]
    Output(OutputWords),
    /// Follow a run from its beginning
    Watch { run: Number },
    /// The events of all runs for programs: one JSON object a line, in an order that lasts
    #[command(after_help = EVENTS_HELP)]
    Events {
        /// Only those after this number, or of the last time: 41, 2h, 7d
        #[arg(long, default_value = "0")]
        since: String,
        /// Do not end: further events are printed as they happen
        #[arg(long, short = 'f')]
        follow: bool,
        /// Only these types: run-started,run-ended
        #[arg(long = "type", value_delimiter = ',')]
        types: Vec<String>,
    },
    /// Who logged in and asked for what, what was refused by which rule, and how it ended
    #[command(override_usage = "ssh rollcall audit [OPTIONS] | audit verify", after_help = AUDIT_HELP)]
    Audit(AuditWords),
    /// A signed record of a finished run, which plain `ssh-keygen -Y verify` checks
    #[command(
        override_usage = "ssh rollcall receipt RUN [--signature] | receipt --allowed-signers",
        after_help = RECEIPT_HELP
    )]
    Receipt(ReceiptWords),
    /// What happened to hosts in a time: deploys, failures, recovery, rotation, and how often checks were ok
    #[command(after_help = REPORT_HELP)]
    Report(ReportWords),
    /// The files that steps of a run downloaded from hosts, as a tar archive; on a terminal: a list
    Artifacts {
        run: Number,
        host: Option<String>,
        /// Only list them
        #[arg(long)]
        list: bool,
    },
    /// Stop a run: no further host starts, hosts in their bracket finish it
    Cancel {
        run: Number,
        /// Also end the steps that are running
        #[arg(long)]
        now: bool,
    },
    /// Start no further host for now; hosts in their bracket finish it
    Pause { run: Number },
    /// Continue a paused run
    Resume { run: Number },
    /// Approve a run that waits for it; the approval holds for its present plan only
    Approve { run: Number },
    /// Run the same again on the hosts of a run that failed or did not start
    Retry {
        run: Number,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
    },
    /// What changes hosts now, who keeps hosts, and who waits for them, in their order
    Queue,
    /// Keep hosts for yourself for a time: runs of others on them are refused. Without words: the list
    #[command(override_usage = "ssh rollcall lock [SELECTOR for TIME because REASON] [--wait] [--take-over]")]
    Lock {
        words: Vec<String>,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
        /// End the locks and holds of others that are in the way, on record
        #[arg(long, conflicts_with = "wait")]
        take_over: bool,
    },
    /// Refuse releases on hosts for a time. Without words: the list
    #[command(
        override_usage = "ssh rollcall freeze [SELECTOR for TIME because REASON | end N [because REASON]]",
        after_help = FREEZE_HELP
    )]
    Freeze { words: Vec<String> },
    /// End a lock or a hold; one of another operator needs a reason
    #[command(override_usage = "ssh rollcall unlock NUMBER [because REASON]")]
    Unlock {
        number: Number,
        /// `because`, and why: for the record
        because: Vec<String>,
    },
    /// Keep hosts for yourself as long as this connection lasts
    #[command(override_usage = "ssh rollcall hold SELECTOR [because REASON] [--wait] [--take-over]", after_help = HOLD_HELP)]
    Hold {
        selector: String,
        /// `because`, and why: for the record
        because: Vec<String>,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
        /// End the locks and holds of others that are in the way, on record
        #[arg(long, conflicts_with = "wait")]
        take_over: bool,
    },
    /// Hosts that a run took out of a balancer and did not put back
    Debts,
    /// Settle a debt that a run has left: the balancer shows the host in rotation, or the debt is written off
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
    /// Take hosts back to the release before their present one, or to a named one
    #[command(override_usage = "ssh rollcall rollback SELECTOR [to=VERSION]")]
    Rollback {
        selector: String,
        /// `to=VERSION`: a good release on record, as `releases` prints it
        to: Vec<String>,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
    },
    /// Mark a release as bad, so that it is not deployed again, or as good
    #[command(subcommand)]
    Mark(MarkWords),
    /// The state of all watched checks: problems, worst first
    Status {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// The results of a host's checks, and when they changed
    History { host: String, check: Vec<String> },
    /// What is wrong with a host, since when, and what runs did to it in between
    Why { host: String, check: Vec<String> },
    /// Times without alerts for hosts, or for one of their checks
    #[command(override_usage = "ssh rollcall downtime [SELECTOR [CHECK] for TIME because REASON | end N]")]
    Downtime { words: Vec<String> },
    /// Acknowledge a problem: no further alert until it is over
    #[command(override_usage = "ssh rollcall ack HOST CHECK because REASON")]
    Ack {
        host: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Channels of notification
    #[command(subcommand)]
    Notify(NotifyWords),
    /// Metrics of rollcall and of watched checks, for Prometheus
    Metrics,
    /// The rules of sudo that tasks, checks and balancers need on hosts, for sudoers files
    Sudoers {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// Read the configuration again: all of it, or nothing
    Reload,
    /// Versions of the configuration
    #[command(subcommand)]
    Config(ConfigWords),
    #[command(flatten)]
    Git(GitWords),
    /// Host keys
    #[command(subcommand)]
    Host(HostWords),
    /// Who may connect
    #[command(subcommand)]
    Operator(OperatorWords),
    #[command(external_subcommand)]
    Task(Vec<String>),
}

#[derive(Args, Debug)]
pub(super) struct AuditWords {
    /// `verify`: whether the audit and the journal are unchanged
    pub(super) what: Option<AuditWord>,
    /// Only rows after this number, or of the last time, oldest first: 41, 2h, 7d
    #[arg(long, conflicts_with = "what")]
    pub(super) since: Option<String>,
    /// Only rows before this number, the newest of them
    #[arg(long, conflicts_with_all = ["what", "since"])]
    pub(super) before: Option<Number>,
    /// Only rows of this operator
    #[arg(long, conflicts_with = "what")]
    pub(super) operator: Option<String>,
    /// Only these types: login,command
    #[arg(long = "type", value_delimiter = ',', conflicts_with = "what")]
    pub(super) types: Vec<String>,
    /// Only what was refused or not done
    #[arg(long, conflicts_with = "what")]
    pub(super) refused: bool,
}

#[derive(Args, Debug)]
pub(super) struct ReceiptWords {
    #[arg(required_unless_present = "allowed_signers")]
    pub(super) run: Option<Number>,
    /// Print the signature of the record
    #[arg(long)]
    pub(super) signature: bool,
    /// Print the key that signs, as `ssh-keygen -Y verify -f` reads it
    #[arg(long, conflicts_with_all = ["run", "signature"])]
    pub(super) allowed_signers: bool,
}

#[derive(Args, Debug)]
pub(super) struct TaskWords {
    pub(super) task: String,
    pub(super) selector: String,
    /// NAME=VALUE
    pub(super) params: Vec<String>,
    /// A dry run on the hosts: what each step would change; changes nothing
    #[arg(long)]
    pub(super) diff: bool,
    /// Only the steps with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub(super) tags: Vec<String>,
    /// All steps but those with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub(super) skip_tags: Vec<String>,
    /// Also deploy hosts that are already on the release
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum AuditWord {
    Verify,
}

#[derive(Subcommand, Debug)]
pub(super) enum BalancerWords {
    /// What the balancers report: hosts in rotation or not, and how many serve
    Status { selector: String },
    /// Take hosts out of rotation until `enable` or a deploy puts them back
    #[command(override_usage = "ssh rollcall balancer drain SELECTOR because REASON")]
    Drain {
        selector: String,
        /// `because`, and why: for the record
        #[arg(required = true)]
        because: Vec<String>,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
    },
    /// Put hosts back that rollcall has taken out; runs no check: see `check` first
    Enable {
        selector: String,
        /// If the hosts are in use, wait for them
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum MarkWords {
    /// Deploys of it are refused from now on
    #[command(override_usage = "ssh rollcall mark bad TASK [NAME=VALUE...] because REASON")]
    Bad {
        task: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Deploys of it are allowed again
    #[command(override_usage = "ssh rollcall mark good TASK [NAME=VALUE...] because REASON")]
    Good {
        task: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum NotifyWords {
    /// The channels: messages delivered and waiting, and the last error
    List,
    /// Send a test message now, through one channel or all of them, and print the result
    Test { name: Option<String> },
}

#[derive(Subcommand, Debug)]
pub(super) enum OperatorWords {
    /// Add the key that printed this code to `operators`
    #[command(override_usage = "ssh rollcall operator enroll CODE as NAME [role=ROLE] [groups=GROUP,...]")]
    Enroll {
        code: String,
        /// `as`, the operator's name, and the options of the line; without a role: viewer
        #[arg(required = true)]
        words: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum HostWords {
    /// Show the keys that hosts present; with a proof, record them
    #[command(override_usage = "ssh rollcall host accept SELECTOR [FINGERPRINT | SET | - | --trust]")]
    Accept {
        selector: String,
        /// The fingerprint of one host or the SET of several, as shown before; or `-`: record the keys that a list on
        /// standard input has, too (known_hosts, ssh-keyscan, ssh-keygen -l)
        fingerprint: Option<String>,
        /// Record what unknown hosts present now, without comparing (never a changed key)
        #[arg(long, conflicts_with = "fingerprint")]
        trust: bool,
    },
    /// Remove the recorded keys of hosts, for instance of a host that was installed again
    Forget { selector: String },
}

/// Most runs that are listed at once: each is read from the store and held in memory.
const LISTED_RUNS: usize = 10_000;

/// A name that ssh_config and every shell read as one word.
fn alias(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_plain)
    {
        true => Ok(text.into()),
        false => Err("a name has letters, digits, `.`, `_` and `-`, and begins with a letter".into()),
    }
}

/// A name or an address.
fn reachable(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    match (1..=253).contains(&text.len()) && !text.starts_with('-') && text.chars().all(is_plain) {
        true => Ok(text.into()),
        false => Err("the name or the address of the machine of rollcall".into()),
    }
}

fn some_runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=LISTED_RUNS).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {LISTED_RUNS}")),
    }
}
