//! Text outside of quotes.

use super::Unit;
use super::scan::{Before, HereDoc, Place, Scanner};
use super::words::{Command, Word};

impl Scanner<'_> {
    pub(super) fn bare(&mut self, c: char, before: Before) {
        match c {
            '\\' if self.peek() == Some('\n') => self.joined_line(before),
            '\\' => {
                self.command().begin();
                self.escape();
            }
            '\'' => self.quote(Place::Single { dollar: before == Before::Dollar }),
            '"' => self.quote(Place::Double { dollar: before == Before::Dollar }),
            '`' => self.quote(Place::Backticks),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            '(' => self.parenthesis(),
            ')' => self.closing(),
            '#' if !self.command().word.begun && matches!(self.last, '<' | '>') => {
                self.doubt("after `#` behind a redirection")
            }
            '#' if !self.command().word.begun => self.comment = true,
            '<' | '>' => self.redirection(c),
            '&' if matches!(self.last, '<' | '>') => {}
            '\n' => self.line_end(),
            ';' | '&' | '|' => self.separator(c),
            c if c.is_whitespace() => self.word_end(),
            c => self.command().letter(c),
        }
    }

    pub(super) fn quote(&mut self, place: Place) {
        self.command().begin();
        self.enter(place);
    }

    pub(super) fn dollar(&mut self, before: Before) {
        self.command().letter('$');
        // `$$` is a parameter of its own: a second one begins nothing.
        self.before = if before == Before::Dollar { Before::Other } else { Before::Dollar };
    }

    /// `${`, `$(`, `$((` and `$[`.
    pub(super) fn expansion(&mut self, c: char) {
        match c {
            '{' => self.enter(Place::Braces),
            '[' => self.doubt("after `$[...]`"),
            _ if self.peek() == Some('(') => {
                self.at += 1;
                self.out.push('(');
                self.enter(Place::Arithmetic(2));
            }
            _ => self.enter(Place::Substitution),
        }
    }

    pub(super) fn parenthesis(&mut self) {
        self.command().letter('(');
        if self.peek() != Some('(') {
            return self.enter(Place::Parenthesis);
        }
        self.at += 1;
        self.out.push('(');
        self.enter(Place::Arithmetic(2));
    }

    /// At the top it ends a pattern of `case`.
    pub(super) fn closing(&mut self) {
        let nested = matches!(self.place(), Place::Substitution | Place::Parenthesis);
        let is_group = *self.place() == Place::Parenthesis;
        if nested {
            self.leave();
        }
        if is_group || !nested {
            *self.command() = Command::default();
        }
    }

    pub(super) fn joined_line(&mut self, before: Before) {
        self.at += 1;
        self.out.push('\n');
        if before == Before::Dollar || matches!(self.last, '<' | '>' | '(') || self.command().word.begun {
            self.doubt("after a line that is continued in the middle of a word");
        }
    }

    pub(super) fn word_end(&mut self) {
        let nested = self.commands.len() > 1;
        let command = self.command();
        command.end_word();
        if command.is_case && nested {
            self.doubt("after `case` within parentheses");
        }
    }

    pub(super) fn separator(&mut self, c: char) {
        self.word_end();
        if c == '|' {
            self.heredocs.iter_mut().for_each(|heredoc| heredoc.is_text = false);
        }
        *self.command() = Command::default();
    }

    pub(super) fn line_end(&mut self) {
        self.separator('\n');
        self.next_heredoc();
    }

    pub(super) fn next_heredoc(&mut self) {
        if !self.heredocs.is_empty() {
            let heredoc = self.heredocs.remove(0);
            self.enter(Place::Here(heredoc));
        }
    }

    pub(super) fn redirection(&mut self, c: char) {
        let command = self.command();
        if command.word.text.bytes().all(|b| b.is_ascii_digit()) && !command.word.has_value {
            // The number of a file: `2>`.
            command.word = Word::default();
        }
        self.word_end();
        self.command().redirects = true;
        if c != '<' || self.peek() != Some('<') {
            return;
        }
        self.take();
        if self.peek() == Some('<') {
            self.take();
        } else {
            self.heredoc();
        }
    }

    /// Takes the next character as it is.
    pub(super) fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        self.out.push(c);
        self.last = c;
        Some(c)
    }

    /// The delimiter behind `<<`.
    pub(super) fn heredoc(&mut self) {
        let mut heredoc = HereDoc { is_text: self.command().writes_text, ..HereDoc::default() };
        heredoc.strips = self.peek() == Some('-');
        if heredoc.strips {
            self.take();
        }
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.take();
        }
        while let Some(c) = self.peek().filter(|c| !c.is_whitespace() && !";&|<>()".contains(*c)) {
            self.take();
            match c {
                '\'' | '"' => heredoc.quoted = true,
                '\\' | '$' | '`' => self.doubt("after a here-document whose delimiter is no plain word"),
                c => heredoc.delimiter.push(c),
            }
        }
        self.command().redirects = false;
        if self.commands.len() > 1 {
            self.doubt("after a here-document within parentheses");
        }
        if heredoc.delimiter.is_empty() || !matches!(self.units.get(self.at), None | Some(Unit::Char(_))) {
            self.doubt("after a here-document whose delimiter is no plain word");
        }
        self.heredocs.push(heredoc);
    }
}
