//! What a board looks like: one line at the top that says what it is and how fresh, the page below it, and one line of keys.

use jiff::Timestamp;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use super::body::{BodyLine, Shape, cut, lines};
use super::model::{KEYS, Lines, Model, Prompt};
use crate::present::board::block::Screen;
use crate::present::board::mark::Role;
use crate::present::board::page::Page;

/// Largest screen that is drawn; a client may claim any size.
const WIDEST: usize = 500;
const TALLEST: usize = 200;

/// The size of a screen that does not say its own.
const USUAL: (usize, usize) = (80, 24);

/// The lines of a page on a screen.
pub struct Shown {
    lines: Vec<BodyLine>,
    width: usize,
    height: usize,
    has_utf8: bool,
    has_colour: bool,
}

impl Shown {
    /// Lays the page of a board out for a screen.
    pub fn new(model: &Model, screen: Screen, now: Timestamp) -> Shown {
        let size = |given: usize, usual: usize, most: usize| if given == 0 { usual } else { given.min(most) };
        let width = size(screen.width, USUAL.0, WIDEST);
        let height = size(screen.height, USUAL.1, TALLEST);
        let has_utf8 = screen.has_utf8 && !model.is_ascii;
        let shape = Shape { width, has_utf8 };
        // Ages in the past are those of then.
        let time = |page: &Page| if page.is_past { page.now } else { now };
        let lines = model.page.as_ref().map(|page| lines(page, shape, time(page))).unwrap_or_default();
        Shown { lines, width, height, has_utf8, has_colour: screen.has_colour }
    }

    /// Draws it.
    pub fn draw(&self, model: &Model) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, self.width as u16, self.height as u16));
        self.header(model, &mut buffer);
        if self.height < 3 {
            return buffer;
        }
        let top = self.top(model);
        for (row, (at, line)) in self.lines.iter().enumerate().skip(top).take(self.height()).enumerate() {
            let is_chosen = at == model.chosen;
            self.line(line, (row + 1, is_chosen), &mut buffer);
        }
        let last = self.height - 1;
        let text = self.footer(model);
        let style = if model.prompt.is_some() { reversed() } else { Style::new() };
        self.put(&mut buffer, (0, last), &text, style);
        buffer
    }

    /// The first line on the screen: the chosen one stays within its upper two thirds.
    fn top(&self, model: &Model) -> usize {
        let height = self.height();
        let most = self.lines.len().saturating_sub(height);
        model.chosen.saturating_sub(height * 2 / 3).min(most)
    }

    fn header(&self, model: &Model, buffer: &mut Buffer) {
        let shape = Shape { width: self.width, has_utf8: self.has_utf8 };
        let (title, fresh) = match &model.page {
            None => ("rollcall".to_string(), "loading".to_string()),
            Some(page) => {
                let alarms = page.alarms();
                let space = if alarms.is_empty() { "" } else { " " };
                let fresh = match (&model.stale, page.is_past) {
                    (Some(_), _) => "STALE".to_string(),
                    (None, true) => format!("PAST {}", page.seq),
                    (None, false) => format!("live {}", page.seq),
                };
                (format!("{alarms}{space}{}", shape.safe(&page.title)), fresh)
            }
        };
        // What is most urgent comes first: a narrow screen cuts the rest.
        let room = self.width.saturating_sub(fresh.width() + 2);
        let text = match room {
            0..12 => cut(&title, self.width),
            _ => {
                let title = cut(&title, room);
                let gap = self.width - title.width().min(self.width) - fresh.width();
                format!("{title}{}{fresh}", " ".repeat(gap))
            }
        };
        let padded = format!("{text}{}", " ".repeat(self.width.saturating_sub(text.width())));
        self.put(buffer, (0, 0), &padded, reversed());
    }

    fn footer(&self, model: &Model) -> String {
        let shape = Shape { width: self.width, has_utf8: self.has_utf8 };
        let text = match (&model.prompt, &model.message) {
            (Some(Prompt::Go { typed }), _) => format!("go to a run, a host or a page: {typed}"),
            (Some(Prompt::Reason { host, typed }), _) => format!("settle {host} because: {typed}"),
            (Some(Prompt::Act { line, word, typed }), _) => format!("{line}: type {word} to do it: {typed}"),
            (None, Some(message)) => message.lines().next().unwrap_or_default().to_string(),
            (None, None) if model.shows_keys => KEYS.to_string(),
            (None, None) => {
                let chosen = self.lines.get(model.chosen).and_then(|line| line.command.clone());
                let keys =
                    if self.width < 40 { "? keys  q quit" } else { "? keys  Enter open  Esc back  q quit" };
                chosen.map_or_else(|| keys.to_string(), |command| format!("{command}    {keys}"))
            }
        };
        cut(&shape.safe(&text), self.width)
    }

    fn line(&self, line: &BodyLine, (row, is_chosen): (usize, bool), buffer: &mut Buffer) {
        let mut x = 0;
        for part in &line.parts {
            let mut style = part.role.map_or_else(Style::new, |role| self.style(role));
            if part.is_bold {
                style = style.add_modifier(Modifier::BOLD);
            }
            if is_chosen && line.is_choice() {
                style = reversed();
            }
            let room = self.width.saturating_sub(x);
            let text = cut(&part.text, room);
            self.put(buffer, (x, row), &text, style);
            x += text.width();
        }
    }

    /// The 16 colours of the operator's own theme, as the live lines have them.
    fn style(&self, role: Role) -> Style {
        let colour = |colour: Color| if self.has_colour { Style::new().fg(colour) } else { Style::new() };
        match role {
            Role::Good => colour(Color::Green),
            Role::Idle => Style::new(),
            Role::Busy => colour(Color::Blue).add_modifier(Modifier::BOLD),
            Role::Warn => colour(Color::Yellow).add_modifier(Modifier::REVERSED),
            Role::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
            Role::Held => colour(Color::Magenta).add_modifier(Modifier::BOLD | Modifier::REVERSED),
        }
    }

    fn put(&self, buffer: &mut Buffer, (x, y): (usize, usize), text: &str, style: Style) {
        if x < self.width && y < self.height {
            buffer.set_stringn(x as u16, y as u16, text, self.width - x, style);
        }
    }
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

impl Lines for Shown {
    fn count(&self) -> usize {
        self.lines.len()
    }

    fn is_choice(&self, at: usize) -> bool {
        self.lines.get(at).is_some_and(BodyLine::is_choice)
    }

    fn is_problem(&self, at: usize) -> bool {
        self.lines.get(at).is_some_and(|line| line.is_problem)
    }

    fn address(&self, at: usize) -> Option<String> {
        self.lines.get(at).and_then(|line| line.address.clone())
    }

    fn height(&self) -> usize {
        self.height.saturating_sub(2)
    }
}
