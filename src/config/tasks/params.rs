//! `params` of a task.

use std::collections::BTreeMap;

use toml::Spanned;

use super::fetched::check_origin;
use super::keys::{ParamKeys, TaskKeys};
use crate::config::text::diagnostic::Doc;
use crate::config::text::reader::Reader;
use crate::config::text::templates;
use crate::config::text::vars::RESERVED_VARS;
use crate::domain::base::name::is_identifier;
use crate::domain::task::task::Source;
use crate::domain::value::param::{ArtifactOrigin, Param, ParamKind};

/// Reads all of them.
pub fn read(file: &mut Reader<'_>) -> BTreeMap<String, Param> {
    let doc = file.doc;
    let mut params = BTreeMap::new();
    for (name, value) in file.entries(TaskKeys::PARAMS) {
        check_name(doc, &name);
        let what = format!("param `{}`", name.get_ref());
        let Some(table) = Reader::inside::<ParamKeys>(doc, what, name.get_ref(), value) else { continue };
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
    let pattern = table.get(ParamKeys::PATTERN);
    let default = table.get(ParamKeys::DEFAULT);
    let secret = table.or_default(ParamKeys::SECRET);
    let description = table.get(ParamKeys::DESCRIPTION).map(Spanned::into_inner).unwrap_or_default();
    let origin = read_origin(&mut table, &kind);
    if kind == ParamKind::Artifact {
        check_artifact(&table);
    }
    if let Some(pattern) = &pattern {
        templates::whole_pattern(doc, ParamKeys::PATTERN.name, pattern, default.as_ref());
    }
    if secret {
        check_secret(&table, &kind, default.as_ref());
    }
    table.finish();
    let pattern = pattern.map(Spanned::into_inner);
    // The pattern was already compared with the default, with its own message.
    let param = Param { kind, pattern: None, default: None, secret, origin, description };
    if let Some(default) = default.as_ref().filter(|_| !secret)
        && let Err(why) = param.check(name, default.get_ref())
    {
        doc.wrong(default.span(), format!("the default cannot be: {why}"));
    }
    Param { pattern, default: default.map(Spanned::into_inner), ..param }
}

fn read_kind(table: &mut Reader<'_>) -> ParamKind {
    let kind = table.get(ParamKeys::TYPE);
    let choices = table.get(ParamKeys::CHOICES).unwrap_or_default();
    let choices: Vec<String> = choices.into_iter().map(Spanned::into_inner).collect();
    match (kind, table.key_span(ParamKeys::CHOICES.name)) {
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
        (kind, None) => kind.unwrap_or(ParamKeys::TYPE.default),
    }
}

/// `url` and `sha256`, which belong together.
fn read_origin(table: &mut Reader<'_>, kind: &ParamKind) -> Option<ArtifactOrigin> {
    let (url, sha256) = (table.get(ParamKeys::URL), table.get(ParamKeys::SHA256));
    let (url, sha256) = match (url, sha256) {
        (Some(url), Some(sha256)) => (url, sha256),
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => {
            let hint =
                "without the digest, rollcall could not say that it fetched the right file".to_string();
            table.doc.report(one.span(), "`url` and `sha256` belong together", hint);
            return None;
        }
    };
    if *kind != ParamKind::Artifact {
        table.doc.wrong(url.span(), "`url` goes with type = \"artifact\" only");
    }
    check_origin(table.doc, &url, &sha256);
    Some(ArtifactOrigin { url: url.into_inner(), sha256: sha256.into_inner(), fixed: false })
}

/// Makes a parameter of each file that a step fetches, so that plans, runs and releases name it by its content.
pub fn of_steps<'s>(params: &mut BTreeMap<String, Param>, sources: impl Iterator<Item = &'s mut Source>) {
    for source in sources {
        let Source::Fetched { url, sha256 } = source else { continue };
        let origin = ArtifactOrigin { url: url.clone(), sha256: sha256.clone(), fixed: true };
        let same = |(_, param): &(&String, &Param)| param.origin.as_ref() == Some(&origin);
        let known = params.iter().find(same).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| free_name(params));
        *source = Source::File { path: format!("{{{{ {name} }}}}"), sha256: String::new() };
        let param = Param { kind: ParamKind::Artifact, origin: Some(origin), ..Param::default() };
        params.insert(name, param);
    }
}

fn free_name(params: &BTreeMap<String, Param>) -> String {
    let names = (1..=params.len() + 1).map(|number| format!("fetched_{number}"));
    names.into_iter().find(|name| !params.contains_key(name)).unwrap_or_default()
}

/// The name of an artifact is its content, which a file cannot have written down.
fn check_artifact(table: &Reader<'_>) {
    for key in [ParamKeys::PATTERN.name, ParamKeys::DEFAULT.name, ParamKeys::SECRET.name] {
        if let Some(span) = table.key_span(key) {
            table.doc.wrong(span, format!("an artifact has no `{key}`"));
        }
    }
}

fn check_secret(table: &Reader<'_>, kind: &ParamKind, default: Option<&Spanned<String>>) {
    if *kind != ParamKind::Text {
        table.doc.wrong(
            table.key_span(ParamKeys::SECRET.name),
            "a secret param is a string: few values are no secret",
        );
    }
    if let Some(default) = default {
        table.doc.hide(default.span());
        let hint =
            "write a var for it, such as [vars] NAME = { from_file = \"...\", secret = true }".to_string();
        table.doc.report(
            table.key_span(ParamKeys::DEFAULT.name),
            "a secret param cannot have a default: it would stand here",
            hint,
        );
    }
}
