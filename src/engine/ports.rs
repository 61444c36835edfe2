//! Every port of the engine, built once by the composition root.

use std::path::PathBuf;
use std::sync::Arc;

use crate::port::{BalancerDriver, Clock, EventLog, Leases, Places, Prober, Remote, Secrets, Store};
use crate::steps::seal::SealKey;

/// The ports of the engine, and its settings.
#[derive(Clone)]
pub struct Ports {
    pub remote: Arc<dyn Remote>,
    pub prober: Arc<dyn Prober>,
    pub balancers: Arc<dyn BalancerDriver>,
    pub store: Arc<dyn Store>,
    pub leases: Arc<dyn Leases>,
    pub events: Arc<dyn EventLog>,
    pub clock: Arc<dyn Clock>,
    pub secrets: Arc<dyn Secrets>,
    /// The positions in logs where the last probes ended.
    pub places: Arc<dyn Places>,
    /// The folder for files of hosts: a folder for each run, and in it one for each host.
    pub downloads: PathBuf,
    /// Identifies this rollcall on hosts: run numbers start at 1 for each.
    pub site: String,
    /// The key that proves that a record on a host was written by a runner of this rollcall.
    pub seals: SealKey,
    /// The epoch of this process: hosts refuse a lower one.
    pub epoch: u64,
}
