//! Errors of the store and of the engine as refusals of a command.

use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::lease::lease::LeaseKind;
use crate::engine::StartError;
use crate::port::StoreError;
use crate::present::leases::in_the_way;

/// The refusal of a release in a freeze, with the way out.
pub(super) fn frozen(why: String) -> Refusal {
    let hint = "see: freeze; with a second person: TASK SELECTOR ... --break-glass because REASON";
    Refusal::rule(why).hint(hint)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match &error {
            StoreError::Busy { .. } => Refusal::new(Cause::Busy, error.to_string()),
            StoreError::Held { lease, hosts } if lease.kind == LeaseKind::Freeze => {
                frozen(in_the_way(lease, hosts))
            }
            StoreError::Held { lease, hosts } => {
                Refusal::new(Cause::Busy, in_the_way(lease, hosts)).hint("try: --wait, see: lock")
            }
            StoreError::Repeated => Refusal::new(Cause::Busy, error.to_string()),
            StoreError::Changed { .. } | StoreError::Failed(_) => Refusal::internal(error.to_string()),
        }
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Refusal {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Draining
            | StartError::Crowded(_)
            | StartError::Proposed(_)
            | StartError::Queued { .. } => Refusal::new(Cause::Busy, error.to_string()),
        }
    }
}
