//! Text of events: bounded, and without characters that steer a terminal.

use std::fmt;

use crate::domain::base::output::is_steering;

/// Most bytes of one field: enough for any of our sentences, and the fields behind it stay visible.
pub const FIELD_LIMIT_BYTES: usize = 2048;

/// Text up to a limit, and how much was cut.
pub struct Clipped {
    text: String,
    limit: usize,
    more: usize,
}

impl Clipped {
    pub fn new(limit: usize) -> Clipped {
        Clipped { text: String::new(), limit, more: 0 }
    }

    pub fn finish(mut self) -> String {
        if self.more > 0 {
            self.text.push_str(&format!("[{} more bytes]", self.more));
        }
        self.text
    }
}

impl fmt::Write for Clipped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.more > 0 { 0 } else { self.limit - self.text.len().min(self.limit) };
        let end = text.floor_char_boundary(room);
        self.text.push_str(&text[..end]);
        self.more += text.len() - end;
        Ok(())
    }
}

/// True for characters that end a line, or steer a terminal.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_steering(c) || matches!(c, '\u{2028}' | '\u{2029}')
}
