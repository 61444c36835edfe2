//! The states of hosts, steps and checks, each with its glyph, its ASCII letter, its role and its word. Colour only confirms what the glyph
//! and the word say.

use serde::{Deserialize, Serialize};

use crate::domain::base::outcome::{End, Outcome, RunOutcome, Verdict};

/// A state on a board, in the order in which boards list them: first what needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    Held,
    Unknown,
    Failed,
    Critical,
    TimedOut,
    Failing,
    Warning,
    /// For a person, or for a time.
    Waiting,
    Running,
    Serving,
    RolledBack,
    NotStarted,
    Skipped,
    Cancelled,
    Released,
    Done,
    Ok,
    Unchanged,
    /// A host that is not in a run, or has no end there yet.
    Absent,
}

/// The role of a state, which has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Good,
    Idle,
    Busy,
    Warn,
    Bad,
    Held,
}

impl Mark {
    pub const ALL: [Mark; 19] = [
        Mark::Held,
        Mark::Unknown,
        Mark::Failed,
        Mark::Critical,
        Mark::TimedOut,
        Mark::Failing,
        Mark::Warning,
        Mark::Waiting,
        Mark::Running,
        Mark::Serving,
        Mark::RolledBack,
        Mark::NotStarted,
        Mark::Skipped,
        Mark::Cancelled,
        Mark::Released,
        Mark::Done,
        Mark::Ok,
        Mark::Unchanged,
        Mark::Absent,
    ];

    /// The mark of an end state.
    pub fn of(end: End) -> Mark {
        match end {
            End::Released => Mark::Released,
            End::Unchanged => Mark::Unchanged,
            End::RolledBack => Mark::RolledBack,
            End::Held => Mark::Held,
            End::Failing => Mark::Failing,
            End::NotStarted => Mark::NotStarted,
            End::Unknown => Mark::Unknown,
            End::Done => Mark::Done,
            End::Failed => Mark::Failed,
        }
    }

    /// The mark of a verdict; `None` before the first probe.
    pub fn of_verdict(verdict: Option<Verdict>) -> Mark {
        match verdict {
            Some(Verdict::Ok) => Mark::Ok,
            Some(Verdict::Warning) => Mark::Warning,
            Some(Verdict::Critical) => Mark::Critical,
            Some(Verdict::Unknown) => Mark::Unknown,
            None => Mark::NotStarted,
        }
    }

    /// The mark of a step.
    pub fn of_outcome(outcome: &Outcome) -> Mark {
        match outcome {
            Outcome::Ok | Outcome::WouldChange => Mark::Ok,
            Outcome::Unchanged => Mark::Unchanged,
            Outcome::Failed { .. } => Mark::Failed,
            Outcome::NotStarted { .. } => Mark::NotStarted,
            Outcome::Timeout { .. } => Mark::TimedOut,
            Outcome::Cancelled => Mark::Cancelled,
            Outcome::Lost { .. } | Outcome::NotKnown { .. } => Mark::Unknown,
        }
    }

    /// The mark of a run; `None` while it is under way.
    pub fn of_run(outcome: Option<RunOutcome>) -> Mark {
        match outcome {
            None => Mark::Running,
            Some(RunOutcome::Done) => Mark::Done,
            Some(RunOutcome::NeedsPerson) => Mark::Held,
            Some(RunOutcome::Cancelled) => Mark::Cancelled,
            Some(RunOutcome::Unreachable) => Mark::Unknown,
            Some(RunOutcome::Failed | RunOutcome::Interrupted) => Mark::Failed,
            Some(RunOutcome::Checked(verdict)) => Mark::of_verdict(Some(verdict)),
        }
    }

