use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::ask::hours::{Hours, Span};
use crate::domain::check::id::CheckId;
use crate::domain::notify::channel::{Only, Transport};
use crate::domain::notify::notice::About;

fn named(check: &str) -> Subject {
    Subject::Check(CheckId::new("set", check))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn channel() -> Channel {
    Channel {
        runs: Vec::new(),
        name: "ops".into(),
        only: Only::default(),
        pace: Pace::default(),
        give_up: Duration::from_secs(3 * 24 * 3600),
        way: Transport::Command("true".into()),
    }
}

fn alert(seconds: i64, host: &str, change: AlertChange) -> Alert {
    let text = format!("{change:?}");
    Alert {
        at: at(seconds),
        since: None,
        host: host.into(),
        group: "prod.web".into(),
        check: named("http"),
        change,
        text,
    }
}

fn problem(verdict: Verdict) -> AlertChange {
    AlertChange::Problem { verdict }
}

fn acknowledged() -> AlertChange {
    AlertChange::Acknowledged { by: "ann".into(), why: "on it".into() }
}

use AlertChange::{Dropped, FlappingStarted, Recovery};
use Verdict::{Critical, Warning};

/// The messages of a channel in a story, each with its time; the loop calls again at each wake time.
fn sent(channel: &Channel, alerts: &[Alert], until: i64) -> Vec<(i64, Notice)> {
    let mut incidents = Incidents::default();
    let (mut notices, mut left) = (Vec::new(), alerts.iter().peekable());
    let mut now = at(0);
    loop {
        while let Some(alert) = left.next_if(|alert| alert.at <= now) {
            incidents.take(channel, alert);
        }
        let due = incidents.due(channel, now, &TimeZone::UTC);
        notices.extend(due.into_iter().map(|notice| (now.as_second() - at(0).as_second(), notice)));
        assert_eq!(incidents.due(channel, now, &TimeZone::UTC), [], "nothing twice");
        // The same after a restart, from the stored form.
        let written = incidents.open().cloned().collect::<Vec<_>>();
        let log = serde_json::from_str(&serde_json::to_string(&incidents.log).unwrap()).unwrap();
        let read = serde_json::from_str::<Vec<Incident>>(&serde_json::to_string(&written).unwrap()).unwrap();
        incidents = Incidents::resume(read, log);
        let next = [incidents.wake(channel, now, &TimeZone::UTC), left.peek().map(|alert| alert.at)];
        match next.into_iter().flatten().min().filter(|next| *next <= at(until)) {
            Some(next) => {
                assert!(next > now, "the clock goes on");
                now = next;
            }
            None => return notices,
        }
    }
}

fn about(notice: &Notice) -> &About {
    match &notice.what {
        NoticeContent::Incident(about) => about,
        other => panic!("{other:?}"),
    }
}

/// `10 opened critical web[1-2] new=web[1-2]`
fn words(notices: &[(i64, Notice)]) -> Vec<String> {
    let word = |(at, notice): &(i64, Notice)| {
        let about = about(notice);
        let mut text =
            format!("{at} {:?} {} {}", about.kind, about.verdict.word(), about.hosts).to_lowercase();
        for (name, hosts) in
            [("new", &about.new), ("recovered", &about.recovered), ("dropped", &about.dropped)]
        {
            if !hosts.is_empty() {
                text += &format!(" {name}={hosts}");
            }
        }
        text
    };
    notices.iter().map(word).collect()
}

#[test]
fn each_story_is_told_in_as_many_messages_as_it_needs() {
    let reminding = Channel {
        pace: Pace { remind_every: Some(Duration::from_secs(3600)), ..Pace::default() },
        ..channel()
    };
    let critical_only = Channel { only: Only { verdicts: vec![Critical], ..Only::default() }, ..channel() };
    let story = |alerts: Vec<(i64, &str, AlertChange)>| -> Vec<Alert> {
        alerts.into_iter().map(|(seconds, host, change)| alert(seconds, host, change)).collect()
    };
    type Story<'s> = (&'s str, Channel, Vec<Alert>, Vec<&'s str>);
    let table: Vec<Story<'_>> = vec![
        (
            "problems at one time make one message, and a recovery when all hosts are ok",
            channel(),
            story(vec![
                (0, "w1", problem(Warning)),
                (5, "w2", problem(Critical)),
                (60, "w1", Recovery),
                (90, "w2", Recovery),
            ]),
            vec!["10 opened critical w[1-2] new=w[1-2]", "100 recovered ok w[1-2] recovered=w[1-2]"],
        ),
        (
            "a problem that resolves within `gather` makes no message",
            channel(),
            story(vec![(0, "w1", problem(Critical)), (9, "w1", Recovery)]),
            vec![],
        ),
        (
            "further hosts, and worse, at once; better is no news",
            channel(),
            story(vec![
                (0, "w1", problem(Warning)),
                (20, "w2", problem(Critical)),
                (25, "w1", problem(Critical)),
                (60, "w3", problem(Warning)),
                (400, "w3", problem(Critical)),
                (500, "w3", problem(Warning)),
            ]),
            vec![
                "10 opened warning w1 new=w1",
                "30 update critical w[1-2] new=w[1-2]",
                "70 update critical w[1-3] new=w3",
                "410 update critical w[1-3] new=w3",
            ],
        ),
        (
            "an acknowledgement delays no new alarm",
            channel(),
            story(vec![
                (0, "w2", problem(Critical)),
                (60, "w2", acknowledged()),
                (60, "w1", problem(Critical)),
                (75, "w2", Recovery),
                (85, "w2", problem(Critical)),
            ]),
            vec![
                "10 opened critical w2 new=w2",
                "70 update critical w[1-2] new=w1",
                // It was ok in between: what was acknowledged is over.
                "95 update critical w[1-2] new=w2",
            ],
        ),
        (
            "the last host of a group after an acknowledgement alerts at once",
            channel(),
            story(vec![
                (0, "w2", problem(Critical)),
                (60, "w2", acknowledged()),
                (71, "w1", problem(Critical)),
                (200, "w2", Recovery),
                (205, "w1", acknowledged()),
                (210, "w3", problem(Warning)),
            ]),
            vec![
                "10 opened critical w2 new=w2",
                "70 acknowledged critical w2",
                "81 update critical w[1-2] new=w1",
                // The acknowledgement is in it, and does not hide the new host.
                "215 update critical w[1,3] new=w3 recovered=w2",
            ],
        ),
        (
            "flapping that starts or ends waits until update_every is over",
            channel(),
            story(vec![
                (0, "w1", problem(Critical)),
                (60, "w1", FlappingStarted),
                (90, "w2", problem(Warning)),
                (120, "w1", AlertChange::FlappingEnded { verdict: Critical }),
            ]),
            vec![
                "10 opened critical w1 new=w1",
                "100 update critical w[1-2] new=w[1-2]",
                "400 update critical w[1-2] new=w1",
            ],
        ),
        (
            "a host that recovers and fails again before a message was sent makes none",
            channel(),
            story(vec![
                (0, "w1", problem(Critical)),
                (1, "w2", problem(Critical)),
                (60, "w1", Recovery),
                (90, "w1", problem(Critical)),
            ]),
            vec!["10 opened critical w[1-2] new=w[1-2]"],
        ),
        (
            "an acknowledged problem makes no reminder; its recovery makes a message",
            reminding.clone(),
            story(vec![(0, "w1", problem(Critical)), (8000, "w1", acknowledged()), (20000, "w1", Recovery)]),
            vec![
                "10 opened critical w1 new=w1",
                "3610 reminder critical w1",
                "7210 reminder critical w1",
                "8010 acknowledged critical w1",
                "20010 recovered ok w1 recovered=w1",
            ],
        ),
        (
            "dropped is said, and ends it",
            channel(),
            story(vec![
                (0, "w1", problem(Critical)),
                (0, "w2", problem(Critical)),
                (50, "w1", Dropped),
                (60, "w2", Recovery),
            ]),
            vec!["10 opened critical w[1-2] new=w[1-2]", "70 recovered ok w[1-2] recovered=w2 dropped=w1"],
        ),
        (
            "it is one incident while it is about to be reported as over, and another host alerts in it",
            channel(),
            story(vec![
                (0, "w1", problem(Critical)),
                (50, "w1", Recovery),
                (55, "w2", problem(Critical)),
                (70, "w2", Recovery),
            ]),
            vec![
                "10 opened critical w1 new=w1",
                "65 update critical w2 new=w2 recovered=w1",
                "80 recovered ok w[1-2] recovered=w2",
            ],
        ),
        (
            "flapping makes one message, and its end another",
            channel(),
            story(vec![
                (0, "w1", FlappingStarted),
                (400, "w1", AlertChange::FlappingEnded { verdict: Critical }),
                (500, "w1", Recovery),
            ]),
            vec![
                "10 opened warning w1 new=w1",
                "410 update critical w1 new=w1",
                "510 recovered ok w1 recovered=w1",
            ],
        ),
        (
            "a channel for what is critical hears nothing of warnings",
            critical_only,
            story(vec![
                (0, "w1", problem(Warning)),
                (10, "w1", problem(Critical)),
                (100, "w1", problem(Warning)),
                (200, "w1", Recovery),
            ]),
            vec!["20 opened critical w1 new=w1", "110 recovered ok w1 recovered=w1"],
        ),
        (
            "who was not in trouble does not recover",
            channel(),
            story(vec![(0, "w1", Recovery), (0, "w1", acknowledged()), (0, "w1", Dropped)]),
            vec![],
        ),
    ];
    for (what, channel, alerts, wanted) in table {
        assert_eq!(words(&sent(&channel, &alerts, 30_000)), wanted, "{what}");
    }
}

