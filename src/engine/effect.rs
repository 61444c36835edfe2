//! Doing what was decided. Each effect ends in exactly one event; trouble is a value in it, never an
//! error of the call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Ports;
use super::feed::Live;
use super::here;
use super::hook;
use super::kinds;
use super::masked::masked;
use super::port::{Exec, ExecEnd, ExecReport, Input, Member};
use super::script;
use super::step::{Attempt, Done};
use super::wrapper::{self, Answer, Call, Verb};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{Failure, FailureKind, Outcome};
use crate::domain::base::output::{KEEP_BYTES, Output, clipped};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::inventory::rotation::Rotation;
use crate::domain::plan::plan::{HostPlan, Kind, Plan};
use crate::domain::run::bracket::Phase;
use crate::domain::run::event::{Change, EventKind, Stage, Way, operation_id};
use crate::domain::run::leave::known;
use crate::domain::run::rollout::Effect;
use crate::domain::run::run::Run;
use crate::domain::task::hook::Hook;
use crate::domain::task::result::{Answered, judge};
use crate::domain::task::task::{Files, Step, Sudo, TreeFile};
use crate::domain::value::secret::{HIDDEN, Masks};
use crate::domain::value::template::{self, Vars};

/// How long the first look at a host may take, once it is connected.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(30);

