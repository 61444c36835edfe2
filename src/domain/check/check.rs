//! Checks: a condition on a host or across hosts, and its judged result. Observing is the probe's work
//! (`probes`); judging is done by `judge`, on values alone.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::across::Across;
use super::id::CheckId;
use super::probe::Probe;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::base::schedule::Watching;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::template::Vars;

/// One condition, as in `checks/*.toml`; in a plan its templates are rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its check set, as in [`CheckId`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub set: String,
    pub name: String,
    pub probe: Probe,
    pub timeout: Duration,
    pub retry: Retry,
    /// The place that it runs from.
    #[serde(default)]
    pub from: From,
    /// How an unknown verdict counts.
    #[serde(default)]
    pub unknown_is: UnknownIs,
    /// The places that it runs from, once it is planned; empty: the host itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<Endpoint>,
    /// The comparison of hosts, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across: Option<Across>,
    /// Its schedule, if it is watched. Runs do not depend on it, so plans do not contain it.
    #[serde(skip)]
    pub watching: Option<Arc<Watching>>,
}

impl Check {
    /// A check on one host with a single probe.
    pub fn new(id: &CheckId, probe: Probe, timeout: Duration) -> Check {
        Check {
            set: id.set.to_string(),
            name: id.name.to_string(),
            probe,
            timeout,
            retry: Retry::default(),
            from: From::Host,
            unknown_is: UnknownIs::Unknown,
            seats: Vec::new(),
            across: None,
            watching: None,
        }
    }

    /// The identity of the check.
    pub fn id(&self) -> CheckId {
        CheckId::new(&self.set, &self.name)
    }

    /// Every text of the check that may be a template.
    pub fn texts(&self) -> Vec<String> {
        self.probe.texts().into_iter().map(|(_, text)| text).collect()
    }

    /// The check with every template rendered for one host.
    pub fn render(&self, vars: &Vars) -> Result<Check, String> {
        let across = self.across.as_ref().map(|across| across.render(vars)).transpose()?;
        Ok(Check { probe: self.probe.render(vars)?, across, ..self.clone() })
    }
}

/// The place that a check runs from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The host itself.
    #[default]
    Host,
    /// The daemon's machine.
    Daemon,
    /// Every host of a group, such as the load balancers.
    Group(String),
}

/// How an unknown verdict counts. The recorded verdict stays unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownIs {
    Critical,
    Warning,
    #[default]
    Unknown,
}

impl UnknownIs {
    /// The verdict to use instead of `verdict`.
    pub fn counts(self, verdict: Verdict) -> Verdict {
        match (verdict, self) {
            (Verdict::Unknown, UnknownIs::Critical) => Verdict::Critical,
            (Verdict::Unknown, UnknownIs::Warning) => Verdict::Warning,
            (verdict, _) => verdict,
        }
    }
}

/// How often to probe before the verdict is final.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// The pause between two probes.
    pub interval: Duration,
    /// No probe starts after this time; the last verdict is then final. Zero: a single probe.
    pub deadline: Duration,
    /// Passing probes in a row that are needed.
    pub successes: u32,
}

impl Retry {
    /// One probe.
    pub const DEFAULT: Retry =
        Retry { interval: Duration::from_secs(1), deadline: Duration::ZERO, successes: 1 };
}

impl Default for Retry {
    fn default() -> Self {
        Retry::DEFAULT
    }
}

/// A verdict with its sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    #[serde(flatten)]
    pub check: CheckId,
    pub verdict: Verdict,
    pub text: String,
    /// The number of probes.
    #[serde(rename = "looks")]
    pub probes: u32,
    /// Text beyond the first line: the long text of a plugin, a difference. Bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The measured numbers; the first one is the judged one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// From the start of the first probe to the end of the last one, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Nothing was observed because the host could not be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_contact: bool,
    /// The host itself answered to the probe: only this proves that it is reachable. A probe from elsewhere, or one that
    /// could not be made, proves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reached: bool,
}

impl CheckResult {
    /// A result with only its sentence.
    pub fn new(check: CheckId, verdict: Verdict, text: impl Into<String>) -> CheckResult {
        CheckResult {
            check,
            verdict,
            text: text.into(),
            probes: 0,
            detail: String::new(),
            readings: Vec::new(),
            took_ms: 0,
            no_contact: false,
            reached: false,
        }
    }
}
