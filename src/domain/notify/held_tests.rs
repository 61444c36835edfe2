use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::domain::ask::hours::{Hours, Span};
use crate::domain::base::outcome::RunOutcome;
use crate::domain::notify::run_news::HostsAtEnd;
use crate::domain::run::event::{Pause, PausedUntil};

/// 2026-03-02 08:00:00 UTC, a Monday.
fn at(minutes: i64) -> Timestamp {
    "2026-03-02T08:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn pace(after: Option<u64>, hours: Option<&str>) -> Pace {
    let spans = |text: &str| Hours { spans: vec![Span::parse(text).unwrap()], zone: TimeZone::UTC };
    Pace {
        after: after.map(|minutes| Duration::from_secs(60 * minutes)),
        hours: hours.map(spans),
        ..Pace::DEFAULT
    }
}

/// A story of one run: the words of its events.
fn event(seq: u64, minutes: i64, word: &str) -> (Event, Option<RunNews>) {
    let paused = |until| {
        let (why, by) = ("why".into(), "rollcall".into());
        EventKind::Paused(Pause { why, by, key: String::new(), until, step: None })
    };
    let ended = |outcome| EventKind::RunEnded { outcome, had_input: false };
    let kind = match word {
        "approval" => paused(PausedUntil::Approved),
        "person" => paused(PausedUntil::Resumed),
        "resumed" => EventKind::Resumed { by: "ann".into(), key: String::new(), why: String::new() },
        "done" => ended(RunOutcome::Done),
        "held" | "failing" => ended(RunOutcome::NeedsPerson),
        "started" => EventKind::RunStarted {
            title: String::new(),
            by: String::new(),
            key: String::new(),
            plan_sha256: String::new(),
            granted: None,
        },
        other => panic!("{other}"),
    };
    let event = Event { seq, run: RunId(1), at: at(minutes), kind };
    let end = HostsAtEnd { end: word.into(), hosts: "web01".into(), count: 1 };
    let news = RunMoment::of(&event.kind).map(|(moment, why)| RunNews {
        moment,
        run: RunId(1),
        title: String::new(),
        by: "ann".into(),
        group: "prod".into(),
        hosts: "web01".into(),
        count: 1,
        started_at: at(0),
        at: event.at,
        is_over: matches!(event.kind, EventKind::RunEnded { .. }),
        why,
        ends: vec![end],
        seq,
    });
    (event, news)
}

/// What a channel sends, each with its minute; the process restarts after each step.
fn sent(pace: &Pace, story: &[(i64, &str)], until: i64) -> Vec<String> {
    let (mut log, mut sent) = (RunLog::default(), Vec::new());
    let mut waiting = story.iter().zip(1..).peekable();
    let mut now = 0;
    loop {
        while let Some(((minutes, word), seq)) = waiting.next_if(|((minutes, _), _)| *minutes <= now) {
            let (event, news) = event(seq, *minutes, word);
            let news = log.take(pace, &[event], news.into_iter().collect(), at(now));
            sent.extend(news.iter().map(|news| format!("{now} {}", news.moment.word())));
        }
        for held in log.take_due(pace, at(now)) {
            let (minutes, word) = story[usize::try_from(held.seq).unwrap() - 1];
            let news = event(held.seq, minutes, word).1.unwrap();
            log.sent(&news);
            sent.push(format!("{now} {} while {:?}", news.moment.word(), held.open));
        }
        log = serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
        let wake = log.wake(pace, at(now)).map(|wake| wake.duration_since(at(0)).as_mins());
        let next = wake.into_iter().chain(waiting.peek().map(|((minutes, _), _)| *minutes)).min();
        match next.filter(|next| *next <= until) {
            Some(next) => {
                assert!(next > now, "the clock goes on");
                now = next;
            }
            None => {
                assert!(story.iter().all(|(_, word)| *word != "done") || log == RunLog::default(), "{log:?}");
                return sent;
            }
        }
    }
}

#[test]
fn a_channel_waits_for_what_its_after_and_hours_say() {
    let day = 24 * 60;
    type Story<'s> = (&'s str, Option<u64>, Option<&'s str>, Vec<(i64, &'s str)>, Vec<&'s str>);
    let office = Some("Mon-Fri 08:00-18:00");
    let night = Some("22:00-06:00");
    let table: Vec<Story<'_>> = vec![
        (
            "without both, everything at once",
            None,
            None,
            vec![(0, "started"), (5, "approval"), (6, "resumed"), (9, "done")],
            vec!["0 started", "5 waiting for approval", "9 done"],
        ),
        (
            "answered in time: neither the wait nor the end",
            Some(15),
            None,
            vec![(0, "started"), (5, "approval"), (19, "resumed"), (30, "done")],
            vec![],
        ),
        (
            "not answered in time: the wait, and then the end",
            Some(15),
            None,
            vec![(0, "started"), (5, "approval"), (25, "resumed"), (30, "done")],
            vec!["20 waiting for approval while Paused", "30 done"],
        ),
        (
            "each wait has its own time",
            Some(15),
            None,
            vec![
                (0, "started"),
                (5, "person"),
                (15, "resumed"),
                (16, "person"),
                (40, "resumed"),
                (50, "done"),
            ],
            vec!["31 needs a person while Paused", "50 done"],
        ),
        (
            "the answer at the very minute comes first",
            Some(15),
            None,
            vec![(0, "started"), (5, "person"), (20, "resumed"), (50, "done")],
            vec![],
        ),
        (
            "hosts out of rotation are held until their debts are known",
            Some(15),
            None,
            vec![(0, "started"), (5, "held")],
            vec!["20 needs a person while Debt"],
        ),
        (
            "hosts that fail without a debt are reported in any case",
            Some(15),
            None,
            vec![(0, "started"), (5, "failing")],
            vec!["20 needs a person while Always"],
        ),
        (
            "outside the hours: what still matters when they begin",
            None,
            office,
            vec![(10 * 60, "started"), (11 * 60, "person"), (day + 60, "resumed"), (day + 61, "done")],
            vec!["1440 started while Running", "1440 needs a person while Paused", "1501 done"],
        ),
        (
            "outside the hours: a run that is over when they begin is not reported",
            None,
            office,
            vec![(10 * 60, "started"), (11 * 60, "person"), (12 * 60, "resumed"), (13 * 60, "done")],
            vec![],
        ),
        (
            "an end outside the hours waits, where the start was reported",
            None,
            office,
            vec![(9 * 60, "started"), (11 * 60, "done")],
            vec!["540 started", "1440 done while Always"],
        ),
        (
            "both: the later of the two",
            Some(15),
            night,
            vec![(0, "started"), (5, "person"), (day - 1, "done")],
            vec!["840 needs a person while Paused", "2280 done while Always"],
        ),
    ];
    for (what, after, hours, story, wanted) in table {
        assert_eq!(sent(&pace(after, hours), &story, 4 * day), wanted, "{what}");
    }
}
