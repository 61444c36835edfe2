//! `sudoers`: the rules of sudo that tasks, checks and balancers need on hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::asked::{Asked, Ended};
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::Cause;
use crate::domain::inventory::inventory::{Endpoint, Inventory};
use crate::domain::plan::sudoers::{Right, SudoCommand, SudoSources, rights};
use crate::engine::programs;
use crate::present::json;
use crate::present::sudoers::{Needs, files, rules};

impl Asked<'_> {
    /// Hosts are asked where programs are, because a rule names a command by its path.
    pub(super) async fn sudoers(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let found = self.rights_of(inventory, picked).await?;
        let asked: Vec<(Endpoint, BTreeSet<String>)> =
            found.iter().map(|(host, rights)| (host.clone(), programs_in(rights))).collect();
        let answers = programs::paths(self.ports(), &asked).await;
        let (mut needs, mut troubles) = (Vec::new(), Vec::new());
        for ((host, rights), paths) in found.into_iter().zip(answers) {
            match paths {
                Ok(paths) => {
                    needs.push(Needs { host: host.name.to_string(), login: host.login, rights, paths });
                }
                Err(why) => troubles.push(why),
            }
        }
        let line = |one: &Needs| json::line("sudoers", json!({ "host": one.host, "rules": rules(one) }));
        let text = if self.json { needs.iter().map(line).collect() } else { files(&needs) };
        self.terminal.out(&text).await?;
        for why in &troubles {
            self.terminal.err(&format!("rollcall: {why}\n")).await?;
        }
        Ok(if troubles.is_empty() { 0 } else { Cause::Unreachable.exit_status() })
    }

    async fn rights_of(
        &self,
        inventory: &Arc<Inventory>,
        picked: Vec<HostName>,
    ) -> Result<Vec<(Endpoint, Vec<Right>)>, Ended> {
        let (inventory, config) = (inventory.clone(), self.config.clone());
        let work = move || {
            let sources = SudoSources {
                inventory: &inventory,
                tasks: config.tasks.values().collect(),
                checks: config.checks.values().flatten().collect(),
            };
            let hosts = picked.iter().filter_map(|name| inventory.host(name));
            hosts.map(|host| (host.endpoint.clone(), rights(&sources, host))).collect()
        };
        Ok(self.work(work).await?)
    }
}

/// The programs whose paths only the host knows.
fn programs_in(rights: &[Right]) -> BTreeSet<String> {
    let program = |right: &Right| match &right.what {
        SudoCommand::Command(words) => words.first().filter(|program| !program.starts_with('/')).cloned(),
        SudoCommand::AnyScript | SudoCommand::Open(_) => None,
    };
    rights.iter().filter_map(program).collect()
}
