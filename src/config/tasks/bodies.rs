//! The body of a step: one key for each kind.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::checks::services;
use crate::config::tasks::fields::{required_text, text};
use crate::config::text::hints::known_names;
use crate::config::text::keys::{In, Key};
use crate::config::text::kinds::kinds;
use crate::config::text::paths::check_path;
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates::{self, Known};
use crate::domain::base::paths::{check_below, check_delete};
use crate::domain::task::task::{
    Awaited, Block, Line, LineState, PackageState, ReleaseLayout, ServiceState, Source, StepBody, Upload,
};
use crate::domain::value::template::is_template;

kinds! {
    /// The kinds of steps, as tasks write them.
    Kind {
        Run = "run",
        Script = "script",
        Upload = "upload",
        Download = "download",
        Line = "line",
        Block = "block",
        Link = "link",
        Directory = "directory",
        Delete = "delete",
        Package = "package",
        Service = "service",
        Archive = "archive",
        Release = "release",
        WaitFor = "wait_for",
        Reboot = "reboot",
        Check = "check",
        Pause = "pause",
        Confirm = "confirm",
        Local = "local",
        Task = "task",
    }
}

const DEFAULT_MODE: u32 = 0o644;
const LARGEST_MODE: u32 = 0o7777;
const DEFAULT_KEEP: u32 = 5;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const LARGEST_STRIP: u32 = 100;

const LINE_STATES: [(&str, LineState); 4] = [
    ("present", LineState::Present),
    ("absent", LineState::Absent),
    ("commented", LineState::Commented),
    ("uncommented", LineState::Uncommented),
];

const PACKAGE_STATES: [(&str, PackageState); 3] =
    [("present", PackageState::Present), ("latest", PackageState::Latest), ("absent", PackageState::Absent)];

const SERVICE_STATES: [(&str, ServiceState); 4] = [
    ("started", ServiceState::Started),
    ("stopped", ServiceState::Stopped),
    ("restarted", ServiceState::Restarted),
    ("reloaded", ServiceState::Reloaded),
];

/// Reads the body of a step, which must have exactly one kind.
pub fn read(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let there: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| table.key_span(kind.key()).is_some()).collect();
    let body = match there[..] {
        [kind] => one(table, kind, known),
        [] => {
            let hint = known_names(Kind::keys());
            table.doc.report(table.span.clone(), "a step needs one key that says what it does", hint);
            None
        }
        [first, second, ..] => {
            let message = format!("a step cannot have both `{}` and `{}`", first.key(), second.key());
            table.doc.report(table.key_span(second.key()), message, "write two steps".to_string());
            None
        }
    };
    if let Some(span) = table.key_span("with").filter(|_| !there.contains(&Kind::Task)) {
        table.doc.wrong(span, "`with` goes with `task` only");
    }
    // Keys that were not read are known, too.
    Kind::keys().into_iter().chain(["with"]).for_each(|key| _ = table.value(key));
    body
}

fn one(table: &mut Reader<'_>, kind: Kind, known: &Known) -> Option<StepBody> {
    let key = kind.key();
    let string = |table: &mut Reader<'_>| required_text(table, key, known).map(Spanned::into_inner);
    match kind {
        Kind::Run | Kind::Local => string(table).map(|script| StepBody::Run { script }),
        Kind::Check => string(table).map(|name| StepBody::Check { name, check: None }),
        Kind::Confirm => string(table).map(|text| StepBody::Confirm { text }),
        Kind::Pause => {
            table.positive_duration("pause", "there would be no pause").map(|time| StepBody::Pause { time })
        }
        Kind::Delete => read_delete(table, known),
        Kind::Task => read_call(table, known),
        Kind::Reboot => read_reboot(table, known),
        Kind::Script => read_script(inner(table, kind)?, known),
        Kind::Upload => read_upload(inner(table, kind)?, known),
        Kind::Download => read_download(inner(table, kind)?, known),
        Kind::Line => read_line(inner(table, kind)?, known),
        Kind::Block => read_block(inner(table, kind)?, known),
        Kind::Link => read_pair(inner(table, kind)?, ["from", "at"], known)
            .map(|[from, at]| StepBody::Link { from, at }),
        Kind::Directory => read_directory(inner(table, kind)?, known),
        Kind::Package => read_package(inner(table, kind)?, known),
        Kind::Service => read_service(inner(table, kind)?, known),
        Kind::Archive => read_archive(inner(table, kind)?, known),
        Kind::Release => read_release(inner(table, kind)?, known),
        Kind::WaitFor => read_wait(inner(table, kind)?, known),
    }
}

fn inner<'t>(table: &mut Reader<'t>, kind: Kind) -> Option<Reader<'t>> {
    table.table(kind.key(), format!("`{}`", kind.key()))
}

fn read_delete(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required_text(table, "delete", known)?;
    if !is_template(path.get_ref())
        && let Err(why) = check_delete(path.get_ref())
    {
        table.doc.wrong(path.span(), why);
    }
    Some(StepBody::Delete { path: path.into_inner() })
}

