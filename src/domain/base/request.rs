//! The identity of a program's request.

use serde::{Deserialize, Serialize};

/// What makes a request one that was sent before, after its answer was lost: it starts no second run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// The word that the program chose.
    pub key: String,
    /// The keyed digest of what it asked for; it is in the store alone, not in events.
    #[serde(skip)]
    pub digest: String,
}
