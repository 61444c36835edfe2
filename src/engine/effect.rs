//! Doing what was decided. Each effect ends in exactly one event; trouble is a value in it, never an
//! error of the call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Ports;
use super::feed::Live;
use super::port::{Exec, ExecEnd, ExecReport, Input, Member};
use super::script;
use super::verify::{Eyes, verify};
use crate::domain::bracket::Phase;
use crate::domain::digest::sha256_hex;
use crate::domain::event::{Change, EventKind, Progress, Stage, Way, operation_id};
use crate::domain::name::HostName;
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::domain::output::Output;
use crate::domain::plan::{HostPlan, Kind, Plan, with_previous};
use crate::domain::rollout::Effect;
use crate::domain::run::Run;
use crate::domain::shell;
use crate::domain::task::{Files, Source, Step, StepBody};

/// How long the first look at a host may take, once it is connected.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a guard may take.
const GUARD_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of one command that wait to be published; more are dropped.
const LINES_CAPACITY: usize = 64;

/// What an effect needs, as values: nothing of it refers to the run's state.
pub struct Work {
    pub ports: Ports,
    pub live: Arc<Live>,
    pub effect: Effect,
    /// What the host's link pointed to, for the way back.
    pub previous: Option<String>,
    /// The way the host is on, for choosing its checks.
    pub way: Way,
    /// Ends commands on the way forward when an operator wants so.
    pub cancel: CancellationToken,
}

impl Work {
    /// The work of `effect` as things stand in `run`.
    pub fn new(
        ports: &Ports,
        live: &Arc<Live>,
        run: &Run,
        effect: Effect,
        cancel: &CancellationToken,
    ) -> Work {
        let host = match &effect {
            Effect::Observe { host } | Effect::Step { host, .. } | Effect::Checks { host, .. } => {
                run.hosts.get(host)
            }
            Effect::Drain { .. } | Effect::Enable { .. } | Effect::Redrain { .. } => None,
        };
        let way = match host.map(|host| &host.phase) {
            Some(Phase::Working { way, .. } | Phase::Gating { way, .. } | Phase::Serving { way, .. }) => *way,
            _ => Way::Forward,
        };
        // The way back is walked to its end, whatever is cancelled; and what is in rotation is looked at
        // before it is told: a look that was cancelled would call it failing.
        let roll = matches!(effect, Effect::Checks { stage: Stage::Roll | Stage::Watch, .. })
            && run.plan.has_bracket();
        let to_its_end = way != Way::Forward || roll;
        let cancel = if to_its_end { CancellationToken::new() } else { cancel.clone() };
        let previous = host.and_then(|host| host.previous.clone());
        Work { ports: ports.clone(), live: live.clone(), effect, previous, way, cancel }
    }

    /// Does it.
    pub async fn perform(self) -> EventKind {
        match &self.effect {
            Effect::Observe { host } => self.observe(host).await,
            Effect::Drain { balancer, hosts } => self.drain(balancer, hosts, |plan| plan.held).await,
            Effect::Redrain { balancer, hosts } => {
                let change = self.change(balancer, hosts, |_| true, Side::Out).await;
                EventKind::RedrainEnded { balancer: balancer.clone(), hosts: hosts.clone(), change }
            }
            Effect::Enable { balancer, hosts } => {
                let change = self.change(balancer, hosts, |_| true, Side::In).await;
                EventKind::EnableEnded { balancer: balancer.clone(), hosts: hosts.clone(), change }
            }
            Effect::Step { host, way, step, attempt } => self.step(host, *way, *step, *attempt).await,
            Effect::Checks { host, stage } => self.checks(host, *stage).await,
        }
    }

    /// Learns what became of it after another process had started it. Looks are repeated and changes of a
    /// balancer are absolute; a step is never begun again.
    pub async fn resume(self) -> EventKind {
        match &self.effect {
            Effect::Step { .. } => crashed(&self.effect),
            // The intent is in the journal: who is found out is taken for ours.
            Effect::Drain { balancer, hosts } => self.drain(balancer, hosts, |_| true).await,
            _ => self.perform().await,
        }
    }

