//! The outputs of a run on a host: those that are in files, and what the journal has of the others.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::base::name::RunId;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::run::event::{BracketDirection, EventKind, hook_id, operation_id};
use crate::local::outputs::index::LineIndex;
use crate::local::outputs::parts::{Origin, Part, Source};
use crate::local::outputs::path_of;
use crate::local::outputs::read::{OutputFile, OutputLine, window};
use crate::local::outputs::search::{Found, Pattern, search};
use crate::local::outputs::stream::StreamLines;
use crate::port::StoredRun;

/// How long a search may take: it keeps a processor busy.
const SEARCH_LIMIT: Duration = Duration::from_secs(1);

/// One attempt of one step that has started.
#[derive(Clone, Debug)]
pub struct Step {
    pub run: RunId,
    pub host: String,
    pub operation: String,
    /// From 1, in the order of the plan; `b1` for steps of the rollback.
    pub number: String,
    pub name: String,
    pub attempt: u32,
    /// What the journal has; `None` while it runs.
    pub journal: Option<Journal>,
}

/// What the journal has of the output of a step.
#[derive(Clone, Debug)]
pub struct Journal {
    pub stdout: Output,
    pub stderr: Output,
    /// Why it may lack a part that the host did not send.
    pub cut: Option<String>,
}

impl Journal {
    fn bytes(&self) -> u64 {
        (self.stdout.text.len() + self.stderr.text.len()) as u64
    }

    fn new(outcome: &Outcome, stdout: &Output, stderr: &Output) -> Journal {
        let cut = match outcome {
            Outcome::Lost { why } => Some(format!("contact was lost: {why}")),
            _ => None,
        };
        Journal { stdout: stdout.clone(), stderr: stderr.clone(), cut }
    }
}

/// The steps that have started on a host, in their order.
pub fn steps_of(stored: &StoredRun, host: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for event in &stored.events {
        let Some((operation, number, name, attempt, journal)) = of_event(stored.id, host, &event.kind) else {
            continue;
        };
        match steps.iter_mut().find(|step| step.operation == operation) {
            Some(step) => step.journal = journal,
            None => steps.push(Step {
                run: stored.id,
                host: host.into(),
                operation,
                number,
                name: name.into(),
                attempt,
                journal,
            }),
        }
    }
    steps
}

/// The operation, the number, the name, the attempt and the output of a step.
type OfEvent<'a> = (String, String, &'a str, u32, Option<Journal>);

fn of_event<'a>(run: RunId, on: &str, kind: &'a EventKind) -> Option<OfEvent<'a>> {
    let number = |way: BracketDirection, step: usize| {
        let back = if way == BracketDirection::Back { "b" } else { "" };
        format!("{back}{}", step + 1)
    };
    match kind {
        EventKind::StepStarted { host, way, step, name, attempt } if host.as_str() == on => {
            Some((operation_id(run, host, *way, *step, *attempt), number(*way, *step), name, *attempt, None))
        }
        EventKind::StepEnded { host, way, step, name, attempt, outcome, stdout, stderr, .. }
            if host.as_str() == on =>
        {
            Some((
                operation_id(run, host, *way, *step, *attempt),
                number(*way, *step),
                name,
                *attempt,
                Some(Journal::new(outcome, stdout, stderr)),
            ))
        }
        EventKind::HookStarted { hook, step, name } if on.strip_prefix('@') == Some(hook.word()) => {
            Some((hook_id(run, *hook, *step), (step + 1).to_string(), name, 1, None))
        }
        EventKind::HookEnded { hook, step, name, outcome, stdout, stderr, .. }
            if on.strip_prefix('@') == Some(hook.word()) =>
        {
            Some((
                hook_id(run, *hook, *step),
                (step + 1).to_string(),
                name,
                1,
                Some(Journal::new(outcome, stdout, stderr)),
            ))
        }
        EventKind::RunStarted { .. }
        | EventKind::BatchStarted { .. }
        | EventKind::ObserveStarted { .. }
        | EventKind::Observed { .. }
        | EventKind::ObserveFailed { .. }
        | EventKind::DrainStarted { .. }
        | EventKind::DrainEnded { .. }
        | EventKind::StepStarted { .. }
        | EventKind::StepEnded { .. }
        | EventKind::StepSkipped { .. }
        | EventKind::ChecksStarted { .. }
        | EventKind::ChecksEnded { .. }
        | EventKind::SnapshotStarted { .. }
        | EventKind::SnapshotEnded { .. }
        | EventKind::RollbackStarted { .. }
        | EventKind::EnableStarted { .. }
        | EventKind::EnableEnded { .. }
        | EventKind::HostSettled { .. }
        | EventKind::DrainForgotten { .. }
        | EventKind::RedrainStarted { .. }
        | EventKind::RedrainEnded { .. }
        | EventKind::Stopped { .. }
        | EventKind::Paused(..)
        | EventKind::Resumed { .. }
        | EventKind::Approved { .. }
        | EventKind::Recovered { .. }
        | EventKind::DebtSettled { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::HookStarted { .. }
        | EventKind::HookEnded { .. }
        | EventKind::RunEnded { .. } => None,
    }
}

