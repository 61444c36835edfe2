//! The ports: what the engine needs from the world. Each adapter implements one; the doc comments say
//! what is lost when an implementation lies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::ask::access::Operator;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::output::{Output, clipped};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::Probe;
use crate::domain::check::seen::Observation;
use crate::domain::inventory::inventory::{Balancer, Endpoint};
use crate::domain::inventory::rotation::View;
use crate::domain::notify::channel::Channel;
use crate::domain::notify::incident::Incident;
use crate::domain::notify::incidents::{Key as IncidentKey, Log};
use crate::domain::notify::notice::Notice;
use crate::domain::plan::plan::{HostPlan, Plan, Seat};
use crate::domain::plan::release::{Mark, Taken};
use crate::domain::run::event::{Change, Event, EventKind};
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::task::facts::Gathered;
use crate::domain::value::secret::{Given, Masks, SecretVars};
use crate::domain::watch::alert::Alert;
use crate::domain::watch::roll::{Downtime, History};
use crate::domain::watch::roster::{Batch, Key};
use crate::domain::watch::watched::Watched;
use crate::local::planned::{Planned, Proven};

/// The time of day. Used for timestamps that people read and for "not before"; never for order.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A two-way stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One command on one host.
pub struct Exec {
    pub script: String,
    pub input: Input,
    /// From the moment the command is sent to its end.
    pub timeout: Duration,
    /// Ends the command on the host: TERM, then KILL, then the channel is closed.
    pub cancel: CancellationToken,
    /// Lines as they come, for people who watch. Dropped when nobody keeps up.
    pub lines: Option<mpsc::Sender<String>>,
    /// Over a connection made for this command alone: proof that the host lets us in anew.
    pub fresh: bool,
    /// Of the head of its standard output, and of the tail; what lies between is counted.
    pub keep_bytes: usize,
    /// Hides secrets in both outputs, before anything of them is kept or shown. Empty where rollcall itself
    /// reads what comes back.
    pub masks: Arc<Masks>,
    /// All of its standard output as it comes, which then is neither kept nor shown. The command waits for whoever
    /// takes it, and is ended when nobody does any more.
    pub sink: Option<mpsc::Sender<Bytes>>,
}

/// What goes into a command's standard input.
#[derive(Clone)]
pub enum Input {
    None,
    Bytes(Bytes),
    File(Proven),
    /// A tar archive, made while it is sent.
    Tar(Arc<[Packed]>),
    /// These bytes, and then the rest.
    After(Bytes, Box<Input>),
}

/// One file of an archive that is sent.
pub struct Packed {
    /// Its name there.
    pub name: String,
    pub content: Content,
}

/// What it holds.
pub enum Content {
    Bytes(Bytes),
    /// Opened and proven when its turn has come.
    File(Planned),
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct ExecReport {
    pub end: ExecEnd,
    pub stdout: Output,
    pub stderr: Output,
}

/// How a command ended on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecEnd {
    Exited(u32),
    Signalled(String),
    /// Took too long and was ended.
    TimedOut,
    Cancelled,
    /// The connection was lost after the command had been sent, and no exit status was seen.
    Lost(String),
    /// The command was never sent.
    NotStarted(String),
}

/// Of what a host says of an end; all that is kept is in the output of the step.
const SAID_CHARS: usize = 500;

impl ExecEnd {
    /// An end that is no success, in words, with the last line that the command wrote to stderr.
    pub fn describe(&self, stderr: &Output) -> String {
        let said = match stderr.last_line() {
            "" => String::new(),
            line => format!(": {}", clipped(line, SAID_CHARS)),
        };
        match self {
            ExecEnd::Exited(code) => format!("exit status {code}{said}"),
            ExecEnd::Signalled(signal) => format!("ended by signal {signal}{said}"),
            ExecEnd::TimedOut => "took too long and was ended".into(),
            ExecEnd::Cancelled => "cancelled".into(),
            ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => why.clone(),
        }
    }
}