    async fn drain(&self, balancer: &str, hosts: &[HostName], ours: fn(&HostPlan) -> bool) -> EventKind {
        let change = self.change(balancer, hosts, ours, Side::Out).await;
        EventKind::DrainEnded { balancer: balancer.into(), hosts: hosts.to_vec(), change }
    }

    fn plan(&self, host: &HostName) -> Option<&HostPlan> {
        self.live.plan.hosts.get(host)
    }

    async fn change(
        &self,
        balancer: &str,
        hosts: &[HostName],
        ours: fn(&HostPlan) -> bool,
        side: Side,
    ) -> Change {
        let plan = &self.live.plan;
        let Some(target) = plan.balancers.get(balancer) else {
            return Change::Refused { why: format!("the plan has no balancer `{balancer}`") };
        };
        let members = members(plan, hosts, ours);
        match side {
            Side::Out => self.ports.balancers.drain(target, &members).await,
            Side::In => self.ports.balancers.enable(target, &members).await,
        }
    }

    async fn observe(&self, host: &HostName) -> EventKind {
        let Some(plan) = self.plan(host) else {
            return observe_failed(host, FailureKind::Step, "not in the plan".into());
        };
        let report = self.exec(plan, script::observe(plan), Input::None, OBSERVE_TIMEOUT).await;
        // A login that greets prints its own lines first.
        let text = report.stdout.last_line();
        match report.end {
            ExecEnd::Exited(0) => EventKind::Observed {
                host: host.clone(),
                previous: text.strip_prefix("to ").map(String::from),
            },
            end => {
                let reached = matches!(end, ExecEnd::Exited(_) | ExecEnd::Signalled(_));
                let kind = if reached { FailureKind::Step } else { FailureKind::Unreachable };
                observe_failed(host, kind, describe(&end, &report.stderr))
            }
        }
    }

    async fn checks(&self, host: &HostName, stage: Stage) -> EventKind {
        let mut results = Vec::new();
        if let Some(plan) = self.plan(host) {
            let eyes = Eyes {
                remote: &*self.ports.remote,
                prober: &*self.ports.prober,
                cancel: self.cancel.clone(),
            };
            let checks = if self.way == Way::Back { &plan.checks_back } else { &plan.checks };
            results = verify(&eyes, &plan.endpoint, checks).await;
        }
        EventKind::ChecksEnded { host: host.clone(), stage, results }
    }

    async fn step(&self, host: &HostName, way: Way, at: usize, attempt: u32) -> EventKind {
        let begun = Instant::now();
        let mut name = format!("step {at}");
        let done = match self.step_of(host, way, at) {
            Ok((plan, step)) => {
                name = step.name.clone();
                let operation = operation_id(self.live.id, host, way, at, attempt);
                Attempt { work: self, plan, step: &step, operation }.perform().await
            }
            Err(why) => Done::failed(why),
        };
        EventKind::StepEnded {
            host: host.clone(),
            way,
            step: at,
            name,
            attempt,
            outcome: done.outcome,
            stdout: done.stdout,
            stderr: done.stderr,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn step_of(&self, host: &HostName, way: Way, at: usize) -> Result<(&HostPlan, Step), String> {
        let plan = self.plan(host).ok_or("not in the plan")?;
        if way != Way::Back {
            return Ok((plan, plan.steps.get(at).ok_or("no such step")?.clone()));
        }
        let vars = with_previous(&plan.vars, self.previous.as_deref().unwrap_or_default());
        Ok((plan, plan.rollback.get(at).ok_or("no such step")?.render(&vars, &NoFiles)?))
    }

    async fn exec(&self, plan: &HostPlan, script: String, input: Input, timeout: Duration) -> ExecReport {
        let request = Exec { script, input, timeout, cancel: self.cancel.clone(), lines: None };
        self.ports.remote.exec(&plan.endpoint, request).await
    }

    /// The same, for what people want to see while it runs.
    async fn exec_shown(&self, plan: &HostPlan, script: String, timeout: Duration) -> ExecReport {
        let lines = self.follow(plan);
        let request = Exec { script, input: Input::None, timeout, cancel: self.cancel.clone(), lines };
        self.ports.remote.exec(&plan.endpoint, request).await
    }

    /// Publishes lines as progress, for as long as somebody watches.
    fn follow(&self, plan: &HostPlan) -> Option<mpsc::Sender<String>> {
        if self.live.progress.receiver_count() == 0 {
            return None;
        }
        let (sender, mut lines) = mpsc::channel::<String>(LINES_CAPACITY);
        let (progress, host) = (self.live.progress.clone(), plan.endpoint.name.clone());
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                // Nobody watching any more is no trouble of the step.
                let _ = progress.send(Progress { host: host.clone(), line });
            }
        });
        Some(sender)
    }
}