/// An output that is open.
pub struct Kept {
    from: From,
    /// Why it is not whole; empty if it is.
    why: String,
}

enum From {
    File(Box<OutputFile>),
    /// Standard output up to `out`, then standard error.
    Journal {
        text: Vec<u8>,
        index: LineIndex,
        out: u64,
        /// As in the file beside an output.
        parts: String,
    },
}

/// Opens the output of a step: its file, or what the journal has.
pub fn open(folder: Option<&Path>, step: &Step) -> std::io::Result<Kept> {
    let path = folder.and_then(|folder| path_of(folder, &step.operation));
    let file = path.map(|path| OutputFile::open(&path)).transpose()?.flatten();
    match file {
        Some(file) => {
            let why = match (file.state()?.end, &step.journal) {
                (Some(end), _) if end.not_kept == 0 => end.why,
                (Some(end), _) => format!("{} bytes behind it were not kept: {}", end.not_kept, end.why),
                (None, None) => "it is still running".into(),
                (None, Some(_)) => {
                    "its end is not on record: rollcall ended, or the disk was full, while it was written"
                        .into()
                }
            };
            // A disk that was full from the start leaves less than the journal has.
            let in_journal = step.journal.as_ref().map_or(0, Journal::bytes);
            Ok(match why.is_empty() || file.bytes() >= in_journal {
                true => Kept { from: From::File(Box::new(file)), why },
                false => of_journal(step),
            })
        }
        None => Ok(of_journal(step)),
    }
}

fn of_journal(step: &Step) -> Kept {
    let mut parts = String::new();
    let (text, out, why) = match &step.journal {
        None => (Vec::new(), 0, "it is still running, and has printed nothing yet".to_string()),
        Some(Journal { stdout: out, stderr: err, cut }) => {
            let left_out = out.left_out + err.left_out;
            let why = match left_out {
                0 => cut.clone().unwrap_or_default(),
                _ => format!(
                    "{left_out} bytes within it are missing: its file is not there, and the journal keeps the start and the end"
                ),
            };
            let ends = out.text.is_empty() || out.text.ends_with('\n');
            let between = if ends || err.text.is_empty() { "" } else { "\n" };
            let ends_at = (out.text.len() + between.len()) as u64;
            let bytes = |source, bytes| Part::Bytes { source, bytes, after_ms: 0 }.text();
            parts.push_str(&bytes(Source::Out, out.text.len() as u64));
            if !between.is_empty() {
                parts.push_str(&Part::Break.text());
            }
            parts.push_str(&bytes(Source::Err, err.text.len() as u64));
            ([&out.text, between, &err.text].concat().into_bytes(), ends_at, why)
        }
    };
    let mut index = LineIndex::default();
    index.extend(&text);
    Kept { from: From::Journal { text, index, out, parts }, why }
}

