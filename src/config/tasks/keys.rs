//! The keys of `tasks/*.toml`; those of each kind of step are with its reader.

use std::time::Duration;

use super::bodies::{CallKeys, StepKinds};
use crate::config::checks::checks::UnknownIsWords;
use crate::config::text::keys::{
    Any, Choice, Flag, In, ListOf, MapOf, NumberOrShare, Or, Scalar, Text, Texts, Time, Whole, Word, table,
    words,
};
use crate::config::text::vars::VarKeys;
use crate::domain::check::check::UnknownIs;
use crate::domain::task::task::{DEFAULT_DELAY, DEFAULT_TIMEOUT, OnFailure, OnRestart};
use crate::domain::value::param::ParamKind;

table! {
    /// A task, named after the file: `ssh rollcall NAME SELECTOR NAME=VALUE`.
    pub TaskKeys "TaskFile" {
        /// One line for people.
        DESCRIPTION "description": Text,
        /// A selector within the group that is asked for: `deploy prod` with `hosts = "web"` works on `prod.web`.
        HOSTS "hosts": Text,
        /// Parameters: `NAME=VALUE` on the command line.
        PARAMS "params": MapOf<In<ParamKeys>>,
        /// Vars of the task: nearer than those of hosts, parameters are nearer still.
        VARS "vars": MapOf<Or<Any, In<VarKeys>>>,
        /// How hosts go through their bracket (drain, steps, checks, enable). Without it the task runs on all its hosts at once and
        /// leaves the balancer alone.
        ROLLOUT "rollout": In<RolloutKeys>,
        /// Whether the task puts a release on its hosts: a release can be rolled back to, and a host that has it already stays
        /// unchanged. Default: true with a `release` or a `link` step, false without; then the task runs each time.
        RELEASE "release": Flag,
        /// The steps on each host, in this order.
        STEPS "steps": StepList; needed,
        /// Steps that run at the end of a host's steps if a step that notifies them has changed something.
        HANDLERS "handlers": StepList,
        /// Steps that return a host to the release before. Their templates know `previous`, the former target of the link.
        ROLLBACK "rollback": StepList,
        /// Steps for the whole run, on the machine of rollcall; needs `allow_local` in rollcall.toml.
        HOOKS "hooks": In<HooksKeys>,
    }

    /// Steps that run once for a whole run, on the machine of rollcall. Their environment is that of `local` steps without
    /// `ROLLCALL_HOST`; all but `before` have `ROLLCALL_OUTCOME`: `done`, `failed`, `needs a person`, `unreachable`, `cancelled`.
    pub HooksKeys "Hooks" {
        /// Before the first host starts; if one fails, no host starts.
        BEFORE "before": StepList,
        /// After all hosts ended well. One that fails makes the run fail.
        AFTER "after": StepList,
        /// After a run in which not all hosts ended well.
        ON_FAILURE "on_failure": StepList,
        /// Last, in every case.
        FINALLY "finally": StepList,
    }

    /// A parameter.
    pub ParamKeys "Param" {
        TYPE "type": Choice<ParamTypeWords> = ParamKind::Text,
        /// The allowed values.
        CHOICES "choices": Texts,
        /// A regular expression that the whole value must match.
        PATTERN "pattern": Text,
        /// Makes the parameter optional.
        DEFAULT "default": Scalar,
        /// Its value is never stored or shown.
        SECRET "secret": Flag = false,
        /// `artifact` only: where rollcall fetches the file if none is given; a template over other parameters.
        URL "url": Text,
        /// The SHA-256 of the file at `url`, in hex; a template over other parameters.
        SHA256 "sha256": Text,
        /// Shown in the help of the task, and when the parameter is missing.
        DESCRIPTION "description": Text,
    }

    /// The policy for batches, budgets, gates and rollback.
    pub RolloutKeys "Rollout" {
        /// Sizes of the batches: numbers, or percents of all hosts, rounded down; the last one repeats. Default: all at
        /// once.
        SERIAL "serial": Or<NumberOrShare, ListOf<NumberOrShare>>,
        /// Hosts that may fail in the whole run; unreachable ones count. All of them with `on_failure = "continue"`.
        MAX_FAILURES "max_failures": NumberOrShare = 0,
        ON_FAILURE "on_failure": Choice<OnFailureWords> = OnFailure::Stop,
        /// How long a host has to stay healthy before the next batch starts.
        MIN_HEALTHY_TIME "min_healthy_time": Time = Duration::ZERO,
        /// A host that is not healthy within this time has failed.
        HEALTHY_DEADLINE "healthy_deadline": Time = Duration::from_secs(5 * 60),
        /// If no host becomes healthy for this long, the run stops.
        PROGRESS_DEADLINE "progress_deadline": Time,
        /// The time between checks of released hosts while the run continues; `"0s"` for never.
        WATCH "watch": Time = Duration::from_secs(60),
        /// A pause between batches.
        PAUSE_AFTER "pause_after": In<PauseAfterKeys>,
        /// How the run continues after rollcall ended in the middle of it.
        ON_RESTART "on_restart": Choice<OnRestartWords> = OnRestart::Finish,
        /// How a gate without a result counts. `unknown`: the run pauses, and the host waits for an operator. `critical` fails the
        /// host.
        UNKNOWN_IS "unknown_is": Choice<UnknownIsWords> = UnknownIs::Critical,
    }

    /// A pause between batches: for a time, or until an operator approves.
    pub PauseAfterKeys "PauseAfter" {
        /// The number of batches before the pause; 0 pauses before the first.
        BATCH "batch": Whole = 1,
        /// The bake time.
        TIME "for": Time,
        /// `"approved"`.
        UNTIL "until": Choice<UntilWords>,
        /// Another operator than the one who started the run must approve.
        SECOND_PERSON "second_person": Flag = false,
    }

    /// One unit of a task on one host: a name, one key that says what it does, and conditions.
    pub StepKeys "Step" [StepKinds, CallKeys] {
        /// Unique in its list; a template.
        NAME "name": Text; needed,
        /// An expression, as Jinja's `if` reads it, over vars, params, `facts` and what earlier steps registered: when it
        /// is false, the step is skipped.
        WHEN "when": Condition,
        /// A command: if it succeeds, the step is skipped.
        UNLESS "unless": Text,
        /// A path: if it exists, the step is skipped.
        CREATES "creates": Text,
        /// A path: if it does not exist, the step is skipped.
        REMOVES "removes": Text,
        /// The directory on the host.
        DIR "in": Text,
        /// Environment variables.
        ENV "env": MapOf<Any>,
        /// `true` for root, the name of a user, or `{ user = "root", password = "{{ a_secret }}" }`. Without a password it
        /// is `sudo -n`.
        SUDO "sudo": Or<Flag, Or<Word, In<PasswordKeys>>>,
        /// For one attempt.
        TIMEOUT "timeout": Time = DEFAULT_TIMEOUT,
        /// Attempts after the first one.
        RETRIES "retries": Whole = 0,
        /// Before each further attempt.
        DELAY "delay": Time = DEFAULT_DELAY,
        /// An expression over `result`: an attempt after which it is false has failed. Needs `retries`.
        UNTIL "until": Condition,
        /// The name by which later steps know the result: `stdout`, `stderr`, `lines`, `code`, `ok`, `failed`, `changed`,
        /// `skipped`.
        REGISTER "register": Text,
        /// An expression over `result` that says whether the step has changed something.
        CHANGED_WHEN "changed_when": Condition,
        /// An expression over `result` that says whether the step has failed, instead of its exit status.
        FAILED_WHEN "failed_when": Condition,
        /// A failure is reported and does not count.
        WARN_ONLY "warn_only": Flag = false,
        /// The first host that reaches the step does it for all; the others wait for it.
        RUN_ONCE "run_once": Flag = false,
        /// How many hosts may be at the step at the same time.
        THROTTLE "throttle": Whole<1>,
        /// Other hosts on which the step runs instead, as a selector; or `"local"`, the machine of rollcall itself.
        ON "on": Text,
        /// A list, or an expression that is one: the step runs once for each `item`.
        LOOP "loop": Or<Text, ListOf<Any>>,
        /// For `--tags` and `--skip-tags`; the tag `always` is selected with any other.
        TAGS "tags": Texts,
        /// Handlers to run if the step has changed something.
        NOTIFY "notify": Texts,
        /// The step may run twice: if its outcome is lost, rollcall runs it again.
        REPEATABLE "repeatable": Flag = false,
        /// `run` only: how long the host waits for a new connection of rollcall before it runs `undo` by itself.
        DEAD_MAN "dead_man": Time,
        /// What undoes the step: a script, or steps. A rollback runs them for the steps that were started, the last one first.
        UNDO "undo": Or<Text, StepList>,
    }

    /// A user, with the password that sudo asks for.
    pub PasswordKeys "Sudo" {
        USER "user": Word = "root",
        PASSWORD "password": Text; needed,
    }
}

/// A list of steps.
pub type StepList = ListOf<In<StepKeys>>;

/// An expression, or what it would result in.
pub type Condition = Or<Flag, Text>;

words! {
    /// The types of parameters. Whether a choice has choices is checked later.
    pub ParamTypeWords: ParamKind {
        "string" = ParamKind::Text,
        "number" = ParamKind::Number,
        "bool" = ParamKind::Bool,
        "choice" = ParamKind::Choice(Vec::new()),
        "artifact" = ParamKind::Artifact,
    }

    /// What happens to a host that failed, and to the run.
    pub OnFailureWords: OnFailure {
        "stop" = OnFailure::Stop,
        "rollback" = OnFailure::Rollback,
        "rollback-all" = OnFailure::RollbackAll,
        "continue" = OnFailure::Continue,
    }

    /// How a run continues after rollcall ended in the middle of it.
    pub OnRestartWords: OnRestart {
        "finish" = OnRestart::Finish,
        "resume" = OnRestart::Resume,
        "rollback" = OnRestart::Rollback,
        "stop" = OnRestart::Stop,
    }

    /// What a pause waits for.
    pub UntilWords: () {
        "approved" = (),
    }
}
