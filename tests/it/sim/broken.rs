//! Parts that lie, each in one way: the invariants have to find them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollcall::domain::ask::access::Operator;
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::base::output::{KEEP_BYTES, Output};
use rollcall::domain::inventory::inventory::{Balancer, Endpoint};
use rollcall::domain::inventory::rotation::BalancerView;
use rollcall::domain::plan::plan::Plan;
use rollcall::domain::plan::release::{ReleaseMark, ReleaseTakeover};
use rollcall::domain::run::event::{Change, Event, EventKind};
use rollcall::domain::run::record::{Debt, RunSummary};
use rollcall::domain::task::facts::Gathered;
use rollcall::engine::ports::Ports;
use rollcall::port::{
    BalancerDriver, Exec, ExecEnd, ExecReport, HostKey, Input, Member, OpenError, Program, Remote, RunStart,
    Store, StoreError, StoredRun, Stream,
};
use rollcall::steps::ports::HostPorts;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    None,
    /// A driver that says `Done` of a drain that it did not do.
    DrainsNothing,
    /// The same of an enable.
    EnablesNothing,
    /// A store that answers before it has written the intent to drain.
    ForgetsDebts,
    /// A fleet that says `NotStarted` of a command whose end it did not see.
    CallsLostNotStarted,
    /// A fleet that says that every check of the version is good.
    SeesNoBadVersion,
    /// A fleet that sends every step twice, the second time under another name.
    SendsTwice,
}

/// The ports with the bug in them.
pub fn with_bug(bug: Bug, ports: Ports) -> Ports {
    let Ports { hosts, balancers, store, .. } = ports.clone();
    let remote = Arc::new(BrokenFleet { bug, real: hosts.remote.clone() });
    Ports {
        hosts: HostPorts { remote, ..hosts },
        balancers: Arc::new(BrokenDriver { bug, real: balancers }),
        store: Arc::new(BrokenStore { bug, real: store }),
        ..ports
    }
}

struct BrokenDriver {
    bug: Bug,
    real: Arc<dyn BalancerDriver>,
}

#[async_trait]
impl BalancerDriver for BrokenDriver {
    async fn inspect(&self, balancer: &Balancer, members: &[Member]) -> Result<BalancerView, String> {
        self.real.inspect(balancer, members).await
    }

    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match self.bug {
            Bug::DrainsNothing => Change::done(""),
            _ => self.real.drain(balancer, members).await,
        }
    }

    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match self.bug {
            Bug::EnablesNothing => Change::done(""),
            _ => self.real.enable(balancer, members).await,
        }
    }
}

struct BrokenFleet {
    bug: Bug,
    real: Arc<dyn Remote>,
}

#[async_trait]
impl Remote for BrokenFleet {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        if self.bug == Bug::SeesNoBadVersion && asks_for_the_version(&request) {
            let stdout = Output { text: format!("{}\n", super::world::NEW), ..Output::default() };
            return ExecReport { end: ExecEnd::Exited(0), stdout, stderr: Output::default() };
        }
        if self.bug == Bug::SendsTwice
            && let Some(again) = under_another_name(&request)
        {
            self.real.exec(host, again).await;
        }
        let mut report = self.real.exec(host, request).await;
        report.end = match report.end {
            ExecEnd::Lost(why) if self.bug == Bug::CallsLostNotStarted => ExecEnd::NotStarted(why),
            end => end,
        };
        report
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.real.open(host, address, port).await
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        self.real.open_unix(host, path).await
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        self.real.host_key(host).await
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        self.real.accept_host_key(host, fingerprint).await
    }
}

fn asks_for_the_version(request: &Exec) -> bool {
    matches!(&request.program, Program::Script(script) if script.contains("version"))
}

/// The same step as another operation, which no host can know to be the same.
fn under_another_name(request: &Exec) -> Option<Exec> {
    let Program::Own { text, arguments } = &request.program else { return None };
    let [verb, name, ..] = &arguments[..] else { return None };
    if verb != "start" {
        return None;
    }
    let Input::Bytes(input) = &request.input else { return None };
    let other = format!("{name}0");
    Some(Exec {
        program: Program::Own {
            text,
            arguments: arguments.iter().map(|word| word.replace(name, &other)).collect(),
        },
        sudo: request.sudo.clone(),
        input: Input::Bytes(String::from_utf8_lossy(input).replace(name, &other).into()),
        timeout: request.timeout,
        cancel: request.cancel.clone(),
        lines: None,
        fresh: false,
        keep_bytes: KEEP_BYTES,
        sink: None,
        recorder: None,
        masks: Default::default(),
    })
}

struct BrokenStore {
    bug: Bug,
    real: Arc<dyn Store>,
}

#[async_trait]
impl Store for BrokenStore {
    async fn create_run(&self, plan: &Plan, by: &Operator, start: RunStart) -> Result<Event, StoreError> {
        self.real.create_run(plan, by, start).await
    }

    async fn take_leases(&self, run: RunId, now: Timestamp) -> Result<(), StoreError> {
        self.real.take_leases(run, now).await
    }

    async fn append(
        &self,
        run: RunId,
        at: Timestamp,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, StoreError> {
        let is_drain = |kind: &EventKind| matches!(kind, EventKind::DrainStarted { .. });
        if self.bug == Bug::ForgetsDebts && kinds.iter().any(is_drain) {
            return Ok(kinds.into_iter().map(|kind| Event { seq: 0, run, at, kind }).collect());
        }
        self.real.append(run, at, kinds).await
    }

    async fn run_of_request(&self, by: &str, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        self.real.run_of_request(by, key).await
    }

    async fn load(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.real.load(run).await
    }

    async fn runs(&self, last: usize) -> Result<Vec<RunSummary>, StoreError> {
        self.real.runs(last).await
    }

    async fn open_runs(&self) -> Result<Vec<RunId>, StoreError> {
        self.real.open_runs().await
    }

    async fn debts(&self) -> Result<Vec<Debt>, StoreError> {
        self.real.debts().await
    }

    async fn taken(&self) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, StoreError> {
        self.real.taken().await
    }

    async fn facts(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError> {
        self.real.facts().await
    }

    async fn marks(&self) -> Result<Vec<ReleaseMark>, StoreError> {
        self.real.marks().await
    }

    async fn mark(&self, mark: ReleaseMark) -> Result<(), StoreError> {
        self.real.mark(mark).await
    }
}
