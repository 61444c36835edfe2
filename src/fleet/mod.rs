//! The outbound side: one SSH connection for each host, kept and shared. Implements [`Remote`].

mod anew;
pub mod authority;
mod client;
pub mod connect;
mod contacts;
mod diagnose;
pub mod dial;
mod exec;
mod first;
mod gates;
pub mod here;
mod kept;
pub mod known_hosts;
mod link;
mod ping;
mod sessions;
mod shared;
mod way;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use russh::Channel;
use russh::client::Msg;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::authority::Errand;
use self::client::Loss;
use self::connect::{Reached, connect, fetch_host_key};
use self::contacts::Contacts;
pub use self::dial::{read_identities, read_identity};
use self::gates::{Gates, HANDSHAKE_TRIES, Turn, no_greeting, pause};
use self::link::{Link, hang_up, phase};
use self::sessions::Session;
use self::shared::FleetState;
pub use self::shared::{ConnectionSettings, Parts};
use self::way::{Target, open_through};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{
    Contact, Diagnosis, Exec, ExecEnd, ExecReport, HostKey, KeyState, OpenError, Ping, Program, Remote,
    Stream,
};

/// Refusals of a session while no other one of this connection is open, until the host counts as one that allows none.
const LONE_REFUSALS: u32 = 6;

/// The pause after a first refusal; doubles with each.
const REFUSAL_PAUSE: Duration = Duration::from_millis(10);

/// The longest time limit of a script that others wait for: probes and guards have less, ad-hoc commands more.
const SHORT: Duration = Duration::from_secs(300);

/// How long a jump host may take to answer when a connection through it has failed.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The longest pause between two attempts to open a session.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Idle connections are looked for so many times within `idle_timeout`.
const IDLE_SHARE: u32 = 4;

/// The shortest pause between two searches for idle connections.
const SHORTEST_IDLE_ROUND: Duration = Duration::from_millis(100);

/// The longest one.
const LONGEST_IDLE_ROUND: Duration = Duration::from_secs(60);

/// All hosts, as this daemon reaches them.
pub struct Fleet {
    shared: FleetState,
    slots: Mutex<HashMap<Endpoint, Arc<ConnectionSlot>>>,
    gates: Gates,
    handshakes: Semaphore,
    contacts: Contacts,
}

/// The slot of one host's connection.
#[derive(Default)]
struct ConnectionSlot {
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    /// The last failure to connect, and when that was: those who waited for it do not try again one after another.
    failed: Mutex<Option<(Errand, Instant, String)>>,
    /// Held by a probe that lists processes: two of them at the same time would find each other.
    listing: tokio::sync::Mutex<()>,
}

impl ConnectionSlot {
    fn failure(&self) -> MutexGuard<'_, Option<(Errand, Instant, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session of a host that can take one command.
struct Opened {
    link: Arc<Link>,
    channel: Channel<Msg>,
    /// Counts as open until it is dropped.
    _session: Session,
}

/// What a connection is made for.
#[derive(Clone, Copy)]
enum Goal {
    Login(Errand),
    /// The key that the host presents.
    Key,
}

/// What a host made of the request for a session.
enum SessionAnswer {
    Opened(Opened),
    /// It refused; true when others of rollcall's are open on the same connection.
    Refused(String, bool),
    /// The connection turned out to be dead.
    Dead(String),
}

impl Fleet {
    /// A fleet without any connection yet.
    pub fn new(parts: Parts) -> Fleet {
        let handshakes = Semaphore::new(parts.settings.parallel);
        Fleet {
            shared: FleetState(Arc::new(parts)),
            slots: Mutex::default(),
            gates: Gates::default(),
            handshakes,
            contacts: Contacts::default(),
        }
    }

    fn slot(&self, host: &Endpoint) -> Arc<ConnectionSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(host.clone()).or_default().clone()
    }

    /// The connection to a host; created if none is alive that permits the errand. Other callers wait for it.
    async fn link(&self, host: &Endpoint, errand: Errand) -> Result<Arc<Link>, String> {
        self.link_or_new(host, errand).await.map(|(link, _)| link)
    }

