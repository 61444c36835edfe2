//! An authenticated connection to one host, and what every message about a host begins with.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use russh::{Disconnect, client};
use tokio::time::Instant;

use super::authority::Errand;
use super::client::{Client, Loss, foreign};
use super::sessions::Sessions;
use crate::domain::inventory::inventory::Endpoint;

/// An authenticated connection to one host.
pub struct Link {
    pub handle: client::Handle<Client>,
    pub sessions: Sessions,
    pub(super) lost: Arc<OnceLock<Loss>>,
    /// Whether the host permits connections through it.
    pub(super) forwards: bool,
    /// When it was last in use, as far as anybody looked.
    used: Mutex<Instant>,
}

impl Link {
    /// A connection on which the host has accepted the login.
    pub(super) fn new(handle: client::Handle<Client>, lost: Arc<OnceLock<Loss>>, forwards: bool) -> Link {
        Link { handle, sessions: Sessions::new(), lost, forwards, used: Mutex::new(Instant::now()) }
    }

    /// True if nothing has used it for `limit`. A command and a connection through the host keep a reference to it.
    pub(super) fn is_idle(link: &Arc<Link>, limit: Duration) -> bool {
        let mut used = link.used.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(link) > 1 {
            *used = Instant::now();
        }
        used.elapsed() >= limit
    }

    /// It is handed out.
    pub(super) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// True when nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// True if it is alive and permits an errand.
    pub fn serves(&self, errand: Errand) -> bool {
        !self.is_closed() && (self.forwards || !errand.forwards())
    }

    /// Why the connection ended, if known.
    pub fn why_lost(&self) -> String {
        self.lost.get().map_or_else(|| "the connection was closed".into(), |loss| loss.why.clone())
    }
}

/// `cannot connect to web01 (10.0.0.1:22), handshake: ...`
pub fn phase(host: &Endpoint, phase: &str, why: &str) -> String {
    format!("cannot connect to {} ({}), {phase}: {}", host.name, host.shown_address(), foreign(why))
}

/// Closes a connection with a message to the host.
pub async fn hang_up(link: &Link) {
    // A connection that is already gone needs no message.
    let _ = link.handle.disconnect(Disconnect::ByApplication, "rollcall is done", "en").await;
}
