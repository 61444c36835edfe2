//! A page in lines of text, for `board` without a screen: nothing is drawn, and no state is a glyph without its word.

use std::fmt::Write;

use jiff::Timestamp;

use super::page::{Cell, Difference, Log, Page, Table};
use super::spark::letters;
use crate::domain::base::outcome::seconds;
use crate::present::table::{age, columns};

/// The page.
pub fn text(page: &Page) -> String {
    let past = if page.is_past { ", as it was after this event" } else { "" };
    let mut text = format!("{} at event {}{past}\n", page.title, page.seq);
    for line in &page.head {
        let mark = line.mark.map(|mark| format!("{} ", mark.letter())).unwrap_or_default();
        _ = writeln!(text, "{mark}{}", line.text.replace('\n', " "));
        line.command.iter().for_each(|command| _ = writeln!(text, "    {command}"));
    }
    page.tables.iter().for_each(|table| text += &table_text(table, page.now));
    page.log.iter().for_each(|log| text += &log_text(log));
    page.differences.iter().for_each(|difference| text += &difference_text(difference));
    text
}

fn difference_text(difference: &Difference) -> String {
    let mut text = format!("\n{}\n", difference.caption);
    for line in &difference.lines {
        _ = writeln!(text, "{:>7} {} {}", line.number, line.side.sign(), line.text);
    }
    text
}

fn table_text(table: &Table, now: Timestamp) -> String {
    let mut text = format!("\n{}\n", table.caption);
    if table.rows.is_empty() {
        _ = writeln!(text, "  {}", table.empty);
        return text;
    }
    let names = table.columns.iter().map(|column| column.name.to_uppercase());
    let mut rows: Vec<Vec<String>> = vec![[" ".to_string()].into_iter().chain(names).collect()];
    for row in &table.rows {
        let cells = row.cells.iter().map(|cell| cell_text(cell, now));
        rows.push([row.mark.letter().to_string()].into_iter().chain(cells).collect());
    }
    text += &columns(&rows);
    table.more.iter().for_each(|more| _ = writeln!(text, "  {}: {}", more.text, more.address));
    text
}

/// A cell in letters.
pub fn cell_text(cell: &Cell, now: Timestamp) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Strip(marks, _) => marks.iter().map(|mark| mark.letter()).collect(),
        Cell::Spark(levels, words) => format!("{} {words}", letters(levels)),
        Cell::Since(since) => age(*since, now),
        Cell::Took(ms) => seconds(*ms),
    }
}

fn log_text(log: &Log) -> String {
    let mut text = format!("\n{}\n", log.caption);
    for line in &log.lines {
        let stream = if line.is_error { '!' } else { ' ' };
        _ = writeln!(text, "{:>7}{stream} {}", line.number, line.text());
    }
    log.notes.iter().for_each(|note| _ = writeln!(text, "  {note}"));
    text
}
