//! The output of one step on one host: some lines of it, and the ways to the others.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::HostName;
use crate::domain::base::rendered::RenderedLine;
use crate::present::board::fold::RunFold;
use crate::present::board::page::{Line, Link, Log, LogLine, Page};
use crate::present::log::{classes, notes, thousands};

/// Lines of one page.
pub const WINDOW: u64 = 500;

/// Lines above the one that an address names.
const ABOVE: u64 = 8;

/// Lines of an output, as they were read for a page.
#[derive(Default)]
pub struct Excerpt {
    pub lines: Vec<ExcerptLine>,
    /// Lines of the whole output.
    pub total: u64,
    /// Why the output is not whole; empty if it is.
    pub why: String,
    /// The first line that looks like a problem.
    pub problem: Option<u64>,
    /// For a search: how many lines were found, and where it ended because its time was up.
    pub found: Option<(u64, Option<u64>)>,
}

/// One line.
pub struct ExcerptLine {
    pub number: u64,
    pub line: RenderedLine,
    pub is_error: bool,
}

/// The first line that a page shows, of so many. A step that is under way shows its end.
pub fn first_line(view: &View, (total, is_running): (u64, bool)) -> u64 {
    match view.line {
        Some(line) => line.min(total).saturating_sub(ABOVE).max(1),
        None if is_running => total.saturating_sub(WINDOW - 1).max(1),
        None => 1,
    }
}

/// The page; `None` if there is no such step.
pub fn page(
    fold: &RunFold,
    view: &View,
    (host, number): (&HostName, usize),
    (excerpt, now): (Excerpt, Timestamp),
) -> Option<Page> {
    let attempts = fold.attempts(host);
    let attempt = attempts.get(number.checked_sub(1)?)?;
    let run = fold.run.id();
    let mut page = Page::at(view, &format!("step {number} of {host} in run {run}"), (fold.seq, now));
    page.is_past = view.at.is_some();
    let took = if attempt.took_ms.is_some() { format!(", {}", attempt.took()) } else { String::new() };
    let why =
        if attempt.why.is_empty() { String::new() } else { format!(": {}", attempt.why.replace('\n', " ")) };
    let text = format!("{}: {}{took}{why}", attempt.words(), attempt.mark.word());
    page.head.push(Line::marked(attempt.mark, text));
    let others = [("step before", number.checked_sub(1)), ("next step", Some(number + 1))];
    for (word, other) in others {
        let Some((other, attempt)) = other.and_then(|at| Some((at, attempts.get(at.checked_sub(1)?)?)))
        else {
            continue;
        };
        let place = View { at: view.at, ..View::of(PageName::Step(run, host.to_string(), other)) };
        page.head.push(Line::plain(format!("{word}: {}", attempt.words())).leading_to(place));
    }
    page.log = Some(log(view, excerpt));
    Some(page)
}

fn log(view: &View, excerpt: Excerpt) -> Log {
    let place = |line: u64| View { line: Some(line), find: None, ..view.clone() };
    let (first, last) = (
        excerpt.lines.first().map_or(0, |line| line.number),
        excerpt.lines.last().map_or(0, |line| line.number),
    );
    let total = excerpt.total;
    let mut notes_of_log = Vec::new();
    let caption = match (&view.find, excerpt.found) {
        (Some(text), Some((found, stopped_at))) => {
            notes_of_log.extend(
                stopped_at.map(|line| format!("the search ended at line {line}, because its time was up")),
            );
            let shown = excerpt.lines.len() as u64;
            notes_of_log
                .extend((found > shown).then(|| format!("the first {} are listed", thousands(shown))));
            format!("{} of {} lines with `{text}`", thousands(found), thousands(total))
        }
        _ if total == 0 => "output".into(),
        _ => format!("output, lines {} to {} of {}", thousands(first), thousands(last), thousands(total)),
    };
    if total == 0 && excerpt.why.is_empty() {
        notes_of_log.push("it printed nothing".into());
    }
    notes_of_log.extend((!excerpt.why.is_empty()).then_some(excerpt.why));
    let mut links = Vec::new();
    let mut link = |text: String, line: u64| links.push(Link { text, address: place(line).to_string() });
    if let Some(problem) = excerpt.problem {
        link(format!("first problem: line {}", thousands(problem)), problem);
    }
    if view.find.is_some() {
        links.push(Link {
            text: "all lines".into(),
            address: View { find: None, ..view.clone() }.to_string(),
        });
    } else {
        if first > 1 {
            link("first lines".into(), 1);
            link("lines before".into(), first.saturating_sub(WINDOW).max(1) + ABOVE);
        }
        if last < total {
            link("lines behind".into(), last + 1 + ABOVE);
            link("last lines".into(), total.saturating_sub(WINDOW - 1).max(1) + ABOVE);
        }
    }
    let is_search = view.find.is_some();
    let line = |line: ExcerptLine| LogLine {
        number: line.number,
        parts: line.line.spans.iter().map(|span| (classes(span), span.text.clone())).collect(),
        note: notes(&line.line),
        address: is_search.then(|| place(line.number).to_string()),
        is_error: line.is_error,
    };
    let search = (total > 0).then(|| View { find: None, line: None, ..view.clone() }.to_string());
    Log { caption, lines: excerpt.lines.into_iter().map(line).collect(), notes: notes_of_log, links, search }
}
