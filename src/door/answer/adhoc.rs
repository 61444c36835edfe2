//! Work of the moment, beside `run`.

use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::adhoc::AdHoc;
use crate::domain::inventory::inventory::Inventory;

impl Asked<'_> {
    pub(super) async fn ad_hoc(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        asked: &AdHoc,
    ) -> Result<u8, Ended> {
        match asked {
            AdHoc::Ping { selector } => self.ping(inventory, selector).await,
            AdHoc::Copy(_) => {
                let plan = self.plan(inventory, granted.command()).await?;
                self.run(granted, plan, granted.command()).await
            }
            AdHoc::Fetch(asked) => self.fetch(granted, inventory, asked).await,
            AdHoc::Nodes(asked) => self.nodes(inventory, asked).await,
            AdHoc::Last { task } => self.last(granted, task.as_deref()).await,
        }
    }
}
