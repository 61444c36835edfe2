//! Counts refusals of the door, and logs one summary line per period: a flood must not flood the log. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// The shortest interval between two summaries.
pub const TALLY_PERIOD: Duration = Duration::from_secs(10);

/// Most sources that are counted separately in each period; further ones count only in the sum.
const SOURCES: usize = 256;

/// The refusals since the last summary.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, ReasonCount>);

#[derive(Default)]
struct ReasonCount {
    all: u64,
    by: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one connection that was `closed`, a clause that follows "connections were closed".
    pub fn note(&mut self, closed: &'static str, source: String) {
        let count = self.0.entry(closed).or_default();
        count.all += 1;
        if count.by.len() < SOURCES || count.by.contains_key(&source) {
            *count.by.entry(source).or_default() += 1;
        }
    }

    /// The summary, a line for each kind; counting then starts again.
    pub fn take(&mut self) -> Vec<String> {
        let counts = std::mem::take(&mut self.0);
        counts.iter().map(|(closed, count)| count.line(closed)).collect()
    }
}

impl ReasonCount {
    fn line(&self, closed: &str) -> String {
        let connections = if self.all == 1 { "connection was" } else { "connections were" };
        let most = self.by.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(source, count)| format!("; {count} of {source}")).unwrap_or_default();
        format!("{} {connections} closed {closed}{most}", self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_names_the_worst_source() {
        let mut tally = Tally::default();
        for n in 0..10_000 {
            tally.note("to make room", format!("10.0.{}.{}", n / 200, n % 200));
            tally.note("to make room", "192.0.2.1".into());
        }
        tally.note("after 20 s without a login", "192.0.2.1".into());
        let lines = tally.take();
        assert_eq!(lines[0], "1 connection was closed after 20 s without a login; 1 of 192.0.2.1");
        assert_eq!(lines[1], "20000 connections were closed to make room; 10000 of 192.0.2.1");
        assert!(tally.take().is_empty(), "what was summed up is not counted again");
    }

    #[test]
    fn sources_are_bounded_in_a_period() {
        let mut tally = Tally::default();
        (0..10_000).for_each(|n| tally.note("to make room", format!("10.0.{}.{}", n / 200, n % 200)));
        assert!(tally.0.values().all(|count| count.by.len() <= SOURCES && count.all == 10_000));
    }
}
