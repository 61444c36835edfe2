//! Debts and releases: open debts, the releases of hosts, and the operators' commands about them.

use std::sync::Arc;

use super::asked::{Asked, Ended, visible_debts};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::{Command, Params};
use crate::domain::base::name::{HostName, nearest};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::rotation::Rotation;
use crate::domain::plan::plan::Plan;
use crate::domain::plan::release::ReleaseMark;
use crate::domain::run::event::EventKind;
use crate::domain::run::record::Debt;
use crate::engine::standing::{Standings, standings};
use crate::port::Member;
use crate::present::{json, table};

/// An operator's decision about a debt.
struct DebtDecision<'a> {
    host: &'a str,
    write_off: bool,
    reason: &'a str,
}

impl Asked<'_> {
    pub(super) async fn debts(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let ports = self.ports();
        let now = ports.hosts.clock.now();
        let debts = visible_debts(granted, &self.config.inventory, ports.store.debts().await?);
        let text = match self.json {
            true => debts.iter().map(|debt| json::line("debt", debt)).collect(),
            false => table::debts(&debts, now),
        };
        self.say(&text).await
    }

    /// Pays debts of hosts that the balancer reports in rotation, or writes debts off; records a name and a reason.
    pub(super) async fn settle(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let Command::Settle { host, write_off, reason } = granted.command() else {
            return Err(Refusal::internal("this is about a debt").into());
        };
        let word = DebtDecision { host, write_off: *write_off, reason };
        let debts = visible_debts(granted, &self.config.inventory, self.ports().store.debts().await?);
        let of_host: Vec<&Debt> = debts
            .iter()
            .filter(|debt| debt.host.as_str() == word.host || debt.host.short() == word.host)
            .collect();
        if of_host.is_empty() {
            let guess = nearest(word.host, debts.iter().map(|debt| debt.host.as_str()))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let why = format!("no debt is open for `{}`{guess}", word.host);
            return Err(Refusal::not_found(why).hint("see: debts").into());
        }
        let (open, off): (Vec<&Debt>, Vec<&Debt>) = of_host.iter().partition(|debt| debt.is_open());
        let off = off.iter().find_map(|debt| debt.written_off.as_ref());
        if let Some(off) = off.filter(|_| word.write_off && open.is_empty()) {
            let why =
                format!("the debt of `{}` is written off already, by {}: {}", word.host, off.by, off.reason);
            return Err(Refusal::rule(why)
                .hint(format!("to put it back: balancer enable {}", word.host))
                .into());
        }
        for debt in if word.write_off { open } else { of_host } {
            let settled = self.settle_one(granted, debt, &word).await?;
            self.say(&settled).await?;
        }
        Ok(0)
    }

    async fn settle_one(
        &self,
        granted: &Granted,
        debt: &Debt,
        word: &DebtDecision<'_>,
    ) -> Result<String, Ended> {
        let ports = self.ports();
        let Debt { host, balancer, run: id, .. } = debt;
        if self.desk.engine.watch(granted, *id).is_some() {
            let why = format!("run {id} is working on {host}");
            return Err(Refusal::new(Cause::Busy, why).hint(format!("see: watch {id}")).into());
        }
        let stored = ports.store.load(*id).await?;
        let stored = stored.ok_or_else(|| Refusal::not_found(format!("there is no run {id}")))?;
        let in_rotation = match word.write_off {
            true => false,
            false => self.is_in_rotation(&stored.plan, debt).await.map(|()| true)?,
        };
        let (by, key) = (granted.operator().name.clone(), granted.operator().key.clone());
        let (host, balancer, reason) = (host.clone(), balancer.clone(), word.reason.to_string());
        let settled = EventKind::DebtSettled { host, balancer, by, key, reason, in_rotation };
        if !stored.events.iter().any(|event| matches!(event.kind, EventKind::RunEnded { .. })) {
            let why = format!("run {id} is not over, and this daemon is not working on it");
            let hint = "try: restart rollcall, which takes it up";
            return Err(Refusal::new(Cause::Busy, why).hint(hint).into());
        }
        ports.store.append(*id, ports.hosts.clock.now(), vec![settled]).await?;
        if self.json {
            return Ok(json::line("settled", debt));
        }
        Ok(match in_rotation {
            true => format!("{}: in rotation in {}; its debt is paid\n", debt.host, debt.balancer),
            false => format!(
                "{host}: written off, and not put back in {}; `debts` lists it until it is in rotation; to put it back: \
                 balancer enable {host}\n",
                debt.balancer,
                host = debt.host
            ),
        })
    }

    /// An error, with the next thing to try, unless the balancer sends requests to the host.
    async fn is_in_rotation(&self, plan: &Plan, debt: &Debt) -> Result<(), Refusal> {
        let Debt { host, balancer, .. } = debt;
        let hint =
            format!("try: balancer enable {host}; or, to leave it so: settle {host} --write-off because ...");
        let refused = |why: String| Refusal::new(Cause::NeedsPerson, why).hint(&hint);
        let known = plan.balancers.get(balancer);
        let known =
            known.ok_or_else(|| refused(format!("run {} knows no balancer `{balancer}`", debt.run)))?;
        let member = Member::of(plan, std::slice::from_ref(host), |_| true);
        let view = self.ports().balancers.inspect(known, &member).await.map_err(refused)?;
        match view.hosts.get(host) {
            Some(seen) if seen.rotation == Rotation::In => Ok(()),
            Some(seen) => {
                Err(refused(format!("{host} is {} in {balancer}: {}", seen.rotation.word(), seen.note)))
            }
            None => Err(refused(format!("{balancer} does not report {host}"))),
        }
    }

    /// The answers of balancers. A failed query is reported, and sets the exit status.
    pub(super) async fn balancer_status(
        &mut self,
        inventory: &Arc<Inventory>,
        selector: &str,
    ) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let Standings { hosts, balancers, troubles } = standings(self.ports(), inventory, &picked).await?;
        let text = match self.json {
            true => {
                let lines = hosts.iter().map(|host| json::line("rotation", host));
                lines.chain(balancers.iter().map(|one| json::line("capacity", one))).collect()
            }
            false => table::standings(&hosts, &balancers),
        };
        self.terminal.out(&text).await?;
        for why in &troubles {
            self.terminal.err(&format!("rollcall: {why}\n")).await?;
        }
        Ok(if troubles.is_empty() { 0 } else { Cause::Unreachable.exit_status() })
    }

    pub(super) async fn releases(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let ports = self.ports();
        let (taken, marks, now) =
            (ports.store.taken().await?, ports.store.marks().await?, ports.hosts.clock.now());
        let of_picked = picked.iter().filter_map(|name| Some((name, taken.get(name)?.as_slice())));
        let of_picked: Vec<(&HostName, _)> = of_picked.collect();
        let text = match self.json {
            true => of_picked
                .iter()
                .flat_map(|(host, taken)| taken.iter().map(move |taken| json::release(host, taken)))
                .collect(),
            false => table::releases(&picked, &of_picked, &marks, now),
        };
        self.say(&text).await
    }

    pub(super) async fn mark(
        &mut self,
        granted: &Granted,
        (task, params): (&str, &Params),
        bad: bool,
        reason: &str,
    ) -> Result<u8, Ended> {
        let Some(known) = self.config.tasks.get(task) else {
            let hint = "a release is marked as it is deployed: TASK NAME=VALUE";
            return Err(Refusal::not_found(format!("there is no task `{task}`")).hint(hint).into());
        };
        if let Some(name) = params.keys().find(|name| !known.params.contains_key(*name)) {
            return Err(Refusal::usage(format!("task `{task}` has no parameter `{name}`")).into());
        }
        let secret = |name: &&String| known.params.get(*name).is_some_and(|param| param.secret);
        if let Some(name) = params.keys().find(secret) {
            let why = format!(
                "the parameter `{name}` of task `{task}` is secret: it does not distinguish releases"
            );
            return Err(Refusal::usage(why).into());
        }
        let who = granted.operator();
        if who.groups.is_some() {
            let hint = "try: ask an operator who may see them all";
            return Err(Refusal::new(Cause::NotAllowed, "a mark holds in all groups").hint(hint).into());
        }
        let ports = self.ports();
        let mark = ReleaseMark {
            task: task.into(),
            params: params.clone(),
            bad,
            by: who.name.clone(),
            key: who.key.clone(),
            reason: reason.into(),
            at: ports.hosts.clock.now(),
        };
        let text = match self.json {
            true => json::line("mark", &mark),
            false => table::mark(&mark),
        };
        ports.store.mark(mark).await?;
        self.say(&text).await
    }
}
