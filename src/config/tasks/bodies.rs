//! The body of a step: one key for each kind.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::contents::{
    BlockKeys, DirectoryKeys, LineKeys, LinkKeys, UploadKeys, read_block, read_directory, read_line,
    read_link, read_upload,
};
use super::systems::{
    ArchiveKeys, PackageKeys, ReleaseKeys, ServiceKeys, read_archive, read_package, read_release,
    read_service,
};
use crate::config::checks::services::{self, HttpKeys};
use crate::config::tasks::fields::{
    FileOrUrl, required, required_text, source_or_template, text, text_or_default, texts,
};
use crate::config::text::hints::known_names;
use crate::config::text::keys::{
    Any, Choice, Flag, In, MapOf, Or, PortOrTemplate, Text, Texts, Time, table, words,
};
use crate::config::text::kinds::kinds;
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates::{self, Known};
use crate::domain::base::paths::{check_below, check_delete};
use crate::domain::task::task::{Awaited, StepBody};
use crate::domain::value::template::is_template;

kinds! {
    /// The kinds of steps, as tasks write them.
    pub Kind of StepKinds {
        /// A script for the host's `sh`. Values of templates reach it as variables of the shell (docs/steps.md, "Values in scripts").
        Run RUN "run": Text,
        /// A file of `files/`, given to an interpreter on the host.
        Script SCRIPT "script": In<ScriptKeys>,
        /// A file, template or tree of `files/`.
        Upload UPLOAD "upload": In<UploadKeys>,
        /// A file of the host, copied to the machine of rollcall.
        Download DOWNLOAD "download": In<DownloadKeys>,
        /// One line of a file on the host.
        Line LINE "line": In<LineKeys>,
        /// Several lines of a file on the host, between two markers.
        Block BLOCK "block": In<BlockKeys>,
        /// A symbolic link, replaced atomically.
        Link LINK "link": In<LinkKeys>,
        /// A directory with its parents.
        Directory DIRECTORY "directory": In<DirectoryKeys>,
        /// A path that must not exist.
        Delete DELETE "delete": Text,
        /// Packages of the host's distribution: apt, dnf, yum, apk, zypper.
        Package PACKAGE "package": In<PackageKeys>,
        /// A service of the host's init system: systemd, OpenRC, SysV.
        Service SERVICE "service": In<ServiceKeys>,
        /// An archive, unpacked into a directory.
        Archive ARCHIVE "archive": In<ArchiveKeys>,
        /// Capistrano's layout: a release unpacked below `releases/`, links to `shared/`, and an atomic `current`.
        Release RELEASE "release": In<ReleaseKeys>,
        /// Waits until something exists, or is gone; at most for the step's `timeout`.
        WaitFor WAIT_FOR "wait_for": In<WaitForKeys>,
        /// `true`, or a table: restarts the host and waits until it has booted again.
        Reboot REBOOT "reboot": Or<Flag, In<RebootKeys>>,
        /// A check of `checks/`, by its name; as `set/name` where two sets have one of that name.
        Check CHECK "check": Text,
        /// Waits this long.
        Pause PAUSE "pause": Time,
        /// Waits until an operator approves; the text is the question.
        Confirm CONFIRM "confirm": Text,
        /// A script on the machine of rollcall itself; needs `allow_local` in rollcall.toml.
        Local LOCAL "local": Text,
        /// Another task, step by step.
        Task TASK "task": Text,
    }
}

table! {
    /// Keys of `task`.
    pub CallKeys "Call" {
        /// The parameters of that task.
        WITH "with": MapOf<Any>,
    }

    /// A file of `files/`, given to an interpreter on the host.
    pub ScriptKeys "Script" {
        /// Below `files/`, or at an address.
        FROM "from": FileOrUrl; needed,
        /// The file is a template.
        TEMPLATE "template": Flag = false,
        INTERPRETER "interpreter": Text = "sh",
        /// Arguments.
        ARGS "args": Texts,
    }

    /// A file of the host, copied to the machine of rollcall.
    pub DownloadKeys "Download" {
        FROM "from": Text; needed,
        /// Below the folder of the run and the host.
        TO "to": Text; needed,
    }

    /// Waits until one of these exists, or is gone.
    pub WaitForKeys "WaitFor" {
        /// A path on the host.
        PATH "path": Text,
        /// A command that must succeed.
        COMMAND "command": Text,
        /// A port, as seen from the host.
        PORT "port": PortOrTemplate,
        /// The address of the port.
        ADDRESS "address": Text = "127.0.0.1",
        /// An HTTP answer.
        HTTP "http": In<HttpKeys>,
        STATE "state": Choice<GoneWords> = false,
        /// Between two attempts.
        INTERVAL "interval": Time = Duration::from_secs(1),
    }

    /// How a host is restarted.
    pub RebootKeys "RebootHow" {
        COMMAND "command": Text = "reboot",
        /// A command whose output differs at each boot.
        BOOT_ID "boot_id": Text = "cat /proc/sys/kernel/random/boot_id",
    }
}

words! {
    /// Whether something must be gone.
    pub GoneWords: bool {
        "present" = false,
        "absent" = true,
    }
}

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
    if let Some(span) = table.key_span(CallKeys::WITH.name).filter(|_| !there.contains(&Kind::Task)) {
        table.doc.wrong(span, "`with` goes with `task` only");
    }
    body
}

