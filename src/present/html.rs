//! A page of the boards as HTML. It is complete without script; the one script only brings it up to date. Everything that is
//! not ours is text: maud escapes it.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::board::mark::{Mark, Role};
use super::board::page::{Cell, Difference, Line, Log, LogLine, Page, Side, Table, TableRow};
use super::board::spark::blocks;
use super::table::age;
use crate::domain::ask::view::{MENU, View};
use crate::domain::base::outcome::seconds;
use crate::domain::base::output::printable;

/// Who reads a page, and what it needs.
pub struct Frame<'a> {
    pub viewer: &'a str,
    pub version: &'a str,
    /// The addresses of the style sheet, the script and the icon.
    pub assets: [&'a str; 3],
}

/// A file that pages need.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    pub name: &'static str,
    pub media: &'static str,
    pub text: &'static str,
}

/// All of them.
pub const ASSETS: [Asset; 3] = [
    Asset { name: "board.css", media: "text/css; charset=utf-8", text: include_str!("html/board.css") },
    Asset { name: "board.js", media: "text/javascript; charset=utf-8", text: include_str!("html/board.js") },
    Asset { name: "board.svg", media: "image/svg+xml", text: include_str!("html/board.svg") },
];

/// The document of a page.
pub fn document(page: &Page, frame: &Frame<'_>) -> String {
    let alarms = page.alarms();
    let title = format!("{alarms}{}{} - rollcall", if alarms.is_empty() { "" } else { " " }, page.title);
    let body = html! {
        h1 { (shown(&page.title)) }
        @if page.is_past {
            p.past { "PAST: as it was after event " (page.seq) ". " a href=(now_address(page)) { "now" } }
        }
        ul.head { @for line in &page.head { (head_line(line)) } }
        @for table in &page.tables { (table_markup(table, page.now)) }
        @if let Some(log) = &page.log { (log_markup(log)) }
        @if !page.differences.is_empty() { (differences_markup(&page.differences)) }
    };
    let freshness = html! { "event " (page.seq) };
    framed((&title, frame), page, (&freshness, &body))
}

/// The document in place of a page that there is none of.
pub fn refusal(title: &str, why: &str, frame: &Frame<'_>) -> String {
    let body = html! {
        h1 { (title) }
        p { (shown(why)) }
        p { a href="/" { "fleet" } }
    };
    document_of((title, frame), html! {}, &body)
}

