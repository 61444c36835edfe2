//! Every port of the engine, built once by the composition root.

use std::sync::Arc;

use crate::port::{BalancerDriver, EventLog, Leases, Secrets, Store};
use crate::steps::ports::HostPorts;

/// The ports of the engine, and its settings.
#[derive(Clone)]
pub struct Ports {
    pub hosts: HostPorts,
    pub balancers: Arc<dyn BalancerDriver>,
    pub store: Arc<dyn Store>,
    pub leases: Arc<dyn Leases>,
    pub events: Arc<dyn EventLog>,
    pub secrets: Arc<dyn Secrets>,
}
