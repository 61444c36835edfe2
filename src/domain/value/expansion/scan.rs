//! Reads a script character by character, and finds the place of each value.

use super::unit::{PREFIX, Unit, Value};
use super::words::{CODE, SimpleCommand};

/// Deepest nesting of quotes and substitutions that is accepted: no script needs more, and each block of a template
/// compares all of it.
const DEPTH_LIMIT: usize = 64;

/// The place of a character in a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ScriptContext {
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
pub(super) struct HereDoc {
    pub(super) delimiter: String,
    /// `<<-`: tabs before a line do not count.
    pub(super) strips: bool,
    /// The delimiter was quoted: nothing is expanded in it.
    pub(super) quoted: bool,
    /// The reading program takes it as text: `cat`, `tee`.
    pub(super) is_text: bool,
    pub(super) line: String,
    pub(super) in_braces: bool,
}

/// The character directly before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Before {
    Other,
    Dollar,
    Backslash,
}

/// How an expansion is written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ExpansionForm {
    Bare,
    Double,
    Single,
}

/// The state that must be the same on all paths through a template.
type PathState = (Vec<ScriptContext>, bool, Option<&'static str>, usize);

pub(super) struct Scanner<'a> {
    pub(super) units: &'a [Unit],
    pub(super) at: usize,
    pub(super) values: &'a [Value],
    pub(super) out: String,
    pub(super) places: Vec<ScriptContext>,
    /// One for each open place that reads like bare text.
    pub(super) commands: Vec<SimpleCommand>,
    pub(super) before: Before,
    pub(super) last: char,
    pub(super) comment: bool,
    /// From here on nothing is certain, because shells read this in different ways.
    pub(super) doubtful: Option<&'static str>,
    /// Opened on this line; their text starts on the next one.
    pub(super) heredocs: Vec<HereDoc>,
    pub(super) blocks: Vec<PathState>,
    /// Open groups of commands (`{`, `if`, `(`), and whether a value is in their output.
    pub(super) groups: Vec<bool>,
    pub(super) fault: Option<String>,
    /// A variable is in the code of another program: `eval "$x"`.
    pub(super) code_reads_variable: bool,
}

pub(super) fn scan(units: &[Unit], values: &[Value]) -> Result<String, String> {
    let mut scanner = Scanner {
        units,
        at: 0,
        values,
        out: String::with_capacity(units.len()),
        places: vec![ScriptContext::Bare],
        commands: vec![SimpleCommand::default()],
        before: Before::Other,
        last: '\n',
        comment: false,
        doubtful: None,
        heredocs: Vec::new(),
        blocks: Vec::new(),
        groups: Vec::new(),
        fault: None,
        code_reads_variable: false,
    };
    while let Some(unit) = scanner.next() {
        scanner.unit(unit)?;
    }
    scanner.end_command();
    scanner.check_fault()?;
    let holds_values = units.iter().any(|unit| matches!(unit, Unit::Value(_)));
    if scanner.code_reads_variable && holds_values {
        return Err(VARIABLE.into());
    }
    if scanner.before == Before::Backslash && holds_values {
        return Err("a script that holds values cannot end with a backslash".into());
    }
    Ok(scanner.out)
}

