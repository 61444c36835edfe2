//! The state of one check on one host, as looks at it come in: soft until a problem was seen often enough, hard from
//! then on; flapping, acknowledged; and what people have been told of it. What is told follows from what stands and
//! what was told before, so that nothing is told twice and nothing is lost while it is quiet.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::AlertChange;
use super::roll::{Ack, Changed};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::check::CheckResult;

/// Verdicts that are remembered to tell whether a check flaps, as in Nagios.
const SLOTS: u32 = 21;

/// Two bits for each of them.
const SLOT_BITS: u64 = (1 << (2 * SLOTS)) - 1;

/// When a problem is believed, and when changes are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Looks in a row that are not ok.
    pub max_attempts: u32,
    pub flapping: Flapping,
}

/// Percent of the last looks that were changes, the newer the heavier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// From here on a check flaps.
    pub high: u32,
    /// Down to here it does not any more.
    pub low: u32,
}

impl Default for Flapping {
    fn default() -> Self {
        Flapping { high: 30, low: 20 }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// What was seen last; `None` until the first look, and where a look could not be about it.
    pub verdict: Option<Verdict>,
    /// Since when.
    pub since: Timestamp,
    /// What is believed.
    pub hard: Verdict,
    /// Looks in a row that were not ok.
    pub attempt: u32,
    /// What was seen last, in words.
    pub text: String,
    pub last_at: Option<Timestamp>,
    pub took_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// The last look that was ok before those that are not.
    pub last_ok: Option<(Timestamp, String)>,
    /// The last verdicts that were believed, the newest in the lowest bits.
    slots: u64,
    pub flapping: bool,
    pub ack: Option<Ack>,
    told: Told,
}

/// What people know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    #[default]
    Nothing,
    Problem(Verdict),
    Flapping,
}

/// Whether people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    No,
    /// It hangs on something that is not ok: what stands afterwards is told then.
    Waits,
    /// Nobody wants to hear of it: what was told is over, and what stands afterwards is told anew.
    Downtime,
}

impl Watched {
    /// Nothing was seen yet.
    pub fn new(at: Timestamp) -> Watched {
        Watched {
            verdict: None,
            since: at,
            hard: Verdict::Ok,
            attempt: 0,
            text: String::new(),
            last_at: None,
            took_ms: 0,
            readings: Vec::new(),
            last_ok: None,
            slots: 0,
            flapping: false,
            ack: None,
            told: Told::Nothing,
        }
    }