impl Kept {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        match &self.from {
            From::File(file) => file.bytes(),
            From::Journal { text, .. } => text.len() as u64,
        }
    }

    /// The number of its lines.
    pub fn lines(&self) -> u64 {
        match &self.from {
            From::File(file) => file.lines(),
            From::Journal { text, index, .. } => index.lines(text.ends_with(b"\n")),
        }
    }

    /// True for a line of standard error, as far as that is on record.
    pub fn is_error(&self, line: &OutputLine) -> bool {
        match &self.from {
            From::File(_) => matches!(line.origin, Some(Origin { source: Source::Err, .. })),
            From::Journal { out, .. } => line.offset >= *out,
        }
    }

    /// True if it has all that the command printed.
    pub fn is_whole(&self) -> bool {
        self.why.is_empty()
    }

    /// Why it is not whole.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Lines from this number on; see [`OutputFile::window`].
    pub fn window(&mut self, from: u64, count: usize) -> std::io::Result<Vec<OutputLine>> {
        match &mut self.from {
            From::File(file) => file.window(from, count),
            From::Journal { text, index, .. } => {
                window(&mut Cursor::new(&*text), index, text.len() as u64, (from, count))
            }
        }
    }

    /// The lines of one of the two streams, from the first one on.
    pub fn stream(&mut self, wanted: Source) -> std::io::Result<StreamLines<'_>> {
        match &mut self.from {
            From::File(file) => file.stream(wanted),
            From::Journal { text, parts, .. } => Ok(StreamLines::new(&text[..], parts.as_bytes(), wanted)),
        }
    }

    /// The lines with these ascending numbers.
    pub fn pick(&mut self, numbers: &[u64]) -> std::io::Result<Vec<OutputLine>> {
        match &mut self.from {
            From::File(file) => file.pick(numbers),
            From::Journal { text, index, .. } => {
                let line =
                    |number: &u64| window(&mut Cursor::new(&*text), index, text.len() as u64, (*number, 1));
                Ok(numbers.iter().map(line).collect::<std::io::Result<Vec<_>>>()?.concat())
            }
        }
    }

    /// Searches all of it, for one second at most.
    pub fn search(&mut self, pattern: &Pattern, limit: usize) -> std::io::Result<Found> {
        let begun = Instant::now();
        let is_over = move || begun.elapsed() > SEARCH_LIMIT;
        match &mut self.from {
            From::File(file) => search(&mut file.reader()?, pattern, (1, limit), is_over),
            From::Journal { text, .. } => search(&mut &text[..], pattern, (1, limit), is_over),
        }
    }

    /// Some of its bytes.
    pub fn piece(&mut self, from: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
        match &mut self.from {
            From::File(file) => file.piece(from, bytes),
            From::Journal { text, .. } => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                Ok(text[at(from)..at(from.saturating_add(bytes))].to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(journal: Option<Journal>) -> Step {
        Step {
            run: RunId(7),
            host: "web1".into(),
            operation: "7/web1/0/1".into(),
            number: "1".into(),
            name: "s".into(),
            attempt: 1,
            journal,
        }
    }

    fn journal(stdout: &str, left_out: u64, outcome: &Outcome) -> Option<Journal> {
        let (out, err) =
            (Output { text: stdout.into(), left_out }, Output { text: "oops\n".into(), left_out: 0 });
        Some(Journal::new(outcome, &out, &err))
    }

    #[test]
    fn what_is_not_whole_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = path_of(folder.path(), "7/web1/0/1").unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let lost = Outcome::Lost { why: "gone".into() };
        let all = || journal("out", 0, &Outcome::Ok);
        let table = [
            // The file, what is beside it, the journal; the lines, and why they are not all.
            (None, None, all(), 2, ""),
            (None, None, None, 0, "it is still running, and has printed nothing yet"),
            (None, None, journal("out", 9, &Outcome::Ok), 2, "9 bytes within it are missing"),
            (None, None, journal("out", 0, &lost), 2, "contact was lost: gone"),
            (Some("a\nb\nc\n"), Some("rollcall 1 0\nout 6 0\nend 0 \n"), all(), 3, ""),
            (Some("a\nb\nc\n"), Some("rollcall 1 0\nout 6 0\nend 0 gone\n"), None, 3, "gone"),
            (Some("a\nb\nc\n"), Some("rollcall 1 0\nout 6 0\n"), None, 3, "it is still running"),
            (Some("a\nb\nc\nd\ne\n"), Some("rollcall 1 0\nout 6 0\n"), all(), 5, "its end is not on record"),
            (
                Some("a\nb\nc\nd\ne\n"),
                Some("rollcall 1 0\nout 10 0\nend 7 no space\n"),
                all(),
                5,
                "7 bytes behind it were not kept: no space",
            ),
            (Some(""), Some(""), all(), 2, ""),
        ];
        for (text, parts, journal, lines, why) in table {
            for (path, text) in [(file.clone(), text), (crate::local::outputs::beside(&file, "parts"), parts)]
            {
                _ = std::fs::remove_file(&path);
                text.iter().for_each(|text| std::fs::write(&path, text).unwrap());
            }
            let kept = open(Some(folder.path()), &step(journal)).unwrap();
            assert_eq!(
                (kept.lines(), kept.is_whole()),
                (lines, why.is_empty()),
                "{text:?} {parts:?}: {}",
                kept.why()
            );
            assert!(kept.why().starts_with(why), "{}", kept.why());
        }
    }
}
