//! Templates: Jinja2's grammar, strict. A name that is not defined is an error, never an empty string.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;

use super::name::nearest;
use super::shell;

/// Names and their values, as templates see them.
pub type Vars = BTreeMap<String, Value>;

/// Longest text that one template may render to, in bytes: it becomes part of a plan in the journal.
pub const RENDER_LIMIT_BYTES: usize = 1024 * 1024;

static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(environment);

static SCRIPT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    // One word for "this is a script", and no other way around the quoting.
    for filter in ["safe", "escape", "e"] {
        environment.remove_filter(filter);
    }
    environment.add_filter("script", Jinja::from_safe_string);
    environment.set_formatter(|out, _, value| {
        if value.is_safe() {
            return out.write_str(value.as_str().unwrap_or_default()).map_err(write_failed);
        }
        let at = MARKED.with_borrow_mut(|values| {
            values.push(value.to_string());
            values.len() - 1
        });
        let mark = format!("{}{at}{}", shell::MARK_OPEN, shell::MARK_CLOSE);
        out.write_str(&mark).map_err(write_failed)
    });
    environment
});

thread_local! {
    /// The values of the script that this thread is rendering: the formatter, which is shared by
    /// all, leaves marks in the text, and `shell::fill` puts the values where the marks are.
    static MARKED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn write_failed(error: std::fmt::Error) -> Error {
    Error::new(ErrorKind::WriteFailure, error.to_string())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.add_filter("from_json", from_json);
    // It would show everything that a template knows.
    environment.remove_global("debug");
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A file that is uploaded ends as it was written.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment
}

/// True when `text` holds template syntax.
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

/// Renders a text in which values appear as they are: paths, file contents, expectations.
pub fn text(template: &str, vars: &Vars) -> Result<String, String> {
    if !is_template(template) {
        return Ok(template.to_string());
    }
    bounded(render(&PLAIN, template, vars)?)
}

/// Renders a shell script: every value is quoted for the place where it stands
/// ([`shell::fill`]), unless the template says `{{ value | script }}`.
pub fn script(template: &str, vars: &Vars) -> Result<String, String> {
    if template.contains([shell::MARK_OPEN, shell::MARK_CLOSE]) {
        return Err("holds a character that rollcall keeps for itself (U+E0F0, U+E0F1)".into());
    }
    MARKED.with_borrow_mut(Vec::clear);
    let rendered = render(&SCRIPT, template, vars)?;
    let values = MARKED.take();
    let marks = rendered.matches([shell::MARK_OPEN, shell::MARK_CLOSE]).count();
    let smuggled = values.iter().any(|value| value.contains([shell::MARK_OPEN, shell::MARK_CLOSE]));
    if smuggled || marks != 2 * values.len() {
        return Err("a value holds a character that rollcall keeps for itself (U+E0F0, U+E0F1)".into());
    }
    bounded(shell::fill(&rendered, &values)?)
}

/// The text of a value in JSON, as that value: `{{ (list.stdout | from_json).name }}`.
fn from_json(text: &str) -> Result<Jinja, Error> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("from_json: {error}")))?;
    Ok(Jinja::from(Serde(value)))
}

/// The value of an expression: `facts.cpus * 2`.
pub fn value(expression: &str, vars: &Vars) -> Result<Value, String> {
    let value = evaluate(expression, vars)?;
    serde_json::to_value(&value).map_err(|error| format!("`{}`: {error}", one_line(expression)))
}

/// True when an expression holds, as Jinja's `if` sees it: `facts.arch == "x86_64"`.
pub fn holds(expression: &str, vars: &Vars) -> Result<bool, String> {
    evaluate(expression, vars).map(|value| value.is_true())
}

fn evaluate(expression: &str, vars: &Vars) -> Result<Jinja, String> {
    let compiled = PLAIN.compile_expression(expression).map_err(|error| explain(&error))?;
    let value = compiled.eval(Jinja::from(Serde(vars))).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError => undefined(&braced(expression), vars),
        _ => explain(&error),
    })?;
    match value.is_undefined() {
        true => Err(undefined(&braced(expression), vars)),
        false => Ok(value),
    }
}

/// Checks that `expression` can be parsed, for messages at load time.
pub fn check_expression(expression: &str) -> Result<(), String> {
    PLAIN.compile_expression(expression).map(drop).map_err(|error| explain(&error))
}

/// The same with the fields that are read of them.
pub fn paths_in_expression(expression: &str) -> Vec<String> {
    paths_used(&braced(expression))
}

/// The names that `expression` reads.
pub fn names_in_expression(expression: &str) -> Vec<String> {
    names_used(&braced(expression))
}

fn braced(expression: &str) -> String {
    format!("{{{{ {expression} }}}}")
}

