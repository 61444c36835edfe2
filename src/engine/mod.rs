//! Drives runs: one loop for each, which appends, applies, publishes and acts, in this order. Knows the
//! domain and tokio; everything else is behind a port.

mod crashed;
mod drive;
mod effect;
pub mod feed;
mod gate;
mod guard;
mod hands;
mod here;
mod hook;
mod leases;
mod logged;
mod masked;
mod needed;
pub mod ports;
pub mod preflight;
pub mod programs;
pub mod queue;
mod recover;
pub mod standing;
mod start;
pub mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use tokio::sync::{MutexGuard, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::drive::Begin;
use self::feed::{Control, Follower, Live, Over};
pub use self::hands::{Hands, HeldHosts};
pub use self::leases::{Holding, Keeper};
use self::logged::log;
use self::ports::Ports;
use self::queue::Ticket;
pub use self::start::StartError;
use crate::domain::ask::access::{Granted, Operator};
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::domain::lease::claim::Claim;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::RunGrant;
use crate::domain::run::request::RunRequest;
use crate::domain::value::secret::{Given, Masks};
use crate::panics::caught;
use crate::port::talk::Talk;
use crate::port::{RunStart, StoreError};

/// How long hosts may take to finish their bracket when rollcall is stopping. After that, runs stop
/// between two steps; steps that still run after the same time again are left running, and the next
/// start asks for their results. Service managers wait for 90 seconds.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// Most checks and the like that one operator may have under way. Each keeps its plan in memory; viewers start them.
const RUNS_LIMIT_PER_OPERATOR: usize = 32;

/// The same for all operators. Tasks and balancer changes are never refused by it: a rollback may be needed.
const RUNS_LIMIT: usize = 256;

/// Most runs of one operator that an agent has proposed and that have not ended: people have to read each of them.
const PROPOSALS_LIMIT: usize = 4;

/// True for runs that change no host by a task or in a balancer.
fn has_own_limit(kind: &RunKind) -> bool {
    match kind {
        RunKind::Check | RunKind::Facts | RunKind::DryRun { .. } | RunKind::Run => true,
        RunKind::Release { .. } | RunKind::Task { .. } | RunKind::Drain | RunKind::Enable => false,
    }
}

/// The handle with which doors start, follow and cancel runs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    ports: Ports,
    live: Arc<Mutex<BTreeMap<RunId, Arc<Live>>>>,
    /// The number of runs under way, for callers that wait until there are none.
    busy: Arc<watch::Sender<usize>>,
    draining: Arc<watch::Sender<bool>>,
    /// Stops further decisions of all runs.
    hurry: CancellationToken,
    hands: Arc<Hands>,
    keeper: Keeper,
    /// Proposals are counted and started one at a time.
    proposing: Arc<tokio::sync::Mutex<()>>,
}

/// Counts one run as under way, until it is dropped.
struct Busy(Arc<watch::Sender<usize>>);

impl Busy {
    fn new(runs: &Arc<watch::Sender<usize>>) -> Busy {
        runs.send_modify(|runs| *runs += 1);
        Busy(runs.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|runs| *runs -= 1);
    }
}

impl Engine {
    /// An engine without runs.
    pub fn new(ports: Ports) -> Engine {
        let draining = Arc::new(watch::Sender::new(false));
        let keeper = Keeper::new(ports.leases.clone(), ports.hosts.clock.clone(), draining.clone());
        Engine {
            ports,
            live: Arc::default(),
            busy: Arc::new(watch::Sender::new(0)),
            draining,
            hurry: CancellationToken::new(),
            hands: Arc::default(),
            keeper,
            proposing: Arc::default(),
        }
    }

    /// The ports, for answers that need no run. Only a granted command reaches stores and hosts.
    pub fn ports_for(&self, _proof: &Granted) -> &Ports {
        &self.ports
    }

    /// Locks, holds, and the queue.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Hides the secrets of all runs.
    pub fn masks(&self) -> Arc<Masks> {
        self.ports.secrets.masks(None)
    }

