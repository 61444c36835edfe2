//! Templates: Jinja2's grammar, strict. A name that is not defined is an error, never an empty string.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Object, Rest, Serde, StringInput, Value as Jinja, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, filters};
use serde_json::Value;

use super::expansion::{self, MARK_CLOSE, MARK_OPEN, Unit};
use super::jinja::{self, Part};
use crate::domain::base::name::nearest;

/// Names and their values in templates.
pub type Vars = BTreeMap<String, Value>;

/// Longest text that one template may render to, in bytes: it becomes part of a plan in the journal.
pub const RENDER_LIMIT_BYTES: usize = 1024 * 1024;

/// Most engine steps for one template: nested loops over the hosts of a fleet need fewer.
const STEPS_LIMIT: u64 = 1_000_000;

/// Most different values in one script.
const VALUES_LIMIT: usize = 1_000;

/// Largest width that a filter pads to, in characters.
const WIDTH_LIMIT: usize = 1_000;

/// Tags that scripts may use: the others capture rendered text, which is then no longer a script.
const SCRIPT_TAGS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "set", "do"];

static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(environment);

static SCRIPT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    // `script` is the only filter that bypasses the quoting.
    for filter in ["safe", "escape", "e"] {
        environment.remove_filter(filter);
    }
    environment.add_filter("script", Jinja::from_safe_string);
    environment.add_filter("option", |text: String| Jinja::from_object(MayBeOption(text)));
    environment.set_formatter(|out, _, value| {
        if value.is_safe() {
            let text = value.as_str().unwrap_or_default();
            if text.contains([MARK_OPEN, MARK_CLOSE]) {
                return Err(Error::new(ErrorKind::InvalidOperation, RESERVED));
            }
            return out.write_str(text).map_err(write_failed);
        }
        let may_be_option = value.downcast_object_ref::<MayBeOption>().is_some();
        let value = expansion::Value { text: value.to_string(), may_be_option };
        let mark =
            format!("{MARK_OPEN}{}{MARK_CLOSE}", MARKED.with_borrow_mut(|values| index_of(values, value)));
        out.write_str(&mark).map_err(write_failed)
    });
    environment
});

thread_local! {
    /// The values of the script that this thread is rendering: the formatter, which all threads share, puts marks into
    /// the text, and `expansion::fill` replaces the marks with the expansions of variables.
    static MARKED: RefCell<Vec<expansion::Value>> = const { RefCell::new(Vec::new()) };
}

/// Equal values share one variable.
fn index_of(values: &mut Vec<expansion::Value>, value: expansion::Value) -> usize {
    values.iter().position(|known| *known == value).unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    })
}

/// A value that may start with `-` where a command would read it as an option.
#[derive(Debug)]
struct MayBeOption(String);

impl Object for MayBeOption {
    fn render(self: &std::sync::Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn write_failed(error: std::fmt::Error) -> Error {
    Error::new(ErrorKind::WriteFailure, error.to_string())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.add_filter("from_json", from_json);
    environment.add_filter("format", format_bounded);
    environment.add_filter("indent", indent_bounded);
    environment.add_filter("batch", batch_bounded);
    environment.add_filter("slice", slice_bounded);
    // It would print all variables of a template.
    environment.remove_global("debug");
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS_LIMIT));
    // An uploaded file keeps its last line end.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment
}

fn check_width(width: usize) -> Result<(), Error> {
    match width <= WIDTH_LIMIT {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidOperation, format!("a width is at most {WIDTH_LIMIT}"))),
    }
}

fn format_bounded(state: &mut State, text: &Jinja, args: Rest<ValueOrKwargs>) -> Result<Jinja, Error> {
    let written = text.as_str().unwrap_or_default();
    // `%*d` takes its width from an argument.
    if written.contains('*') {
        return Err(Error::new(ErrorKind::InvalidOperation, "`*` is no width; write a number"));
    }
    for digits in written.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()) {
        check_width(digits.parse().unwrap_or(usize::MAX))?;
    }
    filters::format(state, text, args)
}

