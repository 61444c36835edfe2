//! A week of schedule in paused time: the real monitor and the real probes over hosts that are made up, with problems,
//! flapping, outages, a jump host that goes, and downtimes drawn from a seed. What is told is counted against an
//! oracle of its own. `ROLLCALL_WEEK_HOSTS=1000` takes more hosts than every day.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rollcall::domain::base::name::HostName;
use rollcall::domain::base::output::Output;
use rollcall::domain::base::schedule::{Rhythm, Spread, Watching};
use rollcall::domain::check::check::Check;
use rollcall::domain::check::id::CheckId;
use rollcall::domain::check::probe::{Expect, Probe};
use rollcall::domain::check::seen::Observation;
use rollcall::domain::inventory::inventory::{Balancer, Endpoint};
use rollcall::domain::inventory::rotation::BalancerView;
use rollcall::domain::plan::release::ReleaseTakeover;
use rollcall::domain::run::event::Change;
use rollcall::domain::watch::alert::{Alert, AlertChange};
use rollcall::domain::watch::roll::{Covered, Downtime, History};
use rollcall::domain::watch::roster::{
    Batch, ProbeTarget, RosterSettings, WantedCheck, WatchedHost, WatchedId,
};
use rollcall::domain::watch::watched::{Flapping, Watched};
use rollcall::engine::HeldHosts;
use rollcall::engine::ports::Ports;
use rollcall::port::{
    BalancerDriver, Clock, Exec, ExecEnd, ExecReport, HostKey, Member, NoPlaces, NoSecrets, OpenError,
    Prober, Program, Remote, StoreError, Stream, Watches,
};
use rollcall::steps::ports::HostPorts;
use rollcall::steps::seal::SealKey;
use rollcall::store::SqliteStore;
use rollcall::watch::{self as watching, MonitorEnvironment, Orders, Watchlist};
use tokio::sync::watch;
use tokio::time::Instant;

const BEGIN: i64 = 1_800_000_000;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const EVERY: Duration = Duration::from_secs(300);
const CHECKS: usize = 20;

/// Hosts of every day: three of each kind, so that each of the three downtimes is played.
const HOSTS: usize = 24;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

/// From when to when something is not as it should be.
type Spans = Vec<(i64, i64)>;

fn within(spans: &Spans, at_ms: i64) -> bool {
    spans.iter().any(|(from, to)| (from * 1000..to * 1000).contains(&at_ms))
}

/// What is the matter with whom, and when.
#[derive(Default)]
struct World {
    hosts: Vec<String>,
    /// Behind the bastion.
    behind: Vec<String>,
    down: HashMap<String, Spans>,
    bad: HashMap<(String, usize), Spans>,
    /// Hosts in the downtime of the week.
    quiet: Vec<String>,
}

/// The downtime.
const QUIET: (i64, i64) = (2 * DAY, 2 * DAY + 4 * HOUR);

impl World {
    fn new(hosts: usize) -> World {
        let mut dice = SmallRng::seed_from_u64(7);
        let mut world =
            World { hosts: (0..hosts).map(|at| format!("web{at:04}")).collect(), ..World::default() };
        for (at, host) in world.hosts.clone().into_iter().enumerate() {
            match at % 8 {
                0 => world.outages(&host, &mut dice),
                1 => world.behind.push(host),
                2 => world.downtime(&host, at),
                3 | 4 => {}
                _ => (0..CHECKS).for_each(|check| world.troubles(&host, check, &mut dice)),
            }
        }
        world.down.insert("bastion".into(), vec![(DAY, DAY + 3 * HOUR), (5 * DAY, 5 * DAY + HOUR)]);
        world
    }

    /// Long ones, and some that are too short to be believed.
    fn outages(&mut self, host: &str, dice: &mut SmallRng) {
        let spans = (1..6).map(|day| {
            let from = day * DAY + dice.random_range(0..10 * HOUR);
            let length = if dice.random_bool(0.3) { 50 } else { dice.random_range(HOUR..5 * HOUR) };
            (from, from + length)
        });
        self.down.insert(host.into(), spans.collect());
    }

    /// Problems of any length, now and then so many that it flaps.
    fn troubles(&mut self, host: &str, check: usize, dice: &mut SmallRng) {
        let mut spans = Spans::new();
        let mut at = 2 * HOUR;
        while dice.random_bool(0.8) {
            at += dice.random_range(HOUR..DAY);
            if dice.random_bool(0.1) {
                for _ in 0..24 {
                    spans.push((at, at + 16 * MINUTE));
                    at += 26 * MINUTE;
                }
            } else {
                let to = at + dice.random_range(30..6 * HOUR);
                spans.push((at, to));
                at = to;
            }
        }
        spans.retain(|(_, to)| *to < WEEK - 6 * HOUR);
        self.bad.insert((host.into(), check), spans);
    }