#[test]
fn an_incident_ends_whatever_its_group_is_called_by_then_and_silence_is_no_recovery() {
    let renamed = |alert: Alert| Alert { group: "moved.web".into(), ..alert };
    let gone =
        Alert { change: AlertChange::Dropped, group: String::new(), ..alert(60, "w1", problem(Critical)) };
    let of_gone = sent(&channel(), &[alert(0, "w1", problem(Critical)), gone], 1_000);
    let kinds =
        |sent: &[(i64, Notice)]| sent.iter().map(|(_, notice)| about(notice).kind).collect::<Vec<_>>();
    assert_eq!(kinds(&of_gone), [NoticeKind::Opened, NoticeKind::Silenced]);
    assert_eq!(about(&of_gone[1].1).verdict, Critical, "it is as bad as it was");
    let back = renamed(Alert { change: AlertChange::Recovery, ..alert(60, "w1", problem(Critical)) });
    let of_back = sent(&channel(), &[alert(0, "w1", problem(Critical)), back], 1_000);
    assert_eq!(kinds(&of_back), [NoticeKind::Opened, NoticeKind::Recovered]);
}

#[test]
fn an_incident_began_with_the_first_probe_and_is_sent_after_the_alert() {
    let alert = Alert { since: Some(at(0)), ..alert(60, "w1", problem(Critical)) };
    let sent = sent(&channel(), &[alert], 1_000);
    assert_eq!(words(&sent), ["70 opened critical w1 new=w1"]);
    assert_eq!(about(&sent[0].1).since, at(0), "as `why` prints it");
}

