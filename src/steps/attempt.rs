//! One attempt of one step, with a known outcome whenever possible: after a broken connection rollcall reconnects
//! and asks the host for the result. A step that may do harm when it runs twice goes through the wrapper,
//! which runs it at most once; the others can be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::context::{Mode, StepContext};
use super::patience::Patience;
use crate::domain::base::outcome::milliseconds;

use super::scripts::split_word;
use super::seal::Seal;
use super::wrapper;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::HostPlan;
use crate::domain::run::event::Progress;
use crate::domain::task::task::Step;
use crate::domain::value::secret::Masks;
use crate::port::{Exec, ExecEnd, ExecReport, Input, Program};
use crate::script;

/// The time limit of a guard.
pub(super) const GUARD_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit of an inspection.
pub(super) const LOOK_TIMEOUT: Duration = GUARD_TIMEOUT;

/// Lines of one command that wait to be published; more are dropped.
const LINES_CAPACITY: usize = 64;

/// How an attempt ended, and what it printed.
pub struct Done {
    pub outcome: Outcome,
    pub stdout: Output,
    pub stderr: Output,
}

impl Done {
    /// An outcome without output of the host.
    pub fn silent(outcome: Outcome) -> Done {
        Done { outcome, stdout: Output::default(), stderr: Output::default() }
    }

    /// A failure of rollcall itself.
    pub fn failed(why: String) -> Done {
        Done::silent(Outcome::Failed { code: None, why })
    }
}

/// One attempt of one step.
pub struct Attempt<'a> {
    pub context: &'a StepContext,
    pub plan: &'a HostPlan,
    pub step: &'a Step,
    pub operation: String,
    /// The name of its record on the host.
    pub record: String,
    /// The secrets shared with its runner.
    pub seal: Seal,
}

impl<'a> Attempt<'a> {
    /// The attempt that the journal names `operation`.
    pub fn new(
        context: &'a StepContext,
        plan: &'a HostPlan,
        step: &'a Step,
        operation: String,
    ) -> Attempt<'a> {
        let record = wrapper::record_of(&operation, &context.mark);
        let seal = context.ports.seals.of(&record);
        Attempt { context, plan, step, operation, record, seal }
    }
}

