//! Due times of checks. Nothing here is random and nothing reads a clock: the offset of a check within its interval is
//! computed from the names of host and check, so that a thousand checks are spread, and keep their offsets.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// Checks of one cron line are spread over this time behind its minute: five hundred of them do not start at once.
const CRON_SPREAD: Duration = Duration::from_secs(60);

/// A retry follows after the interval, and after this at the latest.
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Probes in a row that are not ok before a problem becomes hard.
pub const MAX_ATTEMPTS: u32 = 3;

/// Longest duration that is accepted: more is a typing error.
const TIME_LIMIT: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A duration as people write it, with days of 24 hours and weeks among the units: `90s`, `2h30m`, `2d`.
pub fn read_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write it with its unit, such as 90s, 2h30m or 2d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| "a time cannot be negative".to_string())?;
    match time {
        Duration::ZERO => Err("a time cannot be zero".into()),
        time if time > TIME_LIMIT => Err("a time is at most ten years".into()),
        time => Ok(time),
    }
}

/// The schedule and alert rules of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Watching {
    pub rhythm: Rhythm,
    /// Probes in a row that are not ok before the problem becomes hard.
    pub max_attempts: u32,
    /// The interval between those probes.
    pub retry_interval: Duration,
    /// Names of checks of the same host: while one of them is not ok, this one causes no alerts.
    pub depends_on: Vec<String>,
}

impl Watching {
    /// With defaults for everything except the rhythm.
    pub fn new(rhythm: Rhythm) -> Watching {
        let retry_interval = rhythm.retry_interval();
        Watching { rhythm, max_attempts: MAX_ATTEMPTS, retry_interval, depends_on: Vec::new() }
    }
}

/// The recurring due times of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Rhythm {
    /// The interval between due times.
    Every(Duration),
    /// `7 3 * * *`, in the time zone of the schedule.
    Cron(Box<Cron>),
}

impl Rhythm {
    /// Parses a cron line: five fields, or `@hourly` and the like. If day of month and day of week are both
    /// restricted, either is enough, as in Vixie's cron.
    pub fn cron(text: &str) -> Result<Rhythm, String> {
        if text.trim().eq_ignore_ascii_case("@reboot") {
            return Err("`@reboot` is no time; try: every = \"5m\"".into());
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        Ok(Rhythm::Cron(Box::new(cron)))
    }

    /// The default interval between probes of a soft problem.
    pub fn retry_interval(&self) -> Duration {
        match self {
            Rhythm::Every(interval) => (*interval).min(RETRY_AT_MOST),
            Rhythm::Cron(_) => RETRY_AT_MOST,
        }
    }

    /// The first time after `after` that a check with this `spread` is due; `None` if there is none.
    pub fn next(&self, after: Timestamp, spread: Spread, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Rhythm::Every(interval) => {
                let interval = i64::try_from(interval.as_millis()).ok()?.max(1);
                let since = (after.as_millisecond() - spread.of(interval)).rem_euclid(interval);
                Timestamp::from_millisecond(after.as_millisecond() - since + interval).ok()
            }
            Rhythm::Cron(cron) => next_cron(cron, after, spread, zone),
        }
    }
}

impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rhythm::Every(interval) => write!(f, "every {interval:?}"),
            Rhythm::Cron(cron) => write!(f, "at {cron}"),
        }
    }
}

fn next_cron(cron: &Cron, after: Timestamp, spread: Spread, zone: &TimeZone) -> Option<Timestamp> {
    let late = Duration::from_millis(u64::try_from(spread.of(CRON_SPREAD.as_millis() as i64)).ok()?);
    let before = after.checked_sub(late).ok()?.to_zoned(zone.clone());
    let mut found = cron.find_next_occurrence(&before, false).ok()?;
    if found.timestamp() <= before.timestamp() {
        // Cron has whole seconds only: a second that has started is over.
        found = cron.find_next_occurrence(&found, false).ok()?;
    }
    found.timestamp().checked_add(late).ok().filter(|next| *next > after)
}

/// The offset of a check among all that are due together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread(u64);

impl Spread {
    /// Computed from its names (FNV-1a, and a last round so that all bits count).
    pub fn new(host: &str, check: &str) -> Spread {
        let bytes = host.bytes().chain([0]).chain(check.bytes());
        let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Spread(mixed ^ (mixed >> 33))
    }

