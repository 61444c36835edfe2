use super::*;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::notify::channel::{Only, Transport};
use crate::domain::run::event::{EventKind, Pause, PausedUntil};

fn channel(runs: &[RunMoment]) -> Channel {
    Channel {
        name: "ops".into(),
        only: Only::default(),
        runs: runs.to_vec(),
        pace: Default::default(),
        give_up: Duration::from_secs(3600),
        way: Transport::Command("true".into()),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn some_news(seq: u64, moment: RunMoment) -> RunNews {
    RunNews {
        moment,
        run: RunId(seq),
        title: "deploy prod".into(),
        by: "ann".into(),
        group: "prod".into(),
        hosts: "web01".into(),
        count: 1,
        started_at: at(0),
        at: at(i64::try_from(seq).unwrap()),
        is_over: false,
        why: String::new(),
        ends: Vec::new(),
        seq,
    }
}

#[test]
fn events_are_the_moments_that_people_wait_for() {
    let paused = |until, by: &str| {
        EventKind::Paused(Pause {
            why: "web03 failed".into(),
            by: by.into(),
            key: String::new(),
            until,
            step: None,
        })
    };
    let ended = |outcome| EventKind::RunEnded { outcome, had_input: false };
    let table = [
        (paused(PausedUntil::Approved, "rollcall"), Some((RunMoment::WaitingForApproval, "web03 failed"))),
        (paused(PausedUntil::Resumed, "rollcall"), Some((RunMoment::NeedsPerson, "web03 failed"))),
        (paused(PausedUntil::Resumed, "ann"), None),
        (paused(PausedUntil::Time(at(0)), "rollcall"), None),
        (paused(PausedUntil::Restart, "rollcall"), None),
        (ended(RunOutcome::Done), Some((RunMoment::Done, ""))),
        (ended(RunOutcome::NeedsPerson), Some((RunMoment::NeedsPerson, ""))),
        (ended(RunOutcome::Cancelled), Some((RunMoment::Failed, "cancelled"))),
        (ended(RunOutcome::Unreachable), Some((RunMoment::Failed, "unreachable"))),
        (EventKind::BatchStarted { batch: 0, hosts: vec![] }, None),
    ];
    for (event, wanted) in table {
        let wanted = wanted.map(|(moment, why)| (moment, why.to_string()));
        assert_eq!(RunMoment::of(&event), wanted, "{event:?}");
    }
}

#[test]
fn a_flood_of_runs_is_one_message_and_those_that_need_a_person_are_first() {
    let all = channel(&[RunMoment::NeedsPerson, RunMoment::Failed, RunMoment::Done, RunMoment::Started]);
    let few: Vec<RunNews> = (1..=3).map(|seq| some_news(seq, RunMoment::Done)).collect();
    let keys = |notices: &[Notice]| notices.iter().map(|notice| notice.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&notices(&all, few.clone(), 3)), ["run-1.1", "run-2.2", "run-3.3"]);
    assert!(notices(&channel(&[RunMoment::Failed]), few, 3).is_empty());
    assert_eq!(keys(&notices(&all, vec![some_news(7, RunMoment::Started)], 3)), ["run-7"]);
    let mut many: Vec<RunNews> = (1..=1000).map(|seq| some_news(seq, RunMoment::Done)).collect();
    many[499].moment = RunMoment::NeedsPerson;
    many[700].moment = RunMoment::Failed;
    let made = notices(&all, many.clone(), MESSAGES);
    assert_eq!(keys(&made), ["run-500.500", "runs.1000"]);
    let NoticeContent::Runs { counts, news, left_out } = &made[1].what else { panic!("{made:?}") };
    assert_eq!(counts, &[(RunMoment::Failed, 1), (RunMoment::Done, 998)]);
    assert_eq!((news[0].run, news.len(), *left_out), (RunId(701), 20, 979));
    // The last place is for all of them together, and none is left out of the counts.
    many.iter_mut().for_each(|news| news.moment = RunMoment::NeedsPerson);
    let made = notices(&all, many, 5);
    assert_eq!(made.len(), 5);
    let NoticeContent::Runs { counts, .. } = &made[4].what else { panic!("{made:?}") };
    assert_eq!(counts, &[(RunMoment::NeedsPerson, 996)]);
}

#[test]
fn a_channel_has_room_again_when_its_time_is_over() {
    let every = Duration::from_secs(300);
    let mut pace = RunPace::default();
    assert_eq!(pace.left(at(0), every), Ok(MESSAGES));
    pace.take(MESSAGES - 1);
    assert_eq!(pace.left(at(10), every), Ok(1));
    pace.take(1);
    assert_eq!(pace.left(at(20), every), Err(at(300)));
    assert_eq!(pace.left(at(300), every), Ok(MESSAGES));
    pace.take(MESSAGES);
    // The clock was set back.
    assert_eq!(pace.left(at(-5), every), Ok(MESSAGES));
}
