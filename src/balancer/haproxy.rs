//! HAProxy, by its runtime API. Hosts are drained, never put into maintenance: its health checks continue
//! while steps run on a host, so that a dead application stays out when the host is enabled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ask::said;
use super::polls::Polls;
use super::runtime::Runtime;
use super::servers::{self, Server, Servers};
use super::together::{self, Applied, OneHost};
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Haproxy, OnDrainTimeout};
use crate::domain::inventory::rotation::{Rotation, View};
use crate::domain::run::event::Change;
use crate::port::{Member, Remote};

/// How long sessions may take to end after a shutdown.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// Polls in a row that must find a drained server without requests.
const QUIET_LOOKS: u32 = 2;

/// Most commands in one line: HAProxy accepts 16 KiB.
const COMMANDS_A_LINE: usize = 50;

/// The HAProxy driver.
pub struct HaproxyDriver {
    runtime: Runtime,
}

/// One change of one balancer.
struct OnHaproxy<'a> {
    runtime: &'a Runtime,
    balancer: &'a Balancer,
    haproxy: &'a Haproxy,
}

impl HaproxyDriver {
    /// A driver that reaches balancer hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> HaproxyDriver {
        HaproxyDriver { runtime: Runtime::new(remote) }
    }

    fn on<'a>(&'a self, balancer: &'a Balancer, haproxy: &'a Haproxy) -> OnHaproxy<'a> {
        OnHaproxy { runtime: &self.runtime, balancer, haproxy }
    }

    /// The servers as every HAProxy reports them.
    pub async fn look(
        &self,
        balancer: &Balancer,
        haproxy: &Haproxy,
        members: &[Member],
    ) -> Result<View, String> {
        let views = together::look(&self.on(balancer, haproxy), balancer, members).await?;
        Ok(View::together(&views))
    }

    /// Drains members on every HAProxy, or on none.
    pub async fn drain(&self, balancer: &Balancer, haproxy: &Haproxy, members: &[Member]) -> Change {
        let one = self.on(balancer, haproxy);
        let views = match together::look(&one, balancer, members).await {
            Ok(views) => views,
            Err(why) => return Change::Refused { why },
        };
        match disagreement(&views, members) {
            Some(why) => Change::Refused { why },
            None => together::drain(&one, balancer, &View::together(&views), members).await,
        }
    }

    /// Enables members on every HAProxy.
    pub async fn enable(&self, balancer: &Balancer, haproxy: &Haproxy, members: &[Member]) -> Change {
        together::enable(&self.on(balancer, haproxy), balancer, members).await
    }
}

/// A host that was drained by others on some balancer hosts only. HAProxy does not know who drained a server:
/// afterwards their drain could not be distinguished from ours.
fn disagreement(views: &[(HostName, View)], members: &[Member]) -> Option<String> {
    members.iter().filter(|member| !member.ours).find_map(|Member { host, .. }| {
        let (out, not): (Vec<_>, Vec<_>) =
            views.iter().partition(|(_, view)| view.rotation(host) == Rotation::Out);
        let names = |those: &[&(HostName, View)]| {
            those.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ")
        };
        (!out.is_empty() && !not.is_empty()).then(|| {
            format!(
                "{host} is taken out on {} by somebody else, and not on {}; try: make them agree",
                names(&out),
                names(&not)
            )
        })
    })
}

/// The members on one host, sorted by what to do.
#[derive(Default)]
struct Sorted {
    /// Names of servers.
    going: Vec<String>,
    foreign: Vec<HostName>,
    already: Vec<HostName>,
}

