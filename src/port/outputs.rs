//! Where the whole output of commands is kept, beside the journal.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

/// How the output of a command that is sent again continues what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resent {
    /// The host sends all of it again, from its start: what is there already is left out.
    FromStart,
    /// It is another execution: its output is added.
    Anew,
}

/// Keeps the output of commands. Nothing waits for it, and no command fails by it.
///
/// If an implementation loses a part and does not record that, operators take what is left for all of it.
#[async_trait]
pub trait Outputs: Send + Sync {
    /// A recorder for an operation, by its id. Secrets were masked before.
    fn record(&self, operation: &str, resent: Resent, now: Timestamp) -> Box<dyn Recorder>;

    /// The command of the operation has ended. `cut` says why its output may lack a part that the host did not send.
    fn ended(&self, operation: &str, cut: Option<String>);

    /// Waits until what was recorded so far can be read; for two seconds at most.
    async fn written(&self);

    /// The folder of all outputs; `None` if none are kept.
    fn folder(&self) -> Option<PathBuf>;
}

/// Takes output as it arrives. Never waits.
pub trait Recorder: Send + Sync {
    fn write(&mut self, is_error: bool, bytes: &[u8]);

    /// The exchange with the host is over; the operation may go on in another one.
    fn finish(&mut self) {}
}

/// Keeps nothing but what the journal keeps.
pub struct NoOutputs;

#[async_trait]
impl Outputs for NoOutputs {
    fn record(&self, _: &str, _: Resent, _: Timestamp) -> Box<dyn Recorder> {
        Box::new(NoOutputs)
    }

    fn ended(&self, _: &str, _: Option<String>) {}

    async fn written(&self) {}

    fn folder(&self) -> Option<PathBuf> {
        None
    }
}

impl Recorder for NoOutputs {
    fn write(&mut self, _: bool, _: &[u8]) {}
}