    /// The same, and how long it took to connect if it was not open.
    async fn link_or_new(
        &self,
        host: &Endpoint,
        errand: Errand,
    ) -> Result<(Arc<Link>, Option<Duration>), String> {
        let (slot, asked) = (self.slot(host), Instant::now());
        let mut place = slot.link.lock().await;
        if let Some(link) = place.as_ref().filter(|link| link.serves(errand)) {
            link.touch();
            return Ok((link.clone(), None));
        }
        if let Some((of, at, why)) = &*slot.failure()
            && *of == errand
            && *at > asked
        {
            return Err(why.clone());
        }
        // Commands under way keep a connection that is replaced.
        *place = None;
        let begun = Instant::now();
        let connected = self.connect(host, errand).await;
        *slot.failure() = connected.as_ref().err().map(|why| (errand, Instant::now(), why.clone()));
        let link = Arc::new(connected?);
        *place = Some(link.clone());
        Ok((link, Some(begun.elapsed())))
    }

    /// The connection to the jump host of a host. All hosts behind it share it.
    async fn jump(&self, host: &Endpoint) -> Result<Option<Arc<Link>>, String> {
        let Some(via) = &host.via else { return Ok(None) };
        let jump = Box::pin(self.link(via, Errand::Forwards)).await;
        jump.map(Some).map_err(|why| format!("via {}: {why}", via.name))
    }

    /// One attempt after another while the host disconnects before it identifies itself. A jump host whose connection turned
    /// out to be dead is connected anew, once.
    async fn attempts(&self, host: &Endpoint, goal: Goal) -> Result<Reached, String> {
        let (mut number, mut jump_was_dead) = (1, false);
        let mut learned = None;
        loop {
            // The jump host is connected first: waiting for it while holding a permit could wait forever.
            let jump = self.jump(host).await?;
            let (turn, permit) = self.turn(host).await?;
            drop(learned.take());
            let reached = match goal {
                Goal::Login(errand) => connect(&self.shared, (host, jump.as_ref()), errand).await,
                Goal::Key => fetch_host_key(&self.shared, host, jump.as_ref()).await,
            };
            let why = match (reached, &jump) {
                (Ok(Reached::Dropped(why)), _) => why,
                (Ok(reached), _) => return Ok(reached),
                (Err(_), Some(jump)) if !jump_was_dead && !self.answers(jump).await => {
                    jump_was_dead = true;
                    // Who makes a new connection to the jump host needs a permit, while `forget` waits for it.
                    drop((turn, permit));
                    if let Some(via) = &host.via {
                        self.forget(via, jump).await;
                    }
                    continue;
                }
                (Err(why), _) => return Err(why),
            };
            learned = Some(turn.dropped());
            drop(permit);
            if number == HANDSHAKE_TRIES {
                return Err(phase(host, "handshake", &no_greeting(&why)));
            }
            sleep(pause(host.name.as_str(), number)).await;
            number += 1;
        }
    }

    /// The right to one handshake with a host: first that of its SSH server, so that hosts behind a slow one take no permit of
    /// others.
    async fn turn(&self, host: &Endpoint) -> Result<(Turn, SemaphorePermit<'_>), String> {
        let turn = self.gates.enter(host).await;
        let permit = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        Ok((turn, permit))
    }

