//! Time gates, pauses, room, rollbacks of a whole run, and restarts: as rows, like those of the other tests.

use super::*;
use crate::domain::check::across::AcrossRule;
use crate::domain::plan::plan::{Snapshot, SnapshotMember};
use crate::domain::run::event::Then;
use crate::domain::task::task::{OnRestart, PauseAfter, PauseUntil};

fn ones(hosts: usize, on_failure: OnFailure) -> Plan {
    plan(hosts, &[BatchSize::Hosts(1)], 0, on_failure)
}

fn with(mut plan: Plan, change: impl FnOnce(&mut Rollout)) -> Plan {
    change(&mut plan.rollout);
    plan
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn batch_times(story: &Story) -> Vec<i64> {
    let starts = story.events.iter().filter(|event| matches!(event.kind, EventKind::BatchStarted { .. }));
    starts.map(|event| event.at.as_second()).collect()
}

fn drains(story: &Story) -> String {
    let drained = story.events.iter().filter_map(|event| match &event.kind {
        EventKind::DrainStarted { hosts, .. } => {
            Some(hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join("+"))
        }
        _ => None,
    });
    drained.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_that_continues_goes_on_whatever_fails() {
    let plan =
        with(ones(3, OnFailure::Continue), |rollout| rollout.max_failures = MaxFailures::Percent(100.0));
    let story = play(plan, &world(&[("h1", Fault::Gate(Verdict::Critical))]));
    assert_eq!(ends(&story), "held released released");
    assert_eq!(story.run.outcome(), Some(RunOutcome::NeedsPerson));
}

#[test]
fn a_run_that_takes_everything_back_does_so_batch_by_batch_the_last_one_first() {
    let serial = [BatchSize::Hosts(1), BatchSize::Hosts(2), BatchSize::Hosts(1)];
    let story =
        play(plan(5, &serial, 0, OnFailure::RollbackAll), &world(&[("h4", Fault::Gate(Verdict::Critical))]));
    assert_eq!(ends(&story), "rolled-back rolled-back rolled-back rolled-back not-started");
    assert_eq!(drains(&story), "h1 h2+h3 h4 h2+h3 h1");
    assert_eq!(story.run.outcome(), Some(RunOutcome::Failed));
}

#[test]
fn a_way_back_that_fails_leaves_the_host_held_and_the_others_go_back() {
    let lost = Fault::Step(BracketDirection::Back, 0, failed());
    let trouble = [("h1", lost), ("h3", Fault::Gate(Verdict::Critical))];
    let story = play(ones(3, OnFailure::RollbackAll), &world(&trouble));
    assert_eq!(ends(&story), "held rolled-back rolled-back");
}

#[test]
fn the_next_batch_waits_until_the_one_before_is_healthy() {
    let plan = with(ones(2, OnFailure::Stop), |rollout| rollout.min_healthy_time = seconds(8));
    let story = play(plan, &World::default());
    assert_eq!((ends(&story).as_str(), batch_times(&story)), ("released released", vec![0, 8]));
}

#[test]
fn a_host_that_does_not_stay_well_fails() {
    let gates = |rollout: &mut Rollout| {
        (rollout.min_healthy_time, rollout.healthy_deadline) = (seconds(8), seconds(30));
    };
    let ill = || world(&[("h1", Fault::Watch(1, Verdict::Critical))]);
    let story = play(with(ones(2, OnFailure::Rollback), gates), &ill());
    assert_eq!(ends(&story), "rolled-back not-started");
    assert_eq!(drains(&story), "h1 h1", "taken out again for its rollback");
    let story = play(with(ones(2, OnFailure::Stop), gates), &ill());
    assert_eq!(
        (ends(&story).as_str(), story.run.outcome()),
        ("released not-started", Some(RunOutcome::Failed))
    );
    let blind = world(&[("h1", Fault::Watch(0, Verdict::Unknown))]);
    assert_eq!(ends(&play(with(ones(2, OnFailure::Rollback), gates), &blind)), "rolled-back not-started");
}

#[test]
fn hosts_that_are_done_are_watched_while_later_batches_run() {
    let gates =
        |rollout: &mut Rollout| (rollout.min_healthy_time, rollout.watch) = (seconds(40), seconds(10));
    // The first checks make it healthy; the later ones find the slow failure.
    let burn = world(&[("h1", Fault::Watch(10, Verdict::Critical))]);
    let story = play(with(ones(3, OnFailure::Rollback), gates), &burn);
    assert_eq!(ends(&story), "rolled-back released not-started");
}

#[test]
fn a_run_that_gets_nowhere_stops() {
    let mut plan = with(ones(2, OnFailure::Stop), |rollout| rollout.progress_deadline = Some(seconds(60)));
    plan.hosts.get_mut(&HostName::from("h1")).unwrap().steps[0].retries = 20;
    let story = play(plan, &world(&[("h1", Fault::Step(BracketDirection::Forward, 0, failed()))]));
    assert_eq!(ends(&story), "held not-started");
    let why = story.run.stopped().unwrap();
    assert_eq!(why, "no host became healthy within 60s (progress_deadline)");
}

#[test]
fn a_planned_pause_ends_by_itself_or_by_a_second_person() {
    let bake = |rollout: &mut Rollout| {
        rollout.pause_after = Some(PauseAfter { batch: 1, until: PauseUntil::Passed(seconds(120)) });
    };
    let story = play(with(ones(3, OnFailure::Stop), bake), &World::default());
    assert_eq!(
        (ends(&story).as_str(), batch_times(&story)),
        ("released released released", vec![0, 120, 120])
    );

    let approval = |rollout: &mut Rollout| {
        let until = PauseUntil::Approved { second_person: true };
        rollout.pause_after = Some(PauseAfter { batch: 0, until });
    };
    let requests =
        vec![(RunRequest::Resume, "bob"), (RunRequest::Approve, "ann"), (RunRequest::Approve, "bob")];
    let story = play(with(ones(2, OnFailure::Stop), approval), &World { requests, ..World::default() });
    assert_eq!(ends(&story), "released released");
    assert_eq!(
        story.refused,
        [
            "run 1 waits for an approval; try: approve 1",
            "ann asked for run 1, and its task wants a second person to approve it (second_person); ask another operator to run: ssh \
             rollcall approve 1",
        ]
    );
    let approved =
        story.events.iter().position(|event| matches!(event.kind, EventKind::Approved { .. })).unwrap();
    assert!(approved < 4, "before anything begins");
}

#[test]
fn requests_that_make_no_sense_are_refused_by_name() {
    let who = Operator::new("bob", "b", Role::Operator);
    let mut run = run_after(ones(1, OnFailure::Stop), vec![]);
    let refused = |run: &Run, request| grant(run, request, &who).unwrap_err().to_string();
    assert_eq!(refused(&run, RunRequest::Resume), "run 1 is not paused; see: show 1");
    assert_eq!(refused(&run, RunRequest::Approve), "run 1 does not wait for an approval; see: show 1");
    let paused = grant(&run, RunRequest::Pause, &who).unwrap().unwrap();
    run.apply(&Event { seq: 1, run: RunId(1), at: NOW, kind: paused }).unwrap();
    assert_eq!(refused(&run, RunRequest::Pause), "run 1 is paused already; see: show 1");
    let stopped = EventKind::Stopped { why: "x".into() };
    run.apply(&Event { seq: 2, run: RunId(1), at: NOW, kind: stopped }).unwrap();
    assert_eq!(
        refused(&run, RunRequest::Resume),
        "run 1 is being stopped: no further host starts; see: watch 1"
    );
}

#[test]
fn no_more_hosts_are_out_than_there_is_room_for() {
    for room in 1..4 {
        let story = play(
            plan(5, &[BatchSize::Hosts(5)], 0, OnFailure::Stop),
            &World { room: Some(room), ..World::default() },
        );
        assert_eq!(ends(&story), "released released released released released", "{room}");
    }
    let story = play(ones(2, OnFailure::Stop), &World { room: Some(0), ..World::default() });
    assert_eq!(ends(&story), "not-started not-started");
    assert_eq!(story.run.fold_outcome(), RunOutcome::Failed, "nothing of what was asked for was done");
    assert!(story.run.stopped().unwrap().contains("h1 could not be taken out for 600s"));
}

/// `balancer drain web1 && ssh web1 reboot` must not take the last server.
#[test]
fn a_drain_that_has_to_wait_is_no_success() {
    let drain = |hosts: u32, room: usize| {
        let plan = plan(hosts as usize, &[BatchSize::Hosts(hosts)], 0, OnFailure::Stop);
        let story =
            play(Plan { kind: RunKind::Drain, ..plan }, &World { room: Some(room), ..World::default() });
        (ends(&story), story.run.fold_outcome().exit_status())
    };
    assert_eq!(drain(1, 0), ("not-started".into(), 2));
    assert_eq!(drain(2, 1), ("held not-started".into(), 2));
    assert_eq!(drain(2, 2), ("held held".into(), 0));
}

#[test]
fn a_host_that_is_on_the_release_is_only_looked_at() {
    let stays = |from: &str, verdict| {
        let mut plan = ones(1, OnFailure::Rollback);
        let host = plan.hosts.get_mut(&HostName::from("h1")).unwrap();
        host.current = true;
        host.steps[0].body = StepBody::Link { from: from.into(), at: "current".into() };
        let story = play(plan, &world(&[("h1", Fault::Gate(verdict))]));
        (ends(&story), drains(&story))
    };
    assert_eq!(stays("old", Verdict::Ok), ("unchanged".into(), "".into()));
    assert_eq!(stays("elsewhere", Verdict::Ok), ("released".into(), "h1".into()), "the link says otherwise");
    assert_eq!(stays("old", Verdict::Critical).1, "h1", "its checks say otherwise");
}

#[test]
fn what_the_balancer_forgets_is_taken_out_again() {
    for after in 4..14 {
        let story = play(ones(1, OnFailure::Stop), &World { forget_after: Some(after), ..World::default() });
        assert_eq!(ends(&story), "released", "{after}");
        let again =
            story.events.iter().filter(|event| matches!(event.kind, EventKind::RedrainEnded { .. })).count();
        let result = story
            .events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::DrainForgotten { .. }))
            .count();
        assert_eq!(again, result, "{after}");
    }
}

