//! Checks templates when the configuration is loaded, so that no run fails by them.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use super::diagnostic::Doc;
use crate::config::text::hints::{did_you_mean, known_names};
use crate::domain::task::facts::{NAMES, check_path};
use crate::domain::value::template;

/// Functions that every template may call.
const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];

/// Keys of steps whose texts reach the host on standard input. All others are printed, are visible on command lines,
/// or are needed before the step starts.
const UNSEEN: [&str; 3] = ["run", "undo", "password"];

/// Keys of steps whose texts a shell reads.
const SCRIPTS: [&str; 7] = ["boot_id", "command", "local", "run", "undo", "unless", "validate"];

/// The names that templates may use.
#[derive(Clone)]
pub struct Known {
    pub names: BTreeSet<String>,
    /// Names that are secret for at least one host.
    pub secrets: BTreeSet<String>,
    /// The custom facts.
    pub facts: BTreeSet<String>,
    /// False if a file of hosts could not be read: it may define any other name.
    pub complete: bool,
}

/// Reports a template that cannot be parsed; returns true if it can.
pub fn syntax(doc: Doc<'_>, key: &str, text: &Spanned<String>) -> bool {
    let result = template::check_syntax(text.get_ref());
    if let Err(why) = &result {
        doc.wrong(text.span(), format!("`{key}` is no template: {why}"));
    }
    result.is_ok()
}

/// The same for a script; also reports values in places that cannot take one.
pub fn script(doc: Doc<'_>, key: &str, text: &Spanned<String>) -> bool {
    if !syntax(doc, key, text) {
        return false;
    }
    let result = template::check_script(text.get_ref());
    if let Err(why) = &result {
        doc.report(text.span(), format!("`{key}`: {why}"), SCRIPT_HINT.to_string());
    }
    result.is_ok()
}

const SCRIPT_HINT: &str =
    "values reach a script as variables of its shell: see docs/steps.md, \"Values in scripts\"";

/// Reports a template that cannot be parsed, and undefined names.
pub fn names(doc: Doc<'_>, key: &str, text: &Spanned<String>, known: &Known) {
    let is_well = if SCRIPTS.contains(&key) { script(doc, key, text) } else { syntax(doc, key, text) };
    if !is_well {
        return;
    }
    facts(doc, key, text.span(), template::paths_used(text.get_ref()), known);
    if !UNSEEN.contains(&key) {
        refuse_secrets(doc, key, text, known);
    }
    names_known(doc, key, text.span(), template::names_used(text.get_ref()), known);
}

/// The same for a variable of a step's environment, which may be secret.
pub fn environment(doc: Doc<'_>, name: &str, text: &Spanned<String>, known: &Known) {
    if syntax(doc, name, text) {
        facts(doc, name, text.span(), template::paths_used(text.get_ref()), known);
        names_known(doc, name, text.span(), template::names_used(text.get_ref()), known);
    }
}

fn names_known(doc: Doc<'_>, key: &str, span: Range<usize>, names: Vec<String>, known: &Known) {
    if !known.complete {
        return;
    }
    let known = &known.names;
    for name in names {
        if known.contains(&name) || FUNCTIONS.contains(&name.as_str()) {
            continue;
        }
        let guess = did_you_mean(&name, known.iter().map(String::as_str));
        let hint = match name.as_str() {
            "previous" => "only rollback steps know what was there before".to_string(),
            _ => known_names(known.iter().map(String::as_str).collect()),
        };
        doc.report(span.clone(), format!("`{key}`: nothing defines `{name}`{guess}"), hint);
    }
}