    /// One that is over before the downtime ends, one that outlasts it, one that was there before.
    fn downtime(&mut self, host: &str, at: usize) {
        let (from, to) = QUIET;
        let span = [(from + HOUR, to - HOUR), (from + HOUR, to + 2 * HOUR), (from - 2 * HOUR, to + HOUR)]
            [at / 8 % 3];
        self.bad.insert((host.into(), 3), vec![span]);
        self.quiet.push(host.into());
    }

    fn via(&self, host: &str) -> Option<&'static str> {
        self.behind.iter().any(|behind| behind == host).then_some("bastion")
    }

    fn is_up(&self, endpoint: &Endpoint, at_ms: i64) -> bool {
        let up = |name: &str| !self.down.get(name).is_some_and(|spans| within(spans, at_ms));
        up(endpoint.name.as_str()) && endpoint.via.as_ref().is_none_or(|via| up(via.name.as_str()))
    }
}

/// What is to be told of a check: by arithmetic of its own, one look after the other.
fn oracle(host: &str, check: usize, spans: &Spans) -> Vec<(i64, &'static str)> {
    let id = CheckId::new("all", &check_name(check));
    let (spread, rhythm) = (Spread::new(host, &id.to_string()), Rhythm::Every(EVERY));
    let next = |at: i64| {
        let after = Timestamp::from_millisecond(at).unwrap();
        rhythm.next(after, spread, &TimeZone::UTC).unwrap().as_millisecond()
    };
    let mut told = Vec::new();
    let mut at = next(BEGIN * 1000);
    let (mut failures, mut hard, mut flapping, mut open) = (0, false, false, "");
    let mut history = [false; 21];
    while at <= (BEGIN + WEEK) * 1000 {
        let bad = within(spans, at - BEGIN * 1000);
        failures = if bad { failures + 1 } else { 0 };
        hard = bad && (hard || failures >= 3);
        if hard == bad {
            history.rotate_left(1);
            history[20] = bad;
            let changes = (1..21).filter(|x| history[*x] != history[x - 1]);
            let percent: f64 = changes.map(|x| ((x as f64 - 1.0) * 0.5 / 19.0 + 0.75) * 5.0).sum();
            flapping = if flapping { percent > 20.0 } else { percent >= 30.0 };
        }
        let (now, word) = match (open, flapping, hard) {
            ("flapping", true, _) => ("flapping", ""),
            (_, true, _) => ("flapping", "flapping-started"),
            ("flapping", false, hard) => (if hard { "problem" } else { "" }, "flapping-ended"),
            ("", false, true) => ("problem", "problem"),
            ("problem", false, false) if !bad => ("", "recovery"),
            (open, false, _) => (open, ""),
        };
        open = now;
        if !word.is_empty() {
            told.push((at, word));
        }
        at = if bad && !hard { at + 60_000 } else { next(at) };
    }
    told
}

fn check_name(check: usize) -> String {
    format!("check-{check:02}")
}

struct Virtual {
    begun: Instant,
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        time(0).checked_add(self.begun.elapsed()).unwrap()
    }
}

struct Hosts {
    world: Arc<World>,
    clock: Arc<Virtual>,
    probes: AtomicU64,
}

/// The script of a probe; the contact has none.
fn script_of(request: &Exec) -> &str {
    match &request.program {
        Program::Script(script) => script,
        _ => "",
    }
}

#[async_trait]
impl Remote for Hosts {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        self.probes.fetch_add(1, Ordering::Relaxed);
        let at = self.clock.now().as_millisecond() - BEGIN * 1000;
        let report = |end| ExecReport { end, stdout: Output::default(), stderr: Output::default() };
        if !self.world.is_up(host, at) {
            return report(ExecEnd::NotStarted("no route to host".into()));
        }
        let check = script_of(&request).split_once("check-").map(|(_, rest)| rest[..2].parse().unwrap());
        let spans = check.and_then(|check: usize| self.world.bad.get(&(host.name.to_string(), check)));
        report(ExecEnd::Exited(u32::from(spans.is_some_and(|spans| within(spans, at)))))
    }

    async fn open(&self, _: &Endpoint, _: &str, _: u16) -> Result<Box<dyn Stream>, OpenError> {
        Err(OpenError::Blind("nobody opens anything here".into()))
    }

    async fn open_unix(&self, _: &Endpoint, _: &str) -> Result<Box<dyn Stream>, OpenError> {
        Err(OpenError::Blind("nobody opens anything here".into()))
    }

    async fn host_key(&self, _: &Endpoint) -> Result<HostKey, String> {
        Err("no keys here".into())
    }

    async fn accept_host_key(&self, _: &Endpoint, _: &str) -> Result<(), String> {
        Err("no keys here".into())
    }
}

