//! What each event changes in a run. Nothing else changes one.

use jiff::Timestamp;

use super::{Asked, Cancel, IllegalEvent, MARK_DIGITS, RETRIES_UNBEGUN, Run, Taking};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::HostName;
use crate::domain::plan::plan::Plan;
use crate::domain::run::bracket::{Phase, Route};
use crate::domain::run::event::{Event, EventKind, Pause, PausedUntil, Then, Way};
use crate::domain::task::hook::Hook;
use crate::domain::task::task::{OnFailure, StepBody};

impl Run {
    /// Applies one event. On error the run is unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.check(&event.kind)?;
        match &event.kind {
            EventKind::RunStarted { by, key, plan_sha256, .. } => {
                let mark = sha256_hex(format!("{plan_sha256} {} {}", event.seq, event.at).as_bytes());
                let (by, key, plan_sha256) = (by.clone(), key.clone(), plan_sha256.clone());
                self.asked = Asked { by, key, plan_sha256, mark: mark.chars().take(MARK_DIGITS).collect() };
                self.started = true;
                self.progress_at = Some(event.at);
            }
            EventKind::BatchStarted { batch, .. } => {
                self.batch = Some(*batch);
                self.progress_at = Some(event.at);
            }
            EventKind::Stopped { why } => {
                self.stopped = Some(why.clone());
                self.rolls_back |= self.plan.rollout.on_failure == OnFailure::RollbackAll;
            }
            EventKind::CancelRequested { by, now, .. } => {
                let now = *now || self.cancel.as_ref().is_some_and(|cancel| cancel.now);
                self.cancel = Some(Cancel { by: by.clone(), now });
            }
            EventKind::Paused(pause) => {
                let planned = matches!(pause.until, PausedUntil::Time(_) | PausedUntil::Approved);
                self.has_paused |= planned && pause.step.is_none();
                self.pause = Some(pause.clone());
            }
            EventKind::Resumed { .. } | EventKind::Approved { .. } => {
                let asked = self.pause.take().and_then(|pause| pause.step);
                self.confirmed.extend(asked);
                self.hosts.values_mut().for_each(|host| host.inconclusive = None);
                self.clocks_begin_anew(event.at);
            }
            EventKind::Recovered { then, why, .. } => self.recovered(*then, why, event.at),
            EventKind::DebtSettled { host, .. } => {
                if let Some(host) = self.hosts.get_mut(host) {
                    host.owed = false;
                }
            }
            EventKind::HookStarted { hook, step, .. } => self.hooks.begin(*hook, *step),
            EventKind::HookEnded { hook, step, outcome, .. } => {
                self.hooks.end(&self.plan.hooks, *hook, *step, outcome);
                if *hook == Hook::Before {
                    self.stopped = self.stopped.take().or(self.hooks.failed.clone());
                }
            }
            EventKind::RunEnded { outcome } => self.outcome = Some(*outcome),
            kind => self.apply_to_hosts(event, kind.hosts()),
        }
        Ok(())
    }

    fn apply_to_hosts(&mut self, event: &Event, names: &[HostName]) {
        self.note_once(&event.kind);
        match &event.kind {
            EventKind::SnapshotStarted { snapshot, hosts, .. } => {
                self.snapshots.insert(*snapshot, Taking::Running(hosts.clone()));
            }
            EventKind::SnapshotEnded { snapshot, .. } => _ = self.snapshots.insert(*snapshot, Taking::Done),
            _ => {}
        }
        let halted = self.is_halted();
        for name in names {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            let was_well = host.health.healthy;
            let route = Route { halted, ..route(&self.plan, name, &host.phase) };
            host.apply(name, event, &route);
            if host.health.healthy && !was_well {
                self.progress_at = Some(event.at);
            }
        }
        // A host is in service again: there may be room for those that wait.
        if let EventKind::EnableEnded { .. } = event.kind {
            let crowded = self.hosts.values_mut().filter_map(|host| host.crowded.as_mut());
            crowded.for_each(|crowded| crowded.retry_at = event.at);
        }
    }

    /// The host that starts a step for all owns it; another host owns it only if the step never started.
    fn note_once(&mut self, kind: &EventKind) {
        let EventKind::StepStarted { host, way: Way::Forward, step, .. } = kind else { return };
        let plan = self.plan.hosts.get(host).and_then(|plan| plan.steps.get(*step));
        if let Some(once) = plan.filter(|plan| plan.run_once) {
            self.once.insert(once.identity().into(), (host.clone(), *step));
        }
    }

    /// Time in which the run could make no progress does not count against its deadlines.
    fn clocks_begin_anew(&mut self, at: Timestamp) {
        self.progress_at = Some(at);
        let crowded = self.hosts.values_mut().filter_map(|host| host.crowded.as_mut());
        crowded.for_each(|crowded| (crowded.since, crowded.retry_at) = (at, at));
    }

    fn recovered(&mut self, then: Then, why: &str, at: Timestamp) {
        self.clocks_begin_anew(at);
        self.pause.take_if(|pause| pause.until == PausedUntil::Restart);
        match then {
            Then::GoesOn => {}
            Then::Pauses => {
                let (why, by, key) = (why.to_string(), "rollcall".to_string(), String::new());
                // A bake time that passed while rollcall was away proves nothing.
                self.pause.take_if(|pause| matches!(pause.until, PausedUntil::Time(_)));
                self.pause.get_or_insert(Pause { why, by, key, until: PausedUntil::Resumed, step: None });
            }
            Then::Stops => _ = self.stopped.get_or_insert(why.to_string()),
            Then::RollsBack => {
                self.stopped.get_or_insert(why.to_string());
                self.rolls_back = true;
            }
        }
    }

    /// An error if an event of this kind would not fit.
    pub fn check(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        let fits = match kind {
            EventKind::RunStarted { .. } => !self.started,
            EventKind::BatchStarted { batch, .. } => {
                self.is_open()
                    && *batch == self.batch.map_or(0, |at| at + 1)
                    && *batch < self.plan.batches.len()
            }
            EventKind::Stopped { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::Paused(_)
            | EventKind::Recovered { .. } => self.is_open(),
            EventKind::Resumed { .. } => {
                let waits = self.pause.as_ref().is_some_and(|pause| pause.until != PausedUntil::Approved);
                self.is_open() && waits
            }
            EventKind::Approved { plan_sha256, .. } => {
                let waits = self.pause.as_ref().is_some_and(|pause| pause.until == PausedUntil::Approved);
                self.is_open() && waits && *plan_sha256 == self.asked.plan_sha256
            }
            EventKind::DebtSettled { host, .. } => {
                self.outcome.is_some() && self.hosts.get(host).is_some_and(|host| host.owed)
            }
            EventKind::HookStarted { hook, step, .. } => {
                self.is_open() && self.hooks.fits(&self.plan.hooks, *hook, *step)
            }
            EventKind::HookEnded { hook, step, .. } => self.hooks.running == Some((*hook, *step)),
            EventKind::RunEnded { .. } => {
                self.is_open()
                    && self.hooks.running.is_none()
                    && self.hosts.values().all(|host| matches!(host.phase, Phase::Settled { .. }))
            }
            EventKind::SnapshotStarted { snapshot, hosts, .. } => {
                self.is_open()
                    && *snapshot < self.plan.snapshots.len()
                    && !self.snapshots.contains_key(snapshot)
                    && hosts.iter().all(|name| self.hosts.contains_key(name))
            }
            EventKind::SnapshotEnded { snapshot, hosts, results, .. } => {
                self.is_open()
                    && self.snapshots.get(snapshot) == Some(&Taking::Running(hosts.clone()))
                    && results.len() == hosts.len()
            }
            kind => {
                self.is_open()
                    && !kind.hosts().is_empty()
                    && kind
                        .hosts()
                        .iter()
                        .all(|name| self.hosts.get(name).is_some_and(|host| host.fits(kind)))
            }
        };
        if fits { Ok(()) } else { Err(self.illegal(kind)) }
    }

    fn is_open(&self) -> bool {
        self.started && self.outcome.is_none()
    }

    fn illegal(&self, kind: &EventKind) -> IllegalEvent {
        let phases: Vec<String> = kind
            .hosts()
            .iter()
            .map(|name| format!("{name}: {:?}", self.hosts.get(name).map(|host| &host.phase)))
            .collect();
        let state = format!(
            "of run {} (started {}, batch {:?}, outcome {:?}) {}",
            self.id,
            self.started,
            self.batch,
            self.outcome,
            phases.join(", ")
        );
        IllegalEvent { event: format!("{kind:?}"), state }
    }
}

