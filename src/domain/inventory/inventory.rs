//! The inventory: all groups and hosts, from `hosts/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Deref, Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rotation::Floor;
use crate::domain::base::name::HostName;
use crate::domain::value::secret::SecretVars;
use crate::domain::value::template::Vars;

/// Everything known about who there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// By qualified name: `prod`, `prod.web`.
    pub groups: BTreeMap<String, Group>,
    pub hosts: Hosts,
}

/// Hosts in the order in which they were written, and found by name without a search. Reads like a
/// slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts {
    list: Vec<Host>,
    /// Where each name stands. Shared between copies: every command is given its own view.
    places: Arc<HashMap<HostName, usize>>,
}

impl Hosts {
    /// Adds one at the end. Of two with the same name the first is found.
    pub fn push(&mut self, host: Host) {
        Arc::make_mut(&mut self.places).entry(host.name.clone()).or_insert(self.list.len());
        self.list.push(host);
    }

    /// The host of that unique name.
    pub fn named(&self, name: &str) -> Option<&Host> {
        self.list.get(*self.places.get(name)?)
    }

    /// For what is learned of hosts after they were added. Their names stay.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.list.iter_mut()
    }
}

impl Deref for Hosts {
    type Target = [Host];

    fn deref(&self) -> &[Host] {
        &self.list
    }
}

impl Index<usize> for Hosts {
    type Output = Host;

    fn index(&self, at: usize) -> &Host {
        &self.list[at]
    }
}

impl IndexMut<usize> for Hosts {
    fn index_mut(&mut self, at: usize) -> &mut Host {
        &mut self.list[at]
    }
}

impl<'a> IntoIterator for &'a Hosts {
    type Item = &'a Host;
    type IntoIter = std::slice::Iter<'a, Host>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl FromIterator<Host> for Hosts {
    fn from_iter<I: IntoIterator<Item = Host>>(hosts: I) -> Hosts {
        let list: Vec<Host> = hosts.into_iter().collect();
        let mut places = HashMap::with_capacity(list.len());
        for (at, host) in list.iter().enumerate() {
            places.entry(host.name.clone()).or_insert(at);
        }
        Hosts { list, places: Arc::new(places) }
    }
}

/// A named set of hosts. `hosts/prod.toml` is the group `prod`; its tables are `prod.web`, ...
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Qualified.
    pub name: String,
    /// With those of child groups, in order, each once.
    pub hosts: Vec<HostName>,
    pub balancer: Option<Balancer>,
}

/// One machine reachable over SSH.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Unique in the inventory.
    pub name: HostName,
    /// As written in its file; differs from `name` where two files write the same.
    pub written: String,
    pub endpoint: Endpoint,
    pub tags: BTreeSet<String>,
    /// Group < child group < host.
    pub vars: Vars,
    /// The same of what never shows; no name is in both.
    pub secrets: SecretVars,
    /// Names of the check sets that verify it, in order.
    pub checks: Vec<String>,
    /// Qualified names of the groups it belongs to; the first is the file's.
    pub groups: Vec<String>,
    /// The group whose balancer it stands behind.
    pub balancer: Option<String>,
}

impl Host {
    /// The top-level group: the name of the file that defines it. It is what a lease holds.
    pub fn file(&self) -> &str {
        self.groups.first().map_or("", String::as_str)
    }
}

/// How to reach a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    pub name: HostName,
    pub address: String,
    pub port: u16,
    pub login: String,
    /// The jump host in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Box<Endpoint>>,
}

impl Endpoint {
    /// The name of the machine that rollcall itself runs on, where a step says `on = "local"`.
    pub const HERE: &str = "local";

    /// The machine that rollcall itself runs on.
    pub fn here() -> Endpoint {
        let name = HostName::from(Endpoint::HERE);
        Endpoint { name, address: String::new(), port: 0, login: String::new(), via: None }
    }

    /// True for the machine that rollcall itself runs on: no host of an inventory has no port.
    pub fn is_here(&self) -> bool {
        self.port == 0
    }
}

/// The load balancer in front of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// The group it stands in front of; the name that debts carry.
    pub name: String,
    /// Every host of it is told. For [`Driver::File`] these are the hosts of the group themselves.
    pub on: Vec<Endpoint>,
    /// How a host is written there; a template.
    pub server: String,
    pub driver: Driver,
    /// How long requests that are in flight are waited for.
    pub drain_timeout: Duration,
    /// What is done about requests that are in flight still when that time is over.
    #[serde(default)]
    pub on_drain_timeout: OnDrainTimeout,
    /// How long a server may take to be up again for the balancer, where it can be asked.
    #[serde(default = "enable_timeout")]
    pub enable_timeout: Duration,
    /// How many servers have to stay in service; without it the last one does.
    #[serde(default)]
    pub min_in_service: Option<Floor>,
    /// Every host of the group, and how it is written there: what drivers count that have no balancer
    /// to ask for all of its servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<HostName, String>,
}

