//! What this process can observe of itself. Implements [`Vitals`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::credentials;
use super::door_key::{DoorKey, door_key};
use crate::config::{self, Config, Settings};
use crate::domain::ask::vitals::VitalSigns;
use crate::domain::base::name::HostName;
use crate::fleet::known_hosts::KnownHosts;
use crate::fleet::read_identity;
use crate::local::process::{self, ProcessLimits};
use crate::port::vitals::Vitals;
use crate::store::SqliteStore;

/// How long a connection to an address of this process, or to an agent, may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long `timedatectl` may take.
const CLOCK_LIMITS: ProcessLimits = ProcessLimits { time: Duration::from_secs(5), output_bytes: 4096 };

/// How every SSH server greets.
const GREETING: &[u8] = b"SSH-2.0-";

/// See the module.
pub(super) struct OwnVitals {
    pub path: PathBuf,
    pub store: Arc<SqliteStore>,
    pub current: watch::Receiver<Arc<Config>>,
    /// Those of the start: what differs from them takes effect at the next one.
    pub settings: Settings,
    /// The addresses that are listened on, once they are.
    pub addresses: Arc<OnceLock<Vec<String>>>,
}

#[async_trait]
impl Vitals for OwnVitals {
    async fn observe(&self) -> VitalSigns {
        let (path, settings) = (self.path.clone(), self.settings.clone());
        let hosts = self.current.borrow().clone();
        let on_files = tokio::task::spawn_blocking(move || on_files(&path, &settings, &hosts));
        let sockets = self.addresses.get().into_iter().flatten();
        let sockets = sockets.map(|address| async move { (address.clone(), greeted(address).await) });
        let sockets = futures::future::join_all(sockets);
        let agent = agent(self.settings.fleet.agent.as_deref());
        let store = self.store.signs(self.settings.store.clone());
        let (on_files, sockets, agent, store) = tokio::join!(on_files, sockets, agent, store);
        let failed = |error: tokio::task::JoinError| error.to_string();
        let mut files = on_files.map_err(failed).unwrap_or_else(OnFiles::failed);
        files.identities.extend(agent);
        VitalSigns {
            on_disk: files.on_disk,
            store,
            clock: files.clock,
            sockets,
            descriptors: descriptors(),
            host_key: files.host_key,
            identities: files.identities,
            keyless: files.keyless,
            is_replaced: replaced(),
        }
    }
}

/// What blocking calls have found.
struct OnFiles {
    on_disk: Result<String, String>,
    clock: Option<bool>,
    host_key: Result<String, String>,
    identities: Vec<Result<String, String>>,
    keyless: Result<Vec<HostName>, String>,
}

impl OnFiles {
    fn failed(why: String) -> OnFiles {
        let identities = Vec::new();
        OnFiles {
            on_disk: Err(why.clone()),
            clock: None,
            host_key: Err(why.clone()),
            identities,
            keyless: Err(why),
        }
    }
}

fn on_files(path: &Path, settings: &Settings, current: &Config) -> OnFiles {
    let on_disk = config::load(path).map(|config| config.version.digest);
    let agent = settings.fleet.agent.as_ref();
    let key = |file: &PathBuf| {
        let read = read_identity("identity", file, agent);
        read.map(|_| format!("identity {}", file.display()))
    };
    let named = |(name, file): (&String, &PathBuf)| {
        let read = read_identity(&format!("key `{name}`"), file, agent);
        read.map(|_| format!("key `{name}` {}", file.display()))
    };
    let keys = settings.fleet.identity.iter().map(key).chain(settings.fleet.keys.iter().map(named));
    let authority = settings.fleet.certificates.as_ref();
    let authority = authority.map(|about| {
        credentials::authority(about).map(|_| format!("certificates.ca {}", about.ca.display()))
    });
    OnFiles {
        on_disk: on_disk.map_err(|diagnostics| diagnostics.to_string()),
        clock: clock(),
        host_key: host_key(settings),
        identities: authority.into_iter().chain(keys).collect(),
        keyless: keyless(settings, current),
    }
}

/// The key as it would be read at the next start.
fn host_key(settings: &Settings) -> Result<String, String> {
    let path = &settings.host_key;
    if !path.exists() {
        return Err(format!("host key {}: it is missing; try: restore it from a copy", path.display()));
    }
    let DoorKey { key, .. } = door_key(path, &settings.store)?;
    Ok(format!("{} {}", key.algorithm(), path.display()))
}

fn keyless(settings: &Settings, current: &Config) -> Result<Vec<HostName>, String> {
    let known = KnownHosts::new(settings.fleet.known_hosts.clone());
    let mut keyless = Vec::new();
    for host in current.inventory.hosts.iter().filter(|host| !host.endpoint.here) {
        let (types, has_authority) = known.preferences(&host.endpoint.address, host.endpoint.port)?;
        if types.is_empty() && !has_authority {
            keyless.push(host.name.clone());
        }
    }
    Ok(keyless)
}

/// As systemd knows it from the kernel, whichever program sets the clock.
fn clock() -> Option<bool> {
    let mut command = process::command("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    let ran = process::run(command, &CLOCK_LIMITS).ok().filter(|ran| ran.status.success())?;
    match String::from_utf8_lossy(&ran.output).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Connects as an operator would, and reads the first bytes.
async fn greeted(address: &str) -> Result<(), String> {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let mut start = [0; GREETING.len()];
        stream.read_exact(&mut start).await.map_err(|error| error.to_string())?;
        if start == GREETING { Ok(()) } else { Err("another program answers there".into()) }
    };
    let none = || Err(format!("no greeting within {} s", CONNECT_LIMIT.as_secs()));
    timeout(CONNECT_LIMIT, greeting).await.unwrap_or_else(|_| none())
}

async fn agent(socket: Option<&Path>) -> Option<Result<String, String>> {
    let socket = socket?;
    let shown = socket.display();
    let connected = timeout(CONNECT_LIMIT, UnixStream::connect(socket)).await;
    Some(match connected {
        Ok(Ok(_)) => Ok(format!("agent {shown}")),
        Ok(Err(error)) => Err(format!("agent {shown}: {error}; try: start the agent, or `agent` in [fleet]")),
        Err(_) => Err(format!("agent {shown}: no connection within {} s", CONNECT_LIMIT.as_secs())),
    })
}

/// In use, and the limit.
fn descriptors() -> Option<(u64, u64)> {
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?.parse().ok()?;
    Some((u64::try_from(used).ok()?, limit))
}

/// The kernel marks the path of a program whose file is gone.
fn replaced() -> Option<bool> {
    let path = std::fs::read_link("/proc/self/exe").ok()?;
    Some(path.to_string_lossy().ends_with(" (deleted)"))
}
