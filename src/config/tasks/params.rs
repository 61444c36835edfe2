//! `params` of a task.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::text::diagnostic::Doc;
use crate::config::text::reader::Reader;
use crate::config::text::templates;
use crate::config::text::vars::RESERVED_VARS;
use crate::domain::base::name::is_identifier;
use crate::domain::value::param::{Param, ParamKind};

/// The types of parameters. Whether a choice has choices is checked later.
const TYPES: [(&str, ParamKind); 4] = [
    ("string", ParamKind::Text),
    ("number", ParamKind::Number),
    ("bool", ParamKind::Bool),
    ("choice", ParamKind::Choice(Vec::new())),
];

/// Reads all of them.
pub fn read(file: &mut Reader<'_>) -> BTreeMap<String, Param> {
    let doc = file.doc;
    let mut params = BTreeMap::new();
    for (name, value) in file.entries("params") {
        check_name(doc, &name);
        let what = format!("param `{}`", name.get_ref());
        let Some(table) = Reader::of_value(doc, what, name.get_ref(), value) else { continue };
        let param = read_param(name.get_ref(), table);
        params.insert(name.into_inner(), param);
    }
    params
}

fn check_name(doc: Doc<'_>, name: &Spanned<String>) {
    if !is_identifier(name.get_ref()) {
        let message = format!("`{}` cannot name a param: no template could read it", name.get_ref());
        doc.report(name.span(), message, "use letters, digits and _".to_string());
    } else if RESERVED_VARS.contains(&name.get_ref().as_str()) {
        doc.wrong(name.span(), format!("a param cannot be called `{}`: templates use it", name.get_ref()));
    }
}

fn read_param(name: &str, mut table: Reader<'_>) -> Param {
    let doc = table.doc;
    let kind = read_kind(&mut table);
    let pattern = table.string("pattern");
    let default = read_default(&mut table);
    let secret = table.bool("secret");
    let description = table.string("description").map(Spanned::into_inner).unwrap_or_default();
    if let Some(pattern) = &pattern {
        templates::whole_pattern(doc, "pattern", pattern, default.as_ref());
    }
    if secret {
        check_secret(&table, &kind, default.as_ref());
    }
    table.finish();
    let pattern = pattern.map(Spanned::into_inner);
    // The pattern was already compared with the default, with its own message.
    let param = Param { kind, pattern: None, default: None, secret, description };
    if let Some(default) = default.as_ref().filter(|_| !secret)
        && let Err(why) = param.check(name, default.get_ref())
    {
        doc.wrong(default.span(), format!("the default cannot be: {why}"));
    }
    Param { pattern, default: default.map(Spanned::into_inner), ..param }
}

fn read_kind(table: &mut Reader<'_>) -> ParamKind {
    let kind = table.one_of("type", &TYPES);
    let choices: Vec<String> = table.strings("choices").into_iter().map(Spanned::into_inner).collect();
    match (kind, table.key_span("choices")) {
        (Some(ParamKind::Choice(_)) | None, Some(span)) => {
            if choices.is_empty() {
                table.doc.wrong(span, "`choices` is empty: no value could be given");
            }
            ParamKind::Choice(choices)
        }
        (Some(ParamKind::Choice(_)), None) => {
            let hint = "such as choices = [\"prod\", \"test\"]".to_string();
            table.doc.report(table.span.clone(), "a choice needs `choices`", hint);
            ParamKind::Text
        }
        (Some(kind), Some(span)) => {
            table.doc.wrong(span, "`choices` goes with type = \"choice\" only");
            kind
        }
        (kind, None) => kind.unwrap_or_default(),
    }
}

/// A default in the form of the command line, or as a number, or true or false.
fn read_default(table: &mut Reader<'_>) -> Option<Spanned<String>> {
    let value = table.value("default")?;
    let text = match value.get_ref() {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        _ => return table.string("default"),
    };
    Some(Spanned::new(value.span(), text))
}

fn check_secret(table: &Reader<'_>, kind: &ParamKind, default: Option<&Spanned<String>>) {
    if *kind != ParamKind::Text {
        table.doc.wrong(table.key_span("secret"), "a secret param is a string: few values are no secret");
    }
    if let Some(default) = default {
        table.doc.hide(default.span());
        let hint =
            "write a var for it, such as [vars] NAME = { from_file = \"...\", secret = true }".to_string();
        table.doc.report(
            table.key_span("default"),
            "a secret param cannot have a default: it would stand here",
            hint,
        );
    }
}
