//! A page as lines of cells, for a screen of some width.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::domain::base::output::{fitted, printable};
use crate::present::board::mark::{Mark, Role};
use crate::present::board::page::{Cell, Difference, Line, Log, Page, Side, Table};
use crate::present::board::text::cell_text;

/// Widest column that is not the last one.
const COLUMN_CELLS: usize = 40;

/// A part of a line, in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub text: String,
    pub role: Option<Role>,
    pub is_bold: bool,
}

/// A line of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BodyLine {
    pub parts: Vec<Part>,
    /// The page that it leads to.
    pub address: Option<String>,
    /// A line that an operator may type.
    pub command: Option<String>,
    pub is_problem: bool,
}

impl BodyLine {
    fn plain(text: impl Into<String>) -> BodyLine {
        BodyLine { parts: vec![part(text, None)], ..BodyLine::default() }
    }

    fn heading(text: &str) -> BodyLine {
        let heading = Part { text: text.into(), role: None, is_bold: true };
        BodyLine { parts: vec![heading], ..BodyLine::default() }
    }

    /// True for a line that can be chosen.
    pub fn is_choice(&self) -> bool {
        self.address.is_some() || self.command.is_some()
    }
}

fn part(text: impl Into<String>, role: Option<Role>) -> Part {
    Part { text: text.into(), role, is_bold: false }
}

/// What lines are made for.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub width: usize,
    pub has_utf8: bool,
}

impl Shape {
    fn glyph(self, mark: Mark) -> char {
        if self.has_utf8 { mark.glyph() } else { mark.letter() }
    }

    /// Text of others, safe for a screen, in one line.
    pub fn safe(self, text: &str) -> String {
        let text = printable(&text.replace(['\n', '\t', '\r'], " "));
        if self.has_utf8 { text } else { text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect() }
    }
}

/// All lines of a page.
pub(super) fn lines(page: &Page, shape: Shape, now: Timestamp) -> Vec<BodyLine> {
    let mut lines: Vec<BodyLine> = page.head.iter().flat_map(|line| head_lines(line, shape)).collect();
    for table in &page.tables {
        lines.push(BodyLine::default());
        table_lines(table, shape, now, &mut lines);
    }
    if let Some(log) = &page.log {
        lines.push(BodyLine::default());
        log_lines(log, shape, &mut lines);
    }
    for difference in &page.differences {
        lines.push(BodyLine::default());
        difference_lines(difference, shape, &mut lines);
    }
    lines
}

fn difference_lines(difference: &Difference, shape: Shape, lines: &mut Vec<BodyLine>) {
    let address = Some(difference.address.clone());
    lines.push(BodyLine { address, ..BodyLine::heading(&shape.safe(&difference.caption)) });
    for line in &difference.lines {
        let role = (line.side == Side::Own).then_some(Role::Warn);
        let number = part(format!("{:>6} {} ", line.number, line.side.sign()), role.or(Some(Role::Idle)));
        lines.push(BodyLine {
            parts: vec![number, part(shape.safe(&line.text), None)],
            ..BodyLine::default()
        });
    }
}

/// A line of the head, broken where the screen ends. Its first part can be chosen.
fn head_lines(line: &Line, shape: Shape) -> Vec<BodyLine> {
    let text = fitted(&shape.safe(&line.text), shape.width.saturating_sub(2));
    let piece = |(at, text): (usize, &str)| match (at, line.mark) {
        (0, Some(mark)) => {
            vec![part(format!("{} ", shape.glyph(mark)), Some(mark.role())), part(text, None)]
        }
        (0, None) => vec![part(text, None)],
        _ => vec![part(format!("  {text}"), None)],
    };
    let mut lines: Vec<BodyLine> = text
        .lines()
        .enumerate()
        .map(|numbered| BodyLine { parts: piece(numbered), ..BodyLine::default() })
        .collect();
    if let Some(first) = lines.first_mut() {
        first.address = line.address.clone();
        first.command = line.command.clone();
        first.is_problem = line.mark.is_some_and(Mark::is_problem);
    }
    lines
}

