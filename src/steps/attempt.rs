//! One attempt of one step, to an outcome that is known whenever it can be: a connection that breaks is made
//! anew, and the host is asked what became of it. What may do harm when it is done twice goes through the wrapper,
//! which runs it at most once; the rest can be done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::context::{Mode, StepContext};
use super::patience::Patience;
use crate::domain::base::outcome::milliseconds;

use super::scripts::told;
use super::seal::Seal;
use super::wrapper;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::HostPlan;
use crate::domain::run::event::Progress;
use crate::domain::task::task::Step;
use crate::domain::value::secret::Masks;
use crate::port::{Exec, ExecEnd, ExecReport, Input};
use crate::script;

/// How long a guard may take.
pub(super) const GUARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a look may take.
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
    /// Without a word of the host.
    pub fn silent(outcome: Outcome) -> Done {
        Done { outcome, stdout: Output::default(), stderr: Output::default() }
    }

    /// Rollcall itself could not do it.
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
    /// How answers of the host name it.
    pub record: String,
    /// What this machine shares with its runner.
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
        let seal = context.seals.of(&record);
        Attempt { context, plan, step, operation, record, seal }
    }
}

impl Attempt<'_> {
    /// Where it is done.
    pub fn endpoint(&self) -> &Endpoint {
        self.step.at.as_ref().unwrap_or(&self.plan.endpoint)
    }

    /// Temporary names on the host carry the operation id, so that no operation takes another's, and what no
    /// earlier step can guess.
    pub fn suffix(&self) -> String {
        format!("rollcall-{}.{}", wrapper::name_of(&self.operation), self.seal.name())
    }

    /// A name for what the host keeps of it, which no earlier step can guess.
    pub fn kept_as(&self) -> String {
        format!("{}.{}", self.record, self.seal.name())
    }

    /// There is nothing to do; in a run that was interrupted perhaps because it was done.
    pub fn unchanged(&self) -> Outcome {
        let acts = self.context.mode != Mode::DryRun;
        if self.context.resumed.is_some() && acts { Outcome::Ok } else { Outcome::Unchanged }
    }

    /// A look that came to nothing has changed nothing either.
    pub fn looked_in_vain(&self, report: ExecReport) -> Done {
        let done = self.done(report, |_| Outcome::Ok);
        match done.outcome {
            Outcome::Lost { why } => Done { outcome: Outcome::NotStarted { why }, ..done },
            _ => done,
        }
    }

    /// Runs what does no harm when it is run again: as often as it is lost, within the step's time. True
    /// when it was sent more than once.
    pub async fn exec(&self, script: String, input: Input, timeout: Duration) -> (ExecReport, bool) {
        let script = script::run_as(&script, &self.step.sudo);
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            let request = self.request(script.clone(), input.clone(), timeout);
            let mut report = self.context.remote.exec(self.endpoint(), request).await;
            let Some(why) = lost(&report.end, again) else { return (report, again) };
            again = true;
            if !patience.pause(&self.context.cancel).await {
                report.end = ExecEnd::Lost(why);
                return (report, again);
            }
        }
    }

    /// What is sent to the host, with the password first where sudo wants one.
    pub fn request(&self, script: String, input: Input, timeout: Duration) -> Exec {
        self.context.request(script, script::with_password(&self.step.sudo, input), timeout)
    }

    /// Hides secrets in what the wrapper passes on, but not in what it says itself.
    pub fn masks(&self, record: &str) -> Arc<Masks> {
        let masks = &self.context.masks;
        // Built once without an error, they are so again with fewer forms.
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
            ExecEnd::Lost(why) => Outcome::Lost { why },
            ExecEnd::NotStarted(why) => Outcome::NotStarted { why },
        };
        Done { outcome, stdout: report.stdout, stderr: report.stderr }
    }

    pub fn timed_out(&self) -> Outcome {
        Outcome::Timeout { after_ms: milliseconds(self.step.timeout) }
    }

    /// Publishes lines as progress, for as long as somebody watches: those of the step, and each once. A host
    /// that is asked again tells all of them again; `shown` counts them.
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
                // Nobody watching any more is no trouble of the step.
                let _ = progress.send(Progress { host: host.clone(), line: masks.text(&line) });
            }
        });
        Some(sender)
    }

    /// Asks one of rollcall's own scripts what it would change.
    pub(super) async fn look_with(&self, script: String) -> Done {
        let (report, _) = self.exec(script, Input::None, LOOK_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.looked_in_vain(report);
        }
        let (stdout, word) = told(report.stdout);
        let outcome = if word == "unchanged" { Outcome::Unchanged } else { Outcome::WouldChange };
        Done { outcome, stdout, stderr: report.stderr }
    }

    /// Runs one of rollcall's own scripts. What was lost is done again; but then it may have been the first time
    /// that changed something.
    pub(super) async fn run_own(&self, script: String, input: Input) -> Done {
        let (report, again) = self.exec(script, input, self.step.timeout).await;
        let (stdout, word) = match report.end {
            ExecEnd::Exited(0) => told(report.stdout),
            _ => (report.stdout, String::new()),
        };
        let report = ExecReport { stdout, ..report };
        self.done(report, |_| match word.as_str() {
            "unchanged" if !again => self.unchanged(),
            _ => Outcome::Ok,
        })
    }
}

/// Why it is to be sent again; `again` when it was sent more than once.
pub(super) fn lost(end: &ExecEnd, again: bool) -> Option<String> {
    match end {
        ExecEnd::Lost(why) => Some(why.clone()),
        ExecEnd::NotStarted(why) if again => Some(why.clone()),
        _ => None,
    }
}
