//! The answer of a Nagios plugin: `TEXT | performance data`, then long text. A single check passes through
//! unchanged, so that `check web01 http --format nagios` can replace `check_by_ssh`.

use std::fmt::Write;

use super::report::{Report, one_line};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::check::check::CheckResult;

/// Most problems of each kind that the first line names.
const NAMED: usize = 3;

/// Most characters of each observation in the first line.
const SEEN_CHARS: usize = 60;

/// Most bytes of performance data of many checks: Nagios reads 8 KiB of an answer and cuts the rest.
const READINGS_LIMIT_BYTES: usize = 4 * 1024;

/// The answer of a plugin.
pub fn plugin(report: &Report) -> String {
    let mut results = report.results();
    match (results.next(), results.next(), report.missing().next()) {
        (Some((_, alone)), None, None) => single(alone),
        _ => many(report),
    }
}

/// The answer of a plugin that could not run its checks.
pub fn refused(why: &str) -> String {
    format!("UNKNOWN: {}\n", plain(&one_line(why, usize::MAX)))
}

fn single(result: &CheckResult) -> String {
    let text = plain(result.text.replace(['\n', '\r'], " ").trim());
    let mut rendered = if text.is_empty() { "(no output)".into() } else { text };
    let readings: Vec<String> = result.readings.iter().map(Reading::to_string).collect();
    if !readings.is_empty() {
        rendered += &format!(" | {}", plain_readings(&readings.join(" ")));
    }
    rendered.push('\n');
    for line in result.detail.lines() {
        _ = writeln!(rendered, "{}", plain(line));
    }
    rendered
}

fn many(report: &Report) -> String {
    let counted = [Verdict::Ok, Verdict::Warning, Verdict::Critical, Verdict::Unknown];
    let mut counts: Vec<String> =
        counted.iter().filter_map(|verdict| counted_word(report, *verdict)).collect();
    let missing = report.missing().count();
    if missing > 0 {
        counts.push(format!("{missing} not made"));
    }
    if counts.is_empty() {
        counts.push("nothing was probed".into());
    }
    let mut rendered = format!("{}: {} |", report.verdict.word().to_uppercase(), counts.join(", "));
    for verdict in counted {
        _ = write!(rendered, " {}={}", verdict.word(), report.count(verdict));
    }
    rendered += &readings(report);
    rendered.push('\n');
    // Nagios cuts the end: problems come first.
    for verdict in [Verdict::Critical, Verdict::Unknown, Verdict::Warning, Verdict::Ok] {
        for (host, result) in report.results().filter(|(_, result)| result.verdict == verdict) {
            let text = one_line(&result.text, usize::MAX);
            _ = writeln!(
                rendered,
                "[{}] {}",
                verdict.word().to_uppercase(),
                plain(&format!("{} {}: {text}", host.host, result.check))
            );
        }
    }
    for (host, check) in report.missing() {
        _ = writeln!(rendered, "[UNKNOWN] {}", plain(&format!("{} {check}: was not made", host.host)));
    }
    rendered
}

/// `1 critical (web03 http: HTTP status 503, wanted 200)`
fn counted_word(report: &Report, verdict: Verdict) -> Option<String> {
    let of_it = || report.results().filter(|(_, result)| result.verdict == verdict);
    let count = of_it().count();
    if count == 0 || verdict == Verdict::Ok {
        return (count > 0).then(|| format!("{count} {}", verdict.word()));
    }
    let seen = |(host, result): (&super::report::HostReport, &CheckResult)| {
        format!("{} {}: {}", host.host, result.check, one_line(&result.text, SEEN_CHARS))
    };
    let mut named: Vec<String> = of_it().take(NAMED).map(seen).collect();
    if count > NAMED {
        named.push(format!("and {} more", count - NAMED));
    }
    Some(plain(&format!("{count} {} ({})", verdict.word(), named.join("; "))))
}

/// As many whole readings as fit.
fn readings(report: &Report) -> String {
    let mut all = String::new();
    for (host, result) in report.results() {
        for reading in &result.readings {
            let label = format!("{}/{}/{}", host.host, result.check, reading.label);
            let item = format!(" {}", Reading { label, written: String::new(), ..reading.clone() });
            if all.len() + item.len() > READINGS_LIMIT_BYTES {
                return all;
            }
            all += &plain_readings(&item);
        }
    }
    all
}

/// A single line that no reader takes for performance data.
fn plain(text: &str) -> String {
    text.replace('|', "¦").replace(|c: char| c.is_control() && c != '\t', " ")
}

/// A label may contain everything except characters that end the line or start another part.
fn plain_readings(items: &str) -> String {
    plain(items).replace('\t', " ")
}