#[test]
fn a_balancer_that_is_away_for_a_moment_strands_nobody() {
    let enable_fails = 3;
    let story = play(ones(1, OnFailure::Stop), &World { enable_fails, ..World::default() });
    assert_eq!(ends(&story), "released");
    let times = story.events.iter().filter(|event| matches!(event.kind, EventKind::EnableStarted { .. }));
    assert_eq!(times.map(|event| event.at.as_second()).collect::<Vec<_>>(), [0, 2, 10, 42]);
}

#[test]
fn a_host_that_the_balancer_does_not_take_back_holds_up_no_other() {
    let in_the_way = Some(HostName::from("h2"));
    let world = World { in_the_way, ..World::default() };
    let story = play(plan(4, &[BatchSize::Hosts(4)], 0, OnFailure::Stop), &world);
    assert_eq!(ends(&story), "released held released released");
}

#[test]
fn a_host_that_is_held_stays_out_for_as_long_as_the_run_lasts() {
    // h1 is held from the first batch on, and the balancer forgets it while h2 is under way.
    let plan = with(ones(2, OnFailure::Continue), |rollout| rollout.max_failures = MaxFailures::Hosts(2));
    let trouble = world(&[("h1", Fault::Gate(Verdict::Critical))]);
    let whole = play(plan.clone(), &trouble);
    let settled = whole.events.iter().position(|event| matches!(event.kind, EventKind::HostSettled { .. }));
    let story = play(plan, &World { forget_after: settled.map(|at| at + 2), ..trouble });
    let again = story.events.iter().find_map(|event| match &event.kind {
        EventKind::RedrainStarted { hosts, .. } => Some(hosts.clone()),
        _ => None,
    });
    assert_eq!((ends(&story).as_str(), again), ("held released", Some(vec![HostName::from("h1")])));
}

