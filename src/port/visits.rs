//! The port of the line "since your last visit": who has seen which event, and what happened after it.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::RunOutcome;
use crate::domain::run::visit::Moment;
use crate::domain::watch::subject::Subject;

/// Visits of operators to the page of the fleet.
///
/// If an implementation loses a visit, its operator reads again what they have seen; if it invents one, they miss what
/// happened.
#[async_trait]
pub trait Visited: Send + Sync {
    /// The page is opened by the key. What it had been shown before this visit.
    async fn opened(&self, key: &str, now: Moment) -> Result<Option<Moment>, StoreError>;
    /// The same for a page that is open already; nothing is stored.
    async fn seen_before(&self, key: &str) -> Result<Option<Moment>, StoreError>;
    /// What happened after a moment.
    async fn happened(&self, from: Moment) -> Result<Happened, StoreError>;
}

/// What happened after a moment. Each of it once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    /// Runs that ended, the newest of them.
    pub ended: Vec<(RunId, RunOutcome)>,
    /// More have ended.
    pub more_ended: bool,
    /// Hosts, and their balancers, whose debt was opened then and is open.
    pub owed: Vec<(HostName, String)>,
    /// Checks that became critical, confirmed.
    pub critical: Vec<(HostName, Subject)>,
}
