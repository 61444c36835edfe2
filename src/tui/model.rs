//! What a board shows, and what its keys do: [`Model::pressed`] takes a key and returns what the board asks for.

use super::keys::Key;
use crate::domain::ask::view::{MENU, PageName, View};
use crate::present::board::page::Page;

/// The keys, in one line.
pub const KEYS: &str = "j k up down  Enter open  Esc back  n p problem  1-5 pages  , . time  0 now  s settle  x cancel  a approve  A ascii  q quit";

/// Most pages to which Escape leads back.
const HISTORY: usize = 64;

/// Longest text that is typed at a prompt.
const TYPED_CHARS: usize = 200;

/// A board.
#[derive(Clone, Debug)]
pub struct Model {
    pub view: View,
    /// `None` until the first page is there.
    pub page: Option<Page>,
    /// The line that is chosen, among all lines of the page.
    pub chosen: usize,
    /// What was said last: a refusal, or the answer to an act.
    pub message: Option<String>,
    pub prompt: Option<Prompt>,
    pub shows_keys: bool,
    pub is_ascii: bool,
    /// The page could not be brought up to date, and why.
    pub stale: Option<String>,
    back: Vec<View>,
    /// The address of the chosen line.
    anchor: Option<String>,
}

/// A question in the last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Where to go.
    Go { typed: String },
    /// The reason for settling the debt of a host.
    Reason { host: String, typed: String },
    /// A line that acts, and the word that has to be typed for it.
    Act { line: String, word: String, typed: String },
}

/// What a board asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Nothing,
    /// The page of its view.
    Page,
    /// To do what this line says, with the rights of the operator.
    Act(String),
    /// Everything anew: the screen was disturbed.
    Repaint,
    Leave,
}

/// The lines of the page that a model moves among, as the screen has them.
pub trait Lines {
    fn count(&self) -> usize;
    /// True for a line that can be chosen.
    fn is_choice(&self, at: usize) -> bool;
    fn is_problem(&self, at: usize) -> bool;
    fn address(&self, at: usize) -> Option<String>;
    /// The lines of one screen.
    fn height(&self) -> usize;
}

impl Model {
    pub fn new(view: View, is_ascii: bool) -> Model {
        Model {
            view,
            page: None,
            chosen: 0,
            message: None,
            prompt: None,
            shows_keys: false,
            is_ascii,
            stale: None,
            back: Vec::new(),
            anchor: None,
        }
    }

    /// A page has come, or could not be made.
    pub fn arrived(&mut self, page: Result<Page, String>) {
        match page {
            Ok(page) => (self.page, self.stale) = (Some(page), None),
            Err(why) => {
                self.message = Some(why.clone());
                // The page that was there stays. If it is the one that could not be made, it says that it is old.
                match self.is_shown() || self.page.is_none() {
                    true => self.stale = Some(why),
                    false => self.view = self.back.pop().unwrap_or_else(|| View::of(PageName::Fleet)),
                }
            }
        }
    }

