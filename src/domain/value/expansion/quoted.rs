//! Quotes, expansions and here-documents.

use super::scan::{Before, Scanner, ScriptContext};

impl Scanner<'_> {
    pub(super) fn here(&mut self, c: char, before: Before) {
        let Some(ScriptContext::Here(heredoc)) = self.places.last_mut() else { return };
        if c == '\n' {
            let line = std::mem::take(&mut heredoc.line);
            let line = if heredoc.strips { line.trim_start_matches('\t') } else { &line };
            let (is_end, in_braces) = (line == heredoc.delimiter, heredoc.in_braces);
            if in_braces {
                self.doubt("after `${` in a here-document");
            }
            if is_end {
                self.leave();
                self.next_heredoc();
            }
            return;
        }
        heredoc.line.push(c);
        if heredoc.quoted {
            return;
        }
        match c {
            '$' => self.before = if before == Before::Dollar { Before::Other } else { Before::Dollar },
            '{' if before == Before::Dollar => heredoc.in_braces = true,
            '}' => heredoc.in_braces = false,
            '\'' | '"' if heredoc.in_braces => self.doubt("after `${` in a here-document"),
            '(' | '[' if before == Before::Dollar => self.doubt("after `$(` in a here-document"),
            '`' => self.doubt("after backticks in a here-document"),
            '\\' if self.peek() == Some('\n') => self.doubt("after a joined line in a here-document"),
            '\\' => match self.peek() {
                Some(next) => {
                    self.at += 1;
                    self.out.push(next);
                    if let Some(ScriptContext::Here(heredoc)) = self.places.last_mut() {
                        heredoc.line.push(next);
                    }
                }
                None => self.before = Before::Backslash,
            },
            _ => {}
        }
    }

    pub(super) fn single(&mut self, c: char, dollar: bool) {
        match c {
            '\'' => self.leave(),
            '\\' if dollar => self.doubt("after `$'...'` with a backslash"),
            c => self.command().letter(c),
        }
    }

    pub(super) fn double(&mut self, c: char, before: Before) {
        match c {
            '\\' if before == Before::Dollar => self.doubt("after `$` before a backslash"),
            '\\' => self.escape(),
            '"' => self.leave(),
            '`' => self.enter(ScriptContext::Backticks),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            c => self.command().letter(c),
        }
    }

    pub(super) fn braces(&mut self, c: char, before: Before) {
        match c {
            '}' => self.leave(),
            '\\' if self.peek() == Some('\n') => self.doubt("after a joined line in `${...}`"),
            '\\' => self.escape(),
            '\'' | '"' if before == Before::Dollar => self.doubt("after `$'` or `$\"` in `${...}`"),
            '\'' | '"' => self.enter(ScriptContext::BracesQuote(c)),
            '`' => self.doubt("after backticks in `${...}`"),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            '{' | '\n' | '(' | ')' => self.doubt("after parentheses, braces or lines in `${...}`"),
            _ => {}
        }
    }

    /// Shells agree on quotes here only if the quoted text has no special characters.
    pub(super) fn braces_quote(&mut self, c: char, quote: char) {
        match c {
            c if c == quote => self.leave(),
            '\'' | '"' | '\\' | '$' | '`' | '{' | '}' | '\n' => self.doubt("after quotes in `${...}`"),
            _ => {}
        }
    }

    pub(super) fn arithmetic(&mut self, c: char, before: Before, depth: usize) {
        match c {
            '(' if before == Before::Dollar => self.expansion(c),
            '{' | '[' if before == Before::Dollar => self.expansion(c),
            '(' => self.set_arithmetic(depth + 1),
            ')' => self.set_arithmetic(depth - 1),
            '$' => self.dollar(before),
            '\'' | '"' | '`' | '\\' | '\n' | ';' => self.doubt("after quotes or lines in `((...))`"),
            '#' if self.last.is_whitespace() || self.last == '(' => self.doubt("after `#` in `((...))`"),
            _ => {}
        }
    }

    pub(super) fn set_arithmetic(&mut self, depth: usize) {
        if depth == 0 {
            // `$(( (1) ) )` is not arithmetic; the scan does not decide what it is.
            if self.last != ')' {
                self.doubt("after `((` that is not closed by `))`");
            }
            return self.leave();
        }
        if let Some(ScriptContext::Arithmetic(open)) = self.places.last_mut() {
            *open = depth;
        }
    }

    pub(super) fn backticks(&mut self, c: char) {
        match c {
            '`' => self.leave(),
            '\\' if self.peek().is_some() => {
                self.at += 1;
                self.out.push(self.units[self.at - 1].char());
            }
            _ => {}
        }
    }
}
