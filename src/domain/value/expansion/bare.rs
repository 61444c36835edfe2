//! Text outside of quotes.

use super::scan::{Before, HereDoc, Scanner, ScriptContext};
use super::unit::Unit;
use super::words::{SimpleCommand, Word};

/// Longest delimiter of a here-document that is accepted.
const DELIMITER_LIMIT_BYTES: usize = 100;

impl Scanner<'_> {
    pub(super) fn bare(&mut self, c: char, before: Before) {
        match c {
            '\\' if self.peek() == Some('\n') => self.joined_line(before),
            '\\' => {
                self.command().begin();
                self.escape();
            }
            '\'' => self.quote(ScriptContext::Single { dollar: before == Before::Dollar }),
            '"' => self.quote(ScriptContext::Double { dollar: before == Before::Dollar }),
            '`' => self.quote(ScriptContext::Backticks),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            '(' => self.parenthesis(),
            ')' => self.closing(),
            '#' if !self.command().word.begun && matches!(self.last, '<' | '>') => {
                self.doubt("after `#` behind a redirection")
            }
            '#' if !self.command().word.begun => self.comment = true,
            '<' | '>' => self.redirection(c),
            '&' if matches!(self.last, '<' | '>' | '|') || self.peek() == Some('>') => {}
            '\n' => self.line_end(),
            ';' | '&' | '|' => self.separator(c),
            c if c.is_whitespace() => self.word_end(),
            c => self.command().letter(c),
        }
    }

    pub(super) fn quote(&mut self, place: ScriptContext) {
        self.command().begin();
        self.enter(place);
    }

    pub(super) fn dollar(&mut self, before: Before) {
        // Output of a command is checked where its values are; the content of a variable cannot be followed.
        let is_variable =
            self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || "_{@*".contains(next));
        self.code_reads_variable |= is_variable && self.commands.iter().any(SimpleCommand::reads_code);
        self.command().letter('$');
        // `$$` is a parameter of its own: its second `$` starts no expansion.
        self.before = if before == Before::Dollar { Before::Other } else { Before::Dollar };
    }

    /// `${`, `$(`, `$((` and `$[`.
    pub(super) fn expansion(&mut self, c: char) {
        match c {
            '{' => self.enter(ScriptContext::Braces),
            '[' => self.doubt("after `$[...]`"),
            _ if self.peek() == Some('(') => {
                self.at += 1;
                self.out.push('(');
                self.enter(ScriptContext::Arithmetic(2));
            }
            _ => self.enter(ScriptContext::Substitution),
        }
    }

    pub(super) fn parenthesis(&mut self) {
        if self.command().word.text.ends_with('=') {
            self.doubt("after an array");
        }
        self.command().letter('(');
        if self.peek() != Some('(') {
            self.groups.push(false);
            return self.enter(ScriptContext::Parenthesis);
        }
        self.at += 1;
        self.out.push('(');
        self.enter(ScriptContext::Arithmetic(2));
    }

    /// At the top level it ends a pattern of `case`.
    pub(super) fn closing(&mut self) {
        let nested = matches!(self.place(), ScriptContext::Substitution | ScriptContext::Parenthesis);
        let is_group = *self.place() == ScriptContext::Parenthesis;
        if nested {
            self.end_command();
            self.leave();
        }
        if is_group || !nested {
            let prints_value = is_group && self.groups.pop() == Some(true);
            *self.command() = SimpleCommand::default();
            self.command().prints_value = prints_value;
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
        match self.command().keyword() {
            Some("{" | "if" | "for" | "while" | "until" | "case" | "select") => self.groups.push(false),
            Some("}" | "fi" | "done" | "esac") => {
                let prints_value = self.groups.pop() == Some(true);
                self.command().prints_value |= prints_value;
            }
            _ => {}
        }
        if let Err(why) = self.command().end_word() {
            self.fault.get_or_insert(why);
        }
        if self.command().is_case && nested {
            self.doubt("after `case` within parentheses");
        }
    }

    /// Ends the command, and starts another one.
    pub(super) fn end_command(&mut self) -> SimpleCommand {
        self.word_end();
        let ended = std::mem::take(self.command());
        if let Err(why) = ended.end() {
            self.fault.get_or_insert(why);
        }
        ended
    }

    pub(super) fn separator(&mut self, c: char) {
        let is_pipe = c == '|' && self.peek() != Some('|') && self.last != '|';
        let ended = self.end_command();
        if is_pipe {
            self.heredocs.iter_mut().for_each(|heredoc| heredoc.is_text = false);
            self.command().reads_value = ended.prints_value || ended.reads_value;
        }
    }

    pub(super) fn line_end(&mut self) {
        self.separator('\n');
        self.next_heredoc();
    }

    pub(super) fn next_heredoc(&mut self) {
        if !self.heredocs.is_empty() {
            let heredoc = self.heredocs.remove(0);
            self.enter(ScriptContext::Here(heredoc));
        }
    }

    pub(super) fn redirection(&mut self, c: char) {
        let command = self.command();
        if command.word.text.bytes().all(|b| b.is_ascii_digit()) && !command.word.has_value {
            // A file descriptor: `2>`.
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
            self.command().is_input = true;
        } else {
            self.heredoc();
        }
    }

    /// Takes the next character unchanged.
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
        if heredoc.delimiter.is_empty()
            || heredoc.delimiter.len() > DELIMITER_LIMIT_BYTES
            || !matches!(self.units.get(self.at), None | Some(Unit::Char(_)))
        {
            self.doubt("after a here-document whose delimiter is no plain word");
        }
        self.heredocs.push(heredoc);
    }
}
