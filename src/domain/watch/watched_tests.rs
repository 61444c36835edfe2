//! States of one check: tables of alerts, and properties for any probes.

use crate::domain::check::id::CheckId;
use proptest::prelude::*;

use super::*;
use Verdict::{Critical, Ok, Unknown, Warning};

const RULES: Rules = Rules { max_attempts: 3, flapping: Flapping { high: 30, low: 20 } };

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn problem(verdict: Verdict) -> AlertChange {
    AlertChange::Problem { verdict }
}

/// Applies probes with these verdicts, one after the other, and collects the alert after each.
fn tell_all(state: &mut Watched, seen: &[Verdict], silence: Silence) -> Vec<AlertChange> {
    let mut alerts = Vec::new();
    for verdict in seen {
        let at = state
            .last_at
            .map_or(time(0), |last| last.checked_add(std::time::Duration::from_secs(60)).unwrap());
        state.took(CheckResult::new(CheckId::new("http", "http"), *verdict, verdict.word()), at, &RULES);
        alerts.extend(state.tell(silence));
    }
    alerts
}

#[test]
fn a_problem_is_told_when_it_is_hard_and_its_end_once() {
    let table: &[(&[Verdict], &[AlertChange])] = &[
        (&[Ok, Ok], &[]),
        (&[Critical, Critical], &[]),
        (&[Critical, Critical, Ok, Critical, Critical], &[]),
        (&[Critical, Critical, Critical, Critical], &[problem(Critical)]),
        // All probes that are not ok count; a hard verdict changes at once.
        (&[Warning, Unknown, Critical, Warning], &[problem(Critical), problem(Warning)]),
        (&[Unknown, Unknown, Unknown], &[problem(Unknown)]),
        (&[Critical, Critical, Critical, Ok, Ok], &[problem(Critical), AlertChange::Recovery]),
    ];
    for (seen, wanted) in table {
        let mut state = Watched::new(time(0));
        assert_eq!(tell_all(&mut state, seen, Silence::No), *wanted, "{seen:?}");
    }
}

#[test]
fn changes_go_on_record_with_whether_they_are_believed() {
    let mut state = Watched::new(time(0));
    let mut take = |second, verdict| {
        state
            .took(CheckResult::new(CheckId::new("http", "http"), verdict, "words"), time(second), &RULES)
            .map(|it| (it.verdict, it.hard))
    };
    assert_eq!(take(1, Ok), Some((Ok, true)));
    assert_eq!(take(2, Ok), None);
    assert_eq!(take(3, Critical), Some((Critical, false)));
    assert_eq!(take(4, Critical), None);
    assert_eq!(take(5, Critical), Some((Critical, true)));
    assert_eq!(take(6, Warning), Some((Warning, true)));
    assert_eq!(take(7, Ok), Some((Ok, true)));
    assert_eq!((state.since, state.last_ok.as_ref().map(|ok| ok.0)), (time(7), Some(time(2))));
}

#[test]
fn in_a_downtime_nothing_is_told_and_afterwards_what_stands() {
    let mut state = Watched::new(time(0));
    tell_all(&mut state, &[Critical; 3], Silence::No);
    assert_eq!(state.tell(Silence::Downtime), Some(AlertChange::Dropped), "it begins");
    assert_eq!(tell_all(&mut state, &[Ok, Critical, Critical, Critical], Silence::Downtime), []);
    assert_eq!(state.tell(Silence::No), Some(problem(Critical)), "it ends");
    assert_eq!(state.tell(Silence::No), None);
    // A problem that started and ended within the downtime causes no alert.
    let mut state = Watched::new(time(0));
    tell_all(&mut state, &[Critical, Critical, Critical, Ok], Silence::Downtime);
    assert!(!state.has_news());
}

#[test]
fn what_hangs_on_something_else_keeps_what_was_told() {
    let mut state = Watched::new(time(0));
    tell_all(&mut state, &[Critical; 3], Silence::No);
    assert_eq!(tell_all(&mut state, &[Ok, Ok], Silence::Waits), []);
    assert_eq!(state.tell(Silence::No), Some(AlertChange::Recovery));
}

#[test]
fn an_acknowledged_problem_is_silent_until_it_is_over() {
    let mut state = Watched::new(time(0));
    let ack = || Ack { by: "ann".into(), why: "disk ordered".into(), at: time(9) };
    assert!(state.acknowledge(ack()).unwrap_err().contains("it is ok"));
    tell_all(&mut state, &[Warning], Silence::No);
    assert!(state.acknowledge(ack()).unwrap_err().contains("not failed often enough"));
    tell_all(&mut state, &[Warning; 2], Silence::No);
    let change = state.acknowledge(ack()).unwrap();
    assert_eq!(change, Some(AlertChange::Acknowledged { by: "ann".into(), why: "disk ordered".into() }));
    assert_eq!(tell_all(&mut state, &[Critical, Warning], Silence::No), []);
    assert_eq!(tell_all(&mut state, &[Ok], Silence::No), [AlertChange::Recovery]);
    assert_eq!(state.ack, None);
    assert_eq!(tell_all(&mut state, &[Critical; 3], Silence::No), [problem(Critical)]);
}

