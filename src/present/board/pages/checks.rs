//! Watched checks: those that are not ok first. One check on all of its hosts over time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::fleet::CheckCounts;
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::outcome::{Verdict, seconds};
use crate::domain::watch::roll::{CheckLine, Quiet, Sample};
use crate::present::board::mark::Mark;
use crate::present::board::page::{Cell, Line, Link, Page, Table, TableRow};
use crate::present::board::spark;
use crate::present::table::{age, folded, moment};

/// Most rows of hosts on one page, and on one with all rows.
const ROWS: usize = 50;
const ALL_ROWS: usize = 200;

/// Most rows of checks.
const KINDS: usize = 200;

/// Parts of the time that a strip shows.
const BUCKETS: usize = 48;

/// The time that a strip shows.
const SHOWN: Duration = Duration::from_secs(24 * 3_600);

/// All checks.
pub fn page(lines: &[CheckLine], view: &View, (seq, now): (u64, Timestamp)) -> Page {
    let mut page = Page::at(view, "checks", (seq, now));
    let counts = CheckCounts::of(lines.iter());
    page.head.push(match lines.iter().filter_map(|line| line.last_at).min() {
        _ if lines.is_empty() => {
            Line::plain("no check is watched; watched are those with `every` in checks/")
        }
        None => Line::marked(counts.mark(), counts.words()),
        Some(oldest) => Line::marked(
            counts.mark(),
            format!("{}; the oldest observation is {} old", counts.words(), age(oldest, now)),
        ),
    });
    let columns = [("state", 0), ("check", 0), ("hosts", 0), ("for", 1), ("note", 2), ("observed", 1)];
    let mut table = Table::new("checks", &columns, "no check is watched");
    let mut kinds: BTreeMap<CheckKind, Vec<&CheckLine>> = BTreeMap::new();
    lines.iter().for_each(|line| kinds.entry(CheckKind::of(line)).or_default().push(line));
    let left = kinds.len().saturating_sub(KINDS);
    for (CheckKind { mark, check, note, text, .. }, lines) in kinds.into_iter().take(KINDS) {
        let hosts = folded(lines.iter().map(|line| &line.host));
        let since = lines.iter().filter_map(|line| line.since).min();
        table.rows.push(TableRow {
            key: format!("{check} {hosts}"),
            count: lines.len(),
            mark,
            cells: vec![
                Cell::text(if mark == Mark::NotStarted { "not probed yet" } else { mark.word() }),
                Cell::text(check.clone()),
                Cell::text(hosts),
                since.map_or_else(|| Cell::text(""), Cell::Since),
                Cell::text(note),
                Cell::text(text),
            ],
            address: Some(View::of(PageName::Check(check)).to_string()),
        });
    }
    if left > 0 {
        let text = format!("{} more; in a terminal: ssh rollcall status", count(left, "row"));
        table.more = Some(Link { text, address: View::of(PageName::Checks).to_string() });
    }
    page.tables.push(table);
    page
}

/// What rows of the same kind have in common, in the order of the page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CheckKind {
    mark: Mark,
    is_quiet: bool,
    check: String,
    note: String,
    text: String,
}

impl CheckKind {
    fn of(line: &CheckLine) -> CheckKind {
        // Observations of hosts that are well differ from host to host, and would keep equal states apart.
        let text = if line.is_problem() { line.text.replace('\n', " ") } else { String::new() };
        let (mark, is_quiet) = (Mark::of_verdict(line.verdict), line.quiet.is_some());
        CheckKind { mark, is_quiet, check: line.check.to_string(), note: note(line), text }
    }
}

fn note(line: &CheckLine) -> String {
    let mut notes = Vec::new();
    if line.is_problem() && !line.hard {
        notes.push(format!("probe {} of {}", line.attempt, line.max_attempts));
    }
    notes.extend(line.flapping.then(|| "flapping".to_string()));
    notes.extend(line.ack.iter().map(|ack| format!("acknowledged by {}: {}", ack.by, ack.why)));
    notes.extend(line.quiet.as_ref().map(|quiet| match quiet {
        Quiet::Downtime { by, until, .. } => format!("downtime by {by} until {}", moment(*until)),
        Quiet::InHand { run } => format!("run {run} is working on it"),
        Quiet::DependsOn { on } => format!("depends on {on}"),
    }));
    notes.join("; ")
}

/// A host of one check: its present state and its probes, oldest first.
pub struct CheckHistory<'a> {
    pub line: &'a CheckLine,
    pub samples: Vec<Sample>,
}

/// The hosts that the page of a check lists, those with problems first.
pub fn listed<'a>(lines: &'a [CheckLine], view: &View) -> Vec<&'a CheckLine> {
    let mut sorted: Vec<&CheckLine> = lines.iter().collect();
    sorted.sort_by_key(|line| Mark::of_verdict(line.verdict));
    sorted.truncate(if view.all { ALL_ROWS } else { ROWS });
    sorted
}

