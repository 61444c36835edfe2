//! `tasks/NAME.toml`: one task.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::DeValue;

use super::keys::{PauseAfterKeys, RolloutKeys, TaskKeys};
use super::steps::{self, ReferencedNames, Steps};
use super::{hooks, params};
use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::{did_you_mean, known_names};
use crate::config::text::keys::{Choice, Key};
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates::Known;
use crate::config::text::vars;
use crate::domain::ask::command::built_in_names;
use crate::domain::check::id::{CheckId, Misnamed, one_named};
use crate::domain::plan::expand::FACTS;
use crate::domain::task::task::{
    BatchSize, MaxFailures, OnFailure, OnRestart, PauseAfter, PauseUntil, Rollout, StepBody, Task,
};

/// A number of hosts as written: `2` or `"25%"`.
enum Amount {
    Hosts(u32),
    Percent(f64),
}

/// One task, with names in it that other files define.
pub struct TaskFile<'t> {
    pub doc: Doc<'t>,
    pub task: Task,
    /// Its selector, with the place.
    pub hosts: Option<Spanned<String>>,
    pub named: ReferencedNames,
}

/// Reads one task. `host_vars` are the names that hosts define.
pub fn read<'t>(doc: Doc<'t>, name: &str, host_vars: &Known) -> TaskFile<'t> {
    if built_in_names().iter().any(|built_in| built_in == name) {
        let message = format!("`{name}` is a command of rollcall, so no task can have that name");
        doc.report(None, message, format!("rename the file, for instance to {name}-app.toml"));
    }
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::of::<TaskKeys>(doc, "a task", (&table, None));
    let mut params = params::read(&mut file);
    let values = file.get(TaskKeys::VARS).map(|table| vars::read(doc, table.rest())).unwrap_or_default();
    let mut known = host_vars.clone();
    known.names.extend(["host".to_string(), FACTS.to_string()]);
    known.names.extend(values.names().chain(params.keys()).cloned());
    // Vars and parameters of the task replace secrets of hosts with the same name.
    known.secrets.retain(|name| !values.plain.contains_key(name) && !params.contains_key(name));
    known.secrets.extend(values.secrets.keys().filter(|name| !params.contains_key(*name)).cloned());
    known.secrets.extend(params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name.clone()));
    let mut of_hooks = known.clone();
    of_hooks.names.retain(|name| values.names().chain(params.keys()).any(|own| own == name));
    let (hooks, in_hooks) = hooks::read(&mut file, &of_hooks);
    let mut steps = steps::read(&mut file, TaskKeys::STEPS, &mut known);
    let mut handlers = steps::read(&mut file, TaskKeys::HANDLERS, &mut known);
    check_handlers(doc, &steps, &handlers);
    known.names.insert("previous".into());
    let mut rollback = steps::read(&mut file, TaskKeys::ROLLBACK, &mut known);
    let undone = steps.steps.iter().any(|written| !written.undo.is_empty());
    if let Some(span) = file.key_span(TaskKeys::ROLLBACK.name).filter(|_| undone) {
        let hint = "say it in one of the two places".to_string();
        doc.report(span, "a task has [[rollback]] steps, or steps with `undo`, not both", hint);
    }
    for list in [&mut steps, &mut handlers, &mut rollback] {
        let all =
            list.steps.iter_mut().flat_map(|written| written.undo.iter_mut().chain([&mut written.step]));
        params::of_steps(&mut params, all.flat_map(|step| step.body.sources()));
    }
    // Wrong steps count as present.
    let can_roll_back = undone || file.key_span(TaskKeys::ROLLBACK.name).is_some();
    let mut named = std::mem::take(&mut steps.named);
    named.extend(handlers.named);
    named.extend(rollback.named);
    named.extend(in_hooks);
    let hosts = selector(&mut file);
    let release = file.get(TaskKeys::RELEASE);
    let task = Task {
        release,
        name: name.into(),
        description: file.get(TaskKeys::DESCRIPTION).map(Spanned::into_inner).unwrap_or_default(),
        hosts: hosts.clone().map(Spanned::into_inner),
        params,
        vars: values.plain,
        secrets: values.secrets,
        rollout: file.get(TaskKeys::ROLLOUT).map(|table| read_rollout(table, can_roll_back)),
        steps: steps.steps,
        rollback: rollback.steps,
        handlers: handlers.steps,
        hooks,
    };
    file.finish();
    TaskFile { doc, task, hosts, named }
}

