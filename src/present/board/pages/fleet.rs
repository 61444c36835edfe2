//! The fleet now: what needs a person, what is under way, and how each group is.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{debts, runs};
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::outcome::Verdict;
use crate::domain::inventory::inventory::{Group, Inventory};
use crate::domain::plan::release::{ReleaseTakeover, arrival};
use crate::domain::run::record::{Debt, RunSummary};
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
    pub debts: &'a [Debt],
    pub runs: &'a [RunSummary],
    pub taken: &'a BTreeMap<HostName, Vec<ReleaseTakeover>>,
    pub checks: &'a [CheckLine],
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
        let open = self.debts.iter().filter(|debt| debt.is_open()).count();
        let problems = self.checks.iter().filter(|line| is_bad(line)).count();
        let runs = match under_way {
            [] => "no run is under way".to_string(),
            [one] => format!("run {} is under way", one.run),
            many => format!("{} are under way", count(many.len(), "run")),
        };
        let mark = if open + problems > 0 { Mark::Held } else { Mark::Ok };
        let hosts = match open {
            0 => "no host is out of rotation by rollcall".to_string(),
            open => format!("{} out of rotation", count(open, "host")),
        };
        let checks = match (problems, self.checks.is_empty()) {
            (_, true) => "no check is watched".to_string(),
            (0, false) => format!("all of {} ok", count(self.checks.len(), "check")),
            (problems, false) => format!("{problems} of {} not ok", count(self.checks.len(), "check")),
        };
        let mut lines = vec![Line::marked(mark, format!("{hosts}; {checks}; {runs}"))];
        lines.extend(self.debts.iter().filter(|debt| debt.is_open()).map(debts::line));
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
        let out = self.debts.iter().filter(|debt| debt.is_open() && members.contains(&debt.host)).count();
        let lines: Vec<&CheckLine> =
            group.hosts.iter().filter_map(|host| checks.get(host)).flatten().copied().collect();
        let counts = |verdict: Verdict| lines.iter().filter(|line| line.verdict == Some(verdict)).count();
        let worst = Verdict::worst(lines.iter().filter(|line| line.hard).filter_map(|line| line.verdict));
        let mark = match (out, lines.is_empty()) {
            (1.., _) => Mark::Held,
            (0, true) => Mark::NotStarted,
            (0, false) => Mark::of_verdict(Some(worst)),
        };
        let word = match mark {
            Mark::Held => "out of rotation",
            Mark::NotStarted => "not watched",
            other => other.word(),
        };
        let verdicts = [Verdict::Critical, Verdict::Unknown, Verdict::Warning, Verdict::Ok];
        let seen = verdicts.into_iter().map(|verdict| (counts(verdict), verdict)).filter(|(n, _)| *n > 0);
        let seen: Vec<String> = seen.map(|(n, verdict)| format!("{n} {}", verdict.word())).collect();
        TableRow {
            key: group.name.clone(),
            mark,
            cells: vec![
                Cell::text(word),
                Cell::text(group.name.clone()),
                Cell::text(group.hosts.len().to_string()),
                Cell::text(out.to_string()),
                Cell::text(self.releases(group)),
                Cell::text(if seen.is_empty() { "-".into() } else { seen.join(", ") }),
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
                if values.is_empty() { taken.release.task.clone() } else { values.join(" ") }
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

/// A problem that was confirmed.
pub fn is_bad(line: &CheckLine) -> bool {
    line.is_problem() && line.hard
}
