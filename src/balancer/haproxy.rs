//! HAProxy, by its runtime API. Hosts are drained, never put into maintenance: its health checks continue
//! while steps run on a host, so that a dead application stays out when the host is enabled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ask::said;
use super::left::{Left, LeftWatch, busy};
use super::polls::Polls;
use super::runtime::Runtime;
use super::servers::{self, Server, Servers};
use super::together::{self, Applied, OneHost};
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Haproxy, OnDrainTimeout};
use crate::domain::inventory::rotation::{BalancerView, disagreement};
use crate::domain::run::event::Change;
use crate::port::{Member, Remote};

/// How long sessions may take to end after a shutdown.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// Polls in a row that must find a drained server without requests.
const QUIET_LOOKS: u32 = 2;

/// What to try when the socket takes no changes.
const NOT_ADMIN: &str = "; try: `level admin` on its `stats socket`";

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
    pub async fn inspect(
        &self,
        balancer: &Balancer,
        haproxy: &Haproxy,
        members: &[Member],
    ) -> Result<BalancerView, String> {
        let views = together::inspect(&self.on(balancer, haproxy), balancer, members).await?;
        Ok(BalancerView::together(&views, balancer.floor()))
    }

    /// Drains members on every HAProxy, or on none.
    pub async fn drain(&self, balancer: &Balancer, haproxy: &Haproxy, members: &[Member]) -> Change {
        let one = self.on(balancer, haproxy);
        let views = match together::inspect(&one, balancer, members).await {
            Ok(views) => views,
            Err(why) => return Change::Refused { why },
        };
        let strangers = members.iter().filter(|member| !member.ours).map(|member| &member.host);
        if let Some(why) = disagreement(&views, strangers) {
            return Change::Refused { why };
        }
        together::drain(&one, balancer, &BalancerView::together(&views, balancer.floor()), members).await
    }

    /// Puts members back that were drained for nothing.
    pub async fn put_back(&self, balancer: &Balancer, haproxy: &Haproxy, members: &[Member]) -> Change {
        together::put_back(&self.on(balancer, haproxy), balancer, members).await
    }

    /// Enables members on every HAProxy.
    pub async fn enable(&self, balancer: &Balancer, haproxy: &Haproxy, members: &[Member]) -> Change {
        together::enable(&self.on(balancer, haproxy), balancer, members).await
    }
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

    /// The servers of every backend; those of several backends are called `BACKEND/SERVER`.
    async fn servers(&self, host: &Endpoint) -> Result<Servers, String> {
        let mut all = Servers::new();
        for backend in &self.haproxy.backends {
            let servers = self.servers_of(host, backend).await?;
            all.extend(servers.into_iter().map(|(name, server)| (self.label(backend, &name), server)));
        }
        Ok(all)
    }

    fn label(&self, backend: &str, server: &str) -> String {
        match self.haproxy.backends[..] {
            [_] => server.to_string(),
            _ => format!("{backend}/{server}"),
        }
    }

    /// The servers of a member, one in each backend.
    fn labels(&self, member: &Member) -> Vec<String> {
        self.haproxy.backends.iter().map(|backend| self.label(backend, &member.seat.server)).collect()
    }

    fn labels_of<'m>(&self, members: impl IntoIterator<Item = &'m Member>) -> Vec<String> {
        members.into_iter().flat_map(|member| self.labels(member)).collect()
    }

    /// A server as commands name it.
    fn path(&self, label: &str) -> String {
        match &self.haproxy.backends[..] {
            [backend] => format!("{backend}/{label}"),
            _ => label.to_string(),
        }
    }

    async fn servers_of(&self, host: &Endpoint, backend: &str) -> Result<Servers, String> {
        let named = |why: String| format!("{}: backend `{backend}`: {}", host.name, said(&why));
        let state = self.ask(host, &format!("show servers state {backend}")).await?;
        let id = servers::backend_id(&state).map_err(named)?;
        let stat = self.ask(host, &format!("show stat {id} 4 -1")).await?;
        servers::parse(backend, &state, &stat).map_err(named)
    }

    /// Sends a command for each server. Success is an empty line for each; any other answer is an error.
    async fn tell(&self, host: &Endpoint, names: &[String], verb: &Verb) -> Result<(), String> {
        for names in names.chunks(COMMANDS_A_LINE) {
            let commands: Vec<String> = names.iter().map(|name| verb.of(&self.path(name))).collect();
            let answer = self.ask(host, &commands.join(";")).await?;
            let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
            if !words.is_empty() {
                let hint = if words.contains("Permission denied") { NOT_ADMIN } else { "" };
                return Err(format!("{}: {}: {}{hint}", host.name, said(&commands.join("; ")), said(&words)));
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
        let commanded = self.tell(host, names, verb).await;
        let servers = self.servers(host).await?;
        match names.iter().find(|name| !servers.get(*name).is_some_and(holds)) {
            None => Ok(()),
            Some(name)
                if matches!(verb, Verb::Drain)
                    && commanded.is_ok()
                    && servers.get(name).is_some_and(Server::has_agent) =>
            {
                Err(self.ended_by_agent(host, name))
            }
            Some(name) => {
                let state = servers.get(name).map_or_else(|| "gone".to_string(), Server::words);
                let unmoved = format!("{}: `{name}` was asked to and is {state}", host.name);
                Err(commanded.err().unwrap_or(unmoved))
            }
        }
    }

    fn sort(&self, servers: &Servers, members: &[Member]) -> Result<Sorted, String> {
        let mut sorted = Sorted::default();
        for member in members {
            let labels = self.labels(member);
            let mut going = Vec::new();
            for name in &labels {
                let server = servers.get(name).ok_or_else(|| servers::missing(servers, name))?;
                going.extend((!server.is_out()).then(|| name.clone()));
            }
            let host = &member.host;
            match (going.len() < labels.len(), member.ours) {
                (false, _) => {}
                // Out in one backend is out by us: the capacity is lost already, and an undo leaves it so.
                (true, true) => sorted.already.push(host.clone()),
                (true, false) if going.is_empty() => sorted.foreign.push(host.clone()),
                (true, false) => {
                    return Err(format!(
                        "another operator or program took {host} out of one backend only; try: put it in or out of all of them"
                    ));
                }
            }
            sorted.going.extend(going);
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
    ) -> Result<(Vec<Left>, bool), String> {
        let mut polls = Polls::within(limit);
        let (mut quiet, mut again, mut watch) = (0, false, LeftWatch::default());
        loop {
            let inspection = self.servers(host).await;
            if let Ok(servers) = &inspection {
                let lost = those(servers, names, |server| !server.is_out());
                if let Some(name) = lost.iter().find(|name| again && servers[*name].has_agent()) {
                    return Err(self.ended_by_agent(host, name));
                }
                let busy = busy(servers, names, &[]);
                quiet = if busy.is_empty() && lost.is_empty() { quiet + 1 } else { 0 };
                watch.note(servers, names, lost.is_empty());
                if quiet >= QUIET_LOOKS && watch.is_over() {
                    return Ok((Vec::new(), again));
                }
                if !lost.is_empty() {
                    // A reload forgets drains. The next poll shows whether this worked.
                    again = true;
                    let _ = self.tell(host, &lost, &Verb::Drain).await;
                }
            }
            if !polls.again().await {
                let servers = inspection?;
                let drained = |name: &String| servers.get(name).is_some_and(Server::is_out);
                return match names.iter().find(|name| !drained(name)) {
                    Some(name) if servers.get(name).is_some_and(Server::has_agent) => {
                        Err(self.ended_by_agent(host, name))
                    }
                    Some(name) => Err(format!("{}: `{name}` does not stay drained", host.name)),
                    None => Ok((busy(&servers, names, &watch.visited), again)),
                };
            }
        }
    }

    fn ended_by_agent(&self, host: &Endpoint, name: &str) -> String {
        format!(
            "{}: `{name}` does not stay drained: its agent-check sets it to ready; try: `disable agent {}`, or an agent \
             that says `up`",
            host.name,
            self.path(name)
        )
    }

    /// Handles requests that outlasted the drain, as configured; returns a note about it.
    async fn outlasted(&self, host: &Endpoint, going: &[String], left: &[Left]) -> Result<String, Applied> {
        let limit = self.balancer.drain_timeout;
        let each: Vec<String> = left.iter().map(Left::words).collect();
        let why = format!("{}: requests that did not end within {limit:?}: {}", host.name, each.join(", "));
        match self.balancer.on_drain_timeout {
            OnDrainTimeout::Continue => Ok(why),
            OnDrainTimeout::Kill => {
                let names: Vec<String> = left.iter().map(|left| left.name.clone()).collect();
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
    async fn inspect(
        &self,
        host: &Endpoint,
        members: &[Member],
    ) -> Result<Vec<(String, BalancerView)>, String> {
        let mut views = Vec::new();
        for backend in &self.haproxy.backends {
            let servers = self.servers_of(host, backend).await?;
            let mut view =
                servers::view(&servers, members.iter().map(|one| (&one.host, one.seat.server.as_str())));
            view.missing
                .values_mut()
                .for_each(|why| *why = format!("{}: backend `{backend}`: {why}", host.name));
            let place = match self.haproxy.backends[..] {
                [_] => host.name.to_string(),
                _ => format!("{} backend {backend}", host.name),
            };
            views.push((place, view));
        }
        Ok(views)
    }

    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let backends = self.haproxy.backends.join("`, `");
        let named = |why: String| format!("{}: backend `{backends}`: {why}", host.name);
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
        let ours = self.labels_of(members.iter().filter(|member| !out.contains(&member.host)));
        let (left, again) = match self.quiet(host, &ours, self.balancer.drain_timeout).await {
            Ok(quiet) => quiet,
            // Servers that are in rotation again need no debt.
            Err(why) => {
                return match self.ready(host, &going).await {
                    Ok(()) => Applied::Refused(why),
                    Err(undo) => Applied::Unknown(format!("{why}; {undo}")),
                };
            }
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
        let mut names = self.labels_of(members);
        names.retain(|name| servers.get(name).is_some_and(|one| !one.is_others()));
        let forgotten = !those(&servers, &names, |server| !server.is_out()).is_empty();
        let after = match self.put_back(host, &servers, &names).await {
            Ok(after) => after,
            Err(why) => return self.drain_again(host, &names, why).await,
        };
        let mut notes: Vec<String> = Vec::new();
        if forgotten {
            notes.push(format!("{}: HAProxy had forgotten the drain (a reload?)", host.name));
        }
        for name in those(&after, &names, |server| server.is_up() && server.has_no_weight()) {
            notes.push(format!("{}: `{name}` has weight 0 and gets no new requests", host.name));
        }
        let is_in = |name: &String| after.get(name).is_some_and(|one| !one.is_out());
        let is_back = |member: &Member| self.labels(member).iter().all(is_in);
        Applied::Done {
            foreign: members.iter().filter(|one| !is_back(one)).map(|one| one.host.clone()).collect(),
            already: Vec::new(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }

    /// No step ran on the hosts: they go back as they were, dead or alive.
    async fn undo(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let names = self.labels_of(members);
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
    /// `server` is `BACKEND/SERVER`.
    fn of(&self, server: &str) -> String {
        match self {
            Verb::Drain => format!("set server {server} state drain"),
            Verb::Ready => format!("set server {server} state ready"),
            Verb::Doubt => format!("set server {server} health down"),
            Verb::Shutdown => format!("shutdown sessions server {server}"),
        }
    }
}
