//! The state of one check on one host, from probe to probe: soft until enough probes confirm a problem, then hard;
//! flapping; acknowledged; and the last alert about it. The next alert follows from the state and from the last
//! alert, so that no alert is sent twice and none is lost while the check is quiet.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::AlertChange;
use super::roll::{Ack, Changed};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::check::CheckResult;

/// Verdicts that are kept to detect flapping, as in Nagios.
const SLOTS: u32 = 21;

/// Two bits for each of them.
const SLOT_BITS: u64 = (1 << (2 * SLOTS)) - 1;

/// When a problem becomes hard, and when a check flaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Probes in a row that are not ok.
    pub max_attempts: u32,
    pub flapping: Flapping,
}

/// Percent of the last probes that were changes; newer ones weigh more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// A check starts to flap at this value.
    pub high: u32,
    /// It stops to flap at this value.
    pub low: u32,
}

impl Flapping {
    pub const DEFAULT: Flapping = Flapping { high: 30, low: 20 };
}

impl Default for Flapping {
    fn default() -> Self {
        Flapping::DEFAULT
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The last observed verdict; `None` before the first probe, and after a probe that said nothing about the check.
    pub verdict: Option<Verdict>,
    /// The time of the first probe with this verdict.
    pub since: Timestamp,
    /// The hard verdict.
    pub hard: Verdict,
    /// Probes in a row that were not ok.
    pub attempt: u32,
    /// The last observation in words.
    pub text: String,
    pub last_at: Option<Timestamp>,
    pub took_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// The last probe that was ok before the present problem.
    pub last_ok: Option<(Timestamp, String)>,
    /// The last hard verdicts, the newest in the lowest bits.
    slots: u64,
    pub flapping: bool,
    pub ack: Option<Ack>,
    #[serde(alias = "told")]
    last_alert: LastAlert,
}

/// The last alert that was sent about a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LastAlert {
    #[default]
    Nothing,
    Problem(Verdict),
    Flapping,
}

/// Whether alerts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    No,
    /// It depends on something that is not ok, or a run is working on its host: nothing is sent, an open alert stays
    /// open, and the next probe decides.
    Waits,
    /// In a downtime: an open alert is dropped, and a remaining problem is alerted again.
    Downtime,
}

impl Watched {
    /// The state before the first probe.
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
            last_alert: LastAlert::Nothing,
        }
    }

    /// The last probe was not ok.
    pub fn is_problem(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != Verdict::Ok)
    }

    /// The last verdict is not hard yet.
    pub fn is_soft(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict != self.hard)
    }

    /// Applies one probe; returns the change to record. [`Watched::tell`] returns the alert.
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
            // A hard problem that becomes another one is hard at once.
            if self.hard != Verdict::Ok || self.attempt >= rules.max_attempts {
                self.hard = verdict;
            }
        }
        // As in Nagios, soft problems do not count, but recoveries from them do.
        if self.hard == verdict {
            self.slots = ((self.slots << 2) | u64::from(verdict.exit_status())) & SLOT_BITS;
            let changed = self.changed_percent();
            self.flapping = match self.flapping {
                true => changed > f64::from(rules.flapping.low),
                false => changed >= f64::from(rules.flapping.high),
            };
        }
    }

    /// The share of changes among the last probes, in percent; the newest weighs 1.25, the oldest 0.75.
    fn changed_percent(&self) -> f64 {
        let slot = |age: u32| (self.slots >> (2 * age)) & 3;
        let steps = SLOTS - 1;
        let weight = |age: u32| f64::from(steps - 1 - age) * 0.5 / f64::from(steps - 1) + 0.75;
        let changed = (0..steps).filter(|age| slot(*age) != slot(age + 1)).map(weight).sum::<f64>();
        changed * 100.0 / f64::from(steps)
    }

    /// The alert to send now; the state records it as sent.
    pub fn tell(&mut self, silence: Silence) -> Option<AlertChange> {
        let (last_alert, change) = match silence {
            Silence::Waits => return None,
            Silence::Downtime if self.last_alert == LastAlert::Nothing => return None,
            Silence::Downtime => (LastAlert::Nothing, AlertChange::Dropped),
            Silence::No => self.news()?,
        };
        self.last_alert = last_alert;
        Some(change)
    }

    /// True when an alert would follow if alerts were allowed.
    pub fn has_news(&self) -> bool {
        self.news().is_some()
    }

    /// True while the last alert reports an open problem.
    pub fn is_told(&self) -> bool {
        self.last_alert != LastAlert::Nothing
    }

    fn news(&self) -> Option<(LastAlert, AlertChange)> {
        let (hard, known) = (self.hard, self.ack.is_some());
        match (self.last_alert, self.flapping) {
            (LastAlert::Flapping, true) => None,
            (_, true) => (!known).then_some((LastAlert::Flapping, AlertChange::FlappingStarted)),
            (LastAlert::Flapping, false) if hard == Verdict::Ok => {
                Some((LastAlert::Nothing, AlertChange::FlappingEnded { verdict: hard }))
            }
            (LastAlert::Flapping, false) => {
                Some((LastAlert::Problem(hard), AlertChange::FlappingEnded { verdict: hard }))
            }
            // A new soft problem delays the recovery: it may be the same problem again.
            (LastAlert::Problem(_), false) if hard == Verdict::Ok => {
                (!self.is_problem()).then_some((LastAlert::Nothing, AlertChange::Recovery))
            }
            (LastAlert::Problem(of), false) if of == hard || known => None,
            (LastAlert::Nothing, false) if hard == Verdict::Ok || known => None,
            (_, false) => Some((LastAlert::Problem(hard), AlertChange::Problem { verdict: hard })),
        }
    }

    /// An operator acknowledges the problem; the error says why that is impossible. Returns an alert if one was sent.
    pub fn acknowledge(&mut self, ack: Ack) -> Result<Option<AlertChange>, String> {
        if self.hard == Verdict::Ok && !self.flapping {
            return Err(match self.is_problem() {
                true => "it has not failed often enough to alert yet".into(),
                false => "it is ok: there is nothing to acknowledge".into(),
            });
        }
        let Ack { by, why, .. } = ack.clone();
        self.ack = Some(ack);
        Ok(self.is_told().then_some(AlertChange::Acknowledged { by, why }))
    }

    /// The probe failed in front of the check and says nothing about it. The verdict is unset unless it was alerted.
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