impl Scanner<'_> {
    pub(super) fn next(&mut self) -> Option<Unit> {
        let unit = self.units.get(self.at).copied();
        self.at += 1;
        unit
    }

    pub(super) fn peek(&self) -> Option<char> {
        match self.units.get(self.at) {
            Some(Unit::Char(c)) => Some(*c),
            _ => None,
        }
    }

    pub(super) fn unit(&mut self, unit: Unit) -> Result<(), String> {
        match unit {
            Unit::Char(c) => {
                self.out.push(c);
                self.character(c);
                self.last = self.units[self.at - 1].char();
                self.check_fault()?;
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

    /// The fault of a command that has ended.
    pub(super) fn check_fault(&mut self) -> Result<(), String> {
        match self.fault.take() {
            Some(why) => Err(format!("a value cannot be {why}")),
            None => Ok(()),
        }
    }

    pub(super) fn state(&self) -> PathState {
        let mut places = self.places.clone();
        if let Some(ScriptContext::Here(heredoc)) = places.last_mut() {
            heredoc.line.clear();
        }
        (places, self.comment, self.doubtful, self.heredocs.len())
    }

    pub(super) fn same_as_block(&self) -> Result<(), String> {
        match self.blocks.last() {
            Some(state) if *state == self.state() => Ok(()),
            _ => Err("a block of the template ({% if %}, {% for %}) opens or closes quotes or parentheses; try: whole \
                      commands or whole words within each block"
                .into()),
        }
    }

    pub(super) fn place(&self) -> &ScriptContext {
        self.places.last().unwrap_or(&ScriptContext::Bare)
    }

    pub(super) fn command(&mut self) -> &mut SimpleCommand {
        if self.commands.is_empty() {
            self.commands.push(SimpleCommand::default());
        }
        let last = self.commands.len() - 1;
        &mut self.commands[last]
    }

    pub(super) fn doubt(&mut self, why: &'static str) {
        self.doubtful.get_or_insert(why);
    }

    pub(super) fn enter(&mut self, place: ScriptContext) {
        if self.places.len() >= DEPTH_LIMIT {
            return self.doubt("after deeply nested quotes or substitutions");
        }
        if matches!(place, ScriptContext::Substitution | ScriptContext::Parenthesis) {
            self.commands.push(SimpleCommand::default());
        }
        self.places.push(place);
    }

    pub(super) fn leave(&mut self) {
        if matches!(self.places.pop(), Some(ScriptContext::Substitution | ScriptContext::Parenthesis)) {
            self.commands.pop();
        }
    }

    /// The text here is known only after rendering; it counts as part of a word.
    pub(super) fn unknown(&mut self) {
        self.after_value();
        self.command().letter('?');
    }

    pub(super) fn after_value(&mut self) {
        self.before = Before::Other;
        self.last = 'v';
        if let Some(ScriptContext::Here(heredoc)) = self.places.last_mut() {
            // No delimiter contains it: a line with a value ends no here-document.
            heredoc.line.push('\0');
        }
    }

    pub(super) fn character(&mut self, c: char) {
        if self.comment {
            self.comment = c != '\n';
            if self.comment {
                return;
            }
        }
        let before = std::mem::replace(&mut self.before, Before::Other);
        match self.place() {
            ScriptContext::Bare | ScriptContext::Substitution | ScriptContext::Parenthesis => {
                self.bare(c, before)
            }
            ScriptContext::Single { dollar } => self.single(c, *dollar),
            ScriptContext::Double { .. } => self.double(c, before),
            ScriptContext::Braces => self.braces(c, before),
            ScriptContext::BracesQuote(quote) => self.braces_quote(c, *quote),
            ScriptContext::Arithmetic(depth) => self.arithmetic(c, before, *depth),
            ScriptContext::Backticks => self.backticks(c),
            ScriptContext::Here(_) => self.here(c, before),
        }
    }

    /// Takes the character behind a backslash with it. A value there would be joined with the backslash.
    pub(super) fn escape(&mut self) {
        match self.peek() {
            Some(next) => {
                self.at += 1;
                self.out.push(next);
                self.command().letter(next);
            }
            None => self.before = Before::Backslash,
        }
    }

    pub(super) fn value(&mut self, index: usize) -> Result<(), String> {
        let values = self.values;
        let value = values.get(index);
        if value.is_none() && !values.is_empty() {
            return Err("a template left a broken mark".into());
        }
        let form = self.form(value).map_err(|why| format!("a value cannot be {why}"))?;
        let name = format!("${{{PREFIX}{index}}}");
        self.out.push_str(&match form {
            ExpansionForm::Bare => format!("\"{name}\""),
            ExpansionForm::Double => name,
            ExpansionForm::Single => format!("'\"{name}\"'"),
        });
        self.after_value();
        Ok(())
    }

    pub(super) fn form(&mut self, value: Option<&Value>) -> Result<ExpansionForm, String> {
        if self.comment {
            return Ok(ExpansionForm::Double);
        }
        if let Some(why) = self.doubtful {
            return Err(format!("{why}, which shells read in different ways; {ASSIGN}"));
        }
        match self.before {
            Before::Dollar => return Err(format!("directly behind `$`; {DOLLAR}")),
            Before::Backslash => return Err(format!("directly behind a backslash; {BACKSLASH}")),
            Before::Other => {}
        }
        self.places.iter().try_for_each(check_place)?;
        let form = match self.place() {
            ScriptContext::Here(heredoc) => {
                let form = self.in_heredoc(heredoc)?;
                self.print_value();
                return Ok(form);
            }
            ScriptContext::Single { .. } => ExpansionForm::Single,
            ScriptContext::Double { .. } => ExpansionForm::Double,
            _ => ExpansionForm::Bare,
        };
        self.around(value)?;
        self.command().take_value(value)?;
        if self.commands.iter().any(|command| command.prints_value) {
            self.print_value();
        }
        Ok(form)
    }

    /// Checks the commands around a substitution with a value: its output may contain the value.
    fn around(&mut self, value: Option<&Value>) -> Result<(), String> {
        let nested = self
            .places
            .iter()
            .filter(|place| matches!(place, ScriptContext::Substitution | ScriptContext::Parenthesis));
        let kinds: Vec<bool> = nested.map(|place| *place == ScriptContext::Parenthesis).collect();
        let is_printed = self.command().prints_arguments();
        for (outer, is_group) in self.commands.iter_mut().zip(kinds) {
            if is_group && outer.is_interpreter() {
                return Err(CODE.into());
            }
            outer.hold_value()?;
            if is_printed {
                outer.compare_value(value);
            }
        }
        Ok(())
    }

    /// A value is in the output of all open groups.
    fn print_value(&mut self) {
        self.groups.iter_mut().for_each(|prints| *prints = true);
    }

    pub(super) fn in_heredoc(&self, heredoc: &HereDoc) -> Result<ExpansionForm, String> {
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
        Ok(ExpansionForm::Double)
    }
}

/// Places in which, at any depth, the shell would read a value once more.
fn check_place(place: &ScriptContext) -> Result<(), String> {
    match place {
        ScriptContext::Braces | ScriptContext::BracesQuote(_) => Err(format!("in `${{...}}`; {ASSIGN}")),
        ScriptContext::Arithmetic(_) => Err(format!("in `((...))`; {ARITHMETIC}")),
        ScriptContext::Backticks => Err("in backticks; try: $(...)".into()),
        ScriptContext::Single { dollar: true } => Err("in `$'...'`; try: '...' or \"...\"".into()),
        ScriptContext::Double { dollar: true } => Err("in `$\"...\"`; try: \"...\"".into()),
        _ => Ok(()),
    }
}

const VARIABLE: &str = "a value cannot be in a script that puts variables into the code of another program (sh -c \"$x\", eval \
                        \"$x\"), since a variable may hold it; try: single quotes around the code, and an argument behind it: \
                        sh -c 'echo \"$1\"' sh \"$x\"";

const ASSIGN: &str = "try: name={{ ... }} at the beginning of the script, and \"$name\" here";
const DOLLAR: &str = "try: \\${{ ... }} for a dollar sign";
const BACKSLASH: &str = "try: two backslashes, or quotes around the value";
const ARITHMETIC: &str =
    "the shell would evaluate it; try: the calculation in the template, {{ ... | int + 1 }}";