#[test]
fn a_host_that_others_have_taken_out_is_not_called_unchanged() {
    let mut plan = ones(1, OnFailure::Stop);
    let host = plan.hosts.get_mut(&HostName::from("h1")).unwrap();
    host.current = true;
    host.steps[0].body = StepBody::Link { from: "old".into(), at: "current".into() };
    for (in_rotation, wanted) in [
        (Some(true), BracketDirection::Stay),
        (None, BracketDirection::Stay),
        (Some(false), BracketDirection::Forward),
    ] {
        let begun = EventKind::ObserveStarted { host: "h1".into() };
        let seen = EventKind::Observed { host: "h1".into(), previous: Some("old".into()), in_rotation };
        let run = run_after(plan.clone(), vec![begun, seen]);
        assert_eq!(run.hosts()[&HostName::from("h1")].way(), wanted, "{in_rotation:?}");
    }
}

#[test]
fn time_in_which_nothing_could_happen_is_not_held_against_a_run() {
    let bake = |rollout: &mut Rollout| {
        rollout.pause_after = Some(PauseAfter { batch: 1, until: PauseUntil::Passed(seconds(60)) });
        rollout.watch = Duration::ZERO;
    };
    let whole = play(with(ones(2, OnFailure::Stop), bake), &World::default());
    let paused = whole.events.iter().position(|event| matches!(event.kind, EventKind::Paused(_))).unwrap();
    let world = World { requests: vec![(RunRequest::Resume, "ann")], ..World::default() };
    let mut player = Player::new(with(ones(2, OnFailure::Stop), bake), &world);
    player.live_through(&whole.events[..=paused]);
    player.now = Timestamp::from_second(5 * 3600).unwrap();
    player.write(EventKind::Recovered { away_ms: 1, then: Then::Pauses, why: "away".into() });
    let until = player.run.pause().map(|pause| pause.until.clone());
    assert_eq!(until, Some(PausedUntil::Resumed), "the bake time went by while nobody looked");
    assert_eq!(ends(&player.play()), "released released");
}

