//! Judges what rollcall's own scripts print about a host (`probes`).

use std::time::Duration;

use super::judged::{Judged, by_limits};
use super::texts::ExpectedText;
use crate::domain::base::perf::Reading;
use crate::domain::base::range::Limits;
use crate::domain::base::range::Range;
use crate::domain::check::probe::{Disk, FileProbe, Load, Log, Memory, Package, Port, Process, Service};
use crate::domain::check::seen::ScriptLines;

/// Most names in a sentence.
const NAMED_LIMIT: usize = 5;

pub(super) fn clock(limits: &Limits, ahead: f64, give_or_take: f64) -> Judged {
    let rounded = (ahead * 1e3).round() / 1e3;
    // A difference within the uncertainty is no deviation.
    let skew = if ahead.abs() <= give_or_take { 0.0 } else { rounded };
    let side = if skew < 0.0 { "behind" } else { "ahead" };
    let words = format!("{} s {side} (give or take {:.3} s)", skew.abs(), give_or_take);
    let judged = by_limits(limits, Reading::with_unit("skew", skew.abs(), "s"), &words);
    Judged { value: Some(rounded.to_string()), ..judged }
}

/// Lines `listens ADDRESS PORT PROCESS`; the process is empty if the login may not see it.
pub(super) fn port(port: &Port, words: &ScriptLines) -> Judged {
    let parted = words.all("listens").map(|line| {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    });
    let here: Vec<(&str, &str, &str)> = parted.filter(|(_, number, _)| *number == port.port).collect();
    let place = |(address, _, process): &(&str, &str, &str)| match *process {
        "" => format!("{address}:{}", port.port),
        process => format!("{process} on {address}:{}", port.port),
    };
    let text = here.iter().take(NAMED_LIMIT).map(place).collect::<Vec<_>>().join(", ");
    match (port.open, here.is_empty()) {
        (false, true) => return Judged::ok(format!("no process listens on port {}", port.port)),
        (false, false) => return Judged::critical(format!("a process listens: {text}")),
        (true, true) => return Judged::critical(format!("no process listens on port {}", port.port)),
        (true, false) => {}
    }
    let at = |wanted: &str| here.iter().any(|(address, ..)| same_address(address, wanted));
    if let Some(wanted) = port.address.as_deref().filter(|wanted| !at(wanted)) {
        return Judged::critical(format!("no process listens on {wanted}:{}, but {text}", port.port));
    }
    if let Some(wanted) = &port.process {
        if here.iter().all(|(_, _, process)| process.is_empty()) {
            let hint = "the login does not see whose socket it is; try: a check with `run` and sudo";
            return Judged::unknown(format!("{text}: {hint}"));
        }
        if !here.iter().any(|(_, _, process)| process == wanted) {
            return Judged::critical(format!("{text}, wanted {wanted}"));
        }
    }
    Judged::ok(text.clone()).of_value(&text)
}

fn same_address(got: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.trim_matches(['[', ']']).to_string();
    let any = |text: &str| matches!(text, "*" | "0.0.0.0" | "::");
    let (got, wanted) = (bare(got), bare(wanted));
    got == wanted || (any(&got) && any(&wanted))
}

pub(super) fn process(process: &Process, words: &ScriptLines) -> Judged {
    let Some(count) = words.number("count") else { return Judged::unknown("ps printed no number") };
    let limits = Limits { warning: None, critical: Some(process.count.clone()) };
    let plural = if count == 1.0 { "process" } else { "processes" };
    by_limits(&limits, Reading::new("procs", count), &format!("{count} {plural} {}", process.name))
}

pub(super) fn service(service: &Service, words: &ScriptLines) -> Judged {
    let (runs, enabled) = (words.get("runs").unwrap_or_default(), words.get("enabled").unwrap_or_default());
    let fault = |wanted: Option<bool>, is: &str, yes: &str, no: &str| match (wanted, is) {
        (None, _) | (Some(true), "yes") | (Some(false), "no") => None,
        (Some(true), "no") => Some(Judged::critical(no)),
        (Some(false), "yes") => Some(Judged::critical(yes)),
        (Some(_), other) => Some(Judged::unknown(format!("the init system says {other:?}"))),
    };
    let fault = fault(service.running, runs, "it runs", "it does not run").or_else(|| {
        fault(service.enabled, enabled, "it starts with the host", "it will not come back after a reboot")
    });
    let words = |what: &str, is: &str| format!("{what}: {is}");
    let text = [
        service.running.map(|_| words("runs", runs)),
        service.enabled.map(|_| words("starts with the host", enabled)),
    ];
    let text = text.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let judged = fault.unwrap_or_else(|| Judged::ok(text.clone()));
    judged.of_value(&text)
}