fn table_lines(table: &Table, shape: Shape, now: Timestamp, lines: &mut Vec<BodyLine>) {
    lines.push(BodyLine::heading(&table.caption));
    if table.rows.is_empty() {
        lines.push(BodyLine::plain(format!("  {}", table.empty)));
        return;
    }
    let cells: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.cells.iter().map(|cell| shape.safe(&cell_text(cell, now))).collect())
        .collect();
    let columns = fitting(table, &cells, shape.width);
    let mut head = String::from("  ");
    for (at, width) in &columns {
        head += &padded(&table.columns[*at].name.to_uppercase(), *width);
    }
    lines.push(BodyLine::plain(head.trim_end()));
    for (row, texts) in table.rows.iter().zip(&cells) {
        let role = Some(row.mark.role());
        let mut parts = vec![part(format!("{} ", shape.glyph(row.mark)), role)];
        for (at, width) in &columns {
            match &row.cells[*at] {
                Cell::Strip(marks, _) => parts.extend(strip(marks, *width, shape)),
                // Nothing stands behind the last column, so it needs no room.
                _ if columns.last().is_some_and(|(last, _)| last == at) => {
                    parts.push(part(cut(&texts[*at], *width), role.filter(|_| *at == 0)));
                }
                _ => parts.push(part(padded(&texts[*at], *width), role.filter(|_| *at == 0))),
            }
        }
        lines.push(BodyLine {
            parts,
            address: row.address.clone(),
            command: None,
            is_problem: row.mark.is_problem(),
        });
    }
    if let Some(more) = &table.more {
        let address = Some(more.address.clone());
        lines.push(BodyLine { address, ..BodyLine::plain(format!("  {}", more.text)) });
    }
}

/// The columns that fit, each with its width and two cells of room behind it. Those with the highest rank go first.
fn fitting(table: &Table, cells: &[Vec<String>], width: usize) -> Vec<(usize, usize)> {
    let wide = |at: usize| {
        let texts = cells.iter().filter_map(|row| row.get(at)).map(|text| text.width());
        let widest = texts.max().unwrap_or(0);
        let is_strip =
            table.rows.iter().any(|row| matches!(row.cells.get(at), Some(Cell::Strip(..) | Cell::Spark(..))));
        let most = if is_strip { width } else { COLUMN_CELLS };
        if widest == 0 { 0 } else { widest.max(table.columns[at].name.width()).min(most) }
    };
    let mut columns: Vec<(usize, usize)> =
        (0..table.columns.len()).map(|at| (at, wide(at))).filter(|(_, width)| *width > 0).collect();
    for rank in (1..=u8::MAX).rev() {
        let needed: usize = 2 + columns.iter().map(|(_, width)| width + 2).sum::<usize>();
        if needed <= width {
            break;
        }
        // The last column may be cut, if something of it can be read.
        let last_fits = columns.last().is_some_and(|(_, last)| needed - last + 10.min(*last) <= width);
        if last_fits {
            break;
        }
        columns.retain(|(at, _)| table.columns[*at].rank < rank);
    }
    let before: usize = columns.iter().rev().skip(1).map(|(_, width)| width + 2).sum();
    if let Some(last) = columns.last_mut() {
        // The longest text is in the last column, and nothing stands behind it.
        let widest =
            cells.iter().filter_map(|row| row.get(last.0)).map(|text| text.width()).max().unwrap_or(0);
        last.1 = widest.max(last.1).min(width.saturating_sub(before + 2));
    }
    columns
}

fn strip(marks: &[Mark], width: usize, shape: Shape) -> Vec<Part> {
    // The end is what is new: a strip that does not fit loses its start, and says so.
    let is_cut = marks.len() > width;
    let shown = if is_cut { &marks[marks.len() - width.saturating_sub(2).min(marks.len())..] } else { marks };
    let dots = if is_cut { &".."[..width.min(2)] } else { "" };
    let mut parts: Vec<Part> = vec![part(dots, None)];
    let states = shown.chunk_by(|a, b| a.role() == b.role()).map(|same| {
        let text: String = same.iter().map(|mark| shape.glyph(*mark)).collect();
        part(text, same.first().map(|mark| mark.role()))
    });
    parts.extend(states);
    parts.push(part(" ".repeat(width.saturating_sub(shown.len() + dots.len()) + 2), None));
    parts
}

/// Text in exactly this many cells and two more.
fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let room = width - text.width().min(width) + 2;
    text + &" ".repeat(room)
}

/// The text in at most `room` cells; one that does not fit ends with two dots.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.into();
    }
    let (mut short, mut left) = (String::new(), room.saturating_sub(2));
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        short.push(c);
    }
    short + &".."[..room.min(2)]
}

fn log_lines(log: &Log, shape: Shape, lines: &mut Vec<BodyLine>) {
    lines.push(BodyLine::heading(&log.caption));
    for link in &log.links {
        let address = Some(link.address.clone());
        lines.push(BodyLine { address, ..BodyLine::plain(shape.safe(&link.text)) });
    }
    for line in &log.lines {
        let role = line.is_error.then_some(Role::Bad);
        let number = part(format!("{:>6} ", line.number), role.or(Some(Role::Idle)));
        let parts = vec![number, part(shape.safe(&line.text()), None)];
        lines.push(BodyLine { parts, address: line.address.clone(), ..BodyLine::default() });
    }
    lines.extend(log.notes.iter().map(|note| BodyLine::plain(format!("  {}", shape.safe(note)))));
}
