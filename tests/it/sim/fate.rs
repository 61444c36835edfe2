//! What goes wrong, with which host, and when. Drawn from the seed, the host's name and the number of the
//! connection; never from the order in which unrelated things happen.

use std::sync::OnceLock;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep_until};

use super::world::dice;

/// The trouble of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    None,
    /// Connections break after some bytes.
    Resets,
    /// Connections carry nothing for a while.
    Holes,
    /// Connections are refused.
    Refuses,
    /// It dies and comes back.
    Dies,
    /// Its commands fail or hang.
    Flaky,
    /// It says that it restarted, and did not.
    Lies,
}

const TROUBLES: [Trouble; 6] =
    [Trouble::Resets, Trouble::Holes, Trouble::Refuses, Trouble::Dies, Trouble::Flaky, Trouble::Lies];

/// What is in store for one host.
pub struct Fate {
    pub trouble: Trouble,
    pub seed: u64,
    pub name: String,
    down: Option<Down>,
    begun: OnceLock<Instant>,
}

/// When a host is dead, counted from its first connection.
#[derive(Clone, Copy)]
pub struct Down {
    after: Duration,
    lasts: Duration,
    /// Packets go nowhere; otherwise connections are reset at once.
    pub silent: bool,
}

/// What is in store for one connection.
pub struct Weather {
    pub refused: bool,
    /// For each read, in microseconds.
    pub latency_us: std::ops::Range<u64>,
    pub reset_after: Option<usize>,
    /// From when on, after it was opened, and for how long nothing arrives.
    pub hole: Option<(Duration, Duration)>,
}

impl Fate {
    /// The fate of a host: trouble comes to `percent` of all.
    pub fn of(seed: u64, name: &str, percent: u32) -> Fate {
        let mut dice = dice(seed, &["fate", name]);
        let struck = dice.random_range(0..100) < percent;
        let trouble = if struck { TROUBLES[dice.random_range(0..TROUBLES.len())] } else { Trouble::None };
        let down = Down {
            after: Duration::from_millis(dice.random_range(0..60_000)),
            lasts: Duration::from_millis(dice.random_range(5_000..150_000)),
            silent: dice.random_bool(0.5),
        };
        let down = (trouble == Trouble::Dies).then_some(down);
        Fate { trouble, seed, name: name.into(), down, begun: OnceLock::new() }
    }

    /// Time begins for this host with its first connection.
    pub fn begin(&self) {
        self.begun.get_or_init(Instant::now);
    }

    /// From when to when it is dead.
    pub fn down(&self) -> Option<(Instant, Instant, Down)> {
        let (down, begun) = (self.down?, *self.begun.get()?);
        let from = begun + down.after;
        Some((from, from + down.lasts, down))
    }

    /// True while it is dead.
    pub fn is_down(&self) -> Option<Down> {
        let now = Instant::now();
        self.down().filter(|(from, to, _)| (*from..*to).contains(&now)).map(|(_, _, down)| down)
    }

    /// True once it has been dead.
    pub fn has_died(&self) -> bool {
        self.down().is_some_and(|(from, ..)| Instant::now() >= from)
    }

    /// Comes when it dies.
    pub async fn death(&self) {
        match self.down() {
            Some((from, ..)) if Instant::now() < from => sleep_until(from).await,
            _ => std::future::pending().await,
        }
    }

    /// What is in store for the connection of this number.
    pub fn weather(&self, number: u32) -> Weather {
        let mut dice = dice(self.seed, &["weather", &self.name, &number.to_string()]);
        let base = dice.random_range(200..3_000);
        let struck = dice.random_bool(0.6);
        let reset_after = dice.random_range(0..30_000);
        let hole = (dice.random_range(0..60_000), dice.random_range(1_000..180_000));
        let is = |trouble: Trouble| struck && self.trouble == trouble;
        Weather {
            refused: is(Trouble::Refuses),
            latency_us: base..base + 2_000,
            reset_after: is(Trouble::Resets).then_some(reset_after),
            hole: is(Trouble::Holes).then(|| (Duration::from_millis(hole.0), Duration::from_millis(hole.1))),
        }
    }
}
