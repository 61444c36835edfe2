//! Locks, holds, and the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asked::{Asked, Ended, may_see};
use super::refusals::frozen;
use super::turn::CommandTurn;
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::lease::claim::Claim;
use crate::domain::lease::lease::{Lease, LeaseKind};
use crate::domain::plan::plan::Plan;
use crate::port::StoreError;
use crate::present::table::folded;
use crate::present::{json, leases};

/// Most runs that are searched for those under way.
const RUNS_SEARCHED: usize = 1_000;

/// What an operator asks for.
struct LeaseRequest<'w> {
    kind: LeaseKind,
    selector: &'w str,
    time: Option<Duration>,
    reason: &'w str,
    take_over: bool,
}

fn held(lease: &Lease, claim: &Claim) -> Refusal {
    let hosts = lease.hosts.intersection(&claim.hosts).cloned().collect();
    StoreError::Held { lease: Box::new(lease.clone()), hosts }.into()
}

impl Asked<'_> {
    /// The commands of this file.
    pub(super) async fn turns(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        match granted.command() {
            Command::Queue => self.queue(granted, inventory).await,
            Command::Leases => self.leases(granted, inventory).await,
            Command::Lock { selector, time, reason, take_over } => {
                let (kind, time, take_over) = (LeaseKind::Lock, Some(*time), *take_over);
                self.lock(granted, LeaseRequest { kind, selector, time, reason, take_over }).await
            }
            Command::Freezes => self.freezes(granted, inventory).await,
            Command::Freeze { selector, time, reason } => {
                let (kind, time) = (LeaseKind::Freeze, Some(*time));
                self.lock(granted, LeaseRequest { kind, selector, time, reason, take_over: false }).await
            }
            Command::FreezeEnd { id, reason } => self.unlock(granted, (*id, true), reason.as_deref()).await,
            Command::Unlock { id, reason } => self.unlock(granted, (*id, false), reason.as_deref()).await,
            Command::Hold { selector, reason, take_over } => {
                let (kind, take_over) = (LeaseKind::Hold, *take_over);
                let reason = reason.as_deref().unwrap_or_default();
                self.hold(granted, LeaseRequest { kind, selector, time: None, reason, take_over }).await
            }
            other => Err(Refusal::internal(format!("{other:?} is about no lease")).into()),
        }
    }

    async fn leases(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let (all, _) = self.visible_leases(granted, inventory).await?;
        let now = self.ports().hosts.clock.now();
        let text = match self.json {
            true => all.iter().map(|lease| json::line("lease", lease)).collect(),
            false => leases::list(&all, now),
        };
        self.say(&text).await
    }

    /// The open leases, and the freezes, with only the hosts that the operator may see.
    async fn visible_leases(
        &self,
        granted: &Granted,
        inventory: &Inventory,
    ) -> Result<(Vec<Lease>, Vec<Lease>), Ended> {
        let mut all = self.desk.engine.keeper().open(granted).await?;
        for lease in &mut all {
            let before = lease.hosts.len();
            lease.hosts.retain(|host| inventory.host(host).is_some());
            // The words of the selector may name what the operator must not see.
            if lease.hosts.len() < before {
                lease.selector = folded(&lease.hosts);
            }
        }
        all.retain(|lease| !lease.hosts.is_empty());
        Ok(all.into_iter().partition(|lease| lease.kind != LeaseKind::Freeze))
    }

    async fn freezes(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let (_, freezes) = self.visible_leases(granted, inventory).await?;
        let now = self.ports().hosts.clock.now();
        let mut windows: Vec<leases::Frozen> =
            self.config.freezes.iter().map(|one| leases::frozen(one, now)).collect();
        for window in &mut windows {
            window.hosts.retain(|host| inventory.host(host).is_some());
        }
        windows.retain(|window| !window.hosts.is_empty());
        let text = match self.json {
            true => {
                let windows = windows.iter().map(|window| json::line("freeze-window", window));
                freezes.iter().map(|lease| json::line("lease", lease)).chain(windows).collect()
            }
            false => leases::freezes((&freezes, &windows), now),
        };
        self.say(&text).await
    }

    /// Refuses a release within a window of the configuration.
    pub(super) fn not_frozen(&self, plan: &Plan) -> Result<(), Refusal> {
        let claim = Claim::of_run(plan, &self.operator).filter(Claim::is_frozen);
        let Some(claim) = claim else { return Ok(()) };
        let now = self.ports().hosts.clock.now();
        for window in &self.config.freezes {
            let Some(until) = window.open_until(now) else { continue };
            let hosts: BTreeSet<HostName> = window.hosts.intersection(&claim.hosts).cloned().collect();
            if !hosts.is_empty() {
                return Err(frozen(leases::in_window(&hosts, until, &window.why)));
            }
        }
        Ok(())
    }

    /// Why the run of a plan would be refused now, although the plan is right.
    pub(super) async fn in_the_way_of(
        &self,
        granted: &Granted,
        plan: &Plan,
    ) -> Result<Option<Refusal>, Ended> {
        if let Err(refusal) = self.not_frozen(plan) {
            return Ok(Some(refusal));
        }
        let Some(claim) = Claim::of_run(plan, &self.operator) else { return Ok(None) };
        let all = self.desk.engine.keeper().open(granted).await?;
        let in_way = claim.lease_in_way(&all, self.ports().hosts.clock.now());
        Ok(in_way.map(|lease| held(lease, &claim)))
    }

    async fn lock(&mut self, granted: &Granted, wanted: LeaseRequest<'_>) -> Result<u8, Ended> {
        let (lease, mut turn) = self.wanted(granted, &wanted).await?;
        let lease = loop {
            let fresh = self.starting_now(&lease, wanted.time);
            let in_turn = (turn.ticket.as_ref(), wanted.take_over);
            match self.desk.engine.keeper().lock(granted, fresh, in_turn).await {
                Ok(lease) => break lease,
                Err(error) => {
                    self.wait_for(&mut turn, error).await?;
                    self.may_still(granted)?;
                }
            }
        };
        let text = match (self.json, lease.kind) {
            (true, _) => json::line("lease", &lease),
            (false, LeaseKind::Freeze) => leases::frozen_now(&lease),
            (false, LeaseKind::Lock | LeaseKind::Hold) => leases::locked(&lease),
        };
        self.say(&text).await
    }

    /// Keeps the hosts until the connection ends.
    async fn hold(&mut self, granted: &Granted, wanted: LeaseRequest<'_>) -> Result<u8, Ended> {
        let (lease, mut turn) = self.wanted(granted, &wanted).await?;
        let holding = loop {
            let fresh = self.starting_now(&lease, None);
            let in_turn = (turn.ticket.as_ref(), wanted.take_over);
            match self.desk.engine.keeper().hold(granted, fresh, in_turn).await {
                Ok(holding) => break holding,
                Err(error) => {
                    self.wait_for(&mut turn, error).await?;
                    self.may_still(granted)?;
                }
            }
        };
        drop(turn);
        let id = holding.lease.id;
        let text = match self.json {
            true => json::line("lease", &holding.lease),
            false => leases::held_now(&holding.lease),
        };
        self.terminal.out(&text).await?;
        let (gone, silence) = (self.terminal.gone(), self.terminal.silence());
        let keeper = self.desk.engine.keeper().clone();
        let end = tokio::select! {
            biased;
            () = gone.cancelled() => return Err(Ended::Gone),
            () = silence => return Err(Ended::Gone),
            () = self.interrupted() => {
                self.desk.engine.keeper().end(granted, id, "its operator ended it").await?;
                return self.say(&format!("hold {id} is over\n")).await;
            }
            end = keeper.over(id) => end?,
        };
        let why = match end {
            Some(end) => format!("hold {id} is over: {} ended it: {}", end.by, end.why),
            None => format!("hold {id} is over: rollcall is stopping; try again when it is back"),
        };
        Err(Refusal::new(Cause::Busy, why).into())
    }

    /// The lease that is asked for, and its turn.
    async fn wanted(
        &mut self,
        granted: &Granted,
        wanted: &LeaseRequest<'_>,
    ) -> Result<(Lease, CommandTurn), Ended> {
        let visible = self.visible(granted).await?;
        let hosts = self.pick(&visible, wanted.selector).await?.into_iter().collect();
        let who = granted.operator();
        let lease = Lease {
            id: 0,
            kind: wanted.kind,
            by: who.name.clone(),
            key: who.key.clone(),
            why: wanted.reason.into(),
            selector: wanted.selector.into(),
            hosts,
            since: Timestamp::UNIX_EPOCH,
            until: None,
        };
        if wanted.take_over {
            self.may_take_over(granted, &visible, &lease).await?;
        }
        let title = format!("{} {}", wanted.kind, shell_words::quote(wanted.selector));
        let turn = self.turn(Claim::of_lease(&lease), title);
        Ok((lease, turn))
    }

    /// Its time starts when it is granted.
    fn starting_now(&self, lease: &Lease, time: Option<Duration>) -> Lease {
        let since = self.ports().hosts.clock.now();
        let until = time.map(|time| since.checked_add(time).unwrap_or(Timestamp::MAX));
        Lease { since, until, ..lease.clone() }
    }

    /// An operator cannot end a lease of hosts that they may not see.
    async fn may_take_over(
        &self,
        granted: &Granted,
        visible: &Inventory,
        wanted: &Lease,
    ) -> Result<(), Ended> {
        let (claim, now) = (Claim::of_lease(wanted), self.ports().hosts.clock.now());
        let in_way = |lease: &&Lease| claim.lease_in_way(std::slice::from_ref(lease), now).is_some();
        let all = self.desk.engine.keeper().open(granted).await?;
        match all.iter().filter(in_way).find(|lease| self.reaches_beyond(visible, &lease.hosts)) {
            Some(lease) => {
                let why = format!("{} {} has hosts outside of your groups, too", lease.kind, lease.id);
                Err(Refusal::new(Cause::NotAllowed, why)
                    .hint(format!("ask {}, or an admin", lease.by))
                    .into())
            }
            None => Ok(()),
        }
    }

    fn reaches_beyond(&self, visible: &Inventory, hosts: &BTreeSet<HostName>) -> bool {
        let whole = &self.config.inventory;
        hosts.iter().any(|host| visible.host(host).is_none() && whole.host(host).is_some())
    }

    /// Ends a lease; with `freeze`, a freeze.
    async fn unlock(
        &mut self,
        granted: &Granted,
        (id, freeze): (u64, bool),
        reason: Option<&str>,
    ) -> Result<u8, Ended> {
        let visible = self.visible(granted).await?;
        let (what, list, word) = match freeze {
            true => ("freeze", "freeze", "freeze end"),
            false => ("lock or hold", "lock", "unlock"),
        };
        let none =
            || Refusal::not_found(format!("no {what} has the number {id}")).hint(format!("see: {list}"));
        let all = self.desk.engine.keeper().open(granted).await?;
        let lease = all.iter().find(|lease| lease.id == id).ok_or_else(none)?;
        if (lease.kind == LeaseKind::Freeze) != freeze {
            return Err(none().into());
        }
        if self.reaches_beyond(&visible, &lease.hosts) {
            return Err(none().into());
        }
        let own = lease.by == granted.operator().name;
        let why = match reason {
            Some(reason) => reason.to_string(),
            None if own => "its operator ended it".into(),
            None => {
                let why = format!("{} {id} is of {}, so say why, for the record", lease.kind, lease.by);
                return Err(Refusal::usage(why).hint(format!("try: {word} {id} because REASON")).into());
            }
        };
        if !self.desk.engine.keeper().end(granted, id, &why).await? {
            return Err(none().into());
        }
        let text = match self.json {
            true => json::line("lease", lease),
            false => format!("{} {id} of {} is over\n", lease.kind, lease.by),
        };
        self.say(&text).await
    }

    async fn queue(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let mut runs = self.ports().store.runs(RUNS_SEARCHED).await?;
        runs.retain(|run| run.ended_at.is_none() && !run.kind.only_reads());
        runs.retain(|run| may_see(granted, &self.config.inventory, &run.hosts));
        let (kept, _) = self.visible_leases(granted, inventory).await?;
        let queue = self.desk.engine.keeper().queue().clone();
        let visible = |host: &HostName| inventory.host(host).is_some();
        let waiting = queue.all().into_iter().filter(|one| one.claim.hosts.iter().any(visible));
        let waiting: Vec<leases::Waits> = waiting
            .map(|one| leases::Waits {
                position: queue.position(&one.claim, one.number),
                title: match may_see(granted, &self.config.inventory, &Vec::from_iter(one.claim.hosts)) {
                    true => one.title,
                    false => "(with hosts of other groups)".into(),
                },
                by: one.claim.by,
                since: one.since,
            })
            .collect();
        let now = self.ports().hosts.clock.now();
        let text = match self.json {
            true => {
                let runs = runs.iter().map(|run| json::line("run", run));
                let kept = kept.iter().map(|lease| json::line("lease", lease));
                runs.chain(kept).chain(waiting.iter().map(|one| json::line("waiting", one))).collect()
            }
            false => leases::queue((&runs, &kept, &waiting), now),
        };
        self.say(&text).await
    }
}
