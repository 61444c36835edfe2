//! Releases: what a task with given parameters put on a host, which releases were good, and which hosts
//! need one most urgently.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ask::command::Params;
use crate::domain::base::name::RunId;

/// The expected or present release of a host: a task and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub task: String,
    pub params: Params,
    /// SHA-256 of the rendered steps: the same parameters with other steps are another release.
    pub fingerprint: String,
}

impl Release {
    /// True when both look the same to an operator: fingerprints aside.
    pub fn is_like(&self, other: &Release) -> bool {
        (&self.task, &self.params) == (&other.task, &other.params)
    }

    /// The parameter by which `text` names it: its value, or NAME=VALUE: `1.3.0`, `version=1.3.0`.
    pub fn is_called(&self, text: &str) -> Option<&str> {
        let named = |name: &str, value: &str| {
            text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) == Some(value)
        };
        let found = self.params.iter().find(|(name, value)| text == *value || named(name, value));
        found.map(|(name, _)| name.as_str())
    }

    /// As an operator types it: `deploy version=1.2.3`.
    pub fn words(&self) -> String {
        let params: String = self.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}{params}", self.task)
    }
}

/// The record that a host took a release over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseTakeover {
    #[serde(flatten)]
    pub release: Release,
    /// Its checks passed, before it was enabled and after the last batch.
    pub good: bool,
    /// A rollback took the host back to it.
    #[serde(skip)]
    pub back: bool,
    /// A rollback from it was started and failed: which release the host has now is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rollback_failed: bool,
    pub run: RunId,
    pub at: Timestamp,
}

impl ReleaseTakeover {
    /// The words of the release, or that it is not known whether the host still has it.
    pub fn shown(&self, words: String) -> String {
        if self.rollback_failed { format!("not known: the rollback from {words} failed") } else { words }
    }
}

/// An operator's mark on a release; the last one counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseMark {
    pub task: String,
    pub params: Params,
    pub bad: bool,
    pub by: String,
    pub key: String,
    pub reason: String,
    pub at: Timestamp,
}

/// The record of the run that put the present release on the host: later runs may have found it there. `history` is newest
/// first.
pub fn arrival(history: &[ReleaseTakeover]) -> Option<&ReleaseTakeover> {
    let present = history.first()?;
    // A rollback to a release is an arrival, too.
    let is_same = |taken: &&ReleaseTakeover| taken.release == present.release;
    let same = history.iter().take_while(is_same);
    let end = same.clone().position(|taken| taken.back);
    same.take(end.map_or(usize::MAX, |at| at + 1)).last()
}

/// The mark that calls a release bad, if the last mark on it does. A mark applies to every release with
/// its parameters: the operator need not type the defaults.
pub fn marked_bad<'a>(marks: &'a [ReleaseMark], task: &str, params: &Params) -> Option<&'a ReleaseMark> {
    let says = |mark: &ReleaseMark| mark.params.iter().all(|(name, value)| params.get(name) == Some(value));
    let of_it = marks.iter().rev().find(|mark| mark.task == task && says(mark));
    of_it.filter(|mark| mark.bad)
}

/// The good release of the same task that a host had directly before its present one. `history` is newest first.
///
/// A rollback leaves what the host had since it first left its target: a second rollback leads further back, and never to
/// a release that was left.
pub fn last_good<'a>(history: &'a [ReleaseTakeover], marks: &[ReleaseMark]) -> Option<&'a ReleaseTakeover> {
    let way = way_here(history);
    let (present, before) = way.split_last()?;
    before.iter().rev().copied().find(|taken| {
        let marked = marked_bad(marks, &taken.release.task, &taken.release.params).is_some();
        let is_other = !taken.release.is_like(&present.release);
        taken.good && is_other && !marked && taken.release.task == present.release.task
    })
}

/// The good releases of the present one's task, each once, the newest first; those that are marked bad are left out.
pub fn good_ones<'a>(history: &'a [ReleaseTakeover], marks: &[ReleaseMark]) -> Vec<&'a ReleaseTakeover> {
    let mut good: Vec<&ReleaseTakeover> = Vec::new();
    let Some(present) = history.first() else { return good };
    for taken in history.iter().filter(|taken| taken.good && taken.release.task == present.release.task) {
        let marked = marked_bad(marks, &taken.release.task, &taken.release.params).is_some();
        if !marked && !good.iter().any(|known| known.release.is_like(&taken.release)) {
            good.push(taken);
        }
    }
    good
}

/// The releases that led to the present one, oldest first.
fn way_here(history: &[ReleaseTakeover]) -> Vec<&ReleaseTakeover> {
    let mut way: Vec<&ReleaseTakeover> = Vec::new();
    for (at, taken) in history.iter().enumerate().rev() {
        let is_it = |known: &ReleaseTakeover| known.release.is_like(&taken.release);
        let same = way.iter().rposition(|known| is_it(known));
        let was_left = same.is_none() && history[at + 1..].iter().any(is_it);
        // A rollback to a release that an earlier one had left is a step forward. A target that is not on record any
        // more was before all that is.
        if taken.back && !was_left {
            way.truncate(same.unwrap_or_default());
        }
        way.push(taken);
    }
    way
}