/// Hosts, over SSH.
///
/// If an implementation says [`ExecEnd::NotStarted`] of a command that did run, a step runs twice; if
/// it says [`ExecEnd::Exited`] without having seen an exit status, a lost host is called a good one.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Runs a command. Never fails as a call: every trouble is an [`ExecEnd`].
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport;

    /// Opens a TCP connection from the host to `address:port`.
    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError>;

    /// Opens the UNIX socket `path` of the host. A host that does not forward sockets may say so, or
    /// that nobody listens there: sshd does not tell these apart.
    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError>;

    /// Makes a connection where there is none yet, so that the next question meets no delay.
    async fn reach(&self, _host: &Endpoint) -> Result<(), String> {
        Ok(())
    }

    /// The key that the host presents now, and what is recorded for it.
    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String>;

    /// Records the key with this fingerprint for the host, if it is what the host presents now.
    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String>;
}

/// Why no connection could be opened through a host.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenError {
    /// The host said that nobody listens there.
    Refused(String),
    /// The host does not allow it, or did not answer in time.
    Blind(String),
    /// There is no contact to the host.
    NoContact(String),
}

impl OpenError {
    /// The reason, whichever kind it is.
    pub fn why(self) -> String {
        match self {
            OpenError::Refused(why) | OpenError::Blind(why) | OpenError::NoContact(why) => why,
        }
    }
}

/// What is known of a host's key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostKey {
    /// `SHA256:...`
    pub fingerprint: String,
    /// `ssh-ed25519`
    pub algorithm: String,
    pub known: KeyState,
}

/// What the host-key store says about a presented key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    Known,
    Unknown,
    /// Another key is recorded; this may be somebody in between.
    Changed,
    /// Marked `@revoked`.
    Revoked,
}

/// Looks at services through a host's connection.
///
/// If an implementation answers from anywhere else than through that host, a check passes for the
/// wrong machine.
#[async_trait]
pub trait Prober: Send + Sync {
    /// One look at an `http`, `tcp` or `tls` probe.
    async fn probe(&self, host: &Endpoint, probe: &Probe, timeout: Duration) -> Observation;
}

/// Where a look at a log has ended, so that the next one goes on from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub inode: String,
    /// In bytes.
    pub offset: u64,
    pub at: Timestamp,
}

/// Who looks, at which host, for which check: each goes on where it was itself.
pub type PlaceKey<'a> = (&'a str, &'a HostName, &'a CheckId);

/// Where looks at logs have ended.
///
/// If an implementation forgets, lines are looked at twice; if it makes a place up, lines are never seen.
#[async_trait]
pub trait Places: Send + Sync {
    /// Where the last look has ended, if there was one.
    async fn place(&self, key: PlaceKey<'_>) -> Result<Option<Place>, StoreError>;
    /// Keeps where this one has ended.
    async fn keep_place(&self, key: PlaceKey<'_>, place: Place) -> Result<(), StoreError>;
}

/// A host and its place in a balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub host: HostName,
    pub seat: Seat,
    /// An open debt of ours exists for it: found taken out, it is so by us and not by somebody else.
    pub ours: bool,
}

impl Member {
    /// The members of a balancer that these hosts are. `ours` says for which the journal holds an open debt.
    pub fn of(plan: &Plan, hosts: &[HostName], ours: impl Fn(&HostPlan) -> bool) -> Vec<Member> {
        let member = |host: &HostName| {
            let plan = plan.hosts.get(host)?;
            Some(Member { host: host.clone(), seat: plan.balancer.clone()?, ours: ours(plan) })
        };
        hosts.iter().filter_map(member).collect()
    }
}

/// Load balancers.
///
/// If an implementation says [`Change::Done`] without proof, hosts are deployed to while they serve;
/// if it says [`Change::Refused`] when something changed, a host is stranded without a debt; if its
/// [`View`] counts servers that do not serve, capacity falls below the floor.
#[async_trait]
pub trait BalancerDriver: Send + Sync {
    /// How the members stand, and how many servers serve in all; nothing is changed. An error names the
    /// balancer's host that could not be asked, and the next thing to try.
    async fn look(&self, balancer: &Balancer, members: &[Member]) -> Result<View, String>;
    /// Takes the members out, all in one change, and waits until their requests have ended. Those for
    /// which there is no room above the floor are kept.
    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change;
    /// Puts the members back, all in one change.
    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change;
}

/// The journal and everything that is folded from it.
///
/// An event that [`Store::append`] has returned must survive `kill -9` and loss of power; if it does
/// not, a host can be out of rotation and nobody knows. Projections (debts, leases, releases) must
/// change in the same transaction as the event that causes them.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes the plan, takes its leases and appends `RunStarted`.
    async fn create_run(&self, plan: &Plan, by: &Operator, at: Timestamp) -> Result<Event, StoreError>;
    /// Appends facts in order, all or none of them.
    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError>;
    /// A run with its whole journal.
    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError>;
    /// The newest runs, newest first.
    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError>;
    /// Runs without an end, oldest first.
    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError>;
    /// Open debts, oldest first.
    async fn debts(&self) -> Result<Vec<Debt>, StoreError>;
    /// What each host took over, newest first, the last ones.
    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<Taken>>, StoreError>;
    /// The last facts of each host.
    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError>;
    /// Operators' words on releases, oldest first.
    async fn marks(&self) -> Result<Vec<Mark>, StoreError>;
    /// Adds one.
    async fn mark(&self, mark: Mark) -> Result<(), StoreError>;
}