/// The members of a balancer that these hosts are. `ours` says of which an open debt stands in the journal,
/// so that finding it out of rotation says nothing of somebody else.
pub fn members(plan: &Plan, hosts: &[HostName], ours: impl Fn(&HostPlan) -> bool) -> Vec<Member> {
    let member = |host: &HostName| {
        let plan = plan.hosts.get(host)?;
        Some(Member { host: host.clone(), seat: plan.balancer.clone()?, ours: ours(plan) })
    };
    hosts.iter().filter_map(member).collect()
}

fn observe_failed(host: &HostName, kind: FailureKind, why: String) -> EventKind {
    EventKind::ObserveFailed { host: host.clone(), failure: Failure { kind, why } }
}

/// The side of a balancer that hosts are moved to.
enum Side {
    In,
    Out,
}

/// Rollback steps carry their files with them: the plan has put them in.
struct NoFiles;

impl Files for NoFiles {
    fn sha256(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn text(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }
}

struct Done {
    outcome: Outcome,
    stdout: Output,
    stderr: Output,
}

impl Done {
    fn failed(why: String) -> Done {
        Done {
            outcome: Outcome::Failed { code: None, why },
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }

    fn unchanged() -> Done {
        Done { outcome: Outcome::Unchanged, stdout: Output::default(), stderr: Output::default() }
    }
}

/// One attempt of one step.
struct Attempt<'a> {
    work: &'a Work,
    plan: &'a HostPlan,
    step: &'a Step,
    operation: String,
}

impl Attempt<'_> {
    async fn perform(&self) -> Done {
        if let Some(done) = self.guarded().await {
            return done;
        }
        match &self.step.body {
            StepBody::Run { script, .. } => self.run(script).await,
            StepBody::Link { from, at } => {
                self.own(script::LINK, &[from, at, &self.suffix()], Input::None).await
            }
            StepBody::Upload { source, to, mode } => self.upload(source, to, *mode).await,
        }
    }

    /// Temporary names on the host carry the operation id, so that nobody takes another's.
    fn suffix(&self) -> String {
        format!("rollcall-{}", self.operation.replace('/', "-"))
    }

