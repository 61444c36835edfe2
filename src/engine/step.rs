//! One attempt of one step, to an outcome that is known whenever it can be: a connection that breaks is made
//! anew, and the host is asked what became of it. Scripts of tasks go through the wrapper, which runs them
//! at most once; what rollcall does itself can be done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::effect::{Work, describe};
use super::port::{Exec, ExecEnd, ExecReport, Input};
use super::script;
use super::wrapper::{self, Answer, Call, Ended, Heard, How, Verb};
use crate::domain::digest::sha256_hex;
use crate::domain::event::Progress;
use crate::domain::outcome::{Outcome, seconds};
use crate::domain::output::{KEEP_BYTES, Output};
use crate::domain::plan::{HostPlan, Kind};
use crate::domain::shell;
use crate::domain::task::{Source, Step, StepBody};

/// How long a guard may take.
const GUARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a host is asked on when the step's own time is up: it ends the step by TERM and KILL by then,
/// and may have to be reached again.
const ASK_GRACE: Duration = Duration::from_secs(30);

/// The least time that a question has, even the last one.
const LAST_QUESTION: Duration = Duration::from_secs(5);

/// Before a host is reached again, in seconds. At once first: a connection that broke says little of its
/// host. The last one is repeated.
const PAUSES: [u64; 7] = [0, 1, 2, 4, 8, 16, 30];

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
}

impl Attempt<'_> {
    /// Does it; or, in a run that was interrupted, finds out what became of it.
    pub async fn perform(&self) -> Done {
        let wrapped = match &self.step.body {
            StepBody::Run { .. } if self.work.live.plan.kind != Kind::Run => script::run_script(self.step),
            _ => None,
        };
        if let (Some(script), Some(_)) = (&wrapped, self.work.resumed) {
            return Asking::new(self).ask(script).await;
        }
        if let Some(done) = self.guarded().await {
            return done;
        }
        match (&self.step.body, wrapped) {
            (_, Some(script)) => Asking::new(self).ask(&script).await,
            (StepBody::Run { script, .. }, None) => self.ad_hoc(script).await,
            (StepBody::Link { from, at }, None) => {
                self.own(script::LINK, &[from, at, &self.suffix()], Input::None).await
            }
            (StepBody::Upload { source, to, mode }, None) => self.upload(source, to, *mode).await,
            (StepBody::Facts { custom }, None) => self.facts(custom).await,
        }
    }

    /// Temporary names on the host carry the operation id, so that nobody takes another's.
    pub(super) fn suffix(&self) -> String {
        format!("rollcall-{}", wrapper::name_of(&self.operation))
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
    fn unchanged(&self) -> Outcome {
        if self.work.resumed.is_some() { Outcome::Ok } else { Outcome::Unchanged }
    }

    /// A look that came to nothing has changed nothing either.
    fn looked_in_vain(&self, report: ExecReport) -> Done {
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
        let report = self.work.ports.remote.exec(&self.plan.endpoint, request).await;
        self.done(report, |_| Outcome::Ok)
    }

    /// One of rollcall's own scripts: its last line says whether something changed. What was lost is done
    /// again, which does no harm; but then it may have been the first time that changed something.
    async fn own(&self, body: &str, arguments: &[&str], input: Input) -> Done {
        let script = shell::with_arguments(body, arguments);
        let (report, again) = self.exec(script, input, self.step.timeout).await;
        self.done(report, |stdout| match stdout.last_line() {
            "unchanged" if !again => self.unchanged(),
            _ => Outcome::Ok,
        })
    }

    async fn upload(&self, source: &Source, to: &str, mode: u32) -> Done {
        let (sha256, input) = match source {
            Source::File { path, sha256 } => {
                (sha256.clone(), Input::File(self.work.live.plan.files_root.join(path)))
            }
            Source::Text(text) => (sha256_hex(text.as_bytes()), Input::Bytes(Bytes::from(text.clone()))),
            Source::Template { path } => {
                return Done::failed(format!("files/{path} was not rendered by the plan"));
            }
        };
        let digest = shell::with_arguments(script::DIGEST, &[to]);
        let (report, _) = self.exec(digest, Input::None, GUARD_TIMEOUT).await;
        if report.end != ExecEnd::Exited(0) {
            return self.looked_in_vain(report);
        }
        let mode = format!("{mode:o}");
        if report.stdout.last_line() == sha256 {
            return self.own(script::MODE, &[to, &mode], Input::None).await;
        }
        self.own(script::RECEIVE, &[to, &sha256, &mode, &self.suffix()], input).await
    }

    /// Runs what does no harm when it is run again: as often as it is lost, within the step's time. True
    /// when it was sent more than once.
    pub(super) async fn exec(&self, script: String, input: Input, timeout: Duration) -> (ExecReport, bool) {
        let script = script::run_as(&script, &self.step.sudo);
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            let request = self.work.request(script.clone(), input.clone(), timeout);
            let mut report = self.work.ports.remote.exec(&self.plan.endpoint, request).await;
            let why = match &report.end {
                ExecEnd::Lost(why) => why.clone(),
                ExecEnd::NotStarted(why) if again => why.clone(),
                _ => return (report, again),
            };
            again = true;
            if !patience.pause(&self.work.cancel).await {
                report.end = ExecEnd::Lost(why);
                return (report, again);
            }
        }
    }

    pub(super) fn done(&self, report: ExecReport, good: impl FnOnce(&Output) -> Outcome) -> Done {
        let outcome = match report.end {
            ExecEnd::Exited(0) => good(&report.stdout),
            ExecEnd::Exited(code) => {
                Outcome::Failed { code: Some(code), why: describe(&report.end, &report.stderr) }
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

    fn timed_out(&self) -> Outcome {
        Outcome::Timeout { after_ms: milliseconds(self.step.timeout) }
    }

    /// Publishes lines as progress, for as long as somebody watches: those of the step, and each once. A host
    /// that is asked again tells all of them again; `shown` counts them.
    fn show(&self, shown: &Arc<AtomicUsize>) -> Option<mpsc::Sender<String>> {
        let progress = self.work.live.progress.clone();
        if progress.receiver_count() == 0 {
            return None;
        }
        let (sender, mut lines) = mpsc::channel::<String>(LINES_CAPACITY);
        let (host, shown) = (self.plan.endpoint.name.clone(), shown.clone());
        let own = wrapper::own_prefix(&wrapper::record_of(&self.operation, &self.work.mark));
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
                let _ = progress.send(Progress { host: host.clone(), line });
            }
        });
        Some(sender)
    }
}

