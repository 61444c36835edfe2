//! One simulation: a site made from a seed, one release over it, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rand::RngExt;
use rollcall::balancer::Balancers;
use rollcall::domain::ask::access::{Operator, Role, authorize};
use rollcall::domain::ask::command::Command;
use rollcall::domain::base::name::HostName;
use rollcall::domain::base::outcome::{End, RunOutcome};
use rollcall::domain::inventory::inventory::NginxStyle;
use rollcall::domain::run::event::Event;
use rollcall::domain::run::request::RunRequest;
use rollcall::embedded::behaviour::Behaviour;
use rollcall::embedded::sshd::Sshd;
use rollcall::engine::Engine;
use rollcall::engine::feed::{FeedItem, Follower, Over};
use rollcall::engine::ports::Ports;
use rollcall::fleet::dial::Identity;
use rollcall::fleet::known_hosts::KnownHosts;
use rollcall::fleet::{ConnectionSettings, Fleet, Parts};
use rollcall::net::Probes;
use rollcall::port::{NoPlaces, NoSecrets, Remote};
use rollcall::steps::ports::HostPorts;
use rollcall::store::SqliteStore;
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::balancer::SimBalancer;
use super::broken::{Bug, with_bug};
use super::crash::{Life, MortalFleet, MortalStore};
use super::fate::Fate;
use super::host::SimHost;
use super::ledger::{Ledger, RUN};
use super::net::{Net, Site};
use super::ops;
use super::ports::{InlineStore, SimClock};
use super::{recap, rules, world};

/// No run may take longer, in virtual time (I12): more than the sum of all limits on the way of one host.
const BOUND: Duration = Duration::from_secs(3_600);

/// After the run, for what is still on its way through the network or hangs on a host.
const AFTERMATH: Duration = Duration::from_secs(600);

/// How long nobody is there after a death.
const ABSENCE: Duration = Duration::from_secs(7);

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub hosts: usize,
    /// How many of a hundred hosts are in trouble.
    pub faulty_percent: u32,
    /// The same for the balancer's host.
    pub balancer_percent: u32,
    pub bug: Bug,
    /// The points at which the daemon dies, in its first and in its second life.
    pub deaths: [Option<usize>; 2],
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    pub faults: Vec<String>,
    pub trace: Vec<String>,
    pub ends: BTreeMap<End, usize>,
    pub outcome: Option<RunOutcome>,
    pub took: Duration,
    pub cancelled: bool,
    /// The points that each life of the daemon passed.
    pub points: Vec<Vec<String>>,
}

impl Report {
    /// One number for all that happened, and when.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        self.trace.iter().for_each(|line| hasher.update(format!("{line}\n")));
        hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Everything that one simulation is made of.
struct Stage {
    scenario: Scenario,
    ledger: Arc<Ledger>,
    hosts: BTreeMap<HostName, Arc<SimHost>>,
    sites: Arc<BTreeMap<String, Site>>,
    clock: Arc<SimClock>,
}

/// How a life of the daemon begins.
enum Begun {
    Watched(Box<Follower>),
    /// It is over before it has taken anything up.
    Died,
    /// A death after the last write has left nothing to take up.
    Over,
}

/// One life of the daemon.
struct Daemon {
    fleet: Arc<Fleet>,
    engine: Engine,
    life: Life,
    /// Cuts all its connections, as the system does when a process is gone.
    cut: CancellationToken,
}

/// Simulates, on this thread.
pub fn simulate(scenario: Scenario) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async move { Stage::new(scenario).play().await })
}

