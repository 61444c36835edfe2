//! `status`, `history`, `why` and `downtime`.

use std::fmt::Write;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::json::line;
use super::table::{age, alike, columns, folded, moment};
use crate::domain::base::name::{HostName, RunId, count};
use crate::domain::base::outcome::{Verdict, seconds};
use crate::domain::check::check::CheckResult;
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::watch::roll::{Changed, CheckLine, Covered, Downtime, History, Quiet, Roll, Sample};
use crate::domain::watch::subject::Subject;

/// Columns of a sparkline.
const STRIP_WIDTH: usize = 60;

/// Changes that `history` lists.
const CHANGES_LISTED: usize = 20;

/// Runs in between that `why` lists.
const RUNS_LISTED: usize = 5;

/// No alerts are sent: a downtime, or a run that is working on the host.
pub fn is_silent(line: &CheckLine) -> bool {
    matches!(line.quiet, Some(Quiet::Downtime { .. } | Quiet::InHand { .. }))
}

fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Critical => 0,
        Verdict::Unknown => 1,
        Verdict::Warning => 2,
        Verdict::Ok => 3,
    }
}

/// Problems folded over their hosts, worst first, and the sum of all.
pub fn status(roll: &Roll, now: Timestamp) -> String {
    let mut problems: Vec<&CheckLine> =
        roll.lines.iter().filter(|line| line.is_problem() || line.flapping).collect();
    // Quiet problems come after the others, soft after hard, then the oldest first.
    problems.sort_by_key(|line| {
        let verdict = line.verdict.unwrap_or(Verdict::Ok);
        (is_silent(line), line.ack.is_some(), line.quiet.is_some(), !line.hard, weight(verdict), line.since)
    });
    let rows = alike(
        problems
            .iter()
            .map(|line| ((line.check.clone(), word(line), notes(line, now), line.text.clone()), *line)),
    );
    let mut table = Vec::new();
    for ((check, word, notes, text), lines) in rows {
        let since = lines.iter().filter_map(|line| line.since).min();
        let hosts = folded(lines.iter().map(|line| &line.host));
        let age = since.map_or_else(|| "-".into(), |since| age(since, now));
        table.push(vec![word, hosts, check.to_string(), age, notes, text]);
    }
    let mut text = String::new();
    if !table.is_empty() {
        let head = ["STATE", "HOSTS", "CHECK", "FOR", "NOTE", "SEEN"].map(String::from).to_vec();
        table.insert(0, head);
        text = columns(&table);
    }
    text + &sum(roll)
}

fn word(line: &CheckLine) -> String {
    let word = line.verdict.map_or("-", Verdict::word);
    match (line.flapping, line.hard) {
        (true, _) => format!("{word} flapping"),
        (false, true) => word.to_string(),
        (false, false) => format!("{word} {}/{}", line.attempt, line.max_attempts),
    }
}

fn notes(line: &CheckLine, now: Timestamp) -> String {
    let ack = line.ack.as_ref().map(|ack| format!("known to {}: {}", ack.by, ack.why));
    let quiet = line.quiet.as_ref().map(|quiet| quiet_words(quiet, now));
    let notes: Vec<String> = ack.into_iter().chain(quiet).collect();
    if notes.is_empty() { "-".into() } else { notes.join("; ") }
}

fn quiet_words(quiet: &Quiet, now: Timestamp) -> String {
    match quiet {
        Quiet::Downtime { id, by, why, until } => {
            format!("downtime {id} by {by} for {} more: {why}", age(now, *until))
        }
        Quiet::InHand { run } => format!("in the hands of run {run}"),
        Quiet::DependsOn { on } => format!("waits for {on}"),
    }
}

fn sum(roll: &Roll) -> String {
    if roll.lines.is_empty() {
        return "nothing is watched here; try: every = \"5m\" in a check, see docs/monitoring.md\n".into();
    }
    let hosts: std::collections::BTreeSet<&HostName> = roll.lines.iter().map(|line| &line.host).collect();
    let with = |verdict| roll.lines.iter().filter(|line| line.verdict == verdict).count();
    let words =
        [Some(Verdict::Critical), Some(Verdict::Unknown), Some(Verdict::Warning), Some(Verdict::Ok), None];
    let counts =
        words.into_iter().map(|verdict| (with(verdict), verdict.map_or("not probed yet", Verdict::word)));
    let counts: Vec<String> =
        counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let late = match roll.pace.late_max_ms {
        0..1_000 => String::new(),
        late => format!("; the schedule is up to {} late", seconds(late)),
    };
    let hosts = count(hosts.len(), "host");
    format!("{} on {hosts}: {}{late}\n", count(roll.lines.len(), "check"), counts.join(", "))
}

