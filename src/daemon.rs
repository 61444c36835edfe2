//! The composition root: builds the adapters, opens the doors, listens to signals, and stops in order.

mod caller;
mod clock;
mod credentials;
mod delivery;
mod described;
mod door_key;
mod enroll;
mod outputs;
mod placing;
mod pushed;
mod repository;
mod retention;
mod root;
mod scope;
mod tree;
mod vitals;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use russh::keys::PrivateKey;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::caller::{caller_of, myself};
pub use self::clock::SystemClock;
use self::credentials::{identities, keys};
pub use self::described::check_config;
use self::described::{describe, warnings};
use self::door_key::{DoorKey, door_key, make_parent, public_line, seals_of, secret_of, site_of};
use self::repository::Repository;
pub use self::retention::vacuum;
use self::root::{Root, channels_of, troubles};
use self::vitals::OwnVitals;
use crate::balancer::Balancers;
use crate::config::{self, Config, FleetSettings, Settings};
use crate::domain::ask::access::{LOCAL_KEY, Operator, Role, authorize, needed_role};
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::{Command, Request};
use crate::domain::base::refusal::Cause;
use crate::domain::run::request::RunRequest;
use crate::door::audit::Audit;
use crate::door::candidates::Candidates;
use crate::door::local::Stdio;
use crate::door::rights::Rights;
use crate::door::seals::Seals;
use crate::door::shown::shown;
use crate::door::signer::Signer;
use crate::door::ssh::SshDoor;
use crate::door::{
    Desk, FleetVisits, Reload, ReportRecords, Terminal, Versions, WatchStates, answer, unbroken,
};
use crate::engine::Engine;
use crate::engine::ports::Ports;
use crate::fleet::dial::{Dial, TcpDial};
use crate::fleet::here::Here;
use crate::fleet::known_hosts::KnownHosts;
use crate::fleet::{ConnectionSettings, Fleet, Parts};
use crate::local::artifacts::Artifacts;
use crate::net::Probes;
use crate::net::fetch::Fetches;
use crate::notices::{self, Tell};
use crate::notify::Ways;
use crate::port::{Clock, Remote, Watches};
use crate::steps::ports::HostPorts;
use crate::store::SqliteStore;
use crate::store::outputs::OutputFiles;
use crate::vault::Vault;
use crate::watch::{self as watching, Monitor, MonitorEnvironment, Running, WaitingQuestions};

/// A daemon that is ready: built, recovered, listening.
pub struct Daemon {
    pub desk: Desk,
    pub addresses: Vec<SocketAddr>,
    door: Arc<SshDoor>,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    /// The tasks of notification.
    telling: TaskTracker,
    root: Arc<Root>,
    watching: Mutex<Option<Running>>,
    outputs: Arc<OutputFiles>,
}

/// The parts of a daemon without its doors.
struct Built {
    desk: Desk,
    ports: Ports,
    watches: Arc<dyn Watches>,
    fleet: Arc<Fleet>,
    root: Arc<Root>,
    /// Questions for the monitor, answered once it is started.
    asked: WaitingQuestions,
    door_key: DoorKey,
    outputs: Arc<OutputFiles>,
    store: Arc<SqliteStore>,
    /// Set once the doors are open.
    addresses: Arc<OnceLock<Vec<String>>>,
}

/// Starts watching; without `probes` it only answers from the store.
async fn watch_checks(
    desk: &Desk,
    (ports, watches): (Ports, Arc<dyn Watches>),
    asked: WaitingQuestions,
    probes: bool,
) -> Result<Running, String> {
    let (tell, broken) = (desk.tell.clone(), desk.tell.clone());
    let around = MonitorEnvironment {
        ports,
        watches,
        config: desk.config.clone(),
        in_hand: desk.engine.in_hand(),
        probes,
        bell: Arc::new(move || tell.ring()),
        failed: Arc::new(move || broken.watching_failed()),
    };
    watching::start(around, asked).await.map_err(|error| error.to_string())
}

