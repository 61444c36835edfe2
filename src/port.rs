//! The ports: the interfaces of the engine to everything outside the process. Each adapter implements one; the doc
//! comments say what is lost when an implementation reports a false result.

pub mod audit;
mod contact;
mod diagnosis;
mod exec;
mod member;
pub mod outbox;
pub mod outputs;
pub mod report;
pub mod talk;
pub mod visits;
pub mod vitals;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use crate::domain::ask::access::Operator;
use crate::domain::ask::temporary::{RightEnd, RightGrant, TemporaryRight};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::Probe;
use crate::domain::check::seen::Observation;
use crate::domain::inventory::inventory::{Balancer, Endpoint};
use crate::domain::inventory::rotation::BalancerView;
use crate::domain::lease::lease::{Lease, LeaseEnd};
use crate::domain::notify::channel::Channel;
use crate::domain::notify::notice::Notice;
use crate::domain::plan::plan::Plan;
use crate::domain::plan::release::{ReleaseMark, ReleaseTakeover};
use crate::domain::run::event::{Change, Event, EventKind, RunGrant};
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::task::facts::Gathered;
use crate::domain::value::secret::{Given, Masks, SecretVars};
use crate::domain::watch::roll::{Downtime, History};
use crate::domain::watch::roster::{Batch, WatchedId};
use crate::domain::watch::watched::Watched;
use crate::local::artifacts::Piece;

pub use self::contact::{Contact, Ping};
pub use self::diagnosis::{Diagnosis, PhaseReport};
pub use self::exec::{Content, Exec, ExecEnd, ExecReport, Follow, Input, Packed, Program};

pub use self::member::Member;

/// The time of day. Used for timestamps that people read and for "not before"; never for order.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A two-way stream over any transport.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Hosts, over SSH.
///
/// If an implementation reports [`ExecEnd::NotStarted`] for a command that did run, a step runs twice; if
/// it reports [`ExecEnd::Exited`] without an exit status from the host, a lost host counts as a good one.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Runs a command. Never fails as a call: every failure is an [`ExecEnd`].
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport;

    /// Opens a TCP connection from the host to `address:port`.
    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError>;

    /// Opens the UNIX socket `path` of the host. A host that does not forward sockets may report that,
    /// or that no process listens there: sshd does not distinguish the two.
    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError>;

    /// Connects if there is no connection yet, so that the next command starts without a delay.
    async fn reach(&self, _host: &Endpoint) -> Result<(), String> {
        Ok(())
    }

    /// A round trip to the host, over the open connection or a new one.
    async fn ping(&self, host: &Endpoint) -> Ping {
        Ping::failed(format!("{} is not reached over SSH", host.name))
    }

    /// The last contact with the host; `None` if none was tried.
    fn contact(&self, _host: &Endpoint) -> Option<Contact> {
        None
    }

    /// The key that the host presents now, and the recorded one.
    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String>;

    /// Records the key with this fingerprint for the host, if the host presents it now.
    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String>;

    /// A new connection, measured phase by phase, over which a script runs.
    async fn diagnose(&self, host: &Endpoint, _request: Exec) -> Diagnosis {
        let end = Err(format!("{} is not reached over SSH", host.name));
        Diagnosis { phases: vec![PhaseReport { name: "tcp", took: Duration::ZERO, end }], report: None }
    }

    /// Removes the recorded keys of the host, and closes the connection that they proved; returns their number.
    async fn forget_host_key(&self, host: &Endpoint) -> Result<usize, String> {
        Err(format!("no keys of {} are recorded here", host.name))
    }
}

/// Why no connection could be opened through a host.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenError {
    /// The host reported that no process listens there.
    Refused(String),
    /// The host does not allow it, or did not answer in time.
    Blind(String),
    /// The host could not be reached.
    NoContact(String),
}

impl OpenError {
    /// The reason, for any kind.
    pub fn why(self) -> String {
        match self {
            OpenError::Refused(why) | OpenError::Blind(why) | OpenError::NoContact(why) => why,
        }
    }
}

/// The presented key of a host, and its state in the host-key store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostKey {
    /// `SHA256:...`
    pub fingerprint: String,
    /// `ssh-ed25519`
    pub algorithm: String,
    pub known: KeyState,
}

/// The state of a presented key in the host-key store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    Known,
    Unknown,
    /// Another key is recorded; this may be a machine-in-the-middle.
    Changed,
    /// Marked `@revoked`.
    Revoked,
}

/// Probes services through a host's connection.
///
/// If an implementation connects in any other way than through that host, a check passes for the
/// wrong machine.
#[async_trait]
pub trait Prober: Send + Sync {
    /// One `http`, `tcp` or `tls` probe.
    async fn probe(&self, host: &Endpoint, probe: &Probe, timeout: Duration) -> Observation;
}

/// The position where a probe of a log ended, so that the next one continues there.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPosition {
    pub inode: String,
    /// In bytes.
    pub offset: u64,
    /// Checksums by which the next probe recognises the file, and the newest rotated one; empty if an earlier build
    /// has stored the position. The text is that of `log.sh`.
    pub trace: String,
    pub at: Timestamp,
}

