//! Values in scripts. A value never becomes text of a script: it is assigned to a variable before the script begins, as
//! one quoted word, and the script expands that variable where the template has the value. So the text that a shell
//! parses is the same whatever the values hold.
//!
//! The scan decides two things only: how the expansion is written (bare, in double quotes, in single quotes), and
//! which places are refused because the shell or another program would read the value as code there. A place that it
//! misjudges can split a value or leave `${rollcall_0}` unexpanded; it cannot make a command of a value.

use super::interpreter::{Arguments, interpreter, is_carrier, reads_names};
use super::shell;

/// Marks in a rendered script where a value goes: `OPEN`, its index, `CLOSE`. Two characters of Unicode's private use
/// area, which no template of a script may hold.
pub const MARK_OPEN: char = '\u{e0f0}';
/// Ends what [`MARK_OPEN`] begins.
pub const MARK_CLOSE: char = '\u{e0f1}';

/// Deepest nesting of quotes and substitutions that is followed: nobody writes more, and each block of a template
/// compares all of it.
const DEPTH_LIMIT: usize = 64;

/// Kept of a word, in bytes: names of programs and options are shorter.
const WORD_KEPT_BYTES: usize = 256;

/// What variables are called.
const PREFIX: &str = "rollcall_";

/// A value for a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub text: String,
    /// The template says that it may be an option: `{{ flags | option }}`.
    pub may_be_option: bool,
}

/// One part of a script, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Char(char),
    /// A value, by its index; not known yet where there is none of it.
    Value(usize),
    /// Script text that is known only when the template is rendered.
    Unknown,
    /// A block of the template begins here.
    Open,
    /// The other branch of the block.
    Between,
    /// The block ends.
    Close,
}

/// Checks the places of values before any of them is known. The error says which place and what to write instead.
pub fn check(units: &[Unit]) -> Result<(), String> {
    scan(units, &[]).map(drop)
}

/// The script with every mark replaced by the expansion of a variable, and the assignments of these before it.
pub fn fill(rendered: &str, values: &[Value]) -> Result<String, String> {
    let body = scan(&marked(rendered)?, values)?;
    Ok(assignments(values) + &body)
}

fn marked(rendered: &str) -> Result<Vec<Unit>, String> {
    let mut units = Vec::with_capacity(rendered.len());
    let mut chars = rendered.chars();
    while let Some(c) = chars.next() {
        if c != MARK_OPEN {
            units.push(Unit::Char(c));
            continue;
        }
        let index: String = chars.by_ref().take_while(|c| *c != MARK_CLOSE).collect();
        units.push(Unit::Value(index.parse().map_err(|_| "a template left a broken mark")?));
    }
    Ok(units)
}

/// All on one line with the beginning of the script: numbers of lines in messages of the shell stay those of the author.
fn assignments(values: &[Value]) -> String {
    let one = |(at, value): (usize, &Value)| format!("{PREFIX}{at}={}; ", shell::quote(&value.text));
    values.iter().enumerate().map(one).collect()
}

/// A filled script as its assignments and its own text, for whoever puts something between them.
pub fn split(script: &str) -> (&str, &str) {
    let mut end = 0;
    let mut at = 0;
    while let Some(rest) = script[end..].strip_prefix(&format!("{PREFIX}{at}=")) {
        let Some(length) = word_length(rest).filter(|length| rest[*length..].starts_with("; ")) else {
            break;
        };
        end = script.len() - rest.len() + length + 2;
        at += 1;
    }
    script.split_at(end)
}

/// The length of the word at the beginning that [`shell::quote`] has written.
fn word_length(text: &str) -> Option<usize> {
    if !text.starts_with('\'') {
        return text
            .find(|c: char| !shell::is_plain(c.encode_utf8(&mut [0; 4])))
            .filter(|length| *length > 0);
    }
    let mut at = 1;
    loop {
        at += text[at..].find('\'')? + 1;
        match text[at..].strip_prefix(r"\''") {
            Some(_) => at += 3,
            None => return Some(at),
        }
    }
}