/// What `enable_timeout` is without being written: some checks, ten seconds apart.
pub const ENABLE_TIMEOUT: Duration = Duration::from_secs(60);

fn enable_timeout() -> Duration {
    ENABLE_TIMEOUT
}

impl Balancer {
    /// How many servers have to stay in service.
    pub fn floor(&self) -> Floor {
        self.min_in_service.unwrap_or_default()
    }
}

/// What is done about requests that outlast `drain_timeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrainTimeout {
    /// Go on; the drain's note says how many there were.
    #[default]
    Continue,
    /// End them.
    Kill,
    /// Put the host back: it is not worked on.
    Fail,
}

/// The drivers, with what each needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    Nginx(Nginx),
    Haproxy(Haproxy),
    File(HealthFile),
    Command(Commands),
}

/// HAProxy by its runtime API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Haproxy {
    pub socket: Socket,
    pub backend: String,
    /// The socket is root's: it is reached by a command under `sudo -n`, never by forwarding.
    pub sudo: bool,
}

/// Where a runtime API listens, as seen from the balancer's host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Socket {
    Unix(String),
    Tcp { address: String, port: u16 },
}

/// A file on each host that the balancer's health check looks at. `server` is its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthFile {
    pub present: Present,
    /// How long until the balancer has noticed: its interval, as often as it looks before it believes.
    pub settle: Duration,
    pub sudo: bool,
}

/// What it means that the file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// The host is in rotation.
    In,
    /// The host is out: a maintenance flag.
    Out,
}

/// Any balancer, by commands on its hosts. Templates: they know `server` and `host.name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commands {
    pub drain: String,
    pub enable: String,
    /// Prints `{"state": "up|draining|drained|down|unknown", "active": N}`.
    pub status: String,
    pub sudo: bool,
}

/// nginx without its commercial API: the upstream block is edited, tested and reloaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nginx {
    /// The file that holds the upstream block.
    pub config: String,
    pub style: NginxStyle,
    /// Says whether the configuration is valid, by its exit status.
    pub test: String,
    pub reload: String,
    /// Prints one line for each worker process that is there. New lines prove that a reload took
    /// effect, lines that went away that their last request ended.
    pub workers: String,
    /// Runs all of it through `sudo -n`.
    pub sudo: bool,
}

/// How a host is taken out of an upstream block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NginxStyle {
    /// The parameter `down`.
    Down,
    /// The line becomes a comment, as the founding practice did.
    Comment,
}

/// True when the group is one of these, or below one of them.
pub fn is_within(group: &str, allowed: &BTreeSet<String>) -> bool {
    let holds = |outer: &String| {
        group.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    allowed.iter().any(holds)
}

impl Host {
    /// True when it is in one of these groups (`None`: all of them).
    pub fn is_within(&self, allowed: Option<&BTreeSet<String>>) -> bool {
        allowed.is_none_or(|allowed| self.groups.iter().any(|group| is_within(group, allowed)))
    }
}

impl Inventory {
    /// The host of that unique name.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.named(name.as_str())
    }

    /// What somebody may see who is allowed these groups (`None`: all of them). Everything else
    /// does not exist for them, so that a forbidden group and an unknown one look alike.
    pub fn visible_to(&self, allowed: Option<&BTreeSet<String>>) -> Inventory {
        let Some(allowed) = allowed else { return self.clone() };
        let groups: BTreeMap<String, Group> = self
            .groups
            .iter()
            .filter(|(name, _)| is_within(name, allowed))
            .map(|(n, g)| (n.clone(), g.clone()))
            .collect();
        let seen: BTreeSet<&HostName> = groups.values().flat_map(|group| &group.hosts).collect();
        let hosts = self.hosts.iter().filter(|host| seen.contains(&host.name)).cloned().collect();
        Inventory { groups, hosts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_from_before_there_were_floors_still_loads() {
        let old = r#"{"name":"prod.web","on":[],"server":"s","driver":{"nginx":{"config":"c","style":"down",
            "test":"t","reload":"r","workers":"w","sudo":false}},"drain_timeout":{"secs":30,"nanos":0}}"#;
        let balancer: Balancer = serde_json::from_str(old).unwrap();
        assert_eq!(
            (balancer.floor(), balancer.on_drain_timeout),
            (Floor::default(), OnDrainTimeout::Continue)
        );
        assert_eq!((balancer.enable_timeout, balancer.members.len()), (ENABLE_TIMEOUT, 0));
    }
}
