//! The lines that are drawn at the bottom of a screen. Each change is one write, so that nothing flickers over a slow line.

/// Moves to the first column.
const HOME: &str = "\r";

/// Clears from the cursor to the end of the screen.
const CLEAR: &str = "\x1b[J";

/// Around the lines: a terminal that draws a character wider than it is does not wrap them.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// See the module. The cursor is behind the last line.
#[derive(Default)]
pub struct Drawn(Vec<String>);

impl Drawn {
    pub fn is_there(&self) -> bool {
        !self.0.is_empty()
    }

    /// What draws these lines in the place of the ones before; empty if they are the same.
    pub fn replaced(&mut self, lines: Vec<String>) -> String {
        if self.0 == lines {
            return String::new();
        }
        let erased = self.erased();
        self.0 = lines;
        erased + &self.text()
    }

    /// What prints a text, of whole lines, above the lines.
    pub fn above(&self, text: &str) -> String {
        if !self.is_there() {
            return text.into();
        }
        let end = if text.ends_with('\n') { "" } else { "\r\n" };
        self.erased() + text + end + &self.text()
    }

    fn text(&self) -> String {
        if self.is_there() { format!("{NO_WRAP}{}{WRAP}", self.0.join("\r\n")) } else { String::new() }
    }

    fn erased(&self) -> String {
        match self.0.len() {
            0 => String::new(),
            1 => format!("{HOME}{CLEAR}"),
            lines => format!("{HOME}\x1b[{}A{CLEAR}", lines - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_below_what_is_printed_and_unchanged_ones_cost_nothing() {
        let mut drawn = Drawn::default();
        assert_eq!(drawn.above("a\r\n"), "a\r\n");
        assert_eq!(drawn.replaced(vec!["1".into(), "2".into()]), "\x1b[?7l1\r\n2\x1b[?7h");
        assert_eq!(drawn.above("b\r\n"), "\r\x1b[1A\x1b[Jb\r\n\x1b[?7l1\r\n2\x1b[?7h");
        assert_eq!(drawn.above("b"), "\r\x1b[1A\x1b[Jb\r\n\x1b[?7l1\r\n2\x1b[?7h", "a line of its own");
        assert_eq!(drawn.replaced(vec!["1".into(), "2".into()]), "");
        assert_eq!(drawn.replaced(vec!["3".into()]), "\r\x1b[1A\x1b[J\x1b[?7l3\x1b[?7h");
        assert_eq!(drawn.replaced(Vec::new()), "\r\x1b[J");
        assert!(!drawn.is_there());
    }
}
