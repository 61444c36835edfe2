//! Probes of several hosts together: connections first, then all probes at once, then one judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::context::ProbeContext;
use super::verify::{Probed, probe, result_of};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::across::{SnapshotValues, compare};
use crate::domain::check::check::{CheckResult, Retry};
use crate::domain::check::judge::judged::Judged;
use crate::domain::plan::plan::{Snapshot, SnapshotMember};

/// The results of a snapshot.
pub struct SnapshotResult {
    pub results: BTreeMap<HostName, CheckResult>,
    /// From the start of the probes to the last answer, including waits for a free connection.
    pub spread: Duration,
}

/// One round of probes.
struct Round {
    judged: SnapshotValues,
    no_contact: Vec<HostName>,
    reached: Vec<HostName>,
    spread: Duration,
}

/// Probes all members at one moment, as nearly as their connections allow, and compares them; repeats that while
/// the check's deadline allows and there are outliers.
pub async fn snapshot(eyes: &ProbeContext<'_>, snapshot: &Snapshot) -> SnapshotResult {
    let retry = snapshot.members.values().next().map_or_else(Retry::default, |member| member.check.retry);
    let begun = Instant::now();
    let (mut probes, mut good) = (0, 0);
    loop {
        let round = round(eyes, snapshot).await;
        probes += 1;
        let passes = round.judged.values().all(|judged| judged.verdict.passes());
        good = if passes { good + 1 } else { 0 };
        let out_of_time = begun.elapsed() + retry.interval > retry.deadline;
        if good >= retry.successes || out_of_time || eyes.cancel.is_cancelled() {
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return tell(snapshot, round, probes, took_ms);
        }
        tokio::select! {
            biased;
            () = eyes.cancel.cancelled() => {}
            () = tokio::time::sleep(retry.interval) => {}
        }
    }
}

async fn round(eyes: &ProbeContext<'_>, snapshot: &Snapshot) -> Round {
    let limit = snapshot.members.values().map(|member| member.check.timeout).max().unwrap_or_default();
    let reaching = join_all(snapshot.members.values().flat_map(seats).map(|seat| eyes.remote.reach(seat)));
    // A host that could not be reached reports that when it is probed.
    let _ = timeout(limit, reaching).await;
    let started = Instant::now();
    let probes = join_all(snapshot.members.iter().map(|(name, member)| async move {
        let probed = match &member.broken {
            Some(why) => {
                let judged = Judged::new(Verdict::Unknown, why.as_str());
                Probed { judged, no_contact: false, reached: false, place: None }
            }
            None => probe(eyes, &member.endpoint, &member.check).await,
        };
        (name, started.elapsed(), probed)
    }))
    .await;
    let answered = probes.iter().filter(|(.., probe)| !probe.no_contact).map(|(_, at, _)| *at);
    let spread = answered.max().unwrap_or_default();
    let those = |wanted: fn(&Probed) -> bool| -> Vec<HostName> {
        probes.iter().filter(|(.., probe)| wanted(probe)).map(|(name, ..)| (*name).clone()).collect()
    };
    let (no_contact, reached) = (those(|probe| probe.no_contact), those(|probe| probe.reached));
    let seen: SnapshotValues =
        probes.into_iter().map(|(name, _, probe)| (name.clone(), probe.judged)).collect();
    Round { judged: compare(&snapshot.rule, &seen), no_contact, reached, spread }
}

/// The hosts that run the probe: the member itself, or the places of its check.
fn seats(member: &SnapshotMember) -> Vec<&crate::domain::inventory::inventory::Endpoint> {
    match member.check.seats.is_empty() {
        true => vec![&member.endpoint],
        false => member.check.seats.iter().collect(),
    }
}

fn tell(snapshot: &Snapshot, round: Round, probes: u32, took_ms: u64) -> SnapshotResult {
    let millis = round.spread.as_millis();
    let near = format!("{} hosts probed within {millis} ms", snapshot.members.len());
    let results = snapshot.members.iter().map(|(name, member)| {
        let silent = || Judged::new(Verdict::Unknown, "it was not probed");
        let judged = round.judged.get(name).cloned().unwrap_or_else(silent);
        let detail =
            if judged.detail.is_empty() { near.clone() } else { format!("{}\n{near}", judged.detail) };
        let result = CheckResult {
            probes,
            took_ms,
            detail,
            no_contact: round.no_contact.contains(name),
            reached: round.reached.contains(name),
            ..result_of(&member.check, judged)
        };
        (name.clone(), result)
    });
    SnapshotResult { results: results.collect(), spread: round.spread }
}