    /// Some when a guard says that there is nothing to do, or could not be asked.
    async fn guarded(&self) -> Option<Done> {
        let guard = script::guard(self.step)?;
        let report = self.exec(guard, Input::None, GUARD_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) => Some(Done::unchanged()),
            ExecEnd::Exited(_) => None,
            _ => Some(self.done(report, |_| Outcome::Ok)),
        }
    }

    /// What the operator wrote ad hoc goes to the login's shell, as with `ssh`; steps go to `sh`.
    async fn run(&self, script: &str) -> Done {
        let script = match (&self.work.live.plan.kind, script::run_script(self.step)) {
            (Kind::Run, _) | (_, None) => script.to_string(),
            (_, Some(script)) => script::run_as(&script, &self.step.sudo),
        };
        let report = self.work.exec_shown(self.plan, script, self.step.timeout).await;
        self.done(report, |_| Outcome::Ok)
    }

    /// One of rollcall's own scripts: its last line says whether something changed.
    async fn own(&self, body: &str, arguments: &[&str], input: Input) -> Done {
        let report = self.exec(shell::with_arguments(body, arguments), input, self.step.timeout).await;
        self.done(report, |stdout| match stdout.last_line() {
            "unchanged" => Outcome::Unchanged,
            _ => Outcome::Ok,
        })
    }

    async fn upload(&self, source: &Source, to: &str, mode: u32) -> Done {
        let (sha256, input) = match source {
            Source::File { path, sha256 } => {
                (sha256.clone(), Input::File(self.work.live.plan.files_root.join(path)))
            }
            Source::Text(text) => (sha256_hex(text.as_bytes()), Input::Bytes(Bytes::from(text.clone()))),
            Source::Template { path } => {
                return Done::failed(format!("files/{path} was not rendered by the plan"));
            }
        };
        let report =
            self.exec(shell::with_arguments(script::DIGEST, &[to]), Input::None, GUARD_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.done(report, |_| Outcome::Ok);
        }
        let mode = format!("{mode:o}");
        if report.stdout.last_line() == sha256 {
            return self.own(script::MODE, &[to, &mode], Input::None).await;
        }
        self.own(script::RECEIVE, &[to, &sha256, &mode, &self.suffix()], input).await
    }

    async fn exec(&self, script: String, input: Input, timeout: Duration) -> ExecReport {
        self.work.exec(self.plan, script::run_as(&script, &self.step.sudo), input, timeout).await
    }

    fn done(&self, report: ExecReport, good: impl FnOnce(&Output) -> Outcome) -> Done {
        let outcome = match report.end {
            ExecEnd::Exited(0) => good(&report.stdout),
            ExecEnd::Exited(code) => {
                Outcome::Failed { code: Some(code), why: describe(&report.end, &report.stderr) }
            }
            ExecEnd::Signalled(_) => {
                Outcome::Failed { code: None, why: describe(&report.end, &report.stderr) }
            }
            ExecEnd::TimedOut => Outcome::Timeout {
                after_ms: u64::try_from(self.step.timeout.as_millis()).unwrap_or(u64::MAX),
            },
            ExecEnd::Cancelled => Outcome::Cancelled,
            ExecEnd::Lost(why) => Outcome::Lost { why },
            ExecEnd::NotStarted(why) => Outcome::NotStarted { why },
        };
        Done { outcome, stdout: report.stdout, stderr: report.stderr }
    }
}

/// An end that is no success, in words.
pub fn describe(end: &ExecEnd, stderr: &Output) -> String {
    let said = match stderr.last_line() {
        "" => String::new(),
        line => format!(": {line}"),
    };
    match end {
        ExecEnd::Exited(code) => format!("exit status {code}{said}"),
        ExecEnd::Signalled(signal) => format!("ended by signal {signal}{said}"),
        ExecEnd::TimedOut => "took too long and was ended".into(),
        ExecEnd::Cancelled => "cancelled".into(),
        ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => why.clone(),
    }
}

/// The event of an effect that panicked: a bug of ours, which must not leave its host without an end.
pub fn crashed(effect: &Effect) -> EventKind {
    let why = || "rollcall failed inside this effect; please report it with the daemon's log".to_string();
    match effect.clone() {
        Effect::Observe { host } => {
            EventKind::ObserveFailed { host, failure: Failure { kind: FailureKind::Step, why: why() } }
        }
        Effect::Drain { balancer, hosts } => {
            EventKind::DrainEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Enable { balancer, hosts } => {
            EventKind::EnableEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Redrain { balancer, hosts } => {
            EventKind::RedrainEnded { balancer, hosts, change: Change::Unknown { why: why() } }
        }
        Effect::Checks { host, stage } => EventKind::ChecksEnded {
            host,
            stage,
            results: vec![crate::domain::check::CheckResult {
                check: "all".into(),
                verdict: crate::domain::outcome::Verdict::Unknown,
                text: why(),
                looks: 0,
            }],
        },
        Effect::Step { host, way, step, attempt } => EventKind::StepEnded {
            host,
            way,
            step,
            name: format!("step {step}"),
            attempt,
            outcome: Outcome::Lost { why: why() },
            stdout: Output::default(),
            stderr: Output::default(),
            took_ms: 0,
        },
    }
}
