//! `tasks/NAME.toml`: one task.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Doc;
use super::hosts::RESERVED_VARS;
use super::reader::{self, Reader};
use super::steps;
use super::templates::{self, Known};
use crate::domain::command::built_in_names;
use crate::domain::name::is_identifier;
use crate::domain::task::{
    BatchSize, MaxFailures, OnFailure, OnRestart, Param, PauseAfter, PauseUntil, Rollout, Task,
};

const ON_FAILURE: [(&str, OnFailure); 4] = [
    ("stop", OnFailure::Stop),
    ("rollback", OnFailure::Rollback),
    ("rollback-all", OnFailure::RollbackAll),
    ("continue", OnFailure::Continue),
];

const ON_RESTART: [(&str, OnRestart); 4] = [
    ("finish", OnRestart::Finish),
    ("resume", OnRestart::Resume),
    ("rollback", OnRestart::Rollback),
    ("stop", OnRestart::Stop),
];

const UNTIL: [(&str, ()); 1] = [("approved", ())];

/// An amount of hosts as it is written: `2` or `"25%"`.
enum Amount {
    Hosts(u32),
    Percent(f64),
}

/// Reads one task. `vars` are the names that hosts define.
pub(super) fn read(doc: Doc<'_>, name: &str, vars: &Known) -> Task {
    if built_in_names().iter().any(|built_in| built_in == name) {
        let message = format!("`{name}` is a command of rollcall, so no task can have that name");
        doc.report(None, message, format!("rename the file, for instance to {name}-app.toml"));
    }
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::new(doc, "a task", &table, None);
    let params = read_params(&mut file);
    let mut known = vars.clone();
    known.names.insert("host".into());
    known.names.extend(params.keys().cloned());
    let steps = steps::read(&mut file, "steps", &known);
    known.names.insert("previous".into());
    let rollback = steps::read(&mut file, "rollback", &known);
    // Steps that are wrong are there all the same.
    let can_roll_back = file.key_span("rollback").is_some();
    let task = Task {
        name: name.into(),
        description: file.string("description").map(Spanned::into_inner).unwrap_or_default(),
        hosts: selector(&mut file),
        params,
        rollout: file.table("rollout", "`rollout`").map(|table| read_rollout(table, can_roll_back)),
        steps,
        rollback,
    };
    file.finish();
    task
}

fn selector(file: &mut Reader<'_>) -> Option<String> {
    let text = file.string("hosts")?;
    if text.get_ref().trim().is_empty() {
        file.doc.report(
            text.span(),
            "`hosts` is empty",
            "leave it out to work on every host asked for".to_string(),
        );
        return None;
    }
    Some(text.into_inner())
}

fn read_params(file: &mut Reader<'_>) -> BTreeMap<String, Param> {
    let doc = file.doc;
    let mut params = BTreeMap::new();
    for (name, value) in file.entries("params") {
        check_param_name(doc, &name);
        let what = format!("param `{}`", name.get_ref());
        let Some(table) = Reader::of_value(doc, what, name.get_ref(), value) else { continue };
        params.insert(name.into_inner(), read_param(table));
    }
    params
}

fn check_param_name(doc: Doc<'_>, name: &Spanned<String>) {
    if !is_identifier(name.get_ref()) {
        let message = format!("`{}` cannot name a param: no template could read it", name.get_ref());
        doc.report(name.span(), message, "use letters, digits and _".to_string());
    } else if RESERVED_VARS.contains(&name.get_ref().as_str()) {
        doc.wrong(name.span(), format!("a param cannot be called `{}`: templates use it", name.get_ref()));
    }
}

fn read_param(mut table: Reader<'_>) -> Param {
    let doc = table.doc;
    let pattern = table.string("pattern");
    let default = table.string("default");
    if let Some(pattern) = &pattern {
        templates::whole_pattern(doc, "pattern", pattern, default.as_ref());
    }
    table.finish();
    Param { pattern: pattern.map(Spanned::into_inner), default: default.map(Spanned::into_inner) }
}

fn read_rollout(mut table: Reader<'_>, can_roll_back: bool) -> Rollout {
    let doc = table.doc;
    let usual = Rollout::default();
    let serial = table.value("serial").map(|value| read_serial(doc, value)).unwrap_or_default();
    let on_failure = table.one_of("on_failure", &ON_FAILURE).unwrap_or(usual.on_failure);
    let on_restart = table.one_of("on_restart", &ON_RESTART).unwrap_or(usual.on_restart);
    needs_rollback_steps(&mut table, "on_failure", on_failure.rolls_back() && !can_roll_back);
    needs_rollback_steps(&mut table, "on_restart", on_restart == OnRestart::Rollback && !can_roll_back);
    let rollout = Rollout {
        max_failures: read_budget(&mut table, on_failure),
        serial: if serial.is_empty() { usual.serial } else { serial },
        on_failure,
        min_healthy_time: table.duration("min_healthy_time").unwrap_or(usual.min_healthy_time),
        healthy_deadline: table.duration("healthy_deadline").unwrap_or(usual.healthy_deadline),
        progress_deadline: table.positive_duration("progress_deadline", "the run would stop at once"),
        watch: table.duration("watch").unwrap_or(usual.watch),
        pause_after: table.table("pause_after", "`pause_after`").and_then(read_pause),
        on_restart,
    };
    check_times(&mut table, &rollout);
    table.finish();
    rollout
}

fn needs_rollback_steps(table: &mut Reader<'_>, key: &'static str, missing: bool) {
    if !missing {
        return;
    }
    let value = table.value(key);
    let text = value.and_then(|value| value.get_ref().as_str()).unwrap_or_default().to_string();
    let hint = format!("write [[rollback]] steps, or {key} = \"stop\"");
    let message = format!("`{key}` is \"{text}\", and the task has no rollback steps");
    table.doc.report(value.map(Spanned::span), message, hint);
}

/// The hosts that may fail. To continue whatever fails is what an unnamed budget then means.
fn read_budget(table: &mut Reader<'_>, on_failure: OnFailure) -> MaxFailures {
    let named = table.value("max_failures").and_then(|value| amount(table.doc, "max_failures", value));
    match (named, on_failure) {
        (Some(Amount::Percent(percent)), _) => MaxFailures::Percent(percent),
        (Some(Amount::Hosts(hosts)), _) => MaxFailures::Hosts(hosts),
        (None, OnFailure::Continue) => MaxFailures::Percent(100.0),
        (None, _) => MaxFailures::Hosts(0),
    }
}

/// Nomad's rule: `min_healthy_time` < `healthy_deadline` < `progress_deadline`.
fn check_times(table: &mut Reader<'_>, rollout: &Rollout) {
    let mut span = |key| table.value(key).map(Spanned::span);
    let (min, deadline, progress) =
        (span("min_healthy_time"), span("healthy_deadline"), span("progress_deadline"));
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
    let batch = table.number("batch", 0, u32::MAX).map_or(1, |batch| batch as usize);
    let time = table.positive_duration("for", "a pause of no time is none");
    let approved = table.one_of("until", &UNTIL).is_some();
    let second_person = table.bool("second_person");
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
        let span = table.key_span("second_person");
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
    let size = |item: &Spanned<DeValue<'_>>| match amount(doc, "serial", item)? {
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
