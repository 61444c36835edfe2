//! Everything that the engine reaches the world through, built once by the composition root.

use std::path::PathBuf;
use std::sync::Arc;

use crate::port::{BalancerDriver, Clock, Places, Prober, Remote, Secrets, Store};
use crate::steps::seal::SealKey;

/// The world, as the engine reaches it.
#[derive(Clone)]
pub struct Ports {
    pub remote: Arc<dyn Remote>,
    pub prober: Arc<dyn Prober>,
    pub balancers: Arc<dyn BalancerDriver>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub secrets: Arc<dyn Secrets>,
    /// Where looks at logs have ended.
    pub places: Arc<dyn Places>,
    /// Where files of hosts are kept: a folder for each run, and in it one for each host.
    pub downloads: PathBuf,
    /// Tells hosts which rollcall it is that works on them: run numbers begin at 1 for each.
    pub site: String,
    /// What proves that a record on a host comes from a runner of ours.
    pub seals: SealKey,
    /// The term of this process: hosts refuse one that was replaced.
    pub epoch: u64,
}
