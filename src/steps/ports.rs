//! The ports that reach hosts, for steps and for the engine above them.

use std::path::PathBuf;
use std::sync::Arc;

use super::seal::SealKey;
use crate::port::outputs::Outputs;
use crate::port::{Clock, Places, Prober, Remote};

/// The ports by which a run reaches hosts, and how it identifies itself there.
#[derive(Clone)]
pub struct HostPorts {
    pub remote: Arc<dyn Remote>,
    pub prober: Arc<dyn Prober>,
    pub clock: Arc<dyn Clock>,
    /// The positions in logs where the last probes ended.
    pub places: Arc<dyn Places>,
    /// The whole output of commands.
    pub outputs: Arc<dyn Outputs>,
    /// The folder for files of hosts: a folder for each run, and in it one for each host.
    pub downloads: PathBuf,
    /// The folder of artifacts that were given to commands.
    pub artifacts: PathBuf,
    /// Identifies this rollcall on hosts: run numbers start at 1 for each.
    pub site: String,
    /// The key that proves that a record on a host was written by a runner of this rollcall.
    pub seals: SealKey,
    /// The epoch of this process: hosts refuse a lower one.
    pub epoch: u64,
}
