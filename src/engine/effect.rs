//! Performs effects. Each effect ends in exactly one event, which contains its failure; the call itself never
//! fails.

use std::time::Duration;

use tokio::time::Instant;

use super::here;
use super::masked::masked;
use super::preflight::missed;
use super::work::Work;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::{Failure, FailureKind, Outcome};
use crate::domain::inventory::rotation::Rotation;
use crate::domain::plan::plan::HostPlan;
use crate::domain::run::event::{BracketDirection, Change, EventKind, operation_id};
use crate::domain::run::rollout::Effect;
use crate::domain::task::step::NoFiles;
use crate::domain::task::task::{Step, Sudo};
use crate::domain::value::template::{self};
use crate::port::{ExecEnd, ExecReport, Input, Member, Program};
use crate::script;
use crate::steps::attempt::{Attempt, Done};
use crate::steps::perform::is_apart;
use crate::steps::wrapper::{self, Call, OperationAnswer, WrapperVerb};

/// How long the first command on a host may take, once it is connected.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(30);

impl Work {
    /// Performs the effect; the event contains no secret.
    pub async fn perform(self) -> EventKind {
        masked(self.act().await, &self.context.masks)
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
        // After a restart the drain may be our own: a host that is found drained counts as ours.
        let ours =
            if self.context.resumed.is_some() { |_: &HostPlan| true } else { |plan: &HostPlan| plan.held };
        let change = self.change(balancer, hosts, ours, Side::Out).await;
        let change = self.with_causes(balancer, change).await;
        EventKind::DrainEnded { balancer: balancer.into(), hosts: hosts.to_vec(), change }
    }

    /// Names the servers that are missed while a host waits for room.
    async fn with_causes(&self, balancer: &str, change: Change) -> Change {
        let Some(target) = self.live.plan.balancers.get(balancer) else { return change };
        match change {
            Change::Done { foreign, kept, note } if !kept.is_empty() => {
                let causes = missed(&self.ports, target, self.live.id).await;
                let note = [note].into_iter().filter(|note| !note.is_empty()).chain(causes);
                Change::Done { foreign, kept, note: note.collect::<Vec<_>>().join("; ") }
            }
            change => change,
        }
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
        let members = Member::of(plan, hosts, ours);
        let change = match side {
            Side::Out => self.ports.balancers.drain(target, &members).await,
            Side::In => self.ports.balancers.enable(target, &members).await,
        };
        match change {
            // This attempt changed nothing, but the one of the previous process may have.
            Change::Refused { why } if self.context.resumed.is_some() => Change::Unknown { why },
            change => change,
        }
    }

