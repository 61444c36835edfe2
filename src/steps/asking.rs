//! A step that its host runs apart from the connection. Rollcall asks until it knows how the step ended: over a new
//! connection when one breaks, until the step's time is up and half a minute more.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use super::recorded::WithoutOwnLines;
use super::seal::Seal;
use super::wrapper::{self, Call, How, OperationAnswer, StepEnd, WrapperLines, WrapperVerb};
use crate::domain::base::outcome::milliseconds;
use crate::domain::base::outcome::{Outcome, seconds};
use crate::domain::base::output::{KEEP_BYTES, Output};
use crate::domain::task::step::Step;
use crate::port::outputs::{Recorder, Resent};
use crate::port::{Exec, ExecEnd, ExecReport, Follow, Input};
use crate::script;
use crate::steps::attempt::{Attempt, Done};

/// How long rollcall keeps asking when the step's own time is up: by then the host ends the step with TERM and KILL,
/// and rollcall may have to reconnect.
const ASK_GRACE: Duration = Duration::from_secs(30);

/// The least time for a question, even for the last one.
const LAST_QUESTION: Duration = Duration::from_secs(5);

/// The message for a record that was not written by rollcall.
const FORGED: &str = "another program on the host wrote the record of this step, or changed it: the seal of rollcall \
                      is not on it; try: find out which earlier step or process of this login did that";

/// A step that runs apart on its host, and the knowledge about it.
pub(super) struct Asking<'a> {
    attempt: &'a Attempt<'a>,
    name: String,
    seal: Seal,
    begun: Instant,
    patience: Patience,
    /// A request was sent that may have started it.
    sent: bool,
    /// The host has reported a record of it.
    on_record: bool,
    /// It has run, and waits for its confirmation.
    to_confirm: bool,
    cancelled: bool,
    shown: Arc<AtomicUsize>,
    /// The most complete answer so far.
    stdout: Output,
    stderr: Output,
}

impl<'a> Asking<'a> {
    pub fn new(attempt: &'a Attempt<'a>) -> Asking<'a> {
        let (begun, age) = (Instant::now(), attempt.context.resumed.unwrap_or_default());
        let limit = host_limit(attempt.step).saturating_sub(age);
        Asking {
            attempt,
            name: attempt.record.clone(),
            seal: attempt.seal.clone(),
            begun,
            patience: Patience::until(begun + limit + ASK_GRACE),
            sent: attempt.context.resumed.is_some(),
            on_record: false,
            to_confirm: false,
            cancelled: false,
            shown: Arc::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }

