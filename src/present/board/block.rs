//! The block at the bottom of a terminal that follows a run, and the line in its place where there is no terminal.

use std::time::Duration;

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::mark::Mark;
use super::progress::{Row, RunProgress, counts, failures, finished};
use crate::domain::base::name::count;
use crate::domain::base::output::printable;
use crate::domain::run::event::PausedUntil;
use crate::domain::run::run::Run;
use crate::present::table::folded;

/// Most rows of hosts, so that the block fits a screen of 24 lines with room for what is printed above it.
const ROWS: usize = 8;

/// The width of a terminal that does not say its own.
const USUAL_WIDTH: usize = 80;

/// The abilities of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// In cells; 0 if it is unknown.
    pub width: usize,
    /// In lines; 0 if it is unknown.
    pub height: usize,
    pub has_utf8: bool,
    pub has_colour: bool,
}

/// How long earlier runs took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    pub median: Duration,
    pub runs: usize,
}

/// A run at a time.
pub struct Following<'a> {
    pub run: &'a Run,
    pub progress: &'a RunProgress,
    pub usual: Option<Usual>,
    pub now: Timestamp,
}

impl Following<'_> {
    /// The lines of the block, each at most as wide as the screen.
    pub fn block(&self, screen: Screen) -> Vec<String> {
        let rows = self.progress.rows(self.run);
        let plain = [Some(self.headline()), Some(self.numbers(&rows))];
        let mut lines: Vec<String> =
            plain.into_iter().flatten().map(|line| styled(screen, None, &line)).collect();
        let shown: Vec<&Row> =
            rows.iter().filter(|row| row.mark.is_problem() || row.mark == Mark::Running).collect();
        let more = shown.len().saturating_sub(ROWS);
        lines.extend(shown.iter().take(ROWS).map(|row| styled(screen, Some(row.mark), &self.row(row))));
        if more > 0 {
            let text = format!("  and {}; to see them: show {}", count(more, "row"), self.run.id());
            lines.push(styled(screen, None, &text));
        }
        lines.extend(self.next().map(|line| styled(screen, None, &line)));
        // One line stays for what is printed above.
        lines.truncate(if screen.height == 0 { usize::MAX } else { screen.height.saturating_sub(1).max(1) });
        lines
    }

    /// The same facts in one line, for a reader without a terminal.
    pub fn heartbeat(&self) -> String {
        let rows = self.progress.rows(self.run);
        let busy: Vec<String> = rows
            .iter()
            .filter(|row| row.mark == Mark::Running && !row.action.is_empty())
            .map(|row| format!("{} {}", row.hosts.len(), row.action))
            .collect();
        let busy = if busy.is_empty() { String::new() } else { format!(" ({})", busy.join(", ")) };
        let next = self.next().map(|next| format!("; {next}")).unwrap_or_default();
        printable(&format!("{}; {}{busy}{next}", self.headline(), self.numbers(&rows))) + "\n"
    }

    /// Its number, its time, how far it is, and its title.
    pub fn headline(&self) -> String {
        let (run, total) = (self.run, self.run.hosts().len());
        let batch = match (run.batch(), run.plan().batches.len()) {
            (Some(batch), batches) if batches > 1 => format!(", batch {} of {batches}", batch + 1),
            _ => String::new(),
        };
        let time = clock(self.elapsed());
        // The title comes last: it is the longest, and known.
        let done = format!("{} of {} done", finished(run), count(total, "host"));
        format!("run {}: {time}{batch}, {done}: {}", run.id(), self.progress.title)
    }

    /// How many hosts are in each state, and how much of the budget is used.
    pub fn numbers(&self, rows: &[Row]) -> String {
        let mut parts: Vec<String> =
            counts(rows).into_iter().map(|(mark, number)| format!("{number} {}", mark.word())).collect();
        let out = self.run.hosts().values().filter(|host| host.is_owed()).count();
        if out > 0 {
            parts.push(format!("{out} out of rotation"));
        }
        parts.extend(failures(self.run.plan(), self.run).map(|(failed, allowed)| match allowed {
            0 => "no failure allowed".into(),
            allowed => format!("{failed} of {allowed} allowed failures"),
        }));
        parts.join(", ")
    }

    fn row(&self, row: &Row) -> String {
        let hosts = folded(&row.hosts);
        let many = if row.hosts.len() > 1 { format!(" ({})", row.hosts.len()) } else { String::new() };
        let time =
            row.since.map(|since| format!(", {}", clock(between(since, self.now)))).unwrap_or_default();
        match (row.mark, row.action.is_empty()) {
            (Mark::Running, false) => format!("{}: {hosts}{many}{time}", row.action),
            (mark, true) => format!("{}: {hosts}{many}{time}", mark.word()),
            (mark, false) => format!("{}: {hosts}{many}: {}", mark.word(), row.action.replace('\n', " ")),
        }
    }

    /// What the run waits for, or how long it may take.
    pub fn next(&self) -> Option<String> {
        let (run, id) = (self.run, self.run.id());
        if let Some(pause) = run.pause() {
            return Some(match &pause.until {
                PausedUntil::Approved => format!("waits for an approval: approve {id}"),
                PausedUntil::Resumed => format!("paused by {}: resume {id}", pause.by),
                PausedUntil::Time(time) => {
                    format!(
                        "paused for another {}; to go on now: resume {id}",
                        clock(between(self.now, *time))
                    )
                }
                PausedUntil::Restart => "paused: hosts in their bracket finish it".into(),
            });
        }
        if let Some(why) = run.stopped() {
            return Some(format!("stopped: {why}; no further host starts"));
        }
        if run.cancel().is_some() {
            return Some("cancelled; no further host starts".into());
        }
        let Usual { median, runs } = self.usual?;
        let of = format!("{} took {} (median)", count(runs, "earlier run"), clock(median));
        Some(match median.checked_sub(self.elapsed()) {
            Some(left) => format!("about {} left: {of}", clock(left)),
            None => format!("overdue by {}: {of}", clock(self.elapsed() - median)),
        })
    }

    /// Since its start.
    pub fn elapsed(&self) -> Duration {
        self.progress.started_at.map(|at| between(at, self.now)).unwrap_or_default()
    }
}

