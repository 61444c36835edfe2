//! The probe of a check: one key of `[[check]]` for each kind of probe.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Common, list, nothing_asserted, port_at, range, regex, required_text, some_text, text};
use super::services;
use crate::config::text::kinds::kinds;
use crate::config::text::reader::Reader;
use crate::config::text::templates;
use crate::domain::base::paths::check_below;
use crate::domain::base::range::Limits;
use crate::domain::check::probe::{
    Disk, Dns, Expect, FileProbe, Load, Log, Memory, Metric, Package, Plugin, Port, Probe, Process, Service,
};

kinds! {
    /// The kinds of probes.
    Kind {
        Run = "run",
        Plugin = "plugin",
        Metric = "metric",
        Http = "http",
        Tcp = "tcp",
        Tls = "tls",
        Dns = "dns",
        Port = "port",
        Process = "process",
        Service = "service",
        File = "file",
        Log = "log",
        Package = "package",
        Disk = "disk",
        Load = "load",
        Memory = "memory",
        Clock = "clock",
    }
}

/// Whether a kind has a number for `warning` and `critical`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    None,
    Some,
    /// It asserts nothing without them.
    Only,
}

impl Kind {
    fn number(self) -> Number {
        match self {
            Kind::Metric | Kind::Disk | Kind::Load | Kind::Memory | Kind::Clock => Number::Only,
            Kind::Run | Kind::Http | Kind::Tcp | Kind::Tls | Kind::Log => Number::Some,
            Kind::Plugin
            | Kind::Dns
            | Kind::Port
            | Kind::Process
            | Kind::Service
            | Kind::File
            | Kind::Package => Number::None,
        }
    }
}

/// Keys that only a `run` check reads.
const RUN_KEYS: [&str; 2] = ["exit", "stdout"];

/// Exactly one kind.
pub fn read(table: &mut Reader<'_>, common: Common) -> Option<Probe> {
    let doc = table.doc;
    // `plugin = true` makes `run` a plugin.
    let is_flag = table.value("plugin").is_some_and(|value| value.get_ref().as_bool().is_some());
    let is_there = |kind: &Kind| table.key_span(kind.key()).is_some() && !(*kind == Kind::Plugin && is_flag);
    let there: Vec<Kind> = Kind::ALL.iter().copied().filter(is_there).collect();
    // Every key is read, so that none is reported as unknown.
    let found: Vec<Option<Probe>> =
        Kind::ALL.iter().map(|kind| read_kind(table, *kind, &common, is_flag)).collect();
    match there[..] {
        [kind] => {
            check_numbers(table, kind, &common);
            found.into_iter().flatten().next()
        }
        [] => {
            let message = "a check needs a probe";
            doc.report(table.span.clone(), message, format!("one of {}", Kind::keys().join(", ")));
            None
        }
        [first, second, ..] => {
            let (first, second) = (first.key(), second.key());
            doc.wrong(table.key_span(second), format!("a check cannot have both `{first}` and `{second}`"));
            None
        }
    }
}

/// Limits need a number, and a number needs limits.
fn check_numbers(table: &Reader<'_>, kind: Kind, common: &Common) {
    let written = ["warning", "critical"].into_iter().find(|key| table.key_span(key).is_some());
    if let Some(key) = written.filter(|_| kind.number() == Number::None) {
        let with: Vec<&str> =
            Kind::ALL.iter().filter(|kind| kind.number() != Number::None).map(|kind| kind.key()).collect();
        table.doc.report(
            table.key_span(key),
            format!("`{}` has no number that `{key}` could be for", kind.key()),
            format!("they are for {}", with.join(", ")),
        );
        return;
    }
    let bare = kind.number() == Number::Only && !common.is_compared && written.is_none();
    // A range that could not be read was already reported.
    let idle = common.limits != Limits::default() && common.limits.assert_nothing();
    if bare || idle {
        nothing_asserted(
            table,
            written.unwrap_or(kind.key()),
            "give `warning` or `critical` a range, such as critical = \"90\"",
        );
    }
}

fn read_kind(table: &mut Reader<'_>, kind: Kind, common: &Common, is_flag: bool) -> Option<Probe> {
    match kind {
        Kind::Run => read_run(table, common, is_flag),
        Kind::Plugin if is_flag => None,
        Kind::Plugin => read_plugin(table),
        Kind::Metric => read_metric(table, common),
        Kind::Clock => table.bool("clock").then(|| Probe::Clock { limits: common.limits.clone() }),
        Kind::Load => flag_or_table(table, kind).map(|inner| read_load(inner, common.limits.clone())),
        Kind::Memory => flag_or_table(table, kind).map(|inner| read_memory(inner, common.limits.clone())),
        Kind::Http => services::read_http(inner(table, kind)?, common),
        Kind::Tcp => in_table(table, kind, |table| services::read_tcp(table, common)),
        Kind::Tls => in_table(table, kind, |table| services::read_tls(table, common)),
        Kind::Dns => in_table(table, kind, read_dns),
        Kind::Port => in_table(table, kind, read_port),
        Kind::Process => in_table(table, kind, read_process),
        Kind::Service => in_table(table, kind, read_service),
        Kind::File => in_table(table, kind, read_file),
        Kind::Log => in_table(table, kind, |table| read_log(table, common)),
        Kind::Package => in_table(table, kind, read_package),
        Kind::Disk => in_table(table, kind, |table| read_disk(table, common)),
    }
}

