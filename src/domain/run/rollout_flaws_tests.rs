//! Seeded bugs: each is one defect, and the invariants that the other tests check must catch it.
//! Invariants that catch no defect prove nothing.

use super::*;
use crate::domain::task::task::{PauseAfter, PauseUntil};

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    WritesNoIntent,
    DropsAnEffect,
    BeginsBatchesEarly,
    IgnoresTheBudget,
    IgnoresThePause,
    EnablesBeforeTheGate,
    DrainsTwice,
    SettlesWhileOwed,
    CallsHeldReleased,
    CallsRolledBackReleased,
    CallsNotStartedReleased,
    ForgetsAHostOnTheWayBack,
    SkipsTheStepBack,
    CallsAnUnknownDrainRefused,
    CallsAnUnknownEnableDone,
    CallsLostNotStarted,
    CallsLostOk,
    CallsABadGateGood,
    CallsKeptDrained,
    TakesForeignForOurs,
    /// After a restart.
    RunsStepsAgain,
    ForgetsWhatWasUnderWay,
    LosesTheTail,
    ForgetsDebts,
}

impl Flaw {
    pub fn decide(self, run: &Run, mut decisions: Vec<Decision>) -> Vec<Decision> {
        let is_gate =
            |event: &EventKind| matches!(event, EventKind::ChecksStarted { stage: Stage::Gate, .. });
        match self {
            Flaw::DropsAnEffect => decisions.iter_mut().for_each(|decision| {
                if matches!(decision.effect, Some(Effect::Checks { .. })) {
                    decision.effect = None;
                }
            }),
            Flaw::BeginsBatchesEarly if decisions.is_empty() => {
                let batch = run.batches_begun();
                let next = run.plan().batches.get(batch).cloned();
                decisions
                    .extend(next.and_then(|hosts| Decision::only(EventKind::BatchStarted { batch, hosts })));
            }
            Flaw::IgnoresTheBudget
                if run.stopped().is_none()
                    && decisions
                        .iter()
                        .any(|decision| matches!(decision.event, EventKind::Stopped { .. })) =>
            {
                let batch = run.batches_begun();
                let hosts = run.plan().batches[batch].clone();
                let balancer = "web".to_string();
                return Decision::only(EventKind::DrainStarted { balancer, hosts }).into_iter().collect();
            }
            Flaw::IgnoresThePause => decisions.iter_mut().for_each(|decision| {
                if matches!(decision.event, EventKind::Paused(_)) {
                    let batch = run.batches_begun();
                    decision.event =
                        EventKind::BatchStarted { batch, hosts: run.plan().batches[batch].clone() };
                }
            }),
            Flaw::EnablesBeforeTheGate => {
                decisions.iter_mut().filter(|decision| is_gate(&decision.event)).for_each(|decision| {
                    let hosts = decision.event.hosts().to_vec();
                    *decision = Decision::enable("web", hosts);
                })
            }
            Flaw::DrainsTwice => {
                let drains = decisions
                    .iter()
                    .filter(|decision| matches!(decision.event, EventKind::DrainStarted { .. }));
                let drains: Vec<Decision> = drains.cloned().collect();
                decisions.extend(drains);
            }
            Flaw::SettlesWhileOwed => decisions.iter_mut().for_each(|decision| {
                if let EventKind::EnableStarted { hosts, .. } = &decision.event {
                    let event = EventKind::HostSettled {
                        host: hosts[0].clone(),
                        end: End::Released,
                        why: String::new(),
                    };
                    *decision = Decision { event, effect: None };
                }
            }),
            Flaw::CallsHeldReleased => call_released(&mut decisions, End::Held),
            Flaw::CallsRolledBackReleased => call_released(&mut decisions, End::RolledBack),
            Flaw::CallsNotStartedReleased => call_released(&mut decisions, End::NotStarted),
            Flaw::ForgetsAHostOnTheWayBack => {
                let forgotten = HostName::from("h1");
                decisions.retain(|decision| {
                    !matches!(&decision.event, EventKind::RollbackStarted { host, .. } if *host == forgotten)
                });
            }
            _ => {}
        }
        decisions
    }