#[test]
fn incidents_are_by_check_and_file_and_each_has_a_thread() {
    let place = |check: &str, group: &str| Alert {
        check: named(check),
        group: group.into(),
        ..alert(0, "w1", problem(Critical))
    };
    let alerts = [
        place("http", "prod.web"),
        place("http", "prod.db"),
        place("disk", "prod.web"),
        Alert { host: "w9".into(), ..place("http", "test") },
    ];
    let sent = sent(&channel(), &alerts, 100);
    let mut threads: Vec<&str> = sent.iter().map(|(_, notice)| about(notice).thread.as_str()).collect();
    assert_eq!(threads.len(), 3);
    threads.sort_unstable();
    threads.dedup();
    assert_eq!(threads.len(), 3);
    let narrow = Only { groups: vec!["prod.web".into()], checks: vec!["disk".into()], ..Only::default() };
    let narrow = Channel { only: narrow, ..channel() };
    assert_eq!(super::tests::sent(&narrow, &alerts, 100).len(), 1);
}

#[test]
fn what_an_earlier_build_opened_without_a_set_ends_with_the_check_that_it_was() {
    let of = |subject: Subject, alert: Alert| Alert { check: subject, ..alert };
    let old = || Subject::Check(CheckId::new("", "http"));
    let opened = of(old(), alert(0, "w1", problem(Critical)));
    let other = of(named("http"), alert(60, "w2", problem(Critical)));
    let over = of(named("http"), alert(90, "w1", Recovery));
    let sent = sent(&channel(), &[opened, other, over], 1_000);
    let sent: Vec<String> = sent
        .iter()
        .map(|(_, notice)| {
            let about = about(notice);
            format!("{} {} {:?}", about.check, about.hosts, about.kind)
        })
        .collect();
    assert_eq!(sent, ["http w1 Opened", "set/http w2 Opened", "http w1 Recovered"]);
}

