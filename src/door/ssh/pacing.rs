//! How often a source may connect: a rate, and a penalty that grows with each failure. Pure: no clock.
//!
//! A source is an address, or a /64 of IPv6. Sources of operators who logged in lately are not asked: see `waiting.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::waiting::link;

/// Most sources that are remembered: about 400 KB. The one that was quiet for the longest time is forgotten first.
const SOURCES: usize = 4096;

/// What a failure costs a source. OpenSSH's PerSourcePenalties have the same.
const REFUSED: Duration = Duration::from_secs(5);
const TOO_LATE: Duration = Duration::from_secs(10);

/// A source is kept out once its failures cost this much: one wrong key is no attack.
const TOLERATED: Duration = Duration::from_secs(15);

/// Failures cost twice as much after each time that the source was kept out, up to this many doublings.
const DOUBLINGS: u32 = 6;

/// A source without a failure for this long starts anew.
const FORGIVEN: Duration = Duration::from_secs(60 * 60);

/// The limits of `[door]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorPace {
    /// New connections of a source in a second, and how many more at once.
    pub rate: u32,
    pub burst: u32,
    /// The longest time for which a source is kept out; zero for never.
    pub penalty: Duration,
}

/// What went wrong on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// No key was accepted.
    Refused,
    /// There was no login in time.
    TooLate,
}

/// Why a connection is refused, as a clause for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    Connections,
    Failures,
}

impl TooMany {
    /// The clause that follows "connections were closed".
    pub fn clause(self) -> &'static str {
        match self {
            TooMany::Connections => "since their source connects too often",
            TooMany::Failures => "since too many logins from their source failed",
        }
    }
}

/// The sources of late.
pub struct Pacing {
    pace: DoorPace,
    sources: HashMap<IpAddr, SourceState>,
}

struct SourceState {
    seen: Instant,
    /// When its connections would have come at an even rate.
    even: Instant,
    /// When its failures are paid for.
    paid: Instant,
    is_out: bool,
    /// How often it was kept out.
    times: u32,
}

impl Pacing {
    pub fn new(pace: DoorPace) -> Pacing {
        Pacing { pace, sources: HashMap::new() }
    }

    /// Counts a connection, or says why it is one too many.
    pub fn enter(&mut self, from: IpAddr, now: Instant) -> Result<(), TooMany> {
        let each = Duration::from_secs(1) / self.pace.rate.max(1);
        let burst = each * self.pace.burst.max(1);
        let source = self.source(from, now);
        source.is_out &= source.paid > now;
        if source.is_out {
            return Err(TooMany::Failures);
        }
        let even = source.even.max(now) + each;
        if even > now + burst {
            return Err(TooMany::Connections);
        }
        source.even = even;
        Ok(())
    }

    /// Counts a failure against its source.
    pub fn failed(&mut self, from: IpAddr, failure: ConnectionFailure, now: Instant) {
        let most = self.pace.penalty;
        let source = self.source(from, now);
        if source.paid + FORGIVEN < now {
            source.times = 0;
        }
        let cost = match failure {
            ConnectionFailure::Refused => REFUSED,
            ConnectionFailure::TooLate => TOO_LATE,
        };
        source.paid = (source.paid.max(now) + cost * (1 << source.times)).min(now + most);
        let goes_out = !source.is_out && source.paid >= now + TOLERATED.min(most) && !most.is_zero();
        if goes_out {
            source.is_out = true;
            source.times = (source.times + 1).min(DOUBLINGS);
        }
    }

    /// An operator logged in from there: its connections and failures do not count.
    pub fn logged_in(&mut self, from: IpAddr) {
        self.sources.remove(&link(from));
    }

    fn source(&mut self, from: IpAddr, now: Instant) -> &mut SourceState {
        let key = link(from);
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&key) {
            let quiet =
                self.sources.iter().min_by_key(|(_, source)| source.seen).map(|(address, _)| *address);
            quiet.map(|address| self.sources.remove(&address));
        }
        let new = SourceState { seen: now, even: now, paid: now, is_out: false, times: 0 };
        let source = self.sources.entry(key).or_insert(new);
        source.seen = now;
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: DoorPace = DoorPace { rate: 10, burst: 10, penalty: Duration::from_secs(600) };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_has_its_rate_and_a_login_gives_it_back() {
        let (mut pacing, now) = (Pacing::new(PACE), Instant::now());
        let entered = |pacing: &mut Pacing, from: &str, now| {
            (0..100).filter(|_| pacing.enter(ip(from), now).is_ok()).count()
        };
        assert_eq!(entered(&mut pacing, "192.0.2.1", now), 10);
        assert_eq!(pacing.enter(ip("192.0.2.1"), now), Err(TooMany::Connections));
        assert_eq!(entered(&mut pacing, "192.0.2.2", now), 10, "another source has its own");
        assert_eq!(entered(&mut pacing, "192.0.2.1", now + seconds(1) / 2), 5);
        assert_eq!(
            entered(&mut pacing, "192.0.2.1", now + seconds(60)),
            10,
            "it saves no more than the burst"
        );
        pacing.logged_in(ip("192.0.2.1"));
        assert_eq!(entered(&mut pacing, "192.0.2.1", now + seconds(60)), 10);
        assert_eq!(entered(&mut pacing, "2001:db8::1", now), 10);
        assert_eq!(entered(&mut pacing, "2001:db8::ffff", now), 0, "a /64 is one source");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_keep_a_source_out_longer_each_time() {
        let (mut pacing, start) = (Pacing::new(PACE), Instant::now());
        let from = ip("192.0.2.1");
        let mut now = start;
        let mut out = Vec::new();
        for _ in 0..8 {
            while pacing.enter(from, now).is_ok() {
                pacing.failed(from, ConnectionFailure::Refused, now);
            }
            let since = now;
            while pacing.enter(from, now).is_err() {
                now += seconds(1);
            }
            out.push((now - since).as_secs());
        }
        assert_eq!(out, [15, 20, 20, 40, 80, 160, 320, 320]);
        assert!(pacing.enter(ip("192.0.2.2"), start).is_ok(), "others are not concerned");
        now += FORGIVEN + seconds(1);
        pacing.failed(from, ConnectionFailure::Refused, now);
        assert!(pacing.enter(from, now).is_ok(), "it starts anew");
        pacing.failed(from, ConnectionFailure::TooLate, now);
        assert_eq!(pacing.enter(from, now), Err(TooMany::Failures));
        pacing.logged_in(from);
        assert!(pacing.enter(from, now).is_ok(), "an operator is there");

        let mut never = Pacing::new(DoorPace { penalty: Duration::ZERO, ..PACE });
        (0..100).for_each(|_| never.failed(from, ConnectionFailure::TooLate, now));
        assert!(never.enter(from, now).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_sources_is_bounded() {
        let (mut pacing, now) = (Pacing::new(PACE), Instant::now());
        for n in 0..3 * SOURCES as u64 {
            let address = IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
            pacing.failed(address, ConnectionFailure::Refused, now + seconds(n));
        }
        assert_eq!(pacing.sources.len(), SOURCES);
        assert!(!pacing.sources.contains_key(&ip("10.0.0.1")), "the oldest is forgotten first");
    }
}