    /// Starts a run of `plan`. When this returns, the journal holds the run and its leases.
    pub async fn start(&self, granted: &Granted, plan: Plan) -> Result<Follower, StartError> {
        self.start_with(granted, plan, (Given::default(), None)).await
    }

    /// Starts a run with secrets that were given for it, which are kept in memory until it ends; and with its place in
    /// the queue, if it has waited.
    pub async fn start_with(
        &self,
        granted: &Granted,
        plan: Plan,
        (given, ticket): (Given, Option<&Ticket>),
    ) -> Result<Follower, StartError> {
        self.begin(granted, plan, (given, Talk::default()), ticket).await
    }

    /// Starts a command of an operator who sends its input, or reads its output.
    pub async fn start_talking(
        &self,
        granted: &Granted,
        plan: Plan,
        talk: Talk,
    ) -> Result<Follower, StartError> {
        self.begin(granted, plan, (Given::default(), talk), None).await
    }

    async fn begin(
        &self,
        granted: &Granted,
        plan: Plan,
        (given, talk): (Given, Talk),
        ticket: Option<&Ticket>,
    ) -> Result<Follower, StartError> {
        let by = granted.operator();
        // Counted before `draining` is read, so that a caller that waits for the number sees this run.
        let busy = Busy::new(&self.busy);
        if *self.draining.borrow() {
            return Err(StartError::Draining);
        }
        let needs_approval = granted.needs_approval() || plan.broken_glass.is_some();
        let proposed = granted.proposed().map(String::from);
        let plan = Plan { needs_approval: needs_approval && !plan.kind.only_reads(), proposed, ..plan };
        let _proposing = match plan.proposed {
            Some(_) => Some(self.place_for_proposal(&by.name).await?),
            None => None,
        };
        if has_own_limit(&plan.kind) {
            self.check_room(&by.name)?;
        }
        // Ad-hoc commands are short, and do not wait for leases.
        let waits_for_others = !plan.leases.is_empty() && plan.proposed.is_none();
        let claim = Claim::of_run(&plan, &by.name).filter(|_| waits_for_others);
        if let Some(claim) = claim {
            self.keeper.in_turn(&claim, ticket).await?;
        }
        let config = granted.config().map(String::from);
        let grant = RunGrant {
            rule: granted.rule().to_string(),
            audit: granted.row(),
            config,
            request: granted.request().cloned(),
        };
        let start = RunStart { at: self.ports.hosts.clock.now(), granted: Some(grant) };
        let started = self.ports.store.create_run(&plan, by, start).await?;
        let id = started.run;
        self.ports.secrets.keep(id, given);
        let begin = Begin { events: vec![started], effects: vec![] };
        begin.events.iter().for_each(|event| log(&plan, event));
        let watch = self.spawn(id, (plan, talk), &by.name, begin, busy);
        if *self.draining.borrow() {
            // It started while rollcall was stopping: no host of it starts.
            let _ = self.send(id, RunRequest::Suspend, by).await;
        }
        Ok(watch)
    }

    fn check_room(&self, operator: &str) -> Result<(), StartError> {
        let lives = self.lives();
        let all: Vec<&str> = lives
            .values()
            .filter(|live| has_own_limit(&live.plan.kind))
            .map(|live| live.by.as_str())
            .collect();
        let own = all.iter().filter(|by| **by == operator).count();
        match all.len() >= RUNS_LIMIT {
            true => Err(StartError::Crowded(all.len())),
            false if own >= RUNS_LIMIT_PER_OPERATOR => Err(StartError::Crowded(own)),
            false => Ok(()),
        }
    }

