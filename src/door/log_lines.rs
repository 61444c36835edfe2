//! Lines of logs on their way from hosts to an operator who follows them. Hosts never wait: what finds no room is counted,
//! and the count stands where the lines would have been.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::domain::base::name::HostName;
use crate::domain::base::output::to_text;
use crate::domain::value::secret::Masks;
use crate::port::ExecReport;
use crate::port::outputs::Recorder;

/// Longest line, in bytes; the rest of a longer one is counted.
const LINE_BYTES: usize = 8 * 1024;

/// The end of a line that was cut goes back to the start of its last word, which may be a part of a name: a name is shorter.
const WORD_BYTES: usize = 256;

/// Most bytes that wait for the client of one follow, of all its hosts together: many screens, and little for 64 follows.
const WAITING_BYTES: usize = 2 * 1024 * 1024;

/// After lines were left out, this much room has to be free before more are taken: gaps are few and long, not many and short.
const ROOM_AFTER_GAP_BYTES: usize = WAITING_BYTES / 2;

/// What comes from a host.
#[derive(Debug)]
pub enum LogItem {
    Line(LogLine),
    /// So many lines were left out here.
    Gap(HostName, u64),
    /// It is no longer followed.
    End(HostName, Box<ExecReport>),
}

/// One line of one host, without secrets.
#[derive(Debug)]
pub struct LogLine {
    pub host: HostName,
    pub is_error: bool,
    pub bytes: Vec<u8>,
    /// Bytes of the line that were left out.
    pub beyond: u64,
    _room: OwnedSemaphorePermit,
}

impl LogLine {
    /// The line as text, and how many bytes of it are left out. A line that was cut does not end within a secret or a
    /// name: there the part that is left would not be recognized.
    pub fn shown(&self, masks: &Masks) -> (String, u64) {
        if self.beyond == 0 {
            return (masks.text(&to_text(&self.bytes)), 0);
        }
        let (mut bytes, open) = masks.beginning(&self.bytes);
        let end = word_end(&bytes);
        let beyond = self.beyond + (open + bytes.len() - end) as u64;
        bytes.truncate(end);
        (to_text(&bytes), beyond)
    }
}

/// Where the last whole word of a text that was cut ends.
fn word_end(text: &[u8]) -> usize {
    // Brackets belong to the names of several hosts.
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._-[],/:".contains(byte);
    let least = text.len().saturating_sub(WORD_BYTES);
    text[least..].iter().rposition(|byte| !is_word(byte)).map_or(least, |at| least + at + 1)
}

/// The way of the lines of one follow.
#[derive(Clone)]
pub struct LogQueue {
    items: mpsc::UnboundedSender<LogItem>,
    room: Arc<Semaphore>,
}

/// A way for lines, and its end.
pub fn log_queue() -> (LogQueue, mpsc::UnboundedReceiver<LogItem>) {
    let (items, receiver) = mpsc::unbounded_channel();
    (LogQueue { items, room: Arc::new(Semaphore::new(WAITING_BYTES)) }, receiver)
}

impl LogQueue {
    /// Takes the output of one host.
    pub fn of_host(&self, host: HostName) -> Box<dyn Recorder> {
        Box::new(HostLines { host, queue: self.clone(), begun: Default::default(), missed: 0 })
    }

    /// The host is no longer followed. Each host ends once, so this takes no room.
    pub fn ended(&self, host: HostName, report: ExecReport) {
        // A client that is gone misses nothing.
        let _ = self.items.send(LogItem::End(host, Box::new(report)));
    }
}

/// Cuts the output of a host into lines.
struct HostLines {
    host: HostName,
    queue: LogQueue,
    /// The begins of lines, of standard output and of standard error.
    begun: [Begun; 2],
    /// Lines that found no room, since the last one that did.
    missed: u64,
}

#[derive(Default)]
struct Begun {
    bytes: Vec<u8>,
    beyond: u64,
}

impl HostLines {
    fn push(&mut self, is_error: bool) {
        let begun = std::mem::take(&mut self.begun[usize::from(is_error)]);
        // Short lines must not hide how much memory they take.
        let needed = begun.bytes.len() + size_of::<LogItem>();
        let free = self.queue.room.available_permits();
        let has_room = self.missed == 0 || free >= ROOM_AFTER_GAP_BYTES;
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        let room = has_room.then(|| self.queue.room.clone().try_acquire_many_owned(needed).ok());
        let Some(room) = room.flatten() else {
            self.missed += 1;
            return;
        };
        self.gap();
        let Begun { bytes, beyond } = begun;
        let line = LogLine { host: self.host.clone(), is_error, bytes, beyond, _room: room };
        let _ = self.queue.items.send(LogItem::Line(line));
    }

    /// Says how many lines were left out. There are few of these, since much room has to be free after each.
    fn gap(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            let _ = self.queue.items.send(LogItem::Gap(self.host.clone(), missed));
        }
    }
}

