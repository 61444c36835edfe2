//! The common state of the fleet's connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dial::{Dial, Identity};
use super::known_hosts::KnownHosts;
use crate::port::Clock;

/// The settings of the fleet.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Most handshakes at the same time, over all hosts.
    pub parallel: usize,
    /// The limit of each phase of connecting.
    pub connect_timeout: Duration,
    /// A connection is dead after four times this without an answer.
    pub keepalive: Duration,
    /// How long an unused connection is kept; `None` for as long as it lasts.
    pub idle_timeout: Option<Duration>,
}

/// The common state of all connections.
#[derive(Clone)]
pub struct FleetState(pub(super) Arc<Parts>);

/// See `FleetState`.
pub struct Parts {
    pub settings: ConnectionSettings,
    pub identities: Vec<Identity>,
    /// Those that hosts name.
    pub keys: BTreeMap<String, Identity>,
    pub known_hosts: KnownHosts,
    pub dial: Arc<dyn Dial>,
    pub clock: Arc<dyn Clock>,
}

impl std::ops::Deref for FleetState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