#[test]
fn a_channel_for_a_name_hears_of_each_check_that_has_it_and_of_the_contact_by_its_own_word() {
    let only = |word: &str| Only { checks: vec![word.into()], ..Only::default() };
    let is_about = |word: &str, subject: Subject| {
        only(word).is_about(&Alert { check: subject, ..alert(0, "w1", problem(Critical)) })
    };
    let api = || Subject::Check(CheckId::new("api", "up"));
    assert!(is_about("up", api()) && is_about("api/up", api()) && !is_about("http/up", api()));
    assert!(is_about("reachable", Subject::Contact) && !is_about("up", Subject::Contact));
}

#[test]
fn equal_texts_are_folded_and_many_are_counted() {
    let mut alerts: Vec<Alert> = (0..1000).map(|n| alert(0, &format!("w{n}"), problem(Critical))).collect();
    let sent_once = sent(&channel(), &alerts, 100);
    let one = about(&sent_once[0].1);
    assert_eq!(
        (sent_once.len(), one.count, one.seen.len(), one.seen[0].hosts.as_str()),
        (1, 1000, 1, "w[0-999]")
    );
    for (n, alert) in alerts.iter_mut().enumerate() {
        alert.text = format!("{n} {}", "x".repeat(10_000));
    }
    let notices = sent(&channel(), &alerts, 100);
    let many = about(&notices[0].1);
    assert_eq!((many.seen.len(), many.not_shown), (20, 980));
    assert!(serde_json::to_string(&notices[0].1).unwrap().len() < 40_000);
}

#[test]
fn a_digest_comes_once_a_day_and_not_for_nothing() {
    let pace = Pace { digest: Some("08:00".parse().unwrap()), ..Pace::default() };
    let daily = Channel { pace, ..channel() };
    // 2027-01-15 08:00 UTC.
    assert_eq!(at(0).to_string(), "2027-01-15T08:00:00Z");
    let day = 24 * 3600;
    let alerts = [
        alert(day + 100, "w1", problem(Critical)),
        alert(day + 200, "w1", Recovery),
        alert(day + 300, "w2", problem(Critical)),
        alert(3 * day + 100, "w2", Recovery),
    ];
    let digests: Vec<(i64, usize, usize)> = sent(&daily, &alerts, 10 * day)
        .iter()
        .filter_map(|(at, notice)| match &notice.what {
            NoticeContent::Digest { open, past, .. } => Some((*at, open.len(), past.len())),
            _ => None,
        })
        .collect();
    assert_eq!(digests, [(2 * day, 1, 1), (3 * day, 1, 0), (4 * day, 0, 1)]);
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let mut incidents = Incidents::default();
    incidents.due(&daily, at(0), &berlin);
    assert_eq!(incidents.wake(&daily, at(0), &berlin), Some(at(23 * 3600)), "08:00 there is 07:00 here");
}

/// A channel of escalation, with `after = "15m"`, and perhaps hours. `at(0)` is 2027-01-15 08:00:00 UTC, a Friday.
fn escalation(hours: Option<&str>) -> Channel {
    let hours = hours.map(|text| Hours { spans: vec![Span::parse(text).unwrap()], zone: TimeZone::UTC });
    let pace = Pace { after: Some(Duration::from_secs(900)), hours, ..Pace::default() };
    Channel { pace, ..channel() }
}

