//! The words of every command. Their help is what `help` prints.

use clap::{Args, CommandFactory, Parser, Subcommand};

use super::ask::Format;

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
    #[command(subcommand)]
    pub(super) words: Words,
}

const AFTER_HELP: &str = "\
Every task is a command:
  TASK SELECTOR [NAME=VALUE...]           ssh rollcall deploy prod version=1.4.2
  help TASK                               what it takes and does
Selectors: prod  prod.web  web03  web[01-20]  'web:&prod:!web03'  @canary  'we*'  'web[0:4]'
Quote what your own shell would read; ssh joins its words with spaces.
A closed connection detaches: the run goes on. `watch N` follows it again, `cancel N` stops it.
Exit status of runs: 0 done, 2 failed and safe, 3 a person is needed, 4 unreachable hosts only,
5 somebody else is at it, 6 cancelled; of checks: 0 ok, 1 warning, 2 critical, 3 unknown;
64 usage, 69 a rule or the present state forbids it, 77 not allowed, 1 internal error, 130 you left a run
with Ctrl-C and it continues.";

const RUN_HELP: &str = "\
Output of one host is printed as it is, that of several hosts as `web01: line`. Standard input goes to all
hosts (at most 8 MiB; `ssh -n` sends none); from a terminal (`ssh -t`) none is sent.
When the connection closes, the commands continue (unless their input was cut off): `watch N` and `show N` have their output, and
`cancel N --now` stops them. On a terminal (`ssh -t`), Ctrl-C says so, and a second Ctrl-C stops them.
Exit status: 0 ok on all hosts, 2 a command failed, 3 an outcome is unknown, 4 unreachable hosts only,
6 cancelled, 130 you left and the commands continue.";

#[derive(Subcommand, Debug)]
pub(super) enum Words {
    /// Show this, or the help of one command or task
    #[command(override_usage = "ssh rollcall help [COMMAND | TASK]")]
    Help { words: Vec<String> },
    /// The version of rollcall
    Version,
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
    /// Run a shell command on hosts; output appears as it arrives, with its host in front
    #[command(override_usage = "ssh rollcall run SELECTOR [-b] -- COMMAND", after_help = RUN_HELP)]
    Run {
        selector: String,
        /// Print the output at the end, once for all hosts with the same, as `clush -b` does
        #[arg(short = 'b', long)]
        fold: bool,
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
        #[arg(long, default_value_t = 20, value_parser = some_runs)]
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
    /// Take hosts back to the release before their present one, or to a named one
    #[command(override_usage = "ssh rollcall rollback SELECTOR [to=VERSION]")]
    Rollback {
        selector: String,
        /// `to=VERSION`: a good release on record, as `releases` prints it
        to: Vec<String>,
    },
    /// Mark a release as bad, so that it is not deployed again, or as good
    #[command(subcommand)]
    Mark(MarkWords),
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
    /// How people are told of trouble
    #[command(subcommand)]
    Notify(NotifyWords),
    /// How rollcall fares and what it watches, for Prometheus
    Metrics,
    /// The rules of sudo that tasks, checks and balancers need on hosts, for sudoers files
    Sudoers {
        #[arg(default_value = "all")]
        selector: String,
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
pub(super) struct TaskWords {
    pub(super) task: String,
    pub(super) selector: String,
    /// NAME=VALUE
    pub(super) params: Vec<String>,
    /// Look at the hosts, and say what each step would change there; nothing is touched
    #[arg(long)]
    pub(super) diff: bool,
    /// Only the steps with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub(super) tags: Vec<String>,
    /// Not the steps with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub(super) skip_tags: Vec<String>,
    /// Deploy hosts that are on the release already, too
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum BalancerWords {
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
pub(super) enum MarkWords {
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
pub(super) enum NotifyWords {
    /// The channels: what was delivered, what waits, and what was wrong last
    List,
    /// Send a test message now, through one channel or all of them, and say what happened
    Test { name: Option<String> },
}

#[derive(Subcommand, Debug)]
pub(super) enum HostWords {
    /// Show the keys that hosts present; with their proof: record them
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
    /// Remove the recorded keys of hosts, as when a host was made anew
    Forget { selector: String },
}

/// Every command in full, as in `balancer drain`. Tasks are commands, too, and not in it.
pub fn command_paths() -> Vec<String> {
    fn below(command: &clap::Command, before: &str, found: &mut Vec<String>) {
        for one in command.get_subcommands() {
            let path = format!("{before}{}", one.get_name());
            match one.has_subcommands() {
                true => below(one, &format!("{path} "), found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    below(&Grammar::command(), "", &mut found);
    found
}

/// Commands of the program on the daemon's machine, not of its door.
pub const LOCAL: [&str; 5] = ["serve", "demo", "check-config", "schema", "support"];

/// The names that no task may have.
pub fn built_in_names() -> Vec<String> {
    let mut names: Vec<String> =
        Grammar::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
    names.extend(LOCAL.map(String::from));
    names
}

/// Most runs that are listed at once: each is read from the store and held in memory.
const LISTED_RUNS: usize = 10_000;

fn some_runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=LISTED_RUNS).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {LISTED_RUNS}")),
    }
}
