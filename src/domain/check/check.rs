//! Checks: a condition on a host or across hosts, and the judgement that a look came to. Looking is the probe's
//! work; judging is done by `judge`, on values alone.

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
    /// Its set, as in [`CheckId`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub set: String,
    pub name: String,
    pub probe: Probe,
    pub timeout: Duration,
    pub retry: Retry,
    /// Where it looks from.
    #[serde(default)]
    pub from: From,
    /// What a look that found nothing out counts as.
    #[serde(default)]
    pub unknown_is: UnknownIs,
    /// The same as places, once it is planned; none: the host itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<Endpoint>,
    /// What is wanted of the hosts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across: Option<Across>,
    /// How it is watched, if it is. Runs do not hang on it, and so it is not part of a plan.
    #[serde(skip)]
    pub watching: Option<Arc<Watching>>,
}

impl Check {
    /// A check on one host that looks once.
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

    /// What tells it from others.
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

/// Where a check looks from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The host itself.
    #[default]
    Host,
    /// The machine of rollcall.
    Daemon,
    /// Every host of a group, such as the load balancers.
    Group(String),
}

/// What a look that found nothing out counts as. The verdict itself says so all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownIs {
    Critical,
    Warning,
    #[default]
    Unknown,
}

impl UnknownIs {
    /// What `verdict` counts as.
    pub fn counts(self, verdict: Verdict) -> Verdict {
        match (verdict, self) {
            (Verdict::Unknown, UnknownIs::Critical) => Verdict::Critical,
            (Verdict::Unknown, UnknownIs::Warning) => Verdict::Warning,
            (verdict, _) => verdict,
        }
    }
}

/// How often to look before the verdict stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Between two looks.
    pub interval: Duration,
    /// No look begins after this much time; the last verdict stands. Zero: one look.
    pub deadline: Duration,
    /// Good looks in a row that are wanted.
    pub successes: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { interval: Duration::from_secs(1), deadline: Duration::ZERO, successes: 1 }
    }
}

/// A verdict with the sentence that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    #[serde(flatten)]
    pub check: CheckId,
    pub verdict: Verdict,
    pub text: String,
    /// Looks that were taken.
    pub looks: u32,
    /// What there is to tell beyond one line: the long text of a plugin, a difference. Bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Numbers that were measured, the one that was judged first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// From the first look to the end of the last one, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Nothing could be seen because no contact to the host could be made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_contact: bool,
}

impl CheckResult {
    /// A result with nothing but its sentence.
    pub fn new(check: CheckId, verdict: Verdict, text: impl Into<String>) -> CheckResult {
        CheckResult {
            check,
            verdict,
            text: text.into(),
            looks: 0,
            detail: String::new(),
            readings: Vec::new(),
            took_ms: 0,
            no_contact: false,
        }
    }
}