/// Lines `mode`, `owner`, `group`, `size`, `age`, and if needed `sha256` and the content.
pub(super) fn file(file: &FileProbe, words: &ScriptLines) -> Judged {
    let there = words.get("missing").is_none();
    match (file.exists, there) {
        (false, false) => return Judged::ok("it is not there"),
        (false, true) => return Judged::critical(format!("{} is there", file.path)),
        (true, false) => return Judged::critical(format!("{} is not there", file.path)),
        (true, true) => {}
    }
    let (size, age) = (words.number("size").unwrap_or_default(), words.number("age").unwrap_or_default());
    let same = |what: &str, wanted: &Option<String>, got: Option<&str>| {
        let (wanted, got) = (wanted.as_deref()?, got.unwrap_or_default());
        (wanted != got).then(|| format!("its {what} is {got}, wanted {wanted}"))
    };
    let mode = words.get("mode").map(|mode| mode.trim_start_matches('0'));
    let wanted_mode = file.mode.as_ref().map(|mode| mode.trim_start_matches('0').to_string());
    if file.reads() && words.get("unreadable").is_some() {
        return Judged::unknown("the login may not read it; try: a check with `run` and sudo");
    }
    let fault = same("mode", &wanted_mode, mode)
        .or_else(|| same("owner", &file.owner, words.get("owner")))
        .or_else(|| same("group", &file.group, words.get("group")))
        .or_else(|| same("checksum", &file.sha256, words.get("sha256")))
        .or_else(|| age_fault(file, age))
        .or_else(|| size_fault(file.size.as_ref(), size))
        .or_else(|| content_fault(file, words));
    let text = format!("{size} bytes, written {} ago", seconds(age));
    let judged = fault.map_or_else(|| Judged::ok(text), Judged::critical);
    let value = words.get("sha256").map_or_else(|| size.to_string(), String::from);
    let readings = vec![Reading::with_unit("size", size, "B"), Reading::with_unit("age", age, "s")];
    Judged { readings, ..judged.of_value(&value) }
}

fn age_fault(file: &FileProbe, age: f64) -> Option<String> {
    let too_old = file.newer_than.filter(|limit| age > limit.as_secs_f64());
    let too_new = file.older_than.filter(|limit| age < limit.as_secs_f64());
    too_old.map(|limit| format!("it was written {} ago, wanted within {limit:?}", seconds(age))).or_else(
        || {
            too_new
                .map(|limit| format!("it was written {} ago, wanted no sooner than {limit:?}", seconds(age)))
        },
    )
}

fn size_fault(range: Option<&Range>, size: f64) -> Option<String> {
    let range = range.filter(|range| range.alerts(size))?;
    Some(format!("it has {size} bytes, which is not in range {range}"))
}

fn content_fault(file: &FileProbe, words: &ScriptLines) -> Option<String> {
    if !file.reads() {
        return None;
    }
    let lines: Vec<&str> = words.all("line").collect();
    let wanted =
        ExpectedText { equals: None, contains: file.contains.as_deref(), matches: file.matches.as_deref() };
    wanted.fault(&lines.join("\n"), "the file")
}

/// A duration in words.
fn seconds(age: f64) -> String {
    format!("{:?}", Duration::from_secs(age.max(0.0) as u64))
}

