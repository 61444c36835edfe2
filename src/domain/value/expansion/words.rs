//! The words of one command of a script, as far as they decide how a value is read.

use super::interpreter::{Arguments, interpreter, is_carrier, reads_names};
use super::unit::Value;

/// Most bytes of a word that are kept: names of programs and options are shorter.
const WORD_KEPT_BYTES: usize = 256;

const KEYWORDS: [&str; 20] = [
    "!", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "select", "then", "time",
    "until", "while", "{", "}", "coproc", "function",
];

/// Keywords whose first words are not a command; the command starts behind one of [`BEGINNERS`].
const OPENERS: [&str; 4] = ["for", "select", "function", "coproc"];
const BEGINNERS: [&str; 2] = ["do", "{"];

/// Builtins before another one, which do not change its meaning.
const PREFIXES: [&str; 3] = ["builtin", "command", "exec"];

/// Commands that print their arguments, or parts of them.
const PRINTERS: [&str; 6] = ["basename", "dirname", "echo", "expr", "printf", "seq"];

/// Operators of `test` that compare numbers; some shells evaluate these as arithmetic.
const NUMERIC: [&str; 6] = ["-eq", "-ge", "-gt", "-le", "-lt", "-ne"];

/// Variables whose values shells and programs run.
const RUN_VARIABLES: [&str; 6] = ["BASH_ENV=", "ENV=", "GIT_SSH_COMMAND=", "PROMPT_COMMAND=", "PS1=", "PS4="];

/// Programs whose `-c` is not code, although words with blanks may follow it.
const PLAIN_C: [&str; 10] = ["cc", "curl", "egrep", "fgrep", "gcc", "grep", "head", "tail", "tar", "wc"];

/// A simple command, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct SimpleCommand {
    pub(super) word: Word,
    pub(super) writes_text: bool,
    /// Between `case` and `in`.
    pub(super) is_case: bool,
    /// The next word is a file that is read or written.
    pub(super) redirects: bool,
    /// The next word is the input of the command: `<<<`.
    pub(super) is_input: bool,
    /// A value is on its standard input.
    pub(super) reads_value: bool,
    /// A value is in its output.
    pub(super) prints_value: bool,
    name: String,
    last: String,
    words: usize,
    /// `--` was read: no options follow.
    options_ended: bool,
    is_opener: bool,
    interpreter: Option<Arguments>,
    /// `declare -i`: it evaluates its arguments.
    evaluates: bool,
    compares_numbers: bool,
    has_odd_number: bool,
}

/// The word that is being read, without its quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) begun: bool,
    pub(super) text: String,
    pub(super) has_value: bool,
    has_blank: bool,
}

impl SimpleCommand {
    pub(super) fn begin(&mut self) {
        self.word.begun = true;
    }

    pub(super) fn letter(&mut self, c: char) {
        self.word.begun = true;
        self.word.has_blank |= c.is_whitespace();
        if self.word.text.len() < WORD_KEPT_BYTES {
            self.word.text.push(c);
        }
    }

    /// True once the program is known to run code.
    pub(super) fn is_interpreter(&self) -> bool {
        self.interpreter.is_some()
    }

    /// True if the present word is code.
    pub(super) fn reads_code(&self) -> bool {
        !self.redirects
            && self.interpreter.as_ref().is_some_and(|arguments| arguments.is_code(&self.word.text))
    }

    /// The word as a keyword, if a keyword may be here.
    pub(super) fn keyword(&self) -> Option<&str> {
        let is_keyword = self.words == 0 && !self.word.has_value && !self.redirects;
        Some(self.word.text.as_str()).filter(|word| is_keyword && KEYWORDS.contains(word))
    }

    /// Reads the word that has ended. An error if a value in it would be code.
    pub(super) fn end_word(&mut self) -> Result<(), String> {
        if !self.word.begun {
            return Ok(());
        }
        if self.keyword().is_some() {
            let word = std::mem::take(&mut self.word).text;
            (self.is_case, self.is_opener) = (word == "case", OPENERS.contains(&word.as_str()));
            return Ok(());
        }
        let word = std::mem::take(&mut self.word);
        if std::mem::take(&mut self.redirects) {
            self.reads_value |= std::mem::take(&mut self.is_input) && word.has_value;
            return Ok(());
        }
        if self.is_opener && BEGINNERS.contains(&word.text.as_str()) {
            *self = SimpleCommand::default();
            return Ok(());
        }
        // No command has the name of an option: `time -p`.
        if self.words == 0 && (is_assignment(&word.text) || (word.text.starts_with('-') && !word.has_value)) {
            return Ok(());
        }
        self.check_code_option(&word)?;
        self.follow(&word.text);
        Ok(())
    }

    /// For most programs, a word with blanks behind `-c`, `--command` and the like is code.
    fn check_code_option(&self, word: &Word) -> Result<(), String> {
        let short = self.last.starts_with('-') && !self.last.starts_with("--") && self.last.ends_with('c');
        let is_code = short && self.last.len() <= 4 && !PLAIN_C.contains(&self.base_name());
        let long = ["--command", "--eval", "--exec", "--execute"].contains(&self.last.as_str());
        match word.has_value && word.has_blank && (is_code || long) {
            true => Err(CODE.into()),
            false => Ok(()),
        }
    }

