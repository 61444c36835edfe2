//! Judging: from the observation of a probe to a verdict and its sentence. Pure and total: an observation that
//! does not fit its probe is unknown.

mod host;
pub mod judged;
mod net;
mod texts;

use self::judged::{Judged, bounded, by_limits};
use self::texts::{ExpectedText, only_number, shorten, whole_number};
use super::probe::{Expect, Metric, Probe};
use super::seen::{Observation, ScriptLines};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::Output;
use crate::domain::base::perf::{self, Reading};

/// Most bytes of text beyond the first line.
const DETAIL_BYTES: usize = 4 * 1024;

/// Judges one observation.
pub fn judge(probe: &Probe, seen: &Observation) -> Judged {
    match (probe, seen) {
        (_, Observation::Blind { why } | Observation::NoContact { why }) => Judged::unknown(why.as_str()),
        (Probe::Http(_) | Probe::Tcp(_) | Probe::Tls(_), Observation::TimedOut { after }) => {
            Judged::critical(format!("no answer within {after:?}"))
        }
        (_, Observation::TimedOut { after }) => Judged::unknown(format!("no answer within {after:?}")),
        (_, Observation::NoService { why }) => Judged::critical(why.as_str()),
        (_, Observation::Signalled { signal }) => {
            Judged::unknown(format!("the command was ended by signal {signal}"))
        }
        (Probe::Run { expect, .. }, Observation::Exited { code, stdout, stderr }) => {
            judge_command(expect, *code, stdout, stderr)
        }
        (Probe::Plugin(_), Observation::Exited { code, stdout, stderr }) => {
            judge_plugin(*code, stdout, stderr)
        }
        (Probe::Metric(metric), Observation::Exited { code, stdout, stderr }) => {
            judge_metric(metric, *code, stdout, stderr)
        }
        (Probe::Http(http), Observation::Answered(answer)) => net::answer(http, answer),
        (Probe::Tcp(tcp), Observation::Connected { banner, took }) => net::connection(tcp, banner, *took),
        (Probe::Tls(tls), Observation::Shook(shook)) => net::certificate(tls, shook),
        (Probe::Clock { limits }, Observation::Ticked { ahead, give_or_take }) => {
            host::clock(limits, *ahead, *give_or_take)
        }
        (_, Observation::Exited { code, stdout, stderr }) => judge_words(probe, *code, stdout, stderr),
        (
            _,
            Observation::Answered(_)
            | Observation::Connected { .. }
            | Observation::Shook(_)
            | Observation::Ticked { .. },
        ) => Judged::unknown(format!("the probe saw something else than was asked for: {seen:?}")),
    }
}

/// Judges the output of one of rollcall's own scripts.
fn judge_words(probe: &Probe, code: u32, stdout: &Output, stderr: &Output) -> Judged {
    let words = ScriptLines::of(&stdout.text);
    if let Some(why) = words.get("unknown") {
        return Judged::unknown(why);
    }
    if code != 0 || words.get("done").is_none() {
        return Judged::unknown(format!("the probe ended with exit status {code}{}", said(stdout, stderr)));
    }
    if stdout.left_out > 0 {
        return Judged::unknown("the probe printed too much to judge all of it");
    }
    match probe {
        Probe::Dns(dns) => net::resolved(dns, &words),
        Probe::Port(port) => host::port(port, &words),
        Probe::Process(process) => host::process(process, &words),
        Probe::Service(service) => host::service(service, &words),
        Probe::File(file) => host::file(file, &words),
        Probe::Log(log) => host::log(log, &words),
        Probe::Package(package) => host::package(package, &words),
        Probe::Disk(disk) => host::disk(disk, &words),
        Probe::Load(load) => host::load(load, &words),
        Probe::Memory(memory) => host::memory(memory, &words),
        Probe::Run { .. }
        | Probe::Plugin(_)
        | Probe::Metric(_)
        | Probe::Http(_)
        | Probe::Tcp(_)
        | Probe::Tls(_)
        | Probe::Clock { .. } => Judged::unknown("the probe prints no lines of rollcall's"),
    }
}

