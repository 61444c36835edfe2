//! How hosts ended in runs of the same task or command: whether a problem is new, or still the old one.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::End;

/// Runs for which the end of each host with a problem is read, whatever they were about.
pub const MATRIX_RUNS: usize = 50;

/// How a host ended in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastEnd {
    pub run: RunId,
    /// The event with which it ended.
    pub seq: u64,
    /// In seconds since 1970.
    pub at_s: i64,
    pub end: End,
}

/// The ends of one host in runs of one task or command.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPast {
    pub subject: String,
    pub host: HostName,
    /// The newest run first.
    pub ends: Vec<PastEnd>,
    /// There may be older ones.
    pub is_cut: bool,
}

/// The runs that an operator may see.
#[derive(Clone, Debug)]
pub struct VisibleRuns {
    pub runs: BTreeSet<RunId>,
    /// Of older runs it was not asked.
    pub known_from: RunId,
}

/// How hosts ended in some runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndsOfRuns {
    /// How many hosts ended in each way, of each run.
    pub counts: BTreeMap<RunId, BTreeMap<End, usize>>,
    /// The hosts that ended badly in one of the runs.
    pub past: Vec<HostPast>,
    /// The ends of the same hosts in the first of the runs, whatever these were about.
    pub ends: BTreeMap<HostName, BTreeMap<RunId, End>>,
    /// There are more hosts that ended badly.
    pub is_cut: bool,
}

impl EndsOfRuns {
    /// Forgets the runs that an operator may not see.
    pub fn retain(&mut self, visible: &VisibleRuns) {
        self.past.iter_mut().for_each(|past| past.retain(visible));
    }
}

/// What a problem of a host is, by the runs before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The host ended well in the run before, or there was none.
    New,
    /// It ended badly in the run before, too: without a good end since this run, which ended there at this second.
    Still { since: RunId, at_s: i64, is_older: bool },
}

/// True for an end that is a problem of the host. A run that has not started on a host says nothing about it.
pub fn is_bad(end: End) -> bool {
    match end {
        End::RolledBack | End::Held | End::Failing | End::Unknown | End::Failed => true,
        End::Released | End::Unchanged | End::NotStarted | End::Done => false,
    }
}

impl HostPast {
    /// Forgets the runs that an operator may not see.
    pub fn retain(&mut self, visible: &VisibleRuns) {
        let is_unknown = |past: &PastEnd| past.run < visible.known_from && !visible.runs.contains(&past.run);
        self.is_cut |= self.ends.iter().any(is_unknown);
        self.ends.retain(|past| visible.runs.contains(&past.run));
    }

    /// The end in a run.
    pub fn end(&self, run: RunId) -> Option<&PastEnd> {
        self.ends.iter().find(|past| past.run == run)
    }