/// The hosts that a rollback leaves on their present release, since another host took a later one over and had theirs
/// before: after a deploy that stopped half-way, those that it never reached. A host whose present release is not good, is
/// marked bad or is not known goes back itself.
pub fn behind<'h, N>(
    histories: impl Iterator<Item = (N, &'h [ReleaseTakeover])> + Clone,
    marks: &[ReleaseMark],
) -> BTreeSet<N>
where
    N: Ord,
{
    let mut left: BTreeMap<ReleaseKey<'h>, Arrival> = BTreeMap::new();
    for (_, history) in histories.clone() {
        let Some((present, since)) = history.first().zip(arrived(history)) else { continue };
        let before = way_here(history).into_iter().filter(|taken| !taken.release.is_like(&present.release));
        for taken in before {
            let latest = left.entry(key(&taken.release)).or_insert(since);
            *latest = since.max(*latest);
        }
    }
    let is_behind = |history: &'h [ReleaseTakeover]| {
        let present = history.first().filter(|taken| taken.good && !taken.rollback_failed)?;
        if marked_bad(marks, &present.release.task, &present.release.params).is_some() {
            return None;
        }
        let (since, left_since) = (arrived(history)?, left.get(&key(&present.release))?);
        Some(since < *left_since)
    };
    histories.filter(|(_, history)| is_behind(history) == Some(true)).map(|(name, _)| name).collect()
}

/// What `Release::is_like` compares.
type ReleaseKey<'h> = (&'h str, &'h Params);

fn key(release: &Release) -> ReleaseKey<'_> {
    (&release.task, &release.params)
}

/// When a host took its present release over. In one run, a host that was rolled back counts as the earlier one.
type Arrival = (RunId, bool);

fn arrived(history: &[ReleaseTakeover]) -> Option<Arrival> {
    arrival(history).map(|taken| (taken.run, !taken.back))
}

/// How urgently a host needs a release: the smaller, the sooner (CodeDeploy's order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Out of rotation, or its present release failed its checks.
    Unhealthy,
    /// Nothing is on record for it.
    Unknown,
    Old,
    Current,
}

