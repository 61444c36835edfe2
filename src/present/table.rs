//! Tables of things to look at: hosts, runs, debts, plans.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;

use crate::domain::access::Operator;
use crate::domain::check::Probe;
use crate::domain::inventory::Inventory;
use crate::domain::name::{HostName, count};
use crate::domain::nodeset::fold;
use crate::domain::outcome::seconds;
use crate::domain::plan::{HostPlan, Plan};
use crate::domain::record::{Debt, RunSummary};
use crate::domain::release::{Mark, Taken, last_good, marked_bad};
use crate::domain::task::{MaxFailures, OnFailure, Source, Step, StepBody, Sudo};

/// Columns as wide as their widest cell, two spaces between, nothing behind the last.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Things under what they have in common, in the order in which each kind came first.
pub fn alike<K: PartialEq, T>(things: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, thing) in things {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(thing),
            None => groups.push((key, vec![thing])),
        }
    }
    groups
}

/// Names folded into one set.
pub fn folded<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    fold(hosts.into_iter().map(HostName::as_str))
}

/// The age of something, in its largest unit.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let s = now.duration_since(since).as_secs().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// `hosts`: who there is, where, and what is on it.
pub fn hosts(
    inventory: &Inventory,
    picked: &[HostName],
    debts: &[Debt],
    taken: &BTreeMap<HostName, Vec<Taken>>,
) -> String {
    let mut rows =
        vec![["HOST", "ADDRESS", "GROUPS", "TAGS", "RELEASE", "ROTATION"].map(String::from).to_vec()];
    for host in picked.iter().filter_map(|name| inventory.host(name)) {
        let present = taken.get(&host.name).and_then(|taken| taken.first());
        let release = present.map_or_else(String::new, |taken| {
            let params: Vec<String> =
                taken.release.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} (run {})", params.join(" "), taken.run)
        });
        let owed = debts.iter().find(|debt| debt.host == host.name);
        let rotation = match (owed, &host.balancer) {
            (Some(debt), _) => format!("out since run {}", debt.run),
            (None, Some(_)) => "in".into(),
            (None, None) => "-".into(),
        };
        rows.push(vec![
            host.name.to_string(),
            format!("{}@{}:{}", host.endpoint.login, host.endpoint.address, host.endpoint.port),
            host.groups.join(","),
            host.tags.iter().cloned().collect::<Vec<_>>().join(","),
            release,
            rotation,
        ]);
    }
    columns(&rows)
}

/// `runs`: the last runs, newest first.
pub fn runs(runs: &[RunSummary], now: Timestamp) -> String {
    if runs.is_empty() {
        return "no runs yet\n".into();
    }
    let mut rows = vec![["RUN", "AGE", "TOOK", "BY", "OUTCOME", "WHAT"].map(String::from).to_vec()];
    for run in runs {
        let took = run.ended_at.map_or_else(String::new, |end| {
            seconds(u64::try_from(end.duration_since(run.started_at).as_millis()).unwrap_or(0))
        });
        rows.push(vec![
            run.run.to_string(),
            age(run.started_at, now),
            took,
            run.by.clone(),
            run.outcome.map_or("under way", |outcome| outcome.word()).to_string(),
            run.title.clone(),
        ]);
    }
    columns(&rows)
}

/// `debts`: what is out of rotation and whose doing it is.
pub fn debts(debts: &[Debt], now: Timestamp) -> String {
    if debts.is_empty() {
        return "no debts: every host that a run took out of rotation is back\n".into();
    }
    let mut rows = vec![["HOST", "BALANCER", "RUN", "BY", "AGE", "WHY"].map(String::from).to_vec()];
    for debt in debts {
        rows.push(vec![
            debt.host.to_string(),
            debt.balancer.clone(),
            debt.run.to_string(),
            debt.by.clone(),
            age(debt.since, now),
            debt.why.clone(),
        ]);
    }
    columns(&rows)
}

/// `releases`: which host runs what, since when, by which run, and where `rollback` would lead.
pub fn releases(
    picked: &[HostName],
    taken: &[(&HostName, &[Taken])],
    marks: &[Mark],
    now: Timestamp,
) -> String {
    let mut rows = vec![["HOST", "RELEASE", "SINCE", "RUN", "STATE", "ROLLBACK"].map(String::from).to_vec()];
    for (host, history) in taken {
        let Some(present) = history.first() else { continue };
        let bad = marked_bad(marks, &present.release.task, &present.release.params);
        let state = match (bad, present.good) {
            (Some(mark), _) => format!("bad: {}", mark.reason),
            (None, true) => "good".into(),
            (None, false) => "failing".into(),
        };
        let back = last_good(history, marks).map_or_else(|| "-".into(), |taken| taken.release.words());
        rows.push(vec![
            host.to_string(),
            present.release.words(),
            format!("{} ago", age(present.at, now)),
            present.run.to_string(),
            state,
            back,
        ]);
    }
    let unknown: Vec<&HostName> =
        picked.iter().filter(|name| !taken.iter().any(|(host, _)| host == name)).collect();
    let unknown = match unknown.is_empty() {
        true => String::new(),
        false => format!("nothing on record: {}\n", folded(unknown)),
    };
    let table = if rows.len() > 1 { columns(&rows) } else { String::new() };
    table + &unknown
}