/// Builds the parts without doors: for the daemon and for `--local`.
fn build(path: &Path, config: Config, dial: Arc<dyn Dial>) -> Result<Built, String> {
    let config = Arc::new(config);
    let settings = config.settings.clone();
    make_parent(&settings.store).and(make_parent(&settings.fleet.known_hosts))?;
    // Created here if missing, even without a door: hosts identify this rollcall by it.
    let door_key = door_key(&settings.host_key, &settings.store)?;
    let store = Arc::new(SqliteStore::open(&settings.store).map_err(|error| error.to_string())?);
    let site = site_of(door_key.key.public_key());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let fleet = Arc::new(Fleet::new(parts(&settings.fleet, dial, clock.clone())?));
    let current = watch::Sender::new(config.clone());
    let remote = here(fleet.clone(), &settings, current.subscribe());
    let outputs = outputs::outputs(&settings, current.subscribe())?;
    let vault = Arc::new(Vault::new(config.clone())?);
    let channels = watch::Sender::new(channels_of(&config));
    let tell = Tell::new(notices::Parts {
        outbox: store.clone(),
        messenger: Arc::new(Ways { site: site.clone() }),
        clock: clock.clone(),
        channels: channels.subscribe(),
        sizes: scope::sizes(current.subscribe()),
        runs: scope::runs(&store, current.subscribe()),
    });
    let ports = Ports {
        balancers: Arc::new(Balancers::new(remote.clone())),
        store: store.clone(),
        leases: store.clone(),
        events: store.clone(),
        secrets: vault.clone(),
        hosts: HostPorts {
            prober: Arc::new(Probes::new(remote.clone(), clock.clone())),
            remote,
            clock,
            places: store.clone(),
            outputs: outputs.clone(),
            downloads: settings.downloads.clone(),
            artifacts: settings.artifacts_folder(),
            site,
            seals: seals_of(&door_key.key)?,
            epoch: store.epoch(),
        },
    };
    let audit = Audit::new(store.clone(), ports.hosts.clock.clone());
    let root = Arc::new(Root {
        path: path.to_path_buf(),
        current,
        channels,
        vault,
        fleet_keys: settings.fleet.keys.clone(),
        audit: audit.clone(),
        versions: store.clone(),
        reloading: Mutex::default(),
        pushing: Mutex::default(),
    });
    let (monitor, asked) = watching::prepare();
    let addresses: Arc<OnceLock<Vec<String>>> = Arc::default();
    let current = root.current.subscribe();
    let (support_store, known_addresses) = (store.clone(), addresses.clone());
    let vitals = OwnVitals {
        path: path.into(),
        store: support_store,
        current,
        settings: settings.clone(),
        addresses: known_addresses,
    };
    let vitals = Arc::new(vitals);
    let parts = DeskParts { root: root.clone(), store: store.clone(), tell, monitor, audit, vitals };
    let desk = desk(&ports, parts, (&door_key.key, &settings))?;
    Ok(Built { desk, ports, watches: store.clone(), fleet, root, asked, door_key, outputs, store, addresses })
}

/// All hosts, and this machine.
fn here(fleet: Arc<Fleet>, settings: &Settings, in_force: watch::Receiver<Arc<Config>>) -> Arc<dyn Remote> {
    Arc::new(Here {
        fleet,
        allowed: Box::new(move || in_force.borrow().settings.allow_local),
        state: settings.store.parent().unwrap_or(Path::new("/")).to_path_buf(),
    })
}

/// What a desk is made of, besides the ports.
struct DeskParts {
    root: Arc<Root>,
    store: Arc<SqliteStore>,
    tell: Tell,
    monitor: Monitor,
    audit: Audit,
    vitals: Arc<OwnVitals>,
}

fn desk(
    ports: &Ports,
    DeskParts { root, store, tell, monitor, audit, vitals }: DeskParts,
    (key, settings): (&PrivateKey, &Settings),
) -> Result<Desk, String> {
    Ok(Desk {
        engine: Engine::new(ports.clone()),
        tell,
        config: root.current.subscribe(),
        reload: root,
        monitor,
        watches: WatchStates::new(store.clone()),
        reports: ReportRecords::new(store.clone()),
        visits: FleetVisits::new(store.clone()),
        clock: ports.hosts.clock.clone(),
        candidates: Arc::new(Candidates::new(&secret_of(key)?)),
        seals: Arc::new(Seals::new(&secret_of(key)?)),
        sessions: Arc::default(),
        entrances: Arc::default(),
        folds: Arc::default(),
        answers: Arc::default(),
        pasts: Arc::default(),
        step_times: Arc::default(),
        rights: Arc::new(Rights::new(store.clone(), ports.hosts.clock.clone())),
        public_key: public_line(key)?,
        turns: Arc::default(),
        tail: Arc::default(),
        host_lines: Arc::default(),
        artifacts: Arc::new(Artifacts::new(settings.artifacts_folder())),
        fetcher: Arc::new(Fetches),
        signer: Signer::new(key.clone()),
        audit,
        versions: Versions::new(store),
        vitals,
    })
}

fn parts(settings: &FleetSettings, dial: Arc<dyn Dial>, clock: Arc<dyn Clock>) -> Result<Parts, String> {
    Ok(Parts {
        settings: ConnectionSettings {
            parallel: settings.parallel,
            connect_timeout: settings.connect_timeout,
            keepalive: settings.keepalive,
            idle_timeout: settings.idle_timeout,
        },
        identities: identities(settings)?,
        keys: keys(settings)?,
        known_hosts: KnownHosts::new(settings.known_hosts.clone()),
        dial,
        clock,
    })
}

