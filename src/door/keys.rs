//! The keys of a terminal that mean something while a run is followed.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Keys that wait to be handled; more are dropped.
const WAITING_KEYS: usize = 1_024;

/// The part of them that only Ctrl-C and Ctrl-D may use, so that other keys never push these out.
const KEPT_FREE: usize = 8;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPress {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
    /// The screen has another size.
    Resized,
    /// The client sends no more keys.
    Closed,
    /// Any other: an answer to a question, or input for the hosts, which a terminal does not send.
    Plain(u8),
}

/// The sender of keys. Until an answer takes them, the first Ctrl-C or Ctrl-D ends it.
pub struct Keyboard {
    keys: mpsc::Sender<KeyPress>,
    first: CancellationToken,
}

/// The receiver of keys.
pub struct Keys {
    pub keys: mpsc::Receiver<KeyPress>,
    /// Fires with the first Ctrl-C or Ctrl-D.
    pub first: CancellationToken,
}

/// A keyboard, and its keys.
pub fn keyboard() -> (Keyboard, Keys) {
    let (sender, receiver) = mpsc::channel(WAITING_KEYS);
    let first = CancellationToken::new();
    (Keyboard { keys: sender, first: first.clone() }, Keys { keys: receiver, first })
}

impl Keyboard {
    /// The screen has another size.
    pub fn resized(&self) {
        if self.keys.capacity() > KEPT_FREE {
            let _ = self.keys.try_send(KeyPress::Resized);
        }
    }

    /// The client sends no more keys.
    pub fn closed(&self) {
        let _ = self.keys.try_send(KeyPress::Closed);
    }

    /// Passes on what was typed.
    pub fn typed(&self, bytes: &[u8]) {
        for byte in bytes {
            let key = match *byte {
                CTRL_C => KeyPress::Interrupt,
                CTRL_D => KeyPress::End,
                other => KeyPress::Plain(other),
            };
            if !matches!(key, KeyPress::Plain(_)) {
                self.first.cancel();
            } else if self.keys.capacity() <= KEPT_FREE {
                continue;
            }
            let _ = self.keys.try_send(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_keys_never_push_out_ctrl_c() {
        let (keyboard, mut keys) = keyboard();
        keyboard.typed(&[b'x'; 2_000]);
        keyboard.resized();
        assert!(!keys.first.is_cancelled());
        keyboard.typed(&[CTRL_C, b'x', CTRL_C]);
        assert!(keys.first.is_cancelled());
        let waiting: Vec<KeyPress> = std::iter::from_fn(|| keys.keys.try_recv().ok()).collect();
        assert!(waiting.ends_with(&[KeyPress::Interrupt, KeyPress::Interrupt]), "{waiting:?}");
    }
}