fn one(table: &mut Reader<'_>, kind: Kind, known: &Known) -> Option<StepBody> {
    match kind {
        Kind::Run => required(table, StepKinds::RUN, known).map(|script| StepBody::Run { script }),
        Kind::Local => required(table, StepKinds::LOCAL, known).map(|script| StepBody::Run { script }),
        Kind::Check => {
            required(table, StepKinds::CHECK, known).map(|name| StepBody::Check { name, check: None })
        }
        Kind::Confirm => required(table, StepKinds::CONFIRM, known).map(|text| StepBody::Confirm { text }),
        Kind::Pause => {
            table.positive(StepKinds::PAUSE, "there would be no pause").map(|time| StepBody::Pause { time })
        }
        Kind::Delete => read_delete(table, known),
        Kind::Task => read_call(table, known),
        Kind::Reboot => read_reboot(table, known),
        Kind::Script => read_script(table.get(StepKinds::SCRIPT)?, known),
        Kind::Upload => read_upload(table.get(StepKinds::UPLOAD)?, known),
        Kind::Download => read_download(table.get(StepKinds::DOWNLOAD)?, known),
        Kind::Line => read_line(table.get(StepKinds::LINE)?, known),
        Kind::Block => read_block(table.get(StepKinds::BLOCK)?, known),
        Kind::Link => read_link(table.get(StepKinds::LINK)?, known),
        Kind::Directory => read_directory(table.get(StepKinds::DIRECTORY)?, known),
        Kind::Package => read_package(table.get(StepKinds::PACKAGE)?, known),
        Kind::Service => read_service(table.get(StepKinds::SERVICE)?, known),
        Kind::Archive => read_archive(table.get(StepKinds::ARCHIVE)?, known),
        Kind::Release => read_release(table.get(StepKinds::RELEASE)?, known),
        Kind::WaitFor => read_wait(table.get(StepKinds::WAIT_FOR)?, known),
    }
}

fn read_delete(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required_text(table, StepKinds::DELETE, known)?;
    if !is_template(path.get_ref())
        && let Err(why) = check_delete(path.get_ref())
    {
        table.doc.wrong(path.span(), why);
    }
    Some(StepBody::Delete { path: path.into_inner() })
}

fn read_download(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let from = required(&mut table, DownloadKeys::FROM, known);
    let to = required_text(&mut table, DownloadKeys::TO, known);
    if let Some(to) = to.as_ref().filter(|to| !is_template(to.get_ref()))
        && let Err(why) = check_below(to.get_ref())
    {
        table.doc.wrong(to.span(), format!("`to`: {why}"));
    }
    table.finish();
    Some(StepBody::Download { from: from?, to: to?.into_inner(), once: false })
}

/// `task = "restart"`, with its parameters: `with = { ... }`.
fn read_call(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let name = table.required(StepKinds::TASK);
    let mut with = Vec::new();
    for (key, value) in table.entries(CallKeys::WITH) {
        if let DeValue::String(text) = value.get_ref() {
            templates::names(doc, key.get_ref(), &Spanned::new(value.span(), text.to_string()), known);
        }
        with.push((key.into_inner(), reader::json(doc, value)));
    }
    name.map(|name| StepBody::Task { name: name.into_inner(), with })
}

fn read_script(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = source_or_template(&mut table, (ScriptKeys::FROM, ScriptKeys::TEMPLATE), known);
    let interpreter = text_or_default(&mut table, ScriptKeys::INTERPRETER, known);
    let args = texts(&mut table, ScriptKeys::ARGS, known);
    table.finish();
    Some(StepBody::Script { source: source?, interpreter, args })
}

fn read_wait(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let kinds =
        [WaitForKeys::PATH.name, WaitForKeys::COMMAND.name, WaitForKeys::PORT.name, WaitForKeys::HTTP.name];
    let there = kinds.into_iter().filter(|kind| table.key_span(kind).is_some()).count();
    let path = text(&mut table, WaitForKeys::PATH, known).map(Awaited::Path);
    let command = text(&mut table, WaitForKeys::COMMAND, known).map(Awaited::Command);
    let probe = match table.key_span(WaitForKeys::PORT.name) {
        Some(_) => services::read_awaited_port(&mut table, (WaitForKeys::PORT, WaitForKeys::ADDRESS)),
        None => table.get(WaitForKeys::HTTP).and_then(services::read_awaited),
    };
    if there != 1 {
        let message = "`wait_for` needs one of `path`, `command`, `port` and `http`";
        table.doc.wrong(table.span.clone(), message);
    }
    let gone = table.or_default(WaitForKeys::STATE);
    let interval =
        table.positive(WaitForKeys::INTERVAL, "it would never rest").unwrap_or(WaitForKeys::INTERVAL.default);
    table.finish();
    let probe = probe.map(|probe| Awaited::Probe(Box::new(probe)));
    path.or(command).or(probe).map(|what| StepBody::WaitFor { what, gone, interval })
}

/// `reboot = true`, or a table with details.
fn read_reboot(table: &mut Reader<'_>, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let value = table.value(StepKinds::REBOOT)?;
    match value.get_ref() {
        DeValue::Boolean(true) => {
            let (command, boot_id) = (RebootKeys::COMMAND.default.into(), RebootKeys::BOOT_ID.default.into());
            Some(StepBody::Reboot { command, boot_id })
        }
        DeValue::Table(_) => {
            let mut inner = table.get(StepKinds::REBOOT.second())?;
            let command = text_or_default(&mut inner, RebootKeys::COMMAND, known);
            let boot_id = text_or_default(&mut inner, RebootKeys::BOOT_ID, known);
            inner.finish();
            Some(StepBody::Reboot { command, boot_id })
        }
        _ => {
            doc.wrong(value.span(), "`reboot` is true, or a table of `command` and `boot_id`");
            None
        }
    }
}
