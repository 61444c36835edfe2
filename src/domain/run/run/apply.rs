//! What each event changes in a run. One total match refuses an event that does not fit, or applies it.

use jiff::Timestamp;

use super::{Cancel, IllegalEvent, MARK_DIGITS, Run, RunOrigin, Taking};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Outcome;
use crate::domain::check::check::CheckResult;
use crate::domain::run::bracket::{HostState, Route, Unfit, must};
use crate::domain::run::event::{BracketDirection, Event, EventKind, Pause, PausedUntil, Then};
use crate::domain::task::hook::Hook;
use crate::domain::task::task::OnFailure;

impl Run {
    /// Applies one event. On error the run is unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.advance(event).map_err(|Unfit| self.illegal(&event.kind))
    }

    /// Every arm refuses before it changes anything.
    fn advance(&mut self, event: &Event) -> Result<(), Unfit> {
        use EventKind as E;
        must(self.started != matches!(event.kind, E::RunStarted { .. }))?;
        must(self.outcome.is_none() != matches!(event.kind, E::DebtSettled { .. }))?;
        match &event.kind {
            E::RunStarted { by, key, plan_sha256, .. } => self.start(event, by, key, plan_sha256),
            E::BatchStarted { batch, .. } => self.begin_batch(*batch, event.at)?,
            E::Stopped { why } => {
                self.stopped = Some(why.clone());
                self.rolls_back |= self.plan.rollout.on_failure == OnFailure::RollbackAll;
            }
            E::CancelRequested { by, now, .. } => {
                let now = *now || self.cancel.as_ref().is_some_and(|cancel| cancel.now);
                self.cancel = Some(Cancel { by: by.clone(), now });
            }
            E::Paused(pause) => self.paused(pause),
            E::Resumed { .. } => {
                must(self.pause.as_ref().is_some_and(|pause| pause.until != PausedUntil::Approved))?;
                self.resume(event.at);
            }
            E::Approved { plan_sha256, .. } => {
                must(self.pause.as_ref().is_some_and(|pause| pause.until == PausedUntil::Approved))?;
                must(*plan_sha256 == self.asked.plan_sha256)?;
                self.resume(event.at);
            }
            E::Recovered { then, why, .. } => self.recovered(*then, why, event.at),
            E::DebtSettled { host, in_rotation, .. } => {
                let mut next = self.hosts.get(host).ok_or(Unfit)?.clone();
                next.settle_debt(*in_rotation)?;
                self.put(host, next);
            }
            E::HookStarted { hook, step, .. } => self.begin_hook(*hook, *step)?,
            E::HookEnded { hook, step, outcome, .. } => self.end_hook(*hook, *step, outcome)?,
            E::RunEnded { outcome, .. } => {
                must(self.hooks.running.is_none() && self.hosts.values().all(|host| host.end().is_some()))?;
                self.outcome = Some(*outcome);
            }
            E::SnapshotStarted { snapshot, hosts, .. } => self.begin_snapshot(*snapshot, hosts)?,
            E::SnapshotEnded { snapshot: at, hosts, results, .. } => {
                self.end_snapshot(*at, hosts, results)?
            }
            E::StepStarted { host, way, step, .. } => {
                self.advance_hosts(event)?;
                self.note_once(host, *way, *step);
            }
            E::EnableEnded { .. } => {
                self.advance_hosts(event)?;
                // A host is in service again: there may be room for those that wait.
                self.change_crowded(|host| host.retry_drain_at(event.at));
            }
            E::ObserveStarted { .. }
            | E::Observed { .. }
            | E::ObserveFailed { .. }
            | E::DrainStarted { .. }
            | E::DrainEnded { .. }
            | E::StepEnded { .. }
            | E::StepSkipped { .. }
            | E::ChecksStarted { .. }
            | E::ChecksEnded { .. }
            | E::RollbackStarted { .. }
            | E::EnableStarted { .. }
            | E::HostSettled { .. }
            | E::DrainForgotten { .. }
            | E::RedrainStarted { .. }
            | E::RedrainEnded { .. } => self.advance_hosts(event)?,
        }
        Ok(())
    }

    fn start(&mut self, event: &Event, by: &str, key: &str, plan_sha256: &str) {
        let mark = sha256_hex(format!("{plan_sha256} {} {}", event.seq, event.at).as_bytes());
        self.asked = RunOrigin {
            by: by.into(),
            key: key.into(),
            plan_sha256: plan_sha256.into(),
            mark: mark.chars().take(MARK_DIGITS).collect(),
        };
        self.started = true;
        self.progress_at = Some(event.at);
    }

    fn begin_batch(&mut self, batch: usize, at: Timestamp) -> Result<(), Unfit> {
        must(batch == self.batches_begun() && batch < self.plan.batches.len())?;
        self.batch = Some(batch);
        self.progress_at = Some(at);
        Ok(())
    }

    fn paused(&mut self, pause: &Pause) {
        let planned = matches!(pause.until, PausedUntil::Time(_) | PausedUntil::Approved);
        let of_role = self.has_to_ask() && pause.until == PausedUntil::Approved;
        self.has_asked_approval |= of_role;
        self.has_paused |= planned && !of_role && pause.step.is_none();
        self.pause = Some(pause.clone());
    }

    fn resume(&mut self, at: Timestamp) {
        let asked = self.pause.take().and_then(|pause| pause.step);
        self.confirmed.extend(asked);
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        names.iter().for_each(|name| self.change(name, HostState::gate_again));
        self.clocks_begin_anew(at);
    }

    fn begin_hook(&mut self, hook: Hook, step: usize) -> Result<(), Unfit> {
        must(self.hooks.fits(&self.plan.hooks, hook, step))?;
        self.hooks.begin(hook, step);
        Ok(())
    }

    fn end_hook(&mut self, hook: Hook, step: usize, outcome: &Outcome) -> Result<(), Unfit> {
        must(self.hooks.running == Some((hook, step)))?;
        self.hooks.end(&self.plan.hooks, hook, step, outcome);
        if hook == Hook::Before {
            self.stopped = self.stopped.take().or(self.hooks.failed.clone());
        }
        Ok(())
    }

    fn begin_snapshot(&mut self, snapshot: usize, hosts: &[HostName]) -> Result<(), Unfit> {
        must(snapshot < self.plan.snapshots.len() && !self.snapshots.contains_key(&snapshot))?;
        must(hosts.iter().all(|name| self.hosts.contains_key(name)))?;
        self.snapshots.insert(snapshot, Taking::Running(hosts.to_vec()));
        Ok(())
    }

    fn end_snapshot(
        &mut self,
        snapshot: usize,
        hosts: &[HostName],
        results: &[CheckResult],
    ) -> Result<(), Unfit> {
        must(self.snapshots.get(&snapshot) == Some(&Taking::Running(hosts.to_vec())))?;
        must(results.len() == hosts.len())?;
        self.snapshots.insert(snapshot, Taking::Done);
        for (name, result) in hosts.iter().zip(results) {
            self.change(name, |host| host.compared(result));
        }
        Ok(())
    }

    /// All hosts of the event change, or none.
    fn advance_hosts(&mut self, event: &Event) -> Result<(), Unfit> {
        let names = event.kind.hosts();
        must(!names.is_empty())?;
        let next: Vec<HostState> =
            names.iter().map(|name| self.next_of(name, event)).collect::<Result<_, Unfit>>()?;
        for (name, next) in names.iter().zip(next) {
            let was_healthy = self.hosts.get(name).is_some_and(HostState::is_healthy);
            if next.is_healthy() && !was_healthy {
                self.progress_at = Some(event.at);
            }
            self.put(name, next);
        }
        Ok(())
    }

    /// The only place where the state of a host changes, so that the index is always true.
    fn put(&mut self, name: &HostName, next: HostState) {
        if let Some(before) = self.hosts.get(name) {
            self.index.remove(&self.plan, name, before);
        }
        self.index.add(&self.plan, name, &next);
        self.hosts.insert(name.clone(), next);
    }

    fn change(&mut self, name: &HostName, change: impl FnOnce(&mut HostState)) {
        let Some(host) = self.hosts.get(name) else { return };
        let mut next = host.clone();
        change(&mut next);
        self.put(name, next);
    }

    /// Changes each host that waits for room.
    fn change_crowded(&mut self, change: impl Fn(&mut HostState)) {
        let crowded: Vec<HostName> = self.index.crowded().iter().map(|(_, name)| name.clone()).collect();
        crowded.iter().for_each(|name| self.change(name, &change));
    }

    fn next_of(&self, name: &HostName, event: &Event) -> Result<HostState, Unfit> {
        let host = self.hosts.get(name).ok_or(Unfit)?;
        let route = Route { halted: self.is_halted(), ..Route::of(&self.plan, name, host.phase()) };
        host.after(name, event, &route)
    }

    /// The host that starts a step for all owns it; another host owns it only if the step never started.
    fn note_once(&mut self, host: &HostName, way: BracketDirection, step: usize) {
        let plan = self.plan.hosts.get(host).and_then(|plan| plan.steps.get(step));
        if let Some(once) = plan.filter(|plan| plan.run_once && way == BracketDirection::Forward) {
            self.once.insert(once.identity().into(), (host.clone(), step));
        }
    }

    /// Time in which the run could make no progress does not count against its deadlines.
    fn clocks_begin_anew(&mut self, at: Timestamp) {
        self.progress_at = Some(at);
        self.change_crowded(|host| host.wait_for_room_since(at));
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

    fn illegal(&self, kind: &EventKind) -> IllegalEvent {
        let phases: Vec<String> = kind
            .hosts()
            .iter()
            .map(|name| format!("{name}: {:?}", self.hosts.get(name).map(|host| host.phase())))
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
