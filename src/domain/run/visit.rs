//! What an operator has seen of the fleet, by the events before their last visit.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A visit that begins so long after the one before is another one. A page that is opened again within this time says the same.
const SAME_VISIT: Duration = Duration::from_secs(600);

/// A moment of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The number of the newest event.
    pub seq: u64,
    pub at: Timestamp,
}

/// The visits of one key to the page of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visits {
    /// The last moment that was shown before this visit; `None` in the first one.
    pub before: Option<Moment>,
    /// When this visit began.
    begun: Timestamp,
    /// When the page was opened for the last time.
    last: Moment,
}

impl Visits {
    /// The page is opened now.
    pub fn opened(known: Option<Visits>, now: Moment) -> Visits {
        let Some(known) = known else { return Visits { before: None, begun: now.at, last: now } };
        let since = now.at.duration_since(known.begun).unsigned_abs();
        let visit = match since <= SAME_VISIT {
            true => Visits { last: now, ..known },
            false => Visits { before: Some(known.last), begun: now.at, last: now },
        };
        // A store that was restored from a copy lacks the events that were seen.
        Visits { before: visit.before.filter(|before| before.seq <= now.seq), ..visit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moment at a minute of a day, with so many events.
    fn moment(minute: i64, seq: u64) -> Moment {
        Moment { seq, at: Timestamp::from_second(minute * 60).unwrap() }
    }

    #[test]
    fn a_visit_says_what_was_seen_before_it_for_ten_minutes() {
        // When the page is opened, the newest event then, and the event since which it says what happened.
        let table = [
            (0, 5, None),
            // Opened again within ten minutes: still the first visit.
            (4, 7, None),
            (100, 20, Some(7)),
            (105, 30, Some(7)),
            (110, 31, Some(7)),
            (111, 31, Some(31)),
            (500, 40, Some(31)),
            // The clock was set back by hours: another visit.
            (200, 50, Some(40)),
            // The journal was restored from an older copy.
            (300, 3, None),
            (400, 9, Some(3)),
        ];
        let mut visits = None;
        for (minute, seq, wanted) in table {
            let now = Visits::opened(visits, moment(minute, seq));
            assert_eq!(now.before.map(|before| before.seq), wanted, "{minute}");
            visits = Some(now);
        }
    }
}
