//! The probe of a check: one key of `[[check]]` for each kind of probe.

use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Common, LimitKeys, nothing_asserted, regex, some_text, text};
use super::host_probes::{
    DiskKeys, DnsKeys, FileKeys, ListeningKeys, LogKeys, PackageKeys, ProcessKeys, ServiceKeys, read_disk,
    read_dns, read_file, read_log, read_package, read_port, read_process, read_service,
};
use super::services::{self, HttpKeys, TcpKeys, TlsKeys};
use crate::config::text::keys::{Choice, Flag, In, Key, Or, Text, Whole, table, words};
use crate::config::text::kinds::kinds;
use crate::config::text::reader::Reader;
use crate::config::text::table::Declared;
use crate::config::text::templates;
use crate::domain::base::paths::check_below;
use crate::domain::base::range::Limits;
use crate::domain::check::probe::{Expect, Load, Memory, Metric, Plugin, Probe};

kinds! {
    /// The kinds of probes.
    pub Kind of ProbeKeys {
        /// A command on the host; its exit status counts.
        Run RUN "run": Text,
        /// A Nagios plugin on the host, or one of files/; with `run`, `true` makes a plugin of it.
        Plugin PLUGIN "plugin": Or<Text, Or<Flag, In<SentPluginKeys>>>,
        /// A command on the host that prints a number.
        Metric METRIC "metric": Text,
        /// An HTTP request through the host's SSH connection.
        Http HTTP "http": In<HttpKeys>,
        /// A TCP connection through the host's SSH connection.
        Tcp TCP "tcp": In<TcpKeys>,
        /// A TLS server's certificate; `warning` and `critical` are for the days that are left.
        Tls TLS "tls": In<TlsKeys>,
        /// How the host resolves a name.
        Dns DNS "dns": In<DnsKeys>,
        /// Which process listens on a port.
        Port PORT "port": In<ListeningKeys>,
        /// How many processes run.
        Process PROCESS "process": In<ProcessKeys>,
        /// A service of systemd, OpenRC or SysV.
        Service SERVICE "service": In<ServiceKeys>,
        File FILE "file": In<FileKeys>,
        /// A log: whether it was written recently, and lines that must or must not appear; `warning` and `critical` are for lines a
        /// minute.
        Log LOG "log": In<LogKeys>,
        Package PACKAGE "package": In<PackageKeys>,
        /// A file system; `warning` and `critical` are for the used part, in percent.
        Disk DISK "disk": In<DiskKeys>,
        /// The load average.
        Load LOAD "load": Or<Flag, In<LoadKeys>>,
        /// Memory in use, in percent.
        Memory MEMORY "memory": Or<Flag, In<MemoryKeys>>,
        /// How far the clock is from rollcall's, in seconds.
        Clock CLOCK "clock": Flag,
    }
}

table! {
    /// Keys of `run`.
    pub RunKeys "Run" {
        /// `run`: the expected exit status.
        EXIT "exit": Whole<0, 255> = 0,
        /// `run`: the expected output.
        STDOUT "stdout": In<StdoutKeys>,
    }

    /// Keys of `metric`.
    pub MetricKeys "Metric" {
        /// `metric`: what the number counts: `s`, `%`, `B`.
        UNIT "unit": Text,
    }

    /// A plugin of files/: sent to the host once, and kept there.
    pub SentPluginKeys "SentPlugin" {
        /// Below files/.
        UPLOAD "upload": Text; needed,
        /// Its arguments.
        ARGS "args": Text,
    }

    /// The expected output of a command.
    pub StdoutKeys "Stdout" {
        /// The whole output, without the blanks around it.
        EQUALS "equals": Text,
        CONTAINS "contains": Text,
        /// A regular expression.
        MATCHES "matches": Text,
    }

    /// The load average.
    pub LoadKeys "Load" {
        OVER "over": Choice<LoadWords> = DEFAULT_LOAD,
        /// Divided by the number of processors.
        PER_CPU "per_cpu": Flag = false,
    }

    /// Memory, or swap.
    pub MemoryKeys "Memory" {
        OF "of": Choice<MemoryWords> = false,
    }
}

words! {
    /// The minutes of the average.
    pub LoadWords: u32 {
        "1m" = 1,
        "5m" = DEFAULT_LOAD,
        "15m" = 15,
    }

    /// Whether swap is meant.
    pub MemoryWords: bool {
        "memory" = false,
        "swap" = true,
    }
}

/// The average that is probed by default, in minutes.
const DEFAULT_LOAD: u32 = 5;

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

/// Exactly one kind.
pub fn read(table: &mut Reader<'_>, common: Common) -> Option<Probe> {
    let doc = table.doc;
    // `plugin = true` makes `run` a plugin.
    let is_flag = table.value(ProbeKeys::PLUGIN).is_some_and(|value| value.get_ref().as_bool().is_some());
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
    let written = [LimitKeys::WARNING.name, LimitKeys::CRITICAL.name]
        .into_iter()
        .find(|key| table.key_span(key).is_some());
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
        Kind::Clock => table.get(ProbeKeys::CLOCK)?.then(|| Probe::Clock { limits: common.limits.clone() }),
        Kind::Load => {
            flag_or_table(table, ProbeKeys::LOAD).map(|inner| read_load(inner, common.limits.clone()))
        }
        Kind::Memory => {
            flag_or_table(table, ProbeKeys::MEMORY).map(|inner| read_memory(inner, common.limits.clone()))
        }
        Kind::Http => services::read_http(table.get(ProbeKeys::HTTP)?, common),
        Kind::Tcp => in_table(table, ProbeKeys::TCP, |table| services::read_tcp(table, common)),
        Kind::Tls => in_table(table, ProbeKeys::TLS, |table| services::read_tls(table, common)),
        Kind::Dns => in_table(table, ProbeKeys::DNS, read_dns),
        Kind::Port => in_table(table, ProbeKeys::PORT, read_port),
        Kind::Process => in_table(table, ProbeKeys::PROCESS, read_process),
        Kind::Service => in_table(table, ProbeKeys::SERVICE, read_service),
        Kind::File => in_table(table, ProbeKeys::FILE, read_file),
        Kind::Log => in_table(table, ProbeKeys::LOG, |table| read_log(table, common)),
        Kind::Package => in_table(table, ProbeKeys::PACKAGE, read_package),
        Kind::Disk => in_table(table, ProbeKeys::DISK, |table| read_disk(table, common)),
    }
}

