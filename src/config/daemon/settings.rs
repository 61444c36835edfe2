//! `rollcall.toml`: the daemon itself. Every value has a default.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::artifacts::{self, ArtifactSettings};
use super::certificates::{self, CertificateSettings};
use super::door::{self, DoorSettings};
use super::keys::{FleetKeys, RollcallKeys};
use super::output::{self, OutputSettings};
use super::retention::{self, Retention};
use crate::config::checks::watching::{self, Schedule};
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{Key, Text};
use crate::config::text::reader::{self, Reader, strings};
use crate::domain::base::name::check_name;

/// The settings of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The addresses on which operators connect.
    pub listen: Vec<SocketAddr>,
    /// Created on the first start.
    pub host_key: PathBuf,
    pub store: PathBuf,
    /// The folder for files that steps fetch from hosts.
    pub downloads: PathBuf,
    /// Whether vars may come from commands on this machine, and steps may run on it.
    pub allow_local: bool,
    /// The identity that decrypts age files.
    pub age_identity: Option<PathBuf>,
    /// `facts` gathers older facts again.
    pub facts_max_age: Duration,
    /// How long a script in `hosts/` may take.
    pub inventory_timeout: Duration,
    /// A command that plans runs a script again if its last run is longer ago than this.
    pub inventory_max_age: Duration,
    pub artifacts: ArtifactSettings,
    pub output: OutputSettings,
    pub retention: Retention,
    pub door: DoorSettings,
    pub fleet: FleetSettings,
    /// The schedule of checks.
    pub schedule: Schedule,
}

impl Settings {
    /// The folder of artifacts, beside the store.
    pub fn artifacts_folder(&self) -> PathBuf {
        self.store.with_file_name("artifacts")
    }

    /// The folder of the output of commands, beside the store.
    pub fn outputs_folder(&self) -> PathBuf {
        self.store.with_file_name("outputs")
    }

    /// True when a changed setting takes effect only at the next start.
    pub fn takes_a_restart(&self, other: &Settings) -> bool {
        let read_now = Settings {
            allow_local: self.allow_local,
            age_identity: self.age_identity.clone(),
            facts_max_age: self.facts_max_age,
            inventory_timeout: self.inventory_timeout,
            inventory_max_age: self.inventory_max_age,
            artifacts: self.artifacts.clone(),
            output: self.output,
            retention: self.retention,
            schedule: self.schedule.clone(),
            ..other.clone()
        };
        *self != read_now
    }
}

/// The settings of connections to hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    pub login: String,
    pub port: u16,
    /// Private keys, tried in order.
    pub identity: Vec<PathBuf>,
    /// Keys that hosts name.
    pub keys: BTreeMap<String, PathBuf>,
    /// Socket of an SSH agent.
    pub agent: Option<PathBuf>,
    pub certificates: Option<CertificateSettings>,
    /// OpenSSH format; `host accept` writes here.
    pub known_hosts: PathBuf,
    /// The most hosts that are worked on at the same time.
    pub parallel: usize,
    /// The limit of the connection, the key exchange and the login together.
    pub connect_timeout: Duration,
    /// The keepalive interval of an idle connection; never zero.
    pub keepalive: Duration,
    /// How long an unused connection is kept; never zero.
    pub idle_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2222))],
            host_key: RollcallKeys::HOST_KEY.default.into(),
            store: RollcallKeys::STORE.default.into(),
            downloads: RollcallKeys::DOWNLOADS.default.into(),
            allow_local: RollcallKeys::ALLOW_LOCAL.default,
            age_identity: None,
            facts_max_age: RollcallKeys::FACTS_MAX_AGE.default,
            inventory_timeout: RollcallKeys::INVENTORY_TIMEOUT.default,
            inventory_max_age: RollcallKeys::INVENTORY_MAX_AGE.default,
            artifacts: ArtifactSettings::default(),
            output: OutputSettings::default(),
            retention: Retention::default(),
            door: DoorSettings::default(),
            fleet: FleetSettings::default(),
            schedule: Schedule::default(),
        }
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        FleetSettings {
            login: FleetKeys::LOGIN.default.into(),
            port: FleetKeys::PORT.default,
            identity: Vec::new(),
            keys: BTreeMap::new(),
            agent: None,
            certificates: None,
            known_hosts: FleetKeys::KNOWN_HOSTS.default.into(),
            parallel: size(FleetKeys::PARALLEL.default),
            connect_timeout: FleetKeys::CONNECT_TIMEOUT.default,
            keepalive: FleetKeys::KEEPALIVE.default,
            idle_timeout: None,
        }
    }
}

