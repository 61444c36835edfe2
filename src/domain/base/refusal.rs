//! Why a command is not done: its cause decides the exit status, and the hint says what to try next.

use std::fmt;

/// The causes that programs distinguish, by the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The words of the command, or the files that it reads, are wrong.
    Usage,
    /// It names something that does not exist, or that the operator may not see.
    NotFound,
    /// A rule or the present state does not allow it: a release that is marked bad, a run that is over.
    Rule,
    /// The operator may not do it.
    NotAllowed,
    /// Another run or operator is at it, or an approval is missing: it may be possible later.
    Busy,
    /// It was tried, and failed for a host at least; the end state is safe.
    Failed,
    /// A host or service that it needs could not be reached.
    Unreachable,
    /// A person has to decide first.
    NeedsPerson,
    /// rollcall itself failed.
    Internal,
    /// rollcall stops, and the run continues at its next start.
    Continues,
}

impl Cause {
    /// The exit status of the command. 255 is ssh's own.
    pub fn exit_status(self) -> u8 {
        match self {
            Cause::Internal => 1,
            Cause::Failed => 2,
            Cause::NeedsPerson => 3,
            Cause::Unreachable => 4,
            Cause::Busy => 5,
            Cause::Usage | Cause::NotFound => 64,
            Cause::Rule => 69,
            Cause::NotAllowed => 77,
            Cause::Continues => LEFT,
        }
    }
}

/// The exit status of a client whose answer ends while its run continues: that of a shell for Ctrl-C.
pub const LEFT: u8 = 130;

/// Why a command is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub cause: Cause,
    pub why: String,
    /// What to try next, or where to read more.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(cause: Cause, why: impl Into<String>) -> Refusal {
        Refusal { cause, why: why.into(), hint: None }
    }

    /// The words of the command, or the files that it reads, are wrong.
    pub fn usage(why: impl Into<String>) -> Refusal {
        Refusal::new(Cause::Usage, why)
    }

    /// It names something that does not exist.
    pub fn not_found(why: impl Into<String>) -> Refusal {
        Refusal::new(Cause::NotFound, why)
    }

    /// A rule or the present state does not allow it.
    pub fn rule(why: impl Into<String>) -> Refusal {
        Refusal::new(Cause::Rule, why)
    }

    /// rollcall itself failed.
    pub fn internal(why: impl Into<String>) -> Refusal {
        Refusal::new(Cause::Internal, why)
    }

    /// Adds what to try next.
    pub fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }

    /// Adds what it is about, in front.
    pub fn about(self, what: impl fmt::Display) -> Refusal {
        Refusal { why: format!("{what}: {}", self.why), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}; {hint}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_exit_status() {
        let rows = [
            (Cause::Usage, 64),
            (Cause::NotFound, 64),
            (Cause::Rule, 69),
            (Cause::NotAllowed, 77),
            (Cause::Busy, 5),
            (Cause::Unreachable, 4),
            (Cause::NeedsPerson, 3),
            (Cause::Failed, 2),
            (Cause::Internal, 1),
            (Cause::Continues, 130),
        ];
        for (cause, status) in rows {
            assert_eq!(cause.exit_status(), status, "{cause:?}");
        }
    }

    #[test]
    fn the_hint_comes_last() {
        let refusal = Refusal::rule("it is over").hint("see: show 1").about("run 1");
        assert_eq!(refusal.to_string(), "run 1: it is over; see: show 1");
    }
}