#[test]
fn what_changes_too_often_is_told_once() {
    let rules = Rules { max_attempts: 1, ..RULES };
    let mut state = Watched::new(time(0));
    let mut alerts = Vec::new();
    let mut percents = Vec::new();
    for probe in 0..60 {
        let verdict = if probe < 30 && probe % 2 == 1 { Critical } else { Ok };
        state.took(CheckResult::new(CheckId::new("http", "http"), verdict, ""), time(probe), &rules);
        percents.push(state.changed_percent());
        alerts.extend(state.tell(Silence::No).map(|change| (probe, change)));
    }
    // The weights by hand: the newest of six changes in a row weighs 1.25, each before it 0.5/19 less; of 20.
    let six: f64 = (0..6).map(|age| 1.25 - f64::from(age) * 0.5 / 19.0).sum::<f64>() * 5.0;
    assert!((percents[6] - six).abs() < 1e-9, "{} {six}", percents[6]);
    assert!((percents[29] - 100.0).abs() < 1e-9, "twenty changes are all of it");
    assert_eq!(alerts[0], (1, problem(Critical)));
    assert_eq!(alerts[1], (2, AlertChange::Recovery));
    let flaps: Vec<_> = alerts[5..].to_vec();
    assert_eq!(flaps[0], (6, AlertChange::FlappingStarted), "30 % are reached: {six}");
    assert_eq!(flaps.len(), 2, "{alerts:?}");
    assert!(matches!(flaps[1].1, AlertChange::FlappingEnded { verdict: Ok }));
}

#[test]
fn soft_problems_do_not_flap() {
    let mut state = Watched::new(time(0));
    let seen: Vec<Verdict> = (0..60).map(|probe| if probe % 2 == 1 { Critical } else { Ok }).collect();
    assert_eq!(tell_all(&mut state, &seen, Silence::No), []);
    assert!(!state.flapping);
}

#[test]
fn a_state_comes_back_from_the_store_as_it_was() {
    let mut state = Watched::new(time(0));
    tell_all(&mut state, &[Ok, Critical, Critical, Critical], Silence::No);
    let text = serde_json::to_string(&state).unwrap();
    let mut back: Watched = serde_json::from_str(&text).unwrap();
    assert_eq!(back, state);
    assert_eq!(back.tell(Silence::No), None, "a restart tells nothing twice");
}

fn silences() -> impl Strategy<Value = Silence> {
    prop_oneof![4 => Just(Silence::No), 1 => Just(Silence::Waits), 1 => Just(Silence::Downtime)]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![4 => Just(Ok), 1 => Just(Warning), 2 => Just(Critical), 1 => Just(Unknown)]
}

proptest! {
    /// For any verdicts and silences: a problem is open or it is not, and each alert fits that.
    #[test]
    fn whatever_is_seen_what_is_told_fits_what_was_told(
        probes in prop::collection::vec((verdicts(), silences(), 0..20_u8), 1..200)
    ) {
        let mut state = Watched::new(time(0));
        // The state that a reader of the alerts assumes.
        let mut open: Option<Option<Verdict>> = None;
        for (second, (verdict, silence, ack)) in probes.into_iter().enumerate() {
            let at = time(second as i64);
            state.took(CheckResult::new(CheckId::new("http", "c"), verdict, ""), at, &RULES);
            let change = state.tell(silence);
            match (&change, silence) {
                (Some(AlertChange::Dropped), Silence::Downtime) => {
                    prop_assert!(open.is_some());
                    open = None;
                }
                (Some(_), Silence::Downtime | Silence::Waits) => prop_assert!(false, "an alert in silence: {change:?}"),
                (Some(AlertChange::Problem { verdict }), _) => {
                    prop_assert_ne!(*verdict, Ok);
                    prop_assert_ne!(open, Some(Some(*verdict)), "two alerts");
                    prop_assert_eq!(state.hard, *verdict);
                    open = Some(Some(*verdict));
                }
                (Some(AlertChange::Recovery), _) => {
                    prop_assert!(matches!(open, Some(Some(_))));
                    prop_assert_eq!(state.verdict, Some(Ok));
                    open = None;
                }
                (Some(AlertChange::FlappingStarted), _) => {
                    prop_assert_ne!(open, Some(None));
                    open = Some(None);
                }
                (Some(AlertChange::FlappingEnded { verdict }), _) => {
                    prop_assert_eq!(open, Some(None));
                    open = (*verdict != Ok).then_some(Some(*verdict));
                }
                (Some(other), _) => prop_assert!(false, "{other:?}"),
                (None, _) => {}
            }
            if ack == 0 && let Result::Ok(change) = state.acknowledge(Ack { by: "ann".into(), why: "x".into(), at }) {
                prop_assert_eq!(change.is_some(), open.is_some());
            }
            // Alerts are complete: their last state is the hard state, unless an operator has acknowledged it.
            if silence == Silence::No && state.ack.is_none() && !state.is_soft() {
                let wanted = match (state.flapping, state.hard) {
                    (true, _) => Some(None),
                    (false, Ok) => None,
                    (false, hard) => Some(Some(hard)),
                };
                prop_assert_eq!(open, wanted);
            }
        }
    }
}