/// Set and name for programs; the contact of a host has no set.
pub fn named(subject: &Subject) -> (Option<&str>, &str) {
    let (set, name) = subject.row();
    ((!set.is_empty()).then_some(set), name)
}

/// `history` for programs.
pub fn history_line(host: &HostName, history: &History) -> String {
    let (set, check) = named(&history.check);
    let History { samples, changes, .. } = history;
    line(
        "history",
        json!({ "host": host, "set": set, "check": check, "samples": samples, "changes": changes }),
    )
}

/// The record of a check: numbers, verdicts, and when they changed.
pub fn history(host: &HostName, history: &History, now: Timestamp, fancy: bool) -> String {
    let mut text = format!("{host} {}: ", history.check);
    match (history.samples.first(), history.samples.last()) {
        (Some(first), Some(last)) => {
            let probes = count(history.samples.len(), "probe");
            _ = writeln!(text, "{probes} from {} ago to {} ago", age(first.at, now), age(last.at, now));
            let buckets = buckets(&history.samples);
            text.push_str(&numbers(&history.samples, &buckets, fancy));
            _ = writeln!(text, "  |{}|  . ok  ! warning  X critical  ? unknown", strip(&buckets));
        }
        _ => text.push_str("no probe is kept any longer\n"),
    }
    let skip = history.changes.len().saturating_sub(CHANGES_LISTED);
    let rows: Vec<Vec<String>> =
        history.changes.iter().skip(skip).map(|change| change_row(change, now)).collect();
    if skip > 0 {
        _ = writeln!(text, "  {} before", count(skip, "change"));
    }
    text + &columns(&rows)
}

fn change_row(change: &Changed, now: Timestamp) -> Vec<String> {
    let soft = if change.hard { "" } else { " (soft)" };
    let by = change.run.map_or_else(String::new, |run| format!("run {run}: "));
    let note = change.note.as_ref().map_or_else(String::new, |note| format!("{note}: "));
    vec![
        format!("  {}", moment(change.at)),
        format!("{} ago", age(change.at, now)),
        format!("{}{soft}", change.verdict.word()),
        format!("{by}{note}{}", change.text),
    ]
}

/// Groups probes by time, as many groups as there are columns.
fn buckets(samples: &[Sample]) -> Vec<Vec<&Sample>> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Vec::new() };
    let width = STRIP_WIDTH.min(samples.len());
    let length = (last.at.as_millisecond() - first.at.as_millisecond()).max(1);
    let mut buckets = vec![Vec::new(); width];
    for sample in samples {
        let place = (sample.at.as_millisecond() - first.at.as_millisecond()) * width as i64 / (length + 1);
        if let Some(bucket) = usize::try_from(place).ok().and_then(|place| buckets.get_mut(place)) {
            bucket.push(sample);
        }
    }
    buckets
}

fn strip(buckets: &[Vec<&Sample>]) -> String {
    let one = |bucket: &Vec<&Sample>| match Verdict::worst(bucket.iter().map(|sample| sample.verdict)) {
        _ if bucket.is_empty() => ' ',
        Verdict::Ok => '.',
        Verdict::Warning => '!',
        Verdict::Critical => 'X',
        Verdict::Unknown => '?',
    };
    buckets.iter().map(one).collect()
}

/// A line of bars; without a terminal in plain characters. Without measured values it shows how long probes took.
fn numbers(samples: &[Sample], buckets: &[Vec<&Sample>], fancy: bool) -> String {
    let measured = samples.iter().any(|sample| sample.value.is_some());
    let value = |sample: &Sample| if measured { sample.value } else { Some(sample.took_ms as f64) };
    let values: Vec<f64> = samples.iter().filter_map(value).filter(|value| value.is_finite()).collect();
    let (low, high) =
        values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    if values.is_empty() {
        return String::new();
    }
    let steps: Vec<char> = if fancy { "▁▂▃▄▅▆▇█" } else { "_.-=+*%#" }.chars().collect();
    let bar = |bucket: &Vec<&Sample>| {
        let values: Vec<f64> =
            bucket.iter().filter_map(|sample| value(sample)).filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            return ' ';
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let share = if high > low { (mean - low) / (high - low) } else { 0.0 };
        let step = (share * (steps.len() - 1) as f64).round() as usize;
        steps.get(step).copied().unwrap_or(' ')
    };
    let bars: String = buckets.iter().map(bar).collect();
    let unit = if measured { "" } else { " ms per probe" };
    format!("  |{bars}|  {low} to {high}{unit}\n")
}