/// What is kept of checks that are watched.
///
/// If [`Watches::keep`] says that a batch is kept and parts of it are not, people are told twice, or never.
#[async_trait]
pub trait Watches: Send + Sync {
    /// The states as they were kept last, and the downtimes that nobody has ended.
    async fn watched(&self) -> Result<(HashMap<Key, Watched>, Vec<Downtime>), StoreError>;
    /// Keeps a batch: all of it, or nothing.
    async fn keep(&self, batch: Arc<Batch>) -> Result<(), StoreError>;
    /// Begins a downtime; its number.
    async fn begin_downtime(&self, downtime: &Downtime) -> Result<u64, StoreError>;
    /// It is over by the word of somebody.
    async fn end_downtime(&self, id: u64) -> Result<(), StoreError>;
    /// What is kept of the checks of a host: so many looks of each at most, the newest; oldest first.
    async fn history(&self, host: &HostName, limit: usize) -> Result<Vec<History>, StoreError>;
    /// What an earlier build kept under the bare name of a check becomes that of the one check of these that has it.
    /// Call before [`Watches::watched`].
    async fn adopt(&self, checks: BTreeMap<HostName, Vec<CheckId>>) -> Result<(), StoreError>;
    /// Forgets looks and changes that are older, of some checks from the place `from` on: where to go on, and 0
    /// behind the last one.
    async fn prune(&self, samples: Timestamp, changes: Timestamp, from: u64) -> Result<u64, StoreError>;
}

/// Alerts, what each channel made of them, and messages until they are delivered.
///
/// If [`Outbox::tell`] keeps one part of what it is given without the others, a message is lost or told twice when the
/// process dies.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Alerts behind `after`, oldest first, at most `limit`; with their numbers.
    async fn alerts(&self, after: u64, limit: usize) -> Result<Vec<(u64, Alert)>, StoreError>;
    /// Where a channel was left; the beginning for one that is new.
    async fn teller(&self, channel: &str) -> Result<Teller, StoreError>;
    /// Keeps how far a channel has read, what has changed by that, and its new messages: all of it or nothing.
    async fn tell(&self, told: Told) -> Result<(), StoreError>;
    /// The oldest messages of a channel that are neither delivered nor given up.
    async fn waiting(&self, channel: &str, limit: usize) -> Result<Vec<Waiting>, StoreError>;
    /// It was delivered.
    async fn delivered(&self, id: u64, at: Timestamp) -> Result<(), StoreError>;
    /// It was not; when it is tried again, and why.
    async fn not_delivered(&self, id: u64, next_try: Timestamp, why: &str) -> Result<(), StoreError>;
    /// Whatever of a channel waits for a time before this one waits for it.
    async fn postpone(&self, channel: &str, next_try: Timestamp) -> Result<(), StoreError>;
    /// Whatever of a channel waits is due now.
    async fn hurry(&self, channel: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Gives messages up, and writes those that tell of it.
    async fn give_up(
        &self,
        ids: Vec<u64>,
        at: Timestamp,
        tell: Vec<(String, Notice)>,
    ) -> Result<(), StoreError>;
    /// How each channel fares that was ever told anything.
    async fn fares(&self) -> Result<BTreeMap<String, Fares>, StoreError>;
}

