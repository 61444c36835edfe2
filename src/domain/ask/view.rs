//! The pages of the boards. A page has one address: words on the line, a path in the browser.

use std::fmt;
use std::str::FromStr;

use clap::Args;

use super::number::Number;
use crate::domain::base::name::{RunId, clipped};

pub(super) const BOARD_USAGE: &str = "ssh rollcall board [runs | run N [HOST [STEP]] | step N STEP | host HOST | checks | check NAME | debts | audit]";

/// The words of `board`.
#[derive(Args, Debug)]
pub(super) struct BoardWords {
    /// The page; without one, the fleet
    words: Vec<String>,
    /// All rows, also where equal ones are folded
    #[arg(long)]
    all: bool,
    /// A run as it was after the event with this number
    #[arg(long)]
    at: Option<Number>,
    /// The line of output to show
    #[arg(long)]
    line: Option<Number>,
    /// The lines of output with this text
    #[arg(long)]
    find: Option<String>,
    /// The page is open already, and is made anew: it is no visit
    #[arg(long)]
    open: bool,
}

impl BoardWords {
    /// The page that they ask for.
    pub(super) fn view(self) -> Result<View, String> {
        let view = View::read(&self.words)?;
        let (at, line) = (self.at.map(u64::from), self.line.map(u64::from));
        Ok(View { all: self.all, at, line, find: self.find, is_open: self.open, ..view })
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub page: PageName,
    /// All rows, where a page folds equal ones and cuts long lists.
    pub all: bool,
    /// The state after the event with this number, instead of now. Pages of runs alone have it.
    pub at: Option<u64>,
    /// The line of output that is shown, with some around it.
    pub line: Option<u64>,
    /// The text whose lines of output are listed.
    pub find: Option<String>,
    /// It is open already, and is made anew. No part of its address.
    pub is_open: bool,
}

/// What a page is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PageName {
    Fleet,
    Runs,
    Run(RunId),
    /// A host of a run.
    RunHost(RunId, String),
    /// One step of a host of a run: the number of its row on the page of the host.
    Step(RunId, String, usize),
    /// One step of a run on all of its hosts.
    RunStep(RunId, StepNumber),
    Host(String),
    Checks,
    Check(String),
    Debts,
    Audit,
}

/// The number of a step in the plan of a host, as `output` takes it: `5`, or `b5` for one of the rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepNumber {
    pub is_back: bool,
    /// From 1.
    pub number: usize,
}

impl fmt::Display for StepNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_back { "b" } else { "" }, self.number)
    }
}

impl FromStr for StepNumber {
    type Err = String;

    fn from_str(word: &str) -> Result<StepNumber, String> {
        let back = word.strip_prefix('b');
        let number = number_of(back.unwrap_or(word))?;
        let number = usize::try_from(number).map_err(|_| format!("there is no step {number}"))?;
        Ok(StepNumber { is_back: back.is_some(), number })
    }
}

/// The pages that keys and menus lead to, in their order.
pub const MENU: [PageName; 5] =
    [PageName::Fleet, PageName::Runs, PageName::Checks, PageName::Debts, PageName::Audit];

impl View {
    /// The page as it is now.
    pub fn of(page: PageName) -> View {
        View { page, all: false, at: None, line: None, find: None, is_open: false }
    }