    /// True if a connection is alive: the host answers over it.
    async fn answers(&self, link: &Link) -> bool {
        !link.is_closed()
            && timeout(ANSWER_LIMIT, link.handle.send_ping()).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn connect(&self, host: &Endpoint, errand: Errand) -> Result<Link, String> {
        let connected = self.connected(host, errand).await;
        let end = connected.as_ref().map(drop).map_err(String::clone);
        self.contacts.record(host, self.shared.clock.now(), end);
        connected
    }

    async fn connected(&self, host: &Endpoint, errand: Errand) -> Result<Link, String> {
        match self.attempts(host, Goal::Login(errand)).await? {
            Reached::Link(link) => Ok(link),
            Reached::Key(..) | Reached::Dropped(_) => Err(phase(host, "handshake", "no connection")),
        }
    }

    /// A session for one command. A refused one is asked for again: while others of rollcall's are open, for as long as
    /// it takes. A dead connection is replaced, once.
    async fn session(&self, host: &Endpoint, cancel: &CancellationToken) -> Result<Opened, ExecEnd> {
        let failed = |why: &str| ExecEnd::NotStarted(phase(host, "channel", why));
        let (mut was_dead, mut lone_refusals, mut pause) = (false, 0, REFUSAL_PAUSE);
        loop {
            let free = async {
                let link = self.link(host, Errand::Commands).await.map_err(ExecEnd::NotStarted)?;
                let session = link.sessions.acquire().await;
                Ok((link, session))
            };
            let (link, session) = unless_cancelled(cancel, free).await??;
            // Opening is not raced against the cancel: a session that opened late would stay open.
            match self.ask_for_session(link.clone(), session).await {
                SessionAnswer::Opened(opened) => return Ok(opened),
                SessionAnswer::Dead(why) if was_dead => return Err(failed(&why)),
                SessionAnswer::Dead(_) => {
                    was_dead = true;
                    self.forget(host, &link).await;
                    continue;
                }
                SessionAnswer::Refused(_, true) => {}
                SessionAnswer::Refused(why, false) => {
                    lone_refusals += 1;
                    if lone_refusals == LONE_REFUSALS {
                        return Err(failed(&no_session(&why)));
                    }
                    // A process that could not be ended holds its session: a new connection has none.
                    if lone_refusals == LONE_REFUSALS - 1 {
                        self.forget(host, &link).await;
                    }
                }
            }
            unless_cancelled(cancel, self.settled(&link, pause)).await?;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn ask_for_session(&self, link: Arc<Link>, mut session: Session) -> SessionAnswer {
        let limit = self.shared.settings.connect_timeout;
        match timeout(limit, link.handle.channel_open_session()).await {
            Ok(Ok(channel)) => {
                session.opened();
                SessionAnswer::Opened(Opened { link, channel, _session: session })
            }
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                SessionAnswer::Refused(format!("{why:?}"), session.refused())
            }
            Ok(Err(error)) => SessionAnswer::Dead(error.to_string()),
            Err(_) => SessionAnswer::Dead(format!("no answer within {limit:?}")),
        }
    }

    /// sshd frees a closed session only after it has handled everything that it received with the close: an answer to
    /// a later question shows that it has.
    async fn settled(&self, link: &Link, pause: Duration) {
        sleep(pause).await;
        let _ = timeout(self.shared.settings.connect_timeout, link.handle.send_ping()).await;
    }

    /// A connection from the host to `target`, over the connection to the host. A dead one
    /// is replaced, once.
    async fn forward(&self, host: &Endpoint, target: &Target<'_>) -> Result<Box<dyn Stream>, OpenError> {
        let limit = self.shared.settings.connect_timeout;
        let mut link = self.link(host, Errand::Forwards).await.map_err(OpenError::NoContact)?;
        match timeout(limit, open_through(&link, target)).await {
            Ok(Err(_)) if link.is_closed() => {
                self.forget(host, &link).await;
                link = self.link(host, Errand::Forwards).await.map_err(OpenError::NoContact)?;
                open_through(&link, target).await
            }
            Ok(opened) => opened,
            Err(_) => Err(OpenError::Blind(format!("the host did not open a connection within {limit:?}"))),
        }
    }

    /// How the kept connection to a host was lost, if it was. A task that is connecting records its own result.
    fn loss(&self, host: &Endpoint) -> Option<Loss> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(host).cloned()?;
        drop(slots);
        slot.link.try_lock().ok()?.as_ref()?.lost.get().cloned()
    }

    async fn forget(&self, host: &Endpoint, dead: &Arc<Link>) {
        let slot = self.slot(host);
        let mut place = slot.link.lock().await;
        if place.as_ref().is_some_and(|link| Arc::ptr_eq(link, dead)) {
            *place = None;
        }
    }

    /// Closes connections that nothing has used for `idle_timeout`, until `stop`.
    pub async fn close_idle(&self, stop: CancellationToken) {
        const HANG_UP_LIMIT: Duration = Duration::from_secs(3);
        let Some(limit) = self.shared.settings.idle_timeout else { return };
        let every = (limit / IDLE_SHARE).clamp(SHORTEST_IDLE_ROUND, LONGEST_IDLE_ROUND);
        while stop.run_until_cancelled(sleep(every)).await.is_some() {
            let slots: Vec<Arc<ConnectionSlot>> =
                self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for slot in slots {
                // Another one is connecting, so it is in use.
                let Ok(mut place) = slot.link.try_lock() else { continue };
                let idle = place.take_if(|link| Link::is_idle(link, limit));
                drop(place);
                if let Some(link) = idle {
                    // The stop of the daemon waits for this task; a host that takes nothing must not hold it up.
                    let _ = timeout(HANG_UP_LIMIT, hang_up(&link)).await;
                }
            }
        }
    }

    /// Closes the connections to all hosts.
    pub async fn close(&self) {
        let slots: Vec<Arc<ConnectionSlot>> =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(link) = slot.link.lock().await.take() {
                hang_up(&link).await;
            }
        }
    }
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, ExecEnd> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ExecEnd::NotStarted("cancelled".into())),
        done = work => Ok(done),
    }
}

