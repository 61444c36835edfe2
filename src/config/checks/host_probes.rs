//! Probes that a script on the host takes: their keys, and how they are read.

use std::time::Duration;

use super::fields::{Common, list, nothing_asserted, regex, required_port, required_text, some_text, text};
use crate::config::text::keys::{Choice, Flag, PortOrTemplate, Text, Texts, Threshold, Time, table, words};
use crate::config::text::reader::Reader;
use crate::config::text::templates;
use crate::domain::base::range::Range;
use crate::domain::check::probe::{Disk, Dns, FileProbe, Log, Package, Port, Probe, Process, Service};

table! {
    /// A name.
    pub DnsKeys "Dns" {
        NAME "name": Text; needed,
        /// Records other than `A` and `AAAA` need dig on the host. Default: its addresses.
        RECORD "record": Choice<RecordWords>,
        /// The name server, instead of the host's own; needs dig on the host.
        SERVER "server": Text,
        /// All of the answers, in any order. Default: any answer.
        ANSWERS "answers": Texts,
    }

    /// Which process listens on a port of the host.
    pub ListeningKeys "Listening" {
        /// A port, or a template that becomes one.
        NUMBER "number": PortOrTemplate; needed,
        PROTOCOL "protocol": Choice<ProtocolWords> = false,
        /// `false`: no process may listen.
        OPEN "open": Flag = true,
        /// The address on which a process must listen.
        ADDRESS "address": Text,
        /// The name of the process.
        PROCESS "process": Text,
    }

    /// Processes.
    pub ProcessKeys "Process" {
        /// The name of the program.
        NAME "name": Text; needed,
        USER "user": Text,
        /// An extended regular expression for the command line.
        ARGS "args": Text,
        /// A range for their number.
        COUNT "count": Threshold = "1:",
    }

    /// A service.
    pub ServiceKeys "Service" {
        NAME "name": Text; needed,
        /// Default: `true`, unless `enabled` is written.
        RUNNING "running": Flag,
        /// Whether it starts at boot.
        ENABLED "enabled": Flag,
    }

    /// A file.
    pub FileKeys "File" {
        PATH "path": Text; needed,
        /// `false`: it must not be there.
        EXISTS "exists": Flag = true,
        NEWER_THAN "newer_than": Time,
        OLDER_THAN "older_than": Time,
        /// A range, in bytes.
        SIZE "size": Threshold,
        /// Octal.
        MODE "mode": Text,
        OWNER "owner": Text,
        GROUP "group": Text,
        SHA256 "sha256": Text,
        CONTAINS "contains": Text,
        /// A regular expression.
        MATCHES "matches": Text,
    }

    /// A log. Each probe continues where the last one ended, also if the log was rotated.
    pub LogKeys "Log" {
        PATH "path": Text; needed,
        /// The log must have been written within this time.
        FRESH "fresh": Time,
        /// An extended regular expression that a line must match.
        APPEARS "appears": Text,
        /// An extended regular expression that no line may match.
        NEVER "never": Text,
    }

    /// A package of apt, rpm or apk.
    pub PackageKeys "Package" {
        NAME "name": Text; needed,
        /// `false`: it must not be installed.
        INSTALLED "installed": Flag = true,
        /// The version, or what it begins with: `1.2*`.
        VERSION "version": Text,
    }

    /// A file system.
    pub DiskKeys "Disk" {
        /// Any path in it.
        PATH "path": Text; needed,
        OF "of": Choice<DiskWords> = false,
    }
}

words! {
    /// The records of a name.
    pub RecordWords: &'static str {
        "A" = "A",
        "AAAA" = "AAAA",
        "CNAME" = "CNAME",
        "MX" = "MX",
        "NS" = "NS",
        "PTR" = "PTR",
        "SOA" = "SOA",
        "SRV" = "SRV",
        "TXT" = "TXT",
    }

    /// Whether UDP is meant.
    pub ProtocolWords: bool {
        "tcp" = false,
        "udp" = true,
    }

    /// Whether inodes are meant.
    pub DiskWords: bool {
        "space" = false,
        "inodes" = true,
    }
}

pub fn read_dns(table: &mut Reader<'_>) -> Option<Probe> {
    let name = table.required(DnsKeys::NAME);
    let name = name.filter(|name| templates::syntax(table.doc, DnsKeys::NAME.name, name));
    let record = table.get(DnsKeys::RECORD).unwrap_or_default().to_string();
    let server = text(table, DnsKeys::SERVER);
    let answers = list(table, DnsKeys::ANSWERS);
    Some(Probe::Dns(Dns { name: name?.into_inner(), record, server, answers }))
}

