//! One request under way: the operator, the command, the terminal of the answer, and how it may end.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::domain::ask::access::Granted;
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::Format;
use crate::domain::base::name::{HostName, RunId, natural};
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::selector::select;
use crate::domain::run::record::Debt;
use crate::door::keys::KeyPress;
use crate::door::{Desk, Gone, Terminal};
use crate::engine::ports::Ports;

/// How a command ended: with a refusal, or with a client that is gone or leaves.
pub(super) enum Ended {
    Refused(Refusal),
    Gone,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Ended {
        Ended::Gone
    }
}

impl<T: Into<Refusal>> From<T> for Ended {
    fn from(refused: T) -> Ended {
        Ended::Refused(refused.into())
    }
}

/// One request, with all that its answer needs.
pub(super) struct Asked<'a> {
    pub desk: &'a Desk,
    pub caller: &'a Caller,
    /// The run that it has started.
    pub run: Option<RunId>,
    /// Every act on stores and hosts needs it.
    pub granted: Granted,
    /// The operator's identity for turns.
    pub operator: String,
    pub config: Arc<Config>,
    pub json: bool,
    /// A followed run prints each step of each host.
    pub verbose: bool,
    /// If hosts are in use, it waits for them.
    pub wait: bool,
    /// The reason of a release on frozen hosts.
    pub glass: Option<String>,
    /// Taken from the terminal by the first part of the answer that reads keys.
    pub keys: Option<mpsc::Receiver<KeyPress>>,
    pub format: Format,
    pub terminal: &'a mut dyn Terminal,
}

impl Asked<'_> {
    /// The stores, the hosts and the clock, for the granted command.
    pub(super) fn ports(&self) -> &Ports {
        self.desk.engine.ports_for(&self.granted)
    }

    /// The command has started a run.
    pub(super) fn has_started(&mut self, run: RunId) {
        self.run = Some(run);
        self.terminal.started(run);
    }

    pub(super) async fn say(&mut self, text: &str) -> Result<u8, Ended> {
        self.terminal.out(text).await?;
        Ok(0)
    }

    /// Runs long processor work in this operator's turn, on a thread that serves no connections.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _turn = self.desk.turns.work.take(&self.operator).await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Refusal::internal(format!("internal error: {error}")))
    }

    /// The part of the inventory that the operator may see.
    pub(super) async fn visible(&self, granted: &Granted) -> Result<Arc<Inventory>, Refusal> {
        if granted.operator().groups.is_none() {
            return Ok(self.config.inventory.clone());
        }
        let (granted, config) = (granted.clone(), self.config.clone());
        self.work(move || granted.inventory(&config.inventory)).await
    }

    /// The hosts of a selector, in the order in which people count.
    pub(super) async fn pick(
        &self,
        inventory: &Arc<Inventory>,
        selector: &str,
    ) -> Result<Vec<HostName>, Refusal> {
        let (inventory, selector) = (inventory.clone(), selector.to_string());
        self.work(move || picked_from(&inventory, &selector)).await?
    }
}

/// The hosts of a selector, in the order in which people count.
pub(super) fn picked_from(inventory: &Inventory, selector: &str) -> Result<Vec<HostName>, Refusal> {
    let mut names = select(inventory, selector)?;
    names.sort_by(|a, b| natural(a.as_str(), b.as_str()));
    Ok(names)
}

/// An operator with groups sees only runs whose hosts are all within them. Hosts that have left the inventory belong
/// to no group any longer, and hide no run.
pub(super) fn may_see(granted: &Granted, whole: &Inventory, hosts: &[HostName]) -> bool {
    if granted.operator().groups.is_none() {
        return true;
    }
    let mut known = hosts.iter().filter_map(|host| whole.host(host)).peekable();
    known.peek().is_some() && known.all(|host| granted.sees(host))
}

/// The debt of a host that has left the inventory is visible to all operators: one of them has to settle it.
pub(super) fn visible_debts(granted: &Granted, whole: &Inventory, debts: Vec<Debt>) -> Vec<Debt> {
    let is_shown = |debt: &Debt| whole.host(&debt.host).is_none_or(|host| granted.sees(host));
    debts.into_iter().filter(is_shown).collect()
}
