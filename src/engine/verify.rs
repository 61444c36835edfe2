//! Running checks: look, judge, and look again while the deadline allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::port::{Exec, ExecEnd, Input, Prober, Remote};
use super::script;
use crate::domain::check::{Check, CheckResult, Observation, Probe, judge};
use crate::domain::inventory::Endpoint;
use crate::domain::outcome::Verdict;
use crate::domain::output::{KEEP_BYTES, Output};
use crate::domain::secret::{HIDDEN, Masks};
use crate::domain::task::Sudo;

/// The two ways to look at a host.
pub struct Eyes<'a> {
    pub remote: &'a dyn Remote,
    pub prober: &'a dyn Prober,
    pub cancel: CancellationToken,
    /// Hides secrets in what is told of a look; what is judged is what was seen.
    pub masks: Arc<Masks>,
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
        let (verdict, text) = judge_masked(&check.probe, seen, &eyes.masks);
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

/// The verdict on what was seen, in words that hide secrets: a text that is cut short could show the half of
/// one, so they are hidden before it is.
pub(super) fn judge_masked(probe: &Probe, seen: Observation, masks: &Masks) -> (Verdict, String) {
    let (verdict, text) = judge(probe, &seen);
    if masks.is_empty() {
        return (verdict, text);
    }
    let output = |output: Output| Output { text: masks.text(&output.text), ..output };
    let hidden = match seen {
        Observation::Exited { code, stdout, stderr } => {
            Observation::Exited { code, stdout: output(stdout), stderr: output(stderr) }
        }
        Observation::Answered { status, body } => Observation::Answered { status, body: masks.text(&body) },
        other => other,
    };
    match judge(probe, &hidden) {
        (same, words) if same == verdict => (verdict, words),
        // It was judged by a secret: there is nothing to tell of it.
        _ => (verdict, HIDDEN.into()),
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
    CheckResult { looks, ..CheckResult::new(&check.name, verdict, text) }
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
        sink: None,
        masks: Arc::default(),
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