    async fn observe(&self, host: &HostName) -> EventKind {
        let Some(plan) = self.plan(host) else {
            return observe_failed(host, FailureKind::Step, "not in the plan".into());
        };
        let report = self.exec(plan, Program::Script(script::observe(plan)), &Sudo::No).await;
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
            end => observe_failed(host, kind_of(&end), end.describe(&report.stderr)),
        }
    }

    /// Proves that each user of the coming steps can keep their state on the host: a host without a place
    /// for it is not drained. Old state is removed at the same time.
    async fn prepare(&self, plan: &HostPlan) -> Result<(), Failure> {
        let steps = || plan.steps.iter().chain(&plan.rollback);
        let here = |step: &&Step| step.at.is_none() && is_apart(step);
        let run: Vec<Sudo> = steps().filter(here).filter_map(|step| self.sudo_of(plan, step)).collect();
        for (at, sudo) in run.iter().enumerate() {
            if !run[..at].contains(sudo) {
                self.prepare_as(plan, sudo).await?;
            }
        }
        Ok(())
    }

    /// The user of a step; `None` if that depends on results of earlier steps.
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
        // State of an open run is kept, however old it is. If the store does not answer,
        // all state is kept.
        let open = self.ports.store.open_runs().await.unwrap_or_default();
        let oldest = open.first().map_or(0, |run| run.0).to_string();
        let call = Call {
            operation: &oldest,
            site: &self.ports.hosts.site,
            epoch: self.ports.hosts.epoch,
            age: Duration::ZERO,
            limit: Duration::ZERO,
            within: Duration::ZERO,
        };
        let mut report = self.exec(plan, call.program(WrapperVerb::Sweep), sudo).await;
        let why = match wrapper::hear(&oldest, None, &mut report).answer {
            Some(OperationAnswer::Ready) => return Ok(()),
            Some(OperationAnswer::Refused(why)) => why,
            Some(OperationAnswer::Stale) => wrapper::REPLACED.into(),
            _ => {
                let hint = script::about_sudo(sudo, &report.stderr).unwrap_or_default();
                report.end.describe(&report.stderr) + &hint
            }
        };
        let why = format!("its steps cannot be run{}: {why}", sudo.words());
        Err(Failure { kind: kind_of(&report.end), why })
    }

    /// Whether a host that may be on the release already is in rotation. If the balancer cannot be
    /// queried, the answer is no: the host then goes through its bracket.
    async fn is_in_rotation(&self, host: &HostName, plan: &HostPlan) -> Option<bool> {
        let seat = plan.balancer.as_ref().filter(|_| plan.current)?;
        let balancer = self.live.plan.balancers.get(&seat.balancer)?;
        let member = Member::of(&self.live.plan, std::slice::from_ref(host), |_| false);
        let view = self.ports.balancers.inspect(balancer, &member).await;
        Some(view.is_ok_and(|view| view.rotation(host) == Rotation::In))
    }

    async fn step(&self, host: &HostName, way: BracketDirection, at: usize, attempt: u32) -> EventKind {
        let begun = Instant::now();
        let mut name = format!("step {at}");
        let mut code = None;
        let done = match self.step_of(host, way, at) {
            Ok((plan, step)) => {
                name = step.name.clone();
                let operation = operation_id(self.live.id, host, way, at, attempt);
                let attempt = Attempt::new(&self.context, plan, &step, operation);
                let (done, by_guard) = attempt.perform().await;
                let judged = if by_guard { done.outcome.clone() } else { self.judged(&step, &done) };
                if let (Outcome::Failed { code: Some(was), .. }, true) = (&done.outcome, judged.is_good()) {
                    code = Some(*was);
                }
                Done { outcome: judged, ..done }
            }
            Err(why) if self.is_dry_run() => Done::silent(Outcome::NotKnown { why }),
            // It may have started before, and without its secrets its output could not be masked.
            Err(why) if self.context.resumed.is_some() => Done::silent(Outcome::Lost { why }),
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

    fn step_of(
        &self,
        host: &HostName,
        way: BracketDirection,
        at: usize,
    ) -> Result<(&HostPlan, Step), String> {
        let plan = self.plan(host).ok_or("not in the plan")?;
        let steps = if way == BracketDirection::Back { &plan.rollback } else { &plan.steps };
        let step = steps.get(at).ok_or("no such step")?;
        if let Some(when) = &step.when {
            let mut vars = self.known.clone();
            vars.extend(step.vars.clone());
            template::holds(when, &vars).map_err(|why| format!("`when`: {why}"))?;
        }
        let mut rendered =
            if step.late { step.render(&self.with_secrets(host, step)?, &NoFiles)? } else { step.clone() };
        rendered.sudo.check_password()?;
        if rendered.at.as_ref().is_some_and(|at| at.here) {
            rendered.env.extend(here::environment(&self.live, Some(host)));
        }
        Ok((plan, rendered))
    }

    async fn exec(&self, plan: &HostPlan, program: Program, sudo: &Sudo) -> ExecReport {
        let request = self.context.request(program, sudo, Input::None, OBSERVE_TIMEOUT);
        self.ports.hosts.remote.exec(&plan.endpoint, request).await
    }
}

/// A host that answered is not unreachable.
fn kind_of(end: &ExecEnd) -> FailureKind {
    match end {
        ExecEnd::Exited(_) | ExecEnd::Signalled(_) | ExecEnd::Foreign(_) => FailureKind::Step,
        _ => FailureKind::Unreachable,
    }
}

fn observe_failed(host: &HostName, kind: FailureKind, why: String) -> EventKind {
    EventKind::ObserveFailed { host: host.clone(), failure: Failure { kind, why } }
}

/// The side of a balancer that hosts are moved to.
enum Side {
    In,
    Out,
}
