//! The hosts that runs are working on: from the first event of a host until it is settled. Computed from
//! the events of runs under way and stored nowhere, so that no host can stay held by mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::base::name::{HostName, RunId};
use crate::domain::plan::plan::RunKind;
use crate::domain::run::event::{Event, EventKind};

/// The held hosts at one moment.
#[derive(Clone, Debug, Default)]
pub struct HeldHosts {
    pub hosts: Arc<BTreeMap<HostName, RunId>>,
    /// Grows whenever a run has settled a host: its release may have changed.
    pub settled: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Hands {
    held: watch::Sender<HeldHosts>,
}

impl Hands {
    /// The held hosts, and their changes.
    pub fn subscribe(&self) -> watch::Receiver<HeldHosts> {
        self.held.subscribe()
    }

    /// Applies the events of a run of this kind.
    pub(super) fn saw(&self, kind: &RunKind, events: &[Event]) {
        if !matches!(kind, RunKind::Release { .. } | RunKind::Task { .. } | RunKind::Drain) {
            return;
        }
        self.held.send_if_modified(|held| {
            let mut changed = false;
            for event in events {
                changed |= saw_one(held, event);
            }
            changed
        });
    }

    /// A run is over, or has stopped: it holds no host any longer.
    pub(super) fn over(&self, run: RunId) {
        self.held.send_if_modified(|held| {
            if !held.hosts.values().any(|of| *of == run) {
                return false;
            }
            Arc::make_mut(&mut held.hosts).retain(|_, of| *of != run);
            held.settled += 1;
            true
        });
    }
}

fn saw_one(held: &mut HeldHosts, event: &Event) -> bool {
    use EventKind as E;
    match &event.kind {
        E::HostSettled { host, .. } => {
            held.settled += 1;
            if held.hosts.get(host) == Some(&event.run) {
                Arc::make_mut(&mut held.hosts).remove(host);
            }
            true
        }
        kind @ (E::ObserveStarted { .. }
        | E::DrainStarted { .. }
        | E::StepStarted { .. }
        | E::RollbackStarted { .. }
        | E::EnableStarted { .. }) => {
            let new = |host: &&HostName| held.hosts.get(*host) != Some(&event.run);
            let hosts: Vec<HostName> = kind.hosts().iter().filter(new).cloned().collect();
            let changed = !hosts.is_empty();
            if changed {
                Arc::make_mut(&mut held.hosts).extend(hosts.into_iter().map(|host| (host, event.run)));
            }
            changed
        }
        E::RunStarted { .. }
        | E::BatchStarted { .. }
        | E::Observed { .. }
        | E::ObserveFailed { .. }
        | E::DrainEnded { .. }
        | E::StepEnded { .. }
        | E::StepSkipped { .. }
        | E::ChecksStarted { .. }
        | E::ChecksEnded { .. }
        | E::SnapshotStarted { .. }
        | E::SnapshotEnded { .. }
        | E::EnableEnded { .. }
        | E::DrainForgotten { .. }
        | E::RedrainStarted { .. }
        | E::RedrainEnded { .. }
        | E::Stopped { .. }
        | E::Paused(_)
        | E::Resumed { .. }
        | E::Approved { .. }
        | E::Recovered { .. }
        | E::DebtSettled { .. }
        | E::CancelRequested { .. }
        | E::HookStarted { .. }
        | E::HookEnded { .. }
        | E::RunEnded { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::outcome::End;
    use jiff::Timestamp;

    fn events(run: u64, kinds: Vec<EventKind>) -> Vec<Event> {
        let event = |kind| Event { seq: 1, run: RunId(run), at: Timestamp::UNIX_EPOCH, kind };
        kinds.into_iter().map(event).collect()
    }

    #[test]
    fn a_host_is_held_from_its_first_step_until_it_is_settled() {
        let hands = Hands::default();
        let held =
            || hands.subscribe().borrow().hosts.keys().map(|host| host.to_string()).collect::<Vec<_>>();
        let release = RunKind::Release { task: "deploy".into() };
        let hosts = vec![HostName::from("web1"), HostName::from("web2")];
        let batch = EventKind::BatchStarted { batch: 0, hosts: hosts.clone() };
        hands.saw(&release, &events(1, vec![batch]));
        assert_eq!(held(), Vec::<String>::new(), "nothing was begun yet");
        hands.saw(&release, &events(1, vec![EventKind::DrainStarted { balancer: "web".into(), hosts }]));
        assert_eq!(held(), ["web1", "web2"]);
        let settled =
            |host: &str| EventKind::HostSettled { host: host.into(), end: End::Released, why: String::new() };
        hands.saw(&release, &events(1, vec![settled("web1")]));
        assert_eq!((held(), hands.subscribe().borrow().settled), (vec!["web2".to_string()], 1));
        // The run ends without having settled the other host.
        hands.over(RunId(2));
        assert_eq!(held(), ["web2"]);
        hands.over(RunId(1));
        assert_eq!(held(), Vec::<String>::new());
        // A run that changes nothing holds no host.
        let observe = EventKind::ObserveStarted { host: "web1".into() };
        hands.saw(&RunKind::Check, &events(3, vec![observe]));
        assert_eq!(held(), Vec::<String>::new());
    }
}
