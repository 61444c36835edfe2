//! Outcomes of steps, hosts and runs. One vocabulary for the journal, the screens and exit statuses.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How one attempt of a step ended. `Lost` and `NotStarted` are separate from `Failed`:
/// an unknown result is never reported as success or failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// It ran and changed something, or may have.
    Ok,
    /// Nothing had to be done: a guard held, or the host was in the expected state already.
    Unchanged,
    /// It ran and failed. `code` is the exit status, absent when a signal ended it.
    Failed { code: Option<u32>, why: String },
    /// It certainly did not start: the host could not be reached or refused the request.
    NotStarted { why: String },
    /// It took longer than its timeout and was ended.
    Timeout { after_ms: u64 },
    /// An operator cancelled it and it was ended.
    Cancelled,
    /// The connection was lost while it ran: its effect is unknown.
    Lost { why: String },
    /// A dry run: it would change something.
    WouldChange,
    /// A dry run: its effect cannot be known before it runs.
    NotKnown { why: String },
}

impl Outcome {
    /// True when the next step may start.
    pub fn is_good(&self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Unchanged | Outcome::WouldChange | Outcome::NotKnown { .. })
    }

    /// True when the host was changed, or may have been.
    pub fn has_changed(&self) -> bool {
        !matches!(self, Outcome::Unchanged | Outcome::NotStarted { .. })
    }

    /// The failure of the host that results from this outcome; `None` when it is good.
    pub fn failure(&self, step: &str) -> Option<Failure> {
        let (kind, why) = match self {
            Outcome::Ok | Outcome::Unchanged | Outcome::WouldChange | Outcome::NotKnown { .. } => {
                return None;
            }
            Outcome::Failed { why, .. } => (FailureKind::Step, format!("step `{step}`: {why}")),
            Outcome::NotStarted { why } => {
                (FailureKind::Unreachable, format!("step `{step}` did not start: {why}"))
            }
            Outcome::Timeout { after_ms } => (
                FailureKind::Step,
                format!("step `{step}`: took longer than {} and was ended", seconds(*after_ms)),
            ),
            Outcome::Cancelled => (FailureKind::Cancelled, format!("step `{step}`: cancelled and ended")),
            Outcome::Lost { why } => (
                FailureKind::Lost,
                format!("contact lost during step `{step}`: {why}; what it did is not known"),
            ),
        };
        Some(Failure { kind, why })
    }
}

/// A duration in whole milliseconds, as in events.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds in words: `1.5s`.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{:.1}s", ms as f64 / 1000.0),
        _ => format!("{}s", ms / 1000),
    }
}

/// Why a host counts against the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub why: String,
}

/// The causes that decisions distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The host could not be reached; the step did nothing to it.
    Unreachable,
    /// The connection was lost in the middle of a step.
    Lost,
    Step,
    Check,
    Balancer,
    Cancelled,
}

/// The four verdicts of a check, in the words and the order of Nagios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    Warning,
    Critical,
    /// The probe could not find out. Never counted as any of the others.
    Unknown,
}

impl Verdict {
    /// The exit status that Nagios gives this verdict.
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Warning => 1,
            Verdict::Critical => 2,
            Verdict::Unknown => 3,
        }
    }

    /// The word that operators read.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Critical => "critical",
            Verdict::Unknown => "unknown",
        }
    }

    /// The verdict of many: critical before unknown before warning.
    pub fn worst(all: impl IntoIterator<Item = Verdict>) -> Verdict {
        let weight = |verdict: &Verdict| match verdict {
            Verdict::Ok => 0,
            Verdict::Warning => 1,
            Verdict::Unknown => 2,
            Verdict::Critical => 3,
        };
        all.into_iter().max_by_key(weight).unwrap_or(Verdict::Ok)
    }

    /// True when a gate lets the host pass.
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Ok | Verdict::Warning)
    }
}

/// The end state of a host in a run. Every host ends in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// On the new release, in rotation, checks ok.
    Released,
    /// On the release already: no step changed anything; in rotation, checks ok.
    Unchanged,
    /// Old release, in rotation.
    RolledBack,
    /// Out of rotation on purpose: an open debt, with the reason.
    Held,
    /// On the new release and in rotation, but a check after the last batch is critical.
    Failing,
    /// No step changed it, or every change was undone.
    NotStarted,
    /// Unknown: the connection was lost, or the last observation of it failed. An open debt stays
    /// open.
    Unknown,
    /// A run without a bracket did its work here.
    Done,
    /// A run without a bracket failed here; no balancer was touched.
    Failed,
}

impl End {
    /// The word that operators read; the same as in the journal.
    pub fn word(self) -> &'static str {
        match self {
            End::Released => "released",
            End::Unchanged => "unchanged",
            End::RolledBack => "rolled-back",
            End::Held => "held",
            End::Failing => "failing",
            End::NotStarted => "not-started",
            End::Unknown => "unknown",
            End::Done => "done",
            End::Failed => "failed",
        }
    }

    /// True when a person has to inspect the host.
    pub fn needs_person(self) -> bool {
        matches!(self, End::Held | End::Failing | End::Unknown)
    }
}

/// How a run ended: folded from its hosts, never counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    Done,
    /// Hosts failed and the end state is safe.
    Failed,
    /// Hosts are out of rotation, failing or unknown: a person is needed.
    NeedsPerson,
    /// The only failures were hosts that could not be reached.
    Unreachable,
    Cancelled,
    /// The daemon ended in the middle of it.
    Interrupted,
    /// A check run: the worst verdict.
    Checked(Verdict),
}

impl RunOutcome {
    /// The exit status of the command that waited for the run.
    pub fn exit_status(self) -> u8 {
        match self {
            RunOutcome::Done => 0,
            RunOutcome::Interrupted => 1,
            RunOutcome::Failed => 2,
            RunOutcome::NeedsPerson => 3,
            RunOutcome::Unreachable => 4,
            RunOutcome::Cancelled => 6,
            RunOutcome::Checked(verdict) => verdict.exit_status(),
        }
    }

    /// The word that operators read.
    pub fn word(self) -> &'static str {
        match self {
            RunOutcome::Done => "done",
            RunOutcome::Failed => "failed",
            RunOutcome::NeedsPerson => "needs a person",
            RunOutcome::Unreachable => "unreachable",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Interrupted => "interrupted",
            RunOutcome::Checked(verdict) => verdict.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_is_critical_then_unknown() {
        use Verdict::*;
        assert_eq!(Verdict::worst([Ok, Warning, Unknown]), Unknown);
        assert_eq!(Verdict::worst([Critical, Unknown, Ok]), Critical);
        assert_eq!(Verdict::worst([]), Ok);
    }

    #[test]
    fn no_exit_status_is_255_which_is_sshs_own() {
        let all = [
            RunOutcome::Done,
            RunOutcome::Failed,
            RunOutcome::NeedsPerson,
            RunOutcome::Unreachable,
            RunOutcome::Cancelled,
            RunOutcome::Interrupted,
            RunOutcome::Checked(Verdict::Unknown),
        ];
        assert_eq!(all.map(RunOutcome::exit_status), [0, 2, 3, 4, 6, 1, 3]);
    }
}