impl Daemon {
    /// Reads the configuration in `path`, recovers open runs of a previous process, and opens the doors.
    ///
    /// Not an `async fn`, like [`answer::answer`]: the binary would compile the daemon a second time.
    pub fn start(path: &Path) -> BoxFuture<'_, Result<Daemon, String>> {
        Box::pin(Daemon::start_in(path))
    }

    async fn start_in(path: &Path) -> Result<Daemon, String> {
        finish_delivery(path).await;
        let mut config =
            config::load_kept(path, SystemClock.now()).map_err(|diagnostics| diagnostics.to_string())?;
        let standing = Repository::new(&config.settings.store, path).standing();
        config.version.commit = standing.or(config.version.commit.take());
        let settings = config.settings.clone();
        let said = format!("configuration in force: {}", describe(&config));
        warnings(&config).iter().for_each(|warning| tracing::warn!("{warning}"));
        troubles(&config).iter().for_each(|trouble| tracing::warn!("{trouble}"));
        let Built { desk, ports, watches, fleet, root, asked, door_key, outputs, store, addresses: listened } =
            build(path, config, Arc::new(TcpDial))?;
        door_key.warning.iter().for_each(|warning| tracing::warn!("{warning}"));
        let door = Arc::new(SshDoor::new(desk.clone(), door_key.key, &settings.door));
        let stop = CancellationToken::new();
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for address in &settings.listen {
            let listener =
                TcpListener::bind(address).await.map_err(|error| format!("listen {address}: {error}"))?;
            addresses.push(listener.local_addr().map_err(|error| error.to_string())?);
            listeners.push(listener);
        }
        tracing::info!(?addresses, "{said}");
        root.started(&caller_of(&desk, myself())).await.map_err(|refusal| refusal.to_string())?;
        // Connections wait until the runs are taken up: before, a run that goes on would look as if it stood still.
        recover_runs(&desk).await?;
        for listener in listeners {
            let (door, stop) = (door.clone(), stop.clone());
            tokio::spawn(async move { door.listen(listener, stop).await });
        }
        _ = listened.set(addresses.iter().map(ToString::to_string).collect());
        let telling = TaskTracker::new();
        let (tell, stopping) = (desk.tell.clone(), stop.clone());
        telling.spawn(async move { tell.run(stopping).await });
        let pruning =
            outputs::prune(outputs.clone(), ports.store.clone(), ports.hosts.clock.clone(), stop.clone());
        telling.spawn(pruning);
        telling.spawn(retention::remove_old(desk.clone(), store, stop.clone()));
        let (idle, stopping) = (fleet.clone(), stop.clone());
        telling.spawn(async move { idle.close_idle(stopping).await });
        let watching = Mutex::new(Some(watch_checks(&desk, (ports, watches), asked, true).await?));
        Ok(Daemon { door, desk, addresses, fleet, stop, telling, root, watching, outputs })
    }

    /// Serves until a signal to stop arrives. SIGHUP reads the configuration again.
    pub fn run(self) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(self.serve())
    }

    async fn serve(self) -> Result<(), String> {
        let on = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        let (mut hangup, mut terminate, mut interrupt) =
            (on(SignalKind::hangup())?, on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload_on_signal().await,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        tokio::select! {
            () = self.stop() => {}
            _ = terminate.recv() => tracing::warn!("second signal to stop: runs under way are left as they are"),
            _ = interrupt.recv() => tracing::warn!("second signal to stop: runs under way are left as they are"),
        }
        Ok(())
    }

    async fn reload_on_signal(&self) {
        // The time identifies the request of the service manager that this answers.
        let time = sd_notify::NotifyState::monotonic_usec_now();
        notify(&[sd_notify::NotifyState::Reloading].into_iter().chain(time).collect::<Vec<_>>());
        match self.root.reload(&caller_of(&self.desk, myself())).await {
            // An event is one line of the log.
            Ok(said) => said.lines().for_each(|line| tracing::info!("{line}")),
            Err(why) => {
                tracing::error!("the old configuration stays in force:");
                why.lines().for_each(|line| tracing::error!("{line}"));
            }
        }
        notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Stops: no new runs, no further host starts; hosts in their bracket finish it if they can in time. Until then
    /// operators can connect and see how far it is, or cancel a run. Open runs continue at the next start.
    pub async fn stop(&self) {
        notify(&[sd_notify::NotifyState::Stopping]);
        let runs: Vec<String> = self.desk.engine.under_way().iter().map(ToString::to_string).collect();
        tracing::info!(runs = runs.join(", "), "rollcall stops when hosts have finished their bracket");
        self.desk.engine.drain(&myself()).await;
        self.stop.cancel();
        if let Some(watching) = self.watching.lock().await.take() {
            watching.stop().await;
        }
        self.door.answered().await;
        self.desk.audit.finish().await;
        self.outputs.finish().await;
        self.telling.close();
        self.telling.wait().await;
        self.fleet.close().await;
    }
}

/// Finishes a push that was accepted and not put in place before the last end, before the configuration is read.
async fn finish_delivery(path: &Path) {
    let path = path.to_path_buf();
    let finishing = move || Repository::new(&config::store_of(&path), &path).finish();
    match tokio::task::spawn_blocking(finishing).await {
        Ok(Some(Ok(said))) => tracing::warn!("{said}"),
        Ok(Some(Err(why))) => tracing::error!("{why}"),
        Ok(None) | Err(_) => {}
    }
}

/// Notifies the service manager, if there is one.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be notified");
    }
}