fn inner<'t>(table: &mut Reader<'t>, kind: Kind) -> Option<Reader<'t>> {
    table.table(kind.key(), format!("`{}`", kind.key()))
}

fn in_table<'t>(
    table: &mut Reader<'t>,
    kind: Kind,
    read: impl FnOnce(&mut Reader<'t>) -> Option<Probe>,
) -> Option<Probe> {
    let mut inner = inner(table, kind)?;
    let probe = read(&mut inner);
    inner.finish();
    probe
}

fn read_run(table: &mut Reader<'_>, common: &Common, is_plugin: bool) -> Option<Probe> {
    let is_run = table.value("run").is_some();
    if is_plugin && !is_run {
        table.doc.wrong(
            table.key_span("plugin"),
            "`plugin = true` goes with `run`; or write plugin = \"check_disk -w 10%\"",
        );
    }
    let command = if is_run { table.required("run") } else { None };
    let exit = table.number("exit", 0, 255).unwrap_or_default();
    let mut expect = Expect { exit, limits: common.limits.clone(), ..Expect::default() };
    if let Some(mut stdout) = table.table("stdout", "`stdout`") {
        expect.equals = text(&mut stdout, "equals");
        expect.contains = some_text(&mut stdout, "contains");
        expect.matches = regex(&mut stdout, "matches");
        stdout.finish();
    }
    if !is_run || is_plugin {
        for key in RUN_KEYS {
            if let Some(span) = table.key_span(key) {
                table.doc.wrong(span, format!("`{key}` goes with `run` only, and with no plugin"));
            }
        }
    }
    let command = command?;
    templates::script(table.doc, "run", &command);
    let command = command.into_inner();
    Some(if is_plugin {
        Probe::Plugin(Plugin { command, upload: None })
    } else {
        Probe::Run { command, expect }
    })
}

/// `plugin = "check_disk -w 10%"`, or one of `files/` with its arguments.
fn read_plugin(table: &mut Reader<'_>) -> Option<Probe> {
    let value = table.value("plugin")?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let command = table.required("plugin")?;
        templates::script(table.doc, "plugin", &command);
        return Some(Probe::Plugin(Plugin { command: command.into_inner(), upload: None }));
    }
    let mut inner = table.table("plugin", "`plugin`")?;
    let upload = inner.required("upload");
    if let Some(path) = &upload
        && let Err(why) = check_below(path.get_ref())
    {
        inner.doc.report(path.span(), format!("`upload`: {why}"), "a path below files/".to_string());
    }
    let args = inner.string("args");
    args.iter().for_each(|args| _ = templates::script(inner.doc, "args", args));
    let command = args.map(Spanned::into_inner).unwrap_or_default();
    inner.finish();
    Some(Probe::Plugin(Plugin { command, upload: Some(upload?.into_inner()) }))
}

fn read_metric(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let unit = table.string("unit");
    if table.value("metric").is_none() {
        if let Some(unit) = unit {
            table.doc.wrong(unit.span(), "`unit` goes with `metric` only");
        }
        return None;
    }
    let command = table.required("metric")?;
    templates::script(table.doc, "metric", &command);
    let unit = unit.map(Spanned::into_inner).unwrap_or_default();
    Some(Probe::Metric(Metric { command: command.into_inner(), unit, limits: common.limits.clone() }))
}

/// `load = true`, or a table with details. `None` if it is absent or false; the inner `None` means `true`.
fn flag_or_table<'t>(table: &mut Reader<'t>, kind: Kind) -> Option<Option<Reader<'t>>> {
    let value = table.value(kind.key())?;
    match value.get_ref() {
        DeValue::Table(_) => Some(inner(table, kind)),
        _ => table.bool(kind.key()).then_some(None),
    }
}

fn read_memory(inner: Option<Reader<'_>>, limits: Limits) -> Probe {
    let swap = inner.map(|mut inner| {
        let of = inner.one_of("of", &[("memory", false), ("swap", true)]);
        inner.finish();
        of.unwrap_or_default()
    });
    Probe::Memory(Memory { swap: swap.unwrap_or_default(), limits })
}