fn in_table<'t, T: Declared>(
    table: &mut Reader<'t>,
    key: Key<In<T>>,
    read: impl FnOnce(&mut Reader<'t>) -> Option<Probe>,
) -> Option<Probe> {
    let mut inner = table.get(key)?;
    let probe = read(&mut inner);
    inner.finish();
    probe
}

fn read_run(table: &mut Reader<'_>, common: &Common, is_plugin: bool) -> Option<Probe> {
    let is_run = table.value(ProbeKeys::RUN).is_some();
    if is_plugin && !is_run {
        table.doc.wrong(
            table.key_span(ProbeKeys::PLUGIN.name),
            "`plugin = true` goes with `run`; or write plugin = \"check_disk -w 10%\"",
        );
    }
    let command = if is_run { table.required(ProbeKeys::RUN) } else { None };
    let exit = table.or_default(RunKeys::EXIT);
    let mut expect = Expect { exit, limits: common.limits.clone(), ..Expect::default() };
    if let Some(mut stdout) = table.get(RunKeys::STDOUT) {
        expect.equals = text(&mut stdout, StdoutKeys::EQUALS);
        expect.contains = some_text(&mut stdout, StdoutKeys::CONTAINS);
        expect.matches = regex(&mut stdout, StdoutKeys::MATCHES);
        stdout.finish();
    }
    if !is_run || is_plugin {
        for key in [RunKeys::EXIT.name, RunKeys::STDOUT.name] {
            if let Some(span) = table.key_span(key) {
                table.doc.wrong(span, format!("`{key}` goes with `run` only, and with no plugin"));
            }
        }
    }
    let command = command?;
    templates::script(table.doc, ProbeKeys::RUN.name, &command);
    let command = command.into_inner();
    Some(if is_plugin {
        Probe::Plugin(Plugin { command, upload: None })
    } else {
        Probe::Run { command, expect }
    })
}

/// `plugin = "check_disk -w 10%"`, or one of `files/` with its arguments.
fn read_plugin(table: &mut Reader<'_>) -> Option<Probe> {
    let value = table.value(ProbeKeys::PLUGIN)?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let command = table.required(ProbeKeys::PLUGIN.first())?;
        templates::script(table.doc, ProbeKeys::PLUGIN.name, &command);
        return Some(Probe::Plugin(Plugin { command: command.into_inner(), upload: None }));
    }
    let mut inner = table.get(ProbeKeys::PLUGIN.second().second())?;
    let upload = inner.required(SentPluginKeys::UPLOAD);
    if let Some(path) = &upload
        && let Err(why) = check_below(path.get_ref())
    {
        inner.doc.report(path.span(), format!("`upload`: {why}"), "a path below files/".to_string());
    }
    let args = inner.get(SentPluginKeys::ARGS);
    args.iter().for_each(|args| _ = templates::script(inner.doc, SentPluginKeys::ARGS.name, args));
    let command = args.map(Spanned::into_inner).unwrap_or_default();
    inner.finish();
    Some(Probe::Plugin(Plugin { command, upload: Some(upload?.into_inner()) }))
}

fn read_metric(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let unit = table.get(MetricKeys::UNIT);
    if table.value(ProbeKeys::METRIC).is_none() {
        if let Some(unit) = unit {
            table.doc.wrong(unit.span(), "`unit` goes with `metric` only");
        }
        return None;
    }
    let command = table.required(ProbeKeys::METRIC)?;
    templates::script(table.doc, ProbeKeys::METRIC.name, &command);
    let unit = unit.map(Spanned::into_inner).unwrap_or_default();
    Some(Probe::Metric(Metric { command: command.into_inner(), unit, limits: common.limits.clone() }))
}

/// `load = true`, or a table with details. `None` if it is absent or false; the inner `None` means `true`.
fn flag_or_table<'t, T: Declared>(
    table: &mut Reader<'t>,
    key: Key<Or<Flag, In<T>>>,
) -> Option<Option<Reader<'t>>> {
    let value = table.value(key)?;
    match value.get_ref() {
        DeValue::Table(_) => Some(table.get(key.second())),
        _ => table.get(key.first())?.then_some(None),
    }
}

fn read_memory(inner: Option<Reader<'_>>, limits: Limits) -> Probe {
    let swap = inner.map(|mut inner| {
        let swap = inner.or_default(MemoryKeys::OF);
        inner.finish();
        swap
    });
    Probe::Memory(Memory { swap: swap.unwrap_or(MemoryKeys::OF.default), limits })
}

fn read_load(inner: Option<Reader<'_>>, limits: Limits) -> Probe {
    let Some(mut inner) = inner else {
        let (over, per_cpu) = (LoadKeys::OVER.default, LoadKeys::PER_CPU.default);
        return Probe::Load(Load { over, per_cpu, limits });
    };
    let (over, per_cpu) = (inner.or_default(LoadKeys::OVER), inner.or_default(LoadKeys::PER_CPU));
    inner.finish();
    Probe::Load(Load { over, per_cpu, limits })
}