    /// Its offset within an interval, in milliseconds.
    fn of(self, interval_ms: i64) -> i64 {
        i64::try_from(self.0 >> 1).unwrap_or_default() % interval_ms.max(1)
    }

    /// Its offset within a time in which all checks run once.
    pub fn within(self, time: Duration) -> Duration {
        let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Duration::from_millis(u64::try_from(self.of(ms)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The zero offset.
    const FIRST: Spread = Spread(0);

    fn crons(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let rhythm = Rhythm::cron(line).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut now = at(after);
        let mut found = Vec::new();
        for _ in 0..count {
            now = rhythm.next(now, FIRST, &zone).unwrap();
            found.push(now.to_string());
        }
        found
    }

    #[test]
    fn an_interval_keeps_its_grid() {
        let every = Rhythm::Every(Duration::from_secs(300));
        let spread = Spread::new("web01", "http");
        let first = every.next(at("2026-01-01T00:00:00Z"), spread, &TimeZone::UTC).unwrap();
        let second = every.next(first, spread, &TimeZone::UTC).unwrap();
        assert_eq!(second - first, 300.seconds().fieldwise());
        let shortly_before = second.checked_sub(1.millisecond()).unwrap();
        assert_eq!(every.next(shortly_before, spread, &TimeZone::UTC), Some(second), "whenever it is asked");
        assert_eq!(every.next(first, Spread::new("web01", "http"), &TimeZone::UTC), Some(second));
    }

    #[test]
    fn a_thousand_checks_are_spread_over_their_interval() {
        let every = Rhythm::Every(Duration::from_secs(60));
        let start = at("2026-01-01T00:00:00Z");
        let mut of_second = [0; 60];
        for host in 0..1000 {
            let due =
                every.next(start, Spread::new(&format!("web{host:04}"), "http"), &TimeZone::UTC).unwrap();
            of_second[usize::try_from((due.as_second() - start.as_second()) % 60).unwrap()] += 1;
        }
        assert!(of_second.iter().all(|count| (3..40).contains(count)), "{of_second:?}");
    }

    #[test]
    fn either_day_is_enough_where_both_are_restricted() {
        // The 13th, and Fridays.
        assert_eq!(
            crons("0 0 13 * 5", "UTC", "2026-02-01T00:00:00Z", 4),
            ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z", "2026-02-27T00:00:00Z"]
        );
        assert_eq!(
            crons("0 0 * * 7", "UTC", "2026-02-02T00:00:00Z", 1),
            crons("0 0 * * sun", "UTC", "2026-02-02T00:00:00Z", 1)
        );
        assert_eq!(crons("@hourly", "UTC", "2026-02-01T00:30:00Z", 1), ["2026-02-01T01:00:00Z"]);
    }

    #[test]
    fn lines_of_cron_are_in_the_zone_of_the_schedule() {
        assert_eq!(crons("7 3 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", 1), ["2026-01-01T02:07:00Z"]);
        // The hour that is skipped: once, right after it. The hour that repeats: once.
        assert_eq!(
            crons("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        let twice = crons("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(twice, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn checks_of_one_line_do_not_begin_at_once() {
        let rhythm = Rhythm::cron("0 3 * * *").unwrap();
        let mut begun = std::collections::BTreeSet::new();
        for host in 0..100 {
            let spread = Spread::new(&format!("web{host}"), "backup");
            let mut now = at("2026-01-01T00:00:00Z");
            for day in 1..=3 {
                now = rhythm.next(now, spread, &TimeZone::UTC).unwrap();
                let wanted = at(&format!("2026-01-0{day}T03:00:00Z"));
                let late = now.duration_since(wanted);
                assert!(!late.is_negative() && late.as_secs() < 60, "{now}");
            }
            begun.insert(now);
        }
        assert!(begun.len() > 90);
    }

    #[test]
    fn times_have_days_and_weeks() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        for (text, wanted) in
            [("2h", hours(2)), ("2d", hours(48)), ("1w", hours(168)), ("90m", Ok(Duration::from_secs(5400)))]
        {
            assert_eq!(read_time(text), wanted, "{text}");
        }
        for wrong in ["", "2", "0s", "-1h", "1 fortnight", "99999d", "1mo", "1y"] {
            assert!(read_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_line_of_cron_is_said() {
        for wrong in ["", "* * * *", "0 0 0 * * *", "61 * * * *", "@reboot", "a b c d e"] {
            assert!(Rhythm::cron(wrong).is_err(), "{wrong}");
        }
    }
}