/// The reader, the host and the check: each reader continues at its own position.
pub type PlaceKey<'a> = (&'a str, &'a HostName, &'a CheckId);

/// The positions where probes of logs ended.
///
/// If an implementation loses one, lines are read twice; if it invents one, lines are never read.
#[async_trait]
pub trait Places: Send + Sync {
    /// The position where the last probe ended, if there was one.
    async fn place(&self, key: PlaceKey<'_>) -> Result<Option<LogPosition>, StoreError>;
    /// Stores the position where this probe ended.
    async fn keep_place(&self, key: PlaceKey<'_>, place: LogPosition) -> Result<(), StoreError>;
}

/// Load balancers.
///
/// If an implementation reports [`Change::Done`] without proof, steps run on hosts that still serve;
/// if it reports [`Change::Refused`] when something changed, a host stays drained without a debt; if its
/// [`BalancerView`] counts servers that do not serve, capacity falls below the floor.
#[async_trait]
pub trait BalancerDriver: Send + Sync {
    /// The states of the members, and how many servers serve in all; nothing is changed. An error names the
    /// balancer's host that could not be queried, and the next thing to try.
    async fn inspect(&self, balancer: &Balancer, members: &[Member]) -> Result<BalancerView, String>;
    /// Drains the members, all in one change, and waits until their requests have ended. Members for
    /// which there is no room above the floor are kept.
    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change;
    /// Enables the members, all in one change.
    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change;
}

/// The journal and everything that is folded from it.
///
/// An event that [`Store::append`] has returned must survive `kill -9` and loss of power; if it does
/// not, a host can be out of rotation without a record. Projections (debts, leases, releases) must
/// change in the same transaction as the event that causes them.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes the plan, takes its leases and appends `RunStarted`. A run that an agent proposed takes none before it is approved.
    async fn create_run(&self, plan: &Plan, by: &Operator, start: RunStart) -> Result<Event, StoreError>;
    /// Takes the leases of a run that an agent proposed, before it is approved.
    async fn take_leases(&self, run: RunId, now: Timestamp) -> Result<(), StoreError>;
    /// Appends facts in order, all or none of them.
    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError>;
    /// The run that an operator's request with this key has started, and the digest of that request.
    async fn run_of_request(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError>;
    /// A run with its whole journal.
    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError>;
    /// The newest runs, newest first.
    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError>;
    /// Runs without an end, oldest first.
    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError>;
    /// Open debts, oldest first.
    async fn debts(&self) -> Result<Vec<Debt>, StoreError>;
    /// The last releases that each host took over, newest first.
    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError>;
    /// The last facts of each host.
    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError>;
    /// Operators' marks on releases, oldest first.
    async fn marks(&self) -> Result<Vec<ReleaseMark>, StoreError>;
    /// Adds a mark.
    async fn mark(&self, mark: ReleaseMark) -> Result<(), StoreError>;
}

/// The journal of all runs, in its order.
///
/// If an implementation leaves an event out, programs that follow it take a state for true that is not.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The events behind number `after`, oldest first, at most `limit`.
    async fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;
    /// The number of the last event before this time; 0 if there is none.
    async fn last_before(&self, time: Timestamp) -> Result<u64, StoreError>;
    /// The hash of an event in the chain of the journal.
    async fn hash_of(&self, seq: u64) -> Result<Option<String>, StoreError>;
    /// What retention has removed from the journal.
    async fn removed(&self) -> Result<RemovedEvents, StoreError>;
    /// The number of the newest event, and its changes.
    fn newest(&self) -> watch::Receiver<u64>;
}

/// The oldest part of the journal, which retention has removed; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedEvents {
    /// The last removed event, and its time.
    pub last: u64,
    pub at: Option<Timestamp>,
    /// The last removed run.
    pub run: u64,
}

/// Leases of operators.
///
/// If an implementation grants two that exclude each other, two operators work on the same host.
#[async_trait]
pub trait Leases: Send + Sync {
    /// The open leases, oldest first.
    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError>;
    /// Grants a lease, or reports what is in its way. With `take_over`, leases of others that are in the way end.
    async fn grant(&self, lease: Lease, take_over: bool) -> Result<Lease, StoreError>;
    /// Ends a lease; false if it was not open.
    async fn end_lease(&self, id: u64, end: LeaseEnd) -> Result<bool, StoreError>;
    /// How a lease ended, if an operator ended it.
    async fn lease_end(&self, id: u64) -> Result<Option<LeaseEnd>, StoreError>;
}

/// Requests for temporary rights, and those that were granted.
///
/// If an implementation grants a request twice, its time begins anew; if it loses an end, a right outlives it.
#[async_trait]
pub trait RightStore: Send + Sync {
    /// Requests that wait and rights that hold, oldest first.
    async fn rights(&self, now: Timestamp) -> Result<Vec<TemporaryRight>, StoreError>;
    /// Stores a request, and returns its number; `None` if the operator has too many.
    async fn ask_right(&self, right: TemporaryRight) -> Result<Option<u64>, StoreError>;
    /// Grants a request; false if it is over, or was granted before.
    async fn grant_right(&self, id: u64, grant: RightGrant) -> Result<bool, StoreError>;
    /// Ends a request or a right; false if it is over.
    async fn end_right(&self, id: u64, end: RightEnd) -> Result<bool, StoreError>;
}

