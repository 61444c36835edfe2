//! Steps in words: a line of a plan, and the results of a dry run.

use std::fmt::Write;

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Outcome;
use crate::domain::check::probe::Probe;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;
use crate::domain::task::task::{Awaited, LineState, ServiceState, Source, Step, StepBody, Sudo};
use crate::domain::value::expansion::readable;

use super::table::{alike, folded};

/// One line of a plan.
pub(super) fn step(step: &Step) -> String {
    let sudo = match &step.sudo {
        Sudo::No => String::new(),
        Sudo::Root => " (sudo)".into(),
        Sudo::User(user) | Sudo::Password { user, .. } => format!(" (sudo as {user})"),
    };
    let creates = step.creates.as_ref().map(|path| format!(" (unless {path} exists)"));
    let removes = step.removes.as_ref().map(|path| format!(" (if {path} exists)"));
    let unless = step.unless.as_ref().map(|command| format!(" (unless: {})", first_line(command)));
    let when = step.when.as_ref().map(|when| format!(" (when {when})"));
    let skip = step.skip.as_ref().map(|why| format!(" (skipped: {why})"));
    let once = step.run_once.then(|| " (on one host, for all)".to_string());
    let handler = step.notified_by.as_ref().map(|_| " (if notified)".to_string());
    let at = step.at.as_ref().map(|at| format!(" (on {})", at.name));
    let notes: String =
        [creates, removes, unless, when, skip, once, handler, at].into_iter().flatten().collect();
    format!("{}: {}{sudo}{notes}", step.name, what(&step.body))
}

fn what(body: &StepBody) -> String {
    match body {
        StepBody::Run { script } => format!("run {}", first_line(&readable(script))),
        StepBody::Script { source, interpreter, .. } => format!("{interpreter} {}", source_name(source)),
        StepBody::Upload(upload) => format!("upload {} to {}", source_name(&upload.source), upload.to),
        StepBody::Download { from, once: true, .. } => format!("fetch {from}"),
        StepBody::Download { from, to, .. } => format!("download {from} to {to}"),
        StepBody::Line(line) => {
            let which = line.line.as_deref().or(line.matches.as_deref()).unwrap_or_default();
            format!("line of {}: {} {which}", line.path, line_word(line.state))
        }
        StepBody::Block(block) => {
            let end = if block.present { "present" } else { "absent" };
            format!("block `{}` of {}: {end}", block.marker, block.path)
        }
        StepBody::Link { from, at } => format!("link {at} -> {from}"),
        StepBody::Directory { path, .. } => format!("directory {path}"),
        StepBody::Delete { path } => format!("delete {path}"),
        StepBody::Package { names, state, version, .. } => {
            let version = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
            format!("package {}{version}: {}", names.join(" "), state.word())
        }
        StepBody::Service { name, state, enabled } => {
            let enabled = enabled.map(|yes| if yes { "enabled" } else { "disabled" });
            let words: Vec<&str> = state.map(ServiceState::word).into_iter().chain(enabled).collect();
            format!("service {name}: {}", words.join(", "))
        }
        StepBody::Archive { source, to, .. } => format!("unpack {} into {to}", source_name(source)),
        StepBody::Release(layout) => {
            format!("release {} below {}: {}", layout.name, layout.root, source_name(&layout.source))
        }
        StepBody::WaitFor { what, gone, .. } => {
            let state = if *gone { "gone" } else { "there" };
            match what {
                Awaited::Path(path) => format!("wait until {path} is {state}"),
                Awaited::Command(command) => format!("wait until `{}` succeeds", first_line(command)),
                Awaited::Probe(at) => format!("wait until {} is {state}", probe(at)),
            }
        }
        StepBody::Reboot { .. } => "reboot".into(),
        StepBody::Check { name, .. } => format!("check {name}"),
        StepBody::Pause { time } => format!("pause {time:?}"),
        StepBody::Confirm { text } => format!("confirm: {text}"),
        StepBody::Facts { .. } => "gather facts".into(),
        StepBody::Task { name, .. } => format!("task {name}"),
    }
}

fn line_word(state: LineState) -> &'static str {
    match state {
        LineState::Present => "present",
        LineState::Absent => "absent",
        LineState::Commented => "commented",
        LineState::Uncommented => "uncommented",
    }
}

