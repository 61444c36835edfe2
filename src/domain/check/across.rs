//! Comparisons of hosts: which of them are outliers. Pure; every value was observed before, at one moment as
//! nearly as the connections allow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use super::judge::judged::{Judged, bounded};
use crate::domain::base::name::HostName;
use crate::domain::base::nodeset::fold;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::base::range::Limits;
use crate::domain::value::template::{self, Vars};

/// Context lines around a difference.
const CONTEXT_LINES: usize = 2;

/// Most bytes of a difference that is printed.
const DIFF_BYTES: usize = 4 * 1024;

/// A comparison: its rule, and the hosts to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Across {
    pub scope: Scope,
    pub rule: AcrossRule,
}

impl Across {
    /// Renders the name of the leader.
    pub fn render(&self, vars: &Vars) -> Result<Across, String> {
        let rule = match &self.rule {
            AcrossRule::Leader { host, limits } => {
                AcrossRule::Leader { host: template::text(host, vars)?, limits: limits.clone() }
            }
            rule => rule.clone(),
        };
        Ok(Across { rule, ..self.clone() })
    }
}

/// The hosts that are compared with each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The group of each host.
    Group,
    /// The hosts of this selector.
    Selected(String),
}

/// The rule that the values must follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcrossRule {
    /// All values are equal.
    Same,
    /// No number differs from the median of all by more than this percentage of it.
    Within { percent: f64 },
    /// The limits of one number computed from all.
    Total { of: Total, limits: Limits },
    /// Every value equals the leader's; with limits, the leader's number minus the host's is within them.
    Leader { host: String, limits: Option<Limits> },
}

/// How one number is computed from many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Total {
    Sum,
    Min,
    Max,
    /// The number of hosts whose own probe was ok.
    Count,
}

impl Total {
    fn word(self) -> &'static str {
        match self {
            Total::Sum => "sum",
            Total::Min => "smallest",
            Total::Max => "largest",
            Total::Count => "hosts that are ok",
        }
    }
}

/// The judged value of each host in a snapshot.
pub type SnapshotValues = BTreeMap<HostName, Judged>;

/// Judges all hosts together. A host whose own probe was not ok keeps its verdict, and is not compared.
pub fn compare(rule: &AcrossRule, seen: &SnapshotValues) -> SnapshotValues {
    let mut verdicts = seen.clone();
    let well: BTreeMap<&HostName, &str> = seen
        .iter()
        .filter(|(_, own)| own.verdict.passes())
        .filter_map(|(host, own)| Some((host, own.value.as_deref()?)))
        .collect();
    let silent = seen.iter().filter(|(_, own)| own.verdict.passes() && own.value.is_none());
    for (host, _) in silent {
        verdicts.insert(
            host.clone(),
            Judged::new(
                Verdict::Unknown,
                "it said nothing that can be compared, or more than a MiB; try: a checksum of it",
            ),
        );
    }
    let judged = match rule {
        AcrossRule::Same => same(&well),
        AcrossRule::Within { percent } => within(&well, *percent),
        AcrossRule::Total { of, limits } => total(&well, seen, *of, limits),
        AcrossRule::Leader { host, limits } => leader(&well, seen, host, limits.as_ref()),
    };
    for (host, compared) in judged {
        let own = seen.get(&host);
        // A passed comparison does not lift the host's own warning.
        let warned = own.filter(|own| own.verdict == Verdict::Warning && compared.verdict == Verdict::Ok);
        verdicts.insert(host, warned.cloned().unwrap_or(compared));
    }
    verdicts
}

fn names<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    fold(hosts.into_iter().map(HostName::as_str))
}

fn all_are(well: &BTreeMap<&HostName, &str>, judged: &Judged) -> SnapshotValues {
    well.keys().map(|host| ((*host).clone(), judged.clone())).collect()
}