/// How often and how long to try again.
struct Patience {
    until: Instant,
    pauses: usize,
}

impl Patience {
    fn until(until: Instant) -> Patience {
        Patience { until, pauses: 0 }
    }

    /// Waits before the next try; false when there is none, because time is up or nobody wants it any more.
    async fn pause(&mut self, cancel: &CancellationToken) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let pause = Duration::from_secs(PAUSES[self.pauses.min(PAUSES.len() - 1)]).min(left);
        self.pauses += 1;
        tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}

/// A step that runs on its host, apart from us, and everything that we know of it.
struct Asking<'a> {
    attempt: &'a Attempt<'a>,
    name: String,
    begun: Instant,
    patience: Patience,
    /// Something was sent that may have begun it.
    sent: bool,
    /// The host has said that it is on record there.
    on_record: bool,
    /// It has run, and is to be confirmed.
    to_confirm: bool,
    cancelled: bool,
    shown: Arc<AtomicUsize>,
    /// The fullest answer so far.
    stdout: Output,
    stderr: Output,
}

impl<'a> Asking<'a> {
    fn new(attempt: &'a Attempt<'a>) -> Asking<'a> {
        let (begun, age) = (Instant::now(), attempt.work.resumed.unwrap_or_default());
        let limit = host_limit(attempt.step).saturating_sub(age);
        Asking {
            attempt,
            name: wrapper::record_of(&attempt.operation, &attempt.work.mark),
            begun,
            patience: Patience::until(begun + limit + ASK_GRACE),
            sent: attempt.work.resumed.is_some(),
            on_record: false,
            to_confirm: false,
            cancelled: false,
            shown: Arc::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }

    /// Asks until the host has said how it ended.
    async fn ask(mut self, script: &str) -> Done {
        loop {
            let mut report = self.once(script).await;
            let heard = wrapper::hear(&self.name, &mut report);
            if wrapper_never_ran(&report.end, &heard) && !self.sent {
                return self.attempt.done(report, |_| Outcome::Ok);
            }
            let (why, sent_before) = (lost_why(&report.end, &heard), self.sent);
            self.take_in(report, &heard);
            if let Some(outcome) = heard.answer.and_then(|answer| self.judge(answer, sent_before)) {
                return Done { outcome, stdout: self.stdout, stderr: self.stderr };
            }
            if !self.go_on().await {
                let why =
                    format!("{why}; it could not be asked for {}", seconds(milliseconds(self.asked_for())));
                return Done { outcome: Outcome::Lost { why }, stdout: self.stdout, stderr: self.stderr };
            }
        }
    }

    fn asked_for(&self) -> Duration {
        self.begun.elapsed()
    }

    fn verb(&self) -> Verb {
        match self {
            Asking { cancelled: true, .. } => Verb::Kill,
            Asking { to_confirm: true, .. } => Verb::Confirm,
            Asking { on_record: true, .. } => Verb::Follow,
            _ if self.attempt.work.resumed.is_some() => Verb::Follow,
            _ => Verb::Start,
        }
    }