pub fn read_port(table: &mut Reader<'_>) -> Option<Probe> {
    let port = required_port(table, ListeningKeys::NUMBER);
    let udp = table.or_default(ListeningKeys::PROTOCOL);
    let open = table.or_default(ListeningKeys::OPEN);
    let (address, process) = (text(table, ListeningKeys::ADDRESS), text(table, ListeningKeys::PROCESS));
    Some(Probe::Port(Port { port: port?, udp, open, address, process }))
}

pub fn read_process(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, ProcessKeys::NAME);
    let (user, args) = (text(table, ProcessKeys::USER), text(table, ProcessKeys::ARGS));
    let count = table.get(ProcessKeys::COUNT);
    if count.as_ref().is_some_and(Range::never_alerts) {
        nothing_asserted(table, ProcessKeys::COUNT.name, "such as count = \"1:\", at least one");
    }
    let count = count.or_else(|| ProcessKeys::COUNT.default.parse().ok())?;
    Some(Probe::Process(Process { name: name?, user, args, count }))
}

pub fn read_service(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, ServiceKeys::NAME);
    let (running, enabled) = (table.get(ServiceKeys::RUNNING), table.get(ServiceKeys::ENABLED));
    // A service without further keys is expected to run.
    let running = if running.is_none() && enabled.is_none() { Some(true) } else { running };
    Some(Probe::Service(Service { name: name?, running, enabled }))
}

pub fn read_file(table: &mut Reader<'_>) -> Option<Probe> {
    let path = required_text(table, FileKeys::PATH);
    let file = FileProbe {
        exists: table.or_default(FileKeys::EXISTS),
        newer_than: table.positive(FileKeys::NEWER_THAN, "no file is that new"),
        older_than: table.positive(FileKeys::OLDER_THAN, "every file is that old"),
        size: table.get(FileKeys::SIZE),
        mode: mode(table),
        owner: text(table, FileKeys::OWNER),
        group: text(table, FileKeys::GROUP),
        sha256: text(table, FileKeys::SHA256),
        contains: some_text(table, FileKeys::CONTAINS),
        matches: regex(table, FileKeys::MATCHES),
        path: String::new(),
    };
    let gone = FileProbe { exists: false, ..FileProbe::default() };
    if !file.exists && file != gone {
        table.doc.wrong(
            table.key_span(FileKeys::EXISTS.name),
            "a file that is not to be there has no other properties",
        );
    }
    Some(Probe::File(Box::new(FileProbe { path: path?, ..file })))
}

fn mode(table: &mut Reader<'_>) -> Option<String> {
    let text = table.get(FileKeys::MODE)?;
    let octal =
        (3..=4).contains(&text.get_ref().len()) && text.get_ref().bytes().all(|b| (b'0'..=b'7').contains(&b));
    if !octal {
        table.doc.wrong(text.span(), "`mode` is octal, such as \"0640\"");
    }
    Some(text.into_inner())
}

pub fn read_log(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let path = required_text(table, LogKeys::PATH);
    let fresh: Option<Duration> = table.positive(LogKeys::FRESH, "no log is that fresh");
    let (appears, never) = (some_text(table, LogKeys::APPEARS), some_text(table, LogKeys::NEVER));
    let limits = common.limits.clone();
    if fresh.is_none() && never.is_none() && appears.is_none() && limits.assert_nothing() {
        nothing_asserted(table, "log", "give it `fresh`, `appears`, `never`, or a range for lines a minute");
    }
    Some(Probe::Log(Log { path: path?, fresh, appears, never, limits }))
}

pub fn read_package(table: &mut Reader<'_>) -> Option<Probe> {
    let name = required_text(table, PackageKeys::NAME);
    let installed = table.or_default(PackageKeys::INSTALLED);
    let version = some_text(table, PackageKeys::VERSION);
    if !installed && version.is_some() {
        table.doc.wrong(
            table.key_span(PackageKeys::VERSION.name),
            "a package that is not to be installed has no version",
        );
    }
    Some(Probe::Package(Package { name: name?, installed, version }))
}

pub fn read_disk(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let path = required_text(table, DiskKeys::PATH);
    let inodes = table.or_default(DiskKeys::OF);
    Some(Probe::Disk(Disk { path: path?, inodes, limits: common.limits.clone() }))
}
