//! The same answers for programs: one JSON object a line. Fields may be added; readers ignore those
//! that they do not know.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::{Output, is_steering};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;

/// Version of a shape; it grows when a field changes its meaning or is removed.
fn version(schema: &str) -> u32 {
    match schema {
        // Before, `check` was a check set, or held the set of the second check of one name.
        "ack" | "downtime" | "history" | "report" | "status" | "why" => 2,
        _ => 1,
    }
}

/// One line of kind `schema` with `value`. Written in one piece: a plan may be large.
pub fn line(schema: &str, value: impl Serialize) -> String {
    let head = format!("{{\"schema\":{},\"version\":{}", Value::from(schema), version(schema));
    let line = match serde_json::to_string(&value) {
        Ok(text) if text == "{}" => head + "}",
        Ok(text) if text.starts_with('{') => head + "," + &text[1..],
        Ok(text) => format!("{head},\"value\":{text}}}"),
        Err(error) => format!("{head},\"error\":{}}}", Value::from(error.to_string())),
    };
    escape(line) + "\n"
}

/// JSON of several lines, safe for a terminal.
pub fn safe_lines(text: &str) -> String {
    text.lines().map(|line| escape(line.to_string()) + "\n").collect()
}

/// JSON leaves C1 controls and direction overrides unescaped; a terminal would obey them. Outside of
/// strings there are none.
fn escape(json: String) -> String {
    let steers = |c: char| c.is_control() || is_steering(c);
    if !json.contains(steers) {
        return json;
    }
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match steers(c) {
            true => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")))
            }
            false => safe.push(c),
        }
    }
    safe
}

/// An event.
pub fn event(event: &Event) -> String {
    line("event", event)
}

/// A host of the inventory.
pub fn host(inventory: &Inventory, name: &HostName) -> String {
    let Some(host) = inventory.host(name) else { return String::new() };
    line(
        "host",
        json!({
            "host": host.name, "address": host.endpoint.address, "port": host.endpoint.port,
            "login": host.endpoint.login, "groups": host.groups, "tags": host.tags, "vars": host.vars,
            "secrets": host.secrets.keys().collect::<Vec<_>>(),
            "checks": host.checks, "balancer": host.balancer,
        }),
    )
}

/// A release that a host took over.
pub fn release(host: &HostName, taken: &ReleaseTakeover) -> String {
    line("release", json!({ "host": host, "taken": taken }))
}

/// The result of a command on the host that the last event settles; nothing for other events.
pub fn result(run: &Run, events: &[Event]) -> String {
    let Some(EventKind::HostSettled { host, end, why }) = events.last().map(|event| &event.kind) else {
        return String::new();
    };
    let ran = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::StepEnded { host: of, outcome, stdout, stderr, took_ms, code, .. } if of == host => {
            Some((outcome, stdout, stderr, took_ms, code))
        }
        _ => None,
    });
    let exit_status = ran.and_then(|(outcome, .., code)| match outcome {
        Outcome::Ok | Outcome::Unchanged => Some(code.unwrap_or(0)),
        Outcome::Failed { code, .. } => *code,
        _ => None,
    });
    let text = |output: &Output| json!({ "text": output.text, "left_out": output.left_out });
    line(
        "result",
        json!({
            "run": run.id(), "host": host, "end": end, "exit_status": exit_status, "why": why,
            "stdout": ran.map(|(_, stdout, ..)| text(stdout)),
            "stderr": ran.map(|(_, _, stderr, ..)| text(stderr)),
            "took_ms": ran.map(|(.., took_ms, _)| took_ms),
        }),
    )
}

/// The recap: one line for the run, with every host in it.
pub fn recap(run: &Run) -> String {
    let hosts: Vec<Value> = run
        .hosts()
        .iter()
        .map(|(name, host)| {
            let (end, why) = host.settled().map_or((None, ""), |(end, why)| (Some(end), why));
            json!({ "host": name, "end": end, "why": why, "owed": host.is_owed(), "checks": host.checks() })
        })
        .collect();
    let mut recap = json!({
        "run": run.id(), "title": run.plan().title, "outcome": run.outcome(),
        "exit_status": run.outcome().map(|outcome| outcome.exit_status()), "hosts": hosts,
    });
    if run.outcome().is_some() && run.cancel_was_late() {
        recap["cancel_too_late"] = true.into();
    }
    line("recap", recap)
}
