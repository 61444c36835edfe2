//! The outputs of a command, as they arrive: what comes before the mark is left out, secrets are masked, and a bounded part
//! is kept.

use bytes::{Bytes, BytesMut};

use super::wire::BEGIN;
use crate::domain::base::output::{Capture, Output, to_text};
use crate::domain::value::secret::{Masks, Stream};
use crate::port::Follow;
use crate::port::outputs::Recorder;

/// Longest live line, in bytes; longer ones are cut for followers, not in the journal.
const LIVE_LINE_BYTES: usize = 4096;

/// Bytes kept of what a login prints before the mark: the reason when the mark never comes.
const BEFORE_BYTES: usize = 64 * 1024;

/// Leaves out everything before the mark.
pub(super) struct MarkGate {
    /// What came before the mark; `None` once it has passed.
    before: Option<BytesMut>,
}

impl MarkGate {
    pub(super) fn new(marked: bool) -> MarkGate {
        MarkGate { before: marked.then(BytesMut::new) }
    }

    /// True when the mark has come, or none is expected.
    pub(super) fn passed(&self) -> bool {
        self.before.is_none()
    }

    /// The part of `data` that belongs to the command.
    pub(super) fn pass(&mut self, data: &Bytes) -> Bytes {
        let Some(before) = &mut self.before else { return data.clone() };
        // The mark may have begun in the last piece.
        let from = before.len().saturating_sub(BEGIN.len());
        before.extend_from_slice(data);
        let Some(at) = mark_in(&before[from..]) else {
            let too_many = before.len().saturating_sub(BEFORE_BYTES);
            let _ = before.split_to(too_many);
            return Bytes::new();
        };
        let rest = before.split_off(from + at + BEGIN.len() + 1).freeze();
        self.before = None;
        rest
    }

    /// What came before a mark that never came.
    fn never_passed(&mut self) -> Bytes {
        self.before.take().map(BytesMut::freeze).unwrap_or_default()
    }
}

fn mark_in(bytes: &[u8]) -> Option<usize> {
    let mark = BEGIN.as_bytes();
    bytes.windows(mark.len() + 1).position(|part| part.starts_with(mark) && part.ends_with(b"\n"))
}

/// One of the two outputs. Secrets are masked before anything of it is kept or shown.
pub(super) struct KeptStream {
    pub gate: MarkGate,
    capture: Capture,
    /// Only if there are secrets to hide.
    masked: Option<Stream>,
    is_error: bool,
}

impl KeptStream {
    pub(super) fn new(gate: MarkGate, capture: Capture, masks: &Masks) -> KeptStream {
        KeptStream { gate, capture, masked: (!masks.is_empty()).then(|| masks.stream()), is_error: false }
    }

    /// It is standard error.
    pub(super) fn of_stderr(self) -> KeptStream {
        KeptStream { is_error: true, ..self }
    }

    pub(super) fn push(&mut self, data: &Bytes, lines: &mut Lines) {
        let passed = self.gate.pass(data);
        self.take(&passed, lines);
    }

    fn take(&mut self, data: &[u8], lines: &mut Lines) {
        let Some(stream) = &mut self.masked else { return self.keep(data, lines) };
        let clean = stream.push(data);
        self.keep(&clean, lines);
    }

    fn keep(&mut self, data: &[u8], lines: &mut Lines) {
        self.capture.push(data);
        lines.push(data, self.is_error);
    }

    pub(super) fn finish(mut self, lines: &mut Lines) -> Output {
        let before = self.gate.never_passed();
        if !before.is_empty() {
            // It is of another program, and would be taken for the command's when the command is asked for again.
            let recorder = lines.recorder.take();
            self.take(&before, lines);
            lines.recorder = recorder;
        }
        let held = self.masked.take().map(Stream::finish).unwrap_or_default();
        self.keep(&held, lines);
        self.capture.finish()
    }
}

/// Output for those who follow a command: split into lines, or all of it; and for where it is kept. Nothing waits for
/// them: the other work on the host uses the same connection.
pub(super) struct Lines {
    follow: Option<Follow>,
    recorder: Option<Box<dyn Recorder>>,
    /// The begin of a line.
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn new(follow: Option<Follow>, recorder: Option<Box<dyn Recorder>>) -> Lines {
        Lines { follow, recorder, pending: Vec::new() }
    }

    fn push(&mut self, data: &[u8], is_error: bool) {
        if let Some(recorder) = self.recorder.as_mut().filter(|_| !data.is_empty()) {
            recorder.write(is_error, data);
        }
        match &self.follow {
            None => {}
            Some(Follow::Lines(_)) => self.push_lines(data),
            Some(Follow::All(_)) if data.is_empty() => {}
            Some(Follow::All(tap)) => tap.to.send((&tap.host, is_error), data),
        }
    }

    fn push_lines(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = LIVE_LINE_BYTES.saturating_sub(self.pending.len());
            self.pending.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.flush();
            }
        }
    }

    /// Passes on a line that has not ended; no output follows.
    pub(super) fn end(mut self) {
        self.flush();
        if let Some(mut recorder) = self.recorder.take() {
            recorder.finish();
        }
    }

    /// Passes on a line that has not ended, or is too long.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.pending);
        if let Some(Follow::Lines(sender)) = &self.follow
            && !line.is_empty()
        {
            // A slow follower misses lines; the journal has them.
            let _ = sender.try_send(to_text(&line).trim_end_matches(['\n', '\r']).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&str]) -> (String, bool) {
        let mut gate = MarkGate::new(true);
        let mut out = String::new();
        for piece in pieces {
            out.push_str(&String::from_utf8_lossy(&gate.pass(&Bytes::from(piece.to_string()))));
        }
        (out, gate.passed())
    }

    #[test]
    fn the_output_begins_behind_the_first_mark() {
        let mark = format!("{BEGIN}\n");
        let noise = format!("You have 3 new mails\n0{mark}one\n{mark}two\n");
        assert_eq!(through(&[&noise]), (format!("one\n{mark}two\n"), true));
        for at in 1..noise.len() {
            assert_eq!(through(&[&noise[..at], &noise[at..]]), (format!("one\n{mark}two\n"), true), "{at}");
        }
        assert_eq!(through(&["no mark\n", BEGIN, "x\n"]), (String::new(), false));
        let long = "x".repeat(3 * BEFORE_BYTES);
        assert_eq!(through(&[&long, &mark, "y"]), ("y".into(), true));
    }

    #[test]
    fn without_a_mark_everything_is_kept() {
        let mut lines = Lines::new(None, None);
        let mut kept = KeptStream::new(MarkGate::new(true), Capture::default(), &Masks::default());
        kept.push(&Bytes::from("This account is currently not available.\n"), &mut lines);
        assert_eq!(kept.finish(&mut lines).text, "This account is currently not available.\n");
        let mut open = KeptStream::new(MarkGate::new(false), Capture::default(), &Masks::default());
        open.push(&Bytes::from("hello\n"), &mut lines);
        assert_eq!(open.finish(&mut lines).text, "hello\n");
    }
}