/// Line `age`, and counts of the lines since the last probe: `lines`, `appears`, `never`, with examples.
pub(super) fn log(log: &Log, words: &ScriptLines) -> Judged {
    if words.get("missing").is_some() {
        return Judged::critical(format!("{} is not there", log.path));
    }
    let age = words.number("age").unwrap_or_default();
    if let Some(limit) = log.fresh.filter(|limit| age > limit.as_secs_f64()) {
        return Judged::critical(format!("last written {} ago, wanted within {limit:?}", seconds(age)));
    }
    let number = |word: &str| words.number(word).unwrap_or_default();
    let example = |word: &str| words.get(word).map_or_else(String::new, |line| format!(": {line}"));
    let since = match words.number("since") {
        Some(since) => format!("since the last probe, {} ago", seconds(since)),
        None => "in the log (this is the first probe)".into(),
    };
    if log.never.is_some() && number("never") > 0.0 {
        let bad = Judged::critical(format!("{} lines {since}{}", number("never"), example("never_line")));
        return Judged { detail: words.all("never_line").collect::<Vec<_>>().join("\n"), ..bad };
    }
    let found = log.never.is_none() && !has_limits(&log.limits) && number("appears") > 0.0;
    if let Some(why) = words.get("skipped").filter(|_| !found) {
        let why = format!("lines of {} {since}, were not read: {why}", log.path);
        return Judged::unknown(why);
    }
    if log.appears.is_some() && number("appears") == 0.0 && !has_limits(&log.limits) {
        return Judged::critical(format!("no line {since}"));
    }
    let text = format!("last written {} ago", seconds(age));
    match (has_limits(&log.limits), words.number("since").filter(|since| *since > 0.0)) {
        (true, Some(elapsed)) => {
            let lines = if log.appears.is_some() { number("appears") } else { number("lines") };
            let rate = (lines * 60.0 / elapsed * 100.0).round() / 100.0;
            by_limits(&log.limits, Reading::new("lines_per_minute", rate), &format!("{rate} lines a minute"))
        }
        (true, None) => Judged::ok(format!("{text}; counting lines from here on")),
        (false, _) => Judged { readings: vec![Reading::with_unit("age", age, "s")], ..Judged::ok(text) },
    }
}

fn has_limits(limits: &Limits) -> bool {
    limits.warning.is_some() || limits.critical.is_some()
}

pub(super) fn package(package: &Package, words: &ScriptLines) -> Judged {
    let version = words.get("version").unwrap_or_default();
    match (package.installed, version.is_empty()) {
        (false, true) => return Judged::ok("not installed"),
        (false, false) => return Judged::critical(format!("{version} is installed")).of_value(version),
        (true, true) => return Judged::critical("not installed"),
        (true, false) => {}
    }
    let fits = |wanted: &str| match wanted.strip_suffix('*') {
        Some(begin) => version.starts_with(begin),
        None => version == wanted,
    };
    let judged = match package.version.as_deref().filter(|wanted| !fits(wanted)) {
        Some(wanted) => Judged::critical(format!("version {version}, wanted {wanted}")),
        None => Judged::ok(format!("version {version}")),
    };
    judged.of_value(version)
}

pub(super) fn disk(disk: &Disk, words: &ScriptLines) -> Judged {
    let (used, free) = (words.number("used"), words.number("free"));
    let Some((used, free)) = used.zip(free).filter(|(used, free)| used + free > 0.0) else {
        return Judged::unknown(format!("df reports nothing about {}", disk.path));
    };
    let percent = (used / (used + free) * 1000.0).round() / 10.0;
    let what = if disk.inodes { " of the inodes" } else { "" };
    by_limits(&disk.limits, Reading::with_unit("used", percent, "%"), &format!("{percent}% used{what}"))
}

pub(super) fn load(load: &Load, words: &ScriptLines) -> Judged {
    let word = match load.over {
        1 => "load1",
        15 => "load15",
        _ => "load5",
    };
    let cpus = words.number("cpus").filter(|cpus| *cpus >= 1.0);
    let Some(average) = words.number(word) else {
        return Judged::unknown("the host reports no load average");
    };
    let (value, words) = match (load.per_cpu, cpus) {
        (true, None) => return Judged::unknown("the host does not tell how many processors it has"),
        (true, Some(cpus)) => {
            let each = (average / cpus * 100.0).round() / 100.0;
            (each, format!("load {each} for each of {cpus} processors"))
        }
        (false, _) => (average, format!("load {average}")),
    };
    by_limits(&load.limits, Reading::new(word, value), &words)
}

pub(super) fn memory(memory: &Memory, words: &ScriptLines) -> Judged {
    let (total, free) = match memory.swap {
        true => (words.number("swap_total"), words.number("swap_free")),
        false => (words.number("total"), words.number("available")),
    };
    let Some((total, free)) = total.zip(free) else {
        return Judged::unknown("the host reports nothing about its memory");
    };
    if memory.swap && total == 0.0 {
        return Judged::ok("there is no swap");
    }
    let percent = ((total - free) / total.max(1.0) * 1000.0).round() / 10.0;
    let words = format!("{percent}% of {} MiB used", (total / 1024.0).round());
    by_limits(&memory.limits, Reading::with_unit("used", percent, "%"), &words)
}