    pub fn tell(self, mut answer: EventKind) -> EventKind {
        match (self, &mut answer) {
            (Flaw::CallsAnUnknownDrainRefused, EventKind::DrainEnded { change, .. }) => {
                *change = Change::Refused { why: "no".into() };
            }
            (Flaw::CallsAnUnknownEnableDone, EventKind::EnableEnded { change, .. }) => {
                *change = Change::done("")
            }
            (
                Flaw::CallsLostNotStarted,
                EventKind::StepEnded { outcome: outcome @ Outcome::Lost { .. }, .. },
            ) => {
                *outcome = Outcome::NotStarted { why: "refused".into() };
            }
            (Flaw::CallsLostOk, EventKind::StepEnded { outcome: outcome @ Outcome::Lost { .. }, .. }) => {
                *outcome = Outcome::Ok;
            }
            (Flaw::CallsABadGateGood, EventKind::ChecksEnded { results, .. }) => {
                results.iter_mut().for_each(|result| result.verdict = Verdict::Ok);
            }
            (Flaw::CallsKeptDrained, EventKind::DrainEnded { change: Change::Done { kept, .. }, .. }) => {
                kept.clear()
            }
            (
                Flaw::TakesForeignForOurs,
                EventKind::DrainEnded { change: Change::Done { foreign, .. }, .. },
            ) => {
                foreign.clear();
            }
            _ => {}
        }
        answer
    }
}

fn call_released(decisions: &mut [Decision], truth: End) {
    for decision in decisions {
        if let EventKind::HostSettled { end, .. } = &mut decision.event
            && *end == truth
        {
            *end = End::Released;
        }
    }
}

/// The panic message of `play`, if it panics.
fn caught(play: impl FnOnce()) -> Option<String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).err()?;
    let text = caught.downcast_ref::<String>().cloned();
    Some(
        text.unwrap_or_else(|| {
            caught.downcast_ref::<&str>().map_or_else(String::new, |text| text.to_string())
        }),
    )
}

/// A run of four hosts with this defect, in a world where the defect matters.
fn flawed(flaw: Flaw) -> (Plan, World) {
    use OnFailure::{Rollback, RollbackAll, Stop};
    let one = [BatchSize::Hosts(1)];
    let lost = || Outcome::Lost { why: "gone".into() };
    let bad_gate = || vec![("h2", Fault::Gate(Verdict::Critical))];
    let (on_failure, trouble) = match flaw {
        Flaw::IgnoresTheBudget | Flaw::CallsHeldReleased | Flaw::CallsABadGateGood => (Stop, bad_gate()),
        Flaw::CallsRolledBackReleased => (Rollback, bad_gate()),
        Flaw::ForgetsAHostOnTheWayBack => (RollbackAll, bad_gate()),
        Flaw::CallsNotStartedReleased => (Stop, vec![("h1", Fault::Unreachable)]),
        Flaw::CallsLostNotStarted => (Stop, vec![("h1", Fault::Step(BracketDirection::Forward, 0, lost()))]),
        Flaw::CallsLostOk => (Stop, vec![("h1", Fault::Step(BracketDirection::Forward, 1, lost()))]),
        Flaw::SkipsTheStepBack => (Rollback, vec![("h1", Fault::Gate(Verdict::Critical))]),
        _ => (Stop, vec![]),
    };
    let mut plan = plan(4, &one, 0, on_failure);
    let mut world = World { flaw: Some(flaw), ..world(&trouble) };
    match flaw {
        Flaw::IgnoresThePause => {
            let until = PauseUntil::Approved { second_person: true };
            plan.rollout.pause_after = Some(PauseAfter { batch: 1, until });
        }
        Flaw::CallsAnUnknownDrainRefused => world.drain = Some(Change::Unknown { why: "lost".into() }),
        Flaw::CallsAnUnknownEnableDone => world.enable = Some(Change::Unknown { why: "lost".into() }),
        Flaw::TakesForeignForOurs => {
            let change = Change::Done { foreign: vec!["h1".into()], kept: vec![], note: String::new() };
            world.drain = Some(change);
        }
        Flaw::CallsKeptDrained => world.room = Some(0),
        Flaw::BeginsBatchesEarly => plan.rollout.min_healthy_time = Duration::from_secs(60),
        _ => {}
    }
    (plan, world)
}

