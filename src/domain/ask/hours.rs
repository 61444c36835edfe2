//! Hours of the week, as in `hours = ["Mon-Fri 08:00-18:00"]`, in a time zone. Pure: the time is an argument.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// Days after which every span has started once.
const DAYS_AHEAD: i32 = 8;

const FORM: &str = "write \"Mon-Fri 08:00-18:00\" or \"22:00-06:00\"";

/// Times at which something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    pub spans: Vec<Span>,
    pub zone: TimeZone,
}

/// Days, and a time on each of them. One that ends before it starts goes on until the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    text: String,
    days: Vec<Weekday>,
    /// Minutes of the day.
    from: u16,
    to: u16,
}

impl Hours {
    /// True when the time is within one of the spans.
    pub fn contain(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone());
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        self.spans.iter().any(|span| span.contains(local.weekday(), minute))
    }

    /// The first time from `from` on that is within one of the spans.
    pub fn next(&self, from: Timestamp) -> Timestamp {
        if self.contain(from) { from } else { self.change(from) }
    }

    /// The first time after `from` at which they start or end; a time some days ahead if there is none before it.
    pub fn change(&self, from: Timestamp) -> Timestamp {
        let (end, within) =
            (from.checked_add((24 * DAYS_AHEAD).hours()).unwrap_or(Timestamp::MAX), self.contain(from));
        // Clocks that are set forward may start a span in the middle, or skip its end.
        let changes = self.zone.following(from).map(|change| change.timestamp());
        let changes = changes.take_while(|at| *at <= end);
        let all = self.spans.iter().flat_map(|span| span.edges(from, &self.zone)).chain(changes);
        all.filter(|at| *at > from && self.contain(*at) != within).min().unwrap_or(end)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans: Vec<&str> = self.spans.iter().map(|span| span.text.as_str()).collect();
        write!(f, "{} ({})", spans.join(", "), self.zone.iana_name().unwrap_or("UTC"))
    }
}

impl Span {
    /// Reads one entry of the list.
    pub fn parse(text: &str) -> Result<Span, String> {
        let wrong = || format!("`{text}` is no time of the week: {FORM}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words[..] {
            [times] => (DAYS.map(|(_, day)| day).to_vec(), times),
            [days, times] => (parse_days(days).ok_or_else(wrong)?, times),
            _ => return Err(wrong()),
        };
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (parse_minute(from).ok_or_else(wrong)?, parse_minute(to).ok_or_else(wrong)?);
        if from == to || from == MINUTES_OF_A_DAY {
            return Err(wrong());
        }
        Ok(Span { text: text.to_string(), days, from, to })
    }

    /// The times of its start and of its end on the days from `from` on; two for a time that a change of clocks repeats.
    fn edges(&self, from: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let today = from.to_zoned(zone.clone()).date();
        let days: Vec<Date> =
            (0..=DAYS_AHEAD).filter_map(|days| today.checked_add(days.days()).ok()).collect();
        let time = |minute: u16| {
            let [hour, minute] =
                [minute / 60, minute % 60].map(|part| i8::try_from(part).unwrap_or_default());
            Time::new(hour, minute, 0, 0).ok()
        };
        let times: Vec<Time> = [self.from, self.to % MINUTES_OF_A_DAY].into_iter().filter_map(time).collect();
        let both = |day: Date, time: Time| {
            let edge = zone.to_ambiguous_timestamp(day.to_datetime(time));
            [edge.earlier(), edge.later()].into_iter().flatten()
        };
        days.iter().flat_map(|day| times.iter().flat_map(|time| both(*day, *time))).collect()
    }

    fn contains(&self, day: Weekday, minute: u16) -> bool {
        let on = |day: Weekday| self.days.contains(&day);
        match self.from < self.to {
            true => on(day) && (self.from..self.to).contains(&minute),
            false => (on(day) && minute >= self.from) || (on(day.previous()) && minute < self.to),
        }
    }
}

/// `Mon`, `Mon-Fri` or `Fri-Mon`; several with commas.
fn parse_days(text: &str) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (parse_day(first)?, parse_day(last)?);
        days.push(day);
        while day != last {
            day = day.next();
            days.push(day);
        }
    }
    Some(days)
}

fn parse_day(text: &str) -> Option<Weekday> {
    let text = text.to_ascii_lowercase();
    DAYS.iter().find(|(name, _)| *name == text).map(|(_, day)| *day)
}

