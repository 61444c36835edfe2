//! Prometheus' text format, version 0.0.4. Own code: it has only families with help and samples, and
//! the client crate is made for counters that live in a process, in OpenMetrics.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{HostReport, Report};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::id::CheckId;

/// Metrics of one name: each set of labels has one value.
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    samples: BTreeMap<Vec<(&'static str, String)>, f64>,
}

impl Family {
    /// A value that may rise and fall; without samples.
    pub fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: "gauge", samples: BTreeMap::new() }
    }

    /// A value that only grows.
    pub fn counter(name: &'static str, help: &'static str) -> Family {
        Family { kind: "counter", ..Family::gauge(name, help) }
    }

    /// Adds a value. If one with the same labels exists, that one stays: Prometheus refuses both.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, text.to_string())).collect();
        self.samples.entry(labels).or_insert(value);
    }

    /// As above, but of two values with the same labels the larger one stays, so that no problem is hidden.
    pub fn add_larger(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, text.to_string())).collect();
        let kept = self.samples.entry(labels).or_insert(value);
        *kept = kept.max(value);
    }

    /// The text; empty without a sample.
    pub fn text(&self) -> String {
        if self.samples.is_empty() {
            return String::new();
        }
        let mut text = format!("# HELP {0} {1}\n# TYPE {0} {2}\n", self.name, self.help, self.kind);
        for (labels, value) in &self.samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            _ = writeln!(text, "{}{labels} {}", self.name, number(*value));
        }
        text
    }
}

/// Families, one after the other.
pub fn text(families: &[Family]) -> String {
    families.iter().map(Family::text).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number in Go's format.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

/// The results of checks, by runs and by the schedule.
pub struct Results {
    status: Family,
    duration: Family,
    readings: Family,
}

impl Default for Results {
    fn default() -> Results {
        Results {
            status: Family::gauge(
                "rollcall_check_status",
                "The verdict of a check: 0 ok, 1 warning, 2 critical, 3 unknown.",
            ),
            duration: Family::gauge(
                "rollcall_check_duration_seconds",
                "From the first probe of a check to the end of the last one.",
            ),
            readings: Family::gauge("rollcall_check_reading", "What a check measured, in its own unit."),
        }
    }
}

impl Results {
    /// Adds a result.
    pub fn add(
        &mut self,
        labels: [(&'static str, &str); 4],
        verdict: Verdict,
        took_ms: u64,
        readings: &[Reading],
    ) {
        self.status.add_larger(&labels, f64::from(verdict.exit_status()));
        self.duration.add(&labels, took_ms as f64 / 1000.0);
        for reading in readings {
            let [host, group, set, check] = labels;
            let labels =
                [host, group, set, check, ("label", reading.label.as_str()), ("unit", &reading.unit)];
            self.readings.add(&labels, reading.value.unwrap_or(f64::NAN));
        }
    }

    /// All families.
    pub fn families(self) -> Vec<Family> {
        vec![self.status, self.duration, self.readings]
    }
}

fn labels<'r>(host: &'r HostReport, check: &'r CheckId) -> [(&'static str, &'r str); 4] {
    [("host", &host.host), ("group", &host.group), ("set", &check.set), ("check", &check.name)]
}

/// `check --format prometheus`.
pub fn checks(report: &Report) -> String {
    let mut results = Results::default();
    for (host, result) in report.results() {
        let labels = labels(host, &result.check);
        results.add(labels, result.verdict, result.took_ms, &result.readings);
    }
    for (host, check) in report.missing() {
        let labels = labels(host, check);
        results.status.add(&labels, f64::from(Verdict::Unknown.exit_status()));
    }
    text(&results.families())
}