/// Reports handlers that no step notifies, and notified names without a handler: neither would ever run.
fn check_handlers(doc: Doc<'_>, steps: &Steps, handlers: &Steps) {
    let known: Vec<&str> = handlers.names.iter().map(|name| name.get_ref().as_str()).collect();
    for name in steps.named.handlers.iter().filter(|name| !known.contains(&name.get_ref().as_str())) {
        let guess = did_you_mean(name.get_ref(), known.iter().copied());
        let hint = "write it as [[handlers]]".to_string();
        doc.report(name.span(), format!("no handler is called `{}`{guess}", name.get_ref()), hint);
    }
    let notified = |name: &str| steps.named.handlers.iter().any(|other| other.get_ref() == name);
    for name in handlers.names.iter().filter(|name| !notified(name.get_ref())) {
        let message = format!("no step notifies `{}`: it would never run", name.get_ref());
        doc.report(name.span(), message, format!("write notify = \"{}\" to a step", name.get_ref()));
    }
}

/// Checks calls between tasks: the tasks exist and have the parameters, and no cycle is formed.
pub fn check_calls(files: &[TaskFile<'_>], checks: &[CheckId]) {
    let tasks: BTreeMap<&str, &TaskFile<'_>> =
        files.iter().map(|file| (file.task.name.as_str(), file)).collect();
    for file in files {
        for name in &file.named.tasks {
            check_call(file, name, &tasks);
        }
        file.named.checks.iter().for_each(|name| check_check(file.doc, name, checks));
    }
}

/// A step runs a single check.
fn check_check(doc: Doc<'_>, name: &Spanned<String>, checks: &[CheckId]) {
    let word = name.get_ref().as_str();
    match one_named(word, checks) {
        Ok(_) => {}
        Err(Misnamed::Ambiguous(why)) => doc.wrong(name.span(), why),
        Err(Misnamed::Unknown) => {
            let names: BTreeSet<&str> = checks.iter().map(|id| &*id.name).collect();
            let guess = did_you_mean(word, names.iter().copied());
            let known = known_names(names.into_iter().collect());
            doc.report(name.span(), format!("no check is called `{word}`{guess}"), known);
        }
    }
}

/// Reports steps on the daemon's machine, if the settings do not allow them.
pub fn check_local(files: &[TaskFile<'_>], allowed: bool) {
    for file in files.iter().filter(|_| !allowed) {
        for span in &file.named.local {
            let hint = "write allow_local = true in rollcall.toml: everyone who may write tasks can then act as rollcall";
            let message = "steps on the machine of rollcall are not allowed";
            file.doc.report(span.clone(), message, hint.to_string());
        }
    }
}

fn check_call(file: &TaskFile<'_>, name: &Spanned<String>, tasks: &BTreeMap<&str, &TaskFile<'_>>) {
    let Some(called) = tasks.get(name.get_ref().as_str()) else {
        let guess = did_you_mean(name.get_ref(), tasks.keys().copied());
        let known = known_names(tasks.keys().copied().collect());
        file.doc.report(name.span(), format!("no task is called `{}`{guess}", name.get_ref()), known);
        return;
    };
    if called.task.rollout.is_some() || !called.task.rollback.is_empty() {
        let hint = "only the outermost task says how hosts are carried through it".to_string();
        let message = format!("`{}` has a [rollout] or [[rollback]], so no task can call it", name.get_ref());
        file.doc.report(name.span(), message, hint);
    }
    if called.task.params.values().any(|param| !param.is_given()) {
        let hint = "give it the file as a parameter: type = \"artifact\", without `url`".to_string();
        let message = format!("`{}` fetches a file, so no task can call it", name.get_ref());
        file.doc.report(name.span(), message, hint);
    }
    let given = called.task.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name);
    if let Some(secret) = called.task.secrets.keys().chain(given).next() {
        let hint = "write it to the hosts: their secrets are known to every task".to_string();
        let message = format!("`{}` has the secret `{secret}`, so no task can call it", name.get_ref());
        file.doc.report(name.span(), message, hint);
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![*called];
    while let Some(next) = open.pop().filter(|next| seen.insert(next.task.name.clone())) {
        open.extend(next.named.tasks.iter().filter_map(|name| tasks.get(name.get_ref().as_str()).copied()));
    }
    if seen.contains(&file.task.name) {
        let message = match file.task.name == *name.get_ref() {
            true => format!("`{}` calls itself", file.task.name),
            false => format!("`{}` and `{}` call each other in a circle", file.task.name, name.get_ref()),
        };
        file.doc.wrong(name.span(), message);
        return;
    }
    for with in calls_of(&file.task, name.get_ref()) {
        check_params(file.doc, name, with, &called.task);
    }
}

type With<'a> = &'a [(String, serde_json::Value)];

fn calls_of<'a>(task: &'a Task, called: &'a str) -> impl Iterator<Item = With<'a>> {
    task.steps.iter().chain(&task.handlers).filter_map(move |written| match &written.step.body {
        StepBody::Task { name, with } if name == called => Some(with.as_slice()),
        _ => None,
    })
}

fn check_params(doc: Doc<'_>, name: &Spanned<String>, with: With<'_>, called: &Task) {
    let params = &called.params;
    for (param, _) in with.iter().filter(|(param, _)| !params.contains_key(param)) {
        let guess = did_you_mean(param, params.keys().map(String::as_str));
        doc.wrong(name.span(), format!("task `{}` has no parameter `{param}`{guess}", name.get_ref()));
    }
    let given = |param: &str| with.iter().any(|(name, _)| name == param);
    for (param, _) in
        params.iter().filter(|(name, param)| param.default.is_none() && param.is_given() && !given(name))
    {
        let hint = format!("write with = {{ {param} = ... }}");
        doc.report(name.span(), format!("task `{}` needs the parameter `{param}`", name.get_ref()), hint);
    }
}

fn selector(file: &mut Reader<'_>) -> Option<Spanned<String>> {
    let text = file.get(TaskKeys::HOSTS)?;
    if text.get_ref().trim().is_empty() {
        file.doc.report(
            text.span(),
            "`hosts` is empty",
            "leave it out to work on every host asked for".to_string(),
        );
        return None;
    }
    Some(text)
}

fn read_rollout(mut table: Reader<'_>, can_roll_back: bool) -> Rollout {
    let doc = table.doc;
    let usual = Rollout::default();
    let serial = table.value(RolloutKeys::SERIAL).map(|value| read_serial(doc, value)).unwrap_or_default();
    let on_failure = table.or_default(RolloutKeys::ON_FAILURE);
    let on_restart = table.or_default(RolloutKeys::ON_RESTART);
    needs_rollback_steps(&mut table, RolloutKeys::ON_FAILURE, on_failure.rolls_back() && !can_roll_back);
    needs_rollback_steps(
        &mut table,
        RolloutKeys::ON_RESTART,
        on_restart == OnRestart::Rollback && !can_roll_back,
    );
    let rollout = Rollout {
        max_failures: read_budget(&mut table, on_failure),
        serial: if serial.is_empty() { usual.serial } else { serial },
        on_failure,
        min_healthy_time: table.or_default(RolloutKeys::MIN_HEALTHY_TIME),
        healthy_deadline: table.or_default(RolloutKeys::HEALTHY_DEADLINE),
        progress_deadline: table.positive(RolloutKeys::PROGRESS_DEADLINE, "the run would stop at once"),
        watch: table.or_default(RolloutKeys::WATCH),
        pause_after: table.get(RolloutKeys::PAUSE_AFTER).and_then(read_pause),
        on_restart,
        unknown_is: table.or_default(RolloutKeys::UNKNOWN_IS),
    };
    check_times(&mut table, &rollout);
    table.finish();
    rollout
}

fn needs_rollback_steps<W, D>(table: &mut Reader<'_>, key: Key<Choice<W>, D>, missing: bool) {
    if !missing {
        return;
    }
    let (key, value) = (key.name, table.value(key));
    let text = value.and_then(|value| value.get_ref().as_str()).unwrap_or_default().to_string();
    let hint = format!("write [[rollback]] steps, or {key} = \"stop\"");
    let message = format!("`{key}` is \"{text}\", and the task has no rollback steps");
    table.doc.report(value.map(Spanned::span), message, hint);
}

/// How many hosts may fail. With `continue` the default is all of them.
fn read_budget(table: &mut Reader<'_>, on_failure: OnFailure) -> MaxFailures {
    let named = table.value(RolloutKeys::MAX_FAILURES);
    let named = named.and_then(|value| amount(table.doc, RolloutKeys::MAX_FAILURES.name, value));
    match (named, on_failure) {
        (Some(Amount::Percent(percent)), _) => MaxFailures::Percent(percent),
        (Some(Amount::Hosts(hosts)), _) => MaxFailures::Hosts(hosts),
        (None, OnFailure::Continue) => MaxFailures::Percent(100.0),
        (None, _) => MaxFailures::Hosts(RolloutKeys::MAX_FAILURES.default),
    }
}

/// Nomad's rule: `min_healthy_time` < `healthy_deadline` < `progress_deadline`.
fn check_times(table: &mut Reader<'_>, rollout: &Rollout) {
    let min = table.value(RolloutKeys::MIN_HEALTHY_TIME).map(Spanned::span);
    let deadline = table.value(RolloutKeys::HEALTHY_DEADLINE).map(Spanned::span);
    let progress = table.value(RolloutKeys::PROGRESS_DEADLINE).map(Spanned::span);
    if rollout.min_healthy_time >= rollout.healthy_deadline {
        let at = deadline.clone().or(min);
        let message =
            "`healthy_deadline` is not longer than `min_healthy_time`: no host could be healthy in time";
        table.doc.report(at, message, "it is 5m unless it is written".to_string());
    }
    if rollout.progress_deadline.is_some_and(|deadline| deadline <= rollout.healthy_deadline) {
        let message = "`progress_deadline` is not longer than `healthy_deadline`: the run would stop before a host can fail";
        let hint = format!("`healthy_deadline` is {:?}", rollout.healthy_deadline);
        table.doc.report(progress, message, hint);
    }
}

/// `{ batch = 1, for = "2m" }` or `{ batch = 1, until = "approved" }`.
fn read_pause(mut table: Reader<'_>) -> Option<PauseAfter> {
    let batch = table.or_default(PauseAfterKeys::BATCH) as usize;
    let time = table.positive(PauseAfterKeys::TIME, "a pause of no time is none");
    let approved = table.get(PauseAfterKeys::UNTIL).is_some();
    let second_person = table.or_default(PauseAfterKeys::SECOND_PERSON);
    let until = match (time, approved) {
        (Some(time), false) => Some(PauseUntil::Passed(time)),
        (None, true) => Some(PauseUntil::Approved { second_person }),
        _ => {
            let hint =
                "such as { batch = 1, for = \"2m\" } or { batch = 1, until = \"approved\" }".to_string();
            table.doc.report(table.span.clone(), "`pause_after` needs one of `for` and `until`", hint);
            None
        }
    };
    if second_person && !approved {
        let span = table.key_span(PauseAfterKeys::SECOND_PERSON.name);
        table.doc.wrong(span, "`second_person` goes with `until = \"approved\"`");
    }
    table.finish();
    Some(PauseAfter { batch, until: until? })
}

fn read_serial(doc: Doc<'_>, value: &Spanned<DeValue<'_>>) -> Vec<BatchSize> {
    let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    if items.is_empty() {
        doc.report(value.span(), "`serial` is empty", "such as [1, \"25%\", \"100%\"]".to_string());
    }
    let size = |item: &Spanned<DeValue<'_>>| match amount(doc, RolloutKeys::SERIAL.name, item)? {
        Amount::Hosts(hosts) => Some(BatchSize::Hosts(hosts)),
        Amount::Percent(percent) => Some(BatchSize::Percent(percent)),
    };
    items.into_iter().filter_map(size).collect()
}

/// A number of hosts, or a percentage between 0% and 100%.
fn amount(doc: Doc<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Amount> {
    let percent = |text: &str| text.strip_suffix('%')?.trim().parse::<f64>().ok();
    let read = match value.get_ref() {
        DeValue::Integer(number) => {
            u32::from_str_radix(number.as_str(), number.radix()).ok().map(Amount::Hosts)
        }
        DeValue::String(text) => {
            percent(text).filter(|percent| (0.0..=100.0).contains(percent)).map(Amount::Percent)
        }
        _ => None,
    };
    if read.is_none() {
        let message = format!("`{key}` is a number of hosts such as 2, or a part of them such as \"25%\"");
        doc.report(value.span(), message, "a percentage is between 0% and 100%".to_string());
    }
    read
}