/// Checks that `template` can be parsed, for messages at load time.
pub fn check_syntax(template: &str) -> Result<(), String> {
    PLAIN.template_from_str(template).map(drop).map_err(|error| explain(&error))
}

/// The names that `template` reads.
pub fn names_used(template: &str) -> Vec<String> {
    undeclared(template, false)
}

/// The same with the fields that are read of them: `facts.os`.
pub fn paths_used(template: &str) -> Vec<String> {
    undeclared(template, true)
}

fn undeclared(template: &str, nested: bool) -> Vec<String> {
    let Ok(template) = PLAIN.template_from_str(template) else { return Vec::new() };
    let mut names: Vec<String> = template.undeclared_variables(nested).into_iter().collect();
    names.sort();
    names
}

fn render(environment: &Environment<'_>, template: &str, vars: &Vars) -> Result<String, String> {
    environment.render_str(template, Jinja::from(Serde(vars))).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError => undefined(template, vars),
        _ => explain(&error),
    })
}

fn undefined(template: &str, vars: &Vars) -> String {
    let missing: Vec<String> =
        names_used(template).into_iter().filter(|name| !vars.contains_key(name)).collect();
    let Some(first) = missing.first() else {
        return format!("a part of a value in `{}` is not defined", one_line(template));
    };
    match nearest(first, vars.keys().map(String::as_str)) {
        Some(near) => format!("`{first}` is not defined; did you mean `{near}`?"),
        None => format!("`{first}` is not defined"),
    }
}

fn explain(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_string)
}

fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn bounded(text: String) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a NUL character cannot be passed to a host".into());
    }
    if text.len() > RENDER_LIMIT_BYTES {
        return Err(format!("renders to more than {RENDER_LIMIT_BYTES} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vars() -> Vars {
        Vars::from([
            ("version".into(), json!("1.2.3")),
            ("message".into(), json!("it's $HOME")),
            ("port".into(), json!(8080)),
            ("host".into(), json!({"address": "10.0.0.1"})),
        ])
    }

    #[test]
    fn values_stand_as_they_are_in_texts_and_quoted_in_scripts() {
        assert_eq!(text("{{ host.address }}:{{ port }}", &vars()).unwrap(), "10.0.0.1:8080");
        assert_eq!(text("{{ message }}", &vars()).unwrap(), "it's $HOME");
        assert_eq!(script("echo {{ message }}", &vars()).unwrap(), r"echo 'it'\''s $HOME'");
        assert_eq!(script("echo {{ message | script }}", &vars()).unwrap(), "echo it's $HOME");
        for filter in ["safe", "e", "escape"] {
            let template = format!("echo {{{{ message | {filter} }}}}");
            assert!(
                script(&template, &vars()).unwrap_err().contains("unknown"),
                "{filter} goes around the quoting"
            );
        }
        assert_eq!(script("tar xzf {{ version }}.tar.gz", &vars()).unwrap(), "tar xzf 1.2.3.tar.gz");
    }

    #[test]
    fn an_undefined_name_is_an_error_that_offers_the_nearest() {
        assert_eq!(
            text("{{ versoin }}", &vars()).unwrap_err(),
            "`versoin` is not defined; did you mean `version`?"
        );
        assert_eq!(
            script("x {{ nothing_like_it }}", &vars()).unwrap_err(),
            "`nothing_like_it` is not defined"
        );
        assert!(text("{{ host.port }}", &vars()).is_err());
        assert!(check_syntax("{{ open").is_err());
    }

    #[test]
    fn expressions_are_values_or_errors_that_name_what_is_missing() {
        assert_eq!(value("port + 1", &vars()).unwrap(), json!(8081));
        assert_eq!(value("['a', version]", &vars()).unwrap(), json!(["a", "1.2.3"]));
        for (expression, wanted) in [
            ("version == '1.2.3'", true),
            ("port > 9000", false),
            ("host.address is startingwith '10.' and not port == 1", true),
            ("'x' in message", false),
        ] {
            assert_eq!(holds(expression, &vars()), Ok(wanted), "{expression}");
        }
        assert_eq!(
            holds("versoin == 1", &vars()).unwrap_err(),
            "`versoin` is not defined; did you mean `version`?"
        );
        assert!(holds("host.nothing", &vars()).unwrap_err().contains("is not defined"));
        assert!(check_expression("version ==").is_err());
        assert_eq!(names_in_expression("version == x.y"), ["version", "x"]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let with = |value: &str| Vars::from([("x".to_string(), json!(value))]);
        assert!(text("{{ x }}", &with("a\0b")).unwrap_err().contains("NUL"));
        assert!(script("{{ x }}", &with("\u{e0f0}0\u{e0f1}")).unwrap_err().contains("U+E0F0"));
        assert!(text("{{ x }}", &with(&"y".repeat(RENDER_LIMIT_BYTES + 1))).unwrap_err().contains("bytes"));
    }
}