    /// True if the page is the one of the view.
    fn is_shown(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.address == self.view.to_string())
    }

    /// The page is laid out anew: the chosen line is the same one, wherever it is now.
    pub fn settle(&mut self, lines: &dyn Lines) {
        let last = lines.count().saturating_sub(1);
        if self.anchor.is_some() && lines.address(self.chosen) != self.anchor {
            let found = (0..lines.count()).find(|at| lines.address(*at) == self.anchor);
            self.chosen = found.unwrap_or(self.chosen);
        }
        self.chosen = self.chosen.min(last);
    }

    /// A key was pressed.
    pub fn pressed(&mut self, key: Key, lines: &dyn Lines) -> Ask {
        if key == Key::Repaint {
            return Ask::Repaint;
        }
        if self.prompt.is_some() {
            return self.typed(key);
        }
        self.message = None;
        if std::mem::take(&mut self.shows_keys) {
            return Ask::Nothing;
        }
        let asked = self.moved(key, lines);
        self.anchor = if asked == Ask::Page { None } else { lines.address(self.chosen) };
        asked
    }

    fn moved(&mut self, key: Key, lines: &dyn Lines) -> Ask {
        match key {
            Key::Interrupt | Key::Char('q') => Ask::Leave,
            Key::Char('j') | Key::Down => self.choose(lines, 1),
            Key::Char('k') | Key::Up => self.choose(lines, -1),
            Key::PageDown => self.choose(lines, lines.height() as isize),
            Key::PageUp => self.choose(lines, -(lines.height() as isize)),
            Key::Char('g') | Key::Home => self.choose(lines, isize::MIN / 2),
            Key::Char('G') | Key::End => self.choose(lines, isize::MAX / 2),
            Key::Char('n') => self.problem(lines, 1),
            Key::Char('p') => self.problem(lines, -1),
            Key::Enter | Key::Char('l') => match lines.address(self.chosen) {
                Some(address) => self.open(View::at_address(&address)),
                None => Ask::Nothing,
            },
            Key::Escape | Key::Backspace => match self.back.pop().or_else(|| self.view.parent()) {
                Some(view) => self.go(view),
                None => Ask::Nothing,
            },
            Key::Char(digit @ '1'..='9') => {
                let page = MENU.get(digit as usize - '1' as usize);
                page.map_or(Ask::Nothing, |page| self.open(Ok(View::of(page.clone()))))
            }
            Key::Char(',') => self.travel(|seq| seq.saturating_sub(1)),
            Key::Char('.') => self.travel(|seq| seq + 1),
            Key::Char('0') if self.view.at.is_some() => self.go(View { at: None, ..self.view.clone() }),
            Key::Char(':') => {
                self.prompt = Some(Prompt::Go { typed: String::new() });
                Ask::Nothing
            }
            Key::Char('?') => {
                self.shows_keys = true;
                Ask::Nothing
            }
            Key::Char('A') => {
                self.is_ascii = !self.is_ascii;
                Ask::Repaint
            }
            Key::Char('y') => {
                self.message = Some(self.view.twin());
                Ask::Nothing
            }
            Key::Char(act @ ('s' | 'x' | 'a')) => self.act(act, lines),
            _ => Ask::Nothing,
        }
    }

    fn choose(&mut self, lines: &dyn Lines, by: isize) -> Ask {
        let last = lines.count().saturating_sub(1) as isize;
        let mut at = (self.chosen as isize + by).clamp(0, last);
        let forward = if by > 0 { 1 } else { -1 };
        while (0..=last).contains(&at) && !lines.is_choice(at as usize) && lines.count() > 0 {
            at += forward;
        }
        // Behind the last choice the page still moves, so that all of it can be read.
        self.chosen = if (0..=last).contains(&at) {
            at as usize
        } else {
            (self.chosen as isize + by).clamp(0, last) as usize
        };
        Ask::Nothing
    }

    fn problem(&mut self, lines: &dyn Lines, by: isize) -> Ask {
        let mut at = self.chosen as isize + by;
        while at >= 0 && (at as usize) < lines.count() {
            if lines.is_problem(at as usize) && lines.is_choice(at as usize) {
                self.chosen = at as usize;
                return Ask::Nothing;
            }
            at += by;
        }
        self.message = Some(if by > 0 { "no problem below" } else { "no problem above" }.into());
        Ask::Nothing
    }

    fn open(&mut self, view: Result<View, String>) -> Ask {
        match view {
            Ok(view) => {
                self.back.push(self.view.clone());
                if self.back.len() > HISTORY {
                    self.back.remove(0);
                }
                self.go(view)
            }
            Err(why) => {
                self.message = Some(why);
                Ask::Nothing
            }
        }
    }

    fn go(&mut self, view: View) -> Ask {
        (self.view, self.chosen) = (view, 0);
        Ask::Page
    }

    /// One event back or forward in the past of a run.
    fn travel(&mut self, to: impl Fn(u64) -> u64) -> Ask {
        let Some(seq) = self.page.as_ref().map(|page| page.seq).filter(|_| self.view.run().is_some()) else {
            self.message = Some("only pages of runs show an earlier state".into());
            return Ask::Nothing;
        };
        let at = to(seq);
        self.view = View { at: Some(at), ..self.view.clone() };
        Ask::Page
    }

    /// An act on what is chosen, which has to be confirmed by typing its name.
    fn act(&mut self, act: char, lines: &dyn Lines) -> Ask {
        let address = lines.address(self.chosen).and_then(|address| View::at_address(&address).ok());
        let chosen = address.as_ref().unwrap_or(&self.view);
        let host = match &chosen.page {
            PageName::RunHost(_, host) | PageName::Host(host) | PageName::Step(_, host, _) => {
                Some(host.clone())
            }
            _ => None,
        };
        let run = chosen.run().or_else(|| self.view.run());
        let (line, word) = match (act, host, run) {
            ('s', Some(host), _) => {
                self.prompt = Some(Prompt::Reason { host, typed: String::new() });
                return Ask::Nothing;
            }
            ('x', _, Some(run)) => (format!("cancel {run}"), run.to_string()),
            ('a', _, Some(run)) => (format!("approve {run}"), run.to_string()),
            ('s', None, _) => return self.refuse("choose a host first"),
            _ => return self.refuse("choose a run first"),
        };
        self.prompt = Some(Prompt::Act { line, word, typed: String::new() });
        Ask::Nothing
    }

    fn refuse(&mut self, why: &str) -> Ask {
        self.message = Some(why.into());
        Ask::Nothing
    }

    /// A key at a prompt.
    fn typed(&mut self, key: Key) -> Ask {
        let Some(prompt) = &mut self.prompt else { return Ask::Nothing };
        let (Prompt::Go { typed } | Prompt::Reason { typed, .. } | Prompt::Act { typed, .. }) = prompt;
        match key {
            Key::Char(c) if typed.chars().count() < TYPED_CHARS => typed.push(c),
            Key::Backspace => _ = typed.pop(),
            Key::Escape | Key::Interrupt => {
                self.prompt = None;
                self.message = Some("nothing was done".into());
            }
            Key::Enter => return self.entered(),
            _ => {}
        }
        Ask::Nothing
    }

    fn entered(&mut self) -> Ask {
        match self.prompt.take() {
            Some(Prompt::Go { typed }) => self.open(place(&typed)),
            Some(Prompt::Reason { typed, .. }) if typed.trim().is_empty() => {
                self.refuse("nothing was done: a debt is settled for a reason")
            }
            Some(Prompt::Reason { host, typed }) => {
                let line = format!("settle {host} because {}", shell_words::quote(typed.trim()));
                self.prompt = Some(Prompt::Act { line, word: host, typed: String::new() });
                Ask::Nothing
            }
            Some(Prompt::Act { line, word, typed }) if typed.trim() == word => Ask::Act(line),
            Some(Prompt::Act { word, .. }) => self.refuse(&format!("nothing was done: {word} was not typed")),
            None => Ask::Nothing,
        }
    }
}

/// What is typed behind `:`: the number of a run, the name of a host, or the words of a page.
fn place(typed: &str) -> Result<View, String> {
    let words: Vec<String> = typed.split_whitespace().map(String::from).collect();
    match words.as_slice() {
        [one] if one.bytes().all(|byte| byte.is_ascii_digit()) => View::read(&["run".into(), one.clone()]),
        [one] => View::read(&words).or_else(|_| View::read(&["host".into(), one.clone()])),
        _ => View::read(&words),
    }
}
