//! The state of one connection, and why it has to be closed: shared by russh's callbacks, the sessions of
//! its channels, and the task that serves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use russh::server::Handle;
use tokio_util::sync::CancellationToken;

use super::seats::ConnectionSeat;
use crate::domain::ask::access::{ExtraRight, Operator};
use crate::domain::ask::enrolled::Presented;
use crate::door::Desk;
use crate::door::client::{Client, lost};

/// Most commands on one connection at the same time: OpenSSH's own limit for sessions is 10.
const COMMANDS: usize = 16;

/// Most forwarded channels on one connection at the same time: browsers open several, and each reader of events needs one.
const FORWARDED: usize = 128;

/// Most channels on one connection in total: russh keeps about 3 KB of each until the connection ends. A program that polls
/// through a forwarded port opens one for each request.
const COMMANDS_IN_ALL: usize = 4096;
const FORWARDED_IN_ALL: usize = 16_384;

/// Most refused keys that are logged for a connection. russh closes it after 10 refusals.
const REFUSED_KEYS: usize = 10;

/// Most characters of a user name in the log and the audit; rollcall identifies people by their keys.
pub(super) const USER_CHARS: usize = 64;

/// What a connection has proved, and its owner at that time.
pub struct Login {
    pub presented: Presented,
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
    /// From the login until the last answer is over.
    pub client: OnceLock<Arc<Client>>,
    /// Held from the login until the last answer is over, also if the connection ends before that.
    pub seat: OnceLock<ConnectionSeat>,
    refused: Mutex<Refused>,
    commands: ChannelCount,
    forwarded: ChannelCount,
    worn: CancellationToken,
}

/// Offered keys that are not enrolled.
#[derive(Default)]
struct Refused {
    user: String,
    keys: Vec<String>,
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelUse {
    Command,
    Forwarded,
}

impl ChannelUse {
    /// Most channels at the same time, and in total.
    fn limits(self) -> (usize, usize) {
        match self {
            ChannelUse::Command => (COMMANDS, COMMANDS_IN_ALL),
            ChannelUse::Forwarded => (FORWARDED, FORWARDED_IN_ALL),
        }
    }
}

/// The channels of one use.
#[derive(Default)]
struct ChannelCount {
    running: AtomicUsize,
    begun: AtomicUsize,
}

/// A channel's place on its connection.
pub struct CommandSlot(Arc<Visit>, ChannelUse);

impl Drop for CommandSlot {
    fn drop(&mut self) {
        let count = self.0.count(self.1);
        let last = count.running.fetch_sub(1, Ordering::Relaxed) == 1;
        let (_, in_all) = self.1.limits();
        // Streams through a forwarded port may never end, and their clients go on where they were cut off.
        if count.begun.load(Ordering::Relaxed) >= in_all && (last || self.1 == ChannelUse::Forwarded) {
            self.0.worn.cancel();
        }
    }
}

impl Visit {
    fn count(&self, channel: ChannelUse) -> &ChannelCount {
        match channel {
            ChannelUse::Command => &self.commands,
            ChannelUse::Forwarded => &self.forwarded,
        }
    }

    /// A place for one more channel, if there is one.
    pub fn slot(self: &Arc<Visit>, channel: ChannelUse) -> Option<CommandSlot> {
        let (count, (at_once, in_all)) = (self.count(channel), channel.limits());
        // russh calls back for one message at a time, so no other call can interfere here.
        if count.running.load(Ordering::Relaxed) >= at_once || count.begun.load(Ordering::Relaxed) >= in_all {
            return None;
        }
        count.running.fetch_add(1, Ordering::Relaxed);
        count.begun.fetch_add(1, Ordering::Relaxed);
        Some(CommandSlot(self.clone(), channel))
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
    pub async fn over(&self, desk: &Desk) -> String {
        if let Some(why) = self.why.get() {
            return why.clone();
        }
        tokio::select! {
            why = self.changed(desk) => why,
            why = self.kicked() => why,
            () = self.worn.cancelled() => self.worn_by()
        }
    }

    /// Why a connection that has carried very many channels is closed.
    fn worn_by(&self) -> String {
        let what = match self.forwarded.begun.load(Ordering::Relaxed) >= FORWARDED_IN_ALL {
            true => format!("{FORWARDED_IN_ALL} requests"),
            false => format!("{COMMANDS_IN_ALL} commands"),
        };
        format!("this connection has carried {what}; connect again")
    }

    /// Resolves when an operator ends the session.
    async fn kicked(&self) -> String {
        match self.client.get() {
            Some(client) => client.session.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the configuration gives the operator other rights than at the login, or when those rights expire.
    async fn changed(&self, desk: &Desk) -> String {
        let (mut config, mut rights) = (desk.config.clone(), desk.rights.changes());
        let mut held: Vec<ExtraRight> = Vec::new();
        loop {
            config.mark_unchanged();
            rights.mark_unchanged();
            let now = match self.standing(desk) {
                Ok(now) => now,
                Err(why) => return why,
            };
            // Also one whose role the configuration has narrowed.
            if held.iter().any(|right| !now.extra.contains(right)) {
                return "your temporary rights have ended; connect again".into();
            }
            let until = now.until.into_iter().chain(now.extra.iter().map(|right| right.until)).min();
            held = now.extra;
            tokio::select! {
                changed = config.changed() => if changed.is_err() { return std::future::pending().await },
                changed = rights.changed() => if changed.is_err() { return std::future::pending().await },
                () = reached(until, desk.clock.now()) => {}
            }
        }
    }

    /// The operator as of now; or why the rights of the login hold no more.
    fn standing(&self, desk: &Desk) -> Result<Operator, String> {
        let Some(then) = self.login.get() else { return Err("this connection has no login".into()) };
        let now = desk.admit(&then.presented).map_err(|denial| lost(&denial))?;
        // Temporary rights come and go.
        let permanent = |of: &Operator| Operator { until: None, extra: Vec::new(), ..of.clone() };
        match permanent(&now) == permanent(&then.operator) {
            true => Ok(now),
            false => Err("your rights have changed; connect again".into()),
        }
    }
}

/// Waits until a time of day.
async fn reached(until: Option<Timestamp>, now: Timestamp) {
    let Some(until) = until else { return std::future::pending().await };
    let left = until.duration_since(now);
    // Not a moment too early: it would be asked again at once.
    let left = Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1);
    tokio::time::sleep(left).await;
}
