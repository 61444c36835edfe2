//! The output of a command on a host, bounded: its head and its tail.

use serde::{Deserialize, Serialize};

/// Bytes kept from the start of a stream and from its end. Errors are printed at either place; the bytes
/// between are counted, not kept, so that `yes` on a thousand hosts cannot fill the daemon's memory.
pub const KEEP_BYTES: usize = 16 * 1024;

/// One captured stream as text. Bytes that are not UTF-8 appear as `\xNN`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Output {
    pub text: String,
    /// Bytes left out between head and tail.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Output {
    /// The last line that is not blank, for one-line summaries.
    pub fn last_line(&self) -> &str {
        self.text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim()
    }
}

impl Output {
    /// The same with at most `keep` bytes of text at its head, and as many at its tail.
    pub fn within(self, keep: usize) -> Output {
        // The line that says how much is left out, with the line ends around it.
        const SAID_BYTES: usize = 64;
        if self.text.len() <= 2 * keep + SAID_BYTES {
            return self;
        }
        let head = self.text.floor_char_boundary(keep);
        let tail = self.text.ceil_char_boundary(self.text.len() - keep);
        let left_out = self.left_out + (tail - head) as u64;
        let text = format!("{}{}{}", &self.text[..head], left_out_line(left_out), &self.text[tail..]);
        Output { text, left_out }
    }
}

fn left_out_line(bytes: u64) -> String {
    format!("\n[... {bytes} bytes left out ...]\n")
}

/// Collects a stream into an [`Output`].
#[derive(Debug)]
pub struct Capture {
    /// The size of the head and of the tail, in bytes.
    keep: usize,
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    left_out: u64,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture::keeping(KEEP_BYTES)
    }
}

impl Capture {
    /// A capture that keeps this many bytes of the head, and of the tail.
    pub fn keeping(keep: usize) -> Capture {
        Capture { keep, head: Vec::new(), tail: Default::default(), left_out: 0 }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        let room = self.keep - self.head.len();
        let taken = room.min(bytes.len());
        self.head.extend_from_slice(&bytes[..taken]);
        bytes = &bytes[taken..];
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(self.keep);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
    }

    /// The text, with a line where bytes were left out.
    pub fn finish(self) -> Output {
        let mut bytes = self.head;
        if self.left_out > 0 {
            bytes.extend_from_slice(left_out_line(self.left_out).as_bytes());
        }
        bytes.extend(self.tail);
        Output { text: to_text(&bytes), left_out: self.left_out }
    }
}

/// Bytes as text: valid UTF-8 stays, everything else becomes `\xNN`.
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Text that is safe on a terminal: control characters (but not newline and tab), the C1 range and
/// direction overrides become visible, so that no host can move the cursor, set a title, write the
/// clipboard or draw an "ok" of its own.
pub fn printable(text: &str) -> String {
    // Long answers are ASCII, which is fast to check.
    if text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        return text.to_string();
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            '\r' => {}
            c if c.is_control() => safe.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_steering(c) => {
                safe.push_str(&format!("\\u{{{:x}}}", c as u32));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Characters that change the direction of the text around them, end a line, or are invisible. The joiners
/// U+200C and U+200D are excluded: languages and emoji need them.
pub fn is_steering(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Narrowest screen that text is fitted to, in characters; a narrower one breaks it itself.
const NARROWEST: usize = 30;

/// What a line that was broken continues with.
const CONTINUED: &str = "    ";

/// Text for a screen of this width: longer lines are broken between words, and continue indented, so that they begin no
/// line of their own. JSON is for programs, and stays as it is.
pub fn fitted(text: &str, width: usize) -> String {
    if width < NARROWEST {
        return text.to_string();
    }
    let fit = |line: &str| if line.starts_with("{\"") { line.to_string() } else { fitted_line(line, width) };
    text.split_inclusive('\n').map(fit).collect()
}

fn fitted_line(line: &str, width: usize) -> String {
    let blank = line.len() - line.trim_start_matches(' ').len();
    let indent = format!("{}{CONTINUED}", " ".repeat(blank.min(width / 2)));
    let (mut fit, mut rest) = (String::new(), line);
    let mut room = width;
    while let Some((end, next)) = rest.trim_end_matches([' ', '\n']).char_indices().nth(room) {
        // Not within its indentation. A word may end where the screen does.
        let head = &rest[..end + next.len_utf8()];
        let words = head.trim_start_matches(' ');
        let at = words.rfind(' ').map_or(end, |at| head.len() - words.len() + at);
        fit += rest[..at].trim_end_matches(' ');
        fit += "\n";
        fit += &indent;
        rest = rest[at..].trim_start_matches(' ');
        room = width - indent.len();
    }
    let end = if rest.ends_with('\n') { "\n" } else { "" };
    match rest.chars().count() > room + end.len() {
        // Blanks at its end.
        true => fit + rest.trim_end_matches([' ', '\n']) + end,
        false => fit + rest,
    }
}

/// The first characters of a text, with a mark if the rest was cut.
pub fn clipped(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_head_and_its_tail() {
        let mut capture = Capture::default();
        capture.push(b"first\n");
        for _ in 0..100 {
            capture.push(&[b'x'; 4096]);
        }
        capture.push(b"\nlast");
        let output = capture.finish();
        assert!(output.text.starts_with("first\n") && output.text.ends_with("\nlast"));
        assert!(output.text.contains("bytes left out"));
        assert_eq!(output.left_out, 6 + 409_600 + 5 - 2 * KEEP_BYTES as u64);
    }

    #[test]
    fn an_output_is_cut_to_what_may_be_kept() {
        let small = Output { text: "x".repeat(84), left_out: 3 };
        assert_eq!(small.clone().within(10), small);
        let long = Output { text: format!("{}é{}", "a".repeat(9), "b".repeat(90)), left_out: 3 };
        let wanted = "aaaaaaaaa\n[... 85 bytes left out ...]\nbbbbbbbbbb";
        assert_eq!(long.within(10), Output { text: wanted.into(), left_out: 85 });
    }

    #[test]
    fn lines_fit_the_screen() {
        let table = [
            ("short\n", "short\n"),
            ("no newline", "no newline"),
            ("one two three four five six seven\nx\n", "one two three four five six\n    seven\nx\n"),
            ("  one two three four five six seven\n", "  one two three four five six\n      seven\n"),
            (
                "012345678901234567890123456789012345678901234567890123456789\n",
                "012345678901234567890123456789\n    01234567890123456789012345\n    6789\n",
            ),
            (
                "{\"one\": \"two three four five six seven\"}\n",
                "{\"one\": \"two three four five six seven\"}\n",
            ),
            ("ééééééééééééééé éééééééééééééé é\n", "ééééééééééééééé éééééééééééééé\n    é\n"),
        ];
        for (text, wanted) in table {
            assert_eq!(fitted(text, 30), wanted);
            assert_eq!(fitted(text, 10), text, "narrower than any");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen_and_no_word_is_lost(text in "[ a-zé\n]{0,300}", width in 30usize..90) {
            let fit = fitted(&text, width);
            proptest::prop_assert!(fit.lines().all(|line| line.chars().count() <= width));
            let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            proptest::prop_assert_eq!(bare(&fit), bare(&text));
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        assert_eq!(to_text(b"a\xffb"), "a\\xffb");
    }

    #[test]
    fn a_host_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b]52;c;x\x07\tb\r\n"), "a\\x1b]52;c;x\\x07\tb\n");
        assert_eq!(printable("\u{9b}31m\u{202e}"), "\\x9b31m\\u{202e}");
    }
}