impl OnHaproxy<'_> {
    async fn ask(&self, host: &Endpoint, line: &str) -> Result<String, String> {
        self.runtime.ask(host, self.haproxy, line).await
    }

    async fn servers(&self, host: &Endpoint) -> Result<Servers, String> {
        let backend = &self.haproxy.backend;
        let named = |why: String| format!("{}: backend `{backend}`: {}", host.name, said(&why));
        let state = self.ask(host, &format!("show servers state {backend}")).await?;
        let id = servers::backend_id(&state).map_err(named)?;
        let stat = self.ask(host, &format!("show stat {id} 4 -1")).await?;
        servers::parse(backend, &state, &stat).map_err(named)
    }

    /// Sends a command for each server. Success is an empty line for each; any other answer is an error.
    async fn tell(&self, host: &Endpoint, names: &[String], verb: &Verb) -> Result<(), String> {
        for names in names.chunks(COMMANDS_A_LINE) {
            let commands: Vec<String> =
                names.iter().map(|name| verb.of(&self.haproxy.backend, name)).collect();
            let answer = self.ask(host, &commands.join(";")).await?;
            let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
            if !words.is_empty() {
                return Err(format!("{}: {}: {}", host.name, said(&commands.join("; ")), said(&words)));
            }
        }
        Ok(())
    }

    /// Sends a command and verifies its effect: the answer may have been lost.
    async fn tell_and_prove(
        &self,
        host: &Endpoint,
        names: &[String],
        verb: &Verb,
        holds: fn(&Server) -> bool,
    ) -> Result<(), String> {
        if names.is_empty() {
            return Ok(());
        }
        let told = self.tell(host, names, verb).await;
        let servers = self.servers(host).await?;
        match names.iter().find(|name| !servers.get(*name).is_some_and(holds)) {
            None => Ok(()),
            Some(name) => {
                let state = servers.get(name).map_or_else(|| "gone".to_string(), Server::words);
                let unmoved = format!("{}: `{name}` was told to and is {state}", host.name);
                Err(told.err().unwrap_or(unmoved))
            }
        }
    }

    fn sort(&self, servers: &Servers, members: &[Member]) -> Result<Sorted, String> {
        let mut sorted = Sorted::default();
        for Member { host, seat, ours } in members {
            let name = &seat.server;
            let server = servers.get(name).ok_or_else(|| servers::missing(servers, name))?;
            match (server.is_out(), *ours) {
                (false, _) => sorted.going.push(name.clone()),
                (true, true) => sorted.already.push(host.clone()),
                (true, false) => sorted.foreign.push(host.clone()),
            }
        }
        Ok(sorted)
    }

    /// Waits until the servers have no requests. Returns those that were still busy at the end of the time, and
    /// whether a drain was forgotten in between and was made again.
    async fn quiet(
        &self,
        host: &Endpoint,
        names: &[String],
        limit: Duration,
    ) -> Result<(Vec<(String, u64)>, bool), String> {
        let mut polls = Polls::within(limit);
        let (mut quiet, mut again) = (0, false);
        loop {
            let look = self.servers(host).await;
            if let Ok(servers) = &look {
                let lost = those(servers, names, |server| !server.is_out());
                let busy = busy(servers, names);
                quiet = if busy.is_empty() && lost.is_empty() { quiet + 1 } else { 0 };
                if quiet >= QUIET_LOOKS {
                    return Ok((Vec::new(), again));
                }
                if !lost.is_empty() {
                    // A reload forgets drains. The next poll shows whether this worked.
                    again = true;
                    let _ = self.tell(host, &lost, &Verb::Drain).await;
                }
            }
            if !polls.again().await {
                let servers = look?;
                let drained = |name: &String| servers.get(name).is_some_and(Server::is_out);
                return match names.iter().find(|name| !drained(name)) {
                    Some(name) => Err(format!("{}: `{name}` does not stay drained", host.name)),
                    None => Ok((busy(&servers, names), again)),
                };
            }
        }
    }

    /// Handles requests that outlasted the drain, as configured; returns a note about it.
    async fn outlasted(
        &self,
        host: &Endpoint,
        going: &[String],
        left: &[(String, u64)],
    ) -> Result<String, Applied> {
        let limit = self.balancer.drain_timeout;
        let each: Vec<String> = left.iter().map(|(name, requests)| format!("{name} {requests}")).collect();
        let why = format!("{}: requests that did not end within {limit:?}: {}", host.name, each.join(", "));
        match self.balancer.on_drain_timeout {
            OnDrainTimeout::Continue => Ok(why),
            OnDrainTimeout::Kill => {
                let names: Vec<String> = left.iter().map(|(name, _)| name.clone()).collect();
                self.tell(host, &names, &Verb::Shutdown).await.map_err(Applied::Unknown)?;
                let (left, _) = self.quiet(host, &names, KILL_GRACE).await.map_err(Applied::Unknown)?;
                let end = if left.is_empty() { "they were ended" } else { "they would not be ended" };
                Ok(format!("{why}; {end}"))
            }
            OnDrainTimeout::Fail => Err(match self.ready(host, going).await {
                Ok(()) => Applied::Refused(format!("{why}; put back")),
                Err(undo) => Applied::Unknown(format!("{why}; {undo}")),
            }),
        }
    }

    /// Ends drains, and keeps changes by others.
    async fn ready(&self, host: &Endpoint, names: &[String]) -> Result<(), String> {
        let drained = those(&self.servers(host).await?, names, Server::is_drained_only);
        self.tell_and_prove(host, &drained, &Verb::Ready, |server| !server.is_drained_only()).await
    }

    /// Drains servers that did not come up again; `why` is then the reason of the refusal.
    async fn drain_again(&self, host: &Endpoint, names: &[String], why: String) -> Applied {
        let drained = async {
            let serving = those(&self.servers(host).await?, names, |server| !server.is_out());
            self.tell_and_prove(host, &serving, &Verb::Drain, Server::is_out).await
        };
        match drained.await {
            Ok(()) => Applied::Refused(why),
            Err(undo) => Applied::Unknown(format!("{why}; {undo}")),
        }
    }

    /// Waits until all of the servers are in a state; the error is the last reason why one is not.
    async fn until(
        &self,
        host: &Endpoint,
        names: &[String],
        holds: fn(&Server) -> bool,
    ) -> Result<Servers, String> {
        let limit = self.balancer.enable_timeout;
        let mut polls = Polls::within(limit);
        loop {
            let why = match self.servers(host).await {
                Ok(servers) => match names.iter().find(|name| !servers.get(*name).is_some_and(holds)) {
                    None => return Ok(servers),
                    Some(name) => match servers.get(name) {
                        Some(server) => format!("{}: `{name}` is {}", host.name, server.words()),
                        None => format!("{}: {}", host.name, servers::missing(&servers, name)),
                    },
                },
                Err(why) => why,
            };
            if !polls.again().await {
                return Err(format!("{why} after {limit:?} (enable_timeout)"));
            }
        }
    }

    /// Proves that drained servers are alive: rollcall has HAProxy mark the checked ones as failed,
    /// and its own check has to pass again, since its last result may be old. A server without a check,
    /// or with requests, is left unchanged.
    async fn prove_alive(
        &self,
        host: &Endpoint,
        servers: &Servers,
        names: &[String],
    ) -> Result<Servers, String> {
        let doubted = |server: &Server| server.is_drained_only() && server.is_checked() && server.is_quiet();
        // Refused for servers that track the check of another one: that check has to be sufficient.
        let _ = self.tell(host, &those(servers, names, doubted), &Verb::Doubt).await;
        self.until(host, names, |server| !server.is_drained_only() || server.is_well_while_drained()).await
    }

    /// Enables servers that passed their check. The returned state shows which of them others have drained
    /// in between.
    async fn put_back(
        &self,
        host: &Endpoint,
        servers: &Servers,
        names: &[String],
    ) -> Result<Servers, String> {
        let alive = self.prove_alive(host, servers, names).await?;
        self.tell(host, &those(&alive, names, Server::is_drained_only), &Verb::Ready).await?;
        self.until(host, names, |server| server.is_up() || server.is_others()).await
    }
}