    /// The word that people read.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Held => "held",
            Mark::Unknown => "unknown",
            Mark::Failed => "failed",
            Mark::Critical => "critical",
            Mark::TimedOut => "timed out",
            Mark::Failing => "failing",
            Mark::Warning => "warning",
            Mark::Waiting => "waiting",
            Mark::Running => "under way",
            Mark::Serving => "in rotation again",
            Mark::RolledBack => "rolled back",
            Mark::NotStarted => "not started",
            Mark::Skipped => "skipped",
            Mark::Cancelled => "cancelled",
            Mark::Released => "released",
            Mark::Done => "done",
            Mark::Ok => "ok",
            Mark::Unchanged => "unchanged",
            Mark::Absent => "no end",
        }
    }

    /// One cell wide in every terminal, also in those of East Asia.
    pub fn glyph(self) -> char {
        match self {
            Mark::Held => '\u{2298}',
            Mark::Unknown => '?',
            Mark::Failed | Mark::Failing | Mark::Critical => '\u{2717}',
            Mark::TimedOut => '\u{25d4}',
            Mark::Warning => '!',
            Mark::Waiting => '\u{29d6}',
            Mark::Skipped | Mark::Cancelled => '-',
            Mark::Running => '\u{25b8}',
            Mark::RolledBack => '\u{21b6}',
            Mark::NotStarted => '.',
            Mark::Serving | Mark::Released | Mark::Done | Mark::Ok => '\u{2713}',
            Mark::Unchanged => '=',
            Mark::Absent => '_',
        }
    }

    /// For terminals without UTF-8.
    pub fn letter(self) -> char {
        match self {
            Mark::Held => 'H',
            Mark::Unknown => '?',
            Mark::Failed | Mark::Failing | Mark::Critical => 'X',
            Mark::TimedOut => 'T',
            Mark::Warning => '!',
            Mark::Waiting => 'w',
            Mark::Skipped | Mark::Cancelled => '-',
            Mark::Running => '>',
            Mark::RolledBack => '<',
            Mark::NotStarted => '.',
            Mark::Serving | Mark::Released | Mark::Done | Mark::Ok => 'v',
            Mark::Unchanged => '=',
            Mark::Absent => '_',
        }
    }

    /// The role of the state.
    pub fn role(self) -> Role {
        match self {
            Mark::Held => Role::Held,
            Mark::Unknown | Mark::Failed | Mark::Critical | Mark::TimedOut | Mark::Failing => Role::Bad,
            Mark::Running => Role::Busy,
            Mark::RolledBack | Mark::Warning | Mark::Waiting => Role::Warn,
            Mark::NotStarted | Mark::Skipped | Mark::Cancelled | Mark::Unchanged | Mark::Absent => Role::Idle,
            Mark::Serving | Mark::Released | Mark::Done | Mark::Ok => Role::Good,
        }
    }

    /// True when a person has to see the host.
    pub fn is_problem(self) -> bool {
        matches!(self.role(), Role::Bad | Role::Held | Role::Warn)
    }
}

impl Role {
    pub const ALL: [Role; 6] = [Role::Good, Role::Idle, Role::Busy, Role::Warn, Role::Bad, Role::Held];

    /// Its name in style sheets.
    pub fn name(self) -> &'static str {
        match self {
            Role::Good => "good",
            Role::Idle => "idle",
            Role::Busy => "busy",
            Role::Warn => "warn",
            Role::Bad => "bad",
            Role::Held => "held",
        }
    }

    /// The attributes of a terminal (ECMA-48, SGR): only the 16 colours of its own theme. Yellow is reversed, since yellow text
    /// disappears on white.
    pub fn attributes(self, has_colour: bool) -> &'static str {
        match (self, has_colour) {
            (Role::Good, true) => "32",
            (Role::Idle, _) => "",
            (Role::Busy, true) => "1;34",
            (Role::Warn, true) => "7;33",
            (Role::Bad, true) => "1;31",
            (Role::Held, true) => "1;7;35",
            (Role::Good, false) => "",
            (Role::Busy | Role::Bad, false) => "1",
            (Role::Warn, false) => "7",
            (Role::Held, false) => "1;7",
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthChar;

    use super::*;

    #[test]
    fn a_state_is_known_by_its_word_and_problems_come_first() {
        let words: std::collections::BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.word()).collect();
        assert_eq!(words.len(), Mark::ALL.len());
        assert!(Mark::ALL.is_sorted());
        for mark in Mark::ALL {
            assert!(mark.letter().is_ascii_graphic(), "{mark:?}");
            // `width_cjk` is the width where ambiguous characters take two cells.
            assert_eq!(mark.glyph().width_cjk(), Some(1), "{mark:?}");
        }
    }
}
