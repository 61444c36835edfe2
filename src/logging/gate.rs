//! Limits how many lines a source may log: each source has a bucket of lines that refills over time. Pure.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Lines at once: a start with many hosts, or a script with many requests, is logged completely.
pub const BURST_LINES: u32 = 100;

/// The time per line after that: with [`BURST_LINES`] this limits a source to about a megabyte of plain lines an hour.
const TIME_FOR_A_LINE: Duration = Duration::from_millis(500);

/// Most sources with separate buckets; further ones share one.
const SOURCES: usize = 1024;

/// The buckets of all sources.
pub struct RateGate<K> {
    buckets: HashMap<K, Bucket>,
    others: Bucket,
}

/// Counts lines by the time that they take: a bucket that is `used` up to some time is full again then.
#[derive(Default)]
struct Bucket {
    used: Option<Instant>,
    left_out: u64,
}

impl<K> Default for RateGate<K> {
    fn default() -> RateGate<K> {
        RateGate { buckets: HashMap::new(), others: Bucket::default() }
    }
}

impl<K: Hash + Eq + Clone> RateGate<K> {
    /// True when this source may write one more line now.
    pub fn admits(&mut self, source: K, now: Instant) -> bool {
        let has_room = self.buckets.len() < SOURCES || self.buckets.contains_key(&source);
        match has_room {
            true => self.buckets.entry(source).or_default().admits(now),
            false => self.others.admits(now),
        }
    }

    /// The number of dropped lines of each source since the last call. Idle sources are
    /// removed.
    pub fn left_out(&mut self, now: Instant) -> Vec<(K, u64)> {
        let found = self
            .buckets
            .iter_mut()
            .map(|(source, bucket)| (source.clone(), std::mem::take(&mut bucket.left_out)));
        let found = found.filter(|(_, count)| *count > 0).collect();
        self.buckets.retain(|_, bucket| bucket.used.is_some_and(|until| until > now));
        found
    }
}

impl Bucket {
    fn admits(&mut self, now: Instant) -> bool {
        let used = self.used.filter(|used| *used > now).unwrap_or(now) + TIME_FOR_A_LINE;
        let admitted = used <= now + TIME_FOR_A_LINE * BURST_LINES;
        match admitted {
            true => self.used = Some(used),
            false => self.left_out += 1,
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_has_a_burst_and_then_a_line_at_a_time() {
        let start = Instant::now();
        let mut gate = RateGate::default();
        let admitted = (0..1000).filter(|_| gate.admits("a", start)).count();
        assert_eq!(admitted, BURST_LINES as usize);
        assert!(gate.admits("b", start), "another source has its own");
        assert!(!gate.admits("a", start + TIME_FOR_A_LINE / 2));
        assert!(gate.admits("a", start + TIME_FOR_A_LINE));
        assert!(!gate.admits("a", start + TIME_FOR_A_LINE));
        assert_eq!(gate.left_out(start), [("a", 902)]);
        assert!(gate.left_out(start).is_empty(), "what was reported is not reported again");
        let later = start + TIME_FOR_A_LINE * 1000;
        assert_eq!((0..1000).filter(|_| gate.admits("a", later)).count(), BURST_LINES as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_bounded_and_forgotten() {
        let start = Instant::now();
        let mut gate = RateGate::default();
        let admitted = (0..10 * SOURCES).filter(|source| gate.admits(*source, start)).count();
        assert_eq!(admitted, SOURCES + BURST_LINES as usize);
        gate.left_out(start + TIME_FOR_A_LINE);
        assert!(gate.buckets.is_empty());
    }
}
