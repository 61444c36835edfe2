//! Invariants of a journal: what may follow what. Nothing but the plan and the events is looked at, and none
//! of the code that decides.

use std::collections::BTreeMap;

use rollcall::domain::base::name::HostName;
use rollcall::domain::base::outcome::{End, Outcome, RunOutcome};
use rollcall::domain::plan::plan::Plan;
use rollcall::domain::run::event::{BracketDirection, Change, Event, EventKind, Stage};

use super::world::MAX_FAILURES;

/// What the journal says of one host.
#[derive(Default)]
struct Seen {
    begun: bool,
    owed: bool,
    foreign: bool,
    /// Back in rotation, or proven where it was all along.
    through: bool,
    /// Something was done to it, or may have been.
    touched: bool,
    proven: bool,
    previous: Option<String>,
    /// The last attempt and how it ended.
    attempt: Option<((BracketDirection, usize, u32), Option<Outcome>)>,
    end: Option<End>,
}

/// Reads a journal, and complains.
struct Reader<'a> {
    plan: &'a Plan,
    hosts: BTreeMap<&'a HostName, Seen>,
    batch: Option<usize>,
    stopped: bool,
    cancelled: bool,
    cancelled_now: bool,
    ended: bool,
    faults: Vec<String>,
}

/// The faults of a journal.
pub fn faults_of(plan: &Plan, events: &[Event]) -> Vec<String> {
    let mut reader = Reader {
        plan,
        hosts: plan.hosts.keys().map(|name| (name, Seen::default())).collect(),
        batch: None,
        stopped: false,
        cancelled: false,
        cancelled_now: false,
        ended: false,
        faults: Vec::new(),
    };
    for (at, event) in events.iter().enumerate() {
        if event.seq != at as u64 + 1 {
            reader.fault("I10 audit monotone", &format!("event {} stands at {}", event.seq, at + 1));
        }
        if reader.ended {
            reader.fault("I4 debt closure", "something follows the end of the run");
        }
        reader.read(&event.kind);
    }
    if !reader.ended {
        reader.fault("I12 bounded liveness", "the run has no end");
    }
    reader.faults
}