    /// Seen last, and not ok.
    pub fn is_problem(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != Verdict::Ok)
    }

    /// Seen last, and not believed yet.
    pub fn is_soft(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != self.hard)
    }

    /// Takes in one look; what goes on record of it. Whoever is to be told of it is asked by [`Watched::tell`].
    pub fn took(&mut self, seen: CheckResult, at: Timestamp, rules: &Rules) -> Option<Changed> {
        let before = (self.verdict, self.hard, self.flapping);
        let verdict = seen.verdict;
        if verdict != Verdict::Ok && self.verdict == Some(Verdict::Ok) {
            self.last_ok = self.last_at.map(|last| (last, std::mem::take(&mut self.text)));
        }
        self.believe(verdict, rules);
        if self.verdict != Some(verdict) {
            (self.verdict, self.since) = (Some(verdict), at);
        }
        self.text = seen.text;
        self.readings = seen.readings;
        (self.last_at, self.took_ms) = (Some(at), seen.took_ms);
        if before == (self.verdict, self.hard, self.flapping) {
            return None;
        }
        let note = match (before.2, self.flapping) {
            (false, true) => Some("flapping".to_string()),
            (true, false) => Some("flaps no more".to_string()),
            _ => None,
        };
        Some(Changed { at, verdict, hard: !self.is_soft(), text: self.text.clone(), note, run: None })
    }

    fn believe(&mut self, verdict: Verdict, rules: &Rules) {
        if verdict == Verdict::Ok {
            self.attempt = 0;
            self.hard = Verdict::Ok;
            self.ack = None;
        } else {
            self.attempt = self.attempt.saturating_add(1).min(rules.max_attempts);
            // What is a problem already and becomes another one is believed at once.
            if self.hard != Verdict::Ok || self.attempt >= rules.max_attempts {
                self.hard = verdict;
            }
        }
        // Soft problems do not count, the way back from them does, as in Nagios.
        if self.hard == verdict {
            self.slots = ((self.slots << 2) | u64::from(verdict.exit_status())) & SLOT_BITS;
            let changed = self.changed_percent();
            self.flapping = match self.flapping {
                true => changed > f64::from(rules.flapping.low),
                false => changed >= f64::from(rules.flapping.high),
            };
        }
    }

    /// How many of the last looks were changes, in percent; a new one weighs 1.25, the oldest 0.75.
    fn changed_percent(&self) -> f64 {
        let slot = |age: u32| (self.slots >> (2 * age)) & 3;
        let steps = SLOTS - 1;
        let weight = |age: u32| f64::from(steps - 1 - age) * 0.5 / f64::from(steps - 1) + 0.75;
        let changed = (0..steps).filter(|age| slot(*age) != slot(age + 1)).map(weight).sum::<f64>();
        changed * 100.0 / f64::from(steps)
    }

    /// What people are to be told now; afterwards they know it.
    pub fn tell(&mut self, silence: Silence) -> Option<AlertChange> {
        let (told, change) = match silence {
            Silence::Waits => return None,
            Silence::Downtime if self.told == Told::Nothing => return None,
            Silence::Downtime => (Told::Nothing, AlertChange::Dropped),
            Silence::No => self.news()?,
        };
        self.told = told;
        Some(change)
    }

    /// True when people would be told something if they were told anything.
    pub fn has_news(&self) -> bool {
        self.news().is_some()
    }

    /// True while people believe that there is a problem.
    pub fn is_told(&self) -> bool {
        self.told != Told::Nothing
    }

    fn news(&self) -> Option<(Told, AlertChange)> {
        let (hard, known) = (self.hard, self.ack.is_some());
        match (self.told, self.flapping) {
            (Told::Flapping, true) => None,
            (_, true) => (!known).then_some((Told::Flapping, AlertChange::FlappingStarted)),
            (Told::Flapping, false) if hard == Verdict::Ok => {
                Some((Told::Nothing, AlertChange::FlappingEnded { verdict: hard }))
            }
            (Told::Flapping, false) => {
                Some((Told::Problem(hard), AlertChange::FlappingEnded { verdict: hard }))
            }
            // What has just turned bad again is not called well: it may be the same problem still.
            (Told::Problem(_), false) if hard == Verdict::Ok => {
                (!self.is_problem()).then_some((Told::Nothing, AlertChange::Recovery))
            }
            (Told::Problem(of), false) if of == hard || known => None,
            (Told::Nothing, false) if hard == Verdict::Ok || known => None,
            (_, false) => Some((Told::Problem(hard), AlertChange::Problem { verdict: hard })),
        }
    }

    /// An operator knows; the error says why there is nothing to know. What is told of it, if it was told before.
    pub fn acknowledge(&mut self, ack: Ack) -> Result<Option<AlertChange>, String> {
        if self.hard == Verdict::Ok && !self.flapping {
            return Err(match self.is_problem() {
                true => "it was not seen often enough to be told yet".into(),
                false => "it is ok: there is nothing to acknowledge".into(),
            });
        }
        let Ack { by, why, .. } = ack.clone();
        self.ack = Some(ack);
        Ok(self.is_told().then_some(AlertChange::Acknowledged { by, why }))
    }

    /// What was seen was about something else, in front of it. Nothing is known of it then, unless it was told.
    pub fn set_aside(&mut self, at: Timestamp, why: &str) {
        if self.is_told() || !self.is_problem() {
            return;
        }
        (self.verdict, self.since, self.hard, self.attempt) = (None, at, Verdict::Ok, 0);
        self.text = why.into();
    }
}

#[cfg(test)]
#[path = "watched_tests.rs"]
mod tests;