impl Stage {
    fn new(scenario: Scenario) -> Stage {
        let Scenario { seed, hosts: count, faulty_percent: percent, balancer_percent, .. } = scenario;
        let mut dice = world::dice(seed, &["stage"]);
        let style = if dice.random_bool(0.5) { NginxStyle::Down } else { NginxStyle::Comment };
        let plan = Arc::new(world::plan(count, style));
        let names = world::web_hosts(count);
        let foreign = (percent > 0 && dice.random_bool(0.25)).then(|| names[count / 2].clone());
        let foreign: BTreeSet<HostName> = foreign.into_iter().collect();
        let store = SqliteStore::in_memory().expect("a store");
        let ledger = Arc::new(Ledger::new(store, plan, foreign));
        let fate = |name: &str, percent: u32| Arc::new(Fate::of(seed, name, percent));
        let host = |name: &HostName| {
            let fate = fate(name.as_str(), percent);
            (name.clone(), SimHost::new(name.clone(), fate, ledger.clone()))
        };
        let hosts: BTreeMap<HostName, Arc<SimHost>> = names.iter().map(host).collect();
        let of_balancer = fate(world::BALANCER, balancer_percent);
        let balancer = Arc::new(SimBalancer::new(&names, of_balancer.clone(), ledger.clone()));
        let mut sites: BTreeMap<String, Site> = hosts
            .values()
            .map(|host| (format!("{}.sim", host.name), site(host.name.as_str(), &host.fate, host.clone())))
            .collect();
        sites.insert(format!("{}.sim", world::BALANCER), site(world::BALANCER, &of_balancer, balancer));
        Stage { scenario, ledger, hosts, sites: Arc::new(sites), clock: Arc::new(SimClock::new()) }
    }

    /// The daemon in its n-th life, with nothing in its memory.
    fn daemon(&self, life: usize) -> Daemon {
        let life = Life::new(self.scenario.deaths.get(life).copied().flatten());
        let cut = CancellationToken::new();
        let net = Net { sites: self.sites.clone(), cut: cut.clone() };
        let (fleet, ports) = wire_up(net, &self.ledger, &self.clock, &life);
        Daemon { fleet, engine: Engine::new(with_bug(self.scenario.bug, ports)), life, cut }
    }

    async fn play(self) -> Report {
        let begun = tokio::time::Instant::now();
        let mut points = Vec::new();
        let mut cancelled = false;
        for number in 0.. {
            let daemon = self.daemon(number);
            let begun = tokio::select! {
                biased;
                () = daemon.life.death() => Begun::Died,
                begun = self.begin(&daemon, number) => begun,
            };
            cancelled |= number == 0 && self.cancel_sometimes(&daemon.engine);
            let died = match begun {
                Begun::Watched(watch) => self.live(&daemon, watch).await,
                Begun::Died => true,
                Begun::Over => break,
            };
            points.push(daemon.life.points());
            daemon.cut.cancel();
            if !died {
                daemon.fleet.close().await;
                break;
            }
            self.ledger.happened("daemon", "dies");
            self.ledger.check_orphans();
            sleep(ABSENCE).await;
            self.ledger.check_orphans();
        }
        let took = begun.elapsed();
        sleep(AFTERMATH).await;
        self.ledger.check_orphans();
        self.judge();
        let book = self.ledger.book();
        let mut ends = BTreeMap::new();
        for end in book.shadow.hosts().values().filter_map(|host| host.end()) {
            *ends.entry(end).or_default() += 1;
        }
        let (faults, trace) = (book.faults.clone(), book.trace.clone());
        Report { faults, trace, ends, outcome: book.shadow.outcome(), took, cancelled, points }
    }

    async fn begin(&self, daemon: &Daemon, number: usize) -> Begun {
        if number == 0 {
            let started = daemon.engine.start(&world::granted(), (*self.ledger.plan).clone()).await;
            return Begun::Watched(Box::new(started.expect("nobody else holds the group")));
        }
        daemon.engine.recover().await.expect("the store can be read");
        daemon
            .engine
            .watch(&world::granted(), RUN)
            .map_or(Begun::Over, |watch| Begun::Watched(Box::new(watch)))
    }

