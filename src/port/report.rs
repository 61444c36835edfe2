//! The port of `report`: what the store has of a time.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::End;
use crate::domain::run::history::{EndsOfRuns, HostPast};
use crate::domain::run::report::Absence;
use crate::domain::run::times::RunTimes;
use crate::domain::watch::uptime::Tally;

/// Records of a time.
///
/// If an implementation leaves records out, a report has false numbers.
#[async_trait]
pub trait Reports: Send + Sync {
    /// How the hosts of a run ended in it.
    async fn ends(&self, run: RunId) -> Result<RunEnds, StoreError>;
    /// How these hosts of a run ended in it, and before it in runs of the same task or command; hosts without an end are not
    /// there.
    async fn past(&self, run: RunId, hosts: &[HostName]) -> Result<Vec<HostPast>, StoreError>;
    /// How hosts ended in these runs, the newest first, with at most `most` of those that ended badly.
    async fn ends_of_runs(&self, runs: &[RunId], most: usize) -> Result<EndsOfRuns, StoreError>;
    /// How long the steps of a run took, if it has ended.
    async fn step_times(&self, run: RunId) -> Result<RunTimes, StoreError>;
    /// Hosts out of a balancer at some moment since this time, oldest first.
    async fn absences(&self, from: Timestamp) -> Result<Vec<Absence>, StoreError>;
    /// The probes of the schedule on a host since this time, counted for each check.
    async fn tallies(&self, host: &HostName, from: Timestamp) -> Result<Vec<Tally>, StoreError>;
}

/// How the hosts of a run ended in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunEnds {
    /// It is an operator's rollback.
    pub goes_back: bool,
    /// Hosts without an end are not in it.
    pub ends: BTreeMap<HostName, End>,
}