#[test]
fn a_held_host_does_not_go_back_to_what_got_it_held_without_a_check() {
    let held = |checks_back: Vec<Check>| {
        let mut plan = ones(1, OnFailure::Rollback);
        let host = plan.hosts.get_mut(&HostName::from("h1")).unwrap();
        (host.held, host.checks_back) = (true, checks_back.into());
        ends(&play(plan, &world(&[("h1", Fault::Step(BracketDirection::Forward, 1, failed()))])))
    };
    assert_eq!(held(vec![]), "held");
    assert_eq!(held(vec![check()]), "rolled-back");
}

#[test]
fn operators_take_hosts_out_and_put_them_back() {
    let rotation = |kind: RunKind| {
        let mut plan = plan(2, &[BatchSize::Hosts(2)], 2, OnFailure::Stop);
        plan.kind = kind;
        plan.hosts.values_mut().for_each(|host| (host.steps, host.checks) = Default::default());
        plan
    };
    let story = play(rotation(RunKind::Drain), &World::default());
    assert_eq!((ends(&story).as_str(), story.run.outcome()), ("held held", Some(RunOutcome::Done)));
    let story = play(rotation(RunKind::Drain), &World { room: Some(1), ..World::default() });
    assert_eq!(ends(&story), "held not-started");
    let story = play(rotation(RunKind::Enable), &World::default());
    assert_eq!((ends(&story).as_str(), story.run.outcome()), ("done done", Some(RunOutcome::Done)));
    let enable = Some(Change::Refused { why: "down".into() });
    let story = play(rotation(RunKind::Enable), &World { enable, ..World::default() });
    assert_eq!((ends(&story).as_str(), story.run.outcome()), ("held held", Some(RunOutcome::NeedsPerson)));
}

