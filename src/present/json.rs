//! The same answers for programs: one JSON object a line. Fields may be added; readers ignore those
//! that they do not know.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::{Output, is_steering};
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;
use crate::domain::value::template::Vars;

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
    let mut text = Vec::new();
    push_line(&mut text, schema, value);
    // JSON is UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

/// The same behind other lines.
fn push_line(text: &mut Vec<u8>, schema: &str, value: impl Serialize) {
    let start = text.len();
    text.extend(format!("{{\"schema\":{},\"version\":{}", Value::from(schema), version(schema)).bytes());
    let at = text.len();
    match serde_json::to_writer(&mut *text, &value) {
        Ok(()) if text[at..] == *b"{}" => _ = text.splice(at.., *b"}"),
        Ok(()) if text[at] == b'{' => text[at] = b',',
        Ok(()) => {
            text.splice(at..at, *b",\"value\":");
            text.push(b'}');
        }
        Err(error) => {
            text.truncate(at);
            text.extend(format!(",\"error\":{}}}", Value::from(error.to_string())).bytes());
        }
    }
    if !text[start..].iter().all(|byte| matches!(byte, b' '..=b'~')) {
        let line = String::from_utf8(text.split_off(start)).unwrap_or_default();
        text.extend(escape(line).bytes());
    }
    text.push(b'\n');
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

/// Hosts of the inventory.
pub fn hosts(inventory: &Inventory, names: &[HostName]) -> String {
    let mut text = Vec::new();
    for host in names.iter().filter_map(|name| inventory.host(name)) {
        let Host { name, endpoint, tags, vars, secrets, checks, groups, balancer, .. } = host;
        let shown = HostLine {
            address: &endpoint.address,
            balancer: balancer.as_deref(),
            checks,
            groups,
            host: name,
            login: &endpoint.login,
            port: endpoint.port,
            secrets: secrets.keys().collect(),
            tags,
            vars,
        };
        push_line(&mut text, "host", shown);
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Without `json!`, which copies all of it: a list may have thousands of hosts.
#[derive(Serialize)]
struct HostLine<'a> {
    address: &'a str,
    balancer: Option<&'a str>,
    checks: &'a [String],
    groups: &'a [String],
    host: &'a HostName,
    login: &'a str,
    port: u16,
    secrets: Vec<&'a String>,
    tags: &'a BTreeSet<String>,
    vars: &'a Vars,
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