    /// Reads the words of an address: `run 41 web03`.
    pub fn read(words: &[String]) -> Result<View, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let page = match words.as_slice() {
            [] | ["fleet"] => PageName::Fleet,
            ["runs"] => PageName::Runs,
            ["run", run] => PageName::Run(run_of(run)?),
            ["run", run, host] => PageName::RunHost(run_of(run)?, (*host).into()),
            ["run", run, host, step] => {
                let step = number_of(step)?;
                let step = usize::try_from(step).map_err(|_| format!("there is no step {step}"))?;
                PageName::Step(run_of(run)?, (*host).into(), step)
            }
            // Behind `run N` there is a host, which may be called `step`.
            ["step", run, step] => PageName::RunStep(run_of(run)?, step.parse()?),
            ["host", host] => PageName::Host((*host).into()),
            ["checks"] => PageName::Checks,
            ["check", name @ ..] if !name.is_empty() => PageName::Check(name.join(" ")),
            ["debts"] => PageName::Debts,
            ["audit"] => PageName::Audit,
            other => {
                return Err(format!(
                    "there is no page `{}`; pages are: runs, run N [HOST [STEP]], step N STEP, host HOST, checks, check NAME, debts, audit",
                    clipped(&other.join(" "))
                ));
            }
        };
        Ok(View::of(page))
    }

    /// Reads an address of a browser: a path and a query.
    pub fn at_address(address: &str) -> Result<View, String> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let parts: Option<Vec<String>> = path.split('/').skip(1).map(unescaped).collect();
        let parts = parts.unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let words: Vec<&str> = match parts.as_slice() {
            [""] => vec![],
            ["runs", run] => vec!["run", run],
            ["runs", run, "hosts", host] => vec!["run", run, host],
            ["runs", run, "hosts", host, "steps", step] => vec!["run", run, host, step],
            ["runs", run, "steps", step] => vec!["step", run, step],
            ["hosts", host] => vec!["host", host],
            ["checks", name] => vec!["check", name],
            [one @ ("runs" | "checks" | "debts" | "audit")] => vec![one],
            _ => return Err(format!("there is no page {}", clipped(path))),
        };
        let words: Vec<String> = words.into_iter().map(String::from).collect();
        let mut view = View::read(&words)?;
        for field in query.split('&').filter(|field| !field.is_empty()) {
            match field.split_once('=') {
                Some(("rows", "all")) => view.all = true,
                Some(("at", number)) => view.at = Some(number_of(number)?),
                Some(("line", number)) => view.line = Some(number_of(number)?),
                // A form writes a blank as `+`.
                Some(("find", text)) => {
                    let text = unescaped(&text.replace('+', " ")).ok_or("the text to find cannot be read")?;
                    view.find = Some(text).filter(|text| !text.is_empty());
                }
                _ => {
                    let known = "rows=all, at=EVENT, line=N, find=TEXT";
                    return Err(format!("pages have no `{}`; they have: {known}", clipped(field)));
                }
            }
        }
        Ok(view)
    }

    /// The words of the line that prints the page.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = vec!["board".into()];
        let more: Vec<String> = match &self.page {
            PageName::Fleet => vec![],
            PageName::Runs => vec!["runs".into()],
            PageName::Run(run) => vec!["run".into(), run.to_string()],
            PageName::RunHost(run, host) => vec!["run".into(), run.to_string(), host.clone()],
            PageName::Step(run, host, step) => {
                vec!["run".into(), run.to_string(), host.clone(), step.to_string()]
            }
            PageName::RunStep(run, step) => vec!["step".into(), run.to_string(), step.to_string()],
            PageName::Host(host) => vec!["host".into(), host.clone()],
            PageName::Checks => vec!["checks".into()],
            PageName::Check(name) => vec!["check".into(), name.clone()],
            PageName::Debts => vec!["debts".into()],
            PageName::Audit => vec!["audit".into()],
        };
        words.extend(more);
        words.extend(self.all.then(|| "--all".into()));
        for (option, number) in [("--at", self.at), ("--line", self.line)] {
            words.extend(number.into_iter().flat_map(|number| [option.into(), number.to_string()]));
        }
        words.extend(self.find.iter().map(|text| format!("--find={text}")));
        words
    }

    /// The same page as an operator types it.
    pub fn twin(&self) -> String {
        let line = shell_words::join(self.words());
        // The operator's own shell takes one pair of quotes away.
        let is_plain = !line.contains(['\'', '"', '\\']);
        format!("ssh rollcall {}", if is_plain { line } else { shell_words::quote(&line).into_owned() })
    }

    /// The run that the page is about.
    pub fn run(&self) -> Option<RunId> {
        match self.page {
            PageName::Run(run)
            | PageName::RunHost(run, _)
            | PageName::Step(run, ..)
            | PageName::RunStep(run, _) => Some(run),
            _ => None,
        }
    }

    /// The page that this one is part of.
    pub fn parent(&self) -> Option<View> {
        let page = match &self.page {
            PageName::Fleet => return None,
            PageName::Runs | PageName::Host(_) | PageName::Checks | PageName::Debts | PageName::Audit => {
                PageName::Fleet
            }
            PageName::Run(_) => PageName::Runs,
            PageName::RunHost(run, _) | PageName::RunStep(run, _) => PageName::Run(*run),
            PageName::Step(run, host, _) => PageName::RunHost(*run, host.clone()),
            PageName::Check(_) => PageName::Checks,
        };
        // Going up does not leave the past.
        let at = self.at.filter(|_| View::of(page.clone()).run().is_some());
        Some(View { at, ..View::of(page) })
    }
}

fn number_of(word: &str) -> Result<u64, String> {
    word.parse::<Number>().map(u64::from).map_err(|_| format!("`{}` is no number", clipped(word)))
}

fn run_of(word: &str) -> Result<RunId, String> {
    number_of(word).map(RunId)
}

