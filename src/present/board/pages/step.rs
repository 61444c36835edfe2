//! The output of one step on one host.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::output::Output;
use crate::domain::run::event::{Event, EventKind};
use crate::present::board::fold::RunFold;
use crate::present::board::page::{Line, Log, LogLine, Page};

/// Lines of one page.
pub const WINDOW: u64 = 500;

/// Lines above the one that an address names.
const ABOVE: u64 = 8;

/// The output of an attempt, as the journal has it: standard output, then standard error.
pub fn outputs<'a>(
    fold: &RunFold,
    host: &HostName,
    number: usize,
    events: &'a [Event],
) -> Option<(&'a Output, &'a Output)> {
    let wanted = fold.attempts(host).get(number.checked_sub(1)?)?;
    events.iter().find_map(|event| match &event.kind {
        EventKind::StepEnded { host: of, way, step, attempt, stdout, stderr, .. }
            if of == host && (*way, *step, *attempt) == (wanted.way, wanted.step, wanted.attempt) =>
        {
            Some((stdout, stderr))
        }
        _ => None,
    })
}

/// The page; `None` if there is no such step.
pub fn page(
    fold: &RunFold,
    view: &View,
    (host, number): (&HostName, usize),
    (outputs, now): (Option<(&Output, &Output)>, Timestamp),
) -> Option<Page> {
    let attempt = fold.attempts(host).get(number.checked_sub(1)?)?;
    let run = fold.run.id();
    let mut page = Page::at(view, &format!("step {number} of {host} in run {run}"), (fold.seq, now));
    page.is_past = view.at.is_some();
    let took = if attempt.took_ms.is_some() { format!(", {}", attempt.took()) } else { String::new() };
    let why =
        if attempt.why.is_empty() { String::new() } else { format!(": {}", attempt.why.replace('\n', " ")) };
    let text = format!("{}: {}{took}{why}", attempt.words(), attempt.mark.word());
    page.head.push(Line::marked(attempt.mark, text));
    page.log = Some(log(view, outputs, attempt.took_ms.is_some()));
    for (word, other) in
        [("step before", number.checked_sub(1).filter(|n| *n > 0)), ("next step", Some(number + 1))]
    {
        let Some(other) = other.filter(|other| *other <= fold.attempts(host).len()) else { continue };
        let place = View { at: view.at, ..View::of(PageName::Step(run, host.to_string(), other)) };
        page.head.push(
            Line::plain(format!("{word}: {}", fold.attempts(host)[other - 1].words())).leading_to(place),
        );
    }
    Some(page)
}

fn log(view: &View, outputs: Option<(&Output, &Output)>, has_ended: bool) -> Log {
    let mut log = Log { caption: "output".into(), first: 1, lines: Vec::new(), notes: Vec::new() };
    let Some((stdout, stderr)) = outputs else {
        let why =
            if has_ended { "it printed nothing" } else { "it has not ended; its output comes with its end" };
        log.notes.push(why.into());
        return log;
    };
    for (output, is_error) in [(stdout, false), (stderr, true)] {
        log.lines.extend(output.text.lines().map(|text| LogLine { text: text.into(), is_error }));
        if output.left_out > 0 {
            let name = if is_error { "standard error" } else { "standard output" };
            log.notes.push(format!("{} bytes in the middle of {name} are not kept", output.left_out));
        }
    }
    if log.lines.is_empty() {
        log.notes.push("it printed nothing".into());
    }
    let all = log.lines.len() as u64;
    log.first = view
        .line
        .unwrap_or(1)
        .saturating_sub(if view.line.is_some() { ABOVE } else { 0 })
        .clamp(1, all.max(1));
    let skipped = usize::try_from(log.first - 1).unwrap_or(usize::MAX);
    log.lines = log.lines.into_iter().skip(skipped).take(WINDOW as usize).collect();
    let last = log.first + (log.lines.len() as u64).max(1) - 1;
    log.caption = format!("output, lines {} to {last} of {}", log.first, count(all as usize, "line"));
    log
}
