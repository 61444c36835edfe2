//! The state of one connection, and why it has to be closed: shared by russh's callbacks, the sessions of
//! its channels, and the task that serves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use russh::server::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::seats::Seat;
use crate::config::Config;
use crate::domain::ask::access::Operator;

/// Most commands on one connection at the same time: OpenSSH's own limit for sessions is 10.
const COMMANDS: usize = 16;

/// Most commands on one connection in total: russh keeps about 3 KB of each until the connection ends.
const COMMANDS_IN_ALL: usize = 4096;

/// Most refused keys that are logged for a connection. russh closes it after 10 refusals.
const REFUSED_KEYS: usize = 10;

/// Most characters of a user name in the log; rollcall identifies people by their keys.
const USER_CHARS: usize = 64;

/// The key that a connection has proven, and its owner at that time.
pub struct Login {
    pub key: String,
    pub operator: Operator,
}

/// One connection.
#[derive(Default)]
pub struct Visit {
    pub login: OnceLock<Login>,
    /// The way to the client outside of any channel.
    pub handle: OnceLock<Handle>,
    /// Fires when the login is complete.
    pub logged_in: CancellationToken,
    /// Fires when every session has to end, because the connection will be closed.
    pub parting: CancellationToken,
    /// Why the connection has to be closed.
    pub why: OnceLock<String>,
    /// Held from the login until the last answer is over, also if the connection ends before that.
    pub seat: OnceLock<Seat>,
    refused: Mutex<Refused>,
    running: AtomicUsize,
    begun: AtomicUsize,
    worn: CancellationToken,
}

/// Offered keys that are not enrolled.
#[derive(Default)]
struct Refused {
    user: String,
    keys: Vec<String>,
}

/// A command's place on its connection.
pub struct Slot(Arc<Visit>);

impl Drop for Slot {
    fn drop(&mut self) {
        let last = self.0.running.fetch_sub(1, Ordering::Relaxed) == 1;
        if last && self.0.begun.load(Ordering::Relaxed) >= COMMANDS_IN_ALL {
            self.0.worn.cancel();
        }
    }
}

impl Visit {
    /// A place for one more command, if there is one.
    pub fn slot(self: &Arc<Visit>) -> Option<Slot> {
        // russh calls back for one message at a time, so no other call can interfere here.
        if self.running.load(Ordering::Relaxed) >= COMMANDS
            || self.begun.load(Ordering::Relaxed) >= COMMANDS_IN_ALL
        {
            return None;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(Slot(self.clone()))
    }

    /// Records a refused key.
    pub fn refuse(&self, user: &str, key: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.user = user.chars().take(USER_CHARS).collect();
        if refused.keys.len() < REFUSED_KEYS && !refused.keys.contains(&key) {
            refused.keys.push(key);
        }
    }

    /// The user name and the keys of a connection that ended without a login, if it offered any key.
    pub fn refused(&self) -> Option<(String, Vec<String>)> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let in_vain = self.login.get().is_none() && !refused.keys.is_empty();
        in_vain.then(|| (refused.user.clone(), refused.keys.clone()))
    }

    /// Resolves with the reason when the connection has to be closed by rollcall.
    pub async fn over(&self, config: watch::Receiver<Arc<Config>>) -> String {
        if let Some(why) = self.why.get() {
            return why.clone();
        }
        tokio::select! {
            why = self.changed(config) => why,
            () = self.worn.cancelled() => {
                format!("this connection has carried {COMMANDS_IN_ALL} commands; connect again")
            }
        }
    }

    /// Resolves when the configuration gives the key other rights than it had at the login.
    async fn changed(&self, mut config: watch::Receiver<Arc<Config>>) -> String {
        loop {
            if let Some(why) = self.standing(&config.borrow_and_update()) {
                return why.into();
            }
            if config.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn standing(&self, config: &Config) -> Option<&'static str> {
        let then = self.login.get()?;
        match config.operators.iter().find(|operator| operator.key == then.key) {
            None => Some("your key is not in `operators` any more"),
            Some(now) if (now.role, &now.groups) != (then.operator.role, &then.operator.groups) => {
                Some("your line in `operators` has changed; connect again")
            }
            Some(_) => None,
        }
    }
}
