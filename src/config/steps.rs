//! The steps of a task: `[[steps]]` and `[[rollback]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Doc;
use super::files::check_path;
use super::reader::Reader;
use super::templates::{self, Known};
use crate::domain::task::{DeadMan, Source, Step, StepBody, Sudo};
use crate::domain::template::is_template;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const DEFAULT_DELAY: Duration = Duration::from_secs(1);
const DEFAULT_MODE: u32 = 0o644;
const LARGEST_MODE: u32 = 0o7777;

/// Reads a list of steps whose templates may use the names `known`.
pub(super) fn read(file: &mut Reader<'_>, key: &'static str, known: &Known) -> Vec<Step> {
    let what = if key == "rollback" { "a rollback step" } else { "a step" };
    let mut names = BTreeSet::new();
    let mut steps = Vec::new();
    let tables = match key {
        "rollback" => file.tables(key, what),
        _ => file.required_tables(key, what),
    };
    for table in tables {
        let doc = table.doc;
        let (name, step) = read_step(table, known);
        if let Some(name) = name.filter(|name| !names.insert(name.get_ref().clone())) {
            doc.wrong(name.span(), format!("two steps are called `{}`", name.get_ref()));
        }
        steps.extend(step);
    }
    steps
}

/// The name apart from the step: it is taken even where something else is wrong.
fn read_step(mut table: Reader<'_>, known: &Known) -> (Option<Spanned<String>>, Option<Step>) {
    let name = table.required("name");
    if let Some(name) = &name {
        templates::names(table.doc, "name", name, known);
    }
    let body = read_body(&mut table, known);
    let creates = text(&mut table, "creates", known);
    let unless = text(&mut table, "unless", known);
    let timeout = table.positive_duration("timeout", "no step would ever be done");
    let retries = table.number("retries", 0, u32::MAX).unwrap_or_default();
    let delay = table.duration("delay").unwrap_or(DEFAULT_DELAY);
    let warn_only = table.bool("warn_only");
    let sudo = read_sudo(&mut table);
    let repeatable = table.bool("repeatable");
    let dead_man = read_dead_man(&mut table, known);
    table.finish();
    let step = name.clone().zip(body).map(|(name, body)| Step {
        name: name.into_inner(),
        body,
        creates,
        unless,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        retries,
        delay,
        warn_only,
        sudo,
        repeatable,
        dead_man,
    });
    (name, step)
}

/// Exactly one of `run`, `upload` and `link`.
fn read_body(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let kinds = ["run", "upload", "link"];
    let there: Vec<&str> = kinds.into_iter().filter(|kind| table.key_span(kind).is_some()).collect();
    let run = read_run(table, there.contains(&"run"), known);
    let upload = table.table("upload", "`upload`").and_then(|table| read_upload(table, known));
    let link = table.table("link", "`link`").and_then(|table| read_link(table, known));
    match there[..] {
        [_] => run.or(upload).or(link),
        [] => {
            table.doc.wrong(table.span.clone(), "a step needs one of `run`, `upload` and `link`");
            None
        }
        [first, second, ..] => {
            let message = format!("a step cannot have both `{first}` and `{second}`");
            table.doc.report(table.key_span(second), message, "write two steps".to_string());
            None
        }
    }
}

fn read_run(table: &mut Reader<'_>, is_run: bool, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let script = if is_run { table.required("run") } else { table.string("run") };
    let dir = text(table, "in", known);
    let env = table.entries("env").into_iter().filter_map(|(name, value)| {
        let value = env_value(doc, &name, value, known)?;
        Some((name.into_inner(), value))
    });
    let env: BTreeMap<String, String> = env.collect();
    if !is_run {
        for key in ["in", "env"] {
            if let Some(span) = table.key_span(key) {
                doc.wrong(span, format!("`{key}` goes with `run` only"));
            }
        }
    }
    let script = script?;
    templates::names(doc, "run", &script, known);
    Some(StepBody::Run { script: script.into_inner(), dir, env })
}

