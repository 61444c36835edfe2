//! Releases: what a task with given parameters put on a host, which releases were good, and which hosts
//! need one most urgently.

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

    /// As an operator types it: `deploy version=1.2.3`.
    pub fn words(&self) -> String {
        let params: String = self.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}{params}", self.task)
    }
}

/// The record that a host took a release over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    #[serde(flatten)]
    pub release: Release,
    /// Its checks passed, before it was enabled and after the last batch.
    pub good: bool,
    pub run: RunId,
    pub at: Timestamp,
}

/// An operator's mark on a release; the last one counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    pub task: String,
    pub params: Params,
    pub bad: bool,
    pub by: String,
    pub key: String,
    pub reason: String,
    pub at: Timestamp,
}

/// The mark that calls a release bad, if the last mark on it does. A mark applies to every release with
/// its parameters: the operator need not type the defaults.
pub fn marked_bad<'a>(marks: &'a [Mark], task: &str, params: &Params) -> Option<&'a Mark> {
    let says = |mark: &Mark| mark.params.iter().all(|(name, value)| params.get(name) == Some(value));
    let of_it = marks.iter().rev().find(|mark| mark.task == task && says(mark));
    of_it.filter(|mark| mark.bad)
}

/// The last good release of the same task before the host first had its present one: a second
/// rollback leads further back, and never to a release that was left. `history` is newest first.
pub fn last_good<'a>(history: &'a [Taken], marks: &[Mark]) -> Option<&'a Taken> {
    let present = &history.first()?.release;
    let first = history.iter().rposition(|taken| taken.release.is_like(present))?;
    history[first + 1..].iter().find(|taken| {
        let marked = marked_bad(marks, &taken.release.task, &taken.release.params).is_some();
        taken.good && !marked && taken.release.task == present.task
    })
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
pub fn need(held: bool, present: Option<&Taken>, wanted: &Release) -> Need {
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

    fn taken(version: &str, good: bool) -> Taken {
        Taken { release: release(version), good, run: RunId(1), at: Timestamp::UNIX_EPOCH }
    }

    fn mark(version: &str, bad: bool) -> Mark {
        let Release { task, params, .. } = release(version);
        let (by, key, reason) = ("ann".to_string(), "k".to_string(), "leaks".to_string());
        Mark { task, params, bad, by, key, reason, at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn the_way_back_leads_to_the_last_good_release() {
        let history =
            [taken("4", true), taken("4", true), taken("3", false), taken("2", true), taken("1", true)];
        let back = |marks: &[Mark]| last_good(&history, marks).map(|taken| taken.release.words());
        assert_eq!(back(&[]).as_deref(), Some("deploy version=2"));
        assert_eq!(back(&[mark("2", true)]).as_deref(), Some("deploy version=1"));
        assert_eq!(
            back(&[mark("2", true), mark("2", false)]).as_deref(),
            Some("deploy version=2"),
            "the last word counts"
        );
        assert_eq!(back(&[mark("2", true), mark("1", true)]), None);
        let again = [taken("2", true), taken("4", true), taken("2", true), taken("1", true)];
        let further = last_good(&again, &[]).map(|taken| taken.release.words());
        assert_eq!(further.as_deref(), Some("deploy version=1"), "not to what was left");
        assert_eq!(last_good(&[], &[]), None);
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