impl Attempt<'_> {
    /// The host that it runs on.
    pub fn endpoint(&self) -> &Endpoint {
        self.step.at.as_ref().unwrap_or(&self.plan.endpoint)
    }

    /// The suffix of temporary names on the host. It has the operation id, so that no operation takes another's, and a
    /// part that no earlier step can guess.
    pub fn suffix(&self) -> String {
        format!("rollcall-{}.{}", wrapper::name_of(&self.operation), self.seal.name())
    }

    /// The name of its state on the host, which no earlier step can guess.
    pub fn kept_as(&self) -> String {
        format!("{}.{}", self.record, self.seal.name())
    }

    /// Nothing had to be done; in an interrupted run perhaps because it was done before.
    pub fn unchanged(&self) -> Outcome {
        let acts = self.context.mode != Mode::DryRun;
        if self.context.resumed.is_some() && acts { Outcome::Ok } else { Outcome::Unchanged }
    }

    /// The result of an inspection that failed; it has changed nothing.
    pub fn inspection_failed(&self, report: ExecReport) -> Done {
        let done = self.done(report, |_| Outcome::Ok);
        match done.outcome {
            Outcome::Lost { why } => Done { outcome: Outcome::NotStarted { why }, ..done },
            _ => done,
        }
    }

    /// Runs a script that may run again without harm: it is repeated when it is lost, within the step's time. True
    /// if it was sent more than once.
    pub async fn exec(&self, script: String, input: Input, timeout: Duration) -> (ExecReport, bool) {
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            let request = self.request(script.clone(), input.clone(), timeout);
            let mut report = self.context.ports.remote.exec(self.endpoint(), request).await;
            let Some(why) = lost(&report.end, again) else { return (report, again) };
            again = true;
            if !patience.pause(&self.context.cancel).await {
                report.end = ExecEnd::Lost(why);
                return (report, again);
            }
        }
    }

    /// A script with the limits of the step, under its user.
    pub fn request(&self, script: String, input: Input, timeout: Duration) -> Exec {
        self.context.request(Program::Script(script), &self.step.sudo, input, timeout)
    }

    /// Hides secrets in output that the wrapper passes on, but not in the wrapper's own words.
    pub fn masks(&self, record: &str) -> Arc<Masks> {
        let masks = &self.context.masks;
        // They were built once without an error, and fewer forms cannot cause one.
        masks.sparing(&wrapper::own_words(record)).unwrap_or_else(|_| masks.clone())
    }

    pub fn done(&self, report: ExecReport, good: impl FnOnce(&Output) -> Outcome) -> Done {
        let outcome = match report.end {
            ExecEnd::Exited(0) => good(&report.stdout),
            ExecEnd::Exited(code) => {
                let hint = script::about_sudo(&self.step.sudo, &report.stderr).unwrap_or_default();
                Outcome::Failed { code: Some(code), why: report.end.describe(&report.stderr) + &hint }
            }
            ExecEnd::Signalled(_) => Outcome::Failed { code: None, why: report.end.describe(&report.stderr) },
            ExecEnd::TimedOut => self.timed_out(),
            ExecEnd::Cancelled => Outcome::Cancelled,
            ExecEnd::Lost(why) | ExecEnd::Foreign(why) => Outcome::Lost { why },
            ExecEnd::NotStarted(why) => Outcome::NotStarted { why },
        };
        Done { outcome, stdout: report.stdout, stderr: report.stderr }
    }

    pub fn timed_out(&self) -> Outcome {
        Outcome::Timeout { after_ms: milliseconds(self.step.timeout) }
    }

    /// Publishes lines of the step as progress, each line once, while there are followers. A host
    /// that is asked again repeats all lines; `shown` counts those already published.
    pub fn show(&self, shown: &Arc<AtomicUsize>) -> Option<mpsc::Sender<String>> {
        let progress = self.context.progress.clone();
        if progress.receiver_count() == 0 {
            return None;
        }
        let (sender, mut lines) = mpsc::channel::<String>(LINES_CAPACITY);
        let (host, shown) = (self.plan.endpoint.name.clone(), shown.clone());
        let own = wrapper::own_prefix(&self.record);
        let masks = self.context.masks.clone();
        tokio::spawn(async move {
            let mut to_skip = shown.load(Ordering::Relaxed);
            while let Some(line) = lines.recv().await {
                if line.starts_with(&own) {
                    continue;
                }
                if to_skip > 0 {
                    to_skip -= 1;
                    continue;
                }
                shown.fetch_add(1, Ordering::Relaxed);
                // Without followers the send fails, which does not matter to the step.
                let _ = progress.send(Progress { host: host.clone(), line: masks.text(&line) });
            }
        });
        Some(sender)
    }

    /// Runs one of rollcall's own scripts as a dry run.
    pub(super) async fn inspect_with(&self, script: String) -> Done {
        let (report, _) = self.exec(script, Input::None, LOOK_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.inspection_failed(report);
        }
        let (stdout, word) = split_word(report.stdout);
        let outcome = if word == "unchanged" { Outcome::Unchanged } else { Outcome::WouldChange };
        Done { outcome, stdout, stderr: report.stderr }
    }

    /// Runs one of rollcall's own scripts. A lost one is repeated; then the first execution may be the one
    /// that changed something.
    pub(super) async fn run_own(&self, script: String, input: Input) -> Done {
        let (report, again) = self.exec(script, input, self.step.timeout).await;
        let (stdout, word) = match report.end {
            ExecEnd::Exited(0) => split_word(report.stdout),
            _ => (report.stdout, String::new()),
        };
        let report = ExecReport { stdout, ..report };
        self.done(report, |_| match word.as_str() {
            "unchanged" if !again => self.unchanged(),
            _ => Outcome::Ok,
        })
    }
}

/// Why it has to be sent again; `again` when it was sent more than once.
pub(super) fn lost(end: &ExecEnd, again: bool) -> Option<String> {
    match end {
        ExecEnd::Lost(why) => Some(why.clone()),
        ExecEnd::NotStarted(why) if again => Some(why.clone()),
        _ => None,
    }
}