fn framed((title, frame): (&str, &Frame<'_>), page: &Page, (freshness, body): (&Markup, &Markup)) -> String {
    let head = html! {
        p #live role="status" data-seq=(page.seq) { (freshness) }
    };
    let body = html! {
        @if let Some(up) = &page.up {
            nav aria-label="up" { a #up href=(up.address) { "up: " (if up.text.is_empty() { "fleet" } else { &up.text }) } }
        }
        (body)
        p.twin { "in a terminal: " code #twin { (shown(&page.twin)) } }
    };
    document_of((title, frame), head, &body)
}

fn document_of((title, frame): (&str, &Frame<'_>), live: Markup, body: &Markup) -> String {
    let [style, script, icon] = frame.assets;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (shown(title)) }
                link rel="stylesheet" href=(style);
                link rel="icon" href=(icon) type="image/svg+xml";
                script src=(script) defer {}
            }
            body {
                a.skip href="#main" { "skip to the page" }
                header {
                    nav aria-label="boards" {
                        @for page in MENU {
                            @let view = View::of(page);
                            a href=(view) { (view.words().get(1).map_or("fleet", String::as_str)) }
                        }
                    }
                    (live)
                    p.viewer { "viewed as " (shown(frame.viewer)) }
                }
                main #main tabindex="-1" { (body) }
                footer { p { "rollcall " (frame.version) ". " span #keys {} } }
            }
        }
    }
    .into_string()
}

/// The same page without its past.
fn now_address(page: &Page) -> &str {
    page.address.split('?').next().unwrap_or("/")
}

/// Text that is not ours, with what would steer a screen made visible.
fn shown(text: &str) -> String {
    printable(text)
}

fn glyph(mark: Mark) -> Markup {
    html! { b class=(mark.role().name()) aria-hidden="true" { (mark.glyph()) } }
}

fn head_line(line: &Line) -> Markup {
    html! {
        li {
            @if let Some(mark) = line.mark { (glyph(mark)) " " }
            @match &line.address {
                Some(address) => a href=(address) { (shown(&line.text)) },
                None => (shown(&line.text)),
            }
            @if let Some(command) = &line.command { " " code.do { (shown(command)) } }
        }
    }
}

fn table_markup(table: &Table, now: Timestamp) -> Markup {
    // A column without any text is left out: it would cost an element in each row.
    let is_used: Vec<bool> = (0..table.columns.len())
        .map(|at| table.rows.iter().any(|row| row.cells.get(at).is_some_and(|cell| *cell != Cell::text(""))))
        .collect();
    let columns = || table.columns.iter().zip(&is_used).filter(|(_, used)| **used).map(|(column, _)| column);
    html! {
        section {
            h2 { (table.caption) }
            @if table.rows.is_empty() {
                p.none { (table.empty) }
            } @else {
                table {
                    caption.hidden { (table.caption) ", " (table.rows.len()) " rows" }
                    thead { tr { @for column in columns() { th scope="col" { (column.name) } } } }
                    tbody { @for row in &table.rows { (row_markup(row, &is_used, now)) } }
                }
            }
            @if let Some(more) = &table.more { p { a href=(more.address) { (more.text) } } }
        }
    }
}

fn row_markup(row: &TableRow, is_used: &[bool], now: Timestamp) -> Markup {
    let cells = || row.cells.iter().zip(is_used).filter(|(_, used)| **used).map(|(cell, _)| cell);
    html! {
        tr id={ "row-" (shown(&row.key)) } {
            @for (at, cell) in cells().enumerate() {
                @match at {
                    0 => td class=(row.mark.role().name()) { (row.mark.glyph()) " " (cell_markup(cell, now)) },
                    1 => th scope="row" {
                        @match &row.address {
                            Some(address) => a href=(address) { (cell_markup(cell, now)) },
                            None => (cell_markup(cell, now)),
                        }
                    },
                    _ => td { (cell_markup(cell, now)) },
                }
            }
        }
    }
}

fn cell_markup(cell: &Cell, now: Timestamp) -> Markup {
    html! {
        @match cell {
            Cell::Text(text) => (shown(text)),
            Cell::Strip(marks, words) => {
                code.strip role="img" aria-label=(shown(words)) { (strip_markup(marks)) }
            },
            Cell::Spark(levels, words) => {
                code.strip aria-hidden="true" { (blocks(levels)) }
                " " (shown(words))
            },
            Cell::Since(since) => time datetime=(since) { (age(*since, now)) },
            Cell::Took(ms) => (seconds(*ms)),
        }
    }
}

/// Equal roles side by side are one element, and those that are well are none: a run has thousands of states.
fn strip_markup(marks: &[Mark]) -> Markup {
    let is_plain = |mark: &Mark| matches!(mark.role(), Role::Good | Role::Idle);
    let role = |mark: &Mark| if is_plain(mark) { None } else { Some(mark.role()) };
    html! {
        @for part in marks.chunk_by(|a, b| role(a) == role(b)) {
            @let glyphs: String = part.iter().map(|mark| mark.glyph()).collect();
            @match part.first().and_then(role) {
                Some(role) => b class=(role.name()) { (glyphs) },
                None => (glyphs),
            }
        }
    }
}

fn log_markup(log: &Log) -> Markup {
    html! {
        section {
            h2 { (log.caption) }
            p.links { @for link in &log.links { a href=(link.address) { (shown(&link.text)) } " " } }
            @if let Some(search) = &log.search {
                form action=(search) method="get" {
                    label { "find " input type="search" name="find" maxlength="200"; }
                }
            }
            @if !log.lines.is_empty() {
                div.log role="log" aria-live="off" aria-label=(log.caption) tabindex="0" {
                    ol { @for line in &log.lines { (log_line(line)) } }
                }
            }
            @for note in &log.notes { p.none { (shown(note)) } }
        }
    }
}

fn differences_markup(differences: &[Difference]) -> Markup {
    html! {
        section {
            h2 { "differences" }
            @for difference in differences {
                div id={ "differs-" (shown(&difference.key)) } {
                    p.links { a href=(difference.address) { (shown(&difference.caption)) } }
                    ol.diff {
                        @for line in &difference.lines {
                            li class=(side_class(line.side)) {
                                span.n { (line.number) " " (line.side.sign()) } " " (shown(&line.text))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn side_class(side: Side) -> &'static str {
    match side {
        Side::Both => "both",
        Side::Common => "common",
        Side::Own => "own",
    }
}

fn log_line(line: &LogLine) -> Markup {
    let parts = html! {
        @for (classes, text) in &line.parts {
            @if classes.is_empty() { (shown(text)) } @else { span class=(classes) { (shown(text)) } }
        }
        @if !line.note.is_empty() { " " span.note { (line.note) } }
    };
    html! {
        li id={ "L" (line.number) } class=[line.is_error.then_some("err")] value=(line.number) {
            @match &line.address {
                Some(address) => a href=(address) { (parts) },
                None => (parts),
            }
        }
    }
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
