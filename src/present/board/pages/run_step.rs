//! One step of a run on all of its hosts: equal outputs folded, and the others with the first line that differs. The page
//! grows with the number of different outputs, not with that of hosts.

use jiff::Timestamp;

use crate::domain::ask::view::{PageName, StepNumber, View};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::output::clipped;
use crate::present::board::answers::{AnswerGroup, Apart, Member, StepAnswers, has_step};
use crate::present::board::fold::RunFold;
use crate::present::board::page::{
    Cell, Difference, DifferenceLine, Line, Link, Page, Side, Table, TableRow,
};
use crate::present::log::thousands;
use crate::present::table::folded;

/// Different outputs of one page, and of one with all rows.
const GROUPS_SHOWN: usize = 50;
const ALL_GROUPS: usize = 500;

/// Equal lines above one that differs.
pub const CONTEXT: usize = 2;

/// Most characters of a line, and those before the place where it differs.
const LINE_CHARS: usize = 240;
const BEFORE_CHARS: usize = 60;

/// How a group compares with the most common one.
#[derive(Clone, Debug, PartialEq)]
pub enum Compared {
    /// It is the most common one.
    Common,
    SameLines,
    /// From this line on.
    Differs(FirstDifference),
    /// They differ, and it is not known in which line.
    Somewhere(String),
}

/// The first line that differs: numbers and texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FirstDifference {
    pub before: Vec<(u64, String)>,
    /// `None` if it has no such line.
    pub common: Option<(u64, String)>,
    pub own: Option<(u64, String)>,
}

impl Compared {
    /// It is not known where: a page reads so much and no more.
    pub fn not_looked_for() -> Compared {
        Compared::Somewhere("differs; where was not looked for: the outputs are too long".into())
    }

    /// With other texts. A page cuts long lines within words: names must be covered before, while they are whole.
    pub fn with_texts(mut self, change: &dyn Fn(&str) -> String) -> Compared {
        if let Compared::Differs(first) = &mut self {
            let lines = first.before.iter_mut().chain(&mut first.common).chain(&mut first.own);
            lines.for_each(|(_, text)| *text = change(text));
        }
        self
    }
}

/// The number of different outputs that a page shows.
pub fn groups_shown(view: &View) -> usize {
    if view.all { ALL_GROUPS } else { GROUPS_SHOWN }
}

/// The page. `compared` has one entry for each group that is shown.
pub fn page(
    fold: &RunFold,
    (view, step): (&View, StepNumber),
    (answers, compared): (&StepAnswers, &[Compared]),
    now: Timestamp,
) -> Page {
    let run = fold.run.id();
    let mut page = Page::at(view, &format!("step {step} of run {run}"), (fold.seq, now));
    page.is_past = view.at.is_some();
    let place = Place { fold, view, step };
    page.head = place.head(answers, compared.len());
    page.tables.push(place.groups(answers, compared));
    page.tables.push(place.apart(&answers.apart));
    let all = answers.groups.iter().zip(compared);
    page.differences = all.filter_map(|(group, compared)| place.difference(group, compared)).collect();
    page
}

struct Place<'a> {
    fold: &'a RunFold,
    view: &'a View,
    step: StepNumber,
}

