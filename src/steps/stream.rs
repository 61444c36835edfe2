//! What a host prints, byte by byte, for as much as there may be of it.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::diff;
use super::patience::Patience;
use crate::domain::base::outcome::Outcome;
use crate::port::{Exec, ExecEnd, ExecReport, Input};
use crate::script;
use crate::steps::attempt::{Attempt, Done, lost};
use crate::steps::scripts::{FETCH, call};

/// Pieces that wait to be taken; the host waits when there are more.
const WAITING_PIECES: usize = 8;

/// fetch.sh says so: it is not there; it is too large.
const NOT_THERE: u32 = 44;
pub(super) const TOO_LARGE: u32 = 45;

/// Takes what comes, from its beginning: a host that is lost is asked anew.
pub(super) trait Taker {
    /// Everything so far is worth nothing.
    async fn begin(&mut self) -> Result<(), String>;
    /// An error ends the command.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), String>;
}

/// In memory, at most so much.
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

/// What a file on a host holds; `None` where there is none.
pub(super) enum Fetched {
    Whole(Option<Vec<u8>>),
    TooLarge,
}

impl Attempt<'_> {
    /// Runs what does no harm when it is run again, and hands over what it prints.
    pub(super) async fn stream(
        &self,
        script: &str,
        input: Input,
        taker: &mut impl Taker,
    ) -> Result<ExecReport, Done> {
        let script = script::run_as(script, &self.step.sudo);
        let mut patience = Patience::until(Instant::now() + self.step.timeout);
        let mut again = false;
        loop {
            taker.begin().await.map_err(Done::failed)?;
            let (sender, receiver) = mpsc::channel(WAITING_PIECES);
            let request = self.request(script.clone(), input.clone(), self.step.timeout);
            let request = Exec { sink: Some(sender), ..request };
            let (report, taken) =
                tokio::join!(self.context.remote.exec(self.endpoint(), request), pass_on(receiver, taker));
            taken.map_err(Done::failed)?;
            if lost(&report.end, again).is_none() || !patience.pause(&self.context.cancel).await {
                return Ok(report);
            }
            again = true;
        }
    }

    /// The content of a file, if it has at most so many bytes.
    pub(super) async fn fetch(&self, path: &str, limit: usize) -> Result<Fetched, Done> {
        let mut memory = Memory { bytes: Vec::new(), limit };
        let script = call(&FETCH, &[path, &limit.to_string()], self.step);
        let report = self.stream(&script, Input::None, &mut memory).await?;
        match report.end {
            ExecEnd::Exited(0) => Ok(Fetched::Whole(Some(memory.bytes))),
            ExecEnd::Exited(NOT_THERE) => Ok(Fetched::Whole(None)),
            ExecEnd::Exited(TOO_LARGE) => Ok(Fetched::TooLarge),
            _ => Err(self.looked_in_vain(report)),
        }
    }

    /// What another content would change in a file.
    pub(super) async fn difference(&self, path: &str, new: Vec<u8>) -> Result<String, Done> {
        Ok(match self.fetch(path, diff::DIFF_LIMIT_BYTES).await? {
            Fetched::TooLarge => format!("binary files differ: {path}\n"),
            Fetched::Whole(old) => diff::unified(path.into(), old, new).await,
        })
    }
}

/// Hands over all that comes; dropping the receiver ends the command.
async fn pass_on(mut receiver: mpsc::Receiver<Bytes>, taker: &mut impl Taker) -> Result<(), String> {
    while let Some(bytes) = receiver.recv().await {
        taker.take(&bytes).await?;
    }
    Ok(())
}

/// A look that found something to change.
pub(super) fn would_change(text: &str) -> Done {
    Done { outcome: Outcome::WouldChange, stdout: diff::bounded(text), stderr: Default::default() }
}