/// `mark`.
pub fn mark(mark: &Mark) -> String {
    let params: String = mark.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    match mark.bad {
        true => {
            format!("{}{params} is marked bad: it is not deployed, and no rollback leads to it\n", mark.task)
        }
        false => format!("{}{params} is marked good\n", mark.task),
    }
}

/// The line under every answer while something is owed; `None` when nothing is.
pub fn footer(debts: &[Debt]) -> Option<String> {
    if debts.is_empty() {
        return None;
    }
    let hosts = folded(debts.iter().map(|debt| &debt.host));
    Some(format!("out of rotation: {hosts} ({}); see: debts\n", count(debts.len(), "open debt")))
}

/// `whoami`.
pub fn whoami(operator: &Operator) -> String {
    let groups = match &operator.groups {
        None => "all groups".to_string(),
        Some(groups) => groups.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    format!("{} ({}), role {}, {groups}\n", operator.name, operator.key, operator.role)
}

/// `plan`: batches, and what happens on each host; hosts whose steps are the same are told once.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!("plan: {}\n", plan.title.0);
    let hosts = count(plan.hosts.len(), "host");
    if plan.has_bracket() {
        let budget = match plan.rollout.max_failures {
            MaxFailures::Hosts(hosts) => format!("{hosts}"),
            MaxFailures::Percent(percent) => format!("{percent}%"),
        };
        let on_failure = match plan.rollout.on_failure {
            OnFailure::Stop | OnFailure::Continue => "a host that fails is held out of rotation",
            OnFailure::Rollback => "a host that fails is rolled back",
            OnFailure::RollbackAll => "a host that fails is rolled back, and then all of them",
        };
        _ = writeln!(
            text,
            "{hosts}, {}; more than {budget} failed stops it; {on_failure}",
            count(plan.batches.len(), "batch")
        );
    } else {
        _ = writeln!(text, "{hosts}, all at once; no balancer is touched");
    }
    for (at, batch) in plan.batches.iter().enumerate() {
        _ = writeln!(text, "  batch {}: {} ({})", at + 1, folded(batch), batch.len());
    }
    let order = plan.batches.iter().flatten().filter_map(|name| plan.hosts.get_key_value(name));
    for (what, hosts) in alike(order.map(|(name, host)| (host_plan(plan, host), name))) {
        _ = writeln!(text, "on {}:", folded(hosts));
        text.push_str(&what);
    }
    text
}

fn host_plan(plan: &Plan, host: &HostPlan) -> String {
    let mut lines = Vec::new();
    let balancer = host.balancer.as_ref().map(|seat| seat.balancer.as_str());
    lines.extend(balancer.map(|name| format!("drain in {name}")));
    lines.extend(host.steps.iter().map(step));
    lines.extend(host.checks.iter().map(|check| format!("check {}: {}", check.name, probe(&check.probe))));
    lines.extend(balancer.map(|name| format!("enable in {name}")));
    if plan.rollout.on_failure.rolls_back() {
        lines.extend(host.rollback.iter().map(|back| format!("on failure: {}", step(back))));
    }
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn step(step: &Step) -> String {
    let what = match &step.body {
        StepBody::Run { script, .. } => format!("run {}", first_line(script)),
        StepBody::Upload { source, to, .. } => format!("upload {} to {to}", source_name(source)),
        StepBody::Link { from, at } => format!("link {at} -> {from}"),
    };
    let sudo = match &step.sudo {
        Sudo::No => String::new(),
        Sudo::Root => " (sudo)".into(),
        Sudo::User(user) => format!(" (sudo as {user})"),
    };
    let creates = step.creates.as_ref().map_or_else(String::new, |path| format!(" (unless {path} exists)"));
    let unless = step
        .unless
        .as_ref()
        .map_or_else(String::new, |command| format!(" (unless: {})", first_line(command)));
    format!("{}: {what}{sudo}{creates}{unless}", step.name)
}

fn source_name(source: &Source) -> String {
    match source {
        Source::File { path, sha256 } => format!("files/{path} ({})", sha256.get(..12).unwrap_or(sha256)),
        Source::Template { path } => format!("files/{path}"),
        Source::Text(text) => format!("a rendered template of {} bytes", text.len()),
    }
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Run { command, .. } => first_line(command),
        Probe::Http { address, port, path, .. } => format!("http://{address}:{port}{path}"),
        Probe::Tcp { address, port } => format!("tcp {address}:{port}"),
    }
}

fn first_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default().to_string();
    if lines.next().is_some() { first + " ..." } else { first }
}