#[test]
fn every_seeded_bug_is_found() {
    let whole = || play(plan(2, &[BatchSize::Hosts(1)], 0, OnFailure::Stop), &World::default());
    let table = [
        (Flaw::WritesNoIntent, "the run does not end"),
        (Flaw::DropsAnEffect, "something is under way"),
        (Flaw::BeginsBatchesEarly, "I7"),
        (Flaw::IgnoresTheBudget, "I2"),
        (Flaw::IgnoresThePause, "I11"),
        (Flaw::EnablesBeforeTheGate, "does not fit"),
        (Flaw::DrainsTwice, "does not fit"),
        (Flaw::SettlesWhileOwed, "does not fit"),
        (Flaw::CallsHeldReleased, "does not fit"),
        (Flaw::CallsRolledBackReleased, "I13"),
        (Flaw::CallsNotStartedReleased, "I13"),
        (Flaw::ForgetsAHostOnTheWayBack, "something is under way"),
        (Flaw::SkipsTheStepBack, "I13"),
        (Flaw::CallsAnUnknownDrainRefused, "I3"),
        (Flaw::CallsAnUnknownEnableDone, "I3"),
        (Flaw::CallsLostNotStarted, "I13"),
        (Flaw::CallsLostOk, "I13"),
        (Flaw::CallsABadGateGood, "I13"),
        (Flaw::CallsKeptDrained, "I3"),
        (Flaw::TakesForeignForOurs, "I3"),
    ];
    for (flaw, net) in table {
        let (plan, world) = flawed(flaw);
        let found = caught(|| _ = play(plan, &world)).unwrap_or_else(|| panic!("{flaw:?} is not found"));
        assert!(found.contains(net), "{flaw:?} is found by: {found}");
    }
    // Defects of a restart: the run is started again from the journal of a whole run.
    let restarts = [
        (Flaw::RunsStepsAgain, "I5"),
        (Flaw::ForgetsWhatWasUnderWay, "something is under way"),
        (Flaw::LosesTheTail, "I3"),
        (Flaw::ForgetsDebts, "I3"),
    ];
    for (flaw, net) in restarts {
        let events = whole().events;
        let caught_at = |cut: usize| caught(|| restart_with(flaw, &events[..cut]));
        let found: Vec<String> = (1..events.len()).filter_map(caught_at).collect();
        assert!(found.iter().any(|found| found.contains(net)), "{flaw:?} is found by: {found:?}");
    }
}

fn restart_with(flaw: Flaw, events: &[Event]) {
    let world = World::default();
    let mut player = Player::new(plan(2, &[BatchSize::Hosts(1)], 0, OnFailure::Stop), &world);
    player.live_through(events);
    player.under_way = restart::under_way(&player.run);
    match flaw {
        Flaw::RunsStepsAgain => {
            player.under_way.iter().for_each(|effect| player.truth.begin(&player.run, effect))
        }
        Flaw::ForgetsWhatWasUnderWay => player.under_way.clear(),
        Flaw::LosesTheTail => {
            // The drain was made, and its intent was lost with the tail.
            let kept = &events[..events.len() - 1];
            let truth = std::mem::take(&mut player.truth);
            player = Player::new(plan(2, &[BatchSize::Hosts(1)], 0, OnFailure::Stop), &world);
            kept.iter().for_each(|event| player.write(event.kind.clone()));
            player.truth = truth;
            if let Some(EventKind::DrainStarted { hosts, .. }) = events.last().map(|event| &event.kind) {
                player.truth.out.extend(hosts.iter().cloned());
            }
            player.under_way = restart::under_way(&player.run);
        }
        _ => player.run.forget_debts(),
    }
    let (then, why) = restart::go_on(&player.run, Duration::ZERO);
    player.write(EventKind::Recovered { away_ms: 0, then, why });
    player.play();
}