/// One check on its hosts; `total` is how many have it.
pub fn check(
    name: &str,
    (hosts, total): (&[CheckHistory<'_>], usize),
    view: &View,
    (seq, now): (u64, Timestamp),
) -> Page {
    let mut page = Page::at(view, &format!("check {name}"), (seq, now));
    let oldest = now.checked_sub(SHOWN).unwrap_or(Timestamp::MIN);
    page.head.push(Line::plain(format!(
        "from {} to {}, oldest first; {} a column",
        moment(oldest),
        moment(now),
        "half an hour"
    )));
    let columns = [
        ("state", 0),
        ("host", 0),
        ("last day", 1),
        ("for", 1),
        ("of the probes ok", 2),
        ("measured", 3),
        ("observed", 1),
    ];
    let mut table = Table::new("hosts", &columns, "no host has this check");
    table.rows = hosts.iter().map(|one| row(one, now)).collect();
    let left = total.saturating_sub(hosts.len());
    if left > 0 {
        let all = View { all: true, ..view.clone() };
        table.more = Some(Link { text: format!("{} more", count(left, "host")), address: all.to_string() });
    }
    page.tables.push(table);
    page
}

fn row(one: &CheckHistory<'_>, now: Timestamp) -> TableRow {
    let (line, mark) = (one.line, Mark::of_verdict(one.line.verdict));
    let strip = strip(&one.samples, now);
    let words = format!(
        "{} of {} half hours with a problem",
        strip.iter().filter(|mark| mark.is_problem()).count(),
        BUCKETS
    );
    TableRow {
        key: line.host.to_string(),
        count: 1,
        mark,
        cells: vec![
            Cell::text(mark.word()),
            Cell::text(line.host.to_string()),
            Cell::Strip(strip, words),
            line.since.map_or_else(|| Cell::text(""), Cell::Since),
            Cell::text(uptime(&one.samples, now)),
            measured(&one.samples, now),
            Cell::text(line.text.replace('\n', " ")),
        ],
        address: Some(host_page(&line.host)),
    }
}

/// The page of a host.
pub fn host_page(host: &HostName) -> String {
    View::of(PageName::Host(host.to_string())).to_string()
}

/// The worst verdict of each part of the last day; a part without a probe is not started.
pub fn strip(samples: &[Sample], now: Timestamp) -> Vec<Mark> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; BUCKETS];
    for sample in samples {
        let Some(place) = bucket(sample, now).and_then(|at| verdicts.get_mut(at)) else { continue };
        *place = Some(Verdict::worst(place.iter().copied().chain([sample.verdict])));
    }
    verdicts.into_iter().map(Mark::of_verdict).collect()
}

/// The part of the last day that a probe belongs to.
fn bucket(sample: &Sample, now: Timestamp) -> Option<usize> {
    let age = Duration::try_from(now.duration_since(sample.at)).ok()?;
    let bucket = SHOWN / BUCKETS as u32;
    BUCKETS.checked_sub((age.as_secs_f64() / bucket.as_secs_f64()) as usize + 1)
}

/// The judged numbers of the last day, the newest one of each part; of a check without numbers, how long its probes took at most.
pub fn measured(samples: &[Sample], now: Timestamp) -> Cell {
    let has_values = samples.iter().any(|sample| sample.value.is_some());
    let mut numbers: Vec<Option<f64>> = vec![None; BUCKETS];
    for sample in samples {
        let Some(place) = bucket(sample, now).and_then(|at| numbers.get_mut(at)) else { continue };
        *place = match has_values {
            true => sample.value.or(*place),
            false => Some(place.unwrap_or_default().max(sample.took_ms as f64)),
        };
    }
    spark::cell(&numbers, |low, high| match has_values {
        true => format!("from {} to {}", number(low), number(high)),
        false => format!("probes took {} to {}", seconds(low as u64), seconds(high as u64)),
    })
}

/// With at most two digits behind the point.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The part of the probes of the last day that were ok. What could not be observed counts as neither.
fn uptime(samples: &[Sample], now: Timestamp) -> String {
    let oldest = now.checked_sub(SHOWN).unwrap_or(Timestamp::MIN);
    let begun = samples.first().map_or(oldest, |sample| sample.at.max(oldest));
    let known = samples.iter().filter(|sample| sample.at >= oldest && sample.verdict != Verdict::Unknown);
    let (all, ok) =
        known.fold((0, 0), |(all, ok), sample| (all + 1, ok + u32::from(sample.verdict == Verdict::Ok)));
    if all == 0 {
        "no probe".into()
    } else {
        format!("{:.1} % of {all} in {}", f64::from(ok) * 100.0 / f64::from(all), age(begun, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, value: Option<f64>, took_ms: u64) -> Sample {
        let at = Timestamp::from_second(second).unwrap();
        Sample { at, verdict: Verdict::Ok, value, took_ms, run: None }
    }

    #[test]
    fn numbers_of_a_day_are_those_that_are_judged_or_how_long_probes_took() {
        let now = Timestamp::from_second(200_000).unwrap();
        let of = |samples: &[Sample]| match measured(samples, now) {
            Cell::Spark(levels, words) => (levels[BUCKETS - 2..].to_vec(), words),
            _ => (vec![], String::new()),
        };
        let (older, newer) = (200_000 - 2_000, 200_000 - 10);
        type Row = (Vec<Sample>, Vec<Option<u8>>, &'static str);
        let rows: [Row; 5] = [
            (vec![], vec![], ""),
            (vec![sample(1, Some(1.0), 1)], vec![], ""),
            (
                vec![
                    sample(older, Some(10.0), 1),
                    sample(newer, Some(70.0), 1),
                    sample(newer, Some(12.345), 1),
                ],
                vec![Some(0), Some(7)],
                "from 10 to 12.35",
            ),
            (vec![sample(older, Some(3.0), 1), sample(newer, None, 9)], vec![Some(0), None], "from 3 to 3"),
            (
                vec![sample(older, None, 1_500), sample(newer, None, 20), sample(newer, None, 10)],
                vec![Some(7), Some(0)],
                "probes took 20ms to 1.5s",
            ),
        ];
        for (samples, levels, words) in rows {
            assert_eq!(of(&samples), (levels, words.into()));
        }
    }
}
