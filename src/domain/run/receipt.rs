//! The receipt of a finished run: the same bytes whenever it is asked for, so that a signature proves them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::event::{Event, EventKind, RunGrant};
use crate::domain::ask::command::Params;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, RunOutcome, Verdict};
use crate::domain::check::check::CheckResult;
use crate::domain::plan::plan::Plan;

/// The version of this form: it changes when a field changes its meaning or is removed.
const FORM: &str = "rollcall-receipt-1";

/// The namespace of its signatures: one that was made for another purpose does not fit.
pub const NAMESPACE: &str = "rollcall-receipt";

/// What a receipt says. Fields are written in this order.
#[derive(Debug, Serialize)]
pub struct Receipt<'r> {
    form: &'static str,
    run: RunId,
    title: &'r str,
    /// The operator, and the fingerprint of the key or what identifies the certificate.
    by: &'r str,
    key: &'r str,
    granted: Option<&'r RunGrant>,
    approved_by: BTreeSet<&'r str>,
    started_at: Timestamp,
    ended_at: Timestamp,
    outcome: RunOutcome,
    exit_status: u8,
    plan_sha256: &'r str,
    params: &'r Params,
    hosts: BTreeMap<&'r HostName, HostReceipt<'r>>,
    last_event: EventReceipt<'r>,
}

#[derive(Debug, Serialize)]
struct HostReceipt<'r> {
    end: End,
    why: &'r str,
    /// The last verdict of each check.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<String, Verdict>,
}

/// The event that ended the run, with its hash in the chain of the journal.
#[derive(Debug, Serialize)]
struct EventReceipt<'r> {
    seq: u64,
    sha256: &'r str,
}

/// The event that ended a run; `None` for a run that is under way.
pub fn last_event(events: &[Event]) -> Option<&Event> {
    events.iter().find(|event| matches!(event.kind, EventKind::RunEnded { .. }))
}

/// The receipt of a finished run as text. What operators settled after its end is not in it. `hash` is that of
/// [`last_event`].
pub fn receipt(plan: &Plan, events: &[Event], hash: &str) -> Option<String> {
    let (first, last) = (events.first()?, last_event(events)?);
    let EventKind::RunStarted { title, by, key, plan_sha256, granted } = &first.kind else { return None };
    let EventKind::RunEnded { outcome, .. } = last.kind else { return None };
    let mut receipt = Receipt {
        form: FORM,
        run: first.run,
        title,
        by,
        key,
        granted: granted.as_deref(),
        approved_by: BTreeSet::new(),
        started_at: first.at,
        ended_at: last.at,
        outcome,
        exit_status: outcome.exit_status(),
        plan_sha256,
        params: &plan.params,
        hosts: BTreeMap::new(),
        last_event: EventReceipt { seq: last.seq, sha256: hash },
    };
    events.iter().filter(|event| event.seq < last.seq).for_each(|event| receipt.add(event));
    let mut checks = checks(events, last.seq);
    for (host, of_host) in &mut receipt.hosts {
        of_host.checks = checks.remove(*host).unwrap_or_default();
    }
    serde_json::to_string_pretty(&receipt).ok().map(|text| text + "\n")
}

impl<'r> Receipt<'r> {
    fn add(&mut self, event: &'r Event) {
        if let EventKind::Approved { by, .. } = &event.kind {
            self.approved_by.insert(by);
        }
        if let EventKind::HostSettled { host, end, why } = &event.kind {
            self.hosts.insert(host, HostReceipt { end: *end, why, checks: BTreeMap::new() });
        }
    }
}

/// The last verdict of each check on each host.
fn checks(events: &[Event], end: u64) -> BTreeMap<HostName, BTreeMap<String, Verdict>> {
    let mut found: BTreeMap<HostName, BTreeMap<String, Verdict>> = BTreeMap::new();
    let mut add = |host: &HostName, result: &CheckResult| {
        found.entry(host.clone()).or_default().insert(result.check.to_string(), result.verdict);
    };
    for event in events.iter().filter(|event| event.seq < end) {
        if let EventKind::ChecksEnded { host, results, .. } = &event.kind {
            results.iter().for_each(|result| add(host, result));
        }
        if let EventKind::SnapshotEnded { hosts, results, .. } = &event.kind {
            hosts.iter().zip(results).for_each(|(host, result)| add(host, result));
        }
    }
    found
}
