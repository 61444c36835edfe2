//! The common state of a door's connections: those that have not logged in, and the counts of refusals.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::server::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pacing::{ConnectionFailure, DoorPace, Pacing};
use super::pulse;
use super::seats::Seats;
use super::tally::Tally;
use super::visit::{Login, USER_CHARS};
use super::waiting::{Entered, Unauthenticated};
use crate::config::DoorSettings;
use crate::domain::ask::audit::{AuditKind, Caller};
use crate::door::Desk;
use crate::door::client::{AskedPages, Client};
use crate::door::entrances::Cookie;
use crate::door::sessions::ReachedDoor;
use crate::door::streams::Streams;
use crate::present::sessions::ConnectedOperator;

/// The common state of all connections of a door.
#[derive(Clone)]
pub struct DoorState {
    pub desk: Desk,
    /// Answers under way, on all connections.
    pub answers: TaskTracker,
    pub seats: Seats,
    pub lobby: Arc<Mutex<Lobby>>,
}

/// The connections that have not logged in, and the counts of refusals.
pub(super) struct Lobby {
    pub waiting: Unauthenticated,
    pub pacing: Pacing,
    /// Closes each of them.
    pub cuts: HashMap<u64, CancellationToken>,
    pub tally: Tally,
}

/// The source of a connection, and its place among those that have not logged in.
pub(super) struct Admission {
    pub shared: DoorState,
    pub from: IpAddr,
    pub id: u64,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut lobby = self.shared.lobby();
        lobby.waiting.leave(self.id);
        lobby.cuts.remove(&self.id);
    }
}

impl Lobby {
    pub fn new(settings: &DoorSettings) -> Lobby {
        let DoorSettings { waiting, rate, burst, penalty, .. } = *settings;
        let pacing = Pacing::new(DoorPace { rate, burst, penalty });
        Lobby {
            waiting: Unauthenticated::new(waiting),
            pacing,
            cuts: HashMap::new(),
            tally: Tally::default(),
        }
    }
}

impl DoorState {
    /// True if a source may open one more connection; a refused one is counted for the log.
    pub(super) fn may_connect(&self, from: IpAddr) -> bool {
        let (mut lobby, now) = (self.lobby(), Instant::now());
        if lobby.waiting.was_here_lately(from, now) {
            return true;
        }
        let entered = lobby.pacing.enter(from, now);
        if let Err(why) = entered {
            lobby.tally.note(why.clause(), from.to_string());
        }
        entered.is_ok()
    }

    /// Logs and lists a session, and makes its client.
    pub(super) fn enter(
        &self,
        login: &Login,
        reached: SocketAddr,
        handle: Handle,
    ) -> Result<Client, getrandom::Error> {
        self.note_login(login);
        let operator = ConnectedOperator {
            operator: login.operator.name.clone(),
            key: login.operator.key.clone(),
            from: login.presented.from,
            since: self.desk.clock.now(),
        };
        let door = ReachedDoor { address: reached, user: login.presented.user.clone() };
        Ok(Client {
            desk: self.desk.clone(),
            presented: login.presented.clone(),
            operator: login.operator.clone(),
            session: Arc::new(self.desk.sessions.enter(operator, door)),
            cookie: Cookie::new()?,
            pulse: Box::new(move || Box::pin(pulse::silence(handle.clone()))),
            streams: Streams::default(),
            asked: AskedPages::default(),
        })
    }

    fn note_login(&self, Login { presented, operator }: &Login) {
        let from = presented.from;
        tracing::info!(operator = operator.name, key = operator.key, %from, "connected");
        let caller = Caller {
            operator: operator.clone(),
            from: Some(from),
            config: self.desk.digest(),
            line: String::new(),
        };
        let user = presented.user.chars().take(USER_CHARS).collect();
        self.desk.audit.note(&caller, AuditKind::Login { user });
    }

    /// Records a login.
    pub(super) fn logged_in(&self, from: IpAddr) {
        let mut lobby = self.lobby();
        lobby.waiting.logged_in(from, Instant::now());
        lobby.pacing.logged_in(from);
    }

    /// Records a connection that ended without a login.
    pub(super) fn failed(&self, from: IpAddr, failure: ConnectionFailure) {
        self.lobby().pacing.failed(from, failure, Instant::now());
    }

    pub(super) fn lobby(&self) -> MutexGuard<'_, Lobby> {
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that was closed, for the log.
    pub(super) fn note(&self, closed: &'static str, source: String) {
        self.lobby().tally.note(closed, source);
    }

    /// A place for a new connection; `cut` closes it when others need the place more.
    pub(super) fn place(&self, from: IpAddr, cut: CancellationToken) -> Admission {
        let mut lobby = self.lobby();
        let Entered { id, leaves } = lobby.waiting.enter(from, Instant::now());
        lobby.cuts.insert(id, cut);
        if let Some((other, source)) = leaves {
            lobby.tally.note("before a login, to make room for others", source.to_string());
            if let Some(cut) = lobby.cuts.remove(&other) {
                cut.cancel();
            }
        }
        Admission { shared: self.clone(), from, id }
    }
}
