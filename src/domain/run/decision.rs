//! A decision of a run: an event to write, and the effect that it announces.

use super::event::{BracketDirection, EventKind, Stage};
use crate::domain::base::name::HostName;
use crate::domain::task::hook::Hook;

/// One event to write, and the effect to start once it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub event: EventKind,
    pub effect: Option<Effect>,
}

/// An action of the engine outside the process. Each effect reports back with exactly one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Observe {
        host: HostName,
    },
    Drain {
        balancer: String,
        hosts: Vec<HostName>,
    },
    Step {
        host: HostName,
        way: BracketDirection,
        step: usize,
        attempt: u32,
    },
    Checks {
        host: HostName,
        stage: Stage,
    },
    /// Probes hosts together; `hosts` receive the results.
    Snapshot {
        snapshot: usize,
        hosts: Vec<HostName>,
    },
    Enable {
        balancer: String,
        hosts: Vec<HostName>,
    },
    /// One step of a hook.
    Hook {
        hook: Hook,
        step: usize,
    },
    /// Drains again after the balancer forgot the first drain.
    Redrain {
        balancer: String,
        hosts: Vec<HostName>,
    },
}

impl Decision {
    /// An event without an effect.
    pub fn only(event: EventKind) -> Option<Decision> {
        Some(Decision { event, effect: None })
    }

    /// Enables hosts, all in one change.
    pub fn enable(balancer: &str, hosts: Vec<HostName>) -> Decision {
        Decision {
            event: EventKind::EnableStarted { balancer: balancer.into(), hosts: hosts.clone() },
            effect: Some(Effect::Enable { balancer: balancer.into(), hosts }),
        }
    }

    /// Runs the checks of a host.
    pub fn checks(host: &HostName, stage: Stage) -> Decision {
        Decision {
            event: EventKind::ChecksStarted { host: host.clone(), stage },
            effect: Some(Effect::Checks { host: host.clone(), stage }),
        }
    }
}
