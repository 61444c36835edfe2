//! A run as it happens: one event, one line, with the host right-aligned in front.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::base::name::{HostName, RunId, count};
use crate::domain::base::outcome::{End, Outcome, Verdict, seconds};
use crate::domain::base::output::{Output, clipped};
use crate::domain::check::check::CheckResult;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::{BracketDirection, Change, Event, EventKind, PausedUntil, Progress, Then};

use super::plan::targets;
use super::table::folded;

/// Most lines of a failed step's output that are printed; `show N --host H` has all that was kept.
const TAIL_LINES: usize = 10;

/// Most characters of one line that are printed; `show N --host H` has all that was kept.
const LINE_CHARS_LIMIT: usize = 4_000;

/// Widest host column; longer names exceed it.
const HOST_WIDTH_LIMIT: usize = 32;

/// Of a plan with more batches, the block and the heartbeat say which one it is.
const BATCHES_PRINTED: usize = 20;

/// Turns the events of one run into lines.
pub struct Lines<'a> {
    plan: &'a Plan,
    width: usize,
    /// Only what matters is printed: no line for a step or check that passed, or for a host that is well.
    pub is_brief: bool,
    /// Hosts whose last checks did not pass.
    bad: BTreeSet<HostName>,
    /// Hosts whose output was printed while it arrived.
    followed: BTreeSet<HostName>,
    /// Hosts that wait for room, and the printed reason: rollcall asks the balancer often, and prints what changes.
    waiting: BTreeMap<HostName, String>,
}

