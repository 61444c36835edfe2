//! The commands of operators, and their one grammar: the line sent over SSH and the local command
//! line are parsed by the same types.

use std::sync::{LazyLock, Mutex, PoisonError};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::adhoc::read_ad_hoc;
use super::agent::AgentAsk;
pub use super::ask::{
    Ask, AuditAsk, Command, Connection, Format, GitService, HostKeys, NewLine, Params, Record, RightCommand,
    Shell, Since, Tags, Title, Topic,
};
use super::grammar::{BalancerWords, Grammar, MarkWords, OperatorWords, TaskWords, Words};
use super::logs_words::read_logs;
pub use super::names::{LOCAL, about, built_in_names, command_paths};
use super::options::CommonOptions;
use super::output_words::read_output;
use super::records::read_events;
use super::report_words::read_report;
use super::run_words::{behind_dashes, read_run, split_script};
use super::{help, plain_words, records};
use crate::domain::base::name::{clipped, clipped_lines};

/// Longest line that an operator may send, in bytes.
pub const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// Longest value of a parameter, in bytes: each step of each host may hold it.
pub const PARAM_LIMIT_BYTES: usize = 4 * 1024;

/// Most parameters of one command.
pub const PARAMS_LIMIT: usize = 64;

/// Most words of a line, not counting those for the hosts' shell: a reason in words has fewer.
pub const WORDS_LIMIT: usize = 1_000;

/// The command that `plan` previews besides tasks.
pub const ROLLBACK: &str = "rollback";

/// A parsed line: the command and how to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub command: Command,
    pub json: bool,
    /// A followed run prints each step of each host.
    pub verbose: bool,
    /// If hosts are in use, the command waits for them.
    pub wait: bool,
    /// The reason of a release on frozen hosts.
    pub glass: Option<String>,
    /// An agent sends it. A line never says so: the channel does.
    pub agent: Option<AgentAsk>,
    /// The same client has asked it before, and it is on record.
    pub is_known: bool,
}

/// Why a line was refused. `text` is for people; a request for help is not an error.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageError {
    pub text: String,
}

/// Parses a line from an SSH session.
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
    if let Some(rest) = script {
        let rest =
            behind_dashes(&words, rest).map_err(|_| usage("a quote behind `--` is not closed".into()))?;
        words.extend(["--".to_string()].into_iter().chain(rest));
    }
    parse_words(&words)
}

/// Parses words that a shell has already split.
pub fn parse_words(words: &[String]) -> Result<Request, UsageError> {
    if words.len() > WORDS_LIMIT {
        return Err(usage(format!("a command has at most {WORDS_LIMIT} words")));
    }
    if let Some(command) = about_itself(words)? {
        return Ok(Request {
            command,
            json: false,
            verbose: false,
            wait: false,
            glass: None,
            agent: None,
            is_known: false,
        });
    }
    let (words, glass) = cut_glass(words)?;
    let words = &words[..];
    let matches = matches_of(words).map_err(|error| usage(explain(&error, words)))?;
    let grammar = Grammar::from_arg_matches(&matches).map_err(|error| usage(explain(&error, words)))?;
    let mut given =
        CommonOptions { json: grammar.json, verbose: grammar.verbose, wait: waits(&grammar.words) };
    let command = command_of(grammar.words, &mut given)?;
    let CommonOptions { mut json, verbose, wait } = given;
    if verbose && !command.is_followed() {
        return Err(usage("`--verbose` is for commands that follow a run; try: without it".into()));
    }
    if json && command.format().is_document() {
        return Err(usage(
            "`--json` and `--format` ask for two answers; try: --format json, or --json alone".into(),
        ));
    }
    json |= command.format() == Format::Jsonl;
    let releases = matches!(
        command,
        Command::Task { check: false, .. }
            | Command::Rollback { .. }
            | Command::Retry { .. }
            | Command::Misread { .. }
    );
    if glass.is_some() && !releases {
        return Err(usage(format!("`{BREAK_GLASS}` is for tasks, rollback and retry; see: help freeze")));
    }
    Ok(Request { command, json, verbose, wait, glass, agent: None, is_known: false })
}

