//! `doctor`, in words: the phases of a connection, and what was found on the host.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::table::columns;
use crate::domain::check::seen::ScriptLines;
use crate::domain::inventory::inventory::Endpoint;

/// A clock that is further off is reported: certificates and logs depend on it. One second is the precision.
const CLOCK_SECONDS: i64 = 2;

/// Less free space is reported.
const FREE_KIB: u64 = 512 * 1024;

/// One host, examined.
#[derive(Debug, Serialize)]
pub struct Examined {
    host: String,
    address: String,
    findings: Vec<Finding>,
}

/// One line of the answer.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    pub what: String,
    #[serde(rename = "state")]
    pub grade: Grade,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    /// Something that a release may need is not there.
    Note,
    /// Of rollcall itself: it works, and needs a person.
    Warning,
    Unknown,
    /// Of rollcall itself: something does not work.
    Critical,
    /// The host cannot be used.
    Failed,
}

impl Grade {
    pub fn word(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Note => "note",
            Grade::Warning => "warning",
            Grade::Unknown => "unknown",
            Grade::Critical => "CRITICAL",
            Grade::Failed => "FAILED",
        }
    }
}

/// A phase of the connection: its name, how long it took, and what was found or why it failed.
pub type Phase = (&'static str, Duration, Result<String, String>);

impl Examined {
    /// What was measured; `answer` is the output of the script, or why there is none, and `now` the time of day at its end.
    pub fn of(
        host: &Endpoint,
        phases: Vec<Phase>,
        answer: Option<(Duration, Result<String, String>)>,
        now: Timestamp,
    ) -> Examined {
        let mut findings: Vec<Finding> = phases.into_iter().map(phase).collect();
        if let Some((took, answer)) = answer {
            let lines = answer.map(|stdout| ScriptLines::of(&stdout));
            let lines = lines.and_then(|lines| match lines.get("done") {
                Some(_) => Ok(lines),
                None => Err("the answer of sh is cut off".into()),
            });
            findings.push(phase(("exec", took, lines.as_ref().map(|_| "sh".into()).map_err(String::clone))));
            findings.extend(lines.iter().flat_map(|lines| on_host(lines, now)));
        }
        let address = format!("{}@{}", host.login, host.shown_address());
        Examined { host: host.name.to_string(), address, findings }
    }

    /// True if rollcall can run a script on the host.
    pub fn is_reached(&self) -> bool {
        self.findings.iter().any(|finding| finding.what == "exec" && finding.grade == Grade::Ok)
    }
}

fn phase((name, took, end): Phase) -> Finding {
    let (grade, text) = match end {
        Ok(text) => (Grade::Ok, text),
        Err(why) => (Grade::Failed, why),
    };
    Finding { what: name.into(), grade, ms: u64::try_from(took.as_millis()).ok(), text }
}

fn on_host(lines: &ScriptLines, now: Timestamp) -> Vec<Finding> {
    let mut findings = vec![clock(lines, now), sudo(lines)];
    // One file system may hold both folders; its free space changes from one line to the next.
    let disks: BTreeMap<&str, &str> =
        lines.all("disk").filter_map(|line| line.split_once(' ')).map(|(free, at)| (at, free)).collect();
    findings.extend(disks.into_iter().filter_map(disk));
    if !findings.iter().any(|finding| finding.what == "disk") {
        let text = "`df` printed nothing that rollcall reads".into();
        findings.push(Finding { what: "disk".into(), grade: Grade::Unknown, ms: None, text });
    }
    findings
}

fn clock(lines: &ScriptLines, now: Timestamp) -> Finding {
    let finding = |grade, text| Finding { what: "clock".into(), grade, ms: None, text };
    let Some(host) = lines.get("clock").and_then(|text| text.trim().parse::<i64>().ok()) else {
        return finding(Grade::Unknown, "`date` printed no time".into());
    };
    let off = host.saturating_sub(now.as_second());
    match off.saturating_abs() <= CLOCK_SECONDS {
        true => finding(Grade::Ok, "within 2 s of the daemon's machine".into()),
        false => {
            let side = if off > 0 { "ahead of" } else { "behind" };
            let text = format!(
                "{} s {side} the daemon's machine; try: time synchronization on both",
                off.unsigned_abs()
            );
            finding(Grade::Note, text)
        }
    }
}

fn sudo(lines: &ScriptLines) -> Finding {
    let finding = |grade, text: &str| Finding { what: "sudo".into(), grade, ms: None, text: text.into() };
    match lines.get("sudo").map(str::trim) {
        Some("all") => finding(Grade::Ok, "without a password"),
        Some("refused") => finding(
            Grade::Note,
            "`sudo -n true` is refused; rules for single commands may hold all the same: see: sudoers SELECTOR",
        ),
        Some("absent") => finding(Grade::Note, "sudo is not installed; steps with `sudo` fail"),
        _ => finding(Grade::Unknown, "the host did not say"),
    }
}

/// Where, and how many KiB are free.
fn disk((at, free): (&str, &str)) -> Option<Finding> {
    let free: u64 = free.parse().ok()?;
    let grade = if free < FREE_KIB { Grade::Note } else { Grade::Ok };
    let text = format!("{} MiB free on {at}", free / 1024);
    Some(Finding { what: "disk".into(), grade, ms: None, text })
}

/// For people.
pub fn text(examined: &Examined) -> String {
    format!("{} ({})\n{}", examined.host, examined.address, columns(&rows(&examined.findings)))
}

/// A row for each finding.
pub(super) fn rows(findings: &[Finding]) -> Vec<Vec<String>> {
    let row = |finding: &Finding| {
        let took = finding.ms.map(|ms| format!("{ms} ms")).unwrap_or_default();
        let what = format!("  {}", finding.what);
        vec![what, finding.grade.word().to_string(), took, finding.text.clone()]
    };
    findings.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stdout: &str) -> Vec<String> {
        let lines = ScriptLines::of(stdout);
        let findings = on_host(&lines, Timestamp::from_second(1_000).unwrap());
        findings.iter().map(|one| format!("{} {} {}", one.what, one.grade.word(), one.text)).collect()
    }

    #[test]
    fn what_is_missing_is_a_note_and_what_is_unreadable_is_unknown() {
        let good = "rollcall clock 1001\nrollcall sudo all\nrollcall disk 2097152 /\nrollcall disk 2097156 /\nrollcall done\n";
        assert_eq!(
            found(good),
            [
                "clock ok within 2 s of the daemon's machine",
                "sudo ok without a password",
                "disk ok 2048 MiB free on /"
            ]
        );
        let poor = "rollcall clock 400\nrollcall sudo refused\nrollcall disk 1024 /var/tmp\n";
        assert_eq!(
            found(poor),
            [
                "clock note 600 s behind the daemon's machine; try: time synchronization on both",
                "sudo note `sudo -n true` is refused; rules for single commands may hold all the same: see: sudoers SELECTOR",
                "disk note 1 MiB free on /var/tmp"
            ]
        );
        assert_eq!(
            found("rollcall clock x\n"),
            [
                "clock unknown `date` printed no time",
                "sudo unknown the host did not say",
                "disk unknown `df` printed nothing that rollcall reads"
            ]
        );
    }
}
