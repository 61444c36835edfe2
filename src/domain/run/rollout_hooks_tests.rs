//! Hooks around a run: when each of them runs, and what its failure means.

use super::*;
use crate::domain::run::restart::under_way;

/// Two hosts, one after the other, and two steps in every hook.
fn plan_with_hooks() -> Plan {
    let steps = || vec![step("one", "true"), Step { warn_only: true, ..step("two", "true") }];
    let hooks = Hook::ALL.map(|hook| (hook, steps())).into();
    Plan { hooks, ..plan(2, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback) }
}

/// The hook steps in the order of their start, and when the hosts were worked on.
fn order(story: &Story) -> String {
    let words = story.events.iter().filter_map(|event| match &event.kind {
        EventKind::HookStarted { hook, step, .. } => Some(format!("{}{step}", hook.word())),
        EventKind::BatchStarted { .. } => Some("hosts".into()),
        EventKind::RunEnded { .. } => Some("end".into()),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn hooks_run_once_around_all_hosts_and_their_failures_count() {
    let gate = || vec![("h1", Fault::Gate(Verdict::Critical))];
    let rows = [
        (vec![], None, "before0 before1 hosts hosts after0 after1 finally0 finally1 end", RunOutcome::Done),
        (
            gate(),
            None,
            "before0 before1 hosts on_failure0 on_failure1 finally0 finally1 end",
            RunOutcome::Failed,
        ),
        (
            vec![],
            Some((Hook::Before, 0)),
            "before0 on_failure0 on_failure1 finally0 finally1 end",
            RunOutcome::Failed,
        ),
        (
            vec![],
            Some((Hook::After, 0)),
            "before0 before1 hosts hosts after0 finally0 finally1 end",
            RunOutcome::Failed,
        ),
        // A failed step with `warn_only` is no failure.
        (
            vec![],
            Some((Hook::After, 1)),
            "before0 before1 hosts hosts after0 after1 finally0 finally1 end",
            RunOutcome::Done,
        ),
        (
            vec![],
            Some((Hook::Finally, 0)),
            "before0 before1 hosts hosts after0 after1 finally0 end",
            RunOutcome::Failed,
        ),
    ];
    for (trouble, hook_fails, wanted, outcome) in rows {
        let world = World { hook_fails, ..world(&trouble) };
        let story = play(plan_with_hooks(), &world);
        assert_eq!(order(&story), wanted, "{hook_fails:?}");
        assert_eq!(story.run.outcome(), Some(outcome), "{hook_fails:?}");
    }
    let stopped = play(plan_with_hooks(), &World { hook_fails: Some((Hook::Before, 0)), ..World::default() });
    assert_eq!(ends(&stopped), "not-started not-started");
}

#[test]
fn whenever_a_run_with_hooks_is_cancelled_it_ends_and_nothing_begins_twice() {
    let events = play(plan_with_hooks(), &World::default()).events.len();
    for after in 1..events {
        for now in [false, true] {
            let story =
                play(plan_with_hooks(), &World { cancel_after: Some((after, now)), ..World::default() });
            let order = order(&story);
            assert!(order.ends_with("finally0 finally1 end"), "{after}: {order}");
            let words: Vec<&str> = order.split(' ').filter(|word| *word != "hosts").collect();
            let once: BTreeSet<&str> = words.iter().copied().collect();
            assert_eq!(once.len(), words.len(), "{after}: {order}");
        }
    }
}

#[test]
fn a_hook_that_was_under_way_is_asked_for_after_a_restart() {
    let story = play(plan_with_hooks(), &World::default());
    for at in 1..story.events.len() {
        let run = Run::replay(RunId(1), plan_with_hooks(), &story.events[..at]).unwrap();
        let begun = match &story.events[at - 1].kind {
            EventKind::HookStarted { hook, step, .. } => vec![Effect::Hook { hook: *hook, step: *step }],
            _ => vec![],
        };
        let hooks: Vec<Effect> =
            under_way(&run).into_iter().filter(|effect| matches!(effect, Effect::Hook { .. })).collect();
        assert_eq!(hooks, begun);
    }
}
