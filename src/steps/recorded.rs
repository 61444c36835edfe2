//! The whole output of a step on its way to where it is kept: without the wrapper's own lines, and without secrets.

use std::sync::Arc;

use super::wrapper::own_prefix;
use crate::domain::value::secret::{Masks, Stream};
use crate::port::outputs::Recorder;

/// Longest line of the wrapper, in bytes.
const OWN_LINE_BYTES: usize = 8 * 1024;

/// Leaves out what `wrapper::hear` takes out of the output that the journal keeps: the first line that says `begun`, and the
/// last line, if it is one of the wrapper's.
pub(super) struct WithoutOwnLines {
    to: Masked,
    own: String,
    begun: bool,
    /// A line of standard error that may be the wrapper's. A whole one is passed on when another one follows it.
    held: Vec<u8>,
    /// The last byte was not the end of a line.
    within: bool,
}

impl WithoutOwnLines {
    /// For the record with this name on the host. The masks that were applied before spare the words of the wrapper's lines.
    pub fn new(record: &str, masks: &Arc<Masks>, to: Box<dyn Recorder>) -> WithoutOwnLines {
        let stream = || (!masks.is_empty()).then(|| masks.stream());
        let to = Masked { out: stream(), err: stream(), to };
        WithoutOwnLines { to, own: own_prefix(record), begun: false, held: Vec::new(), within: false }
    }

    fn take(&mut self, part: &[u8]) {
        let ends = part.ends_with(b"\n");
        if self.within {
            self.within = !ends;
            return self.to.write(true, part);
        }
        if self.held.ends_with(b"\n") {
            self.release();
        }
        self.held.extend_from_slice(part);
        let own = self.own.as_bytes();
        let may_be = self.held.starts_with(own) || own.starts_with(&self.held);
        if !may_be || self.held.len() > OWN_LINE_BYTES {
            self.release();
            self.within = !ends;
        } else if ends && !self.begun && self.held[own.len().min(self.held.len())..] == *b"begun\n" {
            self.begun = true;
            self.held.clear();
        }
    }

    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.to.write(true, &held);
    }
}

impl Recorder for WithoutOwnLines {
    fn write(&mut self, is_error: bool, bytes: &[u8]) {
        match is_error {
            false => self.to.write(false, bytes),
            true => bytes.split_inclusive(|byte| *byte == b'\n').for_each(|part| self.take(part)),
        }
    }

    fn finish(&mut self) {
        // The answer, or a part of it: the host is asked again for everything that it does not end.
        self.held.clear();
        self.to.finish();
    }
}

/// Masks what the first masks had to spare.
struct Masked {
    out: Option<Stream>,
    err: Option<Stream>,
    to: Box<dyn Recorder>,
}

impl Recorder for Masked {
    fn write(&mut self, is_error: bool, bytes: &[u8]) {
        let stream = if is_error { &mut self.err } else { &mut self.out };
        match stream {
            None => self.to.write(is_error, bytes),
            Some(stream) => {
                let clean = stream.push(bytes);
                self.to.write(is_error, &clean);
            }
        }
    }

    fn finish(&mut self) {
        for (is_error, stream) in [(false, self.out.take()), (true, self.err.take())] {
            if let Some(stream) = stream {
                let rest = stream.finish();
                self.to.write(is_error, &rest);
            }
        }
        self.to.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::value::secret::Secret;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<[String; 2]>>);

    impl Recorder for Kept {
        fn write(&mut self, is_error: bool, bytes: &[u8]) {
            self.0.lock().unwrap()[usize::from(is_error)] += std::str::from_utf8(bytes).unwrap();
        }
    }

    fn through(pieces: &[&str], masks: &Arc<Masks>) -> String {
        let kept = Kept::default();
        let mut recorder = WithoutOwnLines::new("1-a-0-1", masks, Box::new(kept.clone()));
        pieces.iter().for_each(|piece| recorder.write(true, piece.as_bytes()));
        recorder.finish();
        kept.0.lock().unwrap()[1].clone()
    }

    #[test]
    fn the_lines_of_the_wrapper_are_no_output() {
        let own = "rollcall 1-a-0-1";
        let table = [
            (format!("{own} begun\noops\n{own} exit 0 abc\n"), "oops\n".to_string()),
            (format!("{own} begun\n{own} exit 3 abc"), String::new()),
            // A step that prints such lines hides nothing but the last of them.
            (
                format!("{own} begun\n{own} begun\n{own} exit 0\nmore\n{own} exit 0 abc\n"),
                format!("{own} begun\n{own} exit 0\nmore\n"),
            ),
            (format!("a {own} begun\n{own}x\nlast\n"), format!("a {own} begun\n{own}x\nlast\n")),
            ("rollcall 1\nroll".into(), "rollcall 1\n".into()),
            ("no end".into(), "no end".into()),
            (String::new(), String::new()),
        ];
        for (text, wanted) in table {
            assert_eq!(through(&[&text], &Arc::default()), wanted, "{text:?}");
            for at in 1..text.len() {
                assert_eq!(through(&[&text[..at], &text[at..]], &Arc::default()), wanted, "{text:?} at {at}");
            }
        }
        let long = format!("{own} {}", "x".repeat(2 * OWN_LINE_BYTES));
        assert_eq!(through(&[&long], &Arc::default()), long);
    }

    #[test]
    fn a_secret_that_is_a_word_of_the_wrapper_is_masked() {
        let secret = Secret::new("timeout-exit").unwrap();
        let masks = Arc::new(Masks::new([&secret]).unwrap());
        let text = through(&["rollcall 1-a-0-1 begun\nit is timeout", "-exit!\n"], &masks);
        assert!(!text.contains("timeout-exit") && text.starts_with("it is "), "{text}");
    }
}
