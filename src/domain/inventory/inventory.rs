//! The inventory: all groups and hosts, from `hosts/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Deref, Index, IndexMut, Not};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rotation::Floor;
use crate::domain::base::name::HostName;
use crate::domain::value::secret::SecretVars;
use crate::domain::value::template::Vars;

/// All known groups and hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// By qualified name: `prod`, `prod.web`.
    pub groups: BTreeMap<String, Group>,
    pub hosts: Hosts,
}

/// Hosts in the order in which they were written, and indexed by name. Reads like a
/// slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts {
    list: Vec<Host>,
    /// The index of each name. Shared between copies: every command gets its own view.
    places: Arc<HashMap<HostName, usize>>,
}

impl Hosts {
    /// Adds one at the end. If two have the same name, the first is found.
    pub fn push(&mut self, host: Host) {
        Arc::make_mut(&mut self.places).entry(host.name.clone()).or_insert(self.list.len());
        self.list.push(host);
    }

    /// The host of that unique name.
    pub fn named(&self, name: &str) -> Option<&Host> {
        self.list.get(*self.places.get(name)?)
    }

    /// For details of hosts that are found after they were added. Their names stay.
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
    /// Including those of child groups, in order, each once.
    pub hosts: Vec<HostName>,
    pub balancer: Option<Balancer>,
}

/// One machine reachable over SSH.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Unique in the inventory.
    pub name: HostName,
    /// The name in its file; differs from `name` if two files define the same name.
    pub written: String,
    pub endpoint: Endpoint,
    pub tags: BTreeSet<String>,
    /// A host's vars override those of its child group, which override those of the group.
    pub vars: Vars,
    /// Secret vars; no name is in both.
    pub secrets: SecretVars,
    /// Names of the check sets that verify it, in order.
    pub checks: Vec<String>,
    /// Qualified names of the groups it belongs to; the first is the file's.
    pub groups: Vec<String>,
    /// The group whose balancer it is behind.
    pub balancer: Option<String>,
}

impl Host {
    /// The top-level group: the name of the file that defines it. A lease covers it.
    pub fn file(&self) -> &str {
        self.groups.first().map_or("", String::as_str)
    }
}

/// A machine, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "StoredEndpoint")]
pub struct Endpoint {
    pub name: HostName,
    /// The daemon's machine, which is not reached over SSH: the fields below are empty.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub here: bool,
    pub address: String,
    /// Its other addresses, tried in turn. Its key is recorded under the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    pub port: u16,
    pub login: String,
    /// The name of the key that rollcall logs in with; `None` for what holds for all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The jump host in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Box<Endpoint>>,
}

/// The stored form. Until rollcall 0.1 the daemon's machine was stored as port 0 alone, which no host has.
#[derive(Deserialize)]
struct StoredEndpoint {
    name: HostName,
    #[serde(default)]
    here: bool,
    address: String,
    #[serde(default)]
    further: Vec<String>,
    port: u16,
    login: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    via: Option<Box<Endpoint>>,
}

impl From<StoredEndpoint> for Endpoint {
    fn from(stored: StoredEndpoint) -> Endpoint {
        let StoredEndpoint { name, here, address, further, port, login, key, via } = stored;
        Endpoint { name, here: here || port == 0, address, further, port, login, key, via }
    }
}

impl Endpoint {
    /// The name of the daemon's machine, used by a step with `on = "local"`.
    pub const HERE: &str = "local";

    /// The daemon's machine.
    pub fn here() -> Endpoint {
        let name = HostName::from(Endpoint::HERE);
        Endpoint {
            name,
            here: true,
            address: String::new(),
            further: Vec::new(),
            port: 0,
            login: String::new(),
            key: None,
            via: None,
        }
    }

    /// All addresses, in the order in which they are tried.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        [self.address.as_str()].into_iter().chain(self.further.iter().map(String::as_str))
    }

    /// The first address with the port, as URLs write it: `[2001:db8::1]:22`.
    pub fn shown_address(&self) -> String {
        match self.address.contains(':') {
            true => format!("[{}]:{}", self.address, self.port),
            false => format!("{}:{}", self.address, self.port),
        }
    }
}

/// The load balancer in front of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// The group that it serves; debts name the balancer by it.
    pub name: String,
    /// Every one of these hosts is changed. For [`Driver::File`] they are the hosts of the group themselves.
    pub on: Vec<Endpoint>,
    /// The name of a host in the balancer; a template.
    pub server: String,
    pub driver: Driver,
    /// How long a drain waits for requests in flight.
    pub drain_timeout: Duration,
    /// The action for requests that are still in flight then.
    #[serde(default)]
    pub on_drain_timeout: OnDrainTimeout,
    /// How long a server may take until the balancer reports it up again, if the balancer can be asked.
    #[serde(default = "enable_timeout")]
    pub enable_timeout: Duration,
    /// How many servers must stay in service; without it the last one must.
    #[serde(default)]
    pub min_in_service: Option<Floor>,
    /// Every host of the group, and its name in the balancer. Drivers whose balancer cannot list its
    /// servers count these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<HostName, String>,
    /// Further balancers in front of the same group, each with its own settings: a host is out of all of them or of
    /// none, and one debt stands for all. They have no further ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Balancer>,
}