/// The last line of output, for the end of a sentence.
fn said(stdout: &Output, stderr: &Output) -> String {
    let line = if stderr.last_line().is_empty() { stdout.last_line() } else { stderr.last_line() };
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

fn judge_command(expect: &Expect, code: u32, stdout: &Output, stderr: &Output) -> Judged {
    if code != expect.exit {
        return Judged::critical(format!(
            "exit status {code}, wanted {}{}",
            expect.exit,
            said(stdout, stderr)
        ));
    }
    let text = stdout.text.trim_end();
    let wanted = ExpectedText {
        equals: expect.equals.as_deref(),
        contains: expect.contains.as_deref(),
        matches: expect.matches.as_deref(),
    };
    if let Some(why) = wanted.fault(text, "stdout") {
        return Judged::critical(why);
    }
    let limits = &expect.limits;
    if limits.warning.is_some() || limits.critical.is_some() {
        return match only_number(text) {
            Some(value) => by_limits(limits, Reading::new("value", value), &value.to_string()),
            None => Judged::unknown(format!("stdout is {:?}, wanted a number", shorten(text))),
        };
    }
    let line = stdout.last_line();
    let judged = Judged::ok(if line.is_empty() { format!("exit status {code}") } else { line.to_string() });
    // A value that was cut in the middle equals no other.
    if stdout.left_out == 0 { judged.of_value(text) } else { judged }
}

/// The exit status decides; the output is only printed (Monitoring Plugins guidelines).
fn judge_plugin(code: u32, stdout: &Output, stderr: &Output) -> Judged {
    let printed = perf::parse(&stdout.text);
    let verdict = match code {
        0 => Verdict::Ok,
        1 => Verdict::Warning,
        2 => Verdict::Critical,
        3 => Verdict::Unknown,
        126 | 127 => {
            let hint = "; try: the package that has it (monitoring-plugins), its whole path, or plugin = { upload = ... }";
            return Judged::unknown(format!(
                "the plugin could not be run: exit status {code}{}{hint}",
                said(stdout, stderr)
            ));
        }
        _ => {
            return Judged::unknown(format!("exit status {code} is no plugin's{}", said(stdout, stderr)));
        }
    };
    let text = match (printed.text.is_empty(), stderr.last_line()) {
        (false, _) => printed.text.clone(),
        (true, "") => format!("the plugin said nothing (exit status {code})"),
        (true, line) => line.to_string(),
    };
    let value = printed.readings.first().and_then(|reading| reading.value).map(|value| value.to_string());
    Judged {
        detail: bounded(&plugin_detail(&printed), DETAIL_BYTES),
        readings: printed.readings,
        value: value.or(Some(text.clone())),
        ..Judged::new(verdict, text)
    }
}

/// The long text of a plugin, and a note about performance data that is no number: it is passed on as it was.
fn plugin_detail(printed: &perf::Printed) -> String {
    let mut lines: Vec<String> =
        (!printed.long.is_empty()).then(|| printed.long.clone()).into_iter().collect();
    if !printed.unread.is_empty() {
        lines.push(format!("performance data that is no number: {}", printed.unread.join(" ")));
    }
    if printed.left_out > 0 {
        lines.push(format!("{} more pieces of performance data were left out", printed.left_out));
    }
    lines.join("\n")
}

fn judge_metric(metric: &Metric, code: u32, stdout: &Output, stderr: &Output) -> Judged {
    if code != 0 {
        return Judged::unknown(format!("exit status {code}{}", said(stdout, stderr)));
    }
    match whole_number(&stdout.text) {
        Some(value) => {
            let reading = Reading::with_unit("value", value, &metric.unit);
            by_limits(&metric.limits, reading, &format!("{value}{}", unit_words(&metric.unit)))
        }
        None => Judged::unknown(format!(
            "stdout is {:?}, wanted a number and nothing else",
            shorten(stdout.text.trim())
        )),
    }
}

fn unit_words(unit: &str) -> String {
    match unit {
        "" | "%" => unit.into(),
        unit => format!(" {unit}"),
    }
}

#[cfg(test)]
#[path = "judge/judge_tests.rs"]
mod judge_tests;