impl Reader<'_> {
    fn fault(&mut self, invariant: &str, what: &str) {
        self.faults.push(format!("{invariant}: {what}"));
    }

    fn seen(&mut self, host: &HostName) -> &mut Seen {
        self.hosts.get_mut(host).expect("a host of the plan")
    }

    fn read(&mut self, kind: &EventKind) {
        match kind {
            // There are none here.
            EventKind::HookStarted { .. } | EventKind::HookEnded { .. } => {}
            EventKind::RunStarted { .. } => {}
            EventKind::BatchStarted { batch, hosts } => self.batch_started(*batch, hosts),
            EventKind::ObserveStarted { host } => self.begins(host),
            EventKind::Observed { host, previous, .. } => self.seen(host).previous = previous.clone(),
            EventKind::ObserveFailed { .. } => {}
            EventKind::DrainStarted { hosts, .. } => hosts.iter().for_each(|host| {
                self.begins(host);
                self.seen(host).owed = true;
            }),
            EventKind::DrainEnded { hosts, change, .. } => self.drained(hosts, change),
            EventKind::StepStarted { host, way, step, attempt, .. } => {
                self.step_started(host, (*way, *step, *attempt));
            }
            EventKind::StepEnded { host, way, step, attempt, outcome, .. } => {
                self.step_ended(host, (*way, *step, *attempt), outcome);
            }
            EventKind::StepSkipped { host, way, step, .. } => {
                self.step_started(host, (*way, *step, 1));
                self.step_ended(host, (*way, *step, 1), &Outcome::Unchanged);
            }
            EventKind::ChecksStarted { .. }
            | EventKind::SnapshotStarted { .. }
            | EventKind::SnapshotEnded { .. } => {}
            EventKind::ChecksEnded { host, stage: Stage::Gate, results } => {
                let wanted = self.plan.hosts[host].checks.len();
                let seen = self.seen(host);
                seen.proven = results.len() == wanted && results.iter().all(|result| result.verdict.passes());
                seen.through |= seen.proven && !seen.owed;
            }
            EventKind::ChecksEnded { host, stage: Stage::Roll, results } => {
                if results.iter().any(|result| result.text == "cancelled") {
                    let what = format!("{host} is called by checks that nobody made");
                    self.fault("I13 three-valued outcomes", &what);
                }
            }
            EventKind::RollbackStarted { host, .. } => {
                if self.seen(host).previous.is_none() {
                    self.fault("I14 rollback target first", &format!("{host} has none"));
                }
                self.seen(host).proven = false;
            }
            EventKind::EnableStarted { hosts, .. } => hosts.iter().for_each(|host| self.enables(host)),
            EventKind::EnableEnded { hosts, change, .. } => {
                let done = matches!(change, Change::Done { .. });
                hosts.iter().filter(|_| done).for_each(|host| {
                    let seen = self.seen(host);
                    (seen.owed, seen.through) = (false, true);
                });
            }
            EventKind::HostSettled { host, end, .. } => self.settled(host, *end),
            EventKind::Stopped { .. } => self.stopped = true,
            EventKind::CancelRequested { now, .. } => {
                self.cancelled = true;
                self.cancelled_now |= now;
            }
            EventKind::RunEnded { outcome, .. } => self.run_ended(*outcome),
            EventKind::DrainForgotten { .. }
            | EventKind::RedrainStarted { .. }
            | EventKind::RedrainEnded { .. }
            | EventKind::ChecksEnded { stage: Stage::Watch, .. }
            | EventKind::Paused(_)
            | EventKind::Resumed { .. }
            | EventKind::Approved { .. }
            | EventKind::Recovered { .. }
            | EventKind::DebtSettled { .. } => {}
        }
    }

    fn batch_started(&mut self, batch: usize, hosts: &[HostName]) {
        if Some(batch) != self.batch.map(|at| at + 1).or(Some(0)) || self.plan.batches[batch] != hosts {
            self.fault("I7 batch order", &format!("batch {batch} follows {:?}", self.batch));
        }
        let before = self.batch.map_or(&[][..], |at| &self.plan.batches[at]);
        let open: Vec<HostName> = before
            .iter()
            .filter(|host| {
                let seen = &self.hosts[host];
                seen.end.is_none() && !seen.through
            })
            .cloned()
            .collect();
        if !open.is_empty() {
            self.fault("I7 batch order", &format!("batch {batch} begins while {open:?} are under way"));
        }
        let good = |end: End| matches!(end, End::Released | End::Unchanged);
        let failed = self.hosts.values().filter(|seen| seen.end.is_some_and(|end| !good(end))).count();
        if failed > MAX_FAILURES as usize {
            self.fault("I2 budget", &format!("batch {batch} begins after {failed} hosts failed"));
        }
        if self.stopped || self.cancelled {
            self.fault("I11 stop means stop", &format!("batch {batch} begins"));
        }
        self.batch = Some(batch);
    }

    /// A host begins, in one way or another.
    fn begins(&mut self, host: &HostName) {
        let mine = self.batch.is_some_and(|at| self.plan.batches[at].contains(host));
        if !mine {
            self.fault("I7 batch order", &format!("{host} begins out of its batch"));
        }
        if self.stopped {
            self.fault("I2 budget", &format!("{host} begins after the run was stopped"));
        }
        if self.cancelled {
            self.fault("I11 stop means stop", &format!("{host} begins after the run was cancelled"));
        }
        self.seen(host).begun = true;
    }

    fn drained(&mut self, hosts: &[HostName], change: &Change) {
        for host in hosts {
            let seen = self.seen(host);
            match change {
                Change::Done { foreign, kept, .. } => {
                    seen.foreign = foreign.contains(host);
                    seen.owed = !seen.foreign && !kept.contains(host);
                }
                Change::Refused { .. } => seen.owed = false,
                Change::Unknown { .. } => {}
            }
        }
    }

    fn step_started(&mut self, host: &HostName, this: (BracketDirection, usize, u32)) {
        let (way, step, attempt) = this;
        let (cancelled_now, stopped, cancelled) = (self.cancelled_now, self.stopped, self.cancelled);
        let seen = self.seen(host);
        let (last, owed_or_foreign) = (seen.attempt.clone(), seen.owed || seen.foreign);
        let fits = match &last {
            None => step == 0 && attempt == 1,
            Some(((was, at, tries), Some(outcome))) if *was == way && *at == step => {
                let again = [
                    matches!(outcome, Outcome::Failed { .. }),
                    matches!(outcome, Outcome::NotStarted { .. }),
                    matches!(outcome, Outcome::Timeout { .. }),
                ];
                attempt == *tries + 1 && again.contains(&true)
            }
            Some(((was, at, _), Some(outcome))) if *was == way => {
                step == *at + 1 && attempt == 1 && outcome.is_good()
            }
            Some(((BracketDirection::Forward, ..), Some(outcome))) => {
                way == BracketDirection::Back
                    && step == 0
                    && attempt == 1
                    && !matches!(outcome, Outcome::Lost { .. })
            }
            Some(_) => false,
        };
        let first = !seen.touched && seen.attempt.is_none();
        seen.proven = false;
        seen.attempt = Some((this, None));
        if !fits {
            self.fault("I5 at most one execution", &format!("{host} goes on with {this:?} after {last:?}"));
        }
        if !owed_or_foreign {
            self.fault("I3 drained before work", &format!("{host} begins {this:?} without a debt"));
        }
        if first && (stopped || cancelled) {
            self.fault("I2 budget", &format!("{host} begins its first step after the run was halted"));
        }
        if way == BracketDirection::Forward && cancelled_now {
            self.fault("I11 stop means stop", &format!("{host} begins {this:?} after `cancel --now`"));
        }
    }

    fn step_ended(&mut self, host: &HostName, this: (BracketDirection, usize, u32), outcome: &Outcome) {
        let seen = self.seen(host);
        seen.touched |= !matches!(outcome, Outcome::NotStarted { .. } | Outcome::Unchanged);
        let last = seen.attempt.replace((this, Some(outcome.clone())));
        if last != Some((this, None)) {
            self.fault("I1 intent before effect", &format!("{host}: {this:?} ended after {last:?}"));
        }
    }

    fn enables(&mut self, host: &HostName) {
        let seen = self.seen(host);
        if seen.touched && !seen.proven {
            self.fault("I6 no enable without proof", &format!("{host} is enabled"));
        }
    }

    fn settled(&mut self, host: &HostName, end: End) {
        let seen = self.seen(host);
        let (owed, twice) = (seen.owed, seen.end.replace(end).is_some());
        if twice {
            self.fault("I4 debt closure", &format!("{host} is settled twice"));
        }
        if owed && !matches!(end, End::Held | End::Unknown) {
            self.fault("I4 debt closure", &format!("{host} is {} and owed", end.word()));
        }
    }

    fn run_ended(&mut self, outcome: RunOutcome) {
        self.ended = true;
        let ends: Vec<Option<End>> = self.hosts.values().map(|seen| seen.end).collect();
        let good = |end: &Option<End>| matches!(end, Some(End::Released | End::Unchanged));
        if ends.iter().any(Option::is_none) {
            self.fault("I4 debt closure", "the run ends before its hosts");
        }
        let person = ends.iter().flatten().any(|end| end.needs_person());
        let fits = match outcome {
            RunOutcome::Done => ends.iter().all(good),
            RunOutcome::NeedsPerson => person,
            RunOutcome::Cancelled => !person && self.cancelled && !ends.iter().all(good),
            _ => !person && !ends.iter().all(good),
        };
        if !fits {
            let unlike: Vec<String> =
                ends.iter().filter(|end| !good(end)).map(|end| format!("{end:?}")).collect();
            self.fault("I13 three-valued outcomes", &format!("{outcome:?} is told of {unlike:?}"));
        }
    }
}
