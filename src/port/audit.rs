//! The port of the audit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::ask::audit::{AuditFact, AuditPage, ChainSummary};
use crate::domain::base::configuration::ConfigVersion;

/// The audit: rows that are only ever added.
///
/// If [`AuditLog::record`] returns before its rows survive a loss of power, a command may act without a record.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Adds rows, all or none of them; returns the number of the last one.
    async fn record(&self, facts: Vec<AuditFact>) -> Result<u64, StoreError>;
    /// A page of rows.
    async fn page(&self, query: AuditQuery) -> Result<AuditPage, StoreError>;
    /// Verifies the audit and the journal, every row of them; the error names the first that was changed.
    async fn verify(&self) -> Result<Vec<ChainSummary>, StoreError>;
}

/// The versions of the configuration that were in force.
///
/// If [`ConfigVersions::keep`] keeps a secret, `config diff` prints it.
#[async_trait]
pub trait ConfigVersions: Send + Sync {
    /// Keeps a version as the newest one, with the texts of its files without secrets.
    async fn keep(&self, version: ConfigVersion, texts: BTreeMap<String, String>) -> Result<(), StoreError>;
    /// The newest kept version whose digest starts with `start`; the newest of all without it.
    async fn kept(&self, start: Option<String>) -> Result<Option<KeptConfig>, StoreError>;
}

/// A version of the configuration: by its path, the digest of each file, and its text without secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptConfig {
    pub digest: String,
    pub files: BTreeMap<String, String>,
    pub texts: BTreeMap<String, String>,
}

/// Which rows. With `after` or `from`, the oldest of them; otherwise the newest.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    pub after: Option<u64>,
    pub before: Option<u64>,
    pub from: Option<Timestamp>,
    pub name: Option<String>,
    /// All without any.
    pub types: Vec<String>,
    /// Only what was not done.
    pub refused: bool,
    pub limit: usize,
}