/// True for a short script that may look for processes by their command line: its `pgrep -f NAME` has NAME on a command line
/// of its own. A command of an operator, whose output is kept, never holds up others.
fn lists_processes(request: &Exec) -> bool {
    match &request.program {
        Program::Script(script) if request.timeout <= SHORT && request.recorder.is_none() => {
            ["pgrep", "pkill", "pidof", "/proc", "ps "].iter().any(|word| script.contains(word))
        }
        _ => false,
    }
}

fn no_session(why: &str) -> String {
    format!(
        "it opens no session ({why}), and none of rollcall's is open; try: MaxSessions 1 or more in its sshd_config"
    )
}

#[async_trait]
impl Remote for Fleet {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        if request.fresh {
            return self.exec_anew(host, request).await;
        }
        let slot = self.slot(host);
        let alone = async {
            match lists_processes(&request) {
                true => Some(slot.listing.lock().await),
                false => None,
            }
        };
        let _alone = match unless_cancelled(&request.cancel, alone).await {
            Ok(alone) => alone,
            Err(end) => return ExecReport { end, stdout: Default::default(), stderr: Default::default() },
        };
        match self.session(host, &request.cancel).await {
            Ok(Opened { link, channel, _session }) => {
                let report = exec::exec(channel, request, || link.why_lost()).await;
                let ended = (self.shared.clock.now(), link.is_closed() || link.lost.get().is_some());
                self.contacts.ended(host, ended, &report.end);
                report
            }
            Err(end) => ExecReport { end, stdout: Default::default(), stderr: Default::default() },
        }
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.forward(host, &Target::Tcp(address, port)).await
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        self.forward(host, &Target::Unix(path)).await
    }

    async fn reach(&self, host: &Endpoint) -> Result<(), String> {
        self.link(host, Errand::Commands).await.map(drop)
    }

    async fn ping(&self, host: &Endpoint) -> Ping {
        self.round_trip(host).await
    }

    fn contact(&self, host: &Endpoint) -> Option<Contact> {
        let known = self.contacts.of(host);
        // A connection that was lost while no command used it is recorded nowhere else.
        match self.loss(host).filter(|loss| known.as_ref().is_none_or(|known| known.at <= loss.at)) {
            Some(Loss { at, why }) => {
                Some(Contact::after(known.as_ref(), at, Err(format!("contact was lost: {why}"))))
            }
            None => known,
        }
    }

    async fn diagnose(&self, host: &Endpoint, request: Exec) -> Diagnosis {
        let diagnosis = self.diagnosed(host, request).await;
        let failed = diagnosis.phases.last().and_then(|phase| phase.end.as_ref().err().cloned());
        self.contacts.record(host, self.shared.clock.now(), failed.map_or(Ok(()), Err));
        diagnosis
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        Ok(self.examine(host).await?.0)
    }

    async fn forget_host_key(&self, host: &Endpoint) -> Result<usize, String> {
        let forgotten = self.shared.known_hosts.forget(&host.address, host.port).await?;
        // Commands under way keep it until they end.
        *self.slot(host).link.lock().await = None;
        Ok(forgotten)
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        let (about, key) = self.examine(host).await?;
        match about.known {
            KeyState::Known | KeyState::Unknown if about.fingerprint == fingerprint => {}
            KeyState::Revoked => {
                return Err(format!("{}: its key is marked @revoked; nothing was recorded", host.name));
            }
            _ => {
                return Err(format!(
                    "{} presents {}, not {fingerprint}; nothing was recorded",
                    host.name, about.fingerprint
                ));
            }
        }
        self.shared.known_hosts.record(&host.address, host.port, &key).await
    }
}
