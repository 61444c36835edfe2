//! Channels of `ssh -L` and `ssh -W`. Nothing is forwarded: what they reach is the API of this very daemon.

use std::sync::Arc;

use russh::Channel;
use russh::server::Msg;

use super::visit::{CommandSlot, Visit};
use crate::door::api::{self, Subsystem};
use crate::door::client::Client;

/// The name and the port of the API, as in `ssh -L 8080:rollcall:80 rollcall`.
const API_NAME: &str = "rollcall";
const API_PORT: u32 = 80;

/// What is spoken at a target; `None` for targets that are refused. Clients of korv ask for the address of the server
/// itself, by whatever name they know it.
pub fn spoken_at(host: &str, port: u32, own_port: u16) -> Option<Subsystem> {
    match (host, port) {
        (API_NAME, API_PORT) => Some(Subsystem::Forwarded),
        (_, port) if port == u32::from(own_port) => Some(Subsystem::Korv),
        _ => None,
    }
}

/// Serves one channel to its end.
pub async fn serve(
    client: Arc<Client>,
    (visit, speaks): (Arc<Visit>, Subsystem),
    channel: Channel<Msg>,
    slot: CommandSlot,
) {
    api::serve(client, speaks, channel.into_stream(), visit.parting.child_token()).await;
    drop(slot);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_daemon_itself_is_reached() {
        assert_eq!(spoken_at("rollcall", 80, 2222), Some(Subsystem::Forwarded));
        assert_eq!(spoken_at("localhost", 2222, 2222), Some(Subsystem::Korv));
        assert_eq!(spoken_at("rollcall", 443, 2222), None);
        assert_eq!(spoken_at("localhost", 80, 2222), None);
        assert_eq!(spoken_at("192.0.2.1", 22, 2222), None);
    }
}