/// What the store has of the time before.
async fn recover_runs(desk: &Desk) -> Result<(), String> {
    desk.rights.read().await.map_err(|error| error.to_string())?;
    let taken_up = desk.engine.recover().await.map_err(|error| error.to_string())?;
    for run in taken_up {
        tracing::warn!(%run, "was under way when rollcall ended, and is taken up again; see: watch {run}");
    }
    Ok(())
}

/// `rollcall --local ...`: answers one command, typed as `line`, without a daemon; the exit status.
pub fn answer_locally(path: &Path, request: Request, line: String) -> BoxFuture<'_, u8> {
    Box::pin(answered_locally(path, request, line))
}

async fn answered_locally(path: &Path, request: Request, line: String) -> u8 {
    match locally(path, request, &line).await {
        Ok(status) => status,
        Err(why) => {
            let _ = Stdio.err(&format!("rollcall: {why}\n")).await;
            Cause::Internal.exit_status()
        }
    }
}

async fn locally(path: &Path, request: Request, line: &str) -> Result<u8, String> {
    let config = config::load_kept(path, SystemClock.now()).map_err(|diagnostics| diagnostics.to_string())?;
    let Built { desk, ports, watches, fleet, root, asked, door_key, outputs, .. } =
        build(path, config, Arc::new(TcpDial))?;
    if let Some(warning) = door_key.warning {
        let _ = Stdio.err(&format!("rollcall: {warning}\n")).await;
    }
    // A command that only reads recovers no runs.
    if needed_role(&request.command) > Role::Viewer {
        recover_runs(&desk).await?;
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| format!("signals: {error}"))?;
    let watching = watch_checks(&desk, (ports, watches), asked, false).await?;
    let operator = local_operator();
    root.started(&caller_of(&desk, operator.clone())).await.map_err(|refusal| refusal.to_string())?;
    let mut stdio = Stdio;
    let line = shown(line.as_bytes(), &Ok(request.clone()), &desk.config.borrow());
    let line = desk.engine.masks().text(&line);
    let caller = Caller { line, ..caller_of(&desk, operator.clone()) };
    let answering = unbroken(answer::answer(&desk, &caller, request, &mut stdio));
    tokio::pin!(answering);
    let mut pressed = false;
    let status = loop {
        tokio::select! {
            status = &mut answering => break status,
            _ = interrupt.recv() => {
                cancel_all(&desk, &operator, pressed).await;
                pressed = true;
            }
        }
    };
    let status = match status {
        Ok(status) => status,
        Err(text) => {
            let _ = Stdio.err(text).await;
            Cause::Internal.exit_status()
        }
    };
    // A closed pipe ends the answer, not the run: the process waits for its end.
    desk.engine.idle().await;
    desk.audit.finish().await;
    watching.stop().await;
    outputs.finish().await;
    fleet.close().await;
    Ok(status)
}

/// There is no daemon to continue a run: Ctrl-C cancels it, and a second one ends running steps, too.
async fn cancel_all(desk: &Desk, operator: &Operator, now: bool) {
    for run in desk.engine.under_way() {
        let what = match now {
            true => "running steps are being ended",
            false => "no further host starts; Ctrl-C again ends running steps",
        };
        let _ = Stdio.err(&format!("run {run}: {what}\n")).await;
        if let Ok(granted) = authorize(operator, Command::Cancel { run, now }, SystemClock.now()) {
            let _ = desk.engine.ask(&granted, run, RunRequest::Cancel { now }).await;
        }
    }
}

/// A local user who can read the store and the keys can do everything with them anyway.
fn local_operator() -> Operator {
    let name =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into());
    Operator::new(format!("{name} (local)"), LOCAL_KEY, Role::Admin)
}
