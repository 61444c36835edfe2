//! How every host ended: the recap under each run, the folded answers of an ad-hoc command, and
//! `show N`.

use std::fmt::Write;

use crate::domain::base::name::{HostName, count};
use crate::domain::base::outcome::{End, Outcome, RunOutcome, Verdict};
use crate::domain::base::output::Output;
use crate::domain::check::check::CheckResult;
use crate::domain::plan::plan::RunKind;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;

use super::facts;
use super::table::{alike, columns, folded};

const RULE: &str = "---------------";

/// The end of a run, in the form of its kind.
pub fn recap(run: &Run, events: &[Event]) -> String {
    by_kind(run, events) + &late_cancel(run)
}

/// Why a run that was cancelled has another end.
fn late_cancel(run: &Run) -> String {
    let cancel = run.cancel().filter(|_| run.outcome().is_some() && run.cancel_was_late());
    cancel.map_or_else(String::new, |cancel| {
        format!("the cancel by {} came too late to stop anything: every host had begun\n", cancel.by)
    })
}

fn by_kind(run: &Run, events: &[Event]) -> String {
    match run.plan().kind {
        RunKind::Run => answers(run, events),
        RunKind::Check => verdicts(run),
        RunKind::DryRun { .. } => super::steps::dry_run(run, events) + &ends(run),
        RunKind::Facts => facts::recap(run, events),
        RunKind::Release { .. } | RunKind::Task { .. } | RunKind::Drain | RunKind::Enable => ends(run),
    }
}

/// Every host under its end state, hosts with the same end and reason folded.
fn ends(run: &Run) -> String {
    let outcome = run.outcome().map_or("under way", |outcome| outcome.word());
    let settled = run.hosts().iter().filter_map(|(name, host)| Some((host.settled()?, name)));
    let mut groups = alike(settled);
    groups.sort_by_key(|((end, _), _)| *end);
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((end, why), hosts)| {
            vec![
                format!("  {}", end.word()),
                hosts.len().to_string(),
                folded(hosts.iter().copied()),
                why.to_string(),
            ]
        })
        .collect();
    let mut text = format!("run {}: {outcome}\n{}", run.id(), columns(&rows));
    if let Some(why) = &run.hooks().failed {
        _ = writeln!(text, "  {why}");
    }
    let owed = |settled: bool| -> Vec<&HostName> {
        let hosts = run.hosts().iter().filter(|(_, host)| host.is_owed() && host.end().is_some() == settled);
        hosts.map(|(name, _)| name).collect()
    };
    let (in_bracket, owed) = (owed(false), owed(true));
    if !in_bracket.is_empty() {
        _ = writeln!(text, "out of rotation while the run works on it: {}", folded(in_bracket));
    }
    if !owed.is_empty() {
        let hosts = folded(owed.iter().copied());
        _ = match run.plan().kind {
            RunKind::Drain => {
                writeln!(text, "out of rotation: {hosts}; to put it back: balancer enable {hosts}")
            }
            _ => writeln!(
                text,
                "out of rotation: {hosts}; a person is needed: show {} --host H; a run that succeeds puts it back",
                run.id()
            ),
        };
    }
    let off: Vec<&HostName> =
        run.hosts().iter().filter(|(_, host)| host.is_written_off()).map(|(name, _)| name).collect();
    if !off.is_empty() {
        let hosts = folded(off);
        _ = writeln!(text, "written off, and not put back by this run: {hosts}; see: debts");
    }
    text
}

/// Equal verdicts folded, the worst first.
fn verdicts(run: &Run) -> String {
    let results = run.hosts().iter().flat_map(|(name, host)| {
        host.checks().iter().map(move |result| ((result.verdict, &result.check, result.text.as_str()), name))
    });
    let mut groups = alike(results);
    let silent: Vec<&HostName> =
        run.hosts().iter().filter(|(_, host)| host.checks().is_empty()).map(|(name, _)| name).collect();
    let weight = |verdict: Verdict| {
        [Verdict::Critical, Verdict::Unknown, Verdict::Warning, Verdict::Ok]
            .iter()
            .position(|v| *v == verdict)
    };
    groups.sort_by_key(|((verdict, check, _), _)| (weight(*verdict), check.name.clone(), check.set.clone()));
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((verdict, check, text), hosts)| {
            vec![verdict.word().into(), folded(hosts.iter().copied()), format!("{check}: {}", text)]
        })
        .collect();
    let mut text = columns(&rows);
    if !silent.is_empty() {
        _ = writeln!(text, "not checked: {}", folded(silent));
    }
    let outcome = run.outcome().map_or("under way", |outcome| outcome.word());
    let all = count(run.hosts().len(), "host");
    let on = match run.outcome() {
        Some(RunOutcome::Checked(verdict)) => run.verdicts().filter(|of_host| *of_host == verdict).count(),
        _ => run.hosts().len(),
    };
    let on = if on == run.hosts().len() { all } else { format!("{on} of {all}") };
    _ = writeln!(text, "run {}: {outcome} on {on}", run.id());
    text
}