/// Reads `rollcall.toml`. Relative paths start at `root`.
pub fn read(doc: Doc<'_>, root: &Path) -> Settings {
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::of::<RollcallKeys>(doc, doc.path, (&table, None));
    let default = Settings::default();
    let fleet = file.get(RollcallKeys::FLEET).map(|table| read_fleet(table, root));
    let settings = Settings {
        listen: listen(&mut file).unwrap_or(default.listen),
        host_key: path(&mut file, RollcallKeys::HOST_KEY, root).unwrap_or(default.host_key),
        store: path(&mut file, RollcallKeys::STORE, root).unwrap_or(default.store),
        downloads: path(&mut file, RollcallKeys::DOWNLOADS, root).unwrap_or(default.downloads),
        allow_local: file.or_default(RollcallKeys::ALLOW_LOCAL),
        age_identity: path(&mut file, RollcallKeys::AGE_IDENTITY, root),
        facts_max_age: file.or_default(RollcallKeys::FACTS_MAX_AGE),
        inventory_timeout: file
            .positive(RollcallKeys::INVENTORY_TIMEOUT, "no script would ever answer")
            .unwrap_or(default.inventory_timeout),
        inventory_max_age: file.or_default(RollcallKeys::INVENTORY_MAX_AGE),
        artifacts: file.get(RollcallKeys::ARTIFACTS).map(artifacts::read).unwrap_or_default(),
        output: file.get(RollcallKeys::OUTPUT).map(output::read).unwrap_or_default(),
        retention: file.get(RollcallKeys::RETENTION).map(retention::read).unwrap_or_default(),
        door: file.get(RollcallKeys::DOOR).map(door::read).unwrap_or_default(),
        fleet: fleet.unwrap_or_default(),
        schedule: file.get(RollcallKeys::SCHEDULE).map(watching::read_schedule).unwrap_or_default(),
    };
    // `notify` and `roles` are read where groups, checks and tasks are known.
    file.finish();
    settings
}

fn listen(file: &mut Reader<'_>) -> Option<Vec<SocketAddr>> {
    let written = file.get(RollcallKeys::LISTEN)?;
    if written.is_empty() {
        let span = file.key_span(RollcallKeys::LISTEN.name);
        file.doc.wrong(span, "`listen` is empty: no operator could connect");
    }
    let address = |text: Spanned<String>| match text.get_ref().parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{}` is no address with a port", text.get_ref());
            file.doc.report(text.span(), message, "such as 127.0.0.1:2222 or [::]:2222".to_string());
            None
        }
    };
    Some(written.into_iter().filter_map(address).collect())
}

fn read_fleet(mut table: Reader<'_>, root: &Path) -> FleetSettings {
    let default = FleetSettings::default();
    let identity = table.get(FleetKeys::IDENTITY).unwrap_or_default();
    let settings = FleetSettings {
        login: table.or_default(FleetKeys::LOGIN),
        port: table.or_default(FleetKeys::PORT),
        identity: identity.into_iter().map(|p| root.join(p.into_inner())).collect(),
        keys: read_keys(&mut table, root),
        agent: path(&mut table, FleetKeys::AGENT, root),
        certificates: table.get(FleetKeys::CERTIFICATES).and_then(|table| certificates::read(table, root)),
        known_hosts: path(&mut table, FleetKeys::KNOWN_HOSTS, root).unwrap_or(default.known_hosts),
        parallel: size(table.or_default(FleetKeys::PARALLEL)),
        connect_timeout: table
            .positive(FleetKeys::CONNECT_TIMEOUT, "no host could be reached")
            .unwrap_or(default.connect_timeout),
        keepalive: table
            .positive(FleetKeys::KEEPALIVE, "a dead connection would never be noticed")
            .unwrap_or(default.keepalive),
        idle_timeout: table.positive(FleetKeys::IDLE_TIMEOUT, "each command would open a new connection"),
    };
    table.finish();
    settings
}

fn read_keys(table: &mut Reader<'_>, root: &Path) -> BTreeMap<String, PathBuf> {
    let doc = table.doc;
    let mut keys = BTreeMap::new();
    for (name, value) in table.entries(FleetKeys::KEYS) {
        if let Err(why) = check_name(name.get_ref()) {
            doc.wrong(name.span(), format!("`{}` cannot name a key: {why}", name.get_ref()));
        }
        let file = strings(doc, FleetKeys::KEYS.name, value);
        match &file[..] {
            [one] if !one.get_ref().is_empty() => {
                _ = keys.insert(name.into_inner(), root.join(one.get_ref()))
            }
            [] => {}
            _ => doc.wrong(name.span(), format!("the key `{}` is one file", name.get_ref())),
        }
    }
    keys
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn path<D>(table: &mut Reader<'_>, key: Key<Text, D>, root: &Path) -> Option<PathBuf> {
    let name = key.name;
    let text = table.get(key)?;
    if text.get_ref().is_empty() {
        table.doc.wrong(text.span(), format!("`{name}` is empty"));
        return None;
    }
    Some(root.join(text.into_inner()))
}