#[async_trait]
impl OneHost for OnHaproxy<'_> {
    async fn look(&self, host: &Endpoint, members: &[Member]) -> Result<View, String> {
        let servers = self.servers(host).await?;
        Ok(servers::view(&servers, members.iter().map(|one| (&one.host, one.seat.server.as_str()))))
    }

    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let named = |why: String| format!("{}: backend `{}`: {why}", host.name, self.haproxy.backend);
        let sorted = match self.servers(host).await {
            Ok(servers) => self.sort(&servers, members).map_err(named),
            Err(why) => Err(why),
        };
        let Sorted { going, foreign, already } = match sorted {
            Ok(sorted) => sorted,
            Err(why) => return Applied::Refused(why),
        };
        if let Err(why) = self.tell_and_prove(host, &going, &Verb::Drain, Server::is_out).await {
            return match self.ready(host, &going).await {
                Ok(()) => Applied::Refused(why),
                Err(undo) => Applied::Unknown(format!("{why}; {undo}")),
            };
        }
        let out: BTreeSet<&HostName> = foreign.iter().collect();
        let ours: Vec<String> = members
            .iter()
            .filter(|member| !out.contains(&member.host))
            .map(|member| member.seat.server.clone())
            .collect();
        let (left, again) = match self.quiet(host, &ours, self.balancer.drain_timeout).await {
            Ok(quiet) => quiet,
            Err(why) => return Applied::Unknown(why),
        };
        let mut notes = Vec::new();
        if again {
            notes.push(format!(
                "{}: HAProxy forgot the drain (a reload?); drained again, requests on its old process are not seen",
                host.name
            ));
        }
        if !left.is_empty() {
            match self.outlasted(host, &going, &left).await {
                Ok(note) => notes.push(note),
                Err(applied) => return applied,
            }
        }
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Applied::Done { foreign, already, note }
    }

    async fn enable(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let servers = match self.servers(host).await {
            Ok(servers) => servers,
            Err(why) => return Applied::Refused(why),
        };
        // A server that no longer exists cannot be enabled by us.
        let is_ours = |one: &&Member| servers.get(&one.seat.server).is_some_and(|one| !one.is_others());
        let names: Vec<String> =
            members.iter().filter(is_ours).map(|member| member.seat.server.clone()).collect();
        let forgotten = !those(&servers, &names, |server| !server.is_out()).is_empty();
        let after = match self.put_back(host, &servers, &names).await {
            Ok(after) => after,
            Err(why) => return self.drain_again(host, &names, why).await,
        };
        let is_back = |member: &Member| after.get(&member.seat.server).is_some_and(|one| !one.is_out());
        Applied::Done {
            foreign: members.iter().filter(|one| !is_back(one)).map(|one| one.host.clone()).collect(),
            already: Vec::new(),
            note: forgotten.then(|| format!("{}: HAProxy had forgotten the drain (a reload?)", host.name)),
        }
    }

    /// No step ran on the hosts: they go back as they were, dead or alive.
    async fn undo(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let names: Vec<String> = members.iter().map(|member| member.seat.server.clone()).collect();
        match self.ready(host, &names).await {
            Ok(()) => Applied::Done { foreign: Vec::new(), already: Vec::new(), note: None },
            Err(why) => Applied::Unknown(why),
        }
    }
}

/// The servers for which a condition holds.
fn those(servers: &Servers, names: &[String], holds: impl Fn(&Server) -> bool) -> Vec<String> {
    names.iter().filter(|name| servers.get(*name).is_some_and(&holds)).cloned().collect()
}

fn busy(servers: &Servers, names: &[String]) -> Vec<(String, u64)> {
    let found = names.iter().filter_map(|name| Some((name, servers.get(name)?)));
    let busy = found.filter(|(_, server)| !server.is_quiet());
    busy.map(|(name, server)| (name.clone(), server.in_flight())).collect()
}

/// The commands for a server.
enum Verb {
    Drain,
    Ready,
    /// Its check has to pass again.
    Doubt,
    /// Ends its sessions.
    Shutdown,
}

impl Verb {
    fn of(&self, backend: &str, server: &str) -> String {
        match self {
            Verb::Drain => format!("set server {backend}/{server} state drain"),
            Verb::Ready => format!("set server {backend}/{server} state ready"),
            Verb::Doubt => format!("set server {backend}/{server} health down"),
            Verb::Shutdown => format!("shutdown sessions server {backend}/{server}"),
        }
    }
}