    /// Whether the problem that a host had at the end of a run was new. Later events change nothing about that. `None` if it had
    /// none, has not ended, or nothing is known of the runs before.
    pub fn standing(&self, run: RunId) -> Option<Standing> {
        let own = self.end(run).filter(|own| is_bad(own.end))?;
        // A run that started before may have ended behind it.
        let before = self.ends.iter().filter(|past| past.run < run && past.seq < own.seq);
        let mut since: Option<&PastEnd> = None;
        let mut found_good = false;
        for past in before.filter(|past| past.end != End::NotStarted) {
            if !is_bad(past.end) {
                found_good = true;
                break;
            }
            since = Some(past);
        }
        let is_older = self.is_cut && !found_good;
        Some(match since {
            Some(since) => Standing::Still { since: since.run, at_s: since.at_s, is_older },
            // What was before is not known.
            None if is_older => return None,
            None => Standing::New,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(ends: &[(u64, u64, End)]) -> HostPast {
        let mut ends: Vec<PastEnd> = ends
            .iter()
            .map(|(run, seq, end)| PastEnd { run: RunId(*run), seq: *seq, at_s: 10 * *seq as i64, end: *end })
            .collect();
        ends.sort_by_key(|past| std::cmp::Reverse(past.run));
        HostPast { subject: "task deploy".into(), host: "web1".into(), ends, is_cut: false }
    }

    #[test]
    fn a_problem_is_new_or_still_the_old_one() {
        use End::*;
        let still =
            |since, seq: i64| Some(Standing::Still { since: RunId(since), at_s: 10 * seq, is_older: false });
        type Row<'a> = (&'a str, &'a [(u64, u64, End)], u64, Option<Standing>);
        let rows: [Row<'_>; 14] = [
            ("the first run", &[(5, 50, Failed)], 5, Some(Standing::New)),
            ("ended well before", &[(4, 40, Released), (5, 50, Failed)], 5, Some(Standing::New)),
            ("failed before", &[(4, 40, Failed), (5, 50, Failed)], 5, still(4, 40)),
            ("in another way", &[(3, 30, Held), (4, 40, RolledBack), (5, 50, Failed)], 5, still(3, 30)),
            (
                "up to a good end",
                &[(2, 20, Failed), (3, 30, Done), (4, 40, Failed), (5, 50, Held)],
                5,
                still(4, 40),
            ),
            ("unknown is not well", &[(3, 30, Failed), (4, 40, Unknown), (5, 50, Failed)], 5, still(3, 30)),
            (
                "not started says nothing",
                &[(3, 30, Failed), (4, 40, NotStarted), (5, 50, Failed)],
                5,
                still(3, 30),
            ),
            (
                "nor for a good end",
                &[(3, 30, Done), (4, 40, NotStarted), (5, 50, Failed)],
                5,
                Some(Standing::New),
            ),
            ("later runs say nothing", &[(5, 50, Failed), (6, 60, Failed)], 5, Some(Standing::New)),
            ("a run that ended behind it", &[(4, 60, Failed), (5, 50, Failed)], 5, Some(Standing::New)),
            ("a good end", &[(4, 40, Failed), (5, 50, Released)], 5, None),
            ("unchanged is good", &[(4, 40, Unchanged), (5, 50, Failing)], 5, Some(Standing::New)),
            ("not started is no problem", &[(4, 40, Failed), (5, 50, NotStarted)], 5, None),
            ("not ended yet", &[(4, 40, Failed)], 5, None),
        ];
        for (what, ends, run, wanted) in rows {
            assert_eq!(past(ends).standing(RunId(run)), wanted, "{what}");
        }
        let cut = HostPast { is_cut: true, ..past(&[(4, 40, Failed), (5, 50, Failed)]) };
        let older = Standing::Still { since: RunId(4), at_s: 400, is_older: true };
        assert_eq!(cut.standing(RunId(5)), Some(older));
        let cut = HostPast { is_cut: true, ..past(&[(3, 30, Done), (4, 40, Failed), (5, 50, Failed)]) };
        assert_eq!(cut.standing(RunId(5)), still(4, 40));
        let cut = HostPast { is_cut: true, ..past(&[(4, 40, NotStarted), (5, 50, Failed)]) };
        assert_eq!(cut.standing(RunId(5)), None);
    }

    #[test]
    fn runs_that_an_operator_may_not_see_decide_nothing() {
        use End::*;
        let ends = [(2, 20, Done), (3, 30, Failed), (4, 40, Failed), (5, 50, Failed)];
        let still = |since, seq: i64, is_older| {
            Some(Standing::Still { since: RunId(since), at_s: 10 * seq, is_older })
        };
        let rows = [
            // Those that they see, since when that is known, and the standing.
            (vec![2, 3, 4, 5], 0, still(3, 30, false)),
            (vec![2, 4, 5], 0, still(4, 40, false)),
            (vec![2, 5], 0, Some(Standing::New)),
            (vec![4, 5], 4, still(4, 40, true)),
            (vec![5], 5, None),
        ];
        for (runs, known_from, wanted) in rows {
            let visible = VisibleRuns {
                runs: runs.iter().copied().map(RunId).collect(),
                known_from: RunId(known_from),
            };
            let mut past = past(&ends);
            past.retain(&visible);
            assert_eq!(past.standing(RunId(5)), wanted, "{runs:?} {known_from}");
        }
    }
}
