//! JUnit's XML for Jenkins and GitLab, valid by Ant's schema: a suite for each host, a case for each
//! of its checks. Critical is a failure, unknown an error, not probed skipped; a warning passes with a note.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::report::{HostReport, Report, one_line};
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;

/// Characters of a message; the element has the whole text.
const MESSAGE_CHARS: usize = 200;

/// The document.
pub fn xml(report: &Report) -> String {
    let run = report.run.map(|run| format!(" run {run}")).unwrap_or_default();
    let mut document = Junit::new(format!("rollcall{run}: {}", report.title));
    document.set_time(report.took);
    document.add_test_suites(report.hosts.iter().enumerate().map(|(id, host)| suite(report, id, host)));
    // Text in memory can always be written.
    document.to_string().unwrap_or_default()
}

fn suite(report: &Report, id: usize, host: &HostReport) -> TestSuite {
    let mut suite = TestSuite::new(&host.host);
    // Not the crate's own timestamp: that has a zone, which Ant's schema does not allow.
    let timestamp = report.at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let attributes = [
        ("id", id.to_string()),
        ("package", host.group.clone()),
        ("hostname", host.host.clone()),
        ("timestamp", timestamp),
    ];
    suite.extra.extend(attributes.map(|(name, value)| (name.into(), value.as_str().into())));
    // The checks run in parallel.
    let slowest = host.results.iter().map(|result| result.took_ms).max().unwrap_or_default();
    suite.set_time(Duration::from_millis(slowest));
    let run = report.run.map(|run| run.to_string()).unwrap_or_default();
    suite.add_property(Property::new("run", run));
    suite.add_property(Property::new("title", &*report.title));
    suite.add_test_cases(host.results.iter().map(|result| case(host, result)));
    suite.add_test_cases(host.missing.iter().map(|check| skipped(host, check)));
    // Where the rest is.
    let more =
        report.run.map(|run| format!("ssh rollcall show {run} --host {}", host.host)).unwrap_or_default();
    suite.set_system_out(more);
    suite.set_system_err("");
    suite
}

fn case(host: &HostReport, result: &CheckResult) -> TestCase {
    let text = [result.text.as_str(), &result.detail].join("\n");
    let wrong = |kind, word: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status
            .set_type(word)
            .set_message(one_line(&result.text, MESSAGE_CHARS))
            .set_description(text.trim_end());
        status
    };
    let status = match result.verdict {
        Verdict::Critical => wrong(NonSuccessKind::Failure, "CRITICAL"),
        Verdict::Unknown => wrong(NonSuccessKind::Error, "UNKNOWN"),
        Verdict::Ok | Verdict::Warning => TestCaseStatus::success(),
    };
    let mut case = new_case(host, &result.check, status);
    case.set_time(Duration::from_millis(result.took_ms));
    if result.verdict == Verdict::Warning {
        case.set_system_out(format!("WARNING: {}", text.trim_end()));
    }
    case
}

fn skipped(host: &HostReport, check: &CheckId) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message("was not made");
    let mut case = new_case(host, check, status);
    case.set_time(Duration::ZERO);
    case
}

fn new_case(host: &HostReport, check: &CheckId, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(&*check.name, status);
    let place = [host.group.as_str(), &host.host, &check.set].into_iter().filter(|part| !part.is_empty());
    case.set_classname(place.collect::<Vec<_>>().join("."));
    case
}
