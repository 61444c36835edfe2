//! Freeze windows of the configuration: times in which nothing is released on their hosts, each week or once.

use std::collections::BTreeSet;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::domain::base::name::HostName;

/// A window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub hosts: BTreeSet<HostName>,
    pub times: Times,
    pub zone: TimeZone,
    pub why: String,
}

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Times {
    Weekly { from: (Weekday, Time), until: (Weekday, Time) },
    Once { from: DateTime, until: DateTime },
}

/// One end of a window, as a file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edge {
    Weekly((Weekday, Time)),
    Once(DateTime),
}

/// The days of the week as they are written.
pub const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// `Fri 16:00` for every week, `2026-12-20 18:00` or `2026-12-20` (its midnight) for once.
pub fn read_edge(text: &str) -> Option<Edge> {
    let (first, time) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), "00:00"));
    let time: Time = time.trim().parse().ok()?;
    match WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(first)) {
        Some((_, day)) => Some(Edge::Weekly((*day, time))),
        None => Some(Edge::Once(first.parse::<jiff::civil::Date>().ok()?.to_datetime(time))),
    }
}

/// The two ends of a window; the error says why they are none.
pub fn times(from: Edge, until: Edge) -> Result<Times, &'static str> {
    match (from, until) {
        (Edge::Weekly(from), Edge::Weekly(until)) if from == until => {
            Err("`from` and `until` are the same: the freeze would never end")
        }
        (Edge::Weekly(from), Edge::Weekly(until)) => Ok(Times::Weekly { from, until }),
        (Edge::Once(from), Edge::Once(until)) if from >= until => Err("`until` is not after `from`"),
        (Edge::Once(from), Edge::Once(until)) => Ok(Times::Once { from, until }),
        _ => Err("`from` and `until` are two days of the week, or two dates"),
    }
}

impl Window {
    /// When the window ends, if it is open now.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.times {
            Times::Once { from, until } => {
                let at =
                    |time: DateTime| time.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp());
                let (from, until) = (at(from)?, at(until)?);
                (from <= now && now < until).then_some(until)
            }
            Times::Weekly { from, until } => {
                let now = now.to_zoned(self.zone.clone());
                let (next_from, next_until) = (next(&now, from)?, next(&now, until)?);
                // Inside, the end comes before the next beginning.
                (next_until < next_from).then_some(next_until)
            }
        }
    }
}

/// The next time that a week has this day and time, after `now`.
fn next(now: &Zoned, (day, time): (Weekday, Time)) -> Option<Timestamp> {
    (0..=7).find_map(|days| {
        let date = now.date().checked_add(days.days()).ok()?;
        let at = date.to_datetime(time).to_zoned(now.time_zone().clone()).ok()?.timestamp();
        (date.weekday() == day && at > now.timestamp()).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, until: &str, zone: &str) -> Window {
        let times = times(read_edge(from).unwrap(), read_edge(until).unwrap()).unwrap();
        Window { hosts: BTreeSet::new(), times, zone: TimeZone::get(zone).unwrap(), why: String::new() }
    }

    #[test]
    fn windows_are_open_in_their_time_zone() {
        let weekend = window("Fri 16:00", "Mon 08:00", "Europe/Berlin");
        let night = window("Mon 22:00", "Tue 06:00", "UTC");
        let within = window("Wed 09:00", "Wed 17:00", "UTC");
        let holidays = window("2026-12-20", "2027-01-02 12:00", "America/New_York");
        // The night in which clocks go back in Berlin is an hour longer.
        let table = [
            (&weekend, "2026-11-27T14:59:59Z", None),
            (&weekend, "2026-11-27T15:00:00Z", Some("2026-11-30T07:00:00Z")),
            (&weekend, "2026-11-29T23:00:00Z", Some("2026-11-30T07:00:00Z")),
            (&weekend, "2026-11-30T07:00:00Z", None),
            (&weekend, "2026-10-24T12:00:00Z", Some("2026-10-26T07:00:00Z")),
            (&night, "2026-11-23T23:00:00Z", Some("2026-11-24T06:00:00Z")),
            (&night, "2026-11-24T23:00:00Z", None),
            (&within, "2026-11-25T09:00:00Z", Some("2026-11-25T17:00:00Z")),
            (&within, "2026-11-25T17:00:00Z", None),
            (&holidays, "2026-12-20T04:59:59Z", None),
            (&holidays, "2026-12-20T05:00:00Z", Some("2027-01-02T17:00:00Z")),
            (&holidays, "2027-01-02T17:00:00Z", None),
        ];
        for (window, now, wanted) in table {
            let until = window.open_until(now.parse().unwrap()).map(|at| at.to_string());
            assert_eq!(until.as_deref(), wanted, "{:?} at {now}", window.times);
        }
    }

    #[test]
    fn ends_that_fit_no_window_are_refused() {
        for text in ["", "Friday 16:00", "Fri 25:00", "2026-13-01", "16:00", "Fri 16:00 UTC"] {
            assert_eq!(read_edge(text), None, "{text}");
        }
        assert!(read_edge("fri 16:00").is_some() && read_edge(" Mon ").is_some());
        let table = [
            ("Fri 16:00", "Fri 16:00", "the freeze would never end"),
            ("Fri 16:00", "2026-12-20", "two days of the week, or two dates"),
            ("2026-12-20", "2026-12-20", "`until` is not after `from`"),
        ];
        for (from, until, wanted) in table {
            let why = times(read_edge(from).unwrap(), read_edge(until).unwrap()).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
