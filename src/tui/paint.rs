//! Screens as bytes for a terminal: only the cells that differ, in one write.

use std::fmt::Write;

use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::style::{Color, Modifier};

/// Takes the whole screen: the operator's own is kept below it. What is pasted is marked, and long lines are cut.
pub const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?7l\x1b[2J";

/// Gives the screen back as it was.
pub const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// What makes a screen show `new` in the place of `old`; without an old one, whatever it shows. Empty if they are equal.
pub fn painted(old: Option<&Buffer>, new: &Buffer) -> String {
    let empty = Buffer::empty(new.area);
    let (clear, old) = match old.filter(|old| old.area == new.area) {
        Some(old) => ("", old),
        None => ("\x1b[0m\x1b[2J", &empty),
    };
    let mut text = String::from(clear);
    let (mut place, mut style) = (None, None);
    for (x, y, cell) in old.diff(new) {
        if place != Some((x, y)) {
            _ = write!(text, "\x1b[{};{}H", y + 1, x + 1);
        }
        let wanted = (cell.fg, cell.modifier);
        if style != Some(wanted) {
            text += &attributes(cell);
            style = Some(wanted);
        }
        text += cell.symbol();
        // Characters that take two cells are rare: behind them the cursor is moved once more.
        place = cell.symbol().is_ascii().then_some((x + 1, y));
    }
    if style.is_some() {
        text += "\x1b[0m";
    }
    text
}

/// ECMA-48, SGR.
fn attributes(cell: &Cell) -> String {
    let mut numbers = vec!["0"];
    let modifiers = [(Modifier::BOLD, "1"), (Modifier::REVERSED, "7")];
    numbers
        .extend(modifiers.iter().filter(|(one, _)| cell.modifier.contains(*one)).map(|(_, number)| *number));
    numbers.extend(match cell.fg {
        Color::Red => Some("31"),
        Color::Green => Some("32"),
        Color::Yellow => Some("33"),
        Color::Blue => Some("34"),
        Color::Magenta => Some("35"),
        _ => None,
    });
    format!("\x1b[{}m", numbers.join(";"))
}

#[cfg(test)]
mod tests {
    use ratatui_core::layout::Rect;
    use ratatui_core::style::Style;

    use super::*;

    fn buffer(lines: &[&str]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 3));
        for (y, line) in lines.iter().enumerate() {
            buffer.set_string(0, y as u16, line, Style::new());
        }
        buffer
    }

    #[test]
    fn only_what_differs_is_sent() {
        let (one, other) = (buffer(&["run 41", "0:09"]), buffer(&["run 41", "0:10"]));
        assert_eq!(painted(Some(&one), &one), "");
        assert_eq!(painted(Some(&one), &other), "\x1b[2;3H\x1b[0m10\x1b[0m");
        assert!(painted(None, &one).starts_with("\x1b[0m\x1b[2J\x1b[1;1H"), "{:?}", painted(None, &one));
    }
}
