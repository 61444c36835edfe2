//! What rollcall observes of itself, for `doctor`. Plain values, which are judged where they become words.

use crate::domain::base::name::HostName;

/// All observations. A text in an error says why nothing could be observed, or what is wrong.
#[derive(Clone, Debug)]
pub struct VitalSigns {
    /// The digest of the configuration on disk; or its mistakes.
    pub on_disk: Result<String, String>,
    pub store: StoreSigns,
    /// Whether the clock of this machine is synchronized; `None` if that cannot be known.
    pub clock: Option<bool>,
    /// The addresses that operators connect to, and whether a connection there is greeted; none with `--local`.
    pub sockets: Vec<(String, Result<(), String>)>,
    /// File descriptors in use, and their limit.
    pub descriptors: Option<(u64, u64)>,
    /// The type of the key of the door; or what is wrong with it.
    pub host_key: Result<String, String>,
    /// Each key of `[fleet]` and its agent.
    pub identities: Vec<Result<String, String>>,
    /// Hosts without a key in known_hosts.
    pub keyless: Result<Vec<HostName>, String>,
    /// Whether the file of the running program was replaced.
    pub is_replaced: Option<bool>,
}

/// Observations of the store.
#[derive(Clone, Debug)]
pub struct StoreSigns {
    pub path: String,
    pub writable: Result<(), String>,
    /// What `quick_check` says; `None` if it did not end in time.
    pub intact: Option<Result<(), String>>,
    /// Whether the newest rows of the journal and the audit fit.
    pub chains: Result<(), String>,
    pub bytes: Result<u64, String>,
    /// The free space of its file system.
    pub free: Result<u64, String>,
}
