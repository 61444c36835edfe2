//! What the thread that writes outputs is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::local::outputs::parts::Source;
use crate::port::outputs::Resent;

/// What a piece takes beside its bytes: small ones must not hide how much memory they take.
pub(super) const PIECE_BYTES: usize = 256;

/// Pieces of one stream that wait are written together, up to this many bytes.
const TOGETHER_BYTES: usize = 256 * 1024;

/// The bounds of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// In bytes, of one command and of all runs.
    pub per_operation: u64,
    pub total: u64,
    /// How long the output of a run is kept.
    pub keep: Duration,
}

/// The limits in force.
pub type Limits = Arc<dyn Fn() -> OutputLimits + Send + Sync>;

/// What the thread does.
pub(super) enum Job {
    Bytes(Piece),
    End {
        operation: Arc<str>,
        cut: Option<String>,
    },
    /// Answered when everything before it was done.
    Flush(oneshot::Sender<()>),
}

/// A piece of output.
pub(super) struct Piece {
    pub operation: Arc<str>,
    pub session: u64,
    pub resent: Resent,
    pub source: Source,
    /// Bytes of the stream before it, in this session.
    pub from: u64,
    pub bytes: Vec<u8>,
    /// When it came, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Piece {
    /// True if the next piece can be written with this one.
    pub fn takes(&self, next: &Piece) -> bool {
        self.operation == next.operation
            && self.session == next.session
            && self.source == next.source
            && self.from + self.bytes.len() as u64 == next.from
            && self.bytes.len() + next.bytes.len() <= TOGETHER_BYTES
    }
}
