//! The sessions of the door: who is connected, what they do, which runs they follow, and how an admin ends one.
//! In memory alone: a session ends with its connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::RunId;
use crate::present::sessions::{CommandUnderWay, ConnectedOperator, SessionLine};

/// Most runs that are remembered for an operator whose connection was lost while they followed them.
const LOST_RUNS: usize = 4;

/// Most operators for whom lost runs are remembered.
const LOST_OPERATORS: usize = 256;

/// All sessions of one door.
#[derive(Default)]
pub struct Sessions(Mutex<OpenSessions>);

#[derive(Default)]
struct OpenSessions {
    last: u64,
    all: BTreeMap<u64, Arc<SessionEntry>>,
    lost: BTreeMap<String, BTreeSet<RunId>>,
}

/// How a client reached the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedDoor {
    pub address: SocketAddr,
    /// The user name that it sent.
    pub user: String,
}

struct SessionEntry {
    guest: ConnectedOperator,
    door: ReachedDoor,
    commands: Mutex<BTreeMap<u64, CommandUnderWay>>,
    ended: CancellationToken,
    why: OnceLock<String>,
}

/// One session; it is listed until it is dropped.
pub struct DoorSession {
    sessions: Arc<Sessions>,
    id: u64,
    entry: Arc<SessionEntry>,
}

/// A command of a session; it is listed until it is dropped.
pub struct DoorCommand {
    sessions: Arc<Sessions>,
    session: u64,
    entry: Arc<SessionEntry>,
    id: u64,
}

impl Sessions {
    /// Lists a session.
    pub fn enter(self: &Arc<Sessions>, guest: ConnectedOperator, door: ReachedDoor) -> DoorSession {
        let entry = Arc::new(SessionEntry {
            guest,
            door,
            commands: Mutex::default(),
            ended: CancellationToken::new(),
            why: OnceLock::new(),
        });
        let mut open = self.lock();
        open.last += 1;
        let id = open.last;
        open.all.insert(id, entry.clone());
        DoorSession { sessions: self.clone(), id, entry }
    }

    /// All sessions, oldest first.
    pub fn list(&self) -> Vec<SessionLine> {
        let listed = |(id, entry): (&u64, &Arc<SessionEntry>)| SessionLine {
            id: *id,
            guest: entry.guest.clone(),
            commands: entry.commands().values().cloned().collect(),
        };
        self.lock().all.iter().map(listed).collect()
    }

    /// Ends a session with a reason; false if it is over.
    pub fn end(&self, id: u64, why: &str) -> bool {
        let Some(entry) = self.lock().all.get(&id).cloned() else { return false };
        let _ = entry.why.set(why.into());
        entry.ended.cancel();
        true
    }

    /// The operators who follow a run in sessions other than this one.
    pub fn others_at(&self, run: RunId, session: u64) -> BTreeSet<String> {
        let open = self.lock();
        let others = open.all.iter().filter(|(id, _)| **id != session);
        let watching =
            others.filter(|(_, entry)| entry.commands().values().any(|doing| doing.run == Some(run)));
        watching.map(|(_, entry)| entry.guest.operator.clone()).collect()
    }

    /// The runs that an operator followed when connections of theirs were lost. Each is returned once.
    pub fn take_lost(&self, operator: &str) -> BTreeSet<RunId> {
        self.lock().lost.remove(operator).unwrap_or_default()
    }

    fn lose(&self, operator: &str, run: RunId) {
        let mut open = self.lock();
        if open.lost.len() >= LOST_OPERATORS && !open.lost.contains_key(operator) {
            return;
        }
        let runs = open.lost.entry(operator.into()).or_default();
        runs.insert(run);
        if runs.len() > LOST_RUNS {
            runs.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenSessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionEntry {
    fn commands(&self) -> MutexGuard<'_, BTreeMap<u64, CommandUnderWay>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DoorSession {
    /// Lists a command of it.
    pub fn begin(&self, line: String, since: Timestamp) -> DoorCommand {
        let mut commands = self.entry.commands();
        let id = commands.last_key_value().map_or(0, |(last, _)| last + 1);
        commands.insert(id, CommandUnderWay { line, since, run: None });
        drop(commands);
        DoorCommand { sessions: self.sessions.clone(), session: self.id, entry: self.entry.clone(), id }
    }

    /// Resolves with the reason when an admin ends it.
    pub async fn ended(&self) -> String {
        self.entry.ended.cancelled().await;
        self.entry.why.get().cloned().unwrap_or_default()
    }
}

impl Drop for DoorSession {
    fn drop(&mut self) {
        self.sessions.lock().all.remove(&self.id);
    }
}

impl DoorCommand {
    /// How its client reached the door.
    pub fn door(&self) -> &ReachedDoor {
        &self.entry.door
    }

    /// The number of its session.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// It follows this run.
    pub fn follows(&self, run: RunId) {
        if let Some(doing) = self.entry.commands().get_mut(&self.id) {
            doing.run = Some(run);
        }
    }

    /// Its connection was lost while it followed a run.
    pub fn lost(&self, run: RunId) {
        self.sessions.lose(&self.entry.guest.operator, run);
    }
}

impl Drop for DoorCommand {
    fn drop(&mut self) {
        self.entry.commands().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(operator: &str) -> ConnectedOperator {
        ConnectedOperator {
            operator: operator.into(),
            key: "SHA256:k".into(),
            from: "192.0.2.1".parse().unwrap(),
            since: Timestamp::from_second(1).unwrap(),
        }
    }

    fn door() -> ReachedDoor {
        ReachedDoor { address: "192.0.2.9:22".parse().unwrap(), user: "ann".into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn sessions_and_commands_are_listed_while_they_last() {
        let sessions = Arc::new(Sessions::default());
        let (ann, ben) = (sessions.enter(guest("ann"), door()), sessions.enter(guest("ben"), door()));
        let command = ben.begin("watch 7".into(), at(2));
        command.follows(RunId(7));
        let listed = sessions.list();
        assert_eq!(
            listed.iter().map(|one| (one.id, one.commands.len())).collect::<Vec<_>>(),
            [(1, 0), (2, 1)]
        );
        assert_eq!(
            listed[1].commands[0],
            CommandUnderWay { line: "watch 7".into(), since: at(2), run: Some(RunId(7)) }
        );
        assert_eq!(sessions.others_at(RunId(7), 1), ["ben".to_string()].into());
        assert_eq!(sessions.others_at(RunId(7), command.session()), [].into());
        assert_eq!(sessions.others_at(RunId(8), 1), [].into());
        drop(command);
        assert_eq!(sessions.others_at(RunId(7), 1), [].into());
        drop((ann, ben));
        assert_eq!(sessions.list(), []);
    }

    #[tokio::test]
    async fn an_ended_session_knows_why() {
        let sessions = Arc::new(Sessions::default());
        let session = sessions.enter(guest("ann"), door());
        assert!(sessions.end(1, "kicked by ben"));
        assert_eq!(session.ended().await, "kicked by ben");
        drop(session);
        assert!(!sessions.end(1, "again"));
    }

    #[test]
    fn lost_runs_are_returned_once_and_are_bounded() {
        let sessions = Arc::new(Sessions::default());
        let session = sessions.enter(guest("ann"), door());
        let command = session.begin("watch 1".into(), at(1));
        (1..=6).for_each(|run| command.lost(RunId(run)));
        assert_eq!(sessions.take_lost("ben"), [].into());
        assert_eq!(sessions.take_lost("ann"), (3..=6).map(RunId).collect());
        assert_eq!(sessions.take_lost("ann"), [].into());
    }
}
