//! Restarts a host once, however often rollcall asks, and waits until it has booted again.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::patience::Patience;
use crate::domain::base::outcome::milliseconds;

use crate::domain::base::outcome::{Outcome, seconds};
use crate::domain::value::shell;
use crate::port::{ExecEnd, Input};
use crate::steps::attempt::{Attempt, Done};
use crate::steps::scripts::{split_word, whole};
use crate::steps::wrapper::PLACE;

static REBOOT: LazyLock<String> =
    LazyLock::new(|| whole(&format!("{PLACE}{}", include_str!("sh/reboot.sh"))));

/// The time limit of one question, once the host is connected: it may go down during it.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of one question.
enum BootAnswer {
    Done(Done),
    /// The host still has the same boot, with this id.
    Waits(String),
    /// No answer, and why.
    Silence(String),
}

impl Attempt<'_> {
    /// Asks the host to restart, unless that was done before, and then asks until it has booted again.
    pub(super) async fn reboot(&self, command: &str, boot_id: &str) -> Done {
        let age = self.context.resumed.unwrap_or_default();
        let mut patience = Patience::until(Instant::now() + self.step.timeout.saturating_sub(age));
        let verb = if self.context.resumed.is_some() { "ask" } else { "start" };
        // Once the id is known, another id proves the restart, even if the host has lost its records.
        let mut boot = String::new();
        let mut heard = self.ask_for_reboot([verb, command, boot_id, ""], false).await;
        loop {
            let last = match heard {
                BootAnswer::Done(done) => return done,
                BootAnswer::Waits(same) => {
                    boot = same;
                    Ok(())
                }
                BootAnswer::Silence(why) => Err(why),
            };
            if !patience.pause(&self.context.cancel).await {
                return self.not_rebooted(last);
            }
            heard = self.ask_for_reboot([verb, command, boot_id, &boot], true).await;
        }
    }

    async fn ask_for_reboot(&self, [verb, command, boot_id, boot]: [&str; 4], fresh: bool) -> BootAnswer {
        let operation = self.kept_as();
        let arguments = ["act", verb, &self.context.ports.site, &operation, boot_id, command, boot];
        let report = self.once(&shell::with_arguments(&REBOOT, &arguments), QUESTION_TIMEOUT, fresh).await;
        let failed = |why: String| BootAnswer::Done(Done::failed(why));
        match &report.end {
            ExecEnd::Exited(0) => match split_word(report.stdout.clone()) {
                (_, word) if word == "done" => BootAnswer::Done(self.back().await),
                (said, word) if word == "waits" => BootAnswer::Waits(said.last_line().into()),
                (said, word) if word == "failed" => {
                    failed(format!("the host was not restarted: {}", said.last_line()))
                }
                (_, word) if word == "never" => {
                    BootAnswer::Done(Done::silent(Outcome::NotStarted { why: "it was never begun".into() }))
                }
                _ => failed("the host gave no answer that makes sense".into()),
            },
            // No request was sent yet.
            ExecEnd::NotStarted(_) if !fresh && self.context.resumed.is_none() => {
                BootAnswer::Done(self.done(report, |_| Outcome::Ok))
            }
            ExecEnd::NotStarted(why) | ExecEnd::Lost(why) | ExecEnd::Foreign(why) => {
                BootAnswer::Silence(why.clone())
            }
            ExecEnd::TimedOut => BootAnswer::Silence("it did not answer in time".into()),
            // The host is going down: it ends processes, or they fail.
            ExecEnd::Signalled(signal) => {
                BootAnswer::Silence(format!("the question was ended by signal {signal}"))
            }
            end @ ExecEnd::Exited(_) if fresh => BootAnswer::Silence(end.describe(&report.stderr)),
            ExecEnd::Exited(_) | ExecEnd::Cancelled => BootAnswer::Done(self.done(report, |_| Outcome::Ok)),
        }
    }

    /// Leaves a working connection for the next step: the kept one may be dead without an error.
    async fn back(&self) -> Done {
        let (report, _) = self.exec("exit 0".into(), Input::None, QUESTION_TIMEOUT).await;
        self.done(report, |_| Outcome::Ok)
    }

    fn not_rebooted(&self, last: Result<(), String>) -> Done {
        if self.context.cancel.is_cancelled() {
            return Done::silent(Outcome::Cancelled);
        }
        let time = seconds(milliseconds(self.step.timeout));
        match last {
            Ok(()) => Done::failed(format!(
                "still the same boot {time} after it was asked to restart; look at what holds it up, and at `command` and \
                 `boot_id` of the step"
            )),
            Err(why) => Done::silent(Outcome::Lost {
                why: format!("the host was asked to restart and did not come back within {time}: {why}"),
            }),
        }
    }
}
