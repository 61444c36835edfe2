//! `facts`: recorded facts if they are recent enough, otherwise facts gathered now.

use std::sync::Arc;

use super::asked::{Asked, Ended};
use super::face::FollowView;
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::run::run::Run;
use crate::present::facts::{self, FactsReport};

impl Asked<'_> {
    pub(super) async fn facts(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        (selector, fresh): (&str, bool),
    ) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let old = self.to_ask(inventory, &picked, fresh).await?;
        let run = match old.is_empty() {
            true => None,
            false => {
                let all = old.len() == picked.len();
                let names = || old.iter().map(HostName::as_str).collect::<Vec<_>>().join(",");
                let selector = if all { selector.to_string() } else { names() };
                let plan = self.plan(inventory, &Command::Facts { selector, fresh }).await?;
                let watch =
                    self.desk.engine.start(&granted.planned_from(&self.config.version.digest), plan).await?;
                self.has_started(watch.live().id);
                Some(self.see(watch, FollowView { quiet: true, ..FollowView::default() }).await?.0)
            }
        };
        self.tell_facts(inventory, &picked, run.as_ref()).await?;
        Ok(run.and_then(|run| run.outcome()).map_or(0, |outcome| outcome.exit_status()))
    }

    /// The hosts without recorded facts that are recent enough.
    async fn to_ask(
        &self,
        inventory: &Arc<Inventory>,
        picked: &[HostName],
        fresh: bool,
    ) -> Result<Vec<HostName>, Ended> {
        let ports = self.ports();
        let (on_record, now) = (ports.store.facts().await?, ports.hosts.clock.now());
        let max_age = self.config.settings.facts_max_age;
        let is_known = |name: &&HostName| {
            let (Some(host), Some(gathered)) = (inventory.host(name), on_record.get(*name)) else {
                return false;
            };
            !fresh && gathered.is_of(&host.endpoint, now, max_age)
        };
        Ok(picked.iter().filter(|name| !is_known(name)).cloned().collect())
    }

    async fn tell_facts(
        &mut self,
        inventory: &Arc<Inventory>,
        picked: &[HostName],
        run: Option<&Run>,
    ) -> Result<(), Ended> {
        let ports = self.ports();
        let (on_record, now) = (ports.store.facts().await?, ports.hosts.clock.now());
        let missing = run.map(facts::missing).unwrap_or_default();
        let mut report = FactsReport::default();
        for host in picked.iter().filter_map(|name| inventory.host(name)) {
            let why = missing.iter().find(|(name, _)| **name == host.name).map(|(_, why)| *why);
            let gathered = on_record.get(&host.name).filter(|gathered| gathered.endpoint == host.endpoint);
            match (why, gathered) {
                (None, Some(gathered)) => report.known.push((&host.name, gathered)),
                (why, _) => report.unknown.push((&host.name, why.unwrap_or("not asked"))),
            }
        }
        let text = if self.json { facts::lines(&report, now) } else { facts::facts(&report, now) };
        self.terminal.out(&text).await?;
        Ok(())
    }
}
