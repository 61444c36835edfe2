//! The thread that writes outputs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use super::job::{Job, Limits, PIECE_BYTES, Piece};
use super::written::Written;
use crate::local::outputs::path_of;

/// Most outputs that are open: each takes two files. Beyond them all are closed, and opened again when they go on.
const OPEN_LIMIT: usize = 256;

pub(super) struct Writer {
    root: PathBuf,
    limits: Limits,
    waiting: Arc<AtomicUsize>,
    open: HashMap<Arc<str>, Written>,
    /// The last trouble was logged: an output that cannot be kept is one warning.
    is_logged: bool,
}

impl Writer {
    pub(super) fn new(root: &Path, limits: Limits, waiting: Arc<AtomicUsize>) -> Writer {
        Writer { root: root.to_path_buf(), limits, waiting, open: HashMap::new(), is_logged: false }
    }

    /// Works until no sender is left.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut next = None;
        loop {
            let Some(job) = next.take().or_else(|| jobs.recv().ok()) else { return };
            match job {
                Job::Bytes(piece) => next = self.gather(piece, jobs),
                Job::End { operation, cut } => self.end(&operation, cut),
                // The reader may have left.
                Job::Flush(done) => _ = done.send(()),
            }
        }
    }

    /// Writes a piece with those that follow it; returns the job after them.
    fn gather(&mut self, mut piece: Piece, jobs: &Receiver<Job>) -> Option<Job> {
        let mut room = piece.bytes.len() + PIECE_BYTES;
        let next = loop {
            match jobs.try_recv() {
                Ok(Job::Bytes(more)) if piece.takes(&more) => {
                    room += more.bytes.len() + PIECE_BYTES;
                    piece.bytes.extend_from_slice(&more.bytes);
                }
                Ok(job) => break Some(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break None,
            }
        };
        self.write(&piece);
        self.waiting.fetch_sub(room, Ordering::Relaxed);
        next
    }

    fn write(&mut self, piece: &Piece) {
        // One that was closed for others is opened again.
        let opens = !self.open.get(&piece.operation).is_some_and(Written::is_open);
        if opens && self.open.values().filter(|one| one.is_open()).count() >= OPEN_LIMIT {
            self.open.values_mut().for_each(Written::close);
        }
        let Some(path) = path_of(&self.root, &piece.operation) else { return };
        let limit = (self.limits)().per_operation;
        let written = self.open.entry(piece.operation.clone()).or_insert_with(|| Written::new(path));
        let trouble = written.write(piece, limit);
        match trouble {
            None => self.is_logged = false,
            Some(_) if self.is_logged => {}
            Some(why) => {
                tracing::warn!(
                    operation = &*piece.operation,
                    "the whole output of a command is not kept: {why}"
                );
                self.is_logged = true;
            }
        }
    }

    fn end(&mut self, operation: &Arc<str>, cut: Option<String>) {
        let Some(path) = path_of(&self.root, operation) else { return };
        let mut written = self.open.remove(operation).unwrap_or_else(|| Written::new(path));
        written.end(cut);
    }
}