fn indent_bounded(
    value: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<Jinja, Error> {
    let named: Option<usize> = kwargs.get("width")?;
    check_width(width.or(named).unwrap_or_default())?;
    filters::indent(value, width, first, blank, kwargs)
}

fn batch_bounded(state: &State, value: Jinja, count: usize, fill: Option<Jinja>) -> Result<Jinja, Error> {
    check_width(count)?;
    filters::batch(state, value, count, fill)
}

fn slice_bounded(state: &State, value: Jinja, count: usize, fill: Option<Jinja>) -> Result<Jinja, Error> {
    check_width(count)?;
    filters::slice(state, value, count, fill)
}

/// True when `text` holds template syntax.
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

/// Renders a text whose values are not quoted: paths, file contents, expectations.
pub fn text(template: &str, vars: &Vars) -> Result<String, String> {
    if !is_template(template) {
        return Ok(template.to_string());
    }
    bounded(render(&PLAIN, template, vars)?)
}

/// Renders a shell script: every value becomes the expansion of a variable ([`super::expansion`]), unless the template
/// says `{{ value | script }}`. It refuses wrong places for values even if [`check_script`] was not called before.
pub fn script(template: &str, vars: &Vars) -> Result<String, String> {
    if template.contains([MARK_OPEN, MARK_CLOSE]) {
        return Err(RESERVED.into());
    }
    MARKED.with_borrow_mut(Vec::clear);
    let rendered = render(&SCRIPT, template, vars)?;
    let values = MARKED.take();
    if values.len() > VALUES_LIMIT {
        return Err(format!(
            "a script holds at most {VALUES_LIMIT} values; try: a `script` step, or `upload` with a template"
        ));
    }
    bounded(expansion::fill(&rendered, &values)?)
}

const RESERVED: &str = "holds a character that rollcall keeps for itself (U+E0F0, U+E0F1)";

/// Checks, before any value is known, that a shell script can be rendered with all values. The error says
/// which place cannot take a value, and what to write instead.
pub fn check_script(template: &str) -> Result<(), String> {
    if template.contains([MARK_OPEN, MARK_CLOSE]) {
        return Err(RESERVED.into());
    }
    let mut units = Vec::with_capacity(template.len());
    for part in jinja::parts(template)? {
        match part {
            Part::Text(text) => units.extend(text.chars().map(Unit::Char)),
            Part::Expression(expression) if is_script(expression) => units.push(Unit::Unknown),
            Part::Expression(_) => units.push(Unit::Value(0)),
            Part::Tag(tag) => units.extend(unit_of(tag)?),
        }
    }
    expansion::check(&units)
}

/// The names whose values may become script text (`{{ name | script }}`): all names in a template with this filter,
/// since a loop or `set` can pass them on.
pub fn script_names(template: &str) -> Vec<String> {
    let Ok(parts) = jinja::parts(template) else { return Vec::new() };
    let filters =
        |part: &Part<'_>| matches!(part, Part::Expression(text) | Part::Tag(text) if text.contains("script"));
    if parts.iter().any(filters) { names_used(template) } else { Vec::new() }
}

/// True for `{{ value | script }}`.
fn is_script(expression: &str) -> bool {
    expression.rsplit_once('|').is_some_and(|(_, filter)| filter.trim() == "script")
}

fn unit_of(tag: &str) -> Result<Option<Unit>, String> {
    let word = jinja::first_word(tag);
    if !SCRIPT_TAGS.contains(&word) || (jinja::opens(word, tag) && word == "set") {
        return Err(format!(
            "`{{% {word} %}}` cannot be used in a script; known: if, elif, else, for, set NAME = ..., raw"
        ));
    }
    Ok(match word {
        "elif" | "else" => Some(Unit::Between),
        "endif" | "endfor" => Some(Unit::Close),
        _ if jinja::opens(word, tag) => Some(Unit::Open),
        _ => None,
    })
}

/// Parses a text as JSON: `{{ (list.stdout | from_json).name }}`.
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

/// True when an expression is true for Jinja's `if`: `facts.arch == "x86_64"`.
pub fn holds(expression: &str, vars: &Vars) -> Result<bool, String> {
    evaluate(expression, vars).map(|value| value.is_true())
}

fn evaluate(expression: &str, vars: &Vars) -> Result<Jinja, String> {
    jinja::check_expression(expression)?;
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
    jinja::check_expression(expression)?;
    PLAIN.compile_expression(expression).map(drop).map_err(|error| explain(&error))
}

/// The names that `expression` reads, with their fields.
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
    jinja::parts(template)?;
    PLAIN.template_from_str(template).map(drop).map_err(|error| explain(&error))
}

/// The names that `template` reads.
pub fn names_used(template: &str) -> Vec<String> {
    undeclared(template, false)
}

