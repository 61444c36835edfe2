//! `ping`, and `hosts --unreachable`.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use super::asked::{Asked, Ended};
use crate::domain::base::refusal::Cause;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::present::json;
use crate::present::reach::{LastContact, Pinged, pinged, unreachable};

/// Hosts that are asked at the same time. More would fill the fleet's queue of handshakes, in which runs wait, too.
const AT_ONCE: usize = 16;

impl Asked<'_> {
    /// A round trip to each host.
    pub(super) async fn ping(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        let hosts: Vec<Host> = names.iter().filter_map(|name| inventory.host(name)).cloned().collect();
        let remote = self.ports().hosts.remote.clone();
        let mut asking = stream::iter(hosts)
            .map(|host| {
                let remote = remote.clone();
                async move {
                    let ping = remote.ping(&host.endpoint).await;
                    Pinged::of(&host.name, ping.connected, ping.round_trip)
                }
            })
            .buffer_unordered(AT_ONCE);
        let gone = self.terminal.gone();
        let mut all = Vec::new();
        loop {
            let one = tokio::select! {
                one = asking.next() => one,
                () = gone.cancelled() => return Err(Ended::Gone),
                () = self.interrupted() => return Err(Ended::Gone),
            };
            let Some(one) = one else { break };
            if self.json {
                self.terminal.out(&json::line("ping", &one)).await?;
            }
            all.push(one);
        }
        if !self.json {
            self.terminal.out(&pinged(&all)).await?;
        }
        Ok(if all.iter().all(|one| one.reachable) { 0 } else { Cause::Unreachable.exit_status() })
    }

    /// The hosts that the last contact did not reach, and those that were never tried. No host is asked.
    pub(super) async fn unreachable(
        &mut self,
        inventory: &Arc<Inventory>,
        selector: &str,
    ) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        let remote = self.ports().hosts.remote.clone();
        let hosts = names.iter().filter_map(|name| inventory.host(name));
        let listed: Vec<LastContact> = hosts
            .filter_map(|host| {
                let contact = remote.contact(&host.endpoint);
                let why = match &contact {
                    Some(contact) => Some(contact.end.clone().err()?),
                    None => None,
                };
                Some(LastContact {
                    host: host.name.clone(),
                    state: if why.is_some() { "unreachable" } else { "unknown" },
                    since: contact.as_ref().map(|contact| contact.since),
                    at: contact.map(|contact| contact.at),
                    why,
                })
            })
            .collect();
        let now = self.ports().hosts.clock.now();
        let text = match self.json {
            true => listed.iter().map(|one| json::line("contact", one)).collect(),
            false => unreachable(&listed, names.len() - listed.len(), now),
        };
        self.say(&text).await
    }
}
