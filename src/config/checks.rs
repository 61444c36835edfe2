//! `checks/NAME.toml`: one set of checks.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Doc;
use super::reader::{self, Reader};
use super::{templates, watching};
use crate::domain::check::{BodyExpect, Check, Expect, Probe, Retry};
use crate::domain::range::Range;
use crate::domain::template::{self, is_template};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_ADDRESS: &str = "127.0.0.1";

/// Keys that only a `run` check reads.
const RUN_KEYS: [&str; 4] = ["exit", "stdout", "warning", "critical"];

/// Reads one set. `secrets` are names that its templates cannot use.
pub(super) fn read(doc: Doc<'_>, secrets: &BTreeSet<String>) -> Vec<Check> {
    let (doc, table) = reader::parse(doc);
    table.values().for_each(|value| refuse_secrets(doc, value, secrets));
    let mut file = Reader::new(doc, "a set of checks", &table, None);
    let tables = file.required_tables("check", "a check");
    let watching = watching::read_set(&mut file);
    file.finish();
    let mut names = BTreeSet::new();
    let mut checks = Vec::new();
    for table in tables {
        let (name, check) = read_check(table, &watching);
        if let Some(name) = name.filter(|name| !names.insert(name.get_ref().clone())) {
            doc.wrong(name.span(), format!("two checks are called `{}`", name.get_ref()));
        }
        checks.extend(check);
    }
    checks
}

/// What a check looks for, and what it sees, is shown.
fn refuse_secrets(doc: Doc<'_>, value: &Spanned<DeValue<'_>>, secrets: &BTreeSet<String>) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| refuse_secrets(doc, value, secrets)),
        DeValue::Array(items) => items.iter().for_each(|value| refuse_secrets(doc, value, secrets)),
        DeValue::String(text) => {
            for name in template::names_used(text).iter().filter(|name| secrets.contains(*name)) {
                let message =
                    format!("a check cannot read the secret `{name}`: what checks ask and see is shown");
                let hint = "let a script on the host read it from a file of its own".to_string();
                doc.report(value.span(), message, hint);
            }
        }
        _ => {}
    }
}

/// The name apart from the check: it is taken even where something else is wrong.
fn read_check(mut table: Reader<'_>, of_set: &watching::Words) -> (Option<Spanned<String>>, Option<Check>) {
    let name = table.required("name");
    let timeout = table.positive_duration("timeout", "no check would ever be done");
    let retry = table.table("retry", "`retry`").map(read_retry).unwrap_or_default();
    let probe = read_probe(&mut table);
    let watching = watching::read(&mut table, of_set);
    table.finish();
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    let check = name.clone().zip(probe).map(|(name, probe)| Check {
        name: name.into_inner(),
        probe,
        timeout,
        retry,
        watching,
    });
    (name, check)
}

fn read_retry(mut table: Reader<'_>) -> Retry {
    let default = Retry::default();
    let retry = Retry {
        interval: table
            .positive_duration("interval", "the host would be asked without a pause")
            .unwrap_or(default.interval),
        deadline: table.duration("deadline").unwrap_or(default.deadline),
        successes: table.number("successes", 1, u32::MAX).unwrap_or(default.successes),
    };
    table.finish();
    retry
}

/// Exactly one of `run`, `http` and `tcp`.
fn read_probe(table: &mut Reader<'_>) -> Option<Probe> {
    let doc = table.doc;
    let kinds = ["run", "http", "tcp"];
    let there: Vec<&str> = kinds.into_iter().filter(|kind| table.key_span(kind).is_some()).collect();
    let run = read_run(table, there.contains(&"run"));
    let http = table.table("http", "`http`").and_then(read_http);
    let tcp = table.table("tcp", "`tcp`").and_then(|mut tcp| {
        let probe = read_tcp(&mut tcp);
        tcp.finish();
        probe
    });
    match there[..] {
        [_] => run.or(http).or(tcp),
        [] => {
            doc.wrong(table.span.clone(), "a check needs one of `run`, `http` and `tcp`");
            None
        }
        [first, second, ..] => {
            doc.wrong(table.key_span(second), format!("a check cannot have both `{first}` and `{second}`"));
            None
        }
    }
}

fn read_run(table: &mut Reader<'_>, is_run: bool) -> Option<Probe> {
    let command = if is_run { table.required("run") } else { table.string("run") };
    let exit = table.number("exit", 0, 255).unwrap_or_default();
    let mut expect = Expect { exit, ..Expect::default() };
    if let Some(mut stdout) = table.table("stdout", "`stdout`") {
        expect.equals = text(&mut stdout, "equals");
        expect.contains = text(&mut stdout, "contains");
        expect.matches = regex(&mut stdout, "matches");
        stdout.finish();
    }
    expect.warning = range(table, "warning");
    expect.critical = range(table, "critical");
    if !is_run {
        for key in RUN_KEYS {
            if let Some(span) = table.key_span(key) {
                table.doc.wrong(span, format!("`{key}` goes with `run` only"));
            }
        }
    }
    let command = command?;
    templates::syntax(table.doc, "run", &command);
    Some(Probe::Run { command: command.into_inner(), expect })
}

/// `port`, `path`, and what is to be answered.
pub(super) fn read_http(mut table: Reader<'_>) -> Option<Probe> {
    let port = required_port(&mut table);
    let path = table.string("path");
    if let Some(path) = &path
        && !path.get_ref().starts_with(['/', '{'])
    {
        table.doc.wrong(path.span(), "`path` begins with /");
    }
    let path = path.filter(|path| templates::syntax(table.doc, "path", path)).map(Spanned::into_inner);
    let address = address(&mut table);
    let host = text(&mut table, "host");
    let status = table.number("status", 100, 599).and_then(|status| u16::try_from(status).ok());
    let body = BodyExpect {
        contains: text(&mut table, "body_contains"),
        matches: regex(&mut table, "body_matches"),
    };
    table.finish();
    let path = path.unwrap_or_else(|| "/".into());
    Some(Probe::Http { address, port: port?, path, host, status: status.unwrap_or(200), body })
}

/// `port` and `address`.
pub(super) fn read_tcp(table: &mut Reader<'_>) -> Option<Probe> {
    let (port, address) = (required_port(table), address(table));
    Some(Probe::Tcp { address, port: port? })
}

/// A number, or a template that becomes one for each host.
fn required_port(table: &mut Reader<'_>) -> Option<String> {
    let Some(value) = table.value("port") else {
        table.missing("port");
        return None;
    };
    match value.get_ref() {
        DeValue::String(text) if is_template(text) => self::text(table, "port"),
        _ => table.port("port").map(|port| port.to_string()),
    }
}

fn address(table: &mut Reader<'_>) -> String {
    text(table, "address").unwrap_or_else(|| DEFAULT_ADDRESS.into())
}

fn text(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = table.string(key)?;
    templates::syntax(table.doc, key, &text);
    Some(text.into_inner())
}

fn regex(table: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let text = table.string(key)?;
    if templates::syntax(table.doc, key, &text) {
        templates::pattern(table.doc, key, &text);
    }
    Some(text.into_inner())
}

/// A threshold: Nagios' text, or a bare number.
fn range(table: &mut Reader<'_>, key: &'static str) -> Option<Range> {
    let value = table.value(key)?;
    let text = match value.get_ref() {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        _ => table.string(key)?.into_inner(),
    };
    text.parse().map_err(|why: String| table.doc.wrong(value.span(), format!("`{key}`: {why}"))).ok()
}