/// The need of a host for `wanted`.
pub fn need(held: bool, present: Option<&ReleaseTakeover>, wanted: &Release) -> Need {
    match present {
        _ if held => Need::Unhealthy,
        None => Need::Unknown,
        Some(taken) if !taken.good => Need::Unhealthy,
        Some(taken) if taken.release == *wanted => Need::Current,
        Some(_) => Need::Old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Release {
        let params = Params::from([("version".to_string(), version.to_string())]);
        Release { task: "deploy".into(), params, fingerprint: version.into() }
    }

    fn taken(version: &str, good: bool) -> ReleaseTakeover {
        ReleaseTakeover {
            release: release(version),
            good,
            back: false,
            rollback_failed: false,
            run: RunId(1),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn back(version: &str) -> ReleaseTakeover {
        ReleaseTakeover { back: true, ..taken(version, true) }
    }

    fn mark(version: &str, bad: bool) -> ReleaseMark {
        let Release { task, params, .. } = release(version);
        let (by, key, reason) = ("ann".to_string(), "k".to_string(), "leaks".to_string());
        ReleaseMark { task, params, bad, by, key, reason, at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn the_way_back_leads_to_the_last_good_release() {
        let history =
            [taken("4", true), taken("4", true), taken("3", false), taken("2", true), taken("1", true)];
        let back = |marks: &[ReleaseMark]| last_good(&history, marks).map(|taken| taken.release.words());
        assert_eq!(back(&[]).as_deref(), Some("deploy version=2"));
        assert_eq!(back(&[mark("2", true)]).as_deref(), Some("deploy version=1"));
        assert_eq!(
            back(&[mark("2", true), mark("2", false)]).as_deref(),
            Some("deploy version=2"),
            "the last word counts"
        );
        assert_eq!(back(&[mark("2", true), mark("1", true)]), None);
        assert_eq!(last_good(&[], &[]), None);
    }

    #[test]
    fn the_way_back_leads_to_what_the_host_had_directly_before() {
        let deploys = |versions: &[&str]| -> Vec<ReleaseTakeover> {
            versions.iter().rev().map(|version| taken(version, true)).collect()
        };
        let to = |history: &[ReleaseTakeover]| {
            last_good(history, &[]).map(|taken| taken.release.params["version"].clone())
        };
        assert_eq!(to(&deploys(&["1.0", "1.1", "1.0"])).as_deref(), Some("1.1"));
        assert_eq!(to(&deploys(&["1.0", "1.1", "1.0", "1.3", "1.1"])).as_deref(), Some("1.3"));
        assert_eq!(to(&deploys(&["1.0", "1.0"])), None, "it never had another one");
        let mut history = deploys(&["1", "2", "4"]);
        history.insert(0, back("2"));
        assert_eq!(to(&history).as_deref(), Some("1"), "not to what was left");
        history.insert(0, back("1"));
        assert_eq!(to(&history), None);
        history.insert(0, taken("5", true));
        assert_eq!(to(&history).as_deref(), Some("1"), "from there on as before");
        history.insert(0, taken("2", true));
        assert_eq!(to(&history).as_deref(), Some("5"), "deployed again, it is no longer left");
    }

    #[test]
    fn a_release_is_named_by_a_value_of_it_and_only_a_good_one_is() {
        let history =
            [taken("4", true), taken("3", false), taken("2", true), taken("1", true), taken("2", true)];
        let names = |marks: &[ReleaseMark]| -> Vec<String> {
            good_ones(&history, marks).iter().map(|taken| taken.release.params["version"].clone()).collect()
        };
        assert_eq!(names(&[]), ["4", "2", "1"]);
        assert_eq!(names(&[mark("2", true)]), ["4", "1"]);
        assert!(good_ones(&[], &[]).is_empty());
        let release = release("1.3.0");
        for (text, wanted) in [
            ("1.3.0", Some("version")),
            ("version=1.3.0", Some("version")),
            ("1.3", None),
            ("version", None),
            ("version=", None),
            ("hook=1.3.0", None),
        ] {
            assert_eq!(release.is_called(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_release_is_there_since_the_run_that_put_it_there() {
        let run = |taken: ReleaseTakeover, run| ReleaseTakeover { run: RunId(run), ..taken };
        let arrived = |history: &[ReleaseTakeover]| arrival(history).map(|taken| taken.run.0);
        assert_eq!(arrived(&[]), None);
        let history = [run(taken("2", true), 4), run(taken("2", true), 3), run(taken("1", true), 1)];
        assert_eq!((arrived(&history), arrived(&history[2..])), (Some(3), Some(1)));
        let history = [run(taken("1", true), 5), run(back("1"), 4), run(taken("1", true), 3)];
        assert_eq!(arrived(&history), Some(4));
    }

    #[test]
    fn a_rollback_to_a_release_that_was_left_is_a_step_forward() {
        let history = [back("3"), back("2"), taken("3", true), taken("2", true), taken("1", true)];
        let to = last_good(&history, &[]).map(|taken| taken.release.words());
        assert_eq!(to.as_deref(), Some("deploy version=2"));
    }

    #[test]
    fn a_rollback_leaves_hosts_that_the_last_deploy_never_reached() {
        let run = |taken: ReleaseTakeover, run| ReleaseTakeover { run: RunId(run), ..taken };
        let old = || vec![run(taken("2", true), 2), run(taken("1", true), 1)];
        let with = |newer: ReleaseTakeover| [vec![newer], old()].concat();
        let (deployed, failed) = (with(run(taken("3", true), 3)), with(run(taken("3", false), 3)));
        let went_back = [vec![run(back("2"), 3), run(taken("3", false), 3)], old()].concat();
        let lost = with(ReleaseTakeover { rollback_failed: true, ..run(taken("3", false), 3) });
        let again = [vec![run(taken("2", true), 4), run(taken("3", true), 3)], old()].concat();
        let other = vec![run(taken("7", true), 9), run(taken("6", true), 8)];
        let is_lost = vec![ReleaseTakeover { rollback_failed: true, ..run(taken("2", true), 2) }];
        let rows = [
            (vec![old(), old()], vec![]),
            (vec![deployed.clone(), failed.clone(), went_back.clone(), old()], vec![2, 3]),
            (vec![lost.clone(), went_back.clone(), old()], vec![1, 2]),
            (vec![went_back, old()], vec![]),
            (vec![deployed.clone(), other, old()], vec![2]),
            (vec![deployed.clone(), again], vec![0]),
            (vec![deployed.clone(), is_lost], vec![]),
            (vec![deployed.clone(), vec![run(taken("2", false), 2)]], vec![]),
            (vec![failed, vec![]], vec![]),
        ];
        for (histories, wanted) in rows {
            let found = behind(histories.iter().map(Vec::as_slice).enumerate(), &[]);
            assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted, "{histories:?}");
        }
        let histories = [deployed, old()];
        let found = |marks: &[ReleaseMark]| behind(histories.iter().map(Vec::as_slice).enumerate(), marks);
        assert_eq!(found(&[mark("3", true)]), BTreeSet::from([1]), "the release that is left may be bad");
        assert_eq!(found(&[mark("2", true)]), BTreeSet::new(), "nobody stays on a bad one");
    }

    #[test]
    fn the_worst_hosts_come_first() {
        let wanted = release("2");
        let rows = [
            (true, Some(taken("2", true)), Need::Unhealthy),
            (false, Some(taken("1", false)), Need::Unhealthy),
            (false, None, Need::Unknown),
            (false, Some(taken("1", true)), Need::Old),
            (false, Some(taken("2", true)), Need::Current),
        ];
        for (held, present, wanted_need) in rows {
            assert_eq!(need(held, present.as_ref(), &wanted), wanted_need, "{present:?}");
        }
    }
}