impl Place<'_> {
    fn head(&self, answers: &StepAnswers, shown: usize) -> Vec<Line> {
        let hosts = |members: usize| count(members, "host");
        let mut head = Vec::new();
        let first = answers.groups.first();
        let text = match first {
            None => format!("{}: no host has an output to compare yet", answers.name),
            Some(_) if !has_common(answers) => {
                let members = hosts(answers.groups.len());
                format!("{}: no two of {members} printed the same and ended alike", answers.name)
            }
            Some(group) => {
                let same = if answers.groups.len() == 1 { "all that are compared" } else { "most common" };
                let lines = lines(group.lines);
                format!("{}: {}: {lines} ({same})", answers.name, hosts(group.members.len()))
            }
        };
        head.push(match first.and_then(|group| group.members.first()) {
            Some(member) => Line::plain(text).leading_to(self.address(member, None)),
            None => Line::plain(text),
        });
        let others = answers.groups.get(1..).unwrap_or_default();
        if !others.is_empty() && has_common(answers) {
            let members = others.iter().map(|group| group.members.len()).sum();
            head.push(Line::plain(format!("{} in {}", hosts(members), count(others.len(), "other group"))));
        }
        if let Some(rest) = answers.groups.get(shown..).filter(|rest| !rest.is_empty()) {
            let members = rest.iter().map(|group| group.members.len()).sum();
            let text = format!("{} of {} are not shown", count(rest.len(), "other group"), hosts(members));
            head.push(Line::plain(text));
        }
        let numbers =
            [("step before", self.step.number.checked_sub(1)), ("next step", Some(self.step.number + 1))];
        for (word, number) in numbers {
            let Some(step) = number.map(|number| StepNumber { number, ..self.step }) else { continue };
            if has_step(self.fold, step) {
                let page = PageName::RunStep(self.fold.run.id(), step);
                let place = View { at: self.view.at, ..View::of(page) };
                head.push(Line::plain(format!("{word}: {step}")).leading_to(place));
            }
        }
        head
    }

    fn groups(&self, answers: &StepAnswers, compared: &[Compared]) -> Table {
        let columns = [("state", 0), ("host", 0), ("hosts", 1), ("lines", 1), ("output", 0), ("note", 2)];
        let mut table = Table::new("outputs", &columns, "no host has an output to compare");
        for (group, compared) in answers.groups.iter().zip(compared) {
            let line = match compared {
                Compared::Differs(first) => first.own.as_ref().map(|(number, _)| *number),
                Compared::Common | Compared::SameLines | Compared::Somewhere(_) => None,
            };
            let class = &group.class;
            let name = (class.name != answers.name).then(|| format!("its step is `{}`", class.name));
            let why = (!class.why.is_empty()).then(|| class.why.replace('\n', " "));
            let own = group.has_own_names.then(|| "the same apart from own names and addresses".to_string());
            let note = name.into_iter().chain(why).chain(own).collect::<Vec<_>>().join("; ");
            table.rows.push(TableRow {
                key: key(&group.members),
                count: group.members.len(),
                mark: class.mark,
                cells: vec![
                    Cell::text(class.mark.word()),
                    Cell::text(names(&group.members)),
                    Cell::text(group.members.len().to_string()),
                    Cell::text(lines(group.lines)),
                    Cell::text(match compared {
                        Compared::Common if !has_common(answers) => "the others are compared with it".into(),
                        compared => words(compared),
                    }),
                    Cell::text(note),
                ],
                address: group.members.first().map(|member| self.address(member, line)),
            });
        }
        let is_cut = answers.groups.len() > compared.len() && !self.view.all;
        table.more = is_cut.then(|| {
            let all = View { all: true, ..self.view.clone() };
            Link { text: "other outputs".into(), address: all.to_string() }
        });
        table
    }

    fn apart(&self, apart: &[Apart]) -> Table {
        let columns = [("state", 0), ("host", 0), ("hosts", 1), ("note", 0)];
        let mut table = Table::new("hosts without an output to compare", &columns, "none");
        table.rows.extend(apart.iter().map(|Apart { mark, why, members }| TableRow {
            key: key(members),
            count: members.len(),
            mark: *mark,
            cells: vec![
                Cell::text(mark.word()),
                Cell::text(names(members)),
                Cell::text(members.len().to_string()),
                Cell::text(why.replace('\n', " ")),
            ],
            address: members.first().map(|member| self.address(member, None)),
        }));
        table
    }

    fn difference(&self, group: &AnswerGroup, compared: &Compared) -> Option<Difference> {
        let Compared::Differs(first) = compared else { return None };
        let member = group.members.first()?;
        let number = first.own.as_ref().map(|(number, _)| *number);
        Some(Difference {
            key: member.host.to_string(),
            caption: format!("{}: {}", names(&group.members), words(compared)),
            address: self.address(member, number),
            lines: first.lines(),
        })
    }

    fn address(&self, member: &Member, line: Option<u64>) -> String {
        let (run, host) = (self.fold.run.id(), member.host.to_string());
        let page = match member.row {
            Some(row) => PageName::Step(run, host, row),
            None => PageName::RunHost(run, host),
        };
        View { at: self.view.at, line, ..View::of(page) }.to_string()
    }
}

impl FirstDifference {
    /// As in a diff, cut to the place that differs.
    fn lines(&self) -> Vec<DifferenceLine> {
        let line = |side, number, text| DifferenceLine { side, number, text };
        let before = self.before.iter().map(|(at, text)| line(Side::Both, *at, clipped(text, LINE_CHARS)));
        let text =
            |line: &Option<(u64, String)>| line.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
        let (common, own) = (text(&self.common), text(&self.own));
        let equal = common.chars().zip(own.chars()).take_while(|(a, b)| a == b).count();
        let cut = |text: &str| match equal.checked_sub(BEFORE_CHARS) {
            Some(skipped) if text.chars().count() > LINE_CHARS => {
                format!("…{}", clipped(&text.chars().skip(skipped).collect::<String>(), LINE_CHARS))
            }
            _ => clipped(text, LINE_CHARS),
        };
        let common = self.common.iter().map(|(at, text)| line(Side::Common, *at, cut(text)));
        let own = self.own.iter().map(|(at, text)| line(Side::Own, *at, cut(text)));
        before.chain(common).chain(own).collect()
    }
}

/// False if each host printed something else.
fn has_common(answers: &StepAnswers) -> bool {
    answers.groups.len() == 1 || answers.groups.first().is_some_and(|group| group.members.len() > 1)
}

fn words(compared: &Compared) -> String {
    match compared {
        Compared::Common => "most common".into(),
        Compared::SameLines => "the same lines as the first output".into(),
        Compared::Somewhere(why) => why.clone(),
        Compared::Differs(FirstDifference { own: Some((number, _)), common: Some(_), .. }) => {
            format!("line {} differs", thousands(*number))
        }
        Compared::Differs(FirstDifference { own: Some((number, _)), .. }) => {
            format!("line {} and what follows are not in the first output", thousands(*number))
        }
        Compared::Differs(first) => match &first.common {
            Some((number, _)) => format!("ends before line {} of the first output", thousands(*number)),
            None => "differs".into(),
        },
    }
}

fn lines(number: u64) -> String {
    format!("{} line{}", thousands(number), if number == 1 { "" } else { "s" })
}

fn key(members: &[Member]) -> String {
    members.first().map(|member| member.host.to_string()).unwrap_or_default()
}

fn names(members: &[Member]) -> String {
    let names: Vec<&HostName> = members.iter().map(|member| &member.host).collect();
    folded(names)
}

#[cfg(test)]
#[path = "run_step_tests.rs"]
mod tests;
