//! Steps for packages, services and archives: their keys, and how they are read.

use super::fields::{FileOrUrl, required, source, text, texts};
use crate::config::text::keys::{Choice, Flag, Text, Texts, Whole, table, words};
use crate::config::text::reader::Reader;
use crate::config::text::templates::Known;
use crate::domain::task::task::{PackageState, ReleaseLayout, ServiceState, Source, StepBody};

table! {
    /// Packages of the host's distribution.
    pub PackageKeys "Package" {
        /// One name, or several.
        NAME "name": Texts; needed,
        STATE "state": Choice<PackageStateWords> = PackageState::Present,
        /// The version of a single package with `state = "present"`.
        VERSION "version": Text,
        /// Updates the package index first.
        REFRESH "refresh": Flag = false,
    }

    /// A service of the host's init system.
    pub ServiceKeys "Service" {
        NAME "name": Text; needed,
        STATE "state": Choice<ServiceStateWords>,
        /// Whether it is started at boot.
        ENABLED "enabled": Flag,
    }

    /// An archive, unpacked into a directory.
    pub ArchiveKeys "Archive" [PackedKeys] {
        TO "to": Text; needed,
    }

    /// Capistrano's layout.
    pub ReleaseKeys "Release" [PackedKeys] {
        /// Holds `releases/`, `shared/` and `current`.
        ROOT "root": Text; needed,
        /// The name of the release below `releases/`.
        NAME "name": Text; needed,
        /// Paths below the release that are links into `shared/`.
        SHARED "shared": Texts,
        /// How many releases are kept; the live one and the one before it always are.
        KEEP "keep": Whole<1> = 5,
    }

    /// An archive.
    pub PackedKeys "Packed" {
        /// The archive, below `files/` or at an address.
        FROM "from": FileOrUrl,
        /// Or on the host.
        PATH "path": Text,
        /// Leading directories of the names in it that are removed.
        STRIP "strip": Whole<0, LARGEST_STRIP> = 0,
    }
}

words! {
    /// What happens to a package.
    pub PackageStateWords: PackageState {
        "present" = PackageState::Present,
        "latest" = PackageState::Latest,
        "absent" = PackageState::Absent,
    }

    /// What happens to a service.
    pub ServiceStateWords: ServiceState {
        "started" = ServiceState::Started,
        "stopped" = ServiceState::Stopped,
        "restarted" = ServiceState::Restarted,
        "reloaded" = ServiceState::Reloaded,
    }
}

/// More leading directories than this are a typing error.
const LARGEST_STRIP: u32 = 100;

pub fn read_package(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let doc = table.doc;
    let names = texts(&mut table, PackageKeys::NAME, known);
    if names.is_empty() {
        table.missing(PackageKeys::NAME.name);
    }
    let state = table.or_default(PackageKeys::STATE);
    let version = text(&mut table, PackageKeys::VERSION, known);
    if version.is_some() && (names.len() > 1 || state != PackageState::Present) {
        let hint = "one package, with `state` present".to_string();
        doc.report(
            table.key_span(PackageKeys::VERSION.name),
            "`version` goes with one package that is to be present",
            hint,
        );
    }
    let refresh = table.or_default(PackageKeys::REFRESH);
    table.finish();
    (!names.is_empty()).then_some(StepBody::Package { names, state, version, refresh })
}

pub fn read_service(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let name = required(&mut table, ServiceKeys::NAME, known);
    let (state, enabled) = (table.get(ServiceKeys::STATE), table.get(ServiceKeys::ENABLED));
    let written = [ServiceKeys::STATE.name, ServiceKeys::ENABLED.name];
    if written.into_iter().all(|key| table.key_span(key).is_none()) {
        let hint = "what is it to be?".to_string();
        table.doc.report(table.span.clone(), "`service` needs `state` or `enabled`", hint);
    }
    table.finish();
    Some(StepBody::Service { name: name?, state, enabled })
}

/// `from` names a file of `files/`, `path` one on the host.
fn read_archived(table: &mut Reader<'_>, known: &Known) -> Option<Source> {
    match (table.key_span(PackedKeys::FROM.name), table.key_span(PackedKeys::PATH.name)) {
        (Some(_), Some(span)) => {
            table.doc.wrong(span, "an archive is `from` files/, or at a `path` of the host, not both");
            None
        }
        (None, Some(_)) => required(table, PackedKeys::PATH, known).map(|path| Source::Remote { path }),
        (from, None) => match source(table, PackedKeys::FROM, known)? {
            Source::Tree { .. } => {
                table.doc.wrong(from, "`from` is a directory, and no archive");
                None
            }
            source => Some(source),
        },
    }
}

pub fn read_archive(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_archived(&mut table, known);
    let to = required(&mut table, ArchiveKeys::TO, known);
    let strip = table.or_default(PackedKeys::STRIP);
    table.finish();
    Some(StepBody::Archive { source: source?, to: to?, strip })
}

pub fn read_release(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = read_archived(&mut table, known);
    let (root, name) =
        (required(&mut table, ReleaseKeys::ROOT, known), required(&mut table, ReleaseKeys::NAME, known));
    let strip = table.or_default(PackedKeys::STRIP);
    let shared = texts(&mut table, ReleaseKeys::SHARED, known);
    let keep = table.or_default(ReleaseKeys::KEEP);
    table.finish();
    Some(StepBody::Release(ReleaseLayout { root: root?, name: name?, source: source?, strip, shared, keep }))
}