#[test]
fn an_escalation_hears_only_of_what_is_open_and_not_acknowledged_after_its_time() {
    let night =
        |hours: &str| Channel { pace: Pace { after: None, ..escalation(Some(hours)).pace }, ..channel() };
    type Story<'s> = (&'s str, Channel, Vec<(i64, &'s str, AlertChange)>, Vec<&'s str>);
    let table: Vec<Story<'_>> = vec![
        (
            "not acknowledged: reported after 15 minutes, and so is its end",
            escalation(None),
            vec![
                (0, "w1", problem(Critical)),
                (5, "w2", problem(Warning)),
                (1000, "w1", Recovery),
                (1010, "w2", Recovery),
            ],
            vec!["900 opened critical w[1-2] new=w[1-2]", "1020 recovered ok w[1-2] recovered=w[1-2]"],
        ),
        (
            "over before: neither",
            escalation(None),
            vec![(0, "w1", problem(Critical)), (899, "w1", Recovery)],
            vec![],
        ),
        (
            "acknowledged before: neither",
            escalation(None),
            vec![(0, "w1", problem(Critical)), (899, "w1", acknowledged()), (5000, "w1", Recovery)],
            vec![],
        ),
        (
            "acknowledged at the same second: the acknowledgement was first",
            escalation(None),
            vec![(0, "w1", problem(Critical)), (900, "w1", acknowledged()), (5000, "w1", Recovery)],
            vec![],
        ),
        (
            "acknowledged one second too late: reported, and the acknowledgement as well",
            escalation(None),
            vec![(0, "w1", problem(Critical)), (901, "w1", acknowledged()), (5000, "w1", Recovery)],
            vec![
                "900 opened critical w1 new=w1",
                "911 acknowledged critical w1",
                "5010 recovered ok w1 recovered=w1",
            ],
        ),
        (
            "each recovery starts the time again; flapping and a worse verdict do not",
            escalation(None),
            vec![
                (0, "w1", problem(Critical)),
                (800, "w1", Recovery),
                (810, "w1", problem(Warning)),
                (1000, "w1", problem(Critical)),
                (1200, "w1", FlappingStarted),
            ],
            vec!["1710 opened critical w1 new=w1"],
        ),
        (
            "a new problem after an acknowledgement starts the time again",
            escalation(None),
            vec![(0, "w1", problem(Warning)), (600, "w1", acknowledged()), (700, "w1", problem(Critical))],
            vec!["1600 opened critical w1 new=w1"],
        ),
        (
            "hosts wait on their own; an acknowledged one does not speak for the others",
            escalation(None),
            vec![
                (0, "w1", problem(Critical)),
                (600, "w1", acknowledged()),
                (700, "w2", problem(Critical)),
                (1000, "w3", problem(Warning)),
                (1700, "w4", problem(Critical)),
            ],
            vec!["1600 opened critical w[1-3] new=w[2-3]", "2600 update critical w[1-4] new=w4"],
        ),
        (
            "after the report, a new host waits and a worse verdict does not",
            escalation(None),
            vec![
                (0, "w1", problem(Warning)),
                (1000, "w2", problem(Warning)),
                (1100, "w1", problem(Critical)),
            ],
            vec!["900 opened warning w1 new=w1", "1110 update critical w[1-2] new=w[1-2]"],
        ),
        (
            "a downtime is neither a report nor an end of something that was never reported",
            escalation(None),
            vec![(0, "w1", problem(Critical)), (600, "w1", Dropped), (700, "w1", problem(Critical))],
            vec!["1600 opened critical w1 new=w1"],
        ),
        (
            "outside its hours a channel is silent; what is open when they begin is reported",
            night("12:00-18:00"),
            vec![(0, "w1", problem(Critical)), (60, "w2", problem(Critical)), (600, "w1", Recovery)],
            vec!["14400 opened critical w2 new=w2 recovered=w1"],
        ),
        (
            "what began and ended outside the hours is not reported",
            night("12:00-18:00"),
            vec![(0, "w1", problem(Critical)), (600, "w1", Recovery)],
            vec![],
        ),
        (
            "an end outside the hours waits for them, where the problem was reported",
            night("07:00-08:30"),
            vec![(0, "w1", problem(Critical)), (3600, "w1", Recovery)],
            vec!["10 opened critical w1 new=w1", "82800 recovered ok w1 recovered=w1"],
        ),
        (
            "a problem that ended and came back outside the hours was open all the time for the channel",
            night("07:00-08:30"),
            vec![(0, "w1", problem(Critical)), (3600, "w1", Recovery), (7200, "w1", problem(Critical))],
            vec!["10 opened critical w1 new=w1"],
        ),
        (
            "both: the later of the two",
            escalation(Some("08:10-08:20")),
            vec![(0, "w1", problem(Critical)), (900, "w2", problem(Critical))],
            vec!["900 opened critical w[1-2] new=w[1-2]"],
        ),
        (
            "both, and the time ends after the hours",
            escalation(Some("Fri 08:00-08:05")),
            vec![(0, "w1", problem(Critical)), (900, "w2", problem(Critical))],
            vec!["604800 opened critical w[1-2] new=w[1-2]"],
        ),
    ];
    for (what, channel, story, wanted) in table {
        let alerts: Vec<Alert> =
            story.into_iter().map(|(seconds, host, change)| alert(seconds, host, change)).collect();
        assert_eq!(words(&sent(&channel, &alerts, 1_000_000)), wanted, "{what}");
    }
}

