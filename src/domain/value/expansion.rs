//! Values in scripts. A value never becomes text of a script: it is assigned to a variable before the script starts, as
//! one quoted word, and the script expands that variable where the template has the value. So the text that a shell
//! parses is the same for all values.
//!
//! The scan decides two things: how the expansion is written (bare, in double quotes, in single quotes), and which
//! places are refused because the shell, or another program, would read the value as code there: arithmetic, `sh -c`,
//! `eval`, input of a shell. An error in the first cannot make a command of a value; the second can only
//! recognize programs by name, and docs/steps.md says so.

mod bare;
mod interpreter;
mod quoted;
mod scan;
mod unit;
mod words;

use self::scan::scan;
use self::unit::PREFIX;
pub use self::unit::{Unit, Value};
use super::shell;

/// Marks the place of a value in a rendered script: `OPEN`, its index, `CLOSE`. Two characters of Unicode's private use
/// area, which no template of a script may contain.
pub const MARK_OPEN: char = '\u{e0f0}';
/// The end of a mark that starts with [`MARK_OPEN`].
pub const MARK_CLOSE: char = '\u{e0f1}';

/// Checks the places of values before any value is known. The error says which place and what to write instead.
pub fn check(units: &[Unit]) -> Result<(), String> {
    scan(units, &[]).map(drop)
}

/// Replaces every mark in the script by the expansion of a variable, and puts the assignments of these before it.
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

/// All on the first line of the script, so that line numbers in messages of the shell are those of the author.
fn assignments(values: &[Value]) -> String {
    let one = |(at, value): (usize, &Value)| format!("{PREFIX}{at}={}; ", shell::quote(&value.text));
    values.iter().enumerate().map(one).collect()
}

/// Splits a filled script into its assignments and its own text, for callers that insert something between them.
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

/// The length of the first word, as [`shell::quote`] wrote it.
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

/// A filled script for people: with the quoted values in their places. The shell runs the script itself.
pub fn readable(script: &str) -> String {
    let (assigned, body) = split(script);
    let mut shown = body.to_string();
    let mut rest = assigned;
    let mut at = 0;
    while let Some(text) = rest.strip_prefix(&format!("{PREFIX}{at}=")) {
        let Some(length) = word_length(text) else { break };
        let (word, after) = text.split_at(length);
        let name = format!("${{{PREFIX}{at}}}");
        shown =
            shown.replace(&format!("\"{name}\""), word).replace(&name, &in_double_quotes(&unquoted(word)));
        rest = after.strip_prefix("; ").unwrap_or_default();
        at += 1;
    }
    shown
}

/// A value as a shell reads it within double quotes, so that the printed command can be typed again.
fn in_double_quotes(value: &str) -> String {
    let escaped = |c: char| if "\\\"$`".contains(c) { vec!['\\', c] } else { vec![c] };
    value.chars().flat_map(escaped).collect()
}

fn unquoted(word: &str) -> String {
    match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => word.to_string(),
    }
}

impl Unit {
    fn char(self) -> char {
        match self {
            Unit::Char(c) => c,
            _ => '?',
        }
    }
}

#[cfg(test)]
#[path = "expansion/expansion_tests.rs"]
mod tests;