fn same(well: &BTreeMap<&HostName, &str>) -> SnapshotValues {
    let mut camps: BTreeMap<&str, BTreeSet<&HostName>> = BTreeMap::new();
    for (host, value) in well {
        camps.entry(value).or_default().insert(host);
    }
    let mut camps: Vec<(&str, BTreeSet<&HostName>)> = camps.into_iter().collect();
    camps.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
    match &camps[..] {
        [] => SnapshotValues::new(),
        _ if well.len() == 1 => all_are(well, &nothing_to_compare()),
        [(_, hosts)] => {
            all_are(well, &Judged::new(Verdict::Ok, format!("the same on all {} hosts", hosts.len())))
        }
        [(_, first), (_, second), ..] if first.len() == second.len() => {
            let sides: Vec<String> = camps.iter().map(|(_, hosts)| names(hosts.iter().copied())).collect();
            let text = format!("no majority: {} stand apart", sides.join(" and "));
            let detail = diff(camps[0].0, camps[1].0, (&sides[0], &sides[1]));
            all_are(well, &Judged { detail, ..Judged::new(Verdict::Critical, text) })
        }
        [(common, majority), others @ ..] => {
            let most = names(majority.iter().copied());
            let outliers = names(others.iter().flat_map(|(_, hosts)| hosts.iter().copied()));
            let fine = Judged::new(Verdict::Ok, format!("the same on {most}; out of line: {outliers}"));
            let mut verdicts: SnapshotValues =
                majority.iter().map(|host| ((*host).clone(), fine.clone())).collect();
            for (value, hosts) in others {
                let text = format!(
                    "not what {most} say{}: {}",
                    if majority.len() == 1 { "s" } else { "" },
                    first_difference(common, value)
                );
                let detail = diff(common, value, (&most, &names(hosts.iter().copied())));
                let outlier = Judged { detail, ..Judged::new(Verdict::Critical, text) };
                verdicts.extend(hosts.iter().map(|host| ((*host).clone(), outlier.clone())));
            }
            verdicts
        }
    }
}

fn nothing_to_compare() -> Judged {
    Judged::new(Verdict::Unknown, "there is no other host to compare it with")
}

/// The first line that differs, for a sentence.
fn first_difference(common: &str, value: &str) -> String {
    let mut lines = common.lines().map(Some).chain(std::iter::repeat(None));
    let mine = value.lines().map(Some).chain([None]);
    let found = mine.map(|line| (lines.next().flatten(), line)).find(|(theirs, mine)| theirs != mine);
    let short = |line: Option<&str>| {
        line.map_or("nothing".into(), |line| format!("{:?}", line.chars().take(60).collect::<String>()))
    };
    let (theirs, mine) = found.unwrap_or_default();
    format!("{} instead of {}", short(mine), short(theirs))
}

fn diff(common: &str, value: &str, (most, few): (&str, &str)) -> String {
    let diff = TextDiff::from_lines(common, value);
    bounded(&diff.unified_diff().context_radius(CONTEXT_LINES).header(most, few).to_string(), DIFF_BYTES)
}

/// The hosts with a number, and verdicts for those without.
fn numbers<'a>(well: &BTreeMap<&'a HostName, &str>) -> (BTreeMap<&'a HostName, f64>, SnapshotValues) {
    let (mut numbers, mut verdicts) = (BTreeMap::new(), SnapshotValues::new());
    for (host, value) in well {
        match value.trim().parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => _ = numbers.insert(*host, number),
            None => {
                let text = format!(
                    "{:?} is no number that can be compared",
                    value.chars().take(60).collect::<String>()
                );
                verdicts.insert((*host).clone(), Judged::new(Verdict::Unknown, text));
            }
        }
    }
    (numbers, verdicts)
}

fn within(well: &BTreeMap<&HostName, &str>, percent: f64) -> SnapshotValues {
    let (numbers, mut verdicts) = numbers(well);
    let mut sorted: Vec<f64> = numbers.values().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let Some(median) = median(&sorted) else { return verdicts };
    let room = (median * percent / 100.0).abs();
    for (host, number) in &numbers {
        let off = number - median;
        let judged = match (numbers.len(), off.abs() <= room) {
            (1, _) => nothing_to_compare(),
            (_, true) => {
                Judged::new(Verdict::Ok, format!("{number}, within {percent}% of the median {median}"))
            }
            (_, false) => Judged::new(
                Verdict::Critical,
                format!("{number} is not within {percent}% of the median {median}"),
            ),
        };
        verdicts.insert((*host).clone(), with_number(judged, "value", *number));
    }
    verdicts
}

fn with_number(judged: Judged, label: &str, number: f64) -> Judged {
    Judged { readings: vec![Reading::new(label, number)], ..judged }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => None,
        (1, found) => found.copied(),
        (_, Some(upper)) => Some((sorted[middle - 1] + upper) / 2.0),
    }
}