#[test]
fn what_is_pending_is_what_would_be_sent() {
    let mut incidents = Incidents::default();
    let channel = escalation(Some("Fri 10:00-11:00"));
    incidents.take(&channel, &alert(0, "w1", problem(Critical)));
    assert_eq!(incidents.pending(&channel, at(1)), (1, Some(at(7200))));
    incidents.take(&channel, &alert(2, "w1", acknowledged()));
    assert_eq!(incidents.pending(&channel, at(3)), (0, None));
}

fn changes() -> impl Strategy<Value = Vec<Alert>> {
    let change = prop_oneof![
        3 => Just(problem(Critical)),
        2 => Just(problem(Warning)),
        1 => Just(problem(Verdict::Unknown)),
        4 => Just(Recovery),
        1 => Just(FlappingStarted),
        1 => Just(AlertChange::FlappingEnded { verdict: Verdict::Ok }),
        1 => Just(AlertChange::FlappingEnded { verdict: Critical }),
        1 => Just(acknowledged()),
        1 => Just(Dropped),
    ];
    let one = (0..400i64, 0..4u8, change);
    proptest::collection::vec(one, 0..60).prop_map(|steps| {
        let mut now = 0;
        let mut alerts: Vec<Alert> = Vec::new();
        for (wait, host, change) in steps {
            now += wait;
            alerts.push(alert(now, &format!("w{host}"), change));
        }
        // In the end every host is ok.
        alerts.extend((0..4).map(|host| alert(now + 1, &format!("w{host}"), Recovery)));
        alerts
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_escalation_reports_each_problem_and_its_end_once(alerts in changes(), with_hours in proptest::bool::ANY) {
        let channel = escalation(with_hours.then_some("08:00-08:40"));
        let notices = sent(&channel, &alerts, 1_000_000);
        let mut threads: BTreeMap<&str, Vec<NoticeKind>> = BTreeMap::new();
        for (seconds, notice) in &notices {
            prop_assert!(channel.pace.may_send(at(*seconds)));
            threads.entry(&about(notice).thread).or_default().push(about(notice).kind);
        }
        let is_end = |kind: &NoticeKind| matches!(kind, NoticeKind::Recovered | NoticeKind::Silenced);
        for kinds in threads.values() {
            prop_assert_eq!(kinds[0], NoticeKind::Opened);
            prop_assert_eq!(kinds.iter().filter(|kind| **kind == NoticeKind::Opened).count(), 1);
            prop_assert!(is_end(kinds.last().unwrap()) && kinds.iter().filter(|kind| is_end(kind)).count() == 1);
        }
    }

    #[test]
    fn what_is_told_as_open_is_told_as_over_once_and_messages_are_bounded(alerts in changes()) {
        let pace = Pace { remind_every: Some(Duration::from_secs(900)), ..Pace::default() };
        let channel = Channel { pace, ..channel() };
        let notices = sent(&channel, &alerts, 1_000_000);
        let mut threads: BTreeMap<&str, Vec<&About>> = BTreeMap::new();
        let mut keys = std::collections::BTreeSet::new();
        for (_, notice) in &notices {
            prop_assert!(keys.insert(notice.key.clone()), "twice: {}", notice.key);
            threads.entry(&about(notice).thread).or_default().push(about(notice));
        }
        for story in threads.values() {
            let kinds: Vec<NoticeKind> = story.iter().map(|about| about.kind).collect();
            prop_assert_eq!(kinds[0], NoticeKind::Opened);
            prop_assert!(story[0].first && !story[1..].iter().any(|about| about.first));
            let is_end = |kind: &NoticeKind| matches!(kind, NoticeKind::Recovered | NoticeKind::Silenced);
            prop_assert!(is_end(kinds.last().unwrap()));
            prop_assert_eq!(kinds.iter().filter(|kind| **kind == NoticeKind::Opened).count(), 1);
            prop_assert_eq!(kinds.iter().filter(|kind| is_end(kind)).count(), 1);
        }
        // One opened and one ended for each; the messages between are bounded by time, alarms and acknowledgements.
        let lasted = alerts.last().unwrap().at.duration_since(at(0)).as_secs() as usize;
        let said = alerts.iter().filter(|alert| !matches!(alert.change, Recovery | Dropped)).count();
        prop_assert!(notices.len() <= 2 * threads.len() + lasted / 300 + lasted / 900 + said + 1, "{}", notices.len());
    }
}
