//! A report in each format for programs.

use serde_json::json;

use super::report::Report;
use super::{json, junit, nagios, prometheus, tap};
use crate::domain::ask::command::Format;
use crate::domain::base::outcome::milliseconds;

/// The report in this format. [`Format::Text`] has its own presenters: nothing for it here.
pub fn render(report: &Report, format: Format) -> String {
    match format {
        Format::Text | Format::Jsonl => String::new(),
        Format::Json => document(report),
        Format::Nagios => nagios::plugin(report),
        Format::Junit => junit::xml(report),
        Format::Tap => tap::lines(report),
        Format::Prometheus => prometheus::checks(report),
    }
}

fn document(report: &Report) -> String {
    let hosts: Vec<_> = report
        .hosts
        .iter()
        .map(|host| {
            json!({
                "host": host.host, "group": host.group, "checks": host.results, "not_made": host.missing,
            })
        })
        .collect();
    json::line(
        "report",
        json!({
            "title": report.title, "run": report.run, "at": report.at,
            "took_ms": milliseconds(report.took),
            "verdict": report.verdict, "exit_status": report.verdict.exit_status(), "hosts": hosts,
        }),
    )
}