/// One verdict for all of them. A sum without the values of all hosts is unknown.
fn total(
    well: &BTreeMap<&HostName, &str>,
    seen: &SnapshotValues,
    of: Total,
    limits: &Limits,
) -> SnapshotValues {
    if of == Total::Count {
        let known = seen.iter().filter(|(_, own)| own.verdict != Verdict::Unknown);
        let known: BTreeMap<&HostName, &str> = known.map(|(host, _)| (host, "")).collect();
        let count = seen.values().filter(|own| own.verdict == Verdict::Ok).count();
        let most = count + (seen.len() - known.len());
        // A host that could not be probed may be ok or not: the verdict is known only if it is the same in both cases.
        let (least, most) = (of_total(count as f64, of, limits, seen.len()), limits.judge(most as f64).0);
        if least.verdict != most {
            let silent = names(seen.keys().filter(|host| !known.contains_key(host)));
            let text = format!("{} is not known without {silent}", of.word());
            return all_are(&known, &Judged::new(Verdict::Unknown, text));
        }
        return all_are(&known, &least);
    }
    let (numbers, mut verdicts) = numbers(well);
    let missing = seen.keys().filter(|host| !numbers.contains_key(host));
    let missing: Vec<&HostName> = missing.collect();
    let judged = match missing.is_empty() {
        true => of_total(made_of(of, numbers.values().copied()), of, limits, numbers.len()),
        false => {
            Judged::new(Verdict::Unknown, format!("{} is not known without {}", of.word(), names(missing)))
        }
    };
    verdicts.extend(numbers.keys().map(|host| ((*host).clone(), judged.clone())));
    verdicts
}

fn made_of(of: Total, numbers: impl Iterator<Item = f64>) -> f64 {
    match of {
        Total::Min => numbers.fold(f64::INFINITY, f64::min),
        Total::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
        Total::Sum | Total::Count => numbers.sum(),
    }
}

fn of_total(number: f64, of: Total, limits: &Limits, hosts: usize) -> Judged {
    let (verdict, range) = limits.judge(number);
    let words = format!("{} of {hosts}: {number}", of.word());
    let text = match range {
        Some(range) => format!("{words}, which is not in {} range {range}", verdict.word()),
        None => words,
    };
    with_number(Judged::new(verdict, text), of.word(), number)
}

fn leader(
    well: &BTreeMap<&HostName, &str>,
    seen: &SnapshotValues,
    name: &str,
    limits: Option<&Limits>,
) -> SnapshotValues {
    let is_it = |host: &&HostName| host.as_str() == name || host.short() == name;
    let Some(host) = seen.keys().find(is_it) else {
        let why = Judged::new(
            Verdict::Unknown,
            format!("the leader {name} is not among the hosts that were asked"),
        );
        return all_are(well, &why);
    };
    let Some(theirs) = well.get(host) else {
        let why = Judged::new(
            Verdict::Unknown,
            format!("the leader {host} could not be asked, or is not well itself"),
        );
        return well.keys().map(|follower| ((*follower).clone(), why.clone())).collect();
    };
    let follows = |mine: &str| match limits {
        None if mine == *theirs => Judged::new(Verdict::Ok, format!("says what {host} says")),
        None => Judged {
            detail: diff(theirs, mine, (host.as_str(), "here")),
            ..Judged::new(
                Verdict::Critical,
                format!("not what {host} says: {}", first_difference(theirs, mine)),
            )
        },
        Some(limits) => behind(limits, host, theirs, mine),
    };
    let follower = |(follower, mine): (&&HostName, &&str)| match *follower == host {
        true => ((*follower).clone(), Judged::new(Verdict::Ok, "it is the leader")),
        false => ((*follower).clone(), follows(mine)),
    };
    well.iter().map(follower).collect()
}

fn behind(limits: &Limits, leader: &HostName, theirs: &str, mine: &str) -> Judged {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let Some((theirs, mine)) = number(theirs).zip(number(mine)) else {
        return Judged::new(Verdict::Unknown, format!("what it and {leader} say are no numbers"));
    };
    let behind = theirs - mine;
    let (verdict, range) = limits.judge(behind);
    let words = format!("{behind} behind {leader} ({mine} of {theirs})");
    let text = match range {
        Some(range) => format!("{words}, which is not in {} range {range}", verdict.word()),
        None => words,
    };
    with_number(Judged::new(verdict, text), "behind", behind)
}

#[cfg(test)]
#[path = "across_tests.rs"]
mod tests;
