//! One lease: the hosts, the operator, the reason, and until when.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::base::name::HostName;

/// What ends a lease, besides an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseKind {
    /// Its time.
    Lock,
    /// The connection of its operator.
    Hold,
    /// Its time. Nothing is released on its hosts, also not by its operator; everything else goes on.
    Freeze,
}

impl fmt::Display for LeaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LeaseKind::Lock => "lock",
            LeaseKind::Hold => "hold",
            LeaseKind::Freeze => "freeze",
        })
    }
}

/// Hosts that one operator keeps for themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Counted from 1; 0 before it is granted.
    pub id: u64,
    pub kind: LeaseKind,
    pub by: String,
    pub key: String,
    /// Empty for a hold without a reason.
    pub why: String,
    /// As the operator wrote it; its hosts were resolved at that time.
    pub selector: String,
    pub hosts: BTreeSet<HostName>,
    pub since: Timestamp,
    /// `None` for a hold.
    pub until: Option<Timestamp>,
}

impl Lease {
    /// True while it excludes others.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// How a lease ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    pub by: String,
    pub why: String,
    pub at: Timestamp,
}