/// The median of the durations of earlier runs; `None` without any.
pub fn usual(mut took: Vec<Duration>) -> Option<Usual> {
    took.sort_unstable();
    let median = *took.get(took.len().checked_sub(1)? / 2)?;
    Some(Usual { median, runs: took.len() })
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Minutes and seconds, or hours and minutes and seconds.
pub fn clock(time: Duration) -> String {
    let s = time.as_secs();
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// A line of the block: it never wraps, so that the number of lines on the screen is known.
fn styled(screen: Screen, mark: Option<Mark>, text: &str) -> String {
    let text = printable(&text.replace(['\n', '\t'], " "));
    let text = if screen.has_utf8 { text } else { text.chars().map(ascii).collect() };
    let width = if screen.width == 0 { USUAL_WIDTH } else { screen.width };
    // The last cell stays empty: some terminals wrap as soon as it is written.
    let room = width.saturating_sub(1);
    let Some(mark) = mark else { return cut(&text, room) };
    let glyph = if screen.has_utf8 { mark.glyph() } else { mark.letter() };
    let line = cut(&format!("{glyph} {text}"), room);
    match mark.role().attributes(screen.has_colour) {
        "" => line,
        attributes => format!("\x1b[{attributes}m{line}\x1b[0m"),
    }
}

fn ascii(c: char) -> char {
    if c.is_ascii() { c } else { '?' }
}

/// The text in at most `room` cells; one that does not fit ends with two dots.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.into();
    }
    let dots = &".."[..room.min(2)];
    let mut left = room - dots.len();
    let fits = text.chars().take_while(|c| match left.checked_sub(c.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    fits.collect::<String>() + dots
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