/// The names that `template` reads, with their fields: `facts.os`.
pub fn paths_used(template: &str) -> Vec<String> {
    undeclared(template, true)
}

fn undeclared(template: &str, nested: bool) -> Vec<String> {
    if jinja::parts(template).is_err() {
        return Vec::new();
    }
    let Ok(template) = PLAIN.template_from_str(template) else { return Vec::new() };
    let mut names: Vec<String> = template.undeclared_variables(nested).into_iter().collect();
    names.sort();
    names
}

fn render(environment: &Environment<'_>, template: &str, vars: &Vars) -> Result<String, String> {
    jinja::parts(template)?;
    let said = |error: Error| match error.kind() {
        ErrorKind::UndefinedError => undefined(template, vars),
        ErrorKind::WriteFailure => too_long(),
        ErrorKind::OutOfFuel => format!("takes more than {STEPS_LIMIT} steps; try: a loop over less"),
        _ => explain(&error),
    };
    let compiled = environment.template_from_str(template).map_err(said)?;
    let mut out = Bounded(Vec::new());
    compiled.render_captured_to(Jinja::from(Serde(vars)), &mut out).map_err(said)?;
    String::from_utf8(out.0).map_err(|error| error.to_string())
}

/// A writer that accepts at most the bytes that a template may render to.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDER_LIMIT_BYTES {
            return Err(io::Error::other(too_long()));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long() -> String {
    format!("renders to more than {RENDER_LIMIT_BYTES} bytes")
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
        return Err(too_long());
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
        let assigned = r#"rollcall_0='it'\''s $HOME'; echo "${rollcall_0}""#;
        assert_eq!(script("echo {{ message }}", &vars()).unwrap(), assigned);
        assert_eq!(script("echo {{ message | script }}", &vars()).unwrap(), "echo it's $HOME");
        for filter in ["safe", "e", "escape"] {
            let template = format!("echo {{{{ message | {filter} }}}}");
            assert!(
                script(&template, &vars()).unwrap_err().contains("unknown"),
                "{filter} goes around the quoting"
            );
        }
        let twice = script("tar {{ version }}.tar {{ version }}", &vars()).unwrap();
        assert_eq!(twice, r#"rollcall_0=1.2.3; tar "${rollcall_0}".tar "${rollcall_0}""#);
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
    fn work_and_memory_of_a_template_are_bounded() {
        let refusal = |template: &str| text(template, &vars()).unwrap_err();
        let loops = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert_eq!(refusal(loops), "takes more than 1000000 steps; try: a loop over less");
        assert_eq!(
            refusal("{% for a in range(90000) %}{{ message * 9 }}{% endfor %}"),
            "renders to more than 1048576 bytes"
        );
        for wide in [
            "{{ '%1000000000d' | format(1) }}",
            "{{ '%*d' | format(1000000000, 1) }}",
            "{{ 'x' | indent(1000000000) }}",
            "{{ 'x' | indent(width=1000000000) }}",
            "{{ [1] | batch(1000000000, 0) }}",
            "{{ [1] | slice(1000000000) }}",
        ] {
            assert!(refusal(wide).contains("width"), "{wide}: {}", refusal(wide));
        }
        assert_eq!(
            text("{{ '%5.1f' | format(1.25) }}|{{ 'a\\nb' | indent(2) }}", &vars()).unwrap(),
            "  1.2|a\n  b"
        );
        let chain = format!("{{{{ x{} }}}}", " | upper".repeat(30_000));
        for check in [check_syntax, check_script] {
            assert_eq!(check(&chain).unwrap_err(), "an expression has at most 65536 bytes");
        }
        assert!(check_expression(&" + 1".repeat(5_000)).unwrap_err().contains("at most 200 operators"));
        assert!(names_used(&chain).is_empty() && holds(&"not ".repeat(10_000), &vars()).is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let with = |value: &str| Vars::from([("x".to_string(), json!(value))]);
        assert!(text("{{ x }}", &with("a\0b")).unwrap_err().contains("NUL"));
        let smuggled = script("{{ x | script }}", &with("\u{e0f0}0\u{e0f1}"));
        assert!(smuggled.unwrap_err().contains("U+E0F0"), "script text cannot bring marks");
        assert!(script("{{ x }} \u{e0f0}", &with("a")).unwrap_err().contains("U+E0F0"));
        assert!(text("{{ x }}", &with(&"y".repeat(RENDER_LIMIT_BYTES + 1))).unwrap_err().contains("bytes"));
    }
}