/// The words of all commands are built once, since building them takes many times longer than reading a line.
fn matches_of(words: &[String]) -> Result<ArgMatches, clap::Error> {
    static GRAMMAR: LazyLock<Mutex<clap::Command>> =
        LazyLock::new(|| Mutex::new(Grammar::command().no_binary_name(true)));
    GRAMMAR.lock().unwrap_or_else(PoisonError::into_inner).try_get_matches_from_mut(words)
}

/// The option that releases on frozen hosts.
const BREAK_GLASS: &str = "--break-glass";

/// Takes `--break-glass` and the reason at the end out of the words. What follows `--` or `because` is text.
fn cut_glass(words: &[String]) -> Result<(Vec<String>, Option<String>), UsageError> {
    let mut head = words.iter().take_while(|word| *word != "--" && *word != "because");
    let Some(at) = head.position(|word| word == BREAK_GLASS) else { return Ok((words.to_vec(), None)) };
    let because = words
        .iter()
        .position(|word| word == "because")
        .filter(|because| !words[because + 1..].join(" ").trim().is_empty());
    let because =
        because.ok_or_else(|| usage(format!("say why, for the record: ... {BREAK_GLASS} because REASON")))?;
    let left = words[..because].iter().enumerate().filter(|(place, _)| *place != at);
    Ok((left.map(|(_, word)| word.clone()).collect(), Some(words[because + 1..].join(" "))))
}

/// The command of words that the grammar has accepted. The words of a task may have options that are those of all.
fn command_of(words: Words, given: &mut CommonOptions) -> Result<Command, UsageError> {
    Ok(match words {
        Words::Help { words } => read_help(&words)?,
        Words::Version => Command::Version,
        Words::Whoami => Command::Whoami,
        Words::Ask { words } => Command::ask(&words).map_err(usage)?,
        Words::Grant { words } => Command::grant(&words).map_err(usage)?,
        Words::Sessions => Command::Connection(Connection::Sessions),
        Words::Kick { session, because } => read_kick(session.into(), &because)?,
        Words::Setup { alias, host, completion } => {
            Command::Connection(Connection::Setup { alias, host, completion })
        }
        Words::Web { port, token } => Command::Connection(Connection::Web { port, token }),
        Words::Git(words) => records::read_git(words),
        Words::Complete { words } => Command::Connection(Connection::Complete { words }),
        Words::Hosts { selector, unreachable } => Command::Hosts { selector, unreachable },
        Words::Board(words) => Command::Board(words.view().map_err(usage)?),
        Words::Plan(words) => read_plan(words)?,
        Words::Check { selector, words, format } => read_check(selector, &words, format)?,
        Words::Run(words) => Command::Run(read_run(words, given.json).map_err(usage)?),
        Words::AdHoc(words) => Command::AdHoc(read_ad_hoc(words).map_err(usage)?),
        Words::Doctor { selector } => Command::Doctor { selector },
        Words::Facts { selector, fresh } => Command::Facts { selector, fresh },
        Words::Logs(words) => read_logs(words).map_err(usage)?,
        Words::Runs { last } => Command::Runs { last },
        Words::Show { run, host, format } => Command::Show { run: run.into(), host, format },
        Words::Output(words) => read_output(words).map_err(usage)?,
        Words::Watch { run } => Command::Watch { run: run.into() },
        Words::Events { since, follow, types } => read_events(&since, follow, types).map_err(usage)?,
        Words::Audit(words) => records::read_audit(words).map_err(usage)?,
        Words::Receipt(words) => records::read_receipt(&words),
        Words::Report(words) => read_report(words).map_err(usage)?,
        Words::Artifacts { run, host, list } => Command::Artifacts { run: run.into(), host, list },
        Words::Cancel { run, now } => Command::Cancel { run: run.into(), now },
        Words::Pause { run } => Command::Pause { run: run.into() },
        Words::Resume { run } => Command::Resume { run: run.into() },
        Words::Approve { run } => Command::Approve { run: run.into() },
        Words::Retry { run, .. } => Command::Retry { run: run.into() },
        Words::Queue => Command::Queue,
        Words::Lock { words, take_over, .. } => Command::lock(&words, take_over).map_err(usage)?,
        Words::Freeze { words } => Command::freeze(&words).map_err(usage)?,
        Words::Unlock { number, because } => {
            Command::Unlock { id: number.into(), reason: read_optional_reason(&because)? }
        }
        Words::Hold { selector, because, take_over, .. } => {
            Command::Hold { selector, reason: read_optional_reason(&because)?, take_over }
        }
        Words::Debts => Command::Debts,
        Words::Settle { host, write_off, because } => {
            Command::Settle { host, write_off, reason: read_reason(&because)?.1 }
        }
        Words::Balancer(words) => read_balancer(words)?,
        Words::Releases { selector } => Command::Releases { selector },
        Words::Rollback { selector, to, .. } => read_rollback(selector, &to)?,
        Words::Mark(words) => read_mark(words)?,
        Words::Status { selector } => Command::Status { selector },
        Words::History { host, check } => Command::History { host, check: joined(&check) },
        Words::Why { host, check } => Command::Why { host, check: joined(&check) },
        Words::Downtime { words } => Command::downtime(&words).map_err(usage)?,
        Words::Ack { host, words } => read_ack(host, &words)?,
        Words::Sudoers { selector } => Command::Sudoers { selector },
        Words::Reload => Command::Reload,
        Words::Config(words) => records::read_config(words),
        Words::Host(words) => Command::HostKeys(plain_words::read_host_keys(words)),
        Words::Operator(OperatorWords::Enroll { code, words }) => read_enroll(code, &words)?,
        Words::Notify(words) => plain_words::read_notify(words),
        Words::Metrics => Command::Metrics,
        Words::Task(words) => read_task_or_not(words, given),
    })
}

