//! Telling people, under paused time: the real loop and the real store, a clock that the test drives, and a
//! messenger that fails as the test wants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rollcall::domain::ask::access::{Operator, Role};
use rollcall::domain::ask::hours::{Hours, Span};
use rollcall::domain::base::outcome::{RunOutcome, Verdict};
use rollcall::domain::check::id::CheckId;
use rollcall::domain::inventory::inventory::NginxStyle;
use rollcall::domain::notify::channel::{Channel, Only, Pace, Transport};
use rollcall::domain::notify::notice::{Notice, NoticeContent, NoticeKind};
use rollcall::domain::notify::run_news::RunMoment;
use rollcall::domain::run::event::{EventKind, Pause, PausedUntil};
use rollcall::domain::watch::alert::{Alert, AlertChange};
use rollcall::notices::pending::Pending;
use rollcall::notices::{Channels, Parts, RunParts, Tell};
use rollcall::port::{Clock, Messenger, SendError};
use rollcall::store::SqliteStore;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.0.elapsed()
    }
}

type Answer = Box<dyn Fn(usize) -> Option<Result<(), SendError>> + Send + Sync>;

/// Whoever is told, by channel: what they took, and how they answer the n-th try; `None`: never.
#[derive(Default)]
struct People {
    answers: BTreeMap<String, Answer>,
    tries: AtomicUsize,
    taken: Mutex<Vec<(String, Notice)>>,
}

