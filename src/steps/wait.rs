//! Steps that wait or check, and change nothing on the host.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::base::outcome::milliseconds;

use crate::domain::base::outcome::{Outcome, Verdict, seconds};
use crate::domain::base::output::Output;
use crate::domain::check::check::{Check, CheckResult, Retry};
use crate::domain::check::probe::Probe;
use crate::domain::check::seen::Observation;
use crate::domain::task::task::Awaited;
use crate::domain::value::shell;
use crate::port::{Exec, ExecEnd, ExecReport, Input};
use crate::probes::verify::{judge_masked, verify};
use crate::script;
use crate::steps::attempt::{Attempt, Done, LOOK_TIMEOUT};

/// The time limit of one probe of a port or an HTTP answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The least time for a probe, even for the last one.
const LEAST_TIME: Duration = Duration::from_secs(5);

const PATH: &str = r#"[ -e "$1" ] || [ -L "$1" ]"#;

/// The condition of a wait, and its rhythm.
pub(super) struct Wait<'a> {
    pub what: &'a Awaited,
    pub gone: bool,
    pub interval: Duration,
}

/// The result of one probe.
enum WaitResult {
    There(String),
    Gone(String),
    /// The probe could not find out.
    Blind(String),
}

/// A passed probe in words; nothing was changed.
fn observed(text: String) -> Done {
    let stdout = Output { text: format!("{text}\n"), left_out: 0 };
    Done { stdout, ..Done::silent(Outcome::Unchanged) }
}