    /// Until the run is over or the daemon dies; true if it died.
    async fn live(&self, daemon: &Daemon, watch: Box<Follower>) -> bool {
        let seen = tokio::select! {
            biased;
            () = daemon.life.death() => return true,
            seen = timeout(BOUND, follow(*watch)) => seen,
        };
        match seen {
            Err(_) => self.ledger.fault("I12 bounded liveness", &format!("no end within {BOUND:?}")),
            Ok((_, over)) if over != Over::Ended => {
                self.ledger.fault("I12 bounded liveness", &format!("the run has stopped working: {over:?}"));
            }
            Ok((events, _)) => {
                if events != self.ledger.book().events {
                    self.ledger.fault("I9 fold determinism", "a watcher saw another journal");
                }
            }
        }
        false
    }

    /// In some of the simulations with trouble somebody cancels the run.
    fn cancel_sometimes(&self, engine: &Engine) -> bool {
        let mut dice = world::dice(self.scenario.seed, &["cancel"]);
        if self.scenario.faulty_percent == 0 || !dice.random_bool(0.2) {
            return false;
        }
        let after = Duration::from_millis(dice.random_range(1_000..100_000));
        let (now, engine) = (dice.random_bool(0.5), engine.clone());
        tokio::spawn(async move {
            sleep(after).await;
            let ben = Operator::new("ben", "b", Role::Operator);
            let granted = authorize(&ben, Command::Cancel { run: RUN, now }, jiff::Timestamp::UNIX_EPOCH)
                .expect("an operator may cancel");
            let _ = engine.ask(&granted, RUN, RunRequest::Cancel { now }).await;
        });
        true
    }

    fn judge(&self) {
        let events = self.ledger.book().events.clone();
        for fault in rules::faults_of(&self.ledger.plan, &events) {
            self.ledger.fault("journal", &fault);
        }
        let crashed = |event: &&Event| format!("{event:?}").contains("please report it");
        if let Some(event) = events.iter().find(crashed) {
            self.ledger.fault("no effect breaks down", &format!("{event:?}"));
        }
        recap::compare(&self.ledger, &self.hosts);
    }
}

fn site(name: &str, fate: &Arc<Fate>, behaviour: Arc<dyn Behaviour>) -> Site {
    let rollcall = world::key_of("rollcall").public_key().clone();
    Site {
        sshd: Sshd::new(world::key_of(name), vec![rollcall], behaviour),
        fate: fate.clone(),
        connections: AtomicU32::new(0),
    }
}

fn wire_up(net: Net, ledger: &Arc<Ledger>, clock: &Arc<SimClock>, life: &Life) -> (Arc<Fleet>, Ports) {
    let fleet = Arc::new(Fleet::new(Parts {
        settings: ConnectionSettings {
            parallel: 32,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            idle_timeout: None,
        },
        identities: vec![Identity::Key(Arc::new(world::key_of("rollcall")))],
        keys: Default::default(),
        known_hosts: KnownHosts::new(world::known_hosts()),
        dial: Arc::new(net),
        clock: clock.clone(),
    }));
    let remote: Arc<dyn Remote> = Arc::new(MortalFleet { life: life.clone(), real: fleet.clone() });
    let store = Arc::new(InlineStore(ledger.clone()));
    let ports = Ports {
        balancers: Arc::new(Balancers::new(remote.clone())),
        store: Arc::new(MortalStore { life: life.clone(), real: store }),
        leases: Arc::new(ledger.store.clone()),
        events: Arc::new(ledger.store.clone()),
        secrets: Arc::new(NoSecrets),
        hosts: HostPorts {
            prober: Arc::new(Probes::new(remote.clone(), clock.clone())),
            remote,
            clock: clock.clone(),
            places: Arc::new(NoPlaces),
            outputs: Arc::new(rollcall::port::outputs::NoOutputs),
            downloads: "/nowhere".into(),
            artifacts: "/nowhere".into(),
            site: "sim".into(),
            seals: ops::seals(),
            epoch: 1,
        },
    };
    (fleet, ports)
}

/// All events that a watcher sees.
async fn follow(mut watch: Follower) -> (Vec<Event>, Over) {
    let mut events = Vec::new();
    loop {
        match watch.next().await {
            FeedItem::Event(event) => events.push(*event),
            FeedItem::Progress(_) | FeedItem::Dropped(_) => {}
            FeedItem::Over(over) => return (events, over),
        }
    }
}
