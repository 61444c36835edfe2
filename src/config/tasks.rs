//! `tasks/NAME.toml`: one task.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Doc;
use super::hosts::{RESERVED_VARS, is_identifier};
use super::reader::{self, Reader};
use super::steps;
use super::templates::{self, Known};
use crate::domain::command::built_in_names;
use crate::domain::task::{BatchSize, MaxFailures, OnFailure, Param, Rollout, Task};

const ON_FAILURE: [(&str, OnFailure); 2] = [("stop", OnFailure::Stop), ("rollback", OnFailure::Rollback)];

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
    let serial = table.value("serial").map(|value| read_serial(doc, value)).unwrap_or_default();
    let max_failures = match table.value("max_failures").and_then(|value| amount(doc, "max_failures", value))
    {
        Some(Amount::Percent(percent)) => MaxFailures::Percent(percent),
        Some(Amount::Hosts(hosts)) => MaxFailures::Hosts(hosts),
        None => MaxFailures::Hosts(0),
    };
    let on_failure = table.one_of("on_failure", &ON_FAILURE).unwrap_or(OnFailure::Stop);
    if on_failure == OnFailure::Rollback && !can_roll_back {
        let span = table.value("on_failure").map(Spanned::span);
        let hint = "write [[rollback]] steps, or on_failure = \"stop\"".to_string();
        doc.report(span, "`on_failure` is \"rollback\", and the task has no rollback steps", hint);
    }
    table.finish();
    let serial = if serial.is_empty() { vec![BatchSize::Percent(100.0)] } else { serial };
    Rollout { serial, max_failures, on_failure }
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
