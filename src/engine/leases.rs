//! Leases of operators: granted in turn, ended by their operators, watched by those who wait.

use std::sync::Arc;

use tokio::sync::watch;

use super::queue::{Queue, Ticket};
use super::start::StartError;
use crate::domain::ask::access::Granted;
use crate::domain::lease::claim::Claim;
use crate::domain::lease::lease::{Lease, LeaseEnd};
use crate::port::{Clock, Leases, StoreError};

/// Grants and ends the leases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    leases: Arc<dyn Leases>,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
    draining: Arc<watch::Sender<bool>>,
}

/// A hold: it ends when this is dropped, however its session ends.
pub struct Holding {
    keeper: Keeper,
    pub lease: Lease,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let (keeper, id, by) = (self.keeper.clone(), self.lease.id, self.lease.by.clone());
        tokio::spawn(async move {
            let end = LeaseEnd { by, why: "its connection ended".into(), at: keeper.clock.now() };
            if let Err(error) = keeper.end_as(id, end).await {
                // It ends at the next start at the latest.
                tracing::error!(%error, "hold {id} could not be ended");
            }
        });
    }
}

impl Keeper {
    /// `draining` is true once rollcall stops.
    pub fn new(leases: Arc<dyn Leases>, clock: Arc<dyn Clock>, draining: Arc<watch::Sender<bool>>) -> Keeper {
        Keeper { leases, clock, queue: Arc::default(), draining }
    }

    /// The queue of those who wait for hosts.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The open leases of operators, oldest first.
    pub async fn open(&self, _proof: &Granted) -> Result<Vec<Lease>, StoreError> {
        self.leases.leases(self.clock.now()).await
    }

    /// Grants a lock.
    pub async fn lock(
        &self,
        granted: &Granted,
        lease: Lease,
        (ticket, take_over): (Option<&Ticket>, bool),
    ) -> Result<Lease, StartError> {
        debug_assert_eq!(granted.operator().name, lease.by);
        if *self.draining.borrow() {
            return Err(StartError::Draining);
        }
        // Who takes over does not wait for those who wait.
        if !take_over {
            self.in_turn(&Claim::of_lease(&lease), ticket).await?;
        }
        let lease = self.leases.grant(lease, take_over).await?;
        self.queue.touch();
        Ok(lease)
    }

    /// Grants a hold.
    pub async fn hold(
        &self,
        granted: &Granted,
        lease: Lease,
        turn: (Option<&Ticket>, bool),
    ) -> Result<Holding, StartError> {
        let lease = self.lock(granted, lease, turn).await?;
        Ok(Holding { keeper: self.clone(), lease })
    }

    /// Ends a lease; false if it was not open.
    pub async fn end(&self, granted: &Granted, id: u64, why: &str) -> Result<bool, StoreError> {
        let by = granted.operator().name.clone();
        self.end_as(id, LeaseEnd { by, why: why.into(), at: self.clock.now() }).await
    }

    async fn end_as(&self, id: u64, end: LeaseEnd) -> Result<bool, StoreError> {
        let ended = self.leases.end_lease(id, end).await?;
        self.queue.touch();
        Ok(ended)
    }

    /// Resolves when rollcall stops.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.draining.subscribe();
        async move {
            // The sender outlives every session.
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }

    /// Resolves when rollcall stops, or a lease was ended by another operator; the second case has its end.
    pub async fn over(&self, id: u64) -> Result<Option<LeaseEnd>, StoreError> {
        let mut changes = self.queue.changes();
        loop {
            if let Some(end) = self.leases.lease_end(id).await? {
                return Ok(Some(end));
            }
            tokio::select! {
                // The senders live in `self`.
                _ = changes.changed() => {}
                () = self.stopping() => return Ok(None),
            }
        }
    }

    /// Refuses a claim while others wait who asked for the same earlier.
    pub async fn in_turn(&self, claim: &Claim, ticket: Option<&Ticket>) -> Result<(), StartError> {
        if self.queue.first_before(claim, ticket, |_| false).is_none() {
            return Ok(());
        }
        let now = self.clock.now();
        let leases = self.leases.leases(now).await?;
        match self.queue.first_before(claim, ticket, |other| claim.has(&leases, other, now)) {
            Some(first) => Err(StartError::Queued { by: first.claim.by }),
            None => Ok(()),
        }
    }
}