/// Reports an expression that cannot be parsed, and undefined names.
pub fn expression(doc: Doc<'_>, key: &str, text: &Spanned<String>, known: &Known) {
    if text.get_ref().trim().is_empty() {
        doc.wrong(text.span(), format!("`{key}` is empty"));
    } else if let Err(why) = template::check_expression(text.get_ref()) {
        let hint = "an expression as in Jinja, without braces: version == \"1.2.3\"".to_string();
        doc.report(text.span(), format!("`{key}` is no expression: {why}"), hint);
    } else {
        let names = template::names_in_expression(text.get_ref());
        for name in names.iter().filter(|name| known.secrets.contains(*name)) {
            let hint = "conditions are shown in plans".to_string();
            doc.report(text.span(), format!("`{key}` cannot read the secret `{name}`"), hint);
        }
        facts(doc, key, text.span(), template::paths_in_expression(text.get_ref()), known);
        names_known(doc, key, text.span(), names, known);
    }
}

fn refuse_secrets(doc: Doc<'_>, key: &str, text: &Spanned<String>, known: &Known) {
    for name in template::names_used(text.get_ref()).iter().filter(|name| known.secrets.contains(*name)) {
        let message = format!("`{key}` cannot read the secret `{name}`: it would be seen");
        let hint =
            "secrets can stand in `run`, `env` of a command, `undo`, and in templates of files/".to_string();
        doc.report(text.span(), message, hint);
    }
}

/// Reports facts that do not exist.
fn facts(doc: Doc<'_>, key: &str, span: Range<usize>, paths: Vec<String>, known: &Known) {
    for path in paths.iter().filter_map(|path| path.strip_prefix("facts.")) {
        if let Err(why) = check_path(path, known.facts.iter().map(String::as_str)) {
            doc.report(span.clone(), format!("`{key}`: {why}"), format!("known: {}", NAMES.join(", ")));
        }
    }
}

/// Reports an invalid pattern. One with a template is checked when it is rendered.
pub fn pattern(doc: Doc<'_>, key: &str, text: &Spanned<String>) {
    if template::is_template(text.get_ref()) {
        return;
    }
    if let Err(error) = regex::Regex::new(text.get_ref()) {
        doc.wrong(text.span(), format!("`{key}` is no pattern: {}", reason(&error)));
    }
}

/// Reports an invalid pattern for a whole value, and a default that does not match.
pub fn whole_pattern(doc: Doc<'_>, key: &str, pattern: &Spanned<String>, default: Option<&Spanned<String>>) {
    match regex::Regex::new(&format!("^(?:{})$", pattern.get_ref())) {
        Err(error) => doc.wrong(pattern.span(), format!("`{key}` is no pattern: {}", reason(&error))),
        Ok(regex) => {
            if let Some(default) = default.filter(|default| !regex.is_match(default.get_ref())) {
                let message = format!("the default does not match the pattern {}", pattern.get_ref());
                doc.wrong(default.span(), message);
            }
        }
    }
}

/// The last line of a regex error; those before it repeat the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::text::diagnostic::Sink;
    use crate::config::text::origin::Nowhere;

    #[test]
    fn a_fact_that_no_host_has_is_told_with_the_nearest() {
        let (sink, text) =
            (Sink::default(), Arc::from("{{ facts.achr }} {{ facts.custom.rakc }} {{ facts.os }}"));
        let doc = Doc { path: "tasks/t.toml", text: &text, sink: &sink, quiet: false, sources: &Nowhere };
        let names = BTreeSet::from(["facts".to_string()]);
        let known = Known {
            names,
            secrets: BTreeSet::new(),
            facts: BTreeSet::from(["rack".to_string()]),
            complete: true,
        };
        super::names(doc, "run", &Spanned::new(0..text.len(), text.to_string()), &known);
        let wrong = sink.into_warnings().unwrap_err();
        let messages: Vec<&str> = wrong.iter().map(|one| one.message.as_str()).collect();
        let nearest = [
            "`run`: there is no fact `achr`; did you mean `facts.arch`?",
            "`run`: no file in files/facts/ is called `rakc`; did you mean `facts.custom.rack`?",
        ];
        assert_eq!(messages, nearest);
    }
}