fn required(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<String> {
    required_text(table, key, known).map(Spanned::into_inner)
}

fn read_pair(mut table: Reader<'_>, keys: [&'static str; 2], known: &Known) -> Option<[String; 2]> {
    let (one, other) = (required(&mut table, keys[0], known), required(&mut table, keys[1], known));
    table.finish();
    Some([one?, other?])
}

fn read_download(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let from = required(&mut table, "from", known);
    let to = required_text(&mut table, "to", known);
    if let Some(to) = to.as_ref().filter(|to| !is_template(to.get_ref()))
        && let Err(why) = check_below(to.get_ref())
    {
        table.doc.wrong(to.span(), format!("`to`: {why}"));
    }
    table.finish();
    Some(StepBody::Download { from: from?, to: to?.into_inner() })
}

/// `task = "restart"`, with its parameters: `with = { ... }`.
fn read_call(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let name = table.required("task");
    let mut with = Vec::new();
    for (key, value) in table.entries("with") {
        if let DeValue::String(text) = value.get_ref() {
            templates::names(doc, key.get_ref(), &Spanned::new(value.span(), text.to_string()), known);
        }
        with.push((key.into_inner(), reader::json(doc, value)));
    }
    name.map(|name| StepBody::Task { name: name.into_inner(), with })
}

fn read_script(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_source(&mut table, "from", known);
    let interpreter = text(&mut table, "interpreter", known).unwrap_or_else(|| "sh".into());
    let args = texts(&mut table, "args", known);
    table.finish();
    Some(StepBody::Script { source: source?, interpreter, args })
}

fn texts(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Vec<String> {
    let doc = table.doc;
    let all = table.strings(key);
    all.iter().for_each(|text| templates::names(doc, key, text, known));
    all.into_iter().map(Spanned::into_inner).collect()
}

/// A file of `files/`; with `template = true` a template, and with a `/` at its end a directory.
fn read_source(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<Source> {
    let from = required_text(table, key, known);
    let template = table.key_span("template").is_some() && table.bool("template");
    let from = from?;
    if !is_template(from.get_ref())
        && let Err(why) = check_path(from.get_ref())
    {
        table.doc.wrong(from.span(), format!("`{key}`: {why}"));
    }
    let path = from.into_inner();
    Some(match path.strip_suffix('/') {
        Some(path) => Source::Tree { path: path.into(), files: vec![] },
        None if template => Source::Template { path },
        None => Source::File { path, sha256: String::new() },
    })
}

fn read_upload(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_source(&mut table, "from", known);
    let to = required(&mut table, "to", known);
    let mode = read_mode(&mut table).unwrap_or(DEFAULT_MODE);
    table.bool("template");
    let owner = text(&mut table, "owner", known);
    let backup = table.bool("backup");
    let validate = text(&mut table, "validate", known);
    table.finish();
    Some(StepBody::Upload(Upload { source: source?, to: to?, mode, owner, backup, validate }))
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
        table.doc.report(text.span(), format!("`mode` cannot be `{}`", text.get_ref()), hint());
    }
    mode
}

fn read_line(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, "path", known);
    let line = text(&mut table, "line", known);
    let matches = read_pattern(&mut table, "matches", known);
    let state = table.one_of("state", &LINE_STATES).unwrap_or(LineState::Present);
    let after = read_pattern(&mut table, "after", known);
    let doc = table.doc;
    match (&line, &matches, state) {
        (None, _, LineState::Present) => table.missing("line"),
        (None, None, _) => {
            let hint = "which lines are meant".to_string();
            doc.report(table.span.clone(), "`line` needs `line` or `matches`", hint);
        }
        _ => {}
    }
    let line = Line {
        path: path.unwrap_or_default(),
        line,
        matches,
        state,
        after,
        comment: read_comment(&mut table),
        create: table.bool("create"),
        backup: table.bool("backup"),
        validate: text(&mut table, "validate", known),
    };
    table.finish();
    (!line.path.is_empty()).then_some(StepBody::Line(line))
}

fn read_comment(table: &mut Reader<'_>) -> String {
    table.string("comment").map_or_else(|| "#".into(), Spanned::into_inner)
}

fn read_pattern(table: &mut Reader<'_>, key: &'static str, known: &Known) -> Option<String> {
    let doc = table.doc;
    let pattern = table.string(key)?;
    templates::names(doc, key, &pattern, known);
    templates::pattern(doc, key, &pattern);
    Some(pattern.into_inner())
}

fn read_block(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, "path", known);
    let present = table.one_of("state", &[("present", true), ("absent", false)]).unwrap_or(true);
    let text_of_it = match present {
        true => required(&mut table, "text", known),
        false => Some(text(&mut table, "text", known).unwrap_or_default()),
    };
    let marker = text(&mut table, "marker", known).unwrap_or_else(|| "rollcall".into());
    let after = read_pattern(&mut table, "after", known);
    let comment = read_comment(&mut table);
    let (create, backup) = (table.bool("create"), table.bool("backup"));
    let validate = text(&mut table, "validate", known);
    table.finish();
    let text = text_of_it?;
    Some(StepBody::Block(Block {
        path: path?,
        text,
        marker,
        present,
        after,
        comment,
        create,
        backup,
        validate,
    }))
}