fn read_load(inner: Option<Reader<'_>>, limits: Limits) -> Probe {
    let Some(mut inner) = inner else { return Probe::Load(Load { over: 5, per_cpu: false, limits }) };
    let over = inner.one_of("over", &[("1m", 1), ("5m", 5), ("15m", 15)]).unwrap_or(5);
    let per_cpu = inner.bool("per_cpu");
    inner.finish();
    Probe::Load(Load { over, per_cpu, limits })
}

fn read_dns(table: &mut Reader<'_>) -> Option<Probe> {
    let name = table.required("name").filter(|name| templates::syntax(table.doc, "name", name));
    let records = ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"].map(|word| (word, word));
    let record = table.one_of("record", &records).unwrap_or_default().to_string();
    let server = text(table, "server");
    let answers = list(table, "answers");
    Some(Probe::Dns(Dns { name: name?.into_inner(), record, server, answers }))
}

fn read_port(table: &mut Reader<'_>) -> Option<Probe> {
    let port = match table.value("number") {
        Some(_) => port_at(table, "number"),
        None => {
            table.missing("number");
            None
        }
    };
    let udp = table.one_of("protocol", &[("tcp", false), ("udp", true)]).unwrap_or_default();
    let open = is_not_false(table, "open");
    let (address, process) = (text(table, "address"), text(table, "process"));
    Some(Probe::Port(Port { port: port?, udp, open, address, process }))
}

fn read_process(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, "name");
    let (user, args) = (text(table, "user"), text(table, "args"));
    let count = range(table, "count");
    if count.as_ref().is_some_and(crate::domain::base::range::Range::never_alerts) {
        nothing_asserted(table, "count", "such as count = \"1:\", at least one");
    }
    let at_least_one = || "1:".parse().ok();
    Some(Probe::Process(Process { name: name?, user, args, count: count.or_else(at_least_one)? }))
}

fn read_service(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, "name");
    let maybe = |table: &mut Reader<'_>, key| table.value(key).is_some().then(|| table.bool(key));
    let (running, enabled) = (maybe(table, "running"), maybe(table, "enabled"));
    // A service without further keys is expected to run.
    let running = if running.is_none() && enabled.is_none() { Some(true) } else { running };
    Some(Probe::Service(Service { name: name?, running, enabled }))
}

fn read_file(table: &mut Reader<'_>) -> Option<Probe> {
    let path = required_text(table, "path");
    let file = FileProbe {
        exists: is_not_false(table, "exists"),
        newer_than: table.positive_duration("newer_than", "no file is that new"),
        older_than: table.positive_duration("older_than", "every file is that old"),
        size: range(table, "size"),
        mode: mode(table),
        owner: text(table, "owner"),
        group: text(table, "group"),
        sha256: text(table, "sha256"),
        contains: some_text(table, "contains"),
        matches: regex(table, "matches"),
        path: String::new(),
    };
    let gone = FileProbe { exists: false, ..FileProbe::default() };
    if !file.exists && file != gone {
        table.doc.wrong(table.key_span("exists"), "a file that is not to be there has no other properties");
    }
    Some(Probe::File(Box::new(FileProbe { path: path?, ..file })))
}

fn mode(table: &mut Reader<'_>) -> Option<String> {
    let text = table.string("mode")?;
    let octal =
        (3..=4).contains(&text.get_ref().len()) && text.get_ref().bytes().all(|b| (b'0'..=b'7').contains(&b));
    if !octal {
        table.doc.wrong(text.span(), "`mode` is octal, such as \"0640\"");
    }
    Some(text.into_inner())
}

fn read_log(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let path = required_text(table, "path");
    let fresh: Option<Duration> = table.positive_duration("fresh", "no log is that fresh");
    let (appears, never) = (some_text(table, "appears"), some_text(table, "never"));
    let limits = common.limits.clone();
    if fresh.is_none() && never.is_none() && appears.is_none() && limits.assert_nothing() {
        nothing_asserted(table, "log", "give it `fresh`, `appears`, `never`, or a range for lines a minute");
    }
    Some(Probe::Log(Log { path: path?, fresh, appears, never, limits }))
}

fn read_package(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, "name");
    let installed = is_not_false(table, "installed");
    let version = some_text(table, "version");
    if !installed && version.is_some() {
        table.doc.wrong(table.key_span("version"), "a package that is not to be installed has no version");
    }
    Some(Probe::Package(Package { name: name?, installed, version }))
}

fn read_disk(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let path = required_text(table, "path");
    let inodes = table.one_of("of", &[("space", false), ("inodes", true)]).unwrap_or_default();
    Some(Probe::Disk(Disk { path: path?, inodes, limits: common.limits.clone() }))
}

/// True unless it says `false`.
fn is_not_false(table: &mut Reader<'_>, key: &'static str) -> bool {
    table.value(key).is_none() || table.bool(key)
}
