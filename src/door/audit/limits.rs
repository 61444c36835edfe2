//! How many rows of one operator the audit has in an hour: a key in a tight loop must not fill the disk. Pure: no clock.
//!
//! Acts and their ends always have rows of their own. Of the others, those beyond the limit are counted in one row.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ask::audit::{AuditFact, AuditKind};

/// Commands that only read, and logins: two a second, as a busy monitoring system has. About 6 MB of plain text an hour.
const READS_PER_HOUR: u32 = 7_200;

/// Refused commands, whose texts are the operator's own: about 700 KB an hour.
const REFUSALS_PER_HOUR: u32 = 600;

/// The hour of these limits.
const HOUR: Duration = Duration::from_secs(3_600);

/// Stands for what is not kept.
const NOT_KEPT: &str = "...";

/// Rows that share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Share {
    Logins,
    Reads,
    Refusals,
}

impl Share {
    /// The limit of a row; `None` for one that is always kept.
    fn of(kind: &AuditKind) -> Option<Share> {
        match kind {
            AuditKind::Login { .. } => Some(Share::Logins),
            // Also a command that was granted and not done.
            AuditKind::Command { end: Some(end), .. } if end.why.is_some() => Some(Share::Refusals),
            AuditKind::Command { .. } => Some(Share::Reads),
            AuditKind::CommandRefused { .. } => Some(Share::Refusals),
            AuditKind::LoginRefused { .. }
            | AuditKind::LoginsLeftOut { .. }
            | AuditKind::CommandEnded { .. }
            | AuditKind::ConfigChanged { .. }
            | AuditKind::HostKey { .. }
            | AuditKind::Enrolled { .. }
            | AuditKind::RowsRemoved { .. } => None,
        }
    }

    fn per_hour(self) -> u32 {
        match self {
            Share::Logins | Share::Reads => READS_PER_HOUR,
            Share::Refusals => REFUSALS_PER_HOUR,
        }
    }

    /// What a row that only counts says.
    fn counted(self) -> AuditKind {
        let why = format!("more than {} in an hour, so only their number is kept", self.per_hour());
        match self {
            Share::Logins => AuditKind::Login { user: format!("{NOT_KEPT} ({why})") },
            Share::Reads => AuditKind::Command {
                line: NOT_KEPT.into(),
                rule: format!("several rules ({why})"),
                end: None,
            },
            Share::Refusals => AuditKind::CommandRefused { line: NOT_KEPT.into(), rule: None, why },
        }
    }
}

/// The rows of the present hour.
#[derive(Default)]
pub(super) struct Limits {
    hour: Option<Instant>,
    rows: HashMap<(String, Share), u32>,
}

impl Limits {
    /// Counts a row. One that is beyond the limit of its operator becomes a row that only counts.
    pub fn take(&mut self, fact: AuditFact, now: Instant) -> Taken {
        let Some(share) = Share::of(&fact.kind) else { return Taken::Kept(fact) };
        if self.hour.is_none_or(|begun| now.duration_since(begun) >= HOUR) {
            self.hour = Some(now);
            self.rows.clear();
        }
        let rows = self.rows.entry((fact.name.clone(), share)).or_default();
        if *rows < share.per_hour() {
            *rows += 1;
            return Taken::Kept(fact);
        }
        Taken::Counted(AuditFact { key: None, from: None, config: None, kind: share.counted(), ..fact })
    }
}

/// A row, as it will be in the audit.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Kept(AuditFact),
    Counted(AuditFact),
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::ask::audit::CommandEnd;

    fn fact(name: &str, kind: AuditKind) -> AuditFact {
        let at = Timestamp::UNIX_EPOCH;
        AuditFact { at, name: name.into(), key: Some("k".into()), from: None, config: None, times: 1, kind }
    }

    fn refused(line: &str) -> AuditKind {
        AuditKind::CommandRefused { line: line.into(), rule: None, why: "no".into() }
    }

    fn read(why: Option<&str>) -> AuditKind {
        let end = CommandEnd { why: why.map(String::from), ..CommandEnd::default() };
        AuditKind::Command { line: "show 9".into(), rule: "role viewer".into(), end: Some(end) }
    }

    /// How many of these rows are kept.
    fn kept(limits: &mut Limits, name: &str, kind: &AuditKind, now: Instant) -> u32 {
        let all =
            (0..20_000).filter(|_| matches!(limits.take(fact(name, kind.clone()), now), Taken::Kept(_)));
        u32::try_from(all.count()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_operator_has_a_number_of_rows_of_each_kind_in_an_hour() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        assert_eq!(kept(&mut limits, "vic", &refused("x"), now), REFUSALS_PER_HOUR);
        assert_eq!(kept(&mut limits, "vic", &read(Some("no run 9")), now), 0, "it was not done either");
        assert_eq!(kept(&mut limits, "vic", &read(None), now), READS_PER_HOUR, "reads have their own");
        assert_eq!(kept(&mut limits, "vic", &AuditKind::Login { user: "x".into() }, now), READS_PER_HOUR);
        assert_eq!(kept(&mut limits, "ann", &refused("x"), now), REFUSALS_PER_HOUR, "so have others");
        let end = CommandEnd::default();
        assert_eq!(kept(&mut limits, "vic", &AuditKind::CommandEnded { command: 1, end }, now), 20_000);
        assert_eq!(kept(&mut limits, "vic", &refused("x"), now + HOUR - Duration::from_secs(1)), 0);
        assert_eq!(kept(&mut limits, "vic", &refused("x"), now + HOUR), REFUSALS_PER_HOUR);
        assert_eq!(limits.rows.len(), 1, "the hour before is forgotten");
        let Taken::Counted(row) = limits.take(fact("vic", refused("y")), now + HOUR) else { panic!("kept") };
        let why = "more than 600 in an hour, so only their number is kept".into();
        assert_eq!(row.kind, AuditKind::CommandRefused { line: "...".into(), rule: None, why });
        assert_eq!((row.name.as_str(), row.key), ("vic", None));
    }
}