    /// Asks until the host has reported how it ended.
    pub async fn ask(mut self, script: &str) -> Done {
        loop {
            let mut report = self.once(script).await;
            let heard = wrapper::hear(&self.name, Some(&self.seal), &mut report);
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

    fn verb(&self) -> WrapperVerb {
        match self {
            Asking { cancelled: true, .. } => WrapperVerb::Kill,
            Asking { to_confirm: true, .. } => WrapperVerb::Confirm,
            Asking { on_record: true, .. } => WrapperVerb::Follow,
            _ if self.attempt.context.resumed.is_some() => WrapperVerb::Follow,
            _ => WrapperVerb::Start,
        }
    }

    async fn once(&self, script: &str) -> ExecReport {
        let Attempt { context, step, .. } = self.attempt;
        let verb = self.verb();
        let age = match self.sent {
            // Never zero: from now on the host has to prove that it has lost no record.
            true => context.resumed.unwrap_or_default() + self.begun.elapsed() + Duration::from_secs(1),
            false => Duration::ZERO,
        };
        let call = Call {
            operation: &self.name,
            site: &context.ports.site,
            epoch: context.ports.epoch,
            age,
            limit: step.timeout,
            within: step.dead_man.as_ref().map_or(Duration::ZERO, |dead_man| dead_man.within),
        };
        let input = match verb {
            WrapperVerb::Start => {
                let undo = script::undo_script(step);
                Input::Bytes(wrapper::input(&self.name, &self.seal, script, undo.as_deref()))
            }
            verb => wrapper::line(verb, &self.seal),
        };
        let request = Exec {
            program: call.program(verb),
            sudo: step.sudo.clone(),
            input,
            timeout: self.patience.left().max(LAST_QUESTION),
            // Cancelling ends the question, not the step: `kill` does that.
            cancel: if verb == WrapperVerb::Kill { CancellationToken::new() } else { context.cancel.clone() },
            lines: self.attempt.show(&self.shown).map(Follow::Lines),
            fresh: verb == WrapperVerb::Confirm,
            keep_bytes: KEEP_BYTES,
            sink: None,
            recorder: Some(self.recorder()),
            masks: self.attempt.masks(&self.name),
        };
        context.ports.remote.exec(self.attempt.endpoint(), request).await
    }

    /// The host sends all output with each answer.
    fn recorder(&self) -> Box<dyn Recorder> {
        let context = self.attempt.context;
        let to = context.recorder(&self.attempt.operation, Resent::FromStart);
        Box::new(WithoutOwnLines::new(&self.name, &context.masks, to))
    }

    fn take_in(&mut self, report: ExecReport, heard: &WrapperLines) {
        self.sent |= !matches!(report.end, ExecEnd::NotStarted(_));
        self.on_record |= heard.begun;
        if heard.answer.is_some() || (self.stdout.text.is_empty() && self.stderr.text.is_empty()) {
            (self.stdout, self.stderr) = (report.stdout, report.stderr);
        }
    }

    /// The outcome of an answer; `None` when another question is needed.
    fn judge(&mut self, answer: OperationAnswer, sent_before: bool) -> Option<Outcome> {
        let lost = |why: String| Some(Outcome::Lost { why });
        match answer {
            OperationAnswer::Ended(ended) => Some(self.ended(&ended)),
            OperationAnswer::Never(why) => Some(Outcome::NotStarted { why }),
            OperationAnswer::Absent(_) if self.on_record => {
                lost("the host has no record of it any more".into())
            }
            OperationAnswer::Absent(why) => Some(Outcome::NotStarted { why }),
            OperationAnswer::Lost(why) => lost(why),
            OperationAnswer::Stale => Some(replaced(sent_before)),
            OperationAnswer::Refused(why) if !sent_before => Some(Outcome::NotStarted { why }),
            OperationAnswer::Confirm => {
                self.to_confirm = true;
                self.patience.reached();
                None
            }
            // The runner replaces it by the true answer, unless it is gone.
            OperationAnswer::Refused(_) | OperationAnswer::Forged | OperationAnswer::Ready => None,
        }
    }

    fn ended(&self, ended: &StepEnd) -> Outcome {
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
                let why = ExecEnd::Exited(code).describe(&self.stderr) + &undone;
                Outcome::Failed { code: Some(code), why }
            }
            (How::TimedOut, _) => self.attempt.timed_out(),
            (How::Cancelled, _) => Outcome::Cancelled,
        }
    }

    /// True when there is time for another question. A cancel does not wait for a pause to end.
    async fn go_on(&mut self) -> bool {
        let wanted = self.attempt.context.cancel.clone();
        if wanted.is_cancelled() && !self.cancelled {
            return self.give_up();
        }
        let never = CancellationToken::new();
        let again = self.patience.pause(if self.cancelled { &never } else { &wanted }).await;
        again || (wanted.is_cancelled() && !self.cancelled && self.give_up())
    }

    /// From now on the step is killed, with less time for the answer than the step had.
    fn give_up(&mut self) -> bool {
        self.cancelled = true;
        self.patience.shorten(Instant::now() + ASK_GRACE);
        true
    }
}

/// The longest time that a host works on a step by itself.
fn host_limit(step: &Step) -> Duration {
    step.timeout + step.dead_man.as_ref().map_or(Duration::ZERO, |dead_man| dead_man.within + step.timeout)
}

fn replaced(sent_before: bool) -> Outcome {
    let why = wrapper::REPLACED.to_string();
    if sent_before { Outcome::Lost { why } } else { Outcome::NotStarted { why } }
}

/// True if the request could not be sent, or the login's shell or sudo did not run the wrapper: the wrapper
/// prints a word before it starts anything.
fn wrapper_never_ran(end: &ExecEnd, heard: &WrapperLines) -> bool {
    match end {
        ExecEnd::NotStarted(_) => true,
        ExecEnd::Exited(0) => false,
        ExecEnd::Exited(_) | ExecEnd::Foreign(_) => !heard.begun,
        _ => false,
    }
}

fn lost_why(end: &ExecEnd, heard: &WrapperLines) -> String {
    match (end, &heard.answer) {
        (_, Some(OperationAnswer::Refused(why))) => why.clone(),
        (_, Some(OperationAnswer::Forged)) => FORGED.into(),
        (ExecEnd::Lost(why) | ExecEnd::NotStarted(why) | ExecEnd::Foreign(why), _) => why.clone(),
        (ExecEnd::TimedOut, _) => "the host did not say how it ended".into(),
        _ => "the host gave no answer".into(),
    }
}