#[async_trait]
impl Messenger for People {
    async fn send(&self, channel: &Channel, notice: &Notice) -> Result<(), SendError> {
        let nth = self.tries.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(&channel.name).map_or(Some(Ok(())), |answer| answer(nth));
        match answer {
            Some(Ok(())) => {
                self.taken.lock().unwrap().push((channel.name.clone(), notice.clone()));
                Ok(())
            }
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

fn channel(name: &str) -> Channel {
    Channel {
        runs: Vec::new(),
        name: name.into(),
        only: Only::default(),
        pace: Pace::default(),
        give_up: 72 * HOUR,
        way: Transport::Command("true".into()),
    }
}

struct Scene {
    store: SqliteStore,
    clock: Arc<TestClock>,
    people: Arc<People>,
    channels: watch::Sender<Arc<Channels>>,
}

impl Scene {
    fn new(channels: Vec<Channel>, answers: Vec<(&str, Answer)>) -> Scene {
        let answers = answers.into_iter().map(|(name, answer)| (name.to_string(), answer)).collect();
        Scene {
            store: SqliteStore::in_memory().unwrap(),
            clock: Arc::new(TestClock(Instant::now())),
            people: Arc::new(People { answers, ..People::default() }),
            channels: watch::Sender::new(Arc::new(Channels { list: channels, zone: TimeZone::UTC })),
        }
    }

    fn reload(&self, list: Vec<Channel>) {
        self.channels.send_replace(Arc::new(Channels { list, zone: TimeZone::UTC }));
    }

    fn tell(&self) -> Tell {
        Tell::new(Parts {
            outbox: Arc::new(self.store.clone()),
            messenger: self.people.clone(),
            clock: self.clock.clone(),
            channels: self.channels.subscribe(),
            sizes: Box::new(|_, _| 20),
            runs: RunParts {
                events: Arc::new(self.store.clone()),
                store: Arc::new(self.store.clone()),
                scope: Box::new(|_, plan| Some(("prod".into(), plan.title.0.clone()))),
            },
        })
    }

    fn alert(&self, host: &str, change: AlertChange) {
        let alert = Alert {
            at: self.clock.now(),
            since: None,
            host: host.into(),
            group: "prod.web".into(),
            check: CheckId::new("web", "http").into(),
            change,
            text: "HTTP status 503".into(),
        };
        self.store.add_alerts_now(&[alert]).unwrap();
    }

    fn break_down(&self, host: &str) {
        self.alert(host, AlertChange::Problem { verdict: Verdict::Critical });
    }

    /// What a channel was told, with repetitions.
    fn told(&self, channel: &str) -> Vec<Notice> {
        let taken = self.people.taken.lock().unwrap();
        taken.iter().filter(|(name, _)| name == channel).map(|(_, notice)| notice.clone()).collect()
    }

    fn kinds(&self, channel: &str) -> Vec<NoticeKind> {
        let kind = |notice: Notice| match notice.what {
            NoticeContent::Incident(about) => about.kind,
            other => panic!("{other:?}"),
        };
        self.told(channel).into_iter().map(kind).collect()
    }
}

/// Runs for a time, and then stops in order.
async fn run_for(tell: &Tell, time: Duration) {
    let stop = CancellationToken::new();
    let running = tell.run(stop.clone());
    tokio::pin!(running);
    assert!(tokio::time::timeout(time, &mut running).await.is_err(), "it goes on");
    stop.cancel();
    running.await;
}

#[tokio::test(start_paused = true)]
async fn one_incident_is_one_message_and_one_more_when_it_is_over() {
    let scene = Scene::new(vec![channel("ops")], vec![]);
    let tell = scene.tell();
    scene.break_down("web1");
    scene.break_down("web2");
    run_for(&tell, HOUR).await;
    assert_eq!(scene.kinds("ops"), [NoticeKind::Opened]);
    let NoticeContent::Incident(about) = scene.told("ops").remove(0).what else { panic!("an incident") };
    assert_eq!((about.hosts.as_str(), about.count, about.of), ("web[1-2]", 2, 20));
    scene.alert("web1", AlertChange::Recovery);
    scene.alert("web2", AlertChange::Recovery);
    run_for(&tell, HOUR).await;
    assert_eq!(scene.kinds("ops"), [NoticeKind::Opened, NoticeKind::Recovered]);
    let fares = tell.fares().await.unwrap().remove("ops").unwrap();
    assert_eq!((fares.delivered, fares.waiting, fares.given_up), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_holds_up_no_other_and_gets_all_of_it_later() {
    // The first ten tries hang.
    let hangs: Answer = Box::new(|nth| (nth > 10).then_some(Ok(())));
    let scene = Scene::new(vec![channel("hangs"), channel("ops")], vec![("hangs", hangs)]);
    let tell = scene.tell();
    scene.break_down("web1");
    run_for(&tell, Duration::from_secs(15)).await;
    assert_eq!((scene.told("ops").len(), scene.told("hangs").len()), (1, 0));
    scene.alert("web1", AlertChange::Recovery);
    run_for(&tell, 24 * HOUR).await;
    assert_eq!(scene.kinds("ops"), [NoticeKind::Opened, NoticeKind::Recovered]);
    assert_eq!(scene.kinds("hangs"), [NoticeKind::Opened, NoticeKind::Recovered]);
}

#[tokio::test(start_paused = true)]
async fn tries_grow_rare_and_what_is_never_taken_is_told_by_the_others() {
    let away: Answer = Box::new(|_| Some(Err(SendError::Down("connection refused".into()))));
    let refuses: Answer = Box::new(|_| Some(Err(SendError::Refused("no such user".into()))));
    let channels = vec![channel("away"), channel("ops"), channel("refuses")];
    let scene = Scene::new(channels, vec![("away", away), ("refuses", refuses)]);
    let tell = scene.tell();
    scene.break_down("web1");
    run_for(&tell, 2 * HOUR).await;
    let fares = tell.fares().await.unwrap();
    assert_eq!(fares["away"].trouble.as_deref(), Some("connection refused"));
    // At once, and after 1, 6, 21, 81 minutes: from two channels, and once from the third one.
    assert_eq!(scene.people.tries.load(Ordering::SeqCst), 5 + 5 + 1);
    // Its own message, and then word of the other one.
    run_for(&tell, 80 * HOUR).await;
    run_for(&tell, 80 * HOUR).await;
    let fares = tell.fares().await.unwrap();
    for name in ["away", "refuses"] {
        assert_eq!((fares[name].waiting, fares[name].given_up), (0, 2), "{name}");
    }
    let told: Vec<String> = scene
        .told("ops")
        .into_iter()
        .filter_map(|notice| match notice.what {
            NoticeContent::GaveUp { channel, count, .. } => Some(format!("{channel} {count}")),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&"away 1".to_string()) && told.contains(&"refuses 1".to_string()), "{told:?}");
    assert_eq!(
        (fares["ops"].delivered, fares["ops"].waiting),
        (3, 0),
        "word that never arrives is not told of in turn"
    );
}

#[tokio::test(start_paused = true)]
async fn when_a_channel_is_back_everything_that_waits_goes_out_at_once_and_in_order() {
    let back = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_back = back.clone();
    let away: Answer = Box::new(move |_| {
        Some(if is_back.load(Ordering::SeqCst) { Ok(()) } else { Err(SendError::Down("away".into())) })
    });
    let scene = Scene::new(vec![channel("ops")], vec![("ops", away)]);
    let tell = scene.tell();
    for hour in 0..10 {
        scene.break_down(&format!("web{hour}"));
        run_for(&tell, HOUR).await;
        scene.alert(&format!("web{hour}"), AlertChange::Recovery);
        run_for(&tell, HOUR).await;
    }
    let tries = scene.people.tries.load(Ordering::SeqCst);
    // New ones look whether it is back; old ones once an hour.
    assert!(tries < 20 + 25, "{tries}");
    back.store(true, Ordering::SeqCst);
    scene.break_down("web1");
    run_for(&tell, Duration::from_secs(60)).await;
    assert_eq!(scene.told("ops").len(), 21);
    let mut keys: Vec<String> = scene.told("ops").into_iter().map(|notice| notice.key).collect();
    assert_eq!(
        keys.len(),
        {
            keys.sort();
            keys.dedup();
            keys.len()
        },
        "nothing twice"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_channel_hears_of_what_is_open_and_not_of_what_is_over() {
    let scene = Scene::new(vec![channel("ops")], vec![]);
    scene.break_down("web1");
    scene.alert("web1", AlertChange::Recovery);
    scene.break_down("web2");
    run_for(&scene.tell(), HOUR).await;
    scene.reload(vec![channel("ops"), channel("late")]);
    run_for(&scene.tell(), HOUR).await;
    let NoticeContent::Incident(about) = scene.told("late").remove(0).what else { panic!("an incident") };
    assert_eq!((scene.told("late").len(), about.hosts.as_str()), (1, "web2"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_starts_new_channels_and_ends_those_that_are_gone() {
    let scene = Scene::new(vec![channel("ops"), channel("old")], vec![]);
    let (tell, stop) = (scene.tell(), CancellationToken::new());
    let (running, stopping) = (tell.clone(), stop.clone());
    let running = tokio::spawn(async move { running.run(stopping).await });
    scene.break_down("web1");
    tell.ring();
    tokio::time::sleep(HOUR).await;
    let before = (scene.told("ops").len(), scene.told("old").len());
    assert!(before.0 == 1 && before.1 == 1, "{before:?}");
    let other = Channel { way: Transport::Command("false".into()), ..channel("ops") };
    scene.reload(vec![other, channel("new")]);
    assert_eq!(tell.channels().list.len(), 2);
    tokio::time::sleep(HOUR).await;
    scene.alert("web1", AlertChange::Recovery);
    tell.ring();
    tokio::time::sleep(HOUR).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(scene.kinds("ops"), [NoticeKind::Opened, NoticeKind::Recovered], "it continues where it was");
    assert_eq!(scene.kinds("old"), [NoticeKind::Opened]);
    assert_eq!(scene.kinds("new"), [NoticeKind::Opened, NoticeKind::Recovered]);
}

/// The process dies at any moment: whatever is under way is dropped on the floor.
#[tokio::test(start_paused = true)]
async fn whenever_it_dies_nothing_is_lost_and_nothing_is_made_twice() {
    let slow: Answer = Box::new(|_| Some(Ok(())));
    let scene = Scene::new(vec![channel("ops"), channel("also")], vec![("ops", slow)]);
    let mut broken = 0;
    for round in 0..200_u64 {
        match round % 7 {
            0 => scene.break_down(&format!("web{}", round % 5)),
            3 => {
                broken = round;
                (0..5).for_each(|host| scene.alert(&format!("web{host}"), AlertChange::Recovery));
            }
            _ => {}
        }
        let running = scene.tell();
        // Dropped in the middle of whatever it does.
        let running = tokio::spawn(async move { running.run(CancellationToken::new()).await });
        tokio::time::sleep(Duration::from_millis(round * 37 % 6_000)).await;
        running.abort();
        let _ = running.await;
    }
    assert!(broken > 0);
    (0..5).for_each(|host| scene.alert(&format!("web{host}"), AlertChange::Recovery));
    run_for(&scene.tell(), HOUR).await;
    for name in ["ops", "also"] {
        let mut stories: BTreeMap<String, Vec<NoticeKind>> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for notice in scene.told(name) {
            let NoticeContent::Incident(about) = notice.what else { panic!("an incident") };
            // One that was delivered and not noted comes again, and is known by its key.
            if seen.insert(notice.key) {
                stories.entry(about.thread.clone()).or_default().push(about.kind);
            }
        }
        assert!(!stories.is_empty());
        for (thread, kinds) in stories {
            assert_eq!(
                (kinds.first(), kinds.last()),
                (Some(&NoticeKind::Opened), Some(&NoticeKind::Recovered)),
                "{thread}: {kinds:?}"
            );
        }
    }
    let fares = scene.tell().fares().await.unwrap();
    assert!(fares.values().all(|fares| fares.waiting == 0 && fares.given_up == 0), "{fares:?}");
}

/// Twenty checks of a thousand hosts each; told to five channels.
#[tokio::test(start_paused = true)]
async fn an_outage_of_a_thousand_hosts_is_one_message_for_each_check() {
    let names = ["a", "b", "c", "d", "e"];
    let scene = Scene::new(names.map(channel).into(), vec![]);
    let tell = scene.tell();
    let all = |change: AlertChange| {
        let pairs = (0..20).flat_map(|check| (0..1000).map(move |host| (check, host)));
        let alerts: Vec<Alert> = pairs
            .map(|(check, host)| Alert {
                at: scene.clock.now(),
                since: None,
                host: format!("web{host}").as_str().into(),
                group: "prod.web".into(),
                check: CheckId::new("web", &format!("check {check}")).into(),
                change: change.clone(),
                text: "connection refused".into(),
            })
            .collect();
        scene.store.add_alerts_now(&alerts).unwrap();
    };
    all(AlertChange::Problem { verdict: Verdict::Critical });
    run_for(&tell, HOUR).await;
    all(AlertChange::Recovery);
    run_for(&tell, HOUR).await;
    for name in names {
        let kinds = scene.kinds(name);
        let count = |kind: NoticeKind| kinds.iter().filter(|known| **known == kind).count();
        assert_eq!((count(NoticeKind::Opened), count(NoticeKind::Recovered), kinds.len()), (20, 20, 40));
    }
    let NoticeContent::Incident(about) = scene.told("a").remove(0).what else { panic!("an incident") };
    assert_eq!((about.hosts.as_str(), about.count), ("web[0-999]", 1000));
}

fn escalation(name: &str, minutes: u64) -> Channel {
    let pace = Pace { after: Some(Duration::from_secs(60 * minutes)), ..Pace::default() };
    let runs = vec![RunMoment::NeedsPerson, RunMoment::WaitingForApproval, RunMoment::Done];
    Channel { pace, runs, ..channel(name) }
}

/// Lets time pass, while the process dies and starts again at many moments.
async fn die_often(scene: &Scene, time: Duration) {
    let end = scene.clock.0.elapsed() + time;
    let mut nth = 1;
    while scene.clock.0.elapsed() < end {
        let tell = scene.tell();
        let running = tokio::spawn(async move { tell.run(CancellationToken::new()).await });
        tokio::time::sleep(Duration::from_millis(nth * 7_919 % 60_000)).await;
        running.abort();
        let _ = running.await;
        nth += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_it_dies_an_escalation_is_made_once_and_only_of_what_nobody_took() {
    let scene = Scene::new(vec![channel("ops"), escalation("boss", 15)], vec![]);
    let acknowledged = || AlertChange::Acknowledged { by: "ann".into(), why: "on it".into() };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for end in [Some(acknowledged()), Some(AlertChange::Recovery), None] {
        scene.break_down("web1");
        die_often(&scene, minutes(10)).await;
        let left = end.is_none();
        end.into_iter().for_each(|change| scene.alert("web1", change));
        die_often(&scene, minutes(30)).await;
        assert_eq!(scene.told("boss").is_empty(), !left);
        scene.alert("web1", AlertChange::Recovery);
        die_often(&scene, minutes(30)).await;
    }
    let once = |name: &str| {
        let keys: Vec<String> = scene.told(name).into_iter().map(|notice| notice.key).collect();
        keys.into_iter().collect::<std::collections::BTreeSet<String>>().len()
    };
    // The first channel: opened and recovered three times, and acknowledged once.
    assert_eq!((once("ops"), once("boss")), (7, 2));
    assert_eq!(scene.kinds("boss").first(), Some(&NoticeKind::Opened));
    assert_eq!(scene.kinds("boss").last(), Some(&NoticeKind::Recovered));
    assert_eq!(scene.tell().pending(&escalation("boss", 15)).await.unwrap(), Pending::default());
}

/// An acknowledgement that comes while the escalation is being delivered is sent after it, and nothing else.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_during_the_delivery_of_an_escalation_is_its_next_message() {
    let away: Answer =
        Box::new(|nth| Some(if nth < 2 { Err(SendError::Down("away".into())) } else { Ok(()) }));
    let scene = Scene::new(vec![escalation("boss", 15)], vec![("boss", away)]);
    let tell = scene.tell();
    scene.break_down("web1");
    run_for(&tell, Duration::from_secs(15 * 60 + 20)).await;
    assert_eq!(scene.kinds("boss"), []);
    scene.alert("web1", AlertChange::Acknowledged { by: "ann".into(), why: "on it".into() });
    run_for(&tell, HOUR).await;
    assert_eq!(scene.kinds("boss"), [NoticeKind::Opened, NoticeKind::Acknowledged]);
}

#[tokio::test(start_paused = true)]
async fn whenever_it_dies_a_run_that_waits_is_escalated_once_and_an_answered_one_never() {
    let scene = Scene::new(vec![escalation("boss", 15)], vec![]);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    run_for(&scene.tell(), minutes(1)).await;
    let (ann, now) = (Operator::new("ann", "SHA256:x", Role::Operator), || scene.clock.now());
    for answered in [true, false] {
        let plan = crate::sim::plan(1, NginxStyle::Down);
        let run = scene.store.create_run_now(&plan, &ann, now()).unwrap().run;
        let (why, by, key) = ("the task asks".to_string(), "rollcall".to_string(), String::new());
        let pause = Pause { why, by, key: key.clone(), until: PausedUntil::Approved, step: None };
        scene.store.append_now(run, now(), vec![EventKind::Paused(pause)]).unwrap();
        die_often(&scene, minutes(10)).await;
        assert_eq!(scene.told("boss"), []);
        assert_eq!(scene.tell().pending(&escalation("boss", 15)).await.unwrap().runs, 1);
        if !answered {
            die_often(&scene, minutes(10)).await;
            let keys: Vec<String> = scene.told("boss").into_iter().map(|notice| notice.key).collect();
            assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("run-2.")), "{keys:?}");
        }
        let ended = EventKind::RunEnded { outcome: RunOutcome::Done, had_input: false };
        let approved = EventKind::Approved { by: "bob".into(), key, plan_sha256: String::new() };
        scene.store.append_now(run, now(), vec![approved, ended]).unwrap();
        die_often(&scene, minutes(30)).await;
    }
    let notices = scene.told("boss");
    let unique: std::collections::BTreeSet<String> =
        notices.iter().map(|notice| notice.key.clone()).collect();
    assert_eq!(unique.len(), 2, "{unique:?}");
    let moment = |notice: &Notice| match &notice.what {
        NoticeContent::Run(news) => (news.run.0, news.moment),
        other => panic!("{other:?}"),
    };
    assert_eq!(moment(&notices[0]), (2, RunMoment::WaitingForApproval));
    assert_eq!(moment(notices.last().unwrap()), (2, RunMoment::Done));
}

/// Outside its hours a channel delivers nothing, not even what was made within them.
#[tokio::test(start_paused = true)]
async fn a_channel_delivers_within_its_hours_alone() {
    let hours = |text: &str| Hours { spans: vec![Span::parse(text).unwrap()], zone: TimeZone::UTC };
    // The clock starts at 08:00.
    let pace = Pace { hours: Some(hours("08:00-08:10")), ..Pace::default() };
    let away: Answer =
        Box::new(|nth| Some(if nth < 1 { Err(SendError::Down("away".into())) } else { Ok(()) }));
    let scene = Scene::new(vec![Channel { pace, ..channel("office") }], vec![("office", away)]);
    let tell = scene.tell();
    run_for(&tell, Duration::from_secs(9 * 60)).await;
    scene.break_down("web1");
    run_for(&tell, HOUR).await;
    let tries = scene.people.tries.load(Ordering::SeqCst);
    assert_eq!(scene.told("office"), []);
    tell.watching_failed();
    run_for(&tell, 12 * HOUR).await;
    assert_eq!(scene.people.tries.load(Ordering::SeqCst), tries, "silent");
    run_for(&tell, 12 * HOUR).await;
    assert_eq!(scene.told("office").len(), 2);
}