/// Equal answers folded under one node set: good ones first, then the largest set. Hosts with the same
/// text but another exit status are separate.
fn answers(run: &Run, events: &[Event]) -> String {
    let ended = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepEnded { host, name, outcome, stdout, stderr, .. } => {
            Some(((name.as_str(), outcome, stdout, stderr), host))
        }
        _ => None,
    });
    let alone = run.hosts().len() == 1;
    let mut groups = alike(ended);
    let answered = groups.iter().map(|(_, hosts)| hosts.len()).sum();
    groups.sort_by_key(|((_, outcome, ..), hosts)| (status(outcome), std::cmp::Reverse(hosts.len())));
    groups.iter().map(|(key, hosts)| answer(key, hosts, alone)).collect::<String>() + &silent(run, answered)
}

fn answer(
    (name, outcome, stdout, stderr): &(&str, &Outcome, &Output, &Output),
    hosts: &[&HostName],
    alone: bool,
) -> String {
    let said = [stdout.text.as_str(), stderr.text.as_str()];
    let end = outcome.failure(name).map(|failure| failure.why);
    if !alone || end.is_some() {
        return block(hosts, end.as_deref(), &said);
    }
    let mut text = String::new();
    for part in said.iter().filter(|part| !part.is_empty()) {
        text.push_str(part);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// The answer of hosts under their names.
pub(super) fn block(hosts: &[&HostName], end: Option<&str>, said: &[&str]) -> String {
    let number = if hosts.len() > 1 { format!(" ({})", hosts.len()) } else { String::new() };
    let end = end.map_or_else(String::new, |why| format!(": {}", why.replace('\n', " ")));
    let mut text = format!("{RULE}\n{}{number}{end}\n{RULE}\n", folded(hosts.iter().copied()));
    // Indented, it cannot imitate the head of another host.
    said.iter().flat_map(|part| part.lines()).for_each(|line| _ = writeln!(text, "  {line}"));
    text
}

/// The failures of a command whose output was shown already, equal ones folded.
pub fn failures(run: &Run, events: &[Event]) -> String {
    let failed = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepEnded { host, name, outcome, .. } => {
            Some((outcome.failure(name)?.why.replace('\n', " "), host))
        }
        _ => None,
    });
    let mut text = String::new();
    for (why, hosts) in alike(failed) {
        _ = writeln!(text, "{}: {}", folded(hosts.iter().copied()), why);
    }
    let ended = |name: &HostName| {
        let of = |event: &Event| matches!(&event.kind, EventKind::StepEnded { host, .. } if host == name);
        events.iter().any(of)
    };
    let silent = run.hosts().iter().filter(|(name, _)| !ended(name));
    let silent = silent.filter_map(|(name, host)| host.settled().map(|settled| (settled, name)));
    for ((end, why), hosts) in alike(silent) {
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.replace('\n', " ")) };
        _ = writeln!(text, "{}: {}{why}", folded(hosts.iter().copied()), end.word());
    }
    text
}

/// Which hosts printed more than is kept, if any did.
pub fn cut(events: &[Event]) -> String {
    let cut = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepEnded { host, stdout, stderr, .. } => {
            let left_out = stdout.left_out + stderr.left_out;
            (left_out > 0).then_some((left_out, host))
        }
        _ => None,
    });
    let line = |(left_out, hosts): (u64, Vec<&HostName>)| {
        format!(
            "rollcall: {}: {left_out} bytes of the output are left out; without -b, --diff and --json all of it is printed\n",
            folded(hosts)
        )
    };
    alike(cut).into_iter().map(line).collect()
}

fn status(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Ok | Outcome::Unchanged | Outcome::WouldChange | Outcome::NotKnown { .. } => 0,
        Outcome::Failed { code, .. } => code.map_or(1_000, u64::from),
        Outcome::Timeout { .. } | Outcome::Cancelled => 2_000,
        Outcome::NotStarted { .. } | Outcome::Lost { .. } => 3_000,
    }
}

fn silent(run: &Run, answered: usize) -> String {
    let missing = run.hosts().len().saturating_sub(answered);
    if missing == 0 {
        return String::new();
    }
    let hosts =
        run.hosts().iter().filter(|(_, host)| host.end() == Some(End::NotStarted)).map(|(name, _)| name);
    format!("not started: {}\n", folded(hosts))
}