    fn base_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    fn follow(&mut self, word: &str) {
        let is_renamed = self.words > 0 && PREFIXES.contains(&self.name.as_str()) && !word.starts_with('-');
        let may_be_program = self.words == 0 || is_renamed || is_carrier(&self.name);
        match interpreter(word).filter(|found| may_be_program || found.is_told_by_options()) {
            Some(found) => self.interpreter = Some(Arguments::of(found)),
            None => _ = self.interpreter.as_mut().map(|arguments| arguments.take(word)),
        }
        let writes = matches!(word, "cat" | "tee") && may_be_program;
        self.writes_text = (self.writes_text || writes) && self.interpreter.is_none();
        if self.words == 0 || is_renamed {
            self.name = word.to_string();
        }
        self.options_ended |= word == "--";
        self.compares_numbers |= NUMERIC.contains(&word);
        let sets_type = word.starts_with('-') && word.contains(['i', 'n']);
        self.evaluates |= sets_type && matches!(self.name.as_str(), "declare" | "typeset" | "local");
        self.words += 1;
        self.last = word.to_string();
    }

    /// The fault of the whole command, once it has ended.
    pub(super) fn end(&self) -> Result<(), String> {
        let reads_code = self.reads_value && self.interpreter.as_ref().is_some_and(Arguments::reads_input);
        let builds_code = self.reads_value && self.base_name() == "xargs" && self.interpreter.is_some();
        if reads_code || builds_code {
            return Err(
                "in what an interpreter reads as its program (echo ... | sh), which would run it; try: an \
                        argument of it"
                    .into(),
            );
        }
        if self.is_test() && self.compares_numbers && self.has_odd_number {
            return Err("here, as it is no whole number, and some shells evaluate what `[` compares as numbers; try: a \
                        parameter with pattern = \"[0-9]+\", or `=` for texts"
                .into());
        }
        Ok(())
    }

    fn is_test(&self) -> bool {
        matches!(self.name.as_str(), "[" | "test")
    }

    /// A value is in this word, or in a substitution within it.
    pub(super) fn hold_value(&mut self) -> Result<(), String> {
        self.check_code()?;
        self.word.has_value = true;
        self.word.begun = true;
        self.prints_value |= self.prints_arguments();
        Ok(())
    }

    /// The word is a value, or the output of a command with a value.
    pub(super) fn compare_value(&mut self, value: Option<&Value>) {
        self.has_odd_number |= value.is_some_and(|value| !is_number(&value.text));
    }

    /// True if the arguments are in the output.
    pub(super) fn prints_arguments(&self) -> bool {
        PRINTERS.contains(&self.base_name())
    }

    fn check_code(&self) -> Result<(), String> {
        let is_run = self.words == 0 && RUN_VARIABLES.iter().any(|name| self.word.text.starts_with(name));
        if self.reads_code() || is_run || self.word.text.contains("Command=") {
            return Err(CODE.into());
        }
        if self.evaluates || matches!(self.name.as_str(), "[[" | "let") {
            return Err(format!("in `{}`, which evaluates it; try: [ ... ] with quotes", self.name));
        }
        let names = reads_names(&self.name) && !self.word.text.contains('=');
        let is_name = names || (self.last == "-v" && (self.is_test() || self.name == "printf"));
        if self.words > 0 && is_name && !self.redirects {
            return Err(format!("where `{}` reads the name of a variable; try: a fixed name", self.name));
        }
        let is_format = self.name == "printf" && (self.words == 1 || (self.words == 2 && self.options_ended));
        if is_format && !self.redirects {
            return Err(
                "in the format of printf, which reads % and \\ in it; try: printf '%s' {{ ... }}".into()
            );
        }
        if is_subscript(&self.word.text) {
            return Err(
                "behind `NAME[`, which some shells evaluate; try: quotes around the whole word".into()
            );
        }
        Ok(())
    }

    /// Refuses a value that the command would not take unchanged.
    pub(super) fn take_value(&mut self, value: Option<&Value>) -> Result<(), String> {
        let is_first = self.word.text.is_empty();
        self.hold_value()?;
        self.compare_value(value);
        let Some(value) = value else {
            self.letter('?');
            return Ok(());
        };
        let is_compared = self.is_test() && is_number(&value.text);
        let may_be_option =
            self.redirects || self.options_ended || self.is_case || value.may_be_option || is_compared;
        if is_first && value.text.starts_with('-') && !may_be_option {
            let name = if self.name.is_empty() { "the command" } else { &self.name };
            return Err(format!(
                "here, as it begins with `-` and {name} would read it as an option; try: `--` before it, or \
                 {{{{ ... | option }}}} where an option is meant, or where {name} reads none"
            ));
        }
        // The value is not in code: it matters only where a word starts and which program it names.
        let kept = value.text.chars().take(WORD_KEPT_BYTES).filter(|c| !c.is_whitespace());
        kept.for_each(|c| self.letter(c));
        Ok(())
    }
}

pub(super) const CODE: &str = "in the code of another program (sh -c, eval, awk, python -c, mysql -e ...), which would run it; try: an \
                    argument behind the code, as in sh -c 'echo \"$1\"' sh {{ ... }}, or {{ ... | script }} for what is \
                    configured as code";

/// A whole number, as in a comparison of `test`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_name(name.trim_end_matches('+')))
}

fn is_subscript(word: &str) -> bool {
    let opened = word.matches('[').count() > word.matches(']').count();
    opened && word.split_once('[').is_some_and(|(name, _)| is_name(name))
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(letter)
}