/// A filled script for people: with the values in their places, quoted. What runs is the script itself.
pub fn readable(script: &str) -> String {
    let (assigned, body) = split(script);
    let mut shown = body.to_string();
    let mut rest = assigned;
    let mut at = 0;
    while let Some(text) = rest.strip_prefix(&format!("{PREFIX}{at}=")) {
        let Some(length) = word_length(text) else { break };
        let (word, after) = text.split_at(length);
        let name = format!("${{{PREFIX}{at}}}");
        shown = shown.replace(&format!("\"{name}\""), word).replace(&name, unquoted(word).as_str());
        rest = after.strip_prefix("; ").unwrap_or_default();
        at += 1;
    }
    shown
}

fn unquoted(word: &str) -> String {
    match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => word.to_string(),
    }
}

/// Where in a script a character stands.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Bare,
    /// `$( ... )`: reads like bare text, until its parenthesis closes.
    Substitution,
    /// `( ... )` in bare text.
    Parenthesis,
    /// `'...'`; with `dollar`, `$'...'`, which shells read in different ways.
    Single {
        dollar: bool,
    },
    /// `"..."`; with `dollar`, `$"..."`.
    Double {
        dollar: bool,
    },
    /// `${...}`.
    Braces,
    /// Quotes within `${...}`.
    BracesQuote(char),
    /// `$((...))` or `((...))`, with its open parentheses.
    Arithmetic(usize),
    Backticks,
    Here(HereDoc),
}

/// A here-document.
#[derive(Clone, Debug, Default, PartialEq)]
struct HereDoc {
    delimiter: String,
    /// `<<-`: tabs before a line do not count.
    strips: bool,
    /// The delimiter was quoted: nothing is expanded in it.
    quoted: bool,
    /// A program reads it that takes it as text: `cat`, `tee`.
    is_text: bool,
    line: String,
    in_braces: bool,
}

/// A simple command, as far as it was read.
#[derive(Clone, Debug, Default)]
struct Command {
    name: String,
    words: usize,
    word: Word,
    /// `--` came: what follows are no options.
    options_ended: bool,
    /// The next word is a file that is read or written.
    redirects: bool,
    /// Between `case` and `in`.
    is_case: bool,
    interpreter: Option<Arguments>,
    writes_text: bool,
}

/// The word that is being read, without its quotes.
#[derive(Clone, Debug, Default)]
struct Word {
    begun: bool,
    text: String,
    has_value: bool,
}

/// What stands directly before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Other,
    Dollar,
    Backslash,
}

/// How an expansion is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Bare,
    Double,
    Single,
}

/// What has to be the same on all ways through a template.
type State = (Vec<Place>, bool, Option<&'static str>, usize);

struct Scanner<'a> {
    units: &'a [Unit],
    at: usize,
    values: &'a [Value],
    out: String,
    places: Vec<Place>,
    /// One for each place that reads like bare text.
    commands: Vec<Command>,
    before: Before,
    last: char,
    comment: bool,
    /// From here on nothing is sure, because shells read this in different ways.
    doubtful: Option<&'static str>,
    /// Begun on this line; their text begins on the next one.
    heredocs: Vec<HereDoc>,
    blocks: Vec<State>,
}

fn scan(units: &[Unit], values: &[Value]) -> Result<String, String> {
    let mut scanner = Scanner {
        units,
        at: 0,
        values,
        out: String::with_capacity(units.len()),
        places: vec![Place::Bare],
        commands: vec![Command::default()],
        before: Before::Other,
        last: '\n',
        comment: false,
        doubtful: None,
        heredocs: Vec::new(),
        blocks: Vec::new(),
    };
    while let Some(unit) = scanner.next() {
        scanner.unit(unit)?;
    }
    Ok(scanner.out)
}

const KEYWORDS: [&str; 20] = [
    "!", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "select", "then", "time",
    "until", "while", "{", "}", "coproc", "function",
];

