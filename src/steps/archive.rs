//! Archives from `files/`, or on the host: listed and checked first, unpacked into a new directory, and then moved.

use super::diff::bounded;
use super::stream::{Memory, would_change};
use crate::domain::base::archive::{check, check_release_name};
use crate::domain::base::outcome::Outcome;
use crate::domain::base::paths::check_below;
use crate::domain::task::task::{ReleaseLayout, Source};
use crate::port::{ExecEnd, Input};
use crate::steps::attempt::{Attempt, Done};
use crate::steps::scripts::{ARCHIVE, ARCHIVE_LIST, ARCHIVE_UNPACK, RELEASE, call, split_word};

/// Most bytes of the listing of an archive: some hundred thousand members.
const LISTING_BYTES: usize = 32 * 1024 * 1024;

/// One archive and its target.
pub(super) struct Unpacking<'a> {
    pub source: &'a Source,
    pub to: &'a str,
    pub strip: u32,
    /// The directory holds only this archive.
    pub alone: bool,
}

impl Unpacking<'_> {
    fn remote(&self) -> &str {
        if let Source::Remote { path } = self.source { path } else { "" }
    }
}

impl Attempt<'_> {
    pub(super) async fn archive(&self, unpacking: &Unpacking<'_>, act: bool) -> Done {
        match self.to_unpack(unpacking).await {
            Ok(None) => Done::silent(if act { self.unchanged() } else { Outcome::Unchanged }),
            Ok(Some(_)) if !act => would_change(&words(unpacking)),
            Ok(Some(sum)) => self.unpack(unpacking, &sum).await.unwrap_or_else(|early| early),
            Err(early) => early,
        }
    }

    /// The SHA-256 of the archive, if it is not unpacked there yet.
    async fn to_unpack(&self, unpacking: &Unpacking<'_>) -> Result<Option<String>, Done> {
        let sum = match unpacking.source {
            Source::Remote { .. } => String::new(),
            ours => self.content(ours)?.sha256,
        };
        let alone = if unpacking.alone { "1" } else { "" };
        let arguments = ["dry-run", unpacking.to, &sum, unpacking.remote(), alone];
        let (report, _) =
            self.exec(call(&ARCHIVE, &arguments, self.step), Input::None, self.step.timeout).await;
        if report.end != ExecEnd::Exited(0) {
            return Err(self.inspection_failed(report));
        }
        Ok(split_word(report.stdout).1.strip_prefix("unpack ").map(String::from))
    }

    async fn unpack(&self, unpacking: &Unpacking<'_>, sum: &str) -> Result<Done, Done> {
        let input = match unpacking.source {
            Source::Remote { .. } => Input::None,
            ours => self.content(ours)?.input().await?,
        };
        let (remote, suffix) = (unpacking.remote(), self.suffix());
        let mut listing = Memory { bytes: Vec::new(), limit: LISTING_BYTES };
        let arguments = ["act", unpacking.to, sum, remote, &suffix];
        let report = self.stream(&call(&ARCHIVE_LIST, &arguments, self.step), input, &mut listing).await?;
        if report.end != ExecEnd::Exited(0) {
            self.forget(unpacking, &suffix).await;
            return Err(self.done(report, |_| Outcome::Ok));
        }
        let strip = usize::try_from(unpacking.strip).unwrap_or(usize::MAX);
        if let Err(why) = check(&listing.bytes, strip) {
            self.forget(unpacking, &suffix).await;
            return Err(Done::failed(format!("the archive is refused, nothing was unpacked: {why}")));
        }
        let strip = unpacking.strip.to_string();
        let arguments = ["act", unpacking.to, sum, remote, &suffix, &strip];
        Ok(self.run_own(call(&ARCHIVE_UNPACK, &arguments, self.step), Input::None).await)
    }

    /// Removes an archive that was sent but not unpacked. A failure does no harm.
    async fn forget(&self, unpacking: &Unpacking<'_>, suffix: &str) {
        if unpacking.remote().is_empty() {
            let script = call("rm -f \"$1.$2.archive\"\n", &[unpacking.to, suffix], self.step);
            let _ = self.exec(script, Input::None, crate::steps::attempt::LOOK_TIMEOUT).await;
        }
    }

    pub(super) async fn release(&self, layout: &ReleaseLayout, act: bool) -> Done {
        let to = format!("{}/releases/{}", layout.root, layout.name);
        let unpacking = Unpacking { source: &layout.source, to: &to, strip: layout.strip, alone: true };
        let unpacked = self.archive(&unpacking, act).await;
        if !matches!(unpacked.outcome, Outcome::Ok | Outcome::Unchanged | Outcome::WouldChange) {
            return unpacked;
        }
        let (keep, suffix) = (layout.keep.to_string(), self.suffix());
        let mut arguments =
            vec![if act { "act" } else { "dry-run" }, &layout.root, &layout.name, &keep, &suffix];
        arguments.extend(layout.shared.iter().map(String::as_str));
        let script = call(&RELEASE, &arguments, self.step);
        let done =
            if act { self.run_own(script, Input::None).await } else { self.inspect_with(script).await };
        let stdout = bounded(&(unpacked.stdout.text + &done.stdout.text));
        let outcome = match done.outcome {
            Outcome::Unchanged => unpacked.outcome,
            outcome => outcome,
        };
        Done { outcome, stdout, ..done }
    }
}

fn words(unpacking: &Unpacking<'_>) -> String {
    match unpacking.source {
        Source::Remote { path } => format!("{}: {path} would be unpacked\n", unpacking.to),
        ours => format!("{}: {} would be unpacked\n", unpacking.to, ours.name()),
    }
}

/// Why a release is not created, independent of the host.
pub(super) fn refused(layout: &ReleaseLayout) -> Option<String> {
    let below = |path: &String| check_below(path).map_err(|why| format!("`shared`: {why}"));
    let wrong = check_release_name(&layout.name).and_then(|()| layout.shared.iter().try_for_each(below));
    if let Err(why) = wrong {
        return Some(why);
    }
    let inside = |inner: &String, outer: &String| {
        inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let pairs = layout.shared.iter().flat_map(|inner| layout.shared.iter().map(move |outer| (inner, outer)));
    let mut nested = pairs.filter(|(inner, outer)| inside(inner, outer));
    nested
        .next()
        .map(|(inner, outer)| format!("`shared`: `{inner}` lies in `{outer}`, which is shared whole"))
}