    async fn once(&self, script: &str) -> ExecReport {
        let Attempt { work, plan, step, .. } = self.attempt;
        let verb = self.verb();
        let age = match self.sent {
            // Never zero: from now on the host has to prove that it has forgotten nothing.
            true => work.resumed.unwrap_or_default() + self.begun.elapsed() + Duration::from_secs(1),
            false => Duration::ZERO,
        };
        let call = Call {
            operation: &self.name,
            site: &work.ports.site,
            epoch: work.ports.epoch,
            age,
            limit: step.timeout,
            within: step.dead_man.as_ref().map_or(Duration::ZERO, |dead_man| dead_man.within),
        };
        let input = match verb {
            Verb::Start => {
                let undo = script::undo_script(step);
                Input::Bytes(wrapper::input(&self.name, script, undo.as_deref()))
            }
            _ => Input::None,
        };
        let request = Exec {
            script: call.command(verb, &step.sudo),
            input,
            timeout: self.patience.until.saturating_duration_since(Instant::now()).max(LAST_QUESTION),
            // Whoever asks is ended by it, not the step: that is what `kill` is for.
            cancel: if verb == Verb::Kill { CancellationToken::new() } else { work.cancel.clone() },
            lines: self.attempt.show(&self.shown),
            fresh: verb == Verb::Confirm,
            keep_bytes: KEEP_BYTES,
        };
        work.ports.remote.exec(&plan.endpoint, request).await
    }

    fn take_in(&mut self, report: ExecReport, heard: &Heard) {
        self.sent |= !matches!(report.end, ExecEnd::NotStarted(_));
        self.on_record |= heard.begun;
        if heard.answer.is_some() || (self.stdout.text.is_empty() && self.stderr.text.is_empty()) {
            (self.stdout, self.stderr) = (report.stdout, report.stderr);
        }
    }

    /// What an answer comes to; `None` when there is more to ask.
    fn judge(&mut self, answer: Answer, sent_before: bool) -> Option<Outcome> {
        let lost = |why: String| Some(Outcome::Lost { why });
        match answer {
            Answer::Ended(ended) => Some(self.ended(&ended)),
            Answer::Never(why) => Some(Outcome::NotStarted { why }),
            Answer::Absent(_) if self.on_record => lost("the host has no record of it any more".into()),
            Answer::Absent(why) => Some(Outcome::NotStarted { why }),
            Answer::Lost(why) => lost(why),
            Answer::Stale => Some(replaced(sent_before)),
            Answer::Refused(why) if !sent_before => Some(Outcome::NotStarted { why }),
            Answer::Confirm => {
                self.to_confirm = true;
                self.patience.pauses = 0;
                None
            }
            Answer::Refused(_) | Answer::Ready => None,
        }
    }

    fn ended(&self, ended: &Ended) -> Outcome {
        let dead_man = self.attempt.step.dead_man.as_ref();
        let within = dead_man.map_or(Duration::ZERO, |dead_man| dead_man.within);
        let undone = match ended.undone {
            None => String::new(),
            Some(0) => "; the host undid it".into(),
            Some(code) => format!("; the host tried to undo it, and that failed: exit status {code}"),
        };
        match (ended.how, ended.undone) {
            (How::Exited(0), None) => Outcome::Ok,
            (How::Exited(0), Some(_)) => {
                let within = seconds(milliseconds(within));
                let why = format!("not confirmed through a new connection within {within}{undone}");
                Outcome::Failed { code: None, why }
            }
            (How::Exited(code), _) => {
                let why = describe(&ExecEnd::Exited(code), &self.stderr) + &undone;
                Outcome::Failed { code: Some(code), why }
            }
            (How::TimedOut, _) => self.attempt.timed_out(),
            (How::Cancelled, _) => Outcome::Cancelled,
        }
    }

    /// True when there is time for another question. Whoever cancels does not wait for a pause to end.
    async fn go_on(&mut self) -> bool {
        let wanted = self.attempt.work.cancel.clone();
        if wanted.is_cancelled() && !self.cancelled {
            return self.give_up();
        }
        let never = CancellationToken::new();
        let again = self.patience.pause(if self.cancelled { &never } else { &wanted }).await;
        again || (wanted.is_cancelled() && !self.cancelled && self.give_up())
    }

    /// From now on it is to be ended, and nobody waits for that as long as for the step.
    fn give_up(&mut self) -> bool {
        self.cancelled = true;
        self.patience = Patience::until(self.patience.until.min(Instant::now() + ASK_GRACE));
        true
    }
}

/// How long a host works on a step by itself.
fn host_limit(step: &Step) -> Duration {
    step.timeout + step.dead_man.as_ref().map_or(Duration::ZERO, |dead_man| dead_man.within + step.timeout)
}

fn replaced(sent_before: bool) -> Outcome {
    let why = "another rollcall has taken over: the host refuses this one".to_string();
    if sent_before { Outcome::Lost { why } } else { Outcome::NotStarted { why } }
}

/// What was to start it has come to nothing: it could not be sent, or the login's shell or sudo did not run
/// the wrapper, which begins with a word when it begins anything.
fn wrapper_never_ran(end: &ExecEnd, heard: &Heard) -> bool {
    match end {
        ExecEnd::NotStarted(_) => true,
        ExecEnd::Exited(0) => false,
        ExecEnd::Exited(_) => !heard.begun,
        _ => false,
    }
}

fn lost_why(end: &ExecEnd, heard: &Heard) -> String {
    match (end, &heard.answer) {
        (_, Some(Answer::Refused(why))) => why.clone(),
        (ExecEnd::Lost(why) | ExecEnd::NotStarted(why), _) => why.clone(),
        (ExecEnd::TimedOut, _) => "the host did not say how it ended".into(),
        _ => "the host gave no answer".into(),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
