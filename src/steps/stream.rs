//! Output of a host, passed on in pieces, in any amount.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::diff;
use super::patience::Patience;
use crate::domain::base::outcome::Outcome;
use crate::port::{Exec, ExecEnd, ExecReport, Input};
use crate::steps::attempt::{Attempt, Done, lost};
use crate::steps::scripts::{FETCH, call};

/// Most pieces that wait to be taken; then the host waits.
const WAITING_PIECES: usize = 8;

/// Exit statuses of fetch.sh: the file does not exist; it is too large.
const NOT_THERE: u32 = 44;
pub(super) const TOO_LARGE: u32 = 45;

/// Takes output from its start: after a lost connection the command runs again.
pub(super) trait Taker {
    /// Discards everything so far.
    async fn begin(&mut self) -> Result<(), String>;
    /// An error ends the command.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), String>;
}

/// Output in memory, up to a limit.
pub(super) struct Memory {
    pub bytes: Vec<u8>,
    pub limit: usize,
}

impl Taker for Memory {
    async fn begin(&mut self) -> Result<(), String> {
        self.bytes.clear();
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(format!("the host printed more than {} bytes", self.limit));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// The content of a file on a host; `None` if there is none.
pub(super) enum Fetched {
    Whole(Option<Vec<u8>>),
    TooLarge,
}

impl Attempt<'_> {
    /// Runs a script that may run again without harm, and passes on its output.
    pub(super) async fn stream(
        &self,
        script: &str,
        input: Input,
        taker: &mut impl Taker,
    ) -> Result<ExecReport, Done> {
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            taker.begin().await.map_err(Done::failed)?;
            let (sender, receiver) = mpsc::channel(WAITING_PIECES);
            let request = self.request(script.to_string(), input.clone(), self.step.timeout);
            let request = Exec { sink: Some(sender), ..request };
            let (report, taken) = tokio::join!(
                self.context.ports.remote.exec(self.endpoint(), request),
                pass_on(receiver, taker)
            );
            taken.map_err(Done::failed)?;
            if lost(&report.end, again).is_none() || !patience.pause(&self.context.cancel).await {
                return Ok(report);
            }
            again = true;
        }
    }

    /// The content of a file, if it has at most `limit` bytes.
    pub(super) async fn fetch(&self, path: &str, limit: usize) -> Result<Fetched, Done> {
        let mut memory = Memory { bytes: Vec::new(), limit };
        let script = call(&FETCH, &[path, &limit.to_string()], self.step);
        let report = self.stream(&script, Input::None, &mut memory).await?;
        match report.end {
            ExecEnd::Exited(0) => Ok(Fetched::Whole(Some(memory.bytes))),
            ExecEnd::Exited(NOT_THERE) => Ok(Fetched::Whole(None)),
            ExecEnd::Exited(TOO_LARGE) => Ok(Fetched::TooLarge),
            _ => Err(self.inspection_failed(report)),
        }
    }

    /// The difference between a file and its new content.
    pub(super) async fn difference(&self, path: &str, new: Vec<u8>) -> Result<String, Done> {
        Ok(match self.fetch(path, diff::DIFF_LIMIT_BYTES).await? {
            Fetched::TooLarge => format!("binary files differ: {path}\n"),
            Fetched::Whole(old) => diff::unified(path.into(), old, new).await,
        })
    }
}

/// Passes on all pieces; dropping the receiver ends the command.
async fn pass_on(mut receiver: mpsc::Receiver<Bytes>, taker: &mut impl Taker) -> Result<(), String> {
    while let Some(bytes) = receiver.recv().await {
        taker.take(&bytes).await?;
    }
    Ok(())
}

/// The result of a dry run that found something to change.
pub(super) fn would_change(text: &str) -> Done {
    Done { outcome: Outcome::WouldChange, stdout: diff::bounded(text), stderr: Default::default() }
}