/// Why a check has its state.
#[derive(Debug)]
pub struct Reason {
    pub check: Subject,
    pub verdict: Verdict,
    state: String,
    since: Option<Timestamp>,
    last_at: Option<Timestamp>,
    text: String,
    last_ok: Option<(Timestamp, String)>,
    quiet: Option<Quiet>,
    ack: Option<String>,
    seen_by: Option<RunId>,
    /// Runs that touched the host since the check was ok; newest first.
    runs: Vec<RunSummary>,
}

impl Reason {
    /// From its present state, if it is watched, and from its stored record.
    pub fn of(line: Option<&CheckLine>, history: &History, runs: &[RunSummary]) -> Option<Reason> {
        let watched = line.and_then(|line| Some(Reason::of_line(line, line.verdict?)));
        let mut reason = watched.or_else(|| Reason::of_history(history))?;
        let Some((ok_at, _)) = &reason.last_ok else { return Some(reason) };
        let since = |run: &&RunSummary| run.ended_at.is_none_or(|ended| ended >= *ok_at);
        let before = |run: &&RunSummary| reason.since.is_none_or(|since| run.started_at <= since);
        let between = runs.iter().filter(since).filter(|run| reason.verdict == Verdict::Ok || before(run));
        reason.runs = between.cloned().collect();
        Some(reason)
    }

    fn of_line(line: &CheckLine, verdict: Verdict) -> Reason {
        Reason {
            check: line.check.clone(),
            verdict,
            state: word(line),
            since: line.since,
            last_at: line.last_at,
            text: line.text.clone(),
            last_ok: line.last_ok.clone(),
            quiet: line.quiet.clone(),
            ack: line.ack.as_ref().map(|ack| format!("known to {}: {}", ack.by, ack.why)),
            seen_by: None,
            runs: Vec::new(),
        }
    }

    /// Of a check that only runs probe.
    fn of_history(history: &History) -> Option<Reason> {
        let last = history.samples.last()?;
        let change = history.changes.last();
        let ok = history.samples.iter().rev().find(|sample| sample.verdict == Verdict::Ok);
        let ok_text = history.changes.iter().rev().find(|change| change.verdict == Verdict::Ok);
        Some(Reason {
            check: history.check.clone(),
            verdict: last.verdict,
            state: last.verdict.word().into(),
            since: change.map(|change| change.at),
            last_at: Some(last.at),
            text: change.map(|change| change.text.clone()).unwrap_or_default(),
            last_ok: ok.map(|ok| (ok.at, ok_text.map(|change| change.text.clone()).unwrap_or_default())),
            quiet: None,
            ack: None,
            seen_by: last.run,
            runs: Vec::new(),
        })
    }

    /// For programs.
    pub fn to_value(&self, host: &HostName) -> Value {
        let (set, check) = named(&self.check);
        let Reason { verdict, since, last_at, text, last_ok, quiet, ack, seen_by, runs, .. } = self;
        json!({
            "host": host, "set": set, "check": check, "verdict": verdict, "since": since, "last_at": last_at,
            "seen": text, "last_ok": last_ok, "quiet": quiet, "ack": ack, "seen_by": seen_by, "runs_in_between": runs,
        })
    }
}

/// A host that is out of rotation, and the checks of the gate that did not pass.
#[derive(Debug, Serialize)]
pub struct HeldHost {
    #[serde(flatten)]
    pub debt: Debt,
    pub gate: Vec<CheckResult>,
}