fn read_directory(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, "path", known);
    let mode = read_mode(&mut table);
    let owner = text(&mut table, "owner", known);
    table.finish();
    Some(StepBody::Directory { path: path?, mode, owner })
}

fn read_package(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let names = texts(&mut table, "name", known);
    if names.is_empty() {
        table.missing("name");
    }
    let state = table.one_of("state", &PACKAGE_STATES).unwrap_or(PackageState::Present);
    let version = text(&mut table, "version", known);
    if version.is_some() && (names.len() > 1 || state != PackageState::Present) {
        let hint = "one package, with `state` present".to_string();
        doc.report(table.key_span("version"), "`version` goes with one package that is to be present", hint);
    }
    let refresh = table.bool("refresh");
    table.finish();
    (!names.is_empty()).then_some(StepBody::Package { names, state, version, refresh })
}

fn read_service(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let name = required(&mut table, "name", known);
    let state = table.one_of("state", &SERVICE_STATES);
    let enabled = table.key_span("enabled").is_some().then(|| table.bool("enabled"));
    table.value("enabled");
    if state.is_none() && enabled.is_none() && table.key_span("state").is_none() {
        let hint = "what is it to be?".to_string();
        table.doc.report(table.span.clone(), "`service` needs `state` or `enabled`", hint);
    }
    table.finish();
    Some(StepBody::Service { name: name?, state, enabled })
}

/// `from` names a file of `files/`, `path` one on the host.
fn read_archived(table: &mut Reader<'_>, known: &Known) -> Option<Source> {
    match (table.key_span("from"), table.key_span("path")) {
        (Some(_), Some(span)) => {
            table.doc.wrong(span, "an archive is `from` files/, or at a `path` of the host, not both");
            None
        }
        (None, Some(_)) => required(table, "path", known).map(|path| Source::Remote { path }),
        (from, None) => match read_source(table, "from", known)? {
            Source::Tree { .. } => {
                table.doc.wrong(from, "`from` is a directory, and no archive");
                None
            }
            source => Some(source),
        },
    }
}

fn read_archive(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_archived(&mut table, known);
    let to = required(&mut table, "to", known);
    let strip = table.number("strip", 0, LARGEST_STRIP).unwrap_or_default();
    table.value("path");
    table.value("from");
    table.finish();
    Some(StepBody::Archive { source: source?, to: to?, strip })
}

fn read_release(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_archived(&mut table, known);
    let (root, name) = (required(&mut table, "root", known), required(&mut table, "name", known));
    let strip = table.number("strip", 0, LARGEST_STRIP).unwrap_or_default();
    let shared = texts(&mut table, "shared", known);
    let keep = table.number("keep", 1, u32::MAX).unwrap_or(DEFAULT_KEEP);
    table.value("path");
    table.value("from");
    table.finish();
    Some(StepBody::Release(ReleaseLayout { root: root?, name: name?, source: source?, strip, shared, keep }))
}

fn read_wait(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let kinds = ["path", "command", "port", "http"];
    let there: Vec<&str> = kinds.into_iter().filter(|kind| table.key_span(kind).is_some()).collect();
    let path = text(&mut table, "path", known).map(Awaited::Path);
    let command = text(&mut table, "command", known).map(Awaited::Command);
    let probe = match table.key_span("port") {
        Some(_) => {
            services::read_awaited_port(&mut table, (Key::new("port", ()), Key::new("address", "127.0.0.1")))
        }
        None => table.get(Key::<In<services::HttpKeys>>::new("http", ())).and_then(services::read_awaited),
    };
    ["port", "address", "http"].into_iter().for_each(|key| _ = table.value(key));
    if there.len() != 1 {
        let message = "`wait_for` needs one of `path`, `command`, `port` and `http`";
        table.doc.wrong(table.span.clone(), message);
    }
    let gone = table.one_of("state", &[("present", false), ("absent", true)]).unwrap_or(false);
    let interval = table.positive_duration("interval", "it would never rest").unwrap_or(DEFAULT_INTERVAL);
    table.finish();
    let probe = probe.map(|probe| Awaited::Probe(Box::new(probe)));
    path.or(command).or(probe).map(|what| StepBody::WaitFor { what, gone, interval })
}

/// `reboot = true`, or a table with details.
fn read_reboot(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let usual = || ("reboot".to_string(), "cat /proc/sys/kernel/random/boot_id".to_string());
    let doc = table.doc;
    let value = table.value("reboot")?;
    match value.get_ref() {
        DeValue::Boolean(true) => {
            let (command, boot_id) = usual();
            Some(StepBody::Reboot { command, boot_id })
        }
        DeValue::Table(_) => {
            let mut inner = table.table("reboot", "`reboot`")?;
            let command = text(&mut inner, "command", known).unwrap_or_else(|| usual().0);
            let boot_id = text(&mut inner, "boot_id", known).unwrap_or_else(|| usual().1);
            inner.finish();
            Some(StepBody::Reboot { command, boot_id })
        }
        _ => {
            doc.wrong(value.span(), "`reboot` is true, or a table of `command` and `boot_id`");
            None
        }
    }
}
