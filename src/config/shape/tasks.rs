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
    /// How hosts are carried through their bracket. Without it the task runs on all its hosts at once and leaves the
    /// balancer alone.
    rollout: Option<Rollout>,
    /// Whether the task puts a release on its hosts: a release can be rolled back to, and a host that has it already is left
    /// as it is. Default: true with a `release` or a `link` step, false without; then the task does its work each time.
    release: Option<bool>,
    /// What happens on each host, in this order.
    steps: Vec<Step>,
    /// Steps that are run at the end of a host's steps when a step that notifies them has changed something.
    handlers: Option<Vec<Step>>,
    /// What takes a host back to the release before; knows `previous`, what its link pointed to.
    rollback: Option<Vec<Step>>,
    /// Steps for the whole run, on the machine of rollcall; needs `allow_local` in rollcall.toml.
    hooks: Option<Hooks>,
}

/// Steps that run once for a whole run, on the machine of rollcall. Their environment is that of `local` steps without
/// `ROLLCALL_HOST`; all but `before` have `ROLLCALL_OUTCOME`: `done`, `failed`, `needs a person`, `unreachable`, `cancelled`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hooks {
    /// Before any host begins; when one fails none does.
    before: Option<Vec<Step>>,
    /// When all hosts are where they end, and well. One that fails makes the run fail.
    after: Option<Vec<Step>>,
    /// When they are not.
    on_failure: Option<Vec<Step>>,
    /// Last, whatever happened.
    finally: Option<Vec<Step>>,
}

/// A parameter.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Param {
    /// Default: `string`.
    #[schemars(rename = "type")]
    kind: Option<ParamKind>,
    /// The values that there are.
    choices: Option<Vec<String>>,
    /// A regular expression that the whole value has to match.
    pattern: Option<String>,
    /// Makes the parameter optional.
    default: Option<Value>,
    /// It is never stored and never shown.
    secret: Option<bool>,
    /// For people who leave it out.
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
    /// A host that is not healthy by then has failed. Default: `"5m"`.
    healthy_deadline: Option<Time>,
    /// When no host became healthy for this long, the run stops.
    progress_deadline: Option<Time>,
    /// How often hosts that are done are checked again while the run lasts. Default: `"1m"`; `"0s"` for never.
    watch: Option<Time>,
    /// A pause that the plan itself makes.
    pause_after: Option<PauseAfter>,
    /// What becomes of the run when rollcall ended in the middle of it. Default: `finish`.
    on_restart: Option<OnRestart>,
    /// What a gate that found nothing out counts as. `unknown`: the run pauses, and the host waits for a person.
    /// Default: `critical`, which fails the host.
    unknown_is: Option<super::checks::UnknownIs>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Serial {
    One(Amount),
    Many(Vec<Amount>),
}

/// What becomes of a host that failed, and of the run.
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

/// A pause that the plan itself makes: for a time, or until somebody approves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PauseAfter {
    /// Batches that are through before it; 0 pauses before anything begins.
    batch: u32,
    /// The bake time.
    #[schemars(rename = "for")]
    time: Option<Time>,
    /// `"approved"`.
    until: Option<String>,
    /// Not by who asked for the run.
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
    /// does not hold, the step is skipped.
    when: Option<String>,
    /// A command: when it succeeds, there is nothing to do.
    unless: Option<String>,
    /// A path: when it exists, there is nothing to do.
    creates: Option<String>,
    /// A path: when it does not exist, there is nothing to do.
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
    /// An expression over `result`: an attempt after which it does not hold has failed. Needs `retries`.
    until: Option<String>,
    /// The name by which later steps know the result: `stdout`, `stderr`, `lines`, `code`, `ok`, `failed`, `changed`,
    /// `skipped`.
    register: Option<String>,
    /// An expression over `result` that says whether the step has changed something.
    changed_when: Option<Condition>,
    /// An expression over `result` that says whether the step has failed, instead of its exit status.
    failed_when: Option<Condition>,
    /// A failure is told and does not count.
    warn_only: Option<bool>,
    /// The first host that comes to the step does it for all; the others wait for that.
    run_once: Option<bool>,
    /// How many hosts may be at the step at the same time.
    throttle: Option<u32>,
    /// A selector of other hosts where it is done instead, or `"local"`, the machine of rollcall itself.
    on: Option<String>,
    /// A list, or an expression that is one: the step is there once for each `item`.
    #[schemars(rename = "loop")]
    each: Option<Value>,
    /// For `--tags` and `--skip-tags`; the tag `always` is wanted with any.
    tags: Option<OneOrMany>,
    /// Handlers to run if the step has changed something.
    notify: Option<OneOrMany>,
    /// Running it once more does no harm: when its outcome is lost it is run again.
    repeatable: Option<bool>,
    /// `run` only: how long the host waits for a new connection before it runs `undo` by itself.
    dead_man: Option<Time>,
    /// What takes the step back: a script, or steps. Rollback runs those of steps that were begun, the last one first.
    undo: Option<Value>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Condition {
    Known(bool),
    Expression(String),
}