impl Scanner<'_> {
    fn next(&mut self) -> Option<Unit> {
        let unit = self.units.get(self.at).copied();
        self.at += 1;
        unit
    }

    fn peek(&self) -> Option<char> {
        match self.units.get(self.at) {
            Some(Unit::Char(c)) => Some(*c),
            _ => None,
        }
    }

    fn unit(&mut self, unit: Unit) -> Result<(), String> {
        match unit {
            Unit::Char(c) => {
                self.out.push(c);
                self.character(c);
                self.last = self.units[self.at - 1].char();
            }
            Unit::Value(index) => self.value(index)?,
            Unit::Unknown => self.unknown(),
            Unit::Open => self.blocks.push(self.state()),
            Unit::Between => self.same_as_block()?,
            Unit::Close => {
                self.same_as_block()?;
                self.blocks.pop();
            }
        }
        Ok(())
    }

    fn state(&self) -> State {
        let mut places = self.places.clone();
        if let Some(Place::Here(heredoc)) = places.last_mut() {
            heredoc.line.clear();
        }
        (places, self.comment, self.doubtful, self.heredocs.len())
    }

    fn same_as_block(&self) -> Result<(), String> {
        match self.blocks.last() {
            Some(state) if *state == self.state() => Ok(()),
            _ => Err("a block of the template ({% if %}, {% for %}) opens or closes quotes or parentheses; try: whole \
                      commands or whole words within each block"
                .into()),
        }
    }

    fn place(&self) -> &Place {
        self.places.last().unwrap_or(&Place::Bare)
    }

    fn command(&mut self) -> &mut Command {
        if self.commands.is_empty() {
            self.commands.push(Command::default());
        }
        let last = self.commands.len() - 1;
        &mut self.commands[last]
    }

    fn doubt(&mut self, why: &'static str) {
        self.doubtful.get_or_insert(why);
    }

    fn enter(&mut self, place: Place) {
        if self.places.len() >= DEPTH_LIMIT {
            return self.doubt("after deeply nested quotes or substitutions");
        }
        if matches!(place, Place::Substitution | Place::Parenthesis) {
            self.commands.push(Command::default());
        }
        self.places.push(place);
    }

    fn leave(&mut self) {
        if matches!(self.places.pop(), Some(Place::Substitution | Place::Parenthesis)) {
            self.commands.pop();
        }
    }

    /// What the template will put here is not known; it is taken for a part of a word.
    fn unknown(&mut self) {
        self.after_value();
        self.command().letter('?');
    }

    fn after_value(&mut self) {
        self.before = Before::Other;
        self.last = 'v';
        if let Some(Place::Here(heredoc)) = self.places.last_mut() {
            // No delimiter holds it: a line with a value ends no here-document.
            heredoc.line.push('\0');
        }
    }

    fn character(&mut self, c: char) {
        if self.comment {
            self.comment = c != '\n';
            if self.comment {
                return;
            }
        }
        let before = std::mem::replace(&mut self.before, Before::Other);
        match self.place() {
            Place::Bare | Place::Substitution | Place::Parenthesis => self.bare(c, before),
            Place::Single { dollar } => self.single(c, *dollar),
            Place::Double { .. } => self.double(c, before),
            Place::Braces => self.braces(c, before),
            Place::BracesQuote(quote) => self.braces_quote(c, *quote),
            Place::Arithmetic(depth) => self.arithmetic(c, before, *depth),
            Place::Backticks => self.backticks(c),
            Place::Here(_) => self.here(c, before),
        }
    }

    /// Takes the character behind a backslash with it. A value there would be read with the backslash.
    fn escape(&mut self) {
        match self.peek() {
            Some(next) => {
                self.at += 1;
                self.out.push(next);
                self.command().letter(next);
            }
            None => self.before = Before::Backslash,
        }
    }

    fn bare(&mut self, c: char, before: Before) {
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

    fn quote(&mut self, place: Place) {
        self.command().begin();
        self.enter(place);
    }

    fn dollar(&mut self, before: Before) {
        self.command().letter('$');
        // `$$` is a parameter of its own: a second one begins nothing.
        self.before = if before == Before::Dollar { Before::Other } else { Before::Dollar };
    }

    /// `${`, `$(`, `$((` and `$[`.
    fn expansion(&mut self, c: char) {
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

    fn parenthesis(&mut self) {
        self.command().letter('(');
        if self.peek() != Some('(') {
            return self.enter(Place::Parenthesis);
        }
        self.at += 1;
        self.out.push('(');
        self.enter(Place::Arithmetic(2));
    }

    /// At the top it ends a pattern of `case`.
    fn closing(&mut self) {
        let nested = matches!(self.place(), Place::Substitution | Place::Parenthesis);
        let is_group = *self.place() == Place::Parenthesis;
        if nested {
            self.leave();
        }
        if is_group || !nested {
            *self.command() = Command::default();
        }
    }

    fn joined_line(&mut self, before: Before) {
        self.at += 1;
        self.out.push('\n');
        if before == Before::Dollar || matches!(self.last, '<' | '>' | '(') || self.command().word.begun {
            self.doubt("after a line that is continued in the middle of a word");
        }
    }

    fn word_end(&mut self) {
        let nested = self.commands.len() > 1;
        let command = self.command();
        command.end_word();
        if command.is_case && nested {
            self.doubt("after `case` within parentheses");
        }
    }

    fn separator(&mut self, c: char) {
        self.word_end();
        if c == '|' {
            self.heredocs.iter_mut().for_each(|heredoc| heredoc.is_text = false);
        }
        *self.command() = Command::default();
    }

    fn line_end(&mut self) {
        self.separator('\n');
        self.next_heredoc();
    }

    fn next_heredoc(&mut self) {
        if !self.heredocs.is_empty() {
            let heredoc = self.heredocs.remove(0);
            self.enter(Place::Here(heredoc));
        }
    }

    fn redirection(&mut self, c: char) {
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
    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        self.out.push(c);
        self.last = c;
        Some(c)
    }

    /// The delimiter behind `<<`.
    fn heredoc(&mut self) {
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

    fn here(&mut self, c: char, before: Before) {
        let Some(Place::Here(heredoc)) = self.places.last_mut() else { return };
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
                    if let Some(Place::Here(heredoc)) = self.places.last_mut() {
                        heredoc.line.push(next);
                    }
                }
                None => self.before = Before::Backslash,
            },
            _ => {}
        }
    }

    fn single(&mut self, c: char, dollar: bool) {
        match c {
            '\'' => self.leave(),
            '\\' if dollar => self.doubt("after `$'...'` with a backslash"),
            c => self.command().letter(c),
        }
    }

    fn double(&mut self, c: char, before: Before) {
        match c {
            '\\' if before == Before::Dollar => self.doubt("after `$` before a backslash"),
            '\\' => self.escape(),
            '"' => self.leave(),
            '`' => self.enter(Place::Backticks),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            c => self.command().letter(c),
        }
    }

    fn braces(&mut self, c: char, before: Before) {
        match c {
            '}' => self.leave(),
            '\\' if self.peek() == Some('\n') => self.doubt("after a joined line in `${...}`"),
            '\\' => self.escape(),
            '\'' | '"' if before == Before::Dollar => self.doubt("after `$'` or `$\"` in `${...}`"),
            '\'' | '"' => self.enter(Place::BracesQuote(c)),
            '`' => self.doubt("after backticks in `${...}`"),
            '$' => self.dollar(before),
            '{' | '(' | '[' if before == Before::Dollar => self.expansion(c),
            '{' | '\n' | '(' | ')' => self.doubt("after parentheses, braces or lines in `${...}`"),
            _ => {}
        }
    }

    /// Shells agree on quotes here only where they hold nothing of a meaning.
    fn braces_quote(&mut self, c: char, quote: char) {
        match c {
            c if c == quote => self.leave(),
            '\'' | '"' | '\\' | '$' | '`' | '{' | '}' | '\n' => self.doubt("after quotes in `${...}`"),
            _ => {}
        }
    }

    fn arithmetic(&mut self, c: char, before: Before, depth: usize) {
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

    fn set_arithmetic(&mut self, depth: usize) {
        if depth == 0 {
            // `$(( (1) ) )` is no arithmetic; and it is none of ours to tell.
            if self.last != ')' {
                self.doubt("after `((` that is not closed by `))`");
            }
            return self.leave();
        }
        if let Some(Place::Arithmetic(open)) = self.places.last_mut() {
            *open = depth;
        }
    }

    fn backticks(&mut self, c: char) {
        match c {
            '`' => self.leave(),
            '\\' if self.peek().is_some() => {
                self.at += 1;
                self.out.push(self.units[self.at - 1].char());
            }
            _ => {}
        }
    }

    fn value(&mut self, index: usize) -> Result<(), String> {
        let values = self.values;
        let value = values.get(index);
        if value.is_none() && !values.is_empty() {
            return Err("a template left a broken mark".into());
        }
        let form = self.form(value).map_err(|why| format!("a value cannot stand {why}"))?;
        let name = format!("${{{PREFIX}{index}}}");
        self.out.push_str(&match form {
            Form::Bare => format!("\"{name}\""),
            Form::Double => name,
            Form::Single => format!("'\"{name}\"'"),
        });
        self.after_value();
        Ok(())
    }

    fn form(&mut self, value: Option<&Value>) -> Result<Form, String> {
        if self.comment {
            return Ok(Form::Double);
        }
        if let Some(why) = self.doubtful {
            return Err(format!("{why}, which shells read in different ways; {ASSIGN}"));
        }
        match self.before {
            Before::Dollar => return Err(format!("directly behind `$`; {DOLLAR}")),
            Before::Backslash => return Err(format!("directly behind a backslash; {BACKSLASH}")),
            Before::Other => {}
        }
        let form = match self.place() {
            Place::Braces | Place::BracesQuote(_) => return Err(format!("in `${{...}}`; {ASSIGN}")),
            Place::Arithmetic(_) => return Err(format!("in `((...))`; {ARITHMETIC}")),
            Place::Backticks => return Err("in backticks; try: $(...)".into()),
            Place::Single { dollar: true } => return Err("in `$'...'`; try: '...' or \"...\"".into()),
            Place::Double { dollar: true } => return Err("in `$\"...\"`; try: \"...\"".into()),
            Place::Here(heredoc) => return self.in_heredoc(heredoc),
            Place::Single { .. } => Form::Single,
            Place::Double { .. } => Form::Double,
            Place::Bare | Place::Substitution | Place::Parenthesis => Form::Bare,
        };
        self.command().take_value(value)?;
        Ok(form)
    }

    fn in_heredoc(&self, heredoc: &HereDoc) -> Result<Form, String> {
        if heredoc.quoted {
            return Err(
                "in a here-document whose delimiter is quoted; try: <<END without quotes, or `upload` with \
                        template = true"
                    .into(),
            );
        }
        if !heredoc.is_text || heredoc.in_braces {
            return Err("in a here-document that another program than `cat` or `tee` reads; try: a `script` step with \
                        `args`, or `env` and the program's own way to read it"
                .into());
        }
        Ok(Form::Double)
    }
}

