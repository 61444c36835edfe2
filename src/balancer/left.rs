//! What is left on drained servers: requests in flight, and new ones that come all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::servers::Servers;

/// How long a drained server with a cookie or an agent must get no new session: HAProxy sends clients with its cookie
/// there, and its agent may end the drain. Longer than the usual interval of an agent, which is two seconds.
const WATCH: Duration = Duration::from_secs(5);

/// A server with requests, or one that still gets new ones.
pub struct Left {
    pub name: String,
    requests: u64,
    visited: bool,
}

impl Left {
    /// For a note.
    pub fn words(&self) -> String {
        let Left { name, requests, visited } = self;
        let more = if *visited { " (clients with its cookie still come)" } else { "" };
        format!("{name} {requests}{more}")
    }
}

/// The servers that have requests, or got new ones.
pub fn busy(servers: &Servers, names: &[String], visited: &[String]) -> Vec<Left> {
    let left = names.iter().filter_map(|name| {
        let (requests, visited) = (servers.get(name)?.in_flight(), visited.contains(name));
        (requests > 0 || visited).then(|| Left { name: name.clone(), requests, visited })
    });
    left.collect()
}

/// Watches drained servers that may get requests all the same.
#[derive(Default)]
pub struct LeftWatch {
    started: BTreeMap<String, u64>,
    /// When the last of them got a session, or was not drained; `None` without such servers.
    since: Option<Instant>,
    /// Those that got a session since they were drained.
    pub visited: Vec<String>,
}

impl LeftWatch {
    /// Takes note of a poll.
    pub fn note(&mut self, servers: &Servers, names: &[String], drained: bool) {
        for (name, server) in names.iter().filter_map(|name| Some((name, servers.get(name)?))) {
            if !server.is_doubtful_when_drained() {
                continue;
            }
            let before = self.started.insert(name.clone(), server.started());
            if before.is_some_and(|before| before != server.started()) && !self.visited.contains(name) {
                self.visited.push(name.clone());
            }
            if before != Some(server.started()) || !drained {
                self.since = Some(Instant::now());
            }
        }
    }

    /// None of them got a session for long enough.
    pub fn is_over(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() >= WATCH)
    }
}