impl<'a> Lines<'a> {
    /// Lines for runs of `plan`.
    pub fn new(plan: &'a Plan) -> Lines<'a> {
        let width = plan
            .hosts
            .keys()
            .map(|host| host.as_str().chars().count())
            .max()
            .unwrap_or(0)
            .min(HOST_WIDTH_LIMIT);
        Lines {
            plan,
            width,
            is_brief: false,
            bad: BTreeSet::new(),
            followed: Default::default(),
            waiting: BTreeMap::new(),
        }
    }

    /// Nothing for hosts that wait for room already.
    fn draining(&self, balancer: &str, hosts: &[HostName]) -> String {
        match hosts.iter().all(|host| self.waiting.contains_key(host)) {
            true => String::new(),
            false => format!("{balancer}: taking out {}\n", folded(hosts)),
        }
    }

    fn drained(&mut self, balancer: &str, hosts: &[HostName], change: &Change) -> String {
        changed(balancer, "out of rotation", hosts, change) + &self.waits(balancer, hosts, change)
    }

    /// The hosts of a drain that wait for room, unless that was printed already.
    fn waits(&mut self, balancer: &str, hosts: &[HostName], change: &Change) -> String {
        let (kept, note) = match change {
            Change::Done { kept, note, .. } => (kept.as_slice(), note.as_str()),
            Change::Refused { .. } | Change::Unknown { .. } => (&[][..], ""),
        };
        self.waiting.retain(|host, _| !hosts.contains(host) || kept.contains(host));
        let news: Vec<&HostName> =
            kept.iter().filter(|host| self.waiting.get(*host).is_none_or(|known| known != note)).collect();
        let text = match news.is_empty() {
            true => String::new(),
            false => format!("{balancer}: {} waits: {}\n", folded(news.iter().copied()), waits_word(note)),
        };
        self.waiting.extend(kept.iter().map(|host| (host.clone(), note.to_string())));
        text
    }

    /// A line that a host has just printed.
    pub fn progress(&mut self, progress: &Progress) -> String {
        self.followed.insert(progress.host.clone());
        self.host(&progress.host, &format!("  {}", &progress.line))
    }

    /// The line of an event, with its newline; empty for events that report nothing new.
    pub fn event(&mut self, event: &Event) -> String {
        let is_batch = matches!(event.kind, EventKind::BatchStarted { .. });
        let is_routine = is_routine(&event.kind) || (is_batch && self.plan.batches.len() > BATCHES_PRINTED);
        // A host that was printed as bad is printed once more when it is well.
        let recovers = self.recovers(&event.kind);
        if self.is_brief && is_routine && !recovers { String::new() } else { self.line(event) }
    }

    /// True for checks that pass on a host whose last checks did not.
    fn recovers(&mut self, kind: &EventKind) -> bool {
        let EventKind::ChecksEnded { host, results, .. } = kind else { return false };
        match results.iter().all(|result| result.verdict == Verdict::Ok) {
            true => self.bad.remove(host),
            false => {
                self.bad.insert(host.clone());
                false
            }
        }
    }

    fn line(&mut self, event: &Event) -> String {
        use EventKind::*;
        match &event.kind {
            RunStarted { title, by, .. } => self.started(event.run.0, title, by),
            BatchStarted { batch, hosts } => self.batch(*batch, hosts),
            DrainStarted { balancer, hosts } => self.draining(balancer, hosts),
            DrainEnded { balancer, hosts, change } => self.drained(balancer, hosts, change),
            EnableStarted { balancer, hosts } => format!("{balancer}: putting back {}\n", folded(hosts)),
            EnableEnded { balancer, hosts, change } => changed(balancer, "back in rotation", hosts, change),
            ObserveFailed { host, failure } => self.host(host, &failure.why),
            HookEnded { hook, name, outcome, stdout, stderr, took_ms, .. } => {
                let line = step_line(BracketDirection::Forward, name, 1, outcome, *took_ms);
                self.here(&format!("hook {}: {line}", hook.word()), outcome, stdout, stderr)
            }
            StepEnded { host, way, name, attempt, outcome, stdout, stderr, took_ms, .. } => {
                let line = step_line(*way, name, *attempt, outcome, *took_ms);
                self.host(host, &line) + &self.output(host, outcome, stdout, stderr)
            }
            StepSkipped { host, way, name, why, failed, .. } => {
                self.host(host, &skipped_line(*way, name, why, *failed))
            }
            ChecksEnded { host, results, .. } => {
                results.iter().map(|result| self.host(host, &check_line(result))).collect()
            }
            SnapshotEnded { hosts, results, .. } => {
                hosts.iter().zip(results).map(|(host, result)| self.host(host, &check_line(result))).collect()
            }
            RollbackStarted { host, why } => self.host(host, &format!("rolling back: {}", why)),
            // Hosts that never started are in the recap; a line for each would bury the others.
            HostSettled { host, end, why } if self.plan.has_bracket() && *end != End::NotStarted => {
                let why = if why.is_empty() { String::new() } else { format!(": {}", why) };
                self.host(host, &format!("{}{why}", end.word()))
            }
            DrainForgotten { balancer, hosts } => {
                format!(
                    "{balancer}: sends requests to {} in their bracket: another process or a reload has enabled them\n",
                    folded(hosts)
                )
            }
            RedrainStarted { balancer, hosts } => format!("{balancer}: taking out {} again\n", folded(hosts)),
            RedrainEnded { balancer, hosts, change } => {
                changed(balancer, "out of rotation again", hosts, change)
            }
            Paused(pause) => {
                format!("paused by {}: {}; {}\n", pause.by, flat(&pause.why), way_on(event.run, &pause.until))
            }
            Resumed { by, why, .. } => format!("resumed by {by}{}\n", reason(why)),
            Approved { by, plan_sha256, .. } => {
                format!("approved by {by}, for the plan {}\n", plan_sha256.get(..12).unwrap_or(plan_sha256))
            }
            Recovered { then, why, .. } => format!("{}; the run {}\n", flat(why), then_word(*then)),
            DebtSettled { host, by, reason: why, in_rotation, .. } => {
                let how = if *in_rotation { "seen in rotation" } else { "written off" };
                self.host(host, &format!("its debt is settled by {by}, {how}: {why}"))
            }
            Stopped { why } => format!("stopped: {}; no further host starts\n", flat(why)),
            CancelRequested { by, now, .. } => cancelled(by, *now),
            Observed { .. }
            | ObserveStarted { .. }
            | StepStarted { .. }
            | HookStarted { .. }
            | ChecksStarted { .. }
            | SnapshotStarted { .. }
            | HostSettled { .. }
            | RunEnded { .. } => String::new(),
        }
    }

    fn host(&self, host: &HostName, text: &str) -> String {
        let width = self.width;
        let line = |line: &str| format!("{host:>width$} | {}\n", clipped(line, LINE_CHARS_LIMIT));
        // Every line gets the host, so that none can imitate a line of another host or of rollcall.
        match text.contains('\n') {
            true => text.lines().map(line).collect(),
            false => line(text),
        }
    }

    /// A line about the daemon's machine, with the output of a failed step.
    fn here(&self, line: &str, outcome: &Outcome, stdout: &Output, stderr: &Output) -> String {
        format!("{}\n", flat(line)) + &self.output(&HostName::from(Endpoint::HERE), outcome, stdout, stderr)
    }

    fn started(&self, run: u64, title: &str, by: &str) -> String {
        let hosts = count(self.plan.hosts.len(), "host");
        match self.plan.kind {
            RunKind::Release { .. } => {
                format!(
                    "run {run}: {title}, by {by}: {hosts} in {}\n{}",
                    count(self.plan.batches.len(), "batch"),
                    targets(self.plan)
                )
            }
            _ => format!("run {run}: {}, by {by}: {hosts}\n", title),
        }
    }

    fn batch(&self, batch: usize, hosts: &[HostName]) -> String {
        if !self.plan.has_bracket() {
            return String::new();
        }
        format!("batch {}/{}: {}\n", batch + 1, self.plan.batches.len(), folded(hosts))
    }

    /// The tail of a failed step's output, unless it was printed while it arrived.
    fn output(&self, host: &HostName, outcome: &Outcome, stdout: &Output, stderr: &Output) -> String {
        if outcome.is_good() || self.followed.contains(host) {
            return String::new();
        }
        let all: Vec<&str> = stdout.text.lines().chain(stderr.text.lines()).collect();
        let tail = all.len().saturating_sub(TAIL_LINES);
        all[tail..].iter().map(|line| self.host(host, &format!("  {}", line))).collect()
    }
}

/// True for an event of a run without trouble, which the block or the heartbeat counts.
fn is_routine(kind: &EventKind) -> bool {
    use EventKind::*;
    match kind {
        StepEnded { outcome, .. } | HookEnded { outcome, .. } => outcome.is_good(),
        StepSkipped { failed, .. } => !failed,
        ChecksEnded { results, .. } | SnapshotEnded { results, .. } => {
            results.iter().all(|result| result.verdict == Verdict::Ok)
        }
        HostSettled { end, .. } => matches!(end, End::Released | End::Unchanged | End::Done),
        DrainStarted { .. } | EnableStarted { .. } => true,
        // A note says what the operator has to know about the balancer, or why hosts wait for room.
        DrainEnded { change, .. } | EnableEnded { change, .. } => {
            matches!(change, Change::Done { foreign, kept, note } if foreign.is_empty() && kept.is_empty() && note.is_empty())
        }
        RunStarted { .. }
        | BatchStarted { .. }
        | ObserveStarted { .. }
        | Observed { .. }
        | ObserveFailed { .. }
        | StepStarted { .. }
        | ChecksStarted { .. }
        | SnapshotStarted { .. }
        | RollbackStarted { .. }
        | DrainForgotten { .. }
        | RedrainStarted { .. }
        | RedrainEnded { .. }
        | Stopped { .. }
        | Paused(..)
        | Resumed { .. }
        | Approved { .. }
        | Recovered { .. }
        | DebtSettled { .. }
        | CancelRequested { .. }
        | HookStarted { .. }
        | RunEnded { .. } => false,
    }
}

/// A reason in one line of bounded length, which cannot imitate several lines.
fn flat(text: &str) -> String {
    clipped(text, LINE_CHARS_LIMIT).replace('\n', " ")
}

/// How a pause ends, as a command for the operator.
fn way_on(run: RunId, until: &PausedUntil) -> String {
    match until {
        PausedUntil::Resumed => format!("to go on: resume {run}"),
        PausedUntil::Time(time) => format!("until {}; to go on now: resume {run}", time.strftime("%H:%M:%S")),
        PausedUntil::Approved => format!("to go on: approve {run}"),
        PausedUntil::Restart => "hosts in their bracket finish it".into(),
    }
}

fn then_word(then: Then) -> &'static str {
    match then {
        Then::GoesOn => "continues",
        Then::Pauses => "finishes the hosts in their bracket and pauses",
        Then::Stops => "finishes the hosts in their bracket and stops",
        Then::RollsBack => "is rolled back",
    }
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

fn cancelled(by: &str, now: bool) -> String {
    let how = if now { ", ending what is running" } else { "" };
    format!("cancelled by {by}{how}; no further host starts\n")
}

fn skipped_line(way: BracketDirection, name: &str, why: &str, failed: bool) -> String {
    let back = if way == BracketDirection::Back { "rollback: " } else { "" };
    let word = if failed { "FAILED" } else { "skipped" };
    format!("{back}{name}: {word}: {why}")
}

fn check_line(result: &CheckResult) -> String {
    format!("check {}: {}: {}", result.check, result.verdict.word(), result.text)
}

fn step_line(way: BracketDirection, name: &str, attempt: u32, outcome: &Outcome, took_ms: u64) -> String {
    let back = if way == BracketDirection::Back { "rollback: " } else { "" };
    let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    let end = match outcome {
        Outcome::Ok => format!("ok  {}", seconds(took_ms)),
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Failed { why, .. } => format!("FAILED: {}", why),
        Outcome::NotStarted { why } => format!("NOT STARTED: {}", why),
        Outcome::Timeout { after_ms } => {
            format!("FAILED: took longer than {} and was ended", seconds(*after_ms))
        }
        Outcome::Cancelled => "cancelled".into(),
        Outcome::Lost { why } => format!("UNKNOWN: contact lost: {}", why),
        Outcome::WouldChange => "would change".into(),
        Outcome::NotKnown { why } => format!("not known beforehand: {why}"),
    };
    format!("{back}{name}{again}: {end}")
}

/// The note says how many servers must stay, and which ones are missed.
fn waits_word(note: &str) -> String {
    match note {
        "" => "too few would be left in service (min_in_service)".into(),
        note => flat(note),
    }
}

fn changed(balancer: &str, what: &str, hosts: &[HostName], change: &Change) -> String {
    match change {
        Change::Done { foreign, kept, note } => {
            let words = if note.is_empty() { String::new() } else { format!(" ({})", flat(note)) };
            let part = |hosts: &[HostName], why: &str| match hosts.is_empty() {
                true => String::new(),
                false => format!("{balancer}: {} {why}\n", folded(hosts)),
            };
            let done: Vec<&HostName> = hosts.iter().filter(|host| !kept.contains(host)).collect();
            let done = match done.is_empty() {
                true => String::new(),
                false => format!("{balancer}: {what}: {}{words}\n", folded(done)),
            };
            done + &part(foreign, "was already taken out by another process, and stays out")
        }
        Change::Refused { why } => {
            format!("{balancer}: nothing changed for {}: {}\n", folded(hosts), flat(why))
        }
        Change::Unknown { why } => format!("{balancer}: UNKNOWN for {}: {}\n", folded(hosts), flat(why)),
    }
}