/// `show N --host H`: all events of one host, with all of its output that was kept.
pub fn host_story(host: &HostName, events: &[Event]) -> String {
    let mut text = String::new();
    for event in events.iter().filter(|event| event.kind.hosts().contains(host)) {
        _ = writeln!(
            text,
            "{} {}",
            event.at.strftime("%Y-%m-%d %H:%M:%S"),
            story_line(&event.kind).replace('\n', "\n    ")
        );
        if let EventKind::StepEnded { stdout, stderr, .. } = &event.kind {
            for (mark, output) in [("  ", stdout), ("! ", stderr)] {
                output.text.lines().for_each(|line| _ = writeln!(text, "    {mark}{}", line));
            }
        }
        for result in results_on(host, &event.kind) {
            let said = result.text.replace('\n', "\n      ");
            _ = writeln!(text, "    {}: {}: {said}", result.check, result.verdict.word());
            result.detail.lines().for_each(|line| _ = writeln!(text, "      {line}"));
        }
    }
    text
}

/// The results of checks on the host that an event contains.
fn results_on<'e>(host: &HostName, event: &'e EventKind) -> Vec<&'e CheckResult> {
    if let EventKind::ChecksEnded { results, .. } = event {
        return results.iter().collect();
    }
    let EventKind::SnapshotEnded { hosts, results, .. } = event else { return Vec::new() };
    hosts.iter().zip(results).filter(|(of, _)| *of == host).map(|(_, result)| result).collect()
}

fn story_line(kind: &EventKind) -> String {
    use EventKind::*;
    match kind {
        ObserveStarted { .. } => "looking at it".into(),
        Observed { previous: Some(previous), .. } => {
            format!("reached; its release before this run: {}", previous)
        }
        Observed { previous: None, .. } => "reached".into(),
        ObserveFailed { failure, .. } => format!("not reached: {}", &failure.why),
        BatchStarted { batch, .. } => format!("its batch, {}, begins", batch + 1),
        DrainStarted { balancer, .. } => format!("being taken out of {balancer}"),
        DrainEnded { change, .. } => format!("taken out: {}", change_word(change)),
        EnableStarted { balancer, .. } => format!("being put back into {balancer}"),
        EnableEnded { change, .. } => format!("put back: {}", change_word(change)),
        StepStarted { name, attempt, .. } => format!("step {name} begins (attempt {attempt})"),
        StepEnded { name, outcome, .. } => match outcome.failure(name) {
            Some(failure) => failure.why,
            None if *outcome == Outcome::WouldChange => format!("step {name}: would change"),
            None => format!("step {name}: {}", if *outcome == Outcome::Ok { "ok" } else { "unchanged" }),
        },
        StepSkipped { name, why, failed: true, .. } => format!("step {name} fails: {why}"),
        StepSkipped { name, why, .. } => format!("step {name} is skipped: {why}"),
        ChecksStarted { .. } => "checks begin".into(),
        ChecksEnded { .. } => "checks:".into(),
        SnapshotStarted { check, .. } => format!("compared with other hosts: {check}"),
        SnapshotEnded { .. } => "compared:".into(),
        RollbackStarted { why, .. } => format!("rolling back: {}", why),
        HostSettled { end, why, .. } => {
            format!("ends {}{}{}", end.word(), if why.is_empty() { "" } else { ": " }, why)
        }
        DrainForgotten { balancer, .. } => format!("found to be sent requests by {balancer} all the same"),
        RedrainStarted { balancer, .. } => format!("being taken out of {balancer} again"),
        RedrainEnded { change, .. } => format!("taken out again: {}", change_word(change)),
        DebtSettled { by, reason, in_rotation: true, .. } => {
            format!("its debt is settled by {by}, who saw it in rotation: {reason}")
        }
        DebtSettled { by, reason, .. } => format!("its debt is written off by {by}: {reason}"),
        RunStarted { .. }
        | Stopped { .. }
        | Paused(_)
        | Resumed { .. }
        | Approved { .. }
        | Recovered { .. }
        | CancelRequested { .. }
        | HookStarted { .. }
        | HookEnded { .. }
        | RunEnded { .. } => String::new(),
    }
}

fn change_word(change: &crate::domain::run::event::Change) -> String {
    use crate::domain::run::event::Change;
    match change {
        Change::Done { .. } => "done".into(),
        Change::Refused { why } => format!("nothing changed: {}", why),
        Change::Unknown { why } => format!("not known: {}", why),
    }
}