fn read_kick(session: u64, because: &[String]) -> Result<Command, UsageError> {
    Ok(Command::Connection(Connection::Kick { session, reason: read_optional_reason(because)? }))
}

/// True for a command that waits for hosts that are in use.
fn waits(words: &Words) -> bool {
    match words {
        Words::Retry { wait, .. }
        | Words::Rollback { wait, .. }
        | Words::Lock { wait, .. }
        | Words::Hold { wait, .. }
        | Words::Balancer(BalancerWords::Drain { wait, .. } | BalancerWords::Enable { wait, .. }) => *wait,
        _ => false,
    }
}

/// Help and version as they are asked for with options.
fn about_itself(words: &[String]) -> Result<Option<Command>, UsageError> {
    if let Some(before) = help::asked_in(words).or_else(|| words.is_empty().then(Vec::new)) {
        return read_help(&before).map(Some);
    }
    let is_version = matches!(words, [only] if ["--version", "-V"].contains(&only.as_str()));
    Ok(is_version.then_some(Command::Version))
}

fn read_balancer(words: BalancerWords) -> Result<Command, UsageError> {
    Ok(match words {
        BalancerWords::Status { selector } => Command::BalancerStatus { selector },
        BalancerWords::Drain { selector, because, .. } => {
            Command::Drain { selector, reason: read_reason(&because)?.1 }
        }
        BalancerWords::Enable { selector, .. } => Command::Enable { selector },
    })
}

fn read_ack(host: String, words: &[String]) -> Result<Command, UsageError> {
    let (check, reason) = read_reason(words)?;
    let check = joined(check).ok_or_else(|| usage("say which check; see: status".into()))?;
    Ok(Command::Ack { host, check, reason })
}

/// Whether there is such a task is known at the door.
fn read_task_or_not(words: Vec<String>, given: &mut CommonOptions) -> Command {
    let words: Vec<String> = words.into_iter().filter(|word| !given.takes(word)).collect();
    let word = words.first().cloned().unwrap_or_default();
    read_task(&words).unwrap_or_else(|error| Command::Misread { word, why: error.text })
}

