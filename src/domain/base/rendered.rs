//! One line of a host's output as text with styles: colours are kept, and everything else that could steer a screen is
//! dropped or made visible. Each line has a parser of its own, so that a sequence without an end costs that line only.

use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use super::output::is_steering;
use super::style::Style;

/// Most bytes of text shown of a line; a longer one is for the raw output.
pub const LINE_BYTES: usize = 4096;

/// Most styled parts of a line; the rest of the line is plain. Each part costs far more than its text.
pub const SPANS_LIMIT: usize = 200;

/// Most marks on one character, such as accents: more of them cover other lines.
const MARKS_LIMIT: usize = 8;

/// A part of a line in one style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub text: String,
    pub style: Style,
    /// The text stands for bytes that are no visible text.
    pub is_mark: bool,
}

/// A line, ready for any screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderedLine {
    pub spans: Vec<Span>,
    /// How often the line was overwritten by carriage returns; the last text is shown.
    pub updates: u32,
    /// Bytes of text that are not shown because the line is too long.
    pub more: u64,
}

impl RenderedLine {
    /// Its text, without notes about what is left out.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    fn is_blank(&self) -> bool {
        self.spans.iter().all(|span| span.text.trim().is_empty())
    }
}

/// Whether control sequences are dropped or printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sequences {
    #[default]
    Dropped,
    /// As text: `ESC]52;c;...`
    Printed,
}

/// Renders lines in order. Only the style is carried from one line to the next.
#[derive(Clone, Debug, Default)]
pub struct LineRenderer {
    pub sequences: Sequences,
    style: Style,
}

impl LineRenderer {
    /// A renderer that starts without a style.
    pub fn new(sequences: Sequences) -> LineRenderer {
        LineRenderer { sequences, style: Style::default() }
    }

    /// Renders a line, with or without its line end.
    pub fn line(&mut self, bytes: &[u8]) -> RenderedLine {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |at| at + 1);
        let mut screen = Screen { style: self.style, ..Screen::default() };
        match self.sequences {
            Sequences::Dropped => screen.obey(&bytes[..end]),
            Sequences::Printed => screen.spell(&bytes[..end]),
        }
        self.style = screen.style;
        screen.finish()
    }
}

/// The text of a line without control sequences: what a search reads. Bytes that are no text are `\xNN`.
pub fn stripped(line: &[u8]) -> String {
    let mut text = Stripped::default();
    feed(&mut Parser::new(), &mut text, line);
    text.text
}

/// What a parser reports to, besides: a byte that is no text.
trait Hear: Perform {
    /// The next printed character stands for this byte.
    fn invalid(&mut self, byte: Option<u8>);
}

/// Feeds a line to a parser. Its own text for invalid bytes would lose them.
fn feed(parser: &mut Parser, to: &mut impl Hear, line: &[u8]) {
    for chunk in line.utf8_chunks() {
        parser.advance(to, chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            to.invalid(Some(*byte));
            // Within a sequence the parser drops it, as it would drop the byte.
            parser.advance(to, "\u{fffd}".as_bytes());
            to.invalid(None);
        }
    }
}

/// The line as it is built.
#[derive(Debug, Default)]
struct Screen {
    now: RenderedLine,
    /// The last text that a carriage return overwrote.
    before: Option<RenderedLine>,
    updates: u32,
    style: Style,
    bytes: usize,
    marks: usize,
    invalid: Option<u8>,
}

impl Screen {
    fn obey(&mut self, line: &[u8]) {
        if line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return self.plain(line);
        }
        feed(&mut Parser::new(), self, line);
    }

    /// A long answer is mostly such lines.
    fn plain(&mut self, line: &[u8]) {
        let shown = &line[..line.len().min(LINE_BYTES)];
        if !shown.is_empty() {
            let text = String::from_utf8_lossy(shown).into_owned();
            self.now.spans.push(Span { text, style: self.style.readable(), is_mark: false });
        }
        self.now.more = (line.len() - shown.len()) as u64;
    }

    fn spell(&mut self, line: &[u8]) {
        for chunk in line.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\u{1b}' => self.add("ESC", true),
                    c if u32::from(c) < 0x100 && c.is_control() => self.execute(c as u8),
                    c => self.print(c),
                }
            }
            chunk.invalid().iter().for_each(|byte| self.add(&format!("\\x{byte:02x}"), true));
        }
    }

    fn finish(self) -> RenderedLine {
        let line = match self.before {
            Some(before) if self.now.is_blank() => before,
            _ => self.now,
        };
        RenderedLine { updates: self.updates, ..line }
    }

    fn add(&mut self, text: &str, is_mark: bool) {
        if self.bytes + text.len() > LINE_BYTES {
            self.now.more += text.len() as u64;
            // Nothing shorter behind it may be shown in its place.
            self.bytes = LINE_BYTES;
            return;
        }
        self.bytes += text.len();
        let style = self.style.readable();
        let spans = &mut self.now.spans;
        let count = spans.len();
        let is_full = count == SPANS_LIMIT;
        match spans.last_mut() {
            Some(last) if is_full || (last.style == style && last.is_mark == is_mark) => {
                last.text.push_str(text)
            }
            _ if count + 1 == SPANS_LIMIT => spans.push(Span { text: text.into(), ..Span::default() }),
            _ => spans.push(Span { text: text.into(), style, is_mark }),
        }
    }

    fn carriage_return(&mut self) {
        let line = std::mem::take(&mut self.now);
        (self.bytes, self.marks) = (0, 0);
        if !line.is_blank() {
            self.updates = self.updates.saturating_add(1);
            self.before = Some(line);
        }
    }
}

impl Hear for Screen {
    fn invalid(&mut self, byte: Option<u8>) {
        self.invalid = byte;
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        if let Some(byte) = self.invalid.take() {
            return self.add(&format!("\\x{byte:02x}"), true);
        }
        match c {
            '\u{7f}' => self.add("\\x7f", true),
            c if is_hidden(c) => self.add(&format!("<U+{:04X}>", u32::from(c)), true),
            c if c.width() == Some(0) => {
                self.marks += 1;
                if self.marks <= MARKS_LIMIT {
                    self.add(c.encode_utf8(&mut [0; 4]), false);
                }
            }
            c => {
                self.marks = 0;
                self.add(c.encode_utf8(&mut [0; 4]), false);
            }
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\r' => self.carriage_return(),
            0x80..=0x9f => self.add(&format!("<{byte:02X}>"), true),
            byte => self.add(&format!("\\x{byte:02x}"), true),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if action == 'm' && intermediates.is_empty() && !ignore {
            self.style.take(params.iter());
        }
    }
}

/// Characters that are not seen, or move others. In a log the joiners are among them: they can make two names look alike.
fn is_hidden(c: char) -> bool {
    is_steering(c) || matches!(c, '\u{200c}' | '\u{200d}')
}

/// Text alone.
#[derive(Default)]
struct Stripped {
    text: String,
    invalid: Option<u8>,
}

impl Hear for Stripped {
    fn invalid(&mut self, byte: Option<u8>) {
        self.invalid = byte;
    }
}

impl Perform for Stripped {
    fn print(&mut self, c: char) {
        match self.invalid.take() {
            Some(byte) => self.text.push_str(&format!("\\x{byte:02x}")),
            None => self.text.push(c),
        }
    }

    fn execute(&mut self, byte: u8) {
        self.text.push(char::from(byte));
    }
}

#[cfg(test)]
#[path = "rendered_tests.rs"]
mod tests;
