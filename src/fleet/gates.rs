//! Handshakes that are under way at one SSH server. sshd disconnects new clients at random when too many have not logged in
//! yet (MaxStartups). The limit is learned from such disconnects, and forgotten when no connection is being made.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::inventory::inventory::Endpoint;

/// Most handshakes at the same time at one SSH server: sshd's default begins to disconnect at ten, and others log in, too.
const MOST: usize = 8;

/// Attempts of a handshake when the host disconnects before it identifies itself. With the pauses they take about five
/// seconds: an sshd that others keep busy lets one through in this time, and a service that is not SSH is reported soon.
pub(super) const HANDSHAKE_TRIES: u32 = 6;

/// The pause before the second attempt; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(150);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Gates are looked through for unused ones when there are more than so many.
const FEW: usize = 64;

/// An SSH server. The same address behind another jump host may be another machine.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Server {
    via: Option<Box<Endpoint>>,
    address: String,
    port: u16,
}

/// The gates of all SSH servers to which connections are being made.
#[derive(Default)]
pub(super) struct Gates(Mutex<Open>);

#[derive(Default)]
struct Open {
    gates: HashMap<Server, Weak<Gate>>,
    /// Looked through again when there are so many.
    look_at: usize,
}

struct Gate {
    permits: Arc<Semaphore>,
    /// Handshakes that may be under way at the same time.
    limit: Mutex<usize>,
}

/// The right to one handshake.
pub(super) struct Turn {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gates {
    /// Waits, in order and as long as it takes, for the right to a handshake.
    pub(super) async fn enter(&self, host: &Endpoint) -> Turn {
        let gate = self.gate(host);
        // The semaphore is never closed; without a permit the host itself decides.
        let permit = gate.permits.clone().acquire_owned().await.ok();
        Turn { gate, permit }
    }

    fn gate(&self, host: &Endpoint) -> Arc<Gate> {
        let server = Server { via: host.via.clone(), address: host.address.clone(), port: host.port };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = open.gates.get(&server).and_then(Weak::upgrade) {
            return gate;
        }
        if open.gates.len() >= open.look_at.max(FEW) {
            open.gates.retain(|_, gate| gate.strong_count() > 0);
            open.look_at = 2 * open.gates.len();
        }
        let gate = Arc::new(Gate { permits: Arc::new(Semaphore::new(MOST)), limit: Mutex::new(MOST) });
        open.gates.insert(server, Arc::downgrade(&gate));
        gate
    }
}

/// Keeps a learned limit between two attempts.
pub(super) struct Learned {
    _gate: Arc<Gate>,
}

impl Turn {
    /// The host disconnected before it identified itself. The limit falls by one, never below one.
    pub(super) fn dropped(mut self) -> Learned {
        let mut limit = self.gate.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if *limit > 1
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            *limit -= 1;
        }
        drop(limit);
        Learned { _gate: self.gate.clone() }
    }
}

/// The pause after an attempt: doubled with each, and from half to one and a half of that, so that hosts that were disconnected
/// together do not come back together. The same for the same host and attempt.
pub(super) fn pause(host: &str, attempt: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (host, attempt).hash(&mut hasher);
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let share = u32::try_from(hasher.finish() % 1001).unwrap_or_default();
    doubled / 2 + doubled * share / 1000
}

/// Why a host that never identified itself could not be reached.
pub(super) fn no_greeting(why: &str) -> String {
    format!(
        "the host disconnected before it identified itself, in {HANDSHAKE_TRIES} attempts ({why}); sshd does that when too many \
         clients have not logged in yet (MaxStartups) or have failed to (PerSourcePenalties); try: again later, a higher MaxStartups \
         in its sshd_config, or find out whether an SSH server listens there"
    )
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn host(name: &str, port: u16, via: Option<&str>) -> Endpoint {
        let via = via.map(|via| Box::new(host(via, 22, None)));
        Endpoint {
            name: name.into(),
            here: false,
            address: "192.0.2.1".into(),
            port,
            via,
            ..Endpoint::here()
        }
    }

    #[test]
    fn one_server_has_so_many_handshakes_and_disconnects_lower_the_limit_to_one() {
        let gates = Gates::default();
        let enter = |port, via| gates.enter(&host("a", port, via)).now_or_never();
        let mut turns: Vec<Turn> = (0..MOST).map(|_| enter(22, None).unwrap()).collect();
        assert!(enter(22, None).is_none());
        assert!(enter(23, None).is_some() && enter(22, Some("lb")).is_some(), "other servers");
        let mut learned = Vec::new();
        for _ in 1..MOST {
            learned.push(turns.pop().unwrap().dropped());
            assert!(enter(22, None).is_none());
        }
        learned.push(turns.pop().unwrap().dropped());
        let last = enter(22, None).unwrap();
        assert!(enter(22, None).is_none(), "the limit holds between two attempts");
        drop((last, learned));
        // No connection is being opened there: the limit is learned again.
        let turns: Vec<Option<Turn>> = (0..MOST).map(|_| enter(22, None)).collect();
        assert!(turns.iter().all(Option::is_some));
    }

    #[test]
    fn gates_that_no_connection_uses_are_removed() {
        let gates = Gates::default();
        for port in 1..5000 {
            drop(gates.enter(&host("a", port, None)).now_or_never().unwrap());
        }
        assert!(gates.0.lock().unwrap().gates.len() <= FEW);
    }

    #[test]
    fn pauses_double_within_bounds_and_differ_between_hosts() {
        for attempt in 1..HANDSHAKE_TRIES {
            let middle = (FIRST_PAUSE * 2u32.pow(attempt - 1)).min(LONGEST_PAUSE);
            let pauses: Vec<Duration> = (0..50).map(|at| pause(&format!("web{at}"), attempt)).collect();
            assert!(pauses.iter().all(|pause| (middle / 2..=middle * 3 / 2).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().collect::<std::collections::BTreeSet<_>>().len() > 40, "{pauses:?}");
        }
        assert_eq!(pause("web1", 3), pause("web1", 3));
        assert!(pause("web1", u32::MAX) <= LONGEST_PAUSE * 3 / 2);
    }
}