fn read_task(words: &[String]) -> Result<Command, UsageError> {
    let [task, rest @ ..] = words else { return Err(usage("no command".into())) };
    let [selector, params @ ..] = rest else {
        return Err(usage(format!("`{task}` needs to know where; try: {task} SELECTOR [NAME=VALUE...]")));
    };
    let mut options = TaskOptions::default();
    let given = options.take_from(params)?;
    if let Some(option) = [selector].into_iter().chain(&given).find(|word| word.starts_with('-')) {
        return Err(usage(format!(
            "`{task}` has no option `{option}`; parameters are written NAME=VALUE, options are --check, --force, --tags, \
             --skip-tags and --wait"
        )));
    }
    let ask = Ask {
        task: task.clone(),
        selector: selector.clone(),
        params: read_params(&given)?,
        tags: options.tags,
        force: options.force,
    };
    Ok(Command::Task { ask, check: options.check })
}

/// Options of a task, anywhere behind the selector.
#[derive(Default)]
struct TaskOptions {
    tags: Tags,
    check: bool,
    force: bool,
}

impl TaskOptions {
    /// Takes the options out of the words; the rest are parameters.
    fn take_from(&mut self, words: &[String]) -> Result<Vec<String>, UsageError> {
        let (mut left, mut words) = (Vec::new(), words.iter());
        while let Some(word) = words.next() {
            let (option, value) = word.split_once('=').map_or((word.as_str(), None), |(o, v)| (o, Some(v)));
            match option {
                "--check" => self.check = true,
                "--force" => self.force = true,
                "--tags" => self.tags.only.extend(read_tags(option, value, &mut words)?),
                "--skip-tags" => self.tags.skip.extend(read_tags(option, value, &mut words)?),
                _ => left.push(word.clone()),
            }
        }
        Ok(left)
    }
}

/// `--tags=a,b` or `--tags a,b`.
fn read_tags<'w>(
    option: &str,
    value: Option<&'w str>,
    words: &mut impl Iterator<Item = &'w String>,
) -> Result<Vec<String>, UsageError> {
    let names = value.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
    if names.is_empty() {
        return Err(usage(format!("`{option}` needs the names of tags; try: {option} config,restart")));
    }
    Ok(names.split(',').filter(|name| !name.is_empty()).map(String::from).collect())
}

fn read_ask(words: TaskWords) -> Result<Ask, UsageError> {
    let set = |names: Vec<String>| names.into_iter().collect();
    let tags = Tags { only: set(words.tags), skip: set(words.skip_tags) };
    let params = read_params(&words.params)?;
    Ok(Ask { task: words.task, selector: words.selector, params, tags, force: words.force })
}

fn read_plan(words: TaskWords) -> Result<Command, UsageError> {
    let diff = words.diff;
    let ask = read_ask(words)?;
    if ask.task != ROLLBACK {
        return Ok(Command::Plan { ask, diff });
    }
    if diff || ask.force || !ask.tags.are_none() {
        let why = "`plan rollback` has no options; a dry run of its steps is not possible; try: plan rollback SELECTOR to=VERSION";
        return Err(usage(why.to_string()));
    }
    Ok(Command::PlanRollback { selector: ask.selector, to: read_target(&ask.params)? })
}

fn read_rollback(selector: String, to: &[String]) -> Result<Command, UsageError> {
    Ok(Command::Rollback { selector, to: read_target(&read_params(to)?)? })
}

/// `to=1.3.0`, the only parameter of a rollback.
fn read_target(params: &Params) -> Result<Option<String>, UsageError> {
    match params.keys().find(|name| *name != "to") {
        Some(name) => {
            Err(usage(format!("`rollback` has no parameter `{name}`; try: rollback SELECTOR to=VERSION")))
        }
        None => Ok(params.get("to").cloned()),
    }
}

/// The words of a name come before the parameters: ssh has removed its quotes.
fn read_check(selector: String, words: &[String], format: Format) -> Result<Command, UsageError> {
    let end = words.iter().position(|word| word.contains('=')).unwrap_or(words.len());
    let (name, params) = words.split_at(end);
    Ok(Command::Check { selector, name: joined(name), params: read_params(params)?, format })
}