/// `08:00`; `24:00` is the end of a day.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) =
        text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= MINUTES_OF_A_DAY).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_hold_on_their_days_and_in_their_zone() {
        // 2026-03-02 is a Monday; Berlin has UTC+1 then, and UTC+2 from 2026-03-29.
        let table = [
            ("Mon-Fri 08:00-18:00", "2026-03-02T06:59:00Z", false),
            ("Mon-Fri 08:00-18:00", "2026-03-02T07:00:00Z", true),
            ("Mon-Fri 08:00-18:00", "2026-03-02T16:59:59Z", true),
            ("Mon-Fri 08:00-18:00", "2026-03-02T17:00:00Z", false),
            ("Mon-Fri 08:00-18:00", "2026-03-07T10:00:00Z", false),
            ("mon-fri 08:00-18:00", "2026-03-30T06:00:00Z", true),
            ("22:00-06:00", "2026-03-02T21:30:00Z", true),
            ("22:00-06:00", "2026-03-03T04:30:00Z", true),
            ("22:00-06:00", "2026-03-03T05:30:00Z", false),
            ("Fri 22:00-06:00", "2026-03-07T04:00:00Z", true),
            ("Fri 22:00-06:00", "2026-03-06T04:00:00Z", false),
            ("Sat,Sun 00:00-24:00", "2026-03-08T22:59:00Z", true),
            ("Sat,Sun 00:00-24:00", "2026-03-08T23:00:00Z", false),
            ("Fri-Mon 10:00-11:00", "2026-03-02T09:30:00Z", true),
            ("Fri-Mon 10:00-11:00", "2026-03-03T09:30:00Z", false),
        ];
        for (text, now, holds) in table {
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let hours = Hours { spans: vec![Span::parse(text).unwrap()], zone };
            assert_eq!(hours.contain(now.parse().unwrap()), holds, "{text} at {now}");
            assert_eq!(hours.to_string(), format!("{text} (Europe/Berlin)"));
        }
    }

    #[test]
    fn hours_begin_next_at_the_first_time_within() {
        let table = [
            ("Mon-Fri 08:00-18:00", "2026-03-02T10:00:30Z", "2026-03-02T10:00:30Z"),
            ("Mon-Fri 08:00-18:00", "2026-03-02T17:00:00Z", "2026-03-03T07:00:00Z"),
            ("Mon-Fri 08:00-18:00", "2026-03-06T17:00:00Z", "2026-03-09T07:00:00Z"),
            // A weekend in which the clocks are set forward.
            ("Mon-Fri 08:00-18:00", "2026-03-27T17:00:00Z", "2026-03-30T06:00:00Z"),
            ("Sun 12:00-13:00", "2026-03-08T12:00:00Z", "2026-03-15T11:00:00Z"),
            // 02:30 does not exist on this day: the span has started when the clock says 03:00.
            ("02:30-04:00", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
            ("02:15-02:45", "2026-03-29T00:00:00Z", "2026-03-30T00:15:00Z"),
            // 02:30 is twice on this day.
            ("02:30-02:45", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"),
            ("Fri 22:00-06:00", "2026-03-07T05:00:00Z", "2026-03-13T21:00:00Z"),
        ];
        for (text, from, next) in table {
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let hours = Hours { spans: vec![Span::parse(text).unwrap()], zone };
            assert_eq!(hours.next(from.parse().unwrap()).to_string(), next, "{text} from {from}");
        }
    }

    #[test]
    fn hours_change_when_they_start_and_when_they_end() {
        let table = [
            ("Mon-Fri 08:00-18:00", "2026-03-02T10:00:30Z", "2026-03-02T17:00:00Z"),
            ("Mon-Fri 08:00-18:00", "2026-03-02T17:00:00Z", "2026-03-03T07:00:00Z"),
            ("Fri 22:00-06:00", "2026-03-06T23:00:00Z", "2026-03-07T05:00:00Z"),
            ("Sat,Sun 00:00-24:00", "2026-03-07T12:00:00Z", "2026-03-08T23:00:00Z"),
            // 02:30 does not exist on this day, and twice on the other.
            ("01:00-02:30", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
            ("02:00-02:30", "2026-10-25T00:10:00Z", "2026-10-25T00:30:00Z"),
            ("02:00-02:30", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
            // They never change: asked again in some days.
            ("00:00-24:00", "2026-03-02T10:00:00Z", "2026-03-10T10:00:00Z"),
        ];
        for (text, from, change) in table {
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let hours = Hours { spans: vec![Span::parse(text).unwrap()], zone };
            assert_eq!(hours.change(from.parse().unwrap()).to_string(), change, "{text} from {from}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Mon",
            "8:00-18:00",
            "Mon 08:00",
            "Mon-Foo 08:00-18:00",
            "08:00-08:00",
            "24:00-08:00",
            "08:60-09:00",
            "08:00-25:00",
            "Mon Tue 08:00-09:00",
        ] {
            let why =
                format!("`{text}` is no time of the week: write \"Mon-Fri 08:00-18:00\" or \"22:00-06:00\"");
            assert_eq!(Span::parse(text), Err(why));
        }
    }
}