/// The path and the query of the page in a browser.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.page {
            PageName::Fleet => f.write_str("/")?,
            PageName::Runs => f.write_str("/runs")?,
            PageName::Run(run) => write!(f, "/runs/{run}")?,
            PageName::RunHost(run, host) => write!(f, "/runs/{run}/hosts/{}", escaped(host))?,
            PageName::Step(run, host, step) => {
                write!(f, "/runs/{run}/hosts/{}/steps/{step}", escaped(host))?;
            }
            PageName::RunStep(run, step) => write!(f, "/runs/{run}/steps/{step}")?,
            PageName::Host(host) => write!(f, "/hosts/{}", escaped(host))?,
            PageName::Checks => f.write_str("/checks")?,
            PageName::Check(name) => write!(f, "/checks/{}", escaped(name))?,
            PageName::Debts => f.write_str("/debts")?,
            PageName::Audit => f.write_str("/audit")?,
        }
        let mut query = Vec::new();
        query.extend(self.all.then(|| "rows=all".to_string()));
        query.extend(self.at.map(|at| format!("at={at}")));
        query.extend(self.line.map(|line| format!("line={line}")));
        query.extend(self.find.as_ref().map(|text| format!("find={}", escaped(text))));
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

/// A text as one part of a path (RFC 3986, section 3.3).
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => safe.push(byte.into()),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    safe
}

/// The text of such a part; `None` if it is none.
fn unescaped(part: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<View, String> {
        View::read(&shell_words::split(line).unwrap())
    }

    #[test]
    fn a_page_has_one_address() {
        let rows = [
            ("", "/", "board"),
            ("runs", "/runs", "board runs"),
            ("run 41", "/runs/41", "board run 41"),
            ("run 41 web03", "/runs/41/hosts/web03", "board run 41 web03"),
            ("run 41 web03 5", "/runs/41/hosts/web03/steps/5", "board run 41 web03 5"),
            ("step 41 5", "/runs/41/steps/5", "board step 41 5"),
            ("step 41 b2", "/runs/41/steps/b2", "board step 41 b2"),
            ("host web03", "/hosts/web03", "board host web03"),
            ("checks", "/checks", "board checks"),
            (
                "check http/serves the release",
                "/checks/http%2Fserves%20the%20release",
                r"'board check '\''http/serves the release'\'''",
            ),
            ("debts", "/debts", "board debts"),
            ("audit", "/audit", "board audit"),
        ];
        for (line, path, twin) in rows {
            let view = read(line).unwrap();
            assert_eq!(view.to_string(), path);
            assert_eq!(view.twin(), format!("ssh rollcall {twin}"));
            assert_eq!(View::at_address(path), Ok(view.clone()), "{path}");
            let words = view.words();
            assert_eq!(View::read(&words[1..]), Ok(view), "{line}");
        }
        let found = View { find: Some("a b+c&d".into()), ..read("run 41 web03 5").unwrap() };
        assert_eq!(found.to_string(), "/runs/41/hosts/web03/steps/5?find=a%20b%2Bc%26d");
        assert_eq!(View::at_address("/runs/41/hosts/web03/steps/5?find=a+b%2Bc%26d"), Ok(found));
        let view = View { all: true, at: Some(7), line: Some(1200), ..read("run 41 web03 5").unwrap() };
        assert_eq!(view.to_string(), "/runs/41/hosts/web03/steps/5?rows=all&at=7&line=1200");
        assert_eq!(view.twin(), "ssh rollcall board run 41 web03 5 --all --at 7 --line 1200");
        assert_eq!(View::at_address(&view.to_string()), Ok(view));
        for (address, why) in [
            ("/rums", "there is no page /rums"),
            ("/hosts/%zz", "there is no page /hosts/%zz"),
            ("/hosts/%ff", "there is no page /hosts/%ff"),
            (
                "/runs/41?rows=some",
                "pages have no `rows=some`; they have: rows=all, at=EVENT, line=N, find=TEXT",
            ),
            ("/runs/x", "`x` is no number"),
        ] {
            assert_eq!(View::at_address(address), Err(why.into()));
        }
    }

    #[test]
    fn what_is_no_page_is_refused_with_those_there_are() {
        assert!(read("rums").unwrap_err().starts_with("there is no page `rums`; pages are: runs, run N"));
        assert_eq!(read("run x").unwrap_err(), "`x` is no number");
        assert_eq!(read("step 41 c5").unwrap_err(), "`c5` is no number");
        assert_eq!(
            read("run 41 web03 99999999999999999999").unwrap_err(),
            "`99999999999999999999` is no number"
        );
    }

    #[test]
    fn every_page_leads_back_to_the_fleet() {
        let mut view = View { at: Some(7), ..read("run 41 web03 5").unwrap() };
        let mut up = Vec::new();
        while let Some(parent) = view.parent() {
            up.push(parent.to_string());
            view = parent;
        }
        assert_eq!(up, ["/runs/41/hosts/web03?at=7", "/runs/41?at=7", "/runs", "/"]);
        let step = View { at: Some(7), ..read("step 41 b5").unwrap() };
        assert_eq!(step.parent().map(|up| up.to_string()), Some("/runs/41?at=7".into()));
    }
}
