//! One attempt of one step, to an outcome that is known whenever it can be: a connection that breaks is made
//! anew, and the host is asked what became of it. What may do harm when it is done twice goes through the wrapper,
//! which runs it at most once; the rest can be done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::asking::{Asking, Patience, milliseconds};
use super::effect::{Work, describe};
use super::kinds;
use super::port::{Exec, ExecEnd, ExecReport, Input};
use super::script;
use super::seal::Seal;
use super::wrapper;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::{HostPlan, Kind};
use crate::domain::run::event::Progress;
use crate::domain::task::task::{Step, StepBody};
use crate::domain::value::secret::Masks;

/// How long a guard may take.
const GUARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a look may take.
pub(super) const LOOK_TIMEOUT: Duration = GUARD_TIMEOUT;

/// Lines of one command that wait to be published; more are dropped.
const LINES_CAPACITY: usize = 64;

/// How an attempt ended, and what it printed.
pub(super) struct Done {
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
pub(super) struct Attempt<'a> {
    pub work: &'a Work,
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
    pub fn new(work: &'a Work, plan: &'a HostPlan, step: &'a Step, operation: String) -> Attempt<'a> {
        let record = wrapper::record_of(&operation, &work.mark);
        let seal = work.ports.seals.of(&record);
        Attempt { work, plan, step, operation, record, seal }
    }
}

impl Attempt<'_> {
    /// Does it; or, in a run that was interrupted, finds out what became of it; or, in a run that only looks, says
    /// what it would do. True when a guard said that there is nothing to do.
    pub async fn perform(&self) -> (Done, bool) {
        let kind = &self.work.live.plan.kind;
        let apart = self.apart().filter(|_| *kind != Kind::Run);
        let looks = matches!(kind, Kind::Look { .. });
        if let (Some(script), Some(_), false) = (&apart, self.work.resumed, looks) {
            return (self.ask(script).await, false);
        }
        if let Some(done) = self.guarded().await {
            return (done, true);
        }
        let done = match (&self.step.body, apart) {
            _ if looks => self.look().await,
            (_, Some(script)) => match self.send_script().await {
                None => self.ask(&script).await,
                Some(done) => done,
            },
            (StepBody::Run { script }, None) => self.ad_hoc(script).await,
            _ => self.act().await,
        };
        (done, false)
    }

    /// Where it is done.
    pub fn endpoint(&self) -> &Endpoint {
        self.step.at.as_ref().unwrap_or(&self.plan.endpoint)
    }

    async fn ask(&self, script: &str) -> Done {
        let done = Asking::new(self).ask(script).await;
        if matches!(self.step.body, StepBody::Run { .. } | StepBody::Script { .. })
            || done.outcome != Outcome::Ok
        {
            return done;
        }
        let (stdout, word) = kinds::told(done.stdout);
        // It ran once, whoever asks how often: what it says holds.
        let outcome = if word == "unchanged" { Outcome::Unchanged } else { Outcome::Ok };
        Done { outcome, stdout, ..done }
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

    /// Some when a guard says that there is nothing to do, or could not be asked.
    async fn guarded(&self) -> Option<Done> {
        let guard = script::guard(self.step)?;
        let (report, _) = self.exec(guard, Input::None, GUARD_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) => Some(self.done(report, |_| self.unchanged())),
            ExecEnd::Exited(_) => None,
            _ => Some(self.looked_in_vain(report)),
        }
    }

    /// There is nothing to do; in a run that was interrupted perhaps because it was done.
    pub fn unchanged(&self) -> Outcome {
        let looks = matches!(self.work.live.plan.kind, Kind::Look { .. });
        if self.work.resumed.is_some() && !looks { Outcome::Ok } else { Outcome::Unchanged }
    }

    /// A look that came to nothing has changed nothing either.
    pub fn looked_in_vain(&self, report: ExecReport) -> Done {
        let done = self.done(report, |_| Outcome::Ok);
        match done.outcome {
            Outcome::Lost { why } => Done { outcome: Outcome::NotStarted { why }, ..done },
            _ => done,
        }
    }

    /// What the operator wrote ad hoc goes to the login's shell, as with `ssh`, and nobody keeps its outcome.
    async fn ad_hoc(&self, script: &str) -> Done {
        if self.work.resumed.is_some() {
            let why = "rollcall ended while it ran, and nothing on the host says how ad-hoc commands end";
            return Done::silent(Outcome::Lost { why: why.into() });
        }
        let mut request = self.work.request(script.into(), Input::None, self.step.timeout);
        request.lines = self.show(&Arc::default());
        request.masks = self.work.masks.clone();
        let report = self.work.ports.remote.exec(self.endpoint(), request).await;
        self.done(report, |_| Outcome::Ok)
    }

    /// Runs what does no harm when it is run again: as often as it is lost, within the step's time. True
    /// when it was sent more than once.
    pub async fn exec(&self, script: String, input: Input, timeout: Duration) -> (ExecReport, bool) {
        let script = script::run_as(&script, &self.step.sudo);
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            let request = self.request(script.clone(), input.clone(), timeout);
            let mut report = self.work.ports.remote.exec(self.endpoint(), request).await;
            let Some(why) = lost(&report.end, again) else { return (report, again) };
            again = true;
            if !patience.pause(&self.work.cancel).await {
                report.end = ExecEnd::Lost(why);
                return (report, again);
            }
        }
    }

    /// What is sent to the host, with the password first where sudo wants one.
    pub fn request(&self, script: String, input: Input, timeout: Duration) -> Exec {
        self.work.request(script, script::with_password(&self.step.sudo, input), timeout)
    }

    /// Hides secrets in what the wrapper passes on, but not in what it says itself.
    pub fn masks(&self, record: &str) -> Arc<Masks> {
        let masks = &self.work.masks;
        // Built once without an error, they are so again with fewer forms.
        masks.sparing(&wrapper::own_words(record)).unwrap_or_else(|_| masks.clone())
    }

    pub fn done(&self, report: ExecReport, good: impl FnOnce(&Output) -> Outcome) -> Done {
        let outcome = match report.end {
            ExecEnd::Exited(0) => good(&report.stdout),
            ExecEnd::Exited(code) => {
                let hint = script::about_sudo(&self.step.sudo, &report.stderr).unwrap_or_default();
                Outcome::Failed { code: Some(code), why: describe(&report.end, &report.stderr) + &hint }
            }
            ExecEnd::Signalled(_) => {
                Outcome::Failed { code: None, why: describe(&report.end, &report.stderr) }
            }
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
        let progress = self.work.live.progress.clone();
        if progress.receiver_count() == 0 {
            return None;
        }
        let (sender, mut lines) = mpsc::channel::<String>(LINES_CAPACITY);
        let (host, shown) = (self.plan.endpoint.name.clone(), shown.clone());
        let own = wrapper::own_prefix(&self.record);
        let masks = self.work.masks.clone();
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
}

/// Why it is to be sent again; `again` when it was sent more than once.
pub(super) fn lost(end: &ExecEnd, again: bool) -> Option<String> {
    match end {
        ExecEnd::Lost(why) => Some(why.clone()),
        ExecEnd::NotStarted(why) if again => Some(why.clone()),
        _ => None,
    }
}
