//! The fleet now: what needs a person, what is under way, and how each group is.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::debts::Debts;
use super::runs;
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, count};
use crate::domain::inventory::inventory::{Group, Inventory};
use crate::domain::plan::release::{ReleaseTakeover, arrival};
use crate::domain::run::record::RunSummary;
use crate::domain::watch::roll::CheckLine;
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Link, Page, Table, TableRow};

/// Runs that the page lists, besides those under way.
const LAST_RUNS: usize = 5;

/// Releases of a group that are listed.
const RELEASES_LISTED: usize = 3;

/// What the page is made from. All of it is what the operator may see.
pub struct Fleet<'a> {
    pub inventory: &'a Inventory,
    pub debts: &'a Debts<'a>,
    pub runs: &'a [RunSummary],
    pub taken: &'a BTreeMap<HostName, Vec<ReleaseTakeover>>,
    pub checks: &'a [CheckLine],
    /// What happened since the last visit of the operator.
    pub since: Vec<Line>,
}

impl Fleet<'_> {
    /// The page.
    pub fn page(&self, view: &View, (seq, now): (u64, Timestamp)) -> Page {
        let mut page = Page::at(view, "fleet", (seq, now));
        let (under_way, ended): (Vec<RunSummary>, Vec<RunSummary>) =
            self.runs.iter().cloned().partition(|run| run.outcome.is_none());
        page.head = self.head(&under_way);
        page.tables.push(self.groups());
        if !under_way.is_empty() {
            page.tables.push(runs::table(&under_way, "under way"));
        }
        let last: Vec<RunSummary> = ended.into_iter().take(LAST_RUNS).collect();
        let mut last = runs::table(&last, "last runs");
        last.more = Some(Link { text: "all runs".into(), address: View::of(PageName::Runs).to_string() });
        page.tables.push(last);
        page
    }

    fn head(&self, under_way: &[RunSummary]) -> Vec<Line> {
        let runs = match under_way {
            [] if self.debts.is_part => "no run that you may see is under way".to_string(),
            [] => "no run is under way".to_string(),
            [one] => format!("run {} is under way", one.run),
            many => format!("{} are under way", count(many.len(), "run")),
        };
        let debts = self.debts.summary();
        let checks = CheckCounts::of(self.checks.iter());
        let mark = debts.mark.into_iter().chain([checks.mark()]).min().unwrap_or(Mark::Unknown);
        let text = format!("{}; {}; {runs}", debts.text, checks.words());
        let mut lines = vec![Line::marked(mark, text)];
        lines.extend(self.since.iter().cloned());
        lines.extend(self.debts.head());
        lines
    }

    fn groups(&self) -> Table {
        let columns = [("state", 0), ("group", 0), ("hosts", 1), ("out", 1), ("releases", 2), ("checks", 1)];
        let mut table = Table::new("groups", &columns, "the inventory has no hosts");
        let mut checks: HashMap<&HostName, Vec<&CheckLine>> = HashMap::new();
        self.checks.iter().for_each(|line| checks.entry(&line.host).or_default().push(line));
        table.rows = self.inventory.groups.values().map(|group| self.group(group, &checks)).collect();
        table
    }

    fn group(&self, group: &Group, checks: &HashMap<&HostName, Vec<&CheckLine>>) -> TableRow {
        let members: std::collections::HashSet<&HostName> = group.hosts.iter().collect();
        let out = self.debts.count_of(|host| members.contains(host));
        let lines: Vec<&CheckLine> =
            group.hosts.iter().filter_map(|host| checks.get(host)).flatten().copied().collect();
        let counts = CheckCounts::of(lines.iter().copied());
        let mark = if out > 0 { Mark::Held } else { counts.mark() };
        let word = match (mark, lines.is_empty()) {
            (Mark::Held, _) => "out of rotation",
            (_, true) => "not watched",
            (Mark::NotStarted, _) => "not probed yet",
            (other, _) => other.word(),
        };
        TableRow {
            key: group.name.clone(),
            count: 1,
            mark,
            cells: vec![
                Cell::text(word),
                Cell::text(group.name.clone()),
                Cell::text(group.hosts.len().to_string()),
                Cell::text(out.to_string()),
                Cell::text(self.releases(group)),
                Cell::text(counts.words()),
            ],
            address: Some(View::of(PageName::Checks).to_string()),
        }
    }

    /// The releases on the hosts of a group, the most frequent first.
    fn releases(&self, group: &Group) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for host in &group.hosts {
            let present = self.taken.get(host).and_then(|taken| arrival(taken));
            let words = present.map(|taken| {
                let values = taken.release.params.iter().map(|(name, value)| format!("{name}={value}"));
                let values: Vec<String> = values.collect();
                let words = if values.is_empty() { taken.release.task.clone() } else { values.join(" ") };
                let last = self.taken.get(host).and_then(|taken| taken.first());
                last.map_or_else(|| words.clone(), |last| last.shown(words.clone()))
            });
            words.into_iter().for_each(|words| *counts.entry(words).or_default() += 1);
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
        let more = counts.len().saturating_sub(RELEASES_LISTED);
        let mut words: Vec<String> =
            counts.iter().take(RELEASES_LISTED).map(|(name, n)| format!("{name} on {n}")).collect();
        words.extend((more > 0).then(|| format!("{more} more")));
        if words.is_empty() { "-".into() } else { words.join(", ") }
    }
}

/// How many checks have each state. One that was never probed is not ok, and neither is a problem that is not confirmed.
pub struct CheckCounts(BTreeMap<Mark, usize>);

impl CheckCounts {
    pub fn of<'l>(lines: impl Iterator<Item = &'l CheckLine>) -> CheckCounts {
        let mut counts = BTreeMap::new();
        lines.for_each(|line| *counts.entry(Mark::of_verdict(line.verdict)).or_default() += 1);
        CheckCounts(counts)
    }

    /// The state of all of them: the worst one.
    pub fn mark(&self) -> Mark {
        self.0.keys().next().copied().unwrap_or(Mark::NotStarted)
    }

    pub fn words(&self) -> String {
        let word = |mark: Mark| if mark == Mark::NotStarted { "not probed yet" } else { mark.word() };
        match self.0.iter().collect::<Vec<_>>()[..] {
            [] => "no check is watched".into(),
            [(Mark::Ok, all)] => format!("all of {} ok", count(*all, "check")),
            ref many => {
                let counts: Vec<String> =
                    many.iter().map(|(mark, n)| format!("{n} {}", word(**mark))).collect();
                format!("checks: {}", counts.join(", "))
            }
        }
    }
}