/// The stored states of watched checks.
///
/// If [`Watches::keep`] reports a batch as stored of which parts are missing, alerts are sent twice, or never.
#[async_trait]
pub trait Watches: Send + Sync {
    /// The states as last stored, and the downtimes that were not ended early.
    async fn watched(&self) -> Result<(HashMap<WatchedId, Watched>, Vec<Downtime>), StoreError>;
    /// Stores a batch: all of it, or nothing.
    async fn keep(&self, batch: Arc<Batch>) -> Result<(), StoreError>;
    /// Starts a downtime; returns its number.
    async fn begin_downtime(&self, downtime: &Downtime) -> Result<u64, StoreError>;
    /// An operator ended the downtime.
    async fn end_downtime(&self, id: u64) -> Result<(), StoreError>;
    /// The stored records of a host's checks: at most `limit` probes of each, the newest; oldest first.
    async fn history(&self, host: &HostName, limit: usize) -> Result<Vec<History>, StoreError>;
    /// Assigns the records that an earlier build stored under the bare name of a check to the one check with that name.
    /// Call before [`Watches::watched`].
    async fn adopt(&self, checks: BTreeMap<HostName, Vec<CheckId>>) -> Result<(), StoreError>;
    /// Deletes older probes and changes of some checks from the position `from` on; returns where to continue, and 0
    /// after the last one.
    async fn prune(&self, samples: Timestamp, changes: Timestamp, from: u64) -> Result<u64, StoreError>;
}

/// Fetches files from addresses that the configuration names. If it lies, a plan refuses the file: its SHA-256 decides.
#[async_trait]
pub trait Fetcher: Send + Sync {
    /// Sends the file at `url`, and its end. The error says why there is none.
    async fn fetch(&self, url: &str, bounds: FetchBounds, to: mpsc::Sender<Piece>) -> Result<(), String>;
}

/// The limits of a file that is fetched.
#[derive(Clone, Copy, Debug)]
pub struct FetchBounds {
    /// In bytes.
    pub max_size: u64,
    /// Whether link-local addresses may be asked.
    pub link_local: bool,
}

/// Delivers messages to people.
///
/// If an implementation reports a lost message as delivered, people are not notified; in the opposite case, they
/// are notified twice.
#[async_trait]
pub trait Messenger: Send + Sync {
    async fn send(&self, channel: &Channel, notice: &Notice) -> Result<(), SendError>;
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq)]
pub enum SendError {
    /// The service is down: no message can be delivered.
    Down(String),
    /// The service refused this message.
    Refused(String),
}

/// The present secrets.
///
/// If [`Secrets::masks`] lacks one that a step may print, it stays in the journal.
pub trait Secrets: Send + Sync {
    /// The secrets that the steps of a run may read on one host, by name.
    fn of(&self, run: RunId, plan: &Plan, host: &HostName) -> SecretVars;
    /// Hides every secret that the run may read; without a run, those of the configuration.
    fn masks(&self, run: Option<RunId>) -> Arc<Masks>;
    /// Keeps the secrets given for one run, in memory, until they are forgotten.
    fn keep(&self, run: RunId, given: Given);
    /// Removes these from memory.
    fn forget(&self, run: RunId);
}

/// Treats every probe of a log as the first one.
pub struct NoPlaces;

#[async_trait]
impl Places for NoPlaces {
    async fn place(&self, _: PlaceKey<'_>) -> Result<Option<LogPosition>, StoreError> {
        Ok(None)
    }

    async fn keep_place(&self, _: PlaceKey<'_>, _: LogPosition) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An implementation without secrets.
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

/// When a run starts, and what allowed it.
#[derive(Clone, Debug)]
pub struct RunStart {
    pub at: Timestamp,
    pub granted: Option<RunGrant>,
}

impl From<Timestamp> for RunStart {
    fn from(at: Timestamp) -> RunStart {
        RunStart { at, granted: None }
    }
}

/// A run as it is in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    pub id: RunId,
    pub plan: Plan,
    pub by: String,
    pub events: Vec<Event>,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another run holds the group.
    #[error("{scope} is in the hands of run {run} by {by}; try: watch {run}, or --wait")]
    Busy { scope: String, run: RunId, by: String },
    /// An operator holds some of the hosts.
    #[error("{} {} of {} is in the way", lease.kind, lease.id, lease.by)]
    Held { lease: Box<Lease>, hosts: BTreeSet<HostName> },
    /// The stored run does not match its journal.
    #[error(
        "run {run} was changed in the store: {what}; rollcall does nothing with it; try: restore the store from a copy"
    )]
    Changed { run: RunId, what: String },
    /// An earlier request with the same key has started a run.
    #[error("a request with the same key has started a run just now; try: send it again")]
    Repeated,
    #[error("{0}")]
    Failed(String),
}
