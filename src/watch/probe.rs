//! One probe of a check, or of a host's contact.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::watch::roster::{DueProbe, ProbeTarget};
use crate::engine::ports::Ports;
use crate::panics::caught;
use crate::port::{Exec, ExecEnd, Program};
use crate::probes::context::ProbeContext;
use crate::probes::snapshot::snapshot;
use crate::probes::verify::verify_one;

/// How long a connected host may take to print anything.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of that output.
const CONTACT_BYTES: usize = 1024;

/// The reader name: each reader of a log continues at its own position.
const WHO: &str = "schedule";

/// The result of a probe, of one host or of several.
pub(super) enum Observed {
    One(CheckResult),
    Many(BTreeMap<HostName, CheckResult>),
}

/// The ports and settings that probes need.
#[derive(Clone)]
pub(super) struct Sight {
    pub ports: Ports,
    pub files: Arc<Path>,
    pub stop: CancellationToken,
}

impl Sight {
    /// Makes a probe. Never fails as a call: every failure is a verdict.
    pub(super) async fn probe(&self, probe: &DueProbe) -> Observed {
        caught(self.see(probe)).await.unwrap_or_else(|_| {
            let text = "rollcall failed inside; please report it with the daemon's log";
            Observed::One(CheckResult::new(id_of(probe), Verdict::Unknown, text))
        })
    }

    async fn see(&self, probe: &DueProbe) -> Observed {
        let unknown = |why: &str| Observed::One(CheckResult::new(id_of(probe), Verdict::Unknown, why));
        match &probe.what {
            ProbeTarget::Contact => Observed::One(self.contact(&probe.endpoint).await),
            ProbeTarget::Broken(why) => unknown(why),
            ProbeTarget::With(host) => unknown(&format!("it is probed with {host}")),
            ProbeTarget::Check(check) => {
                Observed::One(verify_one(&self.eyes(), &probe.endpoint, check).await)
            }
            ProbeTarget::Together(members) => Observed::Many(snapshot(&self.eyes(), members).await.results),
        }
    }

    fn eyes(&self) -> ProbeContext<'_> {
        ProbeContext {
            remote: &*self.ports.hosts.remote,
            prober: &*self.ports.hosts.prober,
            clock: &*self.ports.hosts.clock,
            places: &*self.ports.hosts.places,
            files: &self.files,
            who: WHO,
            cancel: self.stop.clone(),
            masks: self.ports.secrets.masks(None),
        }
    }

    async fn contact(&self, host: &Endpoint) -> CheckResult {
        let begun = Instant::now();
        let request = Exec::new(Program::Login("true"), CONTACT_TIMEOUT, CONTACT_BYTES);
        let request = Exec { cancel: self.stop.clone(), ..request };
        let (verdict, text) = match self.ports.hosts.remote.exec(host, request).await.end {
            ExecEnd::NotStarted(why) | ExecEnd::Lost(why) => (Verdict::Critical, why),
            ExecEnd::TimedOut => (Verdict::Critical, format!("it said nothing within {CONTACT_TIMEOUT:?}")),
            ExecEnd::Cancelled => (Verdict::Unknown, "not probed: rollcall is stopping".into()),
            // With any exit status, the host is reachable, and a login that runs something else may be a jump host's.
            ExecEnd::Exited(_) | ExecEnd::Signalled(_) | ExecEnd::Foreign(_) => {
                (Verdict::Ok, "it answers".into())
            }
        };
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (no_contact, reached) = (verdict == Verdict::Critical, verdict == Verdict::Ok);
        CheckResult {
            took_ms,
            no_contact,
            reached,
            probes: 1,
            ..CheckResult::new(CheckId::default(), verdict, text)
        }
    }
}

/// The contact is not a check; its results have an empty id, and the key of the probe names it.
pub(super) fn id_of(probe: &DueProbe) -> CheckId {
    probe.key.check.check().cloned().unwrap_or_default()
}
