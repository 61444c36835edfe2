//! Runs checks: probe, judge, and retry while the deadline allows.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::context::ProbeContext;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::Output;
use crate::domain::check::check::{Check, CheckResult};
use crate::domain::check::judge::judge;
use crate::domain::check::judge::judged::Judged;
use crate::domain::check::probe::Probe;
use crate::domain::check::seen::{HttpAnswer, Observation};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::secret::{HIDDEN, Masks};
use crate::port::LogPosition;
use crate::probes::command::{CommandProbe, ended_at, is_connection};

/// One judged probe.
#[derive(Clone)]
pub(super) struct Probed {
    pub judged: Judged,
    pub no_contact: bool,
    /// The host itself answered.
    pub reached: bool,
    /// The position where a probe of a log ended.
    pub place: Option<LogPosition>,
}

/// Runs all checks of a host in parallel. The answer has the order of `checks`.
pub async fn verify(eyes: &ProbeContext<'_>, host: &Endpoint, checks: &[Check]) -> Vec<CheckResult> {
    join_all(checks.iter().map(|check| verify_one(eyes, host, check))).await
}

/// Runs one check of a host.
pub async fn verify_one(eyes: &ProbeContext<'_>, host: &Endpoint, check: &Check) -> CheckResult {
    let begun = Instant::now();
    let (mut probes, mut good) = (0, 0);
    loop {
        let mut probed = probe(eyes, host, check).await;
        probes += 1;
        good = if probed.judged.verdict.passes() { good + 1 } else { 0 };
        let out_of_time = begun.elapsed() + check.retry.interval > check.retry.deadline;
        let done = good >= check.retry.successes;
        if done || out_of_time || eyes.cancel.is_cancelled() {
            keep_place(eyes, host, check, &mut probed).await;
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let cancelled = eyes.cancel.is_cancelled();
            return CheckResult { probes, took_ms, ..settle(check, probed, (done, cancelled)) };
        }
        wait(eyes, check.retry.interval).await;
    }
}

/// Stores the position in a log: the next probe continues behind it.
async fn keep_place(eyes: &ProbeContext<'_>, host: &Endpoint, check: &Check, probed: &mut Probed) {
    let Some(place) = probed.place.take() else { return };
    if let Err(error) = eyes.places.keep_place((eyes.who, &host.name, &check.id()), place).await {
        probed.judged = Judged::new(Verdict::Unknown, error.to_string());
    }
}

/// The final result. A check that passed, but not `successes` times in a row, has not passed. A cancelled one
/// is unknown, and `unknown_is` does not apply.
fn settle(check: &Check, probed: Probed, (done, cancelled): (bool, bool)) -> CheckResult {
    let Probed { mut judged, no_contact, reached, .. } = probed;
    if cancelled && judged.verdict == Verdict::Unknown {
        return CheckResult {
            no_contact,
            reached,
            ..CheckResult::new(check.id(), Verdict::Unknown, judged.text)
        };
    }
    if !done && judged.verdict.passes() {
        let wanted = check.retry.successes;
        let text = format!(
            "not seen good {wanted} times in a row within {:?}: {}",
            check.retry.deadline, judged.text
        );
        judged = Judged { text, verdict: Verdict::Unknown, ..judged };
    }
    CheckResult { no_contact, reached, ..result_of(check, judged) }
}

/// The result of a probe: an unknown verdict counts as the check says, and the text names it.
pub(super) fn result_of(check: &Check, judged: Judged) -> CheckResult {
    let verdict = check.unknown_is.counts(judged.verdict);
    let text = match verdict == judged.verdict {
        true => judged.text,
        false => format!("unknown, which counts as {}: {}", verdict.word(), judged.text),
    };
    CheckResult {
        detail: judged.detail,
        readings: judged.readings,
        ..CheckResult::new(check.id(), verdict, text)
    }
}