/// The default of `enable_timeout`: some health checks, ten seconds apart.
pub const ENABLE_TIMEOUT: Duration = Duration::from_secs(60);

fn enable_timeout() -> Duration {
    ENABLE_TIMEOUT
}

impl Balancer {
    /// How many servers must stay in service.
    pub fn floor(&self) -> Floor {
        self.min_in_service.unwrap_or_default()
    }

    /// Each balancer in front of the group by itself, the first one first.
    pub fn places(&self) -> Vec<Balancer> {
        let first = Balancer { further: Vec::new(), ..self.clone() };
        [first].into_iter().chain(self.further.iter().cloned()).collect()
    }

    /// How many of `total` servers must stay in service in every place.
    pub fn floor_of(&self, total: usize) -> usize {
        let further = self.further.iter().map(|place| place.floor().of(total));
        further.fold(self.floor().of(total), usize::max)
    }

    /// The same for what `min_in_service` demands; 0 without it.
    pub fn demanded_of(&self, total: usize) -> usize {
        let all = [self].into_iter().chain(&self.further);
        all.filter_map(|place| place.min_in_service).map(|floor| floor.of(total)).max().unwrap_or(0)
    }
}

/// The action for requests that outlast `drain_timeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrainTimeout {
    /// The run continues; the drain's note says how many requests there were.
    #[default]
    Continue,
    /// The requests are ended.
    Kill,
    /// The host is enabled again and no step runs on it.
    Fail,
}

/// The drivers, with the settings of each.
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
    /// The host is a server of every one of them.
    #[serde(rename = "backend", with = "one_or_many")]
    pub backends: Vec<String>,
    /// The socket belongs to root: it is reached by a command under `sudo -n`, never by forwarding.
    pub sudo: bool,
}

/// Plans of earlier builds have one text.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub fn serialize<S: Serializer>(texts: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match texts {
            [one] => OneOrMany::One(one.clone()),
            many => OneOrMany::Many(many.to_vec()),
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}

/// The address of a runtime API, as seen from the balancer's host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Socket {
    Unix(String),
    Tcp { address: String, port: u16 },
}

/// A file on each host that the balancer's health check reads. `server` is its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthFile {
    pub present: Present,
    /// How long the balancer needs to notice: its check interval times its threshold.
    pub settle: Duration,
    pub sudo: bool,
}

/// The meaning of the file's existence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// The host is in rotation.
    In,
    /// The host is out of rotation: a maintenance flag.
    Out,
}

/// Any balancer, by commands on its hosts. The commands are templates that know `server` and `host.name`.
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
    /// The upstreams that are changed, all or none; empty: every one that has the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// The command whose exit status says whether the configuration is valid. `None`: `nginx -t`, with the main
    /// configuration that holds the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<String>,
    /// A command that prints one line for each worker process. New lines prove that a reload took effect; missing
    /// lines prove that the last request of an old worker has ended. `None`: the children of the master that the
    /// configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
    /// Runs all commands through `sudo -n`.
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

    /// The part that an operator with these groups may see (`None`: all of it). Everything else
    /// does not exist for them, so that a forbidden group and an unknown one cannot be distinguished.
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
    fn the_daemons_machine_of_an_old_plan_still_loads() {
        let old = r#"{"name":"local","address":"","port":0,"login":""}"#;
        assert_eq!(serde_json::from_str::<Endpoint>(old).unwrap(), Endpoint::here());
        let new = r#"{"name":"local","here":true,"address":"","port":0,"login":""}"#;
        assert_eq!(serde_json::to_string(&Endpoint::here()).unwrap(), new);
        let host = r#"{"name":"web1","address":"a","port":22,"login":"d"}"#;
        let read: Endpoint = serde_json::from_str(host).unwrap();
        assert!(!read.here);
        assert_eq!(serde_json::to_string(&read).unwrap(), host);
    }

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
        assert!(balancer.further.is_empty());
        let one = r#"{"socket":{"unix":"/s"},"backend":"app","sudo":false}"#;
        let haproxy: Haproxy = serde_json::from_str(one).unwrap();
        assert_eq!(haproxy.backends, ["app"]);
        assert_eq!(serde_json::to_string(&haproxy).unwrap(), one);
    }
}
