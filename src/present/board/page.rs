//! A page of the boards as a value: the terminal draws it, the browser gets it as HTML, programs as JSON, and a screen without
//! any of them as text. So all of them show the same.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use crate::domain::ask::view::View;

/// A page at an event number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// What it is about: `run 41`.
    pub title: String,
    /// Its address in a browser.
    pub address: String,
    /// The line that prints it.
    pub twin: String,
    /// The page that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Link>,
    /// The number of the newest event that it shows.
    pub seq: u64,
    /// When it was made.
    pub now: Timestamp,
    /// It shows an earlier state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_past: bool,
    /// What comes first, in few lines.
    pub head: Vec<Line>,
    pub tables: Vec<Table>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Outputs that differ from the most common one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// A place that a text leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub text: String,
    pub address: String,
}

/// A line of the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A line to copy: what an operator can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Rows of the same kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub caption: String,
    pub columns: Vec<Column>,
    pub rows: Vec<TableRow>,
    /// What is said when there are no rows.
    pub empty: String,
    /// Its rows are what was: they raise no alarm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_history: bool,
    /// Rows that are left out, and where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<Link>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// Narrow screens leave the columns with higher numbers out; those with 0 stay.
    pub rank: u8,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableRow {
    /// What it is about, which no other row of the table has.
    pub key: String,
    /// How many hosts it stands for, if not for one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: usize,
    pub mark: Mark,
    pub cells: Vec<Cell>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    Text(String),
    /// One state after the other, and the same in words.
    Strip(Vec<Mark>, String),
    /// Numbers over time, from 0 to 7, and the same in words.
    Spark(Vec<Option<u8>>, String),
    /// An age.
    Since(Timestamp),
    /// How long something took, in milliseconds.
    Took(u64),
}

/// Lines of output of a host, which may hold anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub caption: String,
    pub lines: Vec<LogLine>,
    /// What is not there, and why.
    pub notes: Vec<String>,
    /// Other parts of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The address that takes a text to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub number: u64,
    /// Texts with the classes of their style.
    pub parts: Vec<(String, String)>,
    /// What of the line is not shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Where the line is among its neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// It was printed to standard error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// Where an output first differs from the most common one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// A host that printed it, which no other difference has.
    pub key: String,
    pub caption: String,
    pub address: String,
    pub lines: Vec<DifferenceLine>,
}

/// A line of one output or of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceLine {
    pub side: Side,
    pub number: u64,
    pub text: String,
}

/// The outputs that have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Both,
    /// The most common one.
    Common,
    /// The one that differs.
    Own,
}

impl Side {
    /// As in a diff.
    pub fn sign(self) -> char {
        match self {
            Side::Both => ' ',
            Side::Common => '-',
            Side::Own => '+',
        }
    }
}

impl Line {
    pub fn plain(text: impl Into<String>) -> Line {
        Line { mark: None, text: text.into(), address: None, command: None }
    }

    pub fn marked(mark: Mark, text: impl Into<String>) -> Line {
        Line { mark: Some(mark), ..Line::plain(text) }
    }

    pub fn leading_to(self, address: impl ToString) -> Line {
        Line { address: Some(address.to_string()), ..self }
    }

    pub fn with_command(self, command: impl Into<String>) -> Line {
        Line { command: Some(command.into()), ..self }
    }
}

impl Table {
    /// One without rows. The names of columns are followed by their rank.
    pub fn new(caption: &str, columns: &[(&str, u8)], empty: &str) -> Table {
        let columns = columns.iter().map(|(name, rank)| Column { name: (*name).into(), rank: *rank });
        Table {
            caption: caption.into(),
            columns: columns.collect(),
            rows: Vec::new(),
            empty: empty.into(),
            is_history: false,
            more: None,
        }
    }
}

impl LogLine {
    /// Its text, without styles.
    pub fn text(&self) -> String {
        let text: String = self.parts.iter().map(|(_, text)| text.as_str()).collect();
        if self.note.is_empty() { text } else { format!("{text} {}", self.note) }
    }
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }
}

impl Page {
    /// An empty page.
    pub fn at(view: &View, title: &str, (seq, now): (u64, Timestamp)) -> Page {
        Page {
            title: title.into(),
            address: view.to_string(),
            twin: view.twin(),
            up: view.parent().map(|up| Link { text: up.words()[1..].join(" "), address: up.to_string() }),
            seq,
            now,
            is_past: false,
            head: Vec::new(),
            tables: Vec::new(),
            log: None,
            differences: Vec::new(),
        }
    }

    /// The same page with every text changed, as for an operator who may not read some names.
    pub fn with_texts(mut self, change: &dyn Fn(&str) -> String) -> Page {
        let over = |text: &mut String| *text = change(text);
        for line in &mut self.head {
            over(&mut line.text);
            line.command.iter_mut().for_each(over);
        }
        for cell in self.tables.iter_mut().flat_map(|table| &mut table.rows).flat_map(|row| &mut row.cells) {
            match cell {
                Cell::Text(text) | Cell::Strip(_, text) | Cell::Spark(_, text) => over(text),
                Cell::Since(_) | Cell::Took(_) => {}
            }
        }
        if let Some(log) = &mut self.log {
            log.lines.iter_mut().flat_map(|line| &mut line.parts).for_each(|(_, text)| over(text));
            log.notes.iter_mut().for_each(over);
        }
        for difference in &mut self.differences {
            over(&mut difference.caption);
            difference.lines.iter_mut().for_each(|line| over(&mut line.text));
        }
        self
    }

    /// The worst states of its rows, for a title that is read without the page: `H1 ?1`.
    pub fn alarms(&self) -> String {
        let rows = self.tables.iter().filter(|table| !table.is_history).flat_map(|table| &table.rows);
        let mut counts: Vec<(char, usize)> = Vec::new();
        let problems: Vec<&TableRow> = rows.filter(|row| row.mark.is_problem()).collect();
        // In the order of boards; states with one letter are one number.
        for letter in Mark::ALL.map(Mark::letter) {
            let of = problems.iter().filter(|row| row.mark.letter() == letter).map(|row| row.count);
            let count: usize = of.sum();
            if count > 0 && !counts.iter().any(|(known, _)| *known == letter) {
                counts.push((letter, count));
            }
        }
        counts.iter().map(|(letter, count)| format!("{letter}{count}")).collect::<Vec<_>>().join(" ")
    }
}
