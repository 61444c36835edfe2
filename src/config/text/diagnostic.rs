//! The mistakes of a configuration, all at once: message, place, and the next thing to try.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::hints::{did_you_mean, known_names};
use crate::config::text::origin::Sources;
use crate::domain::base::name::count;

/// Most hosts of a configuration: a typing error in a set, or a faulty script, must not take the memory of the
/// daemon.
pub const HOSTS_LIMIT: usize = 100_000;

/// Most mistakes that are printed. Further ones are mostly repetitions.
const MISTAKES_SHOWN: usize = 200;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Mistake,
    /// The configuration is used, and an operator is warned.
    Warning,
}

/// One mistake, or one warning.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Relative to the configuration directory.
    pub file: String,
    /// The wrong bytes of the file; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    pub message: String,
    /// The next thing to try.
    pub hint: Option<String>,
    text: Arc<str>,
}

/// Every mistake of a configuration, by file and line. `Display` prints each
/// mistake with line and caret, and a count at the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The mistakes, by file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.0.iter().take(MISTAKES_SHOWN) {
            writeln!(f, "{diagnostic}\n")?;
        }
        if let Some(more) = self.0.len().checked_sub(MISTAKES_SHOWN).filter(|more| *more > 0) {
            writeln!(f, "{} more\n", count(more, "mistake"))?;
        }
        let files: BTreeSet<&str> = self.0.iter().map(|diagnostic| diagnostic.file.as_str()).collect();
        write!(f, "{} in {}", count(self.0.len(), "mistake"), count(files.len(), "file"))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Diagnostic {
    /// Without the line of the file: for a log.
    pub fn in_one_line(&self) -> String {
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{}: {}{hint}", self.file, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Mistake => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let mut group = match &self.span {
            None => Group::with_title(title).element(Origin::path(self.file.as_str())),
            Some(span) => {
                let mark = AnnotationKind::Primary.span(on_one_line(&self.text, span));
                let snippet = Snippet::source(&*self.text).path(self.file.as_str()).annotation(mark);
                Group::with_title(title).element(snippet)
            }
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        f.write_str(&Renderer::plain().render(&[group]))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of `span` on its first line, because a caret below twenty lines does not help. A place that a parser
/// invented while it recovered from an error is moved to the nearest existing one.
fn on_one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let line_end = text[start..end].find(['\n', '\r']).map_or(end, |at| start + at);
    start..line_end
}

/// Collects mistakes while the files are read.
#[derive(Default)]
pub struct Sink {
    found: RefCell<Vec<Diagnostic>>,
    /// Places of files that no message may quote.
    hidden: RefCell<Vec<(String, Range<usize>)>>,
    /// The number of hosts so far.
    hosts: Cell<usize>,
}

impl Sink {
    /// Adds mistakes that were found elsewhere.
    pub fn extend(&self, found: impl IntoIterator<Item = Diagnostic>) {
        self.found.borrow_mut().extend(found);
    }

    /// Counts hosts; an error when there are too many of them.
    pub fn count_hosts(&self, more: usize) -> Result<(), String> {
        self.hosts.set(self.hosts.get().saturating_add(more));
        match self.hosts.get() > HOSTS_LIMIT {
            true => Err(format!("a configuration has at most {HOSTS_LIMIT} hosts")),
            false => Ok(()),
        }
    }

    /// All mistakes by file and line, each once; without any, the warnings.
    pub fn into_warnings(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        let mut found = self.found.into_inner();
        for (file, place) in self.hidden.into_inner() {
            let of_file = found.iter_mut().filter(|diagnostic| diagnostic.file == file);
            of_file.for_each(|diagnostic| diagnostic.text = blacked_out(&diagnostic.text, &place));
        }
        let place = |diagnostic: &Diagnostic| diagnostic.span.as_ref().map(|span| (span.start, span.end));
        found.sort_by(|a, b| (&a.file, place(a)).cmp(&(&b.file, place(b))));
        let mut seen = BTreeSet::new();
        found.retain(|one| seen.insert((one.file.clone(), place(one), one.message.clone())));
        let (mistakes, warnings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|one| one.severity == Severity::Mistake);
        if mistakes.is_empty() { Ok(warnings) } else { Err(Diagnostics(mistakes)) }
    }
}

/// A text of the same length, with the bytes at `place` hidden.
fn blacked_out(text: &str, place: &Range<usize>) -> Arc<str> {
    let black = |(at, c): (usize, char)| match place.contains(&at) && !c.is_control() {
        true => "*".repeat(c.len_utf8()),
        false => c.to_string(),
    };
    text.char_indices().map(black).collect::<String>().into()
}

/// A file that is being read, with the sink of its mistakes and the sources of external values.
#[derive(Clone, Copy)]
pub struct Doc<'t> {
    pub path: &'t str,
    pub text: &'t Arc<str>,
    pub sink: &'t Sink,
    pub sources: &'t dyn Sources,
    /// Set if the syntax of the file is wrong: its names stay known
    /// to other files, but further complaints about it are suppressed.
    pub quiet: bool,
}

impl Doc<'_> {
    /// Reports a mistake at `span`, with an optional hint.
    pub fn report(
        &self,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.add(Severity::Mistake, span.into(), message.into(), hint.into());
    }

    /// Warns of something at `span`: the configuration is used all the same.
    pub fn warn(
        &self,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Warning, span.into(), message.into(), Some(hint.into()));
    }

    fn add(&self, severity: Severity, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        if self.quiet {
            return;
        }
        let (file, text) = (self.path.to_string(), self.text.clone());
        self.sink.extend([Diagnostic { severity, file, span, message, hint, text }]);
    }

    /// Hides a place of the file in every message.
    pub fn hide(&self, span: Range<usize>) {
        self.sink.hidden.borrow_mut().push((self.path.to_string(), span));
    }

    /// Reports a mistake without a hint.
    pub fn wrong(&self, span: impl Into<Option<Range<usize>>>, message: impl Into<String>) {
        self.report(span, message, None);
    }

    /// Reports an unknown name: `no check set is called ...`, with the nearest known one.
    pub fn unknown<'n>(
        &self,
        span: Range<usize>,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let message = format!("no {kind} is called `{name}`{}", did_you_mean(name, known.iter().copied()));
        self.report(span, message, known_names(known));
    }
}

/// A mistake of a whole file or directory that could not be read.
pub fn unreadable(file: &str, message: String, hint: Option<String>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Mistake,
        file: file.into(),
        span: None,
        message,
        hint,
        text: Arc::from(""),
    }
}

/// A warning about a whole file or directory.
pub fn doubtful(file: &str, message: String, hint: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..unreadable(file, message, Some(hint.into())) }
}
