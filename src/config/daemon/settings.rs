//! `rollcall.toml`: the daemon itself. Every value has a default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::config::checks::watching::{self, Schedule};
use crate::config::text::diagnostic::Doc;
use crate::config::text::reader::{self, Reader};

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
    pub fleet: FleetSettings,
    /// The schedule of checks.
    pub schedule: Schedule,
}

impl Settings {
    /// True when a changed setting takes effect only at the next start.
    pub fn takes_a_restart(&self, other: &Settings) -> bool {
        let read_now = Settings {
            allow_local: self.allow_local,
            age_identity: self.age_identity.clone(),
            facts_max_age: self.facts_max_age,
            inventory_timeout: self.inventory_timeout,
            inventory_max_age: self.inventory_max_age,
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
    /// Socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// OpenSSH format; `host accept` writes here.
    pub known_hosts: PathBuf,
    /// The most hosts that are worked on at the same time.
    pub parallel: usize,
    /// The limit of the connection, the key exchange and the login together.
    pub connect_timeout: Duration,
    /// The keepalive interval of an idle connection; never zero.
    pub keepalive: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2222))],
            host_key: "/var/lib/rollcall/host_key".into(),
            store: "/var/lib/rollcall/rollcall.db".into(),
            downloads: "/var/lib/rollcall/downloads".into(),
            allow_local: false,
            age_identity: None,
            facts_max_age: Duration::from_secs(60 * 60),
            inventory_timeout: Duration::from_secs(10),
            inventory_max_age: Duration::from_secs(5 * 60),
            fleet: FleetSettings::default(),
            schedule: Schedule::default(),
        }
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        FleetSettings {
            login: "deploy".into(),
            port: 22,
            identity: Vec::new(),
            agent: None,
            known_hosts: "/var/lib/rollcall/known_hosts".into(),
            parallel: 64,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
        }
    }
}

/// Reads `rollcall.toml`. Relative paths start at `root`.
pub fn read(doc: Doc<'_>, root: &Path) -> Settings {
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::new(doc, doc.path, &table, None);
    let default = Settings::default();
    let listen = if file.value("listen").is_some() { listen(&mut file) } else { default.listen };
    let fleet = file.table("fleet", "`fleet`").map(|table| read_fleet(table, root));
    let settings = Settings {
        listen,
        host_key: path(&mut file, "host_key", root).unwrap_or(default.host_key),
        store: path(&mut file, "store", root).unwrap_or(default.store),
        downloads: path(&mut file, "downloads", root).unwrap_or(default.downloads),
        allow_local: file.bool("allow_local"),
        age_identity: path(&mut file, "age_identity", root),
        facts_max_age: file.duration("facts_max_age").unwrap_or(default.facts_max_age),
        inventory_timeout: file
            .positive_duration("inventory_timeout", "no script would ever answer")
            .unwrap_or(default.inventory_timeout),
        inventory_max_age: file.duration("inventory_max_age").unwrap_or(default.inventory_max_age),
        fleet: fleet.unwrap_or_default(),
        schedule: file.table("schedule", "`schedule`").map(watching::read_schedule).unwrap_or_default(),
    };
    // Read elsewhere, where groups and checks are known: see `notify.rs`.
    file.value("notify");
    file.finish();
    settings
}

fn listen(file: &mut Reader<'_>) -> Vec<SocketAddr> {
    let written = file.strings("listen");
    if written.is_empty() {
        file.doc.wrong(file.key_span("listen"), "`listen` is empty: no operator could connect");
    }
    let address = |text: Spanned<String>| match text.get_ref().parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{}` is no address with a port", text.get_ref());
            file.doc.report(text.span(), message, "such as 127.0.0.1:2222 or [::]:2222".to_string());
            None
        }
    };
    written.into_iter().filter_map(address).collect()
}

fn read_fleet(mut table: Reader<'_>, root: &Path) -> FleetSettings {
    let default = FleetSettings::default();
    let settings = FleetSettings {
        login: table.word("login").unwrap_or(default.login),
        port: table.port("port").unwrap_or(default.port),
        identity: table.strings("identity").into_iter().map(|p| root.join(p.into_inner())).collect(),
        agent: path(&mut table, "agent", root),
        known_hosts: path(&mut table, "known_hosts", root).unwrap_or(default.known_hosts),
        parallel: table
            .number("parallel", 1, u32::MAX)
            .map_or(default.parallel, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        connect_timeout: table
            .positive_duration("connect_timeout", "no host could be reached")
            .unwrap_or(default.connect_timeout),
        keepalive: table
            .positive_duration("keepalive", "a dead connection would never be noticed")
            .unwrap_or(default.keepalive),
    };
    table.finish();
    settings
}

fn path(table: &mut Reader<'_>, key: &'static str, root: &Path) -> Option<PathBuf> {
    let text = table.string(key)?;
    if text.get_ref().is_empty() {
        table.doc.wrong(text.span(), format!("`{key}` is empty"));
        return None;
    }
    Some(root.join(text.into_inner()))
}