impl Attempt<'_> {
    /// Runs a script, once, over the kept connection or a new one.
    pub(super) async fn once(&self, script: &str, timeout: Duration, fresh: bool) -> ExecReport {
        let script = script::in_place(self.step, script);
        let request = self.request(script, Input::None, timeout);
        self.context.ports.remote.exec(self.endpoint(), Exec { fresh, ..request }).await
    }

    /// Waits until the condition holds, or until the step's time is up; a dry run probes once.
    pub(super) async fn wait(&self, wait: &Wait<'_>, acts: bool) -> Done {
        if !acts {
            return self.observe_once(wait).await;
        }
        let age = self.context.resumed.unwrap_or_default();
        let until = Instant::now() + self.step.timeout.saturating_sub(age);
        loop {
            let found = self.find(wait.what, until).await;
            let why = match (found, wait.gone) {
                (WaitResult::There(text), false) | (WaitResult::Gone(text), true) => return observed(text),
                (WaitResult::There(text), true) => Ok(format!("still there: {text}")),
                (WaitResult::Gone(text), false) => Ok(text),
                (WaitResult::Blind(why), _) => Err(why),
            };
            if self.context.cancel.is_cancelled() {
                return Done::silent(Outcome::Cancelled);
            }
            if Instant::now() + wait.interval > until {
                return self.waited_in_vain(why);
            }
            tokio::select! {
                biased;
                () = self.context.cancel.cancelled() => return Done::silent(Outcome::Cancelled),
                () = sleep(wait.interval) => {}
            }
        }
    }

    fn waited_in_vain(&self, why: Result<String, String>) -> Done {
        let time = seconds(milliseconds(self.step.timeout));
        match why {
            Ok(text) => Done::failed(format!("waited for {time} (timeout) in vain: {text}")),
            // It has changed nothing, also if the last probe failed.
            Err(why) => Done::silent(Outcome::NotStarted {
                why: format!("could not probe for {time} (timeout): {why}"),
            }),
        }
    }

    /// A dry run of a wait: probes once and does not wait.
    async fn observe_once(&self, wait: &Wait<'_>) -> Done {
        let found = self.find(wait.what, Instant::now() + LOOK_TIMEOUT).await;
        match (found, wait.gone) {
            (WaitResult::There(text), false) | (WaitResult::Gone(text), true) => observed(text),
            (WaitResult::There(text), true) => not_known(format!("it would wait: still there: {text}")),
            (WaitResult::Gone(text), false) => not_known(format!("it would wait: {text}")),
            (WaitResult::Blind(why), _) => Done::silent(Outcome::NotStarted { why }),
        }
    }

    async fn find(&self, what: &Awaited, until: Instant) -> WaitResult {
        let left = until.saturating_duration_since(Instant::now()).max(LEAST_TIME);
        match what {
            Awaited::Path(path) => match self.run_probe(&shell::with_arguments(PATH, &[path]), left).await {
                WaitResult::There(_) => WaitResult::There(format!("{path} is there")),
                WaitResult::Gone(_) => WaitResult::Gone(format!("{path} is not there")),
                blind => blind,
            },
            Awaited::Command(command) => match self.run_probe(command, left).await {
                WaitResult::Gone(why) => WaitResult::Gone(format!("the command fails: {why}")),
                found => found,
            },
            Awaited::Probe(probe) => self.find_service(probe, left).await,
        }
    }

    async fn run_probe(&self, script: &str, left: Duration) -> WaitResult {
        let report = self.once(script, left.min(LOOK_TIMEOUT), false).await;
        let said = report.end.describe(&report.stderr);
        match report.end {
            ExecEnd::Exited(0) => WaitResult::There("the command succeeds".into()),
            // A failure of sudo says nothing about the condition.
            ExecEnd::Exited(_) => match script::about_sudo(&self.step.sudo, &report.stderr) {
                Some(hint) => WaitResult::Blind(said + &hint),
                None => WaitResult::Gone(said),
            },
            ExecEnd::Signalled(_) | ExecEnd::TimedOut => WaitResult::Gone(said),
            ExecEnd::Cancelled | ExecEnd::Lost(_) | ExecEnd::NotStarted(_) | ExecEnd::Foreign(_) => {
                WaitResult::Blind(said)
            }
        }
    }

    async fn find_service(&self, probe: &Probe, left: Duration) -> WaitResult {
        let seen = self.context.ports.prober.probe(self.endpoint(), probe, left.min(PROBE_TIMEOUT)).await;
        let is_blind = matches!(seen, Observation::Blind { .. } | Observation::NoContact { .. });
        let judged = judge_masked(probe, seen, &self.context.masks);
        match judged.verdict {
            _ if is_blind => WaitResult::Blind(judged.text),
            verdict if verdict.passes() => WaitResult::There(judged.text),
            // The port is closed, or the answer is not the expected one.
            _ => WaitResult::Gone(judged.text),
        }
    }

    /// Runs a check, with its own retries; `once` probes only once.
    async fn verify(&self, check: &Check, once: bool) -> Result<CheckResult, Done> {
        let retry = if once { Retry::default() } else { check.retry };
        let check = Check { retry, ..check.clone() };
        let eyes = self.context.probes();
        let until = Instant::now() + self.step.timeout;
        let verified = timeout_at(until, verify(&eyes, self.endpoint(), std::slice::from_ref(&check))).await;
        if self.context.cancel.is_cancelled() {
            return Err(Done::silent(Outcome::Cancelled));
        }
        match verified {
            Ok(results) => {
                results.into_iter().next().ok_or_else(|| Done::failed("the check said nothing".into()))
            }
            Err(_) => Err(Done::silent(self.timed_out())),
        }
    }

    /// A check that has to pass for the host to continue. Its verdict in a dry run may differ when the step is due.
    pub(super) async fn check(&self, check: &Check, acts: bool) -> Done {
        match self.verify(check, !acts).await {
            Ok(result) if acts && result.verdict.passes() => observed(words(&result)),
            Ok(result) if acts => Done::failed(words(&result)),
            Ok(result) if result.verdict == Verdict::Ok => observed(words(&result)),
            Ok(result) => not_known(format!("now it says: {}", words(&result))),
            Err(done) => done,
        }
    }

    /// Waits; after a restart of rollcall only for the rest of the time.
    pub(super) async fn rest(&self, time: Duration) -> Done {
        let left = time.saturating_sub(self.context.resumed.unwrap_or_default());
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Done::silent(Outcome::Cancelled),
            () = sleep(left) => Done::silent(Outcome::Unchanged),
        }
    }
}

fn words(result: &CheckResult) -> String {
    format!("check {}: {}: {}", result.check, result.verdict.word(), result.text)
}

fn not_known(why: String) -> Done {
    Done::silent(Outcome::NotKnown { why })
}
