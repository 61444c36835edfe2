//! What of a run people are notified of. The events of the journal decide alone, so a message follows from the journal,
//! however often it is read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::nodeset::fold;
use crate::domain::base::outcome::{End, RunOutcome};
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::{Event, EventKind, PausedUntil};

/// The operator of what rollcall does by itself.
const ROLLCALL: &str = "rollcall";

/// A moment of a run that people may be notified of, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunMoment {
    NeedsPerson,
    WaitingForApproval,
    Failed,
    Done,
    Started,
}

impl RunMoment {
    /// The word in TOML.
    pub fn word(self) -> &'static str {
        match self {
            RunMoment::NeedsPerson => "needs a person",
            RunMoment::WaitingForApproval => "waiting for approval",
            RunMoment::Failed => "failed",
            RunMoment::Done => "done",
            RunMoment::Started => "started",
        }
    }

    pub(super) fn is_urgent(self) -> bool {
        matches!(self, RunMoment::NeedsPerson | RunMoment::WaitingForApproval)
    }

    /// The moment that an event is, with its reason.
    pub fn of(event: &EventKind) -> Option<(RunMoment, String)> {
        let plain = |moment| Some((moment, String::new()));
        match event {
            EventKind::RunStarted { .. } => plain(RunMoment::Started),
            EventKind::Paused(pause) => match pause.until {
                PausedUntil::Approved => Some((RunMoment::WaitingForApproval, pause.why.clone())),
                // An operator who pauses a run knows it.
                PausedUntil::Resumed if pause.by == ROLLCALL => {
                    Some((RunMoment::NeedsPerson, pause.why.clone()))
                }
                PausedUntil::Resumed | PausedUntil::Time(_) | PausedUntil::Restart => None,
            },
            EventKind::RunEnded { outcome, .. } => match outcome {
                RunOutcome::Done => plain(RunMoment::Done),
                RunOutcome::NeedsPerson => plain(RunMoment::NeedsPerson),
                RunOutcome::Failed
                | RunOutcome::Unreachable
                | RunOutcome::Interrupted
                | RunOutcome::Cancelled => Some((RunMoment::Failed, outcome.word().to_string())),
                RunOutcome::Checked(_) => None,
            },
            EventKind::BatchStarted { .. }
            | EventKind::ObserveStarted { .. }
            | EventKind::Observed { .. }
            | EventKind::ObserveFailed { .. }
            | EventKind::DrainStarted { .. }
            | EventKind::DrainEnded { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepEnded { .. }
            | EventKind::StepSkipped { .. }
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
            | EventKind::Resumed { .. }
            | EventKind::Approved { .. }
            | EventKind::Recovered { .. }
            | EventKind::DebtSettled { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::HookStarted { .. }
            | EventKind::HookEnded { .. } => None,
        }
    }
}

/// Hosts that ended alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostsAtEnd {
    pub end: String,
    pub hosts: String,
    pub count: usize,
}

/// A moment of a run, as people read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunNews {
    pub moment: RunMoment,
    pub run: RunId,
    pub title: String,
    pub by: String,
    /// The groups that hold the hosts.
    pub group: String,
    pub hosts: String,
    pub count: usize,
    pub started_at: Timestamp,
    pub at: Timestamp,
    /// The run is over.
    pub is_over: bool,
    /// The reason of a pause, or how the run ended.
    pub why: String,
    pub ends: Vec<HostsAtEnd>,
    pub seq: u64,
}

impl RunNews {
    /// The same for all messages about the run.
    pub fn thread(&self) -> String {
        format!("run-{}", self.run)
    }

    /// The key of its message. That of the start is the thread itself, so that all others answer it.
    pub fn key(&self) -> String {
        match self.moment {
            RunMoment::Started => self.thread(),
            _ => format!("run-{}.{}", self.run, self.seq),
        }
    }

    /// The command that continues, without `ssh rollcall`.
    pub fn next(&self) -> String {
        let run = self.run;
        match (self.moment, self.is_over) {
            (RunMoment::Started, _) => format!("watch {run}"),
            (RunMoment::WaitingForApproval, _) => format!("approve {run}"),
            (RunMoment::NeedsPerson, false) => format!("resume {run}"),
            (RunMoment::NeedsPerson, true) => "debts".into(),
            (RunMoment::Failed, _) => format!("retry {run}"),
            (RunMoment::Done, _) => format!("show {run}"),
        }
    }
}

/// True for runs that people are notified of: those that change hosts, except commands that an operator types.
pub fn is_told(kind: &RunKind) -> bool {
    match kind {
        RunKind::Release { .. } | RunKind::Task { .. } | RunKind::Drain | RunKind::Enable => true,
        RunKind::DryRun { .. } | RunKind::Check | RunKind::Run | RunKind::Facts => false,
    }
}

/// The news that an event of a run is. `events` are those of the run; `group` says where its hosts are.
pub fn news(event: &Event, (plan, by): (&Plan, &str), events: &[Event], group: String) -> Option<RunNews> {
    let (moment, why) = RunMoment::of(&event.kind)?;
    let started_at = events.first().map_or(event.at, |first| first.at);
    let names: Vec<&str> = plan.hosts.keys().map(HostName::as_str).collect();
    Some(RunNews {
        moment,
        run: event.run,
        title: plan.title.0.clone(),
        by: by.to_string(),
        group,
        count: names.len(),
        hosts: fold(names),
        started_at,
        at: event.at,
        is_over: matches!(event.kind, EventKind::RunEnded { .. }),
        why,
        ends: ends(events.iter().filter(|before| before.seq <= event.seq)),
        seq: event.seq,
    })
}

/// How hosts ended so far; those that need a person first.
fn ends<'e>(events: impl Iterator<Item = &'e Event>) -> Vec<HostsAtEnd> {
    let mut by_host: BTreeMap<&HostName, End> = BTreeMap::new();
    for event in events {
        if let EventKind::HostSettled { host, end, .. } = &event.kind {
            by_host.insert(host, *end);
        }
    }
    let mut by_end: BTreeMap<(bool, End), Vec<&str>> = BTreeMap::new();
    for (host, end) in by_host {
        by_end.entry((!end.needs_person(), end)).or_default().push(host.as_str());
    }
    let line = |((_, end), hosts): ((bool, End), Vec<&str>)| HostsAtEnd {
        end: end.word().into(),
        count: hosts.len(),
        hosts: fold(hosts),
    };
    by_end.into_iter().map(line).collect()
}
