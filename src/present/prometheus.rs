//! Prometheus' text format, version 0.0.4. Own code: one family, its help and its samples are all there is to it, and
//! the client crate is made for counters that live on in a process, in OpenMetrics.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::Report;

/// Metrics of one name: each set of labels has one value.
pub struct Family {
    name: &'static str,
    help: &'static str,
    samples: BTreeMap<Vec<(&'static str, String)>, f64>,
}

impl Family {
    /// None yet.
    pub fn new(name: &'static str, help: &'static str) -> Family {
        Family { name, help, samples: BTreeMap::new() }
    }

    /// Adds a value. Where there is one with the same labels already, that one stays: Prometheus refuses both.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, text.to_string())).collect();
        self.samples.entry(labels).or_insert(value);
    }

    /// The text; empty without a sample.
    pub fn text(&self) -> String {
        if self.samples.is_empty() {
            return String::new();
        }
        let mut text = format!("# HELP {0} {1}\n# TYPE {0} gauge\n", self.name, self.help);
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

/// As Go reads it.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

/// The results of checks.
pub fn checks(report: &Report) -> String {
    text(&check_families(report))
}

/// The same, to stand beside others.
pub fn check_families(report: &Report) -> Vec<Family> {
    let mut status = Family::new(
        "rollcall_check_status",
        "The verdict of a check: 0 ok, 1 warning, 2 critical, 3 unknown.",
    );
    let mut duration = Family::new(
        "rollcall_check_duration_seconds",
        "From the first look of a check to the end of the last one.",
    );
    let mut readings = Family::new("rollcall_check_reading", "What a check measured, in its own unit.");
    for (host, result) in report.results() {
        let labels = [("host", host.host.as_str()), ("group", &host.group), ("check", &result.check)];
        status.add(&labels, f64::from(result.verdict.exit_status()));
        duration.add(&labels, result.took_ms as f64 / 1000.0);
        for reading in &result.readings {
            let [host, group, check] = labels;
            let labels = [host, group, check, ("label", reading.label.as_str()), ("unit", &reading.unit)];
            readings.add(&labels, reading.value.unwrap_or(f64::NAN));
        }
    }
    for (host, check) in report.missing() {
        let labels = [("host", host.host.as_str()), ("group", &host.group), ("check", check)];
        status.add(&labels, f64::from(crate::domain::outcome::Verdict::Unknown.exit_status()));
    }
    vec![status, duration, readings]
}