/// Restarts after every event of a run: the results of running steps are asked for, and the end is the same.
#[test]
fn a_run_that_is_taken_up_again_ends_as_it_would_have() {
    let troubles = [
        world(&[]),
        world(&[("h2", Fault::Gate(Verdict::Critical))]),
        world(&[("h2", Fault::Step(BracketDirection::Forward, 1, failed()))]),
        world(&[("h1", Fault::Unreachable)]),
    ];
    for on_failure in [OnFailure::Stop, OnFailure::Rollback, OnFailure::RollbackAll] {
        for world in &troubles {
            let plan = plan(3, &[BatchSize::Hosts(1), BatchSize::Hosts(2)], 0, on_failure);
            let whole = play(plan.clone(), world);
            for cut in 1..whole.events.len() {
                let mut player = Player::new(plan.clone(), world);
                player.live_through(&whole.events[..cut]);
                player.under_way = restart::under_way(&player.run);
                let (then, why) = restart::go_on(&player.run, seconds(1));
                player.write(EventKind::Recovered { away_ms: 1, then, why });
                assert_eq!(ends(&player.play()), ends(&whole), "{on_failure:?} {world:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn how_a_run_goes_on_after_a_restart() {
    use OnRestart::{Finish, Resume, Rollback, Stop};
    let rows = [
        (Finish, 60, Then::GoesOn),
        (Finish, 16 * 60, Then::Pauses),
        (Resume, 16 * 60, Then::GoesOn),
        (Stop, 1, Then::Stops),
        (Rollback, 1, Then::RollsBack),
    ];
    for (on_restart, away, wanted) in rows {
        let plan = with(ones(2, OnFailure::Stop), |rollout| rollout.on_restart = on_restart);
        let run = Run::new(RunId(1), plan);
        assert_eq!(restart::go_on(&run, seconds(away)).0, wanted, "{on_restart:?} {away}");
    }
    let after = |then| {
        let whole = play(ones(2, OnFailure::Stop), &World::default());
        let world = World { requests: vec![(RunRequest::Resume, "ann")], ..World::default() };
        let unwatched = with(ones(2, OnFailure::Stop), |rollout| rollout.watch = Duration::ZERO);
        let mut player = Player::new(unwatched, &world);
        player.live_through(&whole.events[..8]);
        player.under_way = restart::under_way(&player.run);
        player.write(EventKind::Recovered { away_ms: 1, then, why: "rollcall was away for 1s".into() });
        ends(&player.play())
    };
    assert_eq!(after(Then::GoesOn), "released released");
    assert_eq!(after(Then::Pauses), "released released", "once it is resumed");
    assert_eq!(after(Then::Stops), "released not-started", "hosts in their bracket finish it");
    assert_eq!(after(Then::RollsBack), "rolled-back not-started");
}

fn gate_looks(story: &Story) -> usize {
    let is_gate = |event: &&Event| matches!(event.kind, EventKind::ChecksStarted { stage: Stage::Gate, .. });
    story.events.iter().filter(is_gate).count()
}

fn pauses(story: &Story) -> Vec<&str> {
    let pauses = story.events.iter().filter_map(|event| match &event.kind {
        EventKind::Paused(pause) => Some(pause.why.as_str()),
        _ => None,
    });
    pauses.collect()
}

#[test]
fn a_gate_that_found_nothing_out_counts_as_the_rollout_says() {
    let silent = || world(&[("h1", Fault::Gate(Verdict::Unknown))]);
    let counting = |unknown_is| with(ones(2, OnFailure::Stop), |rollout| rollout.unknown_is = unknown_is);
    assert_eq!(ends(&play(counting(UnknownIs::Critical), &silent())), "held not-started");
    assert_eq!(ends(&play(counting(UnknownIs::Warning), &silent())), "released released");
    let asked = World {
        requests: vec![(RunRequest::Resume, "ann"), (RunRequest::Cancel { now: false }, "ann")],
        ..silent()
    };
    let story = play(counting(UnknownIs::Unknown), &asked);
    let why = "the gate of h1 is inconclusive: check `http/answers`: seen";
    assert_eq!(pauses(&story), [why, why], "it is looked at again when somebody says so");
    assert_eq!(gate_looks(&story), 3, "and once more when the run is cancelled");
    assert_eq!(ends(&story), "held not-started");
}

pub(super) fn compared(mut plan: Plan) -> Plan {
    let member = |name: &HostName| {
        let endpoint = plan.hosts[name].endpoint.clone();
        (name.clone(), SnapshotMember { endpoint, check: plan.hosts[name].checks[0].clone(), broken: None })
    };
    let snapshot = Snapshot {
        check: CheckId::new("http", "same"),
        rule: AcrossRule::Same,
        members: plan.hosts.keys().map(member).collect(),
        reported: plan.hosts.keys().cloned().collect(),
    };
    plan.snapshots = vec![snapshot];
    plan
}

#[test]
fn hosts_are_compared_once_all_of_them_are_through() {
    let story = play(compared(ones(3, OnFailure::Stop)), &world(&[("h2", Fault::OutOfLine)]));
    assert_eq!(ends(&story), "released failing released");
    assert_eq!(story.run.outcome(), Some(RunOutcome::NeedsPerson));
    let at =
        |wanted: fn(&EventKind) -> bool| story.events.iter().position(|event| wanted(&event.kind)).unwrap();
    let snapshot = at(|kind| matches!(kind, EventKind::SnapshotStarted { .. }));
    let last_roll = story
        .events
        .iter()
        .rposition(|event| matches!(event.kind, EventKind::ChecksEnded { stage: Stage::Roll, .. }));
    assert!(
        last_roll.unwrap() < snapshot && snapshot < at(|kind| matches!(kind, EventKind::HostSettled { .. }))
    );
}

#[test]
fn a_host_that_did_not_get_through_is_not_told_what_the_others_come_to() {
    let story = play(compared(ones(3, OnFailure::Stop)), &world(&[("h2", Fault::Gate(Verdict::Critical))]));
    assert_eq!(ends(&story), "released held not-started");
    let result = story.events.iter().find_map(|event| match &event.kind {
        EventKind::SnapshotEnded { hosts, .. } => Some(hosts.clone()),
        _ => None,
    });
    assert_eq!(result, Some(vec![HostName::from("h1")]));
}

#[test]
fn wherever_the_daemon_dies_hosts_are_compared_all_the_same() {
    let trouble = world(&[("h2", Fault::OutOfLine)]);
    let whole = play(compared(ones(2, OnFailure::Stop)), &trouble);
    for lived in 1..whole.events.len() - 1 {
        let mut player = Player::new(compared(ones(2, OnFailure::Stop)), &trouble);
        player.live_through(&whole.events[..lived]);
        player.under_way = restart::under_way(&player.run);
        player.write(EventKind::Recovered { away_ms: 1, then: Then::GoesOn, why: "away".into() });
        assert_eq!(ends(&player.play()), "released failing", "it died after event {lived}");
    }
}