/// The parts of the plan that the transitions of a host need.
fn route<'a>(plan: &'a Plan, name: &HostName, phase: &Phase) -> Route<'a> {
    let host = plan.hosts.get(name);
    let step = host.and_then(|host| match phase {
        Phase::Working { way: Way::Back, step, .. } => host.rollback.get(*step),
        Phase::Working { step, .. } => host.steps.get(*step),
        _ => host.steps.first(),
    });
    Route {
        rollout: &plan.rollout,
        forward: host.map_or(0, |host| host.steps.len()),
        back: host.map_or(0, |host| host.rollback.len()),
        retries: step.map_or(0, |step| step.retries),
        retries_unbegun: match plan.task() {
            Some(_) => step.map_or(0, |step| step.retries).max(RETRIES_UNBEGUN),
            None => 0,
        },
        delay: step.map_or_else(Default::default, |step| step.delay),
        warn_only: step.is_some_and(|step| step.warn_only),
        repeatable: step.is_some_and(|step| step.repeatable),
        register: step.and_then(|step| step.register.as_deref()),
        looks: step.is_some_and(|step| matches!(step.body, StepBody::Facts { .. })),
        drains: host.is_some_and(|host| host.balancer.is_some()),
        gated: host.is_some_and(|host| !host.checks.is_empty()),
        held: host.is_some_and(|host| host.held),
        halted: false,
        stays_at: host
            .filter(|host| host.current)
            .map(|host| host.steps.iter().find_map(|step| step.body.link()).map(|(to, _)| to)),
    }
}