/// Nobody asks these.
struct Nobody;

#[async_trait]
impl Prober for Nobody {
    async fn probe(&self, _: &Endpoint, _: &Probe, _: Duration) -> Observation {
        Observation::Blind { why: "no place probes it".into() }
    }
}

#[async_trait]
impl BalancerDriver for Nobody {
    async fn inspect(&self, _: &Balancer, _: &[Member]) -> Result<BalancerView, String> {
        Err("no balancer".into())
    }

    async fn drain(&self, _: &Balancer, _: &[Member]) -> Change {
        Change::Refused { why: "no balancer".into() }
    }

    async fn enable(&self, _: &Balancer, _: &[Member]) -> Change {
        Change::Refused { why: "no balancer".into() }
    }
}

/// Keeps alerts, and counts the rest.
#[derive(Default)]
struct Ledger {
    alerts: Mutex<Vec<Alert>>,
    samples: AtomicU64,
    commits: AtomicU64,
}

#[async_trait]
impl Watches for Ledger {
    async fn watched(&self) -> Result<(HashMap<WatchedId, Watched>, Vec<Downtime>), StoreError> {
        Ok(Default::default())
    }

    async fn keep(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        self.alerts.lock().unwrap().extend(batch.alerts.iter().cloned());
        self.samples.fetch_add(batch.samples.len() as u64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn begin_downtime(&self, _: &Downtime) -> Result<u64, StoreError> {
        Ok(1)
    }

    async fn end_downtime(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn history(&self, _: &HostName, _: usize) -> Result<Vec<History>, StoreError> {
        Ok(Vec::new())
    }

    async fn adopt(&self, _: BTreeMap<HostName, Vec<CheckId>>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn prune(&self, _: Timestamp, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }
}

struct Site(Arc<World>);

impl Watchlist for Site {
    fn orders(&self) -> Orders {
        let settings =
            RosterSettings { zone: TimeZone::UTC, flapping: Flapping::default(), parallel: 64, per_host: 2 };
        Orders {
            enabled: true,
            settings,
            keep_samples: Duration::from_secs(3600),
            keep_changes: Duration::from_secs(3600),
            files: "/nowhere".into(),
        }
    }

    fn checks(&self) -> BTreeMap<HostName, Vec<CheckId>> {
        BTreeMap::new()
    }

    fn wanted(&self, _: BTreeMap<HostName, Vec<ReleaseTakeover>>) -> Vec<WatchedHost> {
        let watching = Arc::new(Watching::new(Rhythm::Every(EVERY)));
        let check = |check: usize| {
            let name = check_name(check);
            let id = CheckId::new("all", &name);
            let probe = Probe::Run { command: name, expect: Expect::default() };
            let what = ProbeTarget::Check(Arc::new(Check::new(&id, probe, Duration::from_secs(10))));
            WantedCheck { id, watching: watching.clone(), what }
        };
        let endpoint = |name: &str, via: Option<Box<Endpoint>>| Endpoint {
            name: name.into(),
            here: false,
            address: name.into(),
            further: Vec::new(),
            key: None,
            port: 22,
            login: "d".into(),
            via,
        };
        let host = |name: &String| WatchedHost {
            name: name.as_str().into(),
            group: "prod.web".into(),
            endpoint: Arc::new(endpoint(name, self.0.via(name).map(|via| Box::new(endpoint(via, None))))),
            checks: (0..CHECKS).map(check).collect(),
        };
        self.0.hosts.iter().map(host).collect()
    }
}

fn word(change: &AlertChange) -> &'static str {
    match change {
        AlertChange::Problem { .. } => "problem",
        AlertChange::Recovery => "recovery",
        AlertChange::FlappingStarted => "flapping-started",
        AlertChange::FlappingEnded { .. } => "flapping-ended",
        AlertChange::Acknowledged { .. } => "acknowledged",
        AlertChange::Dropped => "dropped",
    }
}

/// What is to be told of a check: what, and when where that is certain to the second.
type Wanteds = Vec<(Option<i64>, &'static str)>;

/// The same of all.
fn expected(world: &World) -> BTreeMap<(String, String), Wanteds> {
    let mut all = BTreeMap::new();
    for ((host, check), spans) in &world.bad {
        if world.quiet.contains(host) {
            let (from, to) = spans[0];
            let words: &[&'static str] = match (from < QUIET.0, to < QUIET.1) {
                (false, true) => &[],
                (false, false) => &["problem", "recovery"],
                (true, _) => &["problem", "dropped", "problem", "recovery"],
            };
            let words: Wanteds = words.iter().map(|word| (None, *word)).collect();
            all.insert((host.clone(), check_name(*check)), words);
            continue;
        }
        let told = oracle(host, *check, spans).into_iter().map(|(at, word)| (Some(at), word));
        all.insert((host.clone(), check_name(*check)), told.collect());
    }
    for (host, spans) in &world.down {
        let long = spans.iter().filter(|(from, to)| to - from > 10 * MINUTE);
        let words = long.flat_map(|_| [(None, "problem"), (None, "recovery")]).collect();
        all.insert((host.clone(), "reachable".into()), words);
    }
    all.retain(|_, told| !told.is_empty());
    all
}

#[test]
fn a_week_is_told_as_it_was() {
    let hosts = std::env::var("ROLLCALL_WEEK_HOSTS").map_or(HOSTS, |hosts| hosts.parse().unwrap());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let world = Arc::new(World::new(hosts));
    let ledger = Arc::new(Ledger::default());
    let (probes, late) = runtime.block_on(async {
        let clock = Arc::new(Virtual { begun: Instant::now() });
        let fleet = Arc::new(Hosts { world: world.clone(), clock: clock.clone(), probes: AtomicU64::new(0) });
        let ports = Ports {
            balancers: Arc::new(Nobody),
            store: Arc::new(SqliteStore::in_memory().unwrap()),
            leases: Arc::new(SqliteStore::in_memory().unwrap()),
            events: Arc::new(SqliteStore::in_memory().unwrap()),
            secrets: Arc::new(NoSecrets),
            hosts: HostPorts {
                remote: fleet.clone(),
                prober: Arc::new(Nobody),
                clock,
                places: Arc::new(NoPlaces),
                outputs: Arc::new(rollcall::port::outputs::NoOutputs),
                downloads: "/nowhere".into(),
                artifacts: "/nowhere".into(),
                site: "week".into(),
                seals: SealKey::new(b"week"),
                epoch: 1,
            },
        };
        let config = watch::Sender::new(Arc::new(Site(world.clone())));
        let held = watch::Sender::new(HeldHosts::default());
        let (asking, asked) = watching::prepare();
        let around = MonitorEnvironment {
            ports,
            watches: ledger.clone(),
            config: config.subscribe(),
            in_hand: held.subscribe(),
            probes: true,
            bell: Arc::new(|| {}),
            failed: Arc::new(|| {}),
        };
        let running = watching::start(around, asked).await.unwrap();
        tokio::time::sleep(Duration::from_secs(QUIET.0 as u64)).await;
        let downtime = Downtime {
            id: 0,
            by: "ann".into(),
            key: "k".into(),
            why: "new racks".into(),
            selector: "some".into(),
            hosts: world.quiet.iter().map(|host| host.as_str().into()).collect(),
            of: Covered::All,
            from: time(QUIET.0),
            until: time(QUIET.1),
        };
        asking.begin_downtime(downtime).await.unwrap();
        tokio::time::sleep(Duration::from_secs((WEEK - QUIET.0) as u64)).await;
        let roll = asking.roll().await.unwrap();
        running.stop().await;
        (fleet.probes.load(Ordering::Relaxed), roll.pace.late_max_ms)
    });
    let mut told: BTreeMap<(String, String), Vec<(i64, &str)>> = BTreeMap::new();
    for alert in ledger.alerts.lock().unwrap().iter() {
        let of = told.entry((alert.host.to_string(), alert.check.row().1.to_string())).or_default();
        of.push((alert.at.as_millisecond(), word(&alert.change)));
    }
    let expected = expected(&world);
    let alerts: usize = expected.values().map(Vec::len).sum();
    for (key, wanted) in &expected {
        let got = told.remove(key).unwrap_or_default();
        let words = |told: &[(i64, &'static str)]| told.iter().map(|(_, word)| *word).collect::<Vec<_>>();
        let wanted_words: Vec<&str> = wanted.iter().map(|(_, word)| *word).collect();
        assert_eq!(words(&got), wanted_words, "{key:?}: {got:?}, wanted {wanted:?}");
        for ((at, _), (exactly, _)) in got.iter().zip(wanted) {
            assert!(
                exactly.is_none_or(|wanted| (at - wanted).abs() < 1000),
                "{key:?}: {got:?}, wanted {wanted:?}"
            );
        }
    }
    assert!(told.is_empty(), "nobody wanted to hear of {told:?}");
    let commits = ledger.commits.load(Ordering::Relaxed);
    eprintln!("{hosts} hosts, {probes} probes, {commits} commits, {alerts} alerts; at most {late} ms late");
    assert!(probes as usize > hosts * CHECKS * 2000, "a probe each five minutes");
    assert!(alerts > hosts * 10 && commits <= 7 * 24 * 3600 + 10);
}