const ASSIGN: &str = "try: name={{ ... }} at the beginning of the script, and \"$name\" here";
const DOLLAR: &str = "try: \\${{ ... }} for a dollar sign";
const BACKSLASH: &str = "try: two backslashes, or quotes around the value";
const ARITHMETIC: &str =
    "the shell would evaluate it; try: the calculation in the template, {{ ... | int + 1 }}";

impl Unit {
    fn char(self) -> char {
        match self {
            Unit::Char(c) => c,
            _ => '?',
        }
    }
}

impl Command {
    fn begin(&mut self) {
        self.word.begun = true;
    }

    fn letter(&mut self, c: char) {
        self.word.begun = true;
        if self.word.text.len() < WORD_KEPT_BYTES {
            self.word.text.push(c);
        }
    }

    fn end_word(&mut self) {
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

    fn follow(&mut self, word: &str) {
        let may_be_program = self.words == 0 || is_carrier(&self.name);
        match interpreter(word).filter(|_| may_be_program) {
            Some(found) => self.interpreter = Some(Arguments::of(found)),
            None => _ = self.interpreter.as_mut().map(|arguments| arguments.take(word)),
        }
        let writes = matches!(word, "cat" | "tee") && may_be_program;
        self.writes_text = (self.writes_text || writes) && self.interpreter.is_none();
    }

    /// Refuses what the command would not take as it is.
    fn take_value(&mut self, value: Option<&Value>) -> Result<(), String> {
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

#[cfg(test)]
#[path = "expansion_tests.rs"]
mod tests;
