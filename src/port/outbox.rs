//! The port of notification.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::StoreError;
use crate::domain::notify::held::RunLog;
use crate::domain::notify::incident::Incident;
use crate::domain::notify::incidents::{IncidentKey, IncidentLog};
use crate::domain::notify::notice::Notice;
use crate::domain::watch::alert::Alert;

/// Alerts, the incidents of each channel, and messages until they are delivered.
///
/// If [`Outbox::tell`] stores one part of its argument without the others, a message is lost or sent twice when the
/// process dies.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Alerts behind `after`, oldest first, at most `limit`; with their numbers.
    async fn alerts(&self, after: u64, limit: usize) -> Result<Vec<(u64, Alert)>, StoreError>;
    /// The stored state of a channel; an empty one for a new channel.
    async fn teller(&self, channel: &str) -> Result<Teller, StoreError>;
    /// Stores how far a channel has read, its changed incidents, and its new messages: all of it or nothing.
    async fn tell(&self, update: ChannelUpdate) -> Result<(), StoreError>;
    /// The number of the last event that a channel has read for messages about runs (the newest one, for a new channel),
    /// and what it remembers of them.
    async fn run_teller(&self, channel: &str) -> Result<(u64, RunLog), StoreError>;
    /// Stores both and adds messages, in one transaction.
    async fn tell_runs(&self, update: RunUpdate) -> Result<(), StoreError>;
    /// The oldest messages of a channel that are neither delivered nor abandoned.
    async fn waiting(&self, channel: &str, limit: usize) -> Result<Vec<PendingMessage>, StoreError>;
    /// Records that a message was delivered.
    async fn delivered(&self, id: u64, at: Timestamp) -> Result<(), StoreError>;
    /// Records why a message was not delivered, and the time of its next attempt.
    async fn not_delivered(&self, id: u64, next_try: Timestamp, why: &str) -> Result<(), StoreError>;
    /// Postpones all waiting messages of a channel to this time, unless they wait longer.
    async fn postpone(&self, channel: &str, next_try: Timestamp) -> Result<(), StoreError>;
    /// Makes all waiting messages of a channel due now.
    async fn hurry(&self, channel: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Abandons messages, and stores messages that report it.
    async fn give_up(
        &self,
        ids: Vec<u64>,
        at: Timestamp,
        tell: Vec<(String, Notice)>,
    ) -> Result<(), StoreError>;
    /// The delivery state of each channel that ever had a message.
    async fn fares(&self) -> Result<BTreeMap<String, Fares>, StoreError>;
}

/// The stored state of a channel.
#[derive(Debug, Default)]
pub struct Teller {
    /// The number of the last alert that was read.
    pub cursor: u64,
    pub open: Vec<Incident>,
    pub log: IncidentLog,
}

/// The changes of a channel after reading alerts, and by the time.
#[derive(Debug)]
pub struct ChannelUpdate {
    pub channel: String,
    pub cursor: u64,
    pub log: IncidentLog,
    /// `None` for incidents that are over.
    pub changed: Vec<(IncidentKey, Option<Incident>)>,
    pub notices: Vec<Notice>,
}

/// The changes of a channel after reading the journal, and by the time.
#[derive(Debug)]
pub struct RunUpdate {
    pub channel: String,
    /// The number of the last event that was read.
    pub cursor: u64,
    pub log: RunLog,
    pub notices: Vec<Notice>,
}

/// A message that is not delivered yet.
#[derive(Debug)]
pub struct PendingMessage {
    pub id: u64,
    pub notice: Notice,
    pub tries: u32,
    pub next_try: Timestamp,
}

/// The delivery state of a channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fares {
    pub delivered: u64,
    pub waiting: u64,
    pub given_up: u64,
    pub last_delivered: Option<Timestamp>,
    /// The last error of the waiting messages, or of those that were abandoned last.
    pub trouble: Option<String>,
    pub next_try: Option<Timestamp>,
}
