//! The states of hosts, each with its glyph, its ASCII letter, its role and its word. Colour only confirms what the glyph
//! and the word say.

use crate::domain::base::outcome::End;

/// The state of a host on a board, in the order in which boards list them: first what needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    Held,
    Unknown,
    Failed,
    Failing,
    Running,
    Serving,
    RolledBack,
    NotStarted,
    Released,
    Done,
    Unchanged,
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
    pub const ALL: [Mark; 11] = [
        Mark::Held,
        Mark::Unknown,
        Mark::Failed,
        Mark::Failing,
        Mark::Running,
        Mark::Serving,
        Mark::RolledBack,
        Mark::NotStarted,
        Mark::Released,
        Mark::Done,
        Mark::Unchanged,
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

    /// The word that people read.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Held => "held",
            Mark::Unknown => "unknown",
            Mark::Failed => "failed",
            Mark::Failing => "failing",
            Mark::Running => "under way",
            Mark::Serving => "in rotation again",
            Mark::RolledBack => "rolled back",
            Mark::NotStarted => "not started",
            Mark::Released => "released",
            Mark::Done => "done",
            Mark::Unchanged => "unchanged",
        }
    }

    /// One cell wide in every terminal, also in those of East Asia.
    pub fn glyph(self) -> char {
        match self {
            Mark::Held => '\u{2298}',
            Mark::Unknown => '?',
            Mark::Failed | Mark::Failing => '\u{2717}',
            Mark::Running => '\u{25b8}',
            Mark::RolledBack => '\u{21b6}',
            Mark::NotStarted => '.',
            Mark::Serving | Mark::Released | Mark::Done => '\u{2713}',
            Mark::Unchanged => '=',
        }
    }

    /// For terminals without UTF-8.
    pub fn letter(self) -> char {
        match self {
            Mark::Held => 'H',
            Mark::Unknown => '?',
            Mark::Failed | Mark::Failing => 'X',
            Mark::Running => '>',
            Mark::RolledBack => '<',
            Mark::NotStarted => '.',
            Mark::Serving | Mark::Released | Mark::Done => 'v',
            Mark::Unchanged => '=',
        }
    }

    /// The role of the state.
    pub fn role(self) -> Role {
        match self {
            Mark::Held => Role::Held,
            Mark::Unknown | Mark::Failed | Mark::Failing => Role::Bad,
            Mark::Running => Role::Busy,
            Mark::RolledBack => Role::Warn,
            Mark::NotStarted | Mark::Unchanged => Role::Idle,
            Mark::Serving | Mark::Released | Mark::Done => Role::Good,
        }
    }

    /// True when a person has to see the host.
    pub fn is_problem(self) -> bool {
        matches!(self, Mark::Held | Mark::Unknown | Mark::Failed | Mark::Failing | Mark::RolledBack)
    }
}

impl Role {
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
            let is_bad = matches!(mark.role(), Role::Bad | Role::Held | Role::Warn);
            assert_eq!(mark.is_problem(), is_bad, "{mark:?}");
        }
    }
}