fn source_name(source: &Source) -> String {
    match source {
        Source::File { path, sha256 } => format!("files/{path} ({})", sha256.get(..12).unwrap_or(sha256)),
        Source::Template { path } | Source::Draft { path, .. } => format!("files/{path}"),
        Source::Text(text) => format!("a rendered template of {} bytes", text.len()),
        Source::Tree { path, files } => {
            format!("files/{path}/ ({} files)", files.iter().filter(|file| !file.is_directory()).count())
        }
        Source::Remote { .. } | Source::Artifact { .. } | Source::Fetched { .. } => source.name(),
    }
}

/// The target of a check.
pub(super) fn probe(probe: &Probe) -> String {
    probe.words()
}

fn first_line(text: &str) -> String {
    let text = readable(text);
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default().to_string();
    if lines.next().is_some() { first + " ..." } else { first }
}

/// The changes of each step, step by step, with equal ones folded over their hosts.
pub(super) fn dry_run(run: &Run, events: &[Event]) -> String {
    let gathers = |host: &HostName, at: usize| {
        let step = run.plan().hosts.get(host).and_then(|plan| plan.steps.get(at));
        step.is_some_and(|step| matches!(step.body, StepBody::Facts { .. }))
    };
    let found = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepEnded { host, step, outcome, .. } if gathers(host, *step) && outcome.is_good() => None,
        EventKind::StepEnded { host, step, name, outcome, stdout, stderr, .. } => {
            let said = if outcome.is_good() { "" } else { stderr.text.as_str() };
            Some(((*step, name.as_str(), dry_run_word(name, outcome), stdout.text.as_str(), said), host))
        }
        EventKind::StepSkipped { host, step, name, why, .. } => {
            Some(((*step, name.as_str(), format!("skipped: {why}"), "", ""), host))
        }
        EventKind::RunStarted { .. }
        | EventKind::BatchStarted { .. }
        | EventKind::ObserveStarted { .. }
        | EventKind::Observed { .. }
        | EventKind::ObserveFailed { .. }
        | EventKind::DrainStarted { .. }
        | EventKind::DrainEnded { .. }
        | EventKind::StepStarted { .. }
        | EventKind::ChecksStarted { .. }
        | EventKind::ChecksEnded { .. }
        | EventKind::SnapshotStarted { .. }
        | EventKind::SnapshotEnded { .. }
        | EventKind::RollbackStarted { .. }
        | EventKind::EnableStarted { .. }
        | EventKind::EnableEnded { .. }
        | EventKind::HostSettled { .. }
        | EventKind::DrainForgotten { .. }
        | EventKind::RedrainStarted { .. }
        | EventKind::RedrainEnded { .. }
        | EventKind::Stopped { .. }
        | EventKind::Paused(..)
        | EventKind::Resumed { .. }
        | EventKind::Approved { .. }
        | EventKind::Recovered { .. }
        | EventKind::DebtSettled { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::HookStarted { .. }
        | EventKind::HookEnded { .. }
        | EventKind::RunEnded { .. } => None,
    });
    let mut groups = alike(found);
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = String::new();
    for ((_, name, word, stdout, stderr), hosts) in &groups {
        _ = writeln!(text, "{name}: {word}: {}", folded(hosts.iter().copied()));
        stdout.lines().chain(stderr.lines()).for_each(|line| _ = writeln!(text, "    {line}"));
    }
    let would = |host: &&HostName| {
        events.iter().any(|event| {
            let EventKind::StepEnded { host: of, outcome: Outcome::WouldChange, .. } = &event.kind else {
                return false;
            };
            of == *host
        })
    };
    let (changed, same): (Vec<&HostName>, Vec<&HostName>) = run.hosts().keys().partition(would);
    if !changed.is_empty() {
        _ = writeln!(text, "would change: {}", folded(changed));
    }
    if !same.is_empty() {
        _ = writeln!(text, "nothing known to change: {}", folded(same));
    }
    text
}

fn dry_run_word(name: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Ok => "gathered".into(),
        Outcome::WouldChange => "would change".into(),
        Outcome::NotKnown { why } => format!("not known beforehand ({why})"),
        other => other.failure(name).map_or_else(String::new, |failure| failure.why),
    }
}
