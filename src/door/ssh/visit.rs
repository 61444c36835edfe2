//! The state of one connection, and why it has to be closed: shared by russh's callbacks, the sessions of
//! its channels, and the task that serves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use russh::server::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::seats::ConnectionSeat;
use crate::domain::ask::access::{ExtraRight, Operator};
use crate::domain::ask::enrolled::Presented;
use crate::door::Desk;
use crate::door::client::{Client, lost};
use crate::port::Clock;

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
        let changes = (desk.config.clone(), desk.rights.changes());
        rights_over(changes, &*desk.clock, || self.standing(desk)).await
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

/// Resolves with the reason when rights are over; `standing` has those of the moment.
async fn rights_over<C, R>(
    (mut config, mut rights): (watch::Receiver<C>, watch::Receiver<R>),
    clock: &dyn Clock,
    standing: impl Fn() -> Result<Operator, String>,
) -> String {
    let (mut held, mut was_within): (Vec<ExtraRight>, _) = (Vec::new(), false);
    loop {
        config.mark_unchanged();
        rights.mark_unchanged();
        let now = match standing() {
            Ok(now) => now,
            Err(why) => return why,
        };
        // Also one whose role the configuration has narrowed.
        if held.iter().any(|right| !now.extra.contains(right)) {
            return "your temporary rights have ended; connect again".into();
        }
        let at = clock.now();
        let hours = now.hours().map(|hours| (hours, hours.contain(at)));
        // A connection from outside of the hours is for `whoami`, and for temporary rights.
        if let Some((hours, false)) = hours.filter(|_| was_within && now.extra.is_empty()) {
            return format!("the hours of the role {} are over: {hours}", now.role);
        }
        was_within |= hours.is_some_and(|(_, within)| within);
        let change = hours.map(|(hours, _)| hours.change(at));
        let until =
            now.until.into_iter().chain(now.extra.iter().map(|right| right.until)).chain(change).min();
        held = now.extra;
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return std::future::pending().await },
            changed = rights.changed() => if changed.is_err() { return std::future::pending().await },
            () = reached(until, at) => {}
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt;
    use jiff::SignedDuration;
    use jiff::tz::TimeZone;
    use tokio::time::Instant;

    use super::*;
    use crate::domain::ask::access::{OperatorRole, Role};
    use crate::domain::ask::hours::{Hours, Span};
    use crate::domain::ask::own_role::OwnRole;

    /// A time of day that follows the paused time of the test.
    struct Paused(Timestamp, Instant);

    impl Clock for Paused {
        fn now(&self) -> Timestamp {
            self.0 + SignedDuration::try_from(self.1.elapsed()).unwrap()
        }
    }

    /// When a connection is closed that begins at a time, in the hours 08:00-18:00 of UTC, and why.
    async fn closed(begin: &str, extra_until: Option<&str>) -> (String, String) {
        let clock = Paused(begin.parse().unwrap(), Instant::now());
        let hours = Hours { spans: vec![Span::parse("08:00-18:00").unwrap()], zone: TimeZone::UTC };
        let role = OwnRole { name: "day".into(), hours: Some(hours), ..OwnRole::default() };
        let right = extra_until.map(|until| ExtraRight {
            id: 1,
            role: OperatorRole::Standard(Role::Operator),
            groups: BTreeSet::from(["prod".into()]),
            until: until.parse().unwrap(),
        });
        let standing = || {
            let role = OperatorRole::Own(Arc::new(role.clone()));
            let extra = right.clone().into_iter().filter(|right| clock.now() < right.until).collect();
            Ok(Operator { role, extra, ..Operator::new("ann", "SHA256:x", Role::Viewer) })
        };
        let ((_config, config), (_rights, rights)) = (watch::channel(()), watch::channel(()));
        let why = rights_over((config, rights), &clock, standing).await;
        (clock.now().to_string()[..16].to_string(), why)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_when_the_hours_of_its_role_end() {
        let over = "the hours of the role day are over: 08:00-18:00 (UTC)";
        let ended = "your temporary rights have ended; connect again";
        let table = [
            ("2026-03-02T10:00:00Z", None, "2026-03-02T18:00", over),
            ("2026-03-02T17:59:59Z", None, "2026-03-02T18:00", over),
            // From before the hours until their end.
            ("2026-03-02T06:00:00Z", None, "2026-03-02T18:00", over),
            ("2026-03-02T18:00:00Z", None, "2026-03-03T18:00", over),
            // A temporary right holds outside of the hours of the role.
            ("2026-03-02T10:00:00Z", Some("2026-03-02T20:30:00Z"), "2026-03-02T20:30", ended),
        ];
        for (begin, extra, at, why) in table {
            assert_eq!(closed(begin, extra).await, (at.to_string(), why.to_string()), "{begin}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_without_hours_closes_nothing() {
        let clock = Paused(Timestamp::UNIX_EPOCH, Instant::now());
        let ((_config, config), (_rights, rights)) = (watch::channel(()), watch::channel(()));
        let standing = || Ok(Operator::new("ann", "SHA256:x", Role::Viewer));
        assert!(rights_over((config, rights), &clock, standing).now_or_never().is_none());
    }
}
