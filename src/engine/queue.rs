//! The queue: operators who wait for hosts that others have, in the order in which they asked. It is in memory, since
//! each of them waits at a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::domain::lease::claim::Claim;

/// Most that wait at the same time.
const WAITING_LIMIT: usize = 4096;

/// Most that wait for one operator, so that a script that asks in a loop takes no places from others. A release train of one
/// operator has a few.
pub const WAITING_OF_ONE_LIMIT: usize = 16;

/// Why there is no place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The operator has [`WAITING_OF_ONE_LIMIT`] of them.
    Own,
    /// All are taken.
    Any,
}

/// Everyone who waits, and the sign that someone else may have their turn now.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Vec<QueueEntry>>,
    changed: watch::Sender<u64>,
}

/// One who waits.
#[derive(Clone, Debug)]
pub struct QueueEntry {
    /// Lower ones asked earlier.
    pub number: u64,
    pub claim: Claim,
    /// The command in words.
    pub title: String,
    pub since: Timestamp,
}

/// A place in the queue, until it is dropped.
pub struct Ticket {
    queue: Arc<Queue>,
    pub number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.lock().retain(|one| one.number != self.number);
        self.queue.touch();
    }
}

impl Queue {
    /// Takes a place behind all others, if there is one.
    pub fn join(self: &Arc<Queue>, claim: Claim, title: String, since: Timestamp) -> Result<Ticket, NoPlace> {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_LIMIT {
            return Err(NoPlace::Any);
        }
        if waiting.iter().filter(|one| one.claim.by == claim.by).count() >= WAITING_OF_ONE_LIMIT {
            return Err(NoPlace::Own);
        }
        let number = waiting.last().map_or(1, |last| last.number + 1);
        waiting.push(QueueEntry { number, claim, title, since });
        Ok(Ticket { queue: self.clone(), number })
    }

    /// The first who asked earlier and wants some of the same, but not what the claimant has already. A newcomer without
    /// a ticket is behind everyone.
    pub fn first_before(
        &self,
        claim: &Claim,
        ticket: Option<&Ticket>,
        has: impl Fn(&Claim) -> bool,
    ) -> Option<QueueEntry> {
        let earlier = |one: &&QueueEntry| ticket.is_none_or(|ticket| one.number < ticket.number);
        let in_way = |one: &&QueueEntry| one.claim.excludes(claim) && !has(&one.claim);
        self.lock().iter().take_while(earlier).find(in_way).cloned()
    }

    /// How many have to have their turn before this one, and itself: the first is 1.
    pub fn position(&self, claim: &Claim, number: u64) -> usize {
        let waiting = self.lock();
        let earlier = waiting.iter().take_while(|one| one.number < number);
        earlier.filter(|one| one.claim.excludes(claim)).count() + 1
    }

    /// All who wait, in their order.
    pub fn all(&self) -> Vec<QueueEntry> {
        self.lock().clone()
    }

    /// A run, a lease or a wait has ended.
    pub fn touch(&self) {
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// The signs of that.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<QueueEntry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::base::name::HostName;
    use crate::domain::lease::claim::Claimant;
    use crate::domain::lease::lease::LeaseKind;

    fn claim(by: &str, host: &str) -> Claim {
        let hosts = BTreeSet::from([HostName::from(host)]);
        Claim { by: by.into(), hosts, of: Claimant::Lease(LeaseKind::Hold) }
    }

    #[test]
    fn each_waits_for_those_who_asked_earlier_for_the_same() {
        let queue = Arc::new(Queue::default());
        let join = |by: &str, host: &str| {
            queue.join(claim(by, host), format!("hold {host}"), Timestamp::UNIX_EPOCH).unwrap()
        };
        let (first, other, second) = (join("ann", "a"), join("bob", "b"), join("eve", "a"));
        let before = |ticket: &Ticket, host: &str| {
            let first =
                queue.first_before(&claim("x", host), Some(ticket), |_| false).map(|one| one.claim.by);
            (queue.position(&claim("x", host), ticket.number), first)
        };
        assert_eq!(before(&first, "a"), (1, None));
        assert_eq!(before(&other, "b"), (1, None));
        assert_eq!(before(&second, "a"), (2, Some("ann".into())));
        assert!(
            queue.first_before(&claim("dan", "a"), None, |_| false).is_some(),
            "a newcomer is behind everyone"
        );
        let mut changes = queue.changes();
        drop(first);
        assert!(changes.has_changed().unwrap());
        assert_eq!(before(&second, "a"), (1, None));
        changes.mark_unchanged();
        let third = join("ann", "a");
        assert_eq!(before(&third, "a"), (2, Some("eve".into())), "who comes again is behind the others");
        let by: Vec<String> = queue.all().into_iter().map(|one| one.claim.by).collect();
        assert_eq!(by, ["bob", "eve", "ann"]);
    }

    #[test]
    fn the_queue_is_bounded_in_total_and_for_each_operator() {
        let queue = Arc::new(Queue::default());
        let join = |by: &str| queue.join(claim(by, "a"), String::new(), Timestamp::UNIX_EPOCH);
        let mut tickets: Vec<Ticket> = (0..WAITING_OF_ONE_LIMIT).map(|_| join("ann").unwrap()).collect();
        assert_eq!(join("ann").err(), Some(NoPlace::Own));
        drop(tickets.remove(0));
        tickets.push(join("ann").unwrap());
        assert_eq!(join("ann").err(), Some(NoPlace::Own));
        let operators =
            (WAITING_OF_ONE_LIMIT..WAITING_LIMIT).map(|n| format!("operator{}", n / WAITING_OF_ONE_LIMIT));
        tickets.extend(operators.map(|by| join(&by).unwrap()));
        assert_eq!(join("eve").err(), Some(NoPlace::Any));
        assert_eq!(tickets.last().map(|ticket| ticket.number), Some(WAITING_LIMIT as u64 + 1));
    }
}
