//! The whole output of commands, in files beside the store. One thread writes all of them: a disk that is slow, full or broken
//! delays no host and fails no step. What is not kept for that reason is counted, and the file says so.

mod job;
mod ring;
mod writer;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use self::job::{Job, PIECE_BYTES, Piece};
pub use self::job::{Limits, OutputLimits};
use crate::domain::base::name::RunId;
use crate::local::outputs::parts::Source;
use crate::port::outputs::{Outputs, Recorder, Resent};

/// Most bytes of output that wait for the disk, of all commands together.
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// How long a reader waits for the disk. Then it reads what is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a process that ends waits for the disk.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// The outputs of commands, in files.
pub struct OutputFiles {
    root: PathBuf,
    limits: Limits,
    queue: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
    sessions: AtomicU64,
}

impl OutputFiles {
    /// Outputs below a folder, which is made when it is needed.
    pub fn new(root: &Path, limits: Limits) -> std::io::Result<OutputFiles> {
        let (queue, jobs) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = writer::Writer::new(root, limits.clone(), waiting.clone());
        std::thread::Builder::new().name("outputs".into()).spawn(move || writer.run(&jobs))?;
        Ok(OutputFiles { root: root.to_path_buf(), limits, queue, waiting, sessions: AtomicU64::new(0) })
    }

    /// Waits until everything that was recorded so far is in its file. On a disk that does not answer this never ends.
    async fn flushed(&self) {
        let (done, written) = oneshot::channel();
        // The thread ends with the process alone.
        if self.queue.send(Job::Flush(done)).is_ok() {
            let _ = written.await;
        }
    }

    /// Waits before the process ends, until what was recorded is in its file, for 20 seconds at most.
    pub async fn finish(&self) {
        if timeout(END_PATIENCE, self.flushed()).await.is_err() {
            let seconds = END_PATIENCE.as_secs();
            tracing::warn!(
                seconds,
                "the disk did not take the output of all commands in time; the rest is not kept"
            );
        }
    }

    /// Removes the outputs of runs that are too old, and the oldest while all together are too large; but none of these runs.
    pub async fn prune(&self, now: Timestamp, under_way: BTreeSet<RunId>) {
        let (root, limits) = (self.root.clone(), (self.limits)());
        let pruned = tokio::task::spawn_blocking(move || ring::prune(&root, &limits, now, &under_way)).await;
        match pruned {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => tracing::info!(runs = removed.len(), "removed the kept output of old runs"),
            Ok(Err(error)) => tracing::warn!(%error, "the kept output of old runs could not be removed"),
            Err(error) => tracing::warn!(%error, "the kept output of old runs could not be removed"),
        }
    }
}

#[async_trait]
impl Outputs for OutputFiles {
    fn record(&self, operation: &str, resent: Resent, now: Timestamp) -> Box<dyn Recorder> {
        Box::new(QueueRecorder {
            operation: operation.into(),
            session: self.sessions.fetch_add(1, Ordering::Relaxed) + 1,
            resent,
            began: (now, Instant::now()),
            sent: [0; 2],
            queue: self.queue.clone(),
            waiting: self.waiting.clone(),
        })
    }

    fn ended(&self, operation: &str, cut: Option<String>) {
        // The thread ends with the process alone.
        let _ = self.queue.send(Job::End { operation: operation.into(), cut });
    }

    async fn written(&self) {
        let _ = timeout(PATIENCE, self.flushed()).await;
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(self.root.clone())
    }
}

/// Passes the output of one exchange with a host to the thread.
struct QueueRecorder {
    operation: Arc<str>,
    /// Distinguishes exchanges about the same operation.
    session: u64,
    resent: Resent,
    began: (Timestamp, Instant),
    /// Bytes of both streams so far.
    sent: [u64; 2],
    queue: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl QueueRecorder {
    fn piece(&self, source: Source, bytes: Vec<u8>) -> Piece {
        let (at, since) = self.began;
        let after = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Piece {
            operation: self.operation.clone(),
            session: self.session,
            resent: self.resent,
            source,
            from: self.sent[usize::from(source == Source::Err)],
            bytes,
            at_ms: at.as_millisecond().saturating_add(after),
        }
    }
}

impl Recorder for QueueRecorder {
    fn write(&mut self, is_error: bool, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let needed = bytes.len() + PIECE_BYTES;
        // Without room the piece is left out; the thread sees by the next one that it is missing.
        if self.waiting.fetch_add(needed, Ordering::Relaxed) + needed <= WAITING_BYTES {
            let _ = self.queue.send(Job::Bytes(self.piece(Source::of(is_error), bytes.to_vec())));
        } else {
            self.waiting.fetch_sub(needed, Ordering::Relaxed);
        }
        self.sent[usize::from(is_error)] += bytes.len() as u64;
    }

    fn finish(&mut self) {
        for source in [Source::Out, Source::Err] {
            // No further piece shows what was left out at the end.
            if self.sent[usize::from(source == Source::Err)] > 0 {
                self.waiting.fetch_add(PIECE_BYTES, Ordering::Relaxed);
                let _ = self.queue.send(Job::Bytes(self.piece(source, Vec::new())));
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