/// Where a channel was left.
#[derive(Debug, Default)]
pub struct Teller {
    /// The last alert that was read.
    pub cursor: u64,
    pub open: Vec<Incident>,
    pub log: Log,
}

/// What a channel made of alerts, and of the time.
#[derive(Debug)]
pub struct Told {
    pub channel: String,
    pub cursor: u64,
    pub log: Log,
    /// `None` for incidents that are over.
    pub changed: Vec<(IncidentKey, Option<Incident>)>,
    pub notices: Vec<Notice>,
}

/// A message that is not delivered.
#[derive(Debug)]
pub struct Waiting {
    pub id: u64,
    pub notice: Notice,
    pub tries: u32,
    pub next_try: Timestamp,
}

/// How a channel fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fares {
    pub delivered: u64,
    pub waiting: u64,
    pub given_up: u64,
    pub last_delivered: Option<Timestamp>,
    /// Of the messages that wait, or that were given up last.
    pub trouble: Option<String>,
    pub next_try: Option<Timestamp>,
}

/// Takes messages to people.
///
/// If an implementation says that a message has arrived which did not, nobody is told; if it says the opposite, they
/// are told twice.
#[async_trait]
pub trait Messenger: Send + Sync {
    async fn send(&self, channel: &Channel, notice: &Notice) -> Result<(), SendError>;
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum SendError {
    /// Nobody is there to take it, nor any other.
    Down(String),
    /// This one was not taken.
    Refused(String),
}

/// Secrets, as they are now.
///
/// If [`Secrets::masks`] lacks one that a step may print, it is in the journal for ever.
pub trait Secrets: Send + Sync {
    /// What the steps of a run may read on one host, by name.
    fn of(&self, run: RunId, plan: &Plan, host: &HostName) -> SecretVars;
    /// Hides every secret that the run may come to see; those of the configuration without one.
    fn masks(&self, run: Option<RunId>) -> Arc<Masks>;
    /// Keeps what was given for one run, in memory, until it is forgotten.
    fn keep(&self, run: RunId, given: Given);
    /// Forgets it.
    fn forget(&self, run: RunId);
}

/// Every look at a log is the first one.
pub struct NoPlaces;

#[async_trait]
impl Places for NoPlaces {
    async fn place(&self, _: PlaceKey<'_>) -> Result<Option<Place>, StoreError> {
        Ok(None)
    }

    async fn keep_place(&self, _: PlaceKey<'_>, _: Place) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A world without secrets.
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn of(&self, _: RunId, _: &Plan, _: &HostName) -> SecretVars {
        SecretVars::new()
    }

    fn masks(&self, _: Option<RunId>) -> Arc<Masks> {
        Arc::default()
    }

    fn keep(&self, _: RunId, _: Given) {}

    fn forget(&self, _: RunId) {}
}

/// A run as it is in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    pub id: RunId,
    pub plan: Plan,
    pub by: String,
    pub events: Vec<Event>,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the group.
    #[error("{scope} is in the hands of run {run} by {by}; try: watch {run}")]
    Busy { scope: String, run: RunId, by: String },
    /// What the store holds of a run is not what its journal says.
    #[error(
        "run {run} was changed in the store: {what}; rollcall does nothing with it; try: restore the store from a copy"
    )]
    Changed { run: RunId, what: String },
    #[error("{0}")]
    Failed(String),
}
