//! The sessions of one connection. sshd allows a number of them (MaxSessions) that it does not announce; it refuses one
//! too many. The limit is learned from refusals and kept as long as the connection, as sshd keeps its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most sessions at the same time on one connection: sshd's default is ten, and two are left for the time that sshd
/// needs to free a session that was closed.
const MOST: usize = 8;

/// The sessions of one connection.
pub struct Sessions {
    permits: Arc<Semaphore>,
    counts: Arc<Mutex<SessionCounts>>,
}

/// What is known about the limit of the host.
#[derive(Clone, Copy, Debug, PartialEq)]
struct SessionCounts {
    /// Sessions that may be open at the same time.
    limit: usize,
    /// Sessions that the host has confirmed and that are open now.
    open: usize,
    /// The most that were open at the same time: the host's limit is not below it.
    most: usize,
}

impl SessionCounts {
    fn opened(&mut self) {
        self.open += 1;
        self.most = self.most.max(self.open);
    }

    /// The host has refused a session. True when the limit falls by one.
    fn refused(&mut self) -> bool {
        let falls = self.open > 0 && self.limit > self.most;
        self.limit -= usize::from(falls);
        falls
    }
}

/// One session, or the right to open one. It counts until it is dropped.
pub struct Session {
    /// `None` once the host has shown that its limit is lower.
    permit: Option<OwnedSemaphorePermit>,
    counts: Arc<Mutex<SessionCounts>>,
    open: bool,
}

impl Sessions {
    /// The sessions of a new connection.
    pub fn new() -> Sessions {
        let counts = SessionCounts { limit: MOST, open: 0, most: 0 };
        Sessions { permits: Arc::new(Semaphore::new(MOST)), counts: Arc::new(Mutex::new(counts)) }
    }

    /// Waits, in order, until one more may be opened.
    pub async fn acquire(&self) -> Session {
        // The semaphore is never closed; without a permit the host itself decides.
        let permit = self.permits.clone().acquire_owned().await.ok();
        Session { permit, counts: self.counts.clone(), open: false }
    }
}

impl Session {
    /// The host has confirmed it.
    pub fn opened(&mut self) {
        self.open = true;
        lock(&self.counts).opened();
    }

    /// The host has refused it. True when others are open, so that waiting helps.
    pub fn refused(mut self) -> bool {
        let mut counts = lock(&self.counts);
        if counts.refused()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
        counts.open > 0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.open {
            lock(&self.counts).open -= 1;
        }
    }
}

fn lock(counts: &Mutex<SessionCounts>) -> std::sync::MutexGuard<'_, SessionCounts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lowers_the_limit_to_what_was_once_open_and_no_further() {
        let mut counts = SessionCounts { limit: MOST, open: 0, most: 0 };
        assert!(!counts.refused(), "none is open: the limit is not the reason");
        counts.opened();
        counts.opened();
        for left in (2..MOST).rev() {
            assert!(counts.refused());
            assert_eq!(counts.limit, left);
        }
        counts.open = 1;
        assert!(!counts.refused(), "two were open at the same time");
        assert_eq!(counts, SessionCounts { limit: 2, open: 1, most: 2 });
    }

    #[tokio::test]
    async fn a_refused_session_waits_until_another_one_ends() {
        let sessions = Sessions::new();
        let mut first = sessions.acquire().await;
        first.opened();
        for _ in 1..MOST {
            assert!(sessions.acquire().await.refused());
        }
        let waiting = sessions.acquire();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        let second = waiting.await;
        assert!(!second.refused(), "no other one is open");
    }
}