/// What an effect needs, as values: nothing of it refers to the run's state.
pub struct Work {
    pub ports: Ports,
    pub live: Arc<Live>,
    pub effect: Effect,
    /// What templates know of the host by now.
    pub known: Vars,
    /// A step before this one has changed something, or would.
    pub after_changes: bool,
    /// The way the host is on, for choosing its checks.
    pub way: Way,
    /// Ends commands on the way forward when an operator wants so.
    pub cancel: CancellationToken,
    /// Hides every secret that the run may come to see.
    pub masks: Arc<Masks>,
    /// The run's, for the records that hosts keep.
    pub mark: String,
    /// For how long it has been under way already, in a run that was interrupted: nothing is begun then that
    /// may have been begun before. The host is asked what became of it.
    pub resumed: Option<Duration>,
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
            Effect::Drain { .. }
            | Effect::Enable { .. }
            | Effect::Redrain { .. }
            | Effect::Snapshot { .. }
            | Effect::Hook { .. } => None,
        };
        let way = match host.map(|host| &host.phase) {
            Some(Phase::Working { way, .. } | Phase::Gating { way, .. } | Phase::Serving { way, .. }) => *way,
            _ => Way::Forward,
        };
        // The way back is walked to its end, whatever is cancelled; and what is in rotation is looked at
        // before it is told: a look that was cancelled would call it failing.
        let rolls = matches!(
            effect,
            Effect::Checks { stage: Stage::Roll | Stage::Watch, .. } | Effect::Snapshot { .. }
        );
        let roll = rolls && run.plan.has_bracket();
        // Nor is what follows a run that was cancelled.
        let follows = matches!(&effect, Effect::Hook { hook, .. } if *hook != Hook::Before);
        let to_its_end = way != Way::Forward || roll || follows;
        let cancel = if to_its_end { CancellationToken::new() } else { cancel.clone() };
        let known = match &effect {
            Effect::Step { host, way, .. } => known(run, host, *way),
            Effect::Observe { host } => known(run, host, Way::Forward),
            Effect::Hook { hook, .. } => hook::known(run, *hook),
            _ => Vars::new(),
        };
        let after_changes = host.is_some_and(|host| host.did.values().any(|did| did.changed));
        let mark = run.asked.mark.clone();
        let masks = ports.secrets.masks(Some(live.id));
        let (ports, live) = (ports.clone(), live.clone());
        Work { ports, live, effect, known, after_changes, way, cancel, masks, mark, resumed: None }
    }

    /// The same work, whose intent was written `age` ago by a rollcall that has ended since. Looks are
    /// repeated, and changes of a balancer are absolute. A step is not begun: what is reported is how it ended, or [`Outcome::NotStarted`] when it certainly never began.
    pub fn resuming(self, age: Duration) -> Work {
        Work { resumed: Some(age), ..self }
    }

    /// Does it, and tells no secret.
    pub async fn perform(self) -> EventKind {
        masked(self.act().await, &self.masks)
    }

    async fn act(&self) -> EventKind {
        match &self.effect {
            Effect::Observe { host } => self.observe(host).await,
            Effect::Drain { balancer, hosts } => self.drain(balancer, hosts).await,
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
            Effect::Snapshot { snapshot, hosts } => self.snapshot(*snapshot, hosts).await,
            Effect::Hook { hook, step } => self.hook(*hook, *step).await,
        }
    }

    async fn drain(&self, balancer: &str, hosts: &[HostName]) -> EventKind {
        // Once the intent is old, who is found out is taken for ours.
        let ours = if self.resumed.is_some() { |_: &HostPlan| true } else { |plan: &HostPlan| plan.held };
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
        let change = match side {
            Side::Out => self.ports.balancers.drain(target, &members).await,
            Side::In => self.ports.balancers.enable(target, &members).await,
        };
        match change {
            // Nothing was changed now; what the process before this one did is not known by that.
            Change::Refused { why } if self.resumed.is_some() => Change::Unknown { why },
            change => change,
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
            ExecEnd::Exited(0) => match self.prepare(plan).await {
                Ok(()) => EventKind::Observed {
                    host: host.clone(),
                    previous: text.strip_prefix("to ").map(String::from),
                    in_rotation: self.is_in_rotation(host, plan).await,
                },
                Err(failure) => EventKind::ObserveFailed { host: host.clone(), failure },
            },
            end => observe_failed(host, kind_of(&end), describe(&end, &report.stderr)),
        }
    }

    /// Proves that the steps to come can be run, as everybody that they are run as: a host that has no place
    /// for their state is not taken out of rotation. Old state is cleared away meanwhile.
    async fn prepare(&self, plan: &HostPlan) -> Result<(), Failure> {
        let steps = || plan.steps.iter().chain(&plan.rollback);
        let here = |step: &&Step| step.at.is_none() && kinds::is_apart(step);
        let run: Vec<Sudo> = steps().filter(here).filter_map(|step| self.sudo_of(plan, step)).collect();
        for (at, sudo) in run.iter().enumerate() {
            if !run[..at].contains(sudo) {
                self.prepare_as(plan, sudo).await?;
            }
        }
        Ok(())
    }

    /// As whom a step will act; `None` where that hangs on what steps before it will find.
    fn sudo_of(&self, plan: &HostPlan, step: &Step) -> Option<Sudo> {
        let Sudo::Password { user, password } = &step.sudo else { return Some(step.sudo.clone()) };
        if !step.late {
            return Some(step.sudo.clone());
        }
        let mut vars = self.with_secrets(&plan.endpoint.name, step).ok()?;
        vars.extend(step.vars.clone());
        let text = |template: &str| template::text(template, &vars).ok();
        Some(Sudo::Password { user: text(user)?, password: text(password)? })
    }

    async fn prepare_as(&self, plan: &HostPlan, sudo: &Sudo) -> Result<(), Failure> {
        // What belongs to a run without an end is kept, however old it is. A store that does not answer
        // has all of it kept.
        let open = self.ports.store.open_runs().await.unwrap_or_default();
        let oldest = open.first().map_or(0, |run| run.0).to_string();
        let call = Call {
            operation: &oldest,
            site: &self.ports.site,
            epoch: self.ports.epoch,
            age: Duration::ZERO,
            limit: Duration::ZERO,
            within: Duration::ZERO,
        };
        let script = call.command(Verb::Sweep, sudo);
        let input = script::with_password(sudo, Input::None);
        let mut report = self.exec(plan, script, input, OBSERVE_TIMEOUT).await;
        let why = match wrapper::hear(&oldest, None, &mut report).answer {
            Some(Answer::Ready) => return Ok(()),
            Some(Answer::Refused(why)) => why,
            Some(Answer::Stale) => wrapper::REPLACED.into(),
            _ => {
                let hint = script::about_sudo(sudo, &report.stderr).unwrap_or_default();
                describe(&report.end, &report.stderr) + &hint
            }
        };
        let why = format!("its steps cannot be run{}: {why}", sudo.words());
        Err(Failure { kind: kind_of(&report.end), why })
    }

    /// Whether a host that may be on the release already is where it is told to be. A balancer that cannot
    /// be asked says no: the host then goes through its bracket.
    async fn is_in_rotation(&self, host: &HostName, plan: &HostPlan) -> Option<bool> {
        let seat = plan.balancer.as_ref().filter(|_| plan.current)?;
        let balancer = self.live.plan.balancers.get(&seat.balancer)?;
        let member = members(&self.live.plan, std::slice::from_ref(host), |_| false);
        let view = self.ports.balancers.look(balancer, &member).await;
        Some(view.is_ok_and(|view| view.rotation(host) == Rotation::In))
    }

    async fn step(&self, host: &HostName, way: Way, at: usize, attempt: u32) -> EventKind {
        let begun = Instant::now();
        let mut name = format!("step {at}");
        let mut code = None;
        let done = match self.step_of(host, way, at) {
            Ok((plan, step)) => {
                name = step.name.clone();
                let operation = operation_id(self.live.id, host, way, at, attempt);
                let attempt = Attempt::new(self, plan, &step, operation);
                let (done, by_guard) = attempt.perform().await;
                let judged = if by_guard { done.outcome.clone() } else { self.judged(&step, &done) };
                if let (Outcome::Failed { code: Some(was), .. }, true) = (&done.outcome, judged.is_good()) {
                    code = Some(*was);
                }
                Done { outcome: judged, ..done }
            }
            Err(why) if self.looks() => Done::silent(Outcome::NotKnown { why }),
            // It may have been begun before, and what it printed could not be told without its secrets.
            Err(why) if self.resumed.is_some() => Done::silent(Outcome::Lost { why }),
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
            code,
        }
    }

    fn step_of(&self, host: &HostName, way: Way, at: usize) -> Result<(&HostPlan, Step), String> {
        let plan = self.plan(host).ok_or("not in the plan")?;
        let steps = if way == Way::Back { &plan.rollback } else { &plan.steps };
        let step = steps.get(at).ok_or("no such step")?;
        if let Some(when) = &step.when {
            let mut vars = self.known.clone();
            vars.extend(step.vars.clone());
            template::holds(when, &vars).map_err(|why| format!("`when`: {why}"))?;
        }
        let mut rendered =
            if step.late { step.render(&self.with_secrets(host, step)?, &NoFiles)? } else { step.clone() };
        rendered.sudo.check_password()?;
        if rendered.at.as_ref().is_some_and(Endpoint::is_here) {
            rendered.env.extend(here::environment(&self.live, Some(host)));
        }
        Ok((plan, rendered))
    }

    /// What is known, and what never shows; this lives for as long as its step is rendered.
    pub(super) fn with_secrets(&self, host: &HostName, step: &Step) -> Result<Vars, String> {
        let secrets = self.ports.secrets.of(self.live.id, &self.live.plan, host);
        let hidden = self.live.plan.params.iter().filter(|(_, value)| *value == HIDDEN);
        let mut lost = hidden.map(|(name, _)| name).filter(|name| !secrets.contains_key(*name));
        if let Some(name) = lost.find(|name| step.speaks_of(&BTreeSet::from([(*name).clone()]))) {
            return Err(format!(
                "the secret parameter `{name}` was kept in memory alone, and rollcall has been started anew \
                 since; give the command again, with {name}=VALUE"
            ));
        }
        let mut vars = self.known.clone();
        vars.extend(secrets.iter().map(|(name, secret)| (name.clone(), Value::from(secret.expose()))));
        Ok(vars)
    }

    /// What a look cannot do as things are may be different once the steps before it have changed something.
    fn as_things_are(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed { why, .. } if self.after_changes => {
                Outcome::NotKnown { why: format!("steps before it come first; as things are: {why}") }
            }
            other => other,
        }
    }

    fn looks(&self) -> bool {
        matches!(self.live.plan.kind, Kind::Look { .. })
    }

    /// By the step's own conditions, where it has any and something was done.
    pub(super) fn judged(&self, step: &Step, done: &Done) -> Outcome {
        if self.looks() {
            return self.as_things_are(done.outcome.clone());
        }
        let answered =
            Answered { outcome: &done.outcome, stdout: &done.stdout, stderr: &done.stderr, code: None };
        judge(step, &answered, &self.known)
    }

    async fn exec(&self, plan: &HostPlan, script: String, input: Input, timeout: Duration) -> ExecReport {
        self.ports.remote.exec(&plan.endpoint, self.request(script, input, timeout)).await
    }

    pub(super) fn request(&self, script: String, input: Input, timeout: Duration) -> Exec {
        Exec {
            script,
            input,
            timeout,
            cancel: self.cancel.clone(),
            lines: None,
            fresh: false,
            keep_bytes: KEEP_BYTES,
            sink: None,
            masks: Arc::default(),
        }
    }
}

/// A host that answered is not unreachable.
fn kind_of(end: &ExecEnd) -> FailureKind {
    match end {
        ExecEnd::Exited(_) | ExecEnd::Signalled(_) => FailureKind::Step,
        _ => FailureKind::Unreachable,
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

/// Steps that are rendered when they are due carry their files with them: the plan has put them in.
pub(super) struct NoFiles;

impl Files for NoFiles {
    fn sha256(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn text(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String> {
        Err(format!("files/{path}: not part of the plan"))
    }
}

/// Of what a host says of an end; all that is kept is in the output of the step.
const SAID_CHARS: usize = 500;

/// An end that is no success, in words.
pub fn describe(end: &ExecEnd, stderr: &Output) -> String {
    let said = match stderr.last_line() {
        "" => String::new(),
        line => format!(": {}", clipped(line, SAID_CHARS)),
    };
    match end {
        ExecEnd::Exited(code) => format!("exit status {code}{said}"),
        ExecEnd::Signalled(signal) => format!("ended by signal {signal}{said}"),
        ExecEnd::TimedOut => "took too long and was ended".into(),
        ExecEnd::Cancelled => "cancelled".into(),
        ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => why.clone(),
    }
}