/// A variable of a step's environment: a string, or a number as it is written.
fn env_value(
    doc: Doc<'_>,
    name: &Spanned<String>,
    value: &Spanned<DeValue<'_>>,
    known: &Known,
) -> Option<String> {
    if !crate::domain::name::is_identifier(name.get_ref()) {
        doc.wrong(name.span(), format!("`{}` cannot name an environment variable", name.get_ref()));
    }
    match value.get_ref() {
        DeValue::String(text) => {
            let text = Spanned::new(value.span(), text.to_string());
            templates::names(doc, name.get_ref(), &text, known);
            Some(text.into_inner())
        }
        DeValue::Integer(number) => Some(number.to_string()),
        _ => {
            doc.wrong(value.span(), format!("`{}` is a string or a whole number", name.get_ref()));
            None
        }
    }
}

fn read_upload(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let from = required_text(&mut table, "from", known);
    let to = required_text(&mut table, "to", known).map(Spanned::into_inner);
    let mode = read_mode(&mut table).unwrap_or(DEFAULT_MODE);
    let template = table.bool("template");
    let doc = table.doc;
    table.finish();
    let from = from?;
    if !is_template(from.get_ref())
        && let Err(why) = check_path(from.get_ref())
    {
        doc.wrong(from.span(), format!("`from`: {why}"));
    }
    let path = from.into_inner();
    let source = match template {
        true => Source::Template { path },
        false => Source::File { path, sha256: String::new() },
    };
    Some(StepBody::Upload { source, to: to?, mode })
}

fn read_mode(table: &mut Reader<'_>) -> Option<u32> {
    let hint = || "octal digits as chmod reads them, such as \"0644\"".to_string();
    if let Some(value) = table.value("mode").filter(|value| !value.get_ref().is_str()) {
        table.doc.report(value.span(), "`mode` is a string", hint());
        return None;
    }
    let text = table.string("mode")?;
    let digits = text.get_ref().bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text.get_ref(), 8).ok().filter(|mode| digits && *mode <= LARGEST_MODE);
    if mode.is_none() {
        let message = format!("`mode` cannot be `{}`", text.get_ref());
        table.doc.report(
            text.span(),
            message,
            "octal digits as chmod reads them, such as \"0644\"".to_string(),
        );
    }
    mode
}

fn read_link(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let from = required_text(&mut table, "from", known).map(Spanned::into_inner);
    let at = required_text(&mut table, "at", known).map(Spanned::into_inner);
    table.finish();
    Some(StepBody::Link { from: from?, at: at? })
}

fn read_sudo(table: &mut Reader<'_>) -> Sudo {
    match table.value("sudo").map(Spanned::get_ref) {
        None | Some(DeValue::Boolean(false)) => Sudo::No,
        Some(DeValue::Boolean(true)) => Sudo::Root,
        Some(DeValue::String(_)) => table.word("sudo").map(Sudo::User).unwrap_or_default(),
        Some(_) => {
            let span = table.value("sudo").map(Spanned::span);
            table.doc.wrong(span, "`sudo` is true, false, or the name of a user");
            Sudo::No
        }
    }
}

/// `dead_man` and `undo` go together, and with `run` only: an upload or a link cuts nobody off.
fn read_dead_man(table: &mut Reader<'_>, known: &Known) -> Option<DeadMan> {
    let span = table.key_span("dead_man");
    let within = table.positive_duration("dead_man", "nobody could confirm it in time");
    let undo = text(table, "undo", known);
    let doc = table.doc;
    match (span, table.key_span("undo")) {
        (None, None) => return None,
        (Some(span), None) => {
            let hint = "write undo = \"...\": what the host runs when nobody comes back".to_string();
            doc.report(span, "`dead_man` needs `undo`", hint);
        }
        (None, Some(span)) => doc.wrong(span, "`undo` goes with `dead_man` only"),
        (Some(span), Some(_)) if table.key_span("run").is_none() => {
            doc.wrong(span, "`dead_man` goes with `run` only");
        }
        (Some(_), Some(_)) => {}
    }
    Some(DeadMan { within: within?, undo: undo? })
}

fn text(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<String> {
    let text = table.string(key)?;
    if text.get_ref().trim().is_empty() {
        table.doc.wrong(text.span(), format!("`{key}` is empty"));
        return None;
    }
    templates::names(table.doc, key, &text, known);
    Some(text.into_inner())
}

fn required_text(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<Spanned<String>> {
    let text = table.required(key)?;
    templates::names(table.doc, key, &text, known);
    Some(text)
}