    /// Held until the run is among those under way.
    async fn place_for_proposal(&self, operator: &str) -> Result<MutexGuard<'_, ()>, StartError> {
        let guard = self.proposing.lock().await;
        let is_own = |live: &&Arc<Live>| live.plan.proposed.is_some() && live.by == operator;
        match self.lives().values().filter(is_own).count() {
            PROPOSALS_LIMIT.. => Err(StartError::Proposed(PROPOSALS_LIMIT)),
            _ => Ok(guard),
        }
    }

    /// Recovers the runs that were under way when the previous process ended; returns their numbers.
    pub async fn recover(&self) -> Result<Vec<RunId>, StoreError> {
        let mut taken_up = Vec::new();
        for id in self.ports.store.open_runs().await? {
            let busy = Busy::new(&self.busy);
            match recover::take_up(&self.ports, id).await {
                Ok(Some((stored, begin))) => {
                    self.spawn(id, (stored.plan, Talk::default()), &stored.by, begin, busy);
                    taken_up.push(id);
                }
                Ok(None) => {}
                // An unreadable run must not hide the other runs and their debts.
                Err(error) => tracing::error!(run = %id, %error, "cannot be taken up"),
            }
        }
        Ok(taken_up)
    }

    fn spawn(&self, id: RunId, (plan, talk): (Plan, Talk), by: &str, begin: Begin, busy: Busy) -> Follower {
        let (live, requests) = Live::new(id, Arc::new(plan), by.into(), self.hands.clone());
        live.talk.get_or_init(|| talk);
        self.lives().insert(id, live.clone());
        let watch = Follower::new(live.clone());
        let engine = self.clone();
        tokio::spawn(async move {
            let _busy = busy;
            let driving = drive::drive(&engine.ports, &live, begin, requests, engine.hurry.clone());
            if caught(driving).await.is_err() {
                live.close(Over::Broken(
                    "rollcall failed inside; please report it with the daemon's log".into(),
                ));
            }
            engine.lives().remove(&live.id);
            engine.hands.over(live.id);
            engine.ports.secrets.forget(live.id);
            engine.keeper.queue().touch();
        });
        watch
    }

    /// Follows a run under way; `None` when it is not.
    pub fn watch(&self, _proof: &Granted, run: RunId) -> Option<Follower> {
        self.lives().get(&run).cloned().map(Follower::new)
    }

    /// Sends the request of a granted command to a run; the error says why the run does not grant it.
    pub async fn ask(&self, granted: &Granted, run: RunId, request: RunRequest) -> Result<(), Refusal> {
        self.send(run, request, granted.operator()).await
    }

    async fn send(&self, run: RunId, request: RunRequest, who: &Operator) -> Result<(), Refusal> {
        let over = || Refusal::rule(format!("run {run} is not under way")).hint(format!("see: show {run}"));
        let live = self.lives().get(&run).cloned().ok_or_else(over)?;
        let (answer, answered) = oneshot::channel();
        let control = Control { request, who: who.clone(), answer };
        live.control.send(control).await.map_err(|_| over())?;
        answered.await.map_err(|_| over())?
    }

    /// Stops in order: no new run starts, no further host starts, hosts in their bracket finish it if
    /// they can within `STOP_GRACE`. Open runs stay open: the next start recovers them.
    pub async fn drain(&self, by: &Operator) {
        self.draining.send_replace(true);
        for run in self.under_way() {
            // A run that has just ended needs no request.
            let _ = self.send(run, RunRequest::Suspend, by).await;
        }
        if tokio::time::timeout(STOP_GRACE, self.idle()).await.is_ok() {
            return;
        }
        self.hurry.cancel();
        if tokio::time::timeout(STOP_GRACE, self.idle()).await.is_err() {
            tracing::warn!("steps that are still running are left alone; the next start asks for them");
        }
    }

    /// Waits until no run is under way.
    pub async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // The sender lives in `self`, so the wait cannot fail before the number is 0.
        let _ = busy.wait_for(|runs| *runs == 0).await;
    }

    /// The hosts that runs are working on, and their changes.
    pub fn in_hand(&self) -> watch::Receiver<HeldHosts> {
        self.hands.subscribe()
    }

    /// The numbers of the runs under way.
    pub fn under_way(&self) -> Vec<RunId> {
        self.lives().keys().copied().collect()
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
