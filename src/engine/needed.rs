//! The artifacts that runs and releases still need.

use std::collections::BTreeSet;

use super::Engine;
use crate::domain::base::digest::artifact_sum;
use crate::port::StoreError;

impl Engine {
    /// The SHA-256 of each artifact of a run under way, and of each release that hosts have or can go back to.
    pub async fn needed_artifacts(&self) -> Result<BTreeSet<String>, StoreError> {
        let taken = self.ports.store.taken().await?;
        let releases = taken.values().flatten().flat_map(|taken| taken.release.params.values());
        let named = |value: &String| artifact_sum(value).map(String::from);
        let mut needed: BTreeSet<String> = releases.filter_map(named).collect();
        for live in self.lives().values() {
            needed.extend(live.plan.artifacts());
        }
        Ok(needed)
    }
}