/// The name of a check: ssh has removed its quotes.
fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

/// The words before `because`, and the reason behind it.
fn read_reason(words: &[String]) -> Result<(&[String], String), UsageError> {
    let at = words.iter().position(|word| word == "because");
    let reason = at.map(|at| words[at + 1..].join(" ")).unwrap_or_default();
    match at {
        Some(at) if !reason.trim().is_empty() => Ok((&words[..at], reason)),
        _ => Err(usage("say why, for the record: ... because REASON".into())),
    }
}

/// A reason that may be left out.
fn read_optional_reason(words: &[String]) -> Result<Option<String>, UsageError> {
    if words.is_empty() {
        return Ok(None);
    }
    match read_reason(words)? {
        ([], reason) => Ok(Some(reason)),
        (other, _) => Err(usage(format!("`{}` is not understood before `because`", other.join(" ")))),
    }
}

fn read_mark(words: MarkWords) -> Result<Command, UsageError> {
    let (bad, task, words) = match words {
        MarkWords::Bad { task, words } => (true, task, words),
        MarkWords::Good { task, words } => (false, task, words),
    };
    let (params, reason) = read_reason(&words)?;
    Ok(Command::Mark { task, params: read_params(params)?, bad, reason })
}

fn read_params(words: &[String]) -> Result<Params, UsageError> {
    let mut params = Params::new();
    if words.len() > PARAMS_LIMIT {
        return Err(usage(format!("a command takes at most {PARAMS_LIMIT} parameters")));
    }
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            let word = clipped(word);
            return Err(usage(format!("`{word}` is no parameter; write NAME=VALUE, as in version=1.4.2")));
        };
        if value.len() > PARAM_LIMIT_BYTES {
            let name = clipped(name);
            return Err(usage(format!(
                "`{name}` has more than {PARAM_LIMIT_BYTES} bytes; try: a file below files/ for long texts"
            )));
        }
        if params.insert(name.to_string(), value.to_string()).is_some() {
            return Err(usage(format!("`{name}` is given twice")));
        }
    }
    Ok(params)
}

/// `as NAME [role=ROLE] [groups=GROUPS]`.
fn read_enroll(code: String, words: &[String]) -> Result<Command, UsageError> {
    const TRY: &str = "operator enroll CODE as NAME [role=ROLE] [groups=GROUP,...]";
    let wrong = |why: &str| usage(format!("{why}; try: {TRY}"));
    let named = words.strip_prefix(&["as".to_string()]).ok_or_else(|| wrong("say who it is"))?;
    let end = named.iter().position(|word| word.contains('=')).unwrap_or(named.len());
    let (name, options) = named.split_at(end);
    let mut options = read_params(options)?;
    let (role, groups) = (options.remove("role"), options.remove("groups"));
    if let Some(other) = options.keys().next() {
        return Err(wrong(&format!("an operator's line has no `{}` here", clipped(other))));
    }
    let line = NewLine { name: name.join(" "), role, groups };
    let is_bad =
        |text: &String| text.is_empty() || text.contains(['"', '\\']) || text.contains(char::is_control);
    if [Some(&line.name), line.role.as_ref(), line.groups.as_ref()].into_iter().flatten().any(is_bad) {
        return Err(wrong("a name, a role and groups are words without quotes"));
    }
    Ok(Command::Enroll { code, line })
}

fn read_help(words: &[String]) -> Result<Command, UsageError> {
    Ok(Command::Help { topic: help::topic(words).map_err(usage)? })
}

fn explain(error: &clap::Error, words: &[String]) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let command = words.first().filter(|word| built_in_names().contains(word));
    let hint = match (error.kind(), command) {
        (ErrorKind::DisplayHelp, _) => String::new(),
        (_, Some(command)) => format!("\ntry: help {command}"),
        (_, None) => "\ntry: help".into(),
    };
    let kept = text.lines().filter(|line| !line.is_empty() && !line.contains("'--help'"));
    kept.collect::<Vec<_>>().join("\n") + &hint
}

fn usage(text: String) -> UsageError {
    UsageError { text: clipped_lines(&text) }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
