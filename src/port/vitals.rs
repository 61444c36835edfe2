//! The port through which rollcall observes itself.

use async_trait::async_trait;

use crate::domain::ask::vitals::VitalSigns;

/// Observes this process, its files and its store. It changes nothing.
#[async_trait]
pub trait Vitals: Send + Sync {
    async fn observe(&self) -> VitalSigns;
}