fn held_words(held: &HeldHost, in_hand: Option<RunId>, now: Timestamp) -> String {
    let Debt { host, balancer, run, since, why, written_off, .. } = &held.debt;
    let mut text = format!(
        "{host} is out of rotation in {balancer}: run {run} took it out {} ago (since {}); {why}\n",
        age(*since, now),
        moment(*since)
    );
    for CheckResult { check, verdict, text: said, .. } in &held.gate {
        _ = writeln!(text, "  gate     check {check} is {}: {said}", verdict.word());
    }
    if let Some(off) = written_off {
        _ = writeln!(text, "  note     written off by {}, {} ago: {}", off.by, age(off.at, now), off.reason);
    }
    _ = match in_hand {
        Some(run) => writeln!(text, "  next     watch {run}"),
        None => writeln!(
            text,
            "  next     show {run} --host {host}; if `check {host}` is ok, put it back: balancer enable {host}"
        ),
    };
    text
}

/// The problems of a host.
pub fn why(
    host: &HostName,
    (held, reasons, is_probed): (Option<&HeldHost>, &[Reason], bool),
    in_hand: Option<RunId>,
    now: Timestamp,
) -> String {
    let mut text = held.map_or_else(String::new, |held| held_words(held, in_hand, now));
    if let Some(run) = in_hand {
        _ = writeln!(text, "{host} is in the hands of run {run}; see: watch {run}");
    }
    if !is_probed {
        _ = writeln!(
            text,
            "{host}: the schedule has probed no check of it, so nothing is known; try: check {host}"
        );
    } else if reasons.is_empty() && held.is_none() {
        _ = writeln!(text, "{host}: every watched check was ok at its last probe");
    }
    for reason in reasons {
        let since = reason
            .since
            .map_or_else(String::new, |since| format!(" for {} (since {})", age(since, now), moment(since)));
        _ = writeln!(text, "{host} {}: {}{since}", reason.check, reason.state);
        let by = reason.seen_by.map_or_else(String::new, |run| format!(" by run {run}"));
        let when = reason.last_at.map_or_else(String::new, |at| format!("{} ago{by}: ", age(at, now)));
        _ = writeln!(text, "  seen     {when}{}", reason.text);
        match &reason.last_ok {
            Some((at, words)) if reason.verdict != Verdict::Ok => {
                _ = writeln!(text, "  last ok  {} ago ({}): {words}", age(*at, now), moment(*at));
                text.push_str(&between(&reason.runs, now));
            }
            None if reason.verdict != Verdict::Ok => text.push_str("  last ok  never, as far as is kept\n"),
            _ => {}
        }
        let ack = reason.ack.iter().cloned();
        for note in ack.chain(reason.quiet.as_ref().map(|quiet| quiet_words(quiet, now))) {
            _ = writeln!(text, "  note     {note}");
        }
    }
    text
}

fn between(runs: &[RunSummary], now: Timestamp) -> String {
    if runs.is_empty() {
        return "  between  no run of rollcall touched the host\n".into();
    }
    let mut text = String::new();
    for run in runs.iter().take(RUNS_LISTED) {
        let outcome = run.outcome.map_or("under way", |outcome| outcome.word());
        let RunSummary { run, title, by, started_at, .. } = run;
        _ = writeln!(
            text,
            "  between  run {run} by {by}, {} ago: {title} ({outcome})",
            age(*started_at, now)
        );
    }
    if runs.len() > RUNS_LISTED {
        _ = writeln!(text, "           and {} more; see: runs", runs.len() - RUNS_LISTED);
    }
    text
}

/// `downtime`: those under way.
pub fn downtimes(downtimes: &[Downtime], now: Timestamp) -> String {
    if downtimes.is_empty() {
        return "no downtime: every watched check alerts\n".into();
    }
    let mut rows = vec![["NUMBER", "HOSTS", "CHECK", "ENDS IN", "BY", "WHY"].map(String::from).to_vec()];
    for downtime in downtimes {
        rows.push(vec![
            downtime.id.to_string(),
            folded(&downtime.hosts),
            downtime.of.to_string(),
            age(now, downtime.until),
            downtime.by.clone(),
            downtime.why.clone(),
        ]);
    }
    columns(&rows)
}

/// A downtime that has started.
pub fn begun(downtime: &Downtime) -> String {
    let hosts = count(downtime.hosts.len(), "host");
    let what = match &downtime.of {
        Covered::All => "checks".to_string(),
        other => format!("`{other}`"),
    };
    let (id, until) = (downtime.id, moment(downtime.until));
    format!("downtime {id}: no alerts for the {what} of {hosts} until {until}; sooner: downtime end {id}\n")
}
