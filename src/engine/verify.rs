//! Running checks: look, judge, and look again while the deadline allows.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::port::{Exec, ExecEnd, Input, Prober, Remote};
use super::script;
use crate::domain::check::{Check, CheckResult, Observation, Probe, judge};
use crate::domain::inventory::Endpoint;
use crate::domain::outcome::Verdict;
use crate::domain::output::KEEP_BYTES;
use crate::domain::task::Sudo;

/// The two ways to look at a host.
pub struct Eyes<'a> {
    pub remote: &'a dyn Remote,
    pub prober: &'a dyn Prober,
    pub cancel: CancellationToken,
}

/// Runs all checks of a host side by side. Their order in the answer is the order of `checks`.
pub async fn verify(eyes: &Eyes<'_>, host: &Endpoint, checks: &[Check]) -> Vec<CheckResult> {
    futures::future::join_all(checks.iter().map(|check| verify_one(eyes, host, check))).await
}

async fn verify_one(eyes: &Eyes<'_>, host: &Endpoint, check: &Check) -> CheckResult {
    let begun = Instant::now();
    let (mut looks, mut good) = (0, 0);
    loop {
        let seen = look(eyes, host, check).await;
        let (verdict, text) = judge(&check.probe, &seen);
        looks += 1;
        good = if verdict.passes() { good + 1 } else { 0 };
        let out_of_time = begun.elapsed() + check.retry.interval > check.retry.deadline;
        let done = good >= check.retry.successes;
        if done || out_of_time || eyes.cancel.is_cancelled() {
            return settle(check, verdict, text, looks, done);
        }
        wait(eyes, check.retry.interval).await;
    }
}

/// A check that looked good, but not as often in a row as it has to, did not pass.
fn settle(check: &Check, verdict: Verdict, text: String, looks: u32, done: bool) -> CheckResult {
    let (verdict, text) = match done || !verdict.passes() {
        true => (verdict, text),
        false => {
            let wanted = check.retry.successes;
            (
                Verdict::Unknown,
                format!("not seen good {wanted} times in a row within {:?}: {text}", check.retry.deadline),
            )
        }
    };
    CheckResult { check: check.name.clone(), verdict, text, looks }
}

async fn wait(eyes: &Eyes<'_>, time: Duration) {
    tokio::select! {
        biased;
        () = eyes.cancel.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

async fn look(eyes: &Eyes<'_>, host: &Endpoint, check: &Check) -> Observation {
    let Probe::Run { command, .. } = &check.probe else {
        return tokio::select! {
            biased;
            () = eyes.cancel.cancelled() => Observation::Blind { why: "cancelled".into() },
            seen = eyes.prober.probe(host, &check.probe, check.timeout) => seen,
        };
    };
    let request = Exec {
        script: script::run_as(command, &Sudo::No),
        input: Input::None,
        timeout: check.timeout,
        cancel: eyes.cancel.clone(),
        lines: None,
        fresh: false,
        keep_bytes: KEEP_BYTES,
    };
    let report = eyes.remote.exec(host, request).await;
    match report.end {
        ExecEnd::Exited(code) => Observation::Exited { code, stdout: report.stdout, stderr: report.stderr },
        ExecEnd::Signalled(signal) => Observation::Signalled { signal },
        ExecEnd::TimedOut => Observation::TimedOut { after: check.timeout },
        ExecEnd::Cancelled => Observation::Blind { why: "cancelled".into() },
        ExecEnd::Lost(why) | ExecEnd::NotStarted(why) => Observation::Blind { why },
    }
}
