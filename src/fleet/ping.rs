//! A round trip to a host, over its open connection or a new one.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Fleet;
use super::authority::Errand;
use super::link::{Link, phase};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::Ping;

impl Fleet {
    /// Asks the SSH server of a host for an answer. A connection that turns out to be dead is replaced.
    pub(super) async fn round_trip(&self, host: &Endpoint) -> Ping {
        let mut answered = Err(String::new());
        let mut connected = None;
        for is_last in [false, true] {
            let link = match self.link_or_new(host, Errand::Commands).await {
                Ok((link, took)) => {
                    connected = took;
                    link
                }
                Err(why) => return Ping::failed(why),
            };
            answered = self.asked(&link).await;
            if answered.is_ok() || connected.is_some() || is_last {
                break;
            }
            self.forget(host, &link).await;
        }
        let answered = answered.map_err(|why| phase(host, "ping", &why));
        self.contacts.record(host, self.shared.clock.now(), answered.clone().map(drop));
        Ping { connected, round_trip: answered }
    }

    async fn asked(&self, link: &Link) -> Result<Duration, String> {
        let limit = self.shared.settings.connect_timeout;
        let begun = Instant::now();
        match timeout(limit, link.handle.send_ping()).await {
            Ok(Ok(())) => Ok(begun.elapsed()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        }
    }
}
