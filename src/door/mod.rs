//! The doors: they move bytes and call the engine. What a command means is in [`answer`]; a door only
//! says who asks and where the answer goes.

pub mod answer;
pub mod local;
pub mod shown;
pub mod ssh;
pub mod turns;
mod watchlist;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::turns::Turns;
use crate::config::Config;
use crate::domain::ask::access::Operator;
use crate::engine::Engine;
use crate::notices::Tell;
use crate::panics::caught;
use crate::port::Watches;
use crate::watch::Monitor;

/// Whoever asked is not there any more. The run goes on.
#[derive(Debug, PartialEq)]
pub struct Gone;

/// Where an answer goes.
#[async_trait]
pub trait Terminal: Send + Sync {
    /// Results.
    async fn out(&mut self, text: &str) -> Result<(), Gone>;
    /// Remarks: errors, hints, the footer.
    async fn err(&mut self, text: &str) -> Result<(), Gone>;
    /// Results that are no text. What a host has written goes out as it is: never to somebody's screen.
    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone>;
    /// True when somebody looks at a screen.
    fn is_interactive(&self) -> bool;
    /// Fires when whoever asked is gone, so that nobody waits for them.
    fn gone(&self) -> CancellationToken;
}

/// What is said instead of an answer that panicked.
pub const BROKEN: &str = "rollcall: internal error, please report it; the daemon's log has it. \
                          Runs are not harmed by it; try: runs\n";

/// The exit status of an answer, or [`BROKEN`] when it panics: a panic may cost an answer, never a session.
pub async fn unbroken(answering: impl Future<Output = u8>) -> Result<u8, &'static str> {
    // Only the terminal is used afterwards, and it holds no state of the answer.
    caught(answering).await.map_err(|_| BROKEN)
}

/// Reads the whole configuration anew and puts it in place, or leaves the old one and says why.
#[async_trait]
pub trait Reload: Send + Sync {
    /// What was taken over, in one line; or the diagnostics.
    async fn reload(&self) -> Result<String, String>;

    /// Asks scripts in `hosts/` again whose time has come, for a command that plans. What does not answer
    /// well leaves what was in force; see [`Config::scripted`].
    async fn refresh(&self);
}

/// What every door needs.
#[derive(Clone)]
pub struct Desk {
    pub engine: Engine,
    pub tell: Tell,
    /// The configuration in force. Whoever took one keeps it to the end of their command.
    pub config: watch::Receiver<Arc<Config>>,
    pub reload: Arc<dyn Reload>,
    pub monitor: Monitor,
    pub watches: Arc<dyn Watches>,
    pub turns: Arc<AllTurns>,
}

impl Desk {
    /// The operator of a key, by the configuration in force now: a key that was taken out of it is refused
    /// at its next command.
    pub fn operator(&self, fingerprint: &str) -> Option<Operator> {
        self.config.borrow().operators.iter().find(|operator| operator.key == fingerprint).cloned()
    }
}

/// What may be done at the same time, by all and by one operator.
pub struct AllTurns {
    /// Work of a processor: the machine of rollcall has few, and its runs need them as well.
    pub work: Turns,
    /// Plans that are printed, from planning to the last byte that is read: each may take hundreds of megabytes.
    pub plans: Turns,
    /// Other answers about many hosts or runs, from the beginning to the last byte that is read.
    pub answers: Turns,
}

impl Default for AllTurns {
    fn default() -> Self {
        AllTurns { work: Turns::new(4, 1), plans: Turns::new(2, 1), answers: Turns::new(16, 4) }
    }
}
