//! The Test Anything Protocol, version 13: one line a check, with the observation as its diagnostics.

use std::fmt::Write;

use super::report::{Report, one_line};
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;

/// All checks as tests. Warnings pass; an unknown check, or one that did not run, does not.
pub fn lines(report: &Report) -> String {
    let count = report.results().count() + report.missing().count();
    let mut rendered = String::from("TAP version 13\n");
    if count == 0 {
        rendered.push_str("1..0 # SKIP nothing was probed\n");
        return rendered;
    }
    _ = writeln!(rendered, "1..{count}");
    let mut number = 0;
    for (host, result) in report.results() {
        number += 1;
        let word = if result.verdict.passes() { "ok" } else { "not ok" };
        _ = writeln!(
            rendered,
            "{word} {number} - {}",
            description(&format!("{} {}", host.host, result.check))
        );
        if result.verdict != Verdict::Ok {
            rendered += &diagnostics(result);
        }
    }
    for (host, check) in report.missing() {
        number += 1;
        let what = description(&format!("{} {check}: was not made", host.host));
        _ = writeln!(rendered, "not ok {number} - {what}");
    }
    rendered
}

/// An unescaped `#` would start a directive such as SKIP.
fn description(text: &str) -> String {
    one_line(text, usize::MAX).replace('\\', "\\\\").replace('#', "\\#")
}

/// A block of YAML, in the subset that every reader of TAP knows.
fn diagnostics(result: &CheckResult) -> String {
    let mut block =
        format!("  ---\n  severity: {}\n  message: {}\n", result.verdict.word(), quoted(&result.text));
    if !result.detail.is_empty() {
        _ = writeln!(block, "  detail: {}", quoted(&result.detail));
    }
    block + "  ...\n"
}

/// A double-quoted scalar: always one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() && (c as u32) < 0x100 => _ = write!(quoted, "\\x{:02x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