impl Recorder for HostLines {
    fn write(&mut self, is_error: bool, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let begun = &mut self.begun[usize::from(is_error)];
            let kept = text.len().min(LINE_BYTES - begun.bytes.len());
            begun.bytes.extend_from_slice(&text[..kept]);
            begun.beyond += (text.len() - kept) as u64;
            if text.len() < piece.len() {
                self.push(is_error);
            }
        }
    }

    fn finish(&mut self) {
        for is_error in [false, true] {
            if !self.begun[usize::from(is_error)].bytes.is_empty() {
                self.push(is_error);
            }
        }
        self.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(items: &mut mpsc::UnboundedReceiver<LogItem>) -> Vec<String> {
        let mut words = Vec::new();
        while let Ok(item) = items.try_recv() {
            words.push(match item {
                LogItem::Line(line) => {
                    let text = String::from_utf8(line.bytes).unwrap();
                    format!("{}{} {text} +{}", line.host, if line.is_error { "!" } else { "" }, line.beyond)
                }
                LogItem::Gap(host, lines) => format!("{host} gap {lines}"),
                LogItem::End(host, _) => format!("{host} end"),
            });
        }
        words
    }

    #[test]
    fn output_becomes_lines_of_bounded_length() {
        let (queue, mut items) = log_queue();
        let mut web1 = queue.of_host("web1".into());
        let mut web2 = queue.of_host("web2".into());
        web1.write(false, b"on");
        web2.write(false, b"other\n");
        web1.write(true, b"tail: x\n");
        web1.write(false, b"e\n\ntwo");
        web1.finish();
        let wanted = ["web2 other +0", "web1! tail: x +0", "web1 one +0", "web1  +0", "web1 two +0"];
        assert_eq!(words(&mut items), wanted);
        for _ in 0..3 {
            web2.write(false, &[b'x'; LINE_BYTES / 2]);
        }
        web2.write(false, b"yz\n");
        let long = format!("web2 {} +{}", "x".repeat(LINE_BYTES), LINE_BYTES / 2 + 2);
        assert_eq!(words(&mut items), [long]);
    }

    #[test]
    fn a_line_that_was_cut_ends_within_no_secret_and_no_name() {
        let secret = |text: &str| crate::domain::value::secret::Secret::new(text).unwrap();
        let masks = Masks::new(&[secret("correct horse battery"), secret("pässwörd")]).unwrap();
        let (queue, mut items) = log_queue();
        let mut web1 = queue.of_host("web1".into());
        let table = [
            ("from web2.exam", "ple.org", "from ", 9),
            ("x correct horse ba", "ttery", "x ", 16),
            ("x correct horse battery", " y", "x ***", 0),
            ("x p\u{e4}ssw\u{f6}", "rd", "x ", 8),
            ("ends here ", "and there", "ends here ", 0),
        ];
        for (head, rest, wanted, more) in table {
            let before = " ".repeat(LINE_BYTES - head.len());
            web1.write(false, format!("{before}{head}{rest}\n").as_bytes());
            let Ok(LogItem::Line(line)) = items.try_recv() else { panic!("no line") };
            let (text, beyond) = line.shown(&masks);
            assert_eq!((text.trim_start(), beyond), (wanted, (rest.len() + more) as u64), "{head}");
        }
        // Half of a character.
        let before = " ".repeat(LINE_BYTES - 3);
        web1.write(false, format!("{before}xp\u{e4}ssw\u{f6}rd\n").as_bytes());
        let Ok(LogItem::Line(line)) = items.try_recv() else { panic!("no line") };
        assert_eq!(line.shown(&masks).0.trim_start(), "");
        // A word that is longer than any name.
        web1.write(false, &[&[b'x'; LINE_BYTES + 5][..], b"\n"].concat());
        let Ok(LogItem::Line(line)) = items.try_recv() else { panic!("no line") };
        let (text, beyond) = line.shown(&Masks::default());
        assert_eq!((text.len(), beyond), (LINE_BYTES - WORD_BYTES, 5 + WORD_BYTES as u64));
        web1.write(false, "a p\u{e4}ssw\u{f6}rd b\n".as_bytes());
        let Ok(LogItem::Line(line)) = items.try_recv() else { panic!("no line") };
        assert_eq!(line.shown(&masks), ("a *** b".into(), 0));
    }

    #[test]
    fn lines_without_room_are_counted_where_they_would_have_been() {
        let (queue, mut items) = log_queue();
        let mut web1 = queue.of_host("web1".into());
        let mut web2 = queue.of_host("web2".into());
        let each = LINE_BYTES + size_of::<LogItem>();
        let fit = WAITING_BYTES / each;
        for _ in 0..fit + 10 {
            web1.write(false, &[&[b'x'; LINE_BYTES][..], b"\n"].concat());
        }
        web2.write(false, &[&[b'y'; LINE_BYTES][..], b"\n"].concat());
        // A little room is not enough after a gap.
        drop(items.try_recv());
        web1.write(false, b"short\n");
        let before = words(&mut items);
        assert_eq!(before.len(), fit - 1);
        web1.write(false, b"again\n");
        assert_eq!(words(&mut items), ["web1 gap 11", "web1 again +0"]);
        web2.finish();
        assert_eq!(words(&mut items), ["web2 gap 1"]);
    }
}
