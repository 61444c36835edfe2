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
/// itself, by whatever name they know it. They open the channel themselves, so they name no origin, as a port that `ssh`
/// forwards for all users of a machine does.
pub fn spoken_at((host, port): (&str, u32), origin: (&str, u32), own_port: u16) -> Option<Subsystem> {
    match (host, port) {
        (API_NAME, API_PORT) => Some(Subsystem::Forwarded),
        (_, port) if port == u32::from(own_port) && origin == ("", 0) => Some(Subsystem::Korv),
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
        let (own, forwarded) = (("", 0), ("127.0.0.1", 41234));
        let rows = [
            (("rollcall", 80), forwarded, Some(Subsystem::Forwarded)),
            (("rollcall", 80), own, Some(Subsystem::Forwarded)),
            (("localhost", 2222), own, Some(Subsystem::Korv)),
            (("localhost", 2222), forwarded, None),
            (("rollcall", 443), own, None),
            (("localhost", 80), own, None),
            (("192.0.2.1", 22), own, None),
        ];
        for (target, origin, wanted) in rows {
            assert_eq!(spoken_at(target, origin, 2222), wanted, "{target:?} {origin:?}");
        }
    }
}
