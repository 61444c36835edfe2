//! The words of one command of a script, as far as they decide what becomes of a value.

use super::Value;
use super::interpreter::{Arguments, interpreter, is_carrier, reads_names};

/// Kept of a word, in bytes: names of programs and options are shorter.
const WORD_KEPT_BYTES: usize = 256;

const KEYWORDS: [&str; 20] = [
    "!", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "select", "then", "time",
    "until", "while", "{", "}", "coproc", "function",
];

/// A simple command, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) words: usize,
    pub(super) word: Word,
    /// `--` came: what follows are no options.
    pub(super) options_ended: bool,
    /// The next word is a file that is read or written.
    pub(super) redirects: bool,
    /// Between `case` and `in`.
    pub(super) is_case: bool,
    pub(super) interpreter: Option<Arguments>,
    pub(super) writes_text: bool,
}

/// The word that is being read, without its quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) begun: bool,
    pub(super) text: String,
    pub(super) has_value: bool,
}

impl Command {
    pub(super) fn begin(&mut self) {
        self.word.begun = true;
    }

    pub(super) fn letter(&mut self, c: char) {
        self.word.begun = true;
        if self.word.text.len() < WORD_KEPT_BYTES {
            self.word.text.push(c);
        }
    }

    pub(super) fn end_word(&mut self) {
        if !self.word.begun {
            return;
        }
        let word = std::mem::take(&mut self.word);
        if std::mem::take(&mut self.redirects) {
            return;
        }
        if self.words == 0 && !word.has_value && KEYWORDS.contains(&word.text.as_str()) {
            self.is_case = word.text == "case";
            return;
        }
        if self.words == 0 && is_assignment(&word.text) {
            return;
        }
        self.options_ended |= word.text == "--";
        self.follow(&word.text);
        if self.words == 0 {
            self.name = word.text;
        }
        self.words += 1;
    }

    pub(super) fn follow(&mut self, word: &str) {
        let may_be_program = self.words == 0 || is_carrier(&self.name);
        match interpreter(word).filter(|_| may_be_program) {
            Some(found) => self.interpreter = Some(Arguments::of(found)),
            None => _ = self.interpreter.as_mut().map(|arguments| arguments.take(word)),
        }
        let writes = matches!(word, "cat" | "tee") && may_be_program;
        self.writes_text = (self.writes_text || writes) && self.interpreter.is_none();
    }

    /// Refuses what the command would not take as it is.
    pub(super) fn take_value(&mut self, value: Option<&Value>) -> Result<(), String> {
        if self.interpreter.as_ref().is_some_and(|arguments| arguments.is_code(&self.word.text)) {
            return Err(CODE.into());
        }
        if matches!(self.name.as_str(), "[[" | "let" | "((") {
            return Err(format!("in `{}`, which evaluates it; try: [ ... ] with quotes", self.name));
        }
        let is_named = self.words > 0 && reads_names(&self.name) && !self.word.text.contains('=');
        if is_named && !self.redirects {
            return Err(format!("where `{}` reads the name of a variable; try: a fixed name", self.name));
        }
        if is_subscript(&self.word.text) {
            return Err(
                "behind `NAME[`, which some shells evaluate; try: quotes around the whole word".into()
            );
        }
        let may_be_option = self.redirects || self.options_ended || self.is_case;
        let is_first = self.word.text.is_empty();
        let Some(value) = value else {
            self.letter('?');
            self.word.has_value = true;
            return Ok(());
        };
        if is_first && value.text.starts_with('-') && !value.may_be_option && !may_be_option {
            let name = if self.name.is_empty() { "the command" } else { &self.name };
            return Err(format!(
                "here, as it begins with `-` and {name} would read it as an option; try: `--` before it, or \
                 {{{{ ... | option }}}} where an option is meant"
            ));
        }
        self.word.begun = true;
        self.word.has_value = true;
        value.text.chars().take(WORD_KEPT_BYTES).for_each(|c| self.letter(c));
        Ok(())
    }
}

const CODE: &str = "in the code of another program (sh -c, eval, awk, python -c ...), which would run it; try: an \
                    argument behind the code, as in sh -c 'echo \"$1\"' sh {{ ... }}";

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_name(name.trim_end_matches('+')))
}

fn is_subscript(word: &str) -> bool {
    word.split_once('[').is_some_and(|(name, inside)| is_name(name) && !inside.contains(']'))
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(letter)
}
