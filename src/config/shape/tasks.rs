//! `tasks/*.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::kinds;
use super::parts::{Amount, OneOrMany, Time};

/// A task, named after the file: `ssh rollcall NAME SELECTOR NAME=VALUE`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TaskFile {
    /// One line for people.
    description: Option<String>,
    /// A selector within the group that is asked for: `deploy prod` with `hosts = "web"` works on `prod.web`.
    hosts: Option<String>,
    /// Parameters: `NAME=VALUE` on the command line.
    params: Option<BTreeMap<String, Param>>,
    /// Vars of the task: nearer than those of hosts, parameters are nearer still.
    vars: Option<BTreeMap<String, Value>>,
    /// How hosts go through their bracket (drain, steps, checks, enable). Without it the task runs on all its hosts at once and leaves the
    /// balancer alone.
    rollout: Option<Rollout>,
    /// Whether the task puts a release on its hosts: a release can be rolled back to, and a host that has it already stays
    /// unchanged. Default: true with a `release` or a `link` step, false without; then the task runs each time.
    release: Option<bool>,
    /// The steps on each host, in this order.
    steps: Vec<Step>,
    /// Steps that run at the end of a host's steps if a step that notifies them has changed something.
    handlers: Option<Vec<Step>>,
    /// Steps that return a host to the release before. Their templates know `previous`, the former target of the link.
    rollback: Option<Vec<Step>>,
    /// Steps for the whole run, on the machine of rollcall; needs `allow_local` in rollcall.toml.
    hooks: Option<Hooks>,
}

/// Steps that run once for a whole run, on the machine of rollcall. Their environment is that of `local` steps without
/// `ROLLCALL_HOST`; all but `before` have `ROLLCALL_OUTCOME`: `done`, `failed`, `needs a person`, `unreachable`, `cancelled`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hooks {
    /// Before the first host starts; if one fails, no host starts.
    before: Option<Vec<Step>>,
    /// After all hosts ended well. One that fails makes the run fail.
    after: Option<Vec<Step>>,
    /// After a run in which not all hosts ended well.
    on_failure: Option<Vec<Step>>,
    /// Last, in every case.
    finally: Option<Vec<Step>>,
}

/// A parameter.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Param {
    /// Default: `string`.
    #[schemars(rename = "type")]
    kind: Option<ParamKind>,
    /// The allowed values.
    choices: Option<Vec<String>>,
    /// A regular expression that the whole value must match.
    pattern: Option<String>,
    /// Makes the parameter optional.
    default: Option<Value>,
    /// Its value is never stored or shown.
    secret: Option<bool>,
    /// Shown in the help of the task, and when the parameter is missing.
    description: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum ParamKind {
    String,
    Number,
    Bool,
    Choice,
}

/// The policy for batches, budgets, gates and rollback.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Rollout {
    /// Sizes of the batches: numbers, or percents of all hosts, rounded down; the last one repeats. Default: all at
    /// once.
    serial: Option<Serial>,
    /// Hosts that may fail in the whole run; unreachable ones count. Default: 0.
    max_failures: Option<Amount>,
    /// Default: `stop`.
    on_failure: Option<OnFailure>,
    /// How long a host has to stay healthy before the next batch begins. Default: `"0s"`.
    min_healthy_time: Option<Time>,
    /// A host that is not healthy within this time has failed. Default: `"5m"`.
    healthy_deadline: Option<Time>,
    /// If no host becomes healthy for this long, the run stops.
    progress_deadline: Option<Time>,
    /// The time between checks of released hosts while the run continues. Default: `"1m"`; `"0s"` for never.
    watch: Option<Time>,
    /// A pause between batches.
    pause_after: Option<PauseAfter>,
    /// How the run continues after rollcall ended in the middle of it. Default: `finish`.
    on_restart: Option<OnRestart>,
    /// How a gate without a result counts. `unknown`: the run pauses, and the host waits for an operator.
    /// Default: `critical`, which fails the host.
    unknown_is: Option<super::checks::UnknownIs>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Serial {
    One(Amount),
    Many(Vec<Amount>),
}

/// What happens to a host that failed, and to the run.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum OnFailure {
    Stop,
    Rollback,
    RollbackAll,
    Continue,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
enum OnRestart {
    Finish,
    Resume,
    Rollback,
    Stop,
}

/// A pause between batches: for a time, or until an operator approves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PauseAfter {
    /// The number of batches before the pause; 0 pauses before the first.
    batch: u32,
    /// The bake time.
    #[schemars(rename = "for")]
    time: Option<Time>,
    /// `"approved"`.
    until: Option<String>,
    /// Another operator than the one who started the run must approve.
    second_person: Option<bool>,
}

/// One unit of a task on one host: a name, one key that says what it does, and conditions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Step {
    /// Unique in its list; a template.
    name: String,
    #[schemars(flatten)]
    kind: kinds::Kind,
    /// An expression, as Jinja's `if` reads it, over vars, params, `facts` and what earlier steps registered: when it
    /// is false, the step is skipped.
    when: Option<String>,
    /// A command: if it succeeds, the step is skipped.
    unless: Option<String>,
    /// A path: if it exists, the step is skipped.
    creates: Option<String>,
    /// A path: if it does not exist, the step is skipped.
    removes: Option<String>,
    /// The directory on the host.
    #[schemars(rename = "in")]
    dir: Option<String>,
    /// Environment variables.
    env: Option<BTreeMap<String, Value>>,
    /// `true` for root, the name of a user, or `{ user = "root", password = "{{ a_secret }}" }`. Without a password it
    /// is `sudo -n`.
    sudo: Option<Value>,
    /// For one attempt. Default: `"10m"`.
    timeout: Option<Time>,
    /// Attempts after the first one. Default: 0.
    retries: Option<u32>,
    /// Before each further attempt. Default: `"1s"`.
    delay: Option<Time>,
    /// An expression over `result`: an attempt after which it is false has failed. Needs `retries`.
    until: Option<String>,
    /// The name by which later steps know the result: `stdout`, `stderr`, `lines`, `code`, `ok`, `failed`, `changed`,
    /// `skipped`.
    register: Option<String>,
    /// An expression over `result` that says whether the step has changed something.
    changed_when: Option<Condition>,
    /// An expression over `result` that says whether the step has failed, instead of its exit status.
    failed_when: Option<Condition>,
    /// A failure is reported and does not count.
    warn_only: Option<bool>,
    /// The first host that reaches the step does it for all; the others wait for it.
    run_once: Option<bool>,
    /// How many hosts may be at the step at the same time.
    throttle: Option<u32>,
    /// Other hosts on which the step runs instead, as a selector; or `"local"`, the machine of rollcall itself.
    on: Option<String>,
    /// A list, or an expression that is one: the step runs once for each `item`.
    #[schemars(rename = "loop")]
    each: Option<Value>,
    /// For `--tags` and `--skip-tags`; the tag `always` is selected with any other.
    tags: Option<OneOrMany>,
    /// Handlers to run if the step has changed something.
    notify: Option<OneOrMany>,
    /// The step may run twice: if its outcome is lost, rollcall runs it again.
    repeatable: Option<bool>,
    /// `run` only: how long the host waits for a new connection of rollcall before it runs `undo` by itself.
    dead_man: Option<Time>,
    /// What undoes the step: a script, or steps. A rollback runs them for the steps that were started, the last one first.
    undo: Option<Value>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Condition {
    Known(bool),
    Expression(String),
}