/// Probes once from each place of the check; the worst result counts.
pub(super) async fn probe(eyes: &ProbeContext<'_>, host: &Endpoint, check: &Check) -> Probed {
    if check.seats.is_empty() {
        return probe_from(eyes, host, host, check).await;
    }
    let probes = join_all(check.seats.iter().map(|seat| probe_from(eyes, host, seat, check))).await;
    let worst = Verdict::worst(probes.iter().map(|probe| probe.judged.verdict));
    let found = check.seats.iter().zip(probes).find(|(_, probe)| probe.judged.verdict == worst);
    let Some((seat, probe)) = found else {
        return Probed {
            judged: Judged::new(Verdict::Unknown, "no place probes it"),
            no_contact: false,
            reached: false,
            place: None,
        };
    };
    let place = if seat.here { "rollcall's machine" } else { seat.name.as_str() };
    let text = format!("from {place}: {}", probe.judged.text);
    // The place itself could not be reached; that says nothing about the host.
    Probed { judged: Judged { text, ..probe.judged }, no_contact: false, reached: false, place: None }
}

/// Not an `async fn`: the compiler would generate all probes again for each caller.
fn probe_from<'a>(
    eyes: &'a ProbeContext<'_>,
    host: &'a Endpoint,
    seat: &'a Endpoint,
    check: &'a Check,
) -> BoxFuture<'a, Probed> {
    Box::pin(probed_from(eyes, host, seat, check))
}

async fn probed_from(eyes: &ProbeContext<'_>, host: &Endpoint, seat: &Endpoint, check: &Check) -> Probed {
    let seen = match is_connection(&check.probe) {
        true => tokio::select! {
            biased;
            () = eyes.cancel.cancelled() => Observation::Blind { why: "cancelled".into() },
            seen = connected(eyes, seat, check) => seen,
        },
        false => CommandProbe { eyes, host, seat, check }.observe().await,
    };
    let no_contact = matches!(seen, Observation::NoContact { .. });
    let reached = seen.proves_contact() && !seat.here;
    let place = ended_at(&seen, eyes.clock.now());
    Probed { judged: judge_masked(&check.probe, seen, &eyes.masks), no_contact, reached, place }
}

/// Reaches the place before the time of the service begins: a host that cannot be reached says nothing about its services.
async fn connected(eyes: &ProbeContext<'_>, seat: &Endpoint, check: &Check) -> Observation {
    match eyes.remote.reach(seat).await {
        Ok(()) => eyes.prober.probe(seat, &check.probe, check.timeout).await,
        Err(why) => Observation::NoContact { why },
    }
}

/// The verdict on an observation, with masked secrets in its text: they are masked before the text is cut,
/// because a cut text could show half of a secret.
pub fn judge_masked(probe: &Probe, seen: Observation, masks: &Masks) -> Judged {
    let judged = judge(probe, &seen);
    if masks.is_empty() {
        return judged;
    }
    let hidden = judge(probe, &masked(seen, masks));
    // Values that differ only in a secret would look equal: such a value is not compared.
    let value = hidden.value.clone().filter(|_| hidden.value == judged.value);
    match hidden.verdict == judged.verdict {
        true => Judged { value, ..hidden },
        // The verdict depends on a secret: the text is hidden.
        false => Judged::new(judged.verdict, HIDDEN),
    }
}

fn masked(seen: Observation, masks: &Masks) -> Observation {
    let output = |output: Output| Output { text: masks.text(&output.text), ..output };
    match seen {
        Observation::Exited { code, stdout, stderr } => {
            Observation::Exited { code, stdout: output(stdout), stderr: output(stderr) }
        }
        Observation::Answered(answer) => {
            let headers = answer.headers.iter().map(|(name, value)| (name.clone(), masks.text(value)));
            Observation::Answered(Box::new(HttpAnswer {
                headers: headers.collect(),
                body: masks.text(&answer.body),
                ..*answer
            }))
        }
        Observation::Connected { banner, took } => {
            Observation::Connected { banner: masks.text(&banner), took }
        }
        other => other,
    }
}

async fn wait(eyes: &ProbeContext<'_>, time: Duration) {
    tokio::select! {
        biased;
        () = eyes.cancel.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
