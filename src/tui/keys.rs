//! Keys from the bytes of a terminal. A sequence may arrive in pieces, an unknown one is skipped whole, and what is pasted is
//! never taken for keys.

/// A key that means something to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-L.
    Repaint,
    /// Ctrl-C.
    Interrupt,
}

/// Longest sequence that is read; more is no sequence of a key.
const SEQUENCE_BYTES: usize = 32;

/// Reads keys, byte by byte.
#[derive(Debug, Default)]
pub struct KeyReader {
    /// A sequence, or a character, that is not complete.
    begun: Vec<u8>,
    is_pasting: bool,
}

impl KeyReader {
    /// The key that this byte completes.
    pub fn take(&mut self, byte: u8) -> Option<Key> {
        self.begun.push(byte);
        let key = match self.read() {
            Reading::More if self.begun.len() < SEQUENCE_BYTES => return None,
            Reading::More | Reading::Nothing => None,
            Reading::Key(key) => Some(key),
        };
        self.begun.clear();
        key.filter(|_| !self.is_pasting)
    }

    /// True if a key may be complete although more could follow: Escape is also the start of every sequence.
    pub fn is_open(&self) -> bool {
        !self.begun.is_empty() || self.is_pasting
    }

    /// True between the start and the end of what is pasted.
    pub fn is_pasting(&self) -> bool {
        self.is_pasting
    }

    /// Nothing followed within a moment.
    pub fn pause(&mut self) -> Option<Key> {
        // The end of what was pasted may be lost.
        let was_pasting = std::mem::take(&mut self.is_pasting);
        let begun = std::mem::take(&mut self.begun);
        (begun == [0x1b] && !was_pasting).then_some(Key::Escape)
    }

    fn read(&mut self) -> Reading {
        match *self.begun.as_slice() {
            [] | [0x1b] | [0x1b, b'['] | [0x1b, b'O'] => Reading::More,
            [0x1b, b'O', last] => named(last),
            [0x1b, b'[', .., last @ 0x40..=0x7e] => self.sequence(last),
            [0x1b, b'[', ..] => Reading::More,
            // Alt and a key.
            [0x1b, ..] => Reading::Nothing,
            [b'\r' | b'\n'] => Reading::Key(Key::Enter),
            [0x7f | 0x08] => Reading::Key(Key::Backspace),
            [0x0c] => Reading::Key(Key::Repaint),
            [0x03 | 0x04] => Reading::Key(Key::Interrupt),
            [byte] if byte < 0x20 => Reading::Nothing,
            _ => character(&self.begun),
        }
    }

    fn sequence(&mut self, last: u8) -> Reading {
        let number = &self.begun[2..self.begun.len() - 1];
        match (number, last) {
            (b"200", b'~') => self.is_pasting = true,
            (b"201", b'~') => self.is_pasting = false,
            (b"5", b'~') => return Reading::Key(Key::PageUp),
            (b"6", b'~') => return Reading::Key(Key::PageDown),
            (b"1" | b"7", b'~') => return Reading::Key(Key::Home),
            (b"4" | b"8", b'~') => return Reading::Key(Key::End),
            (b"", last) => return named(last),
            _ => {}
        }
        Reading::Nothing
    }
}

enum Reading {
    More,
    Nothing,
    Key(Key),
}

/// The keys that both modes of a terminal have (`ESC [ A` and `ESC O A`).
fn named(last: u8) -> Reading {
    match last {
        b'A' => Reading::Key(Key::Up),
        b'B' => Reading::Key(Key::Down),
        b'H' => Reading::Key(Key::Home),
        b'F' => Reading::Key(Key::End),
        _ => Reading::Nothing,
    }
}

fn character(bytes: &[u8]) -> Reading {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().next().map_or(Reading::Nothing, |c| Reading::Key(Key::Char(c))),
        // A character has at most four bytes.
        Err(error) if error.error_len().is_none() && bytes.len() < 4 => Reading::More,
        Err(_) => Reading::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut reader = KeyReader::default();
        let mut keys: Vec<Key> = bytes.iter().filter_map(|byte| reader.take(*byte)).collect();
        keys.extend(reader.pause());
        keys
    }

    #[test]
    fn keys_are_read_in_both_modes_of_a_terminal() {
        let rows: [(&[u8], &[Key]); 12] = [
            (b"jk", &[Key::Char('j'), Key::Char('k')]),
            (b"\x1b[A\x1bOA", &[Key::Up, Key::Up]),
            (b"\x1b[B\x1b[5~\x1b[6~", &[Key::Down, Key::PageUp, Key::PageDown]),
            (b"\x1b[H\x1b[F\x1b[1~\x1b[4~", &[Key::Home, Key::End, Key::Home, Key::End]),
            (b"\r\x7f", &[Key::Enter, Key::Backspace]),
            (b"\x1b", &[Key::Escape]),
            ("\u{e9}\u{6f22}".as_bytes(), &[Key::Char('\u{e9}'), Key::Char('\u{6f22}')]),
            (b"\x1b[1;5Cq", &[Key::Char('q')]),
            (b"\x1b[<35;10;10Mq", &[Key::Char('q')]),
            (b"\xffq", &[Key::Char('q')]),
            (b"\x1bxq", &[Key::Char('q')]),
            (b"\x03\x0c\x01", &[Key::Interrupt, Key::Repaint]),
        ];
        for (bytes, wanted) in rows {
            assert_eq!(keys(bytes), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_pasted_is_no_key() {
        assert_eq!(keys(b"a\x1b[200~xq\ra\x1b[201~j"), [Key::Char('a'), Key::Char('j')]);
        let mut reader = KeyReader::default();
        b"\x1b[200~x".iter().for_each(|byte| assert_eq!(reader.take(*byte), None));
        assert!(reader.is_open());
        assert_eq!(reader.pause(), None);
        assert_eq!(reader.take(b'q'), Some(Key::Char('q')), "the end of what was pasted was lost");
    }

    #[test]
    fn a_sequence_without_an_end_costs_only_itself() {
        let mut reader = KeyReader::default();
        let long = [b"\x1b[".as_slice(), &[b'1'; 100]].concat();
        let keys: Vec<Key> = long.iter().filter_map(|byte| reader.take(*byte)).collect();
        assert!(keys.iter().all(|key| *key == Key::Char('1')), "{keys:?}");
        assert_eq!(reader.take(b'q').or_else(|| reader.pause()), Some(Key::Char('q')));
    }
}
