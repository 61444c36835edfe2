//! Lines of logs of hosts: hosts with the same lines once, or lines as they come.

use std::fmt::Write;

use serde_json::json;

use super::json;
use super::recap::block;
use super::table::{alike, folded};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::output::Output;

/// What one host has answered.
pub struct HostLog<'r> {
    pub host: &'r HostName,
    /// Why it is not all that was asked for.
    pub why: Option<&'r str>,
    pub is_reached: bool,
    pub exit: Option<u32>,
    pub stdout: &'r Output,
    pub stderr: &'r Output,
    /// What an operator has to know about lines that are there.
    pub note: Option<String>,
}

impl HostLog<'_> {
    /// True when rollcall keeps only the start and the end of the lines.
    pub fn is_cut(&self) -> bool {
        self.stdout.left_out > 0 || self.stderr.left_out > 0
    }
}

/// The answers of several hosts: equal ones once, those with a fault last.
pub fn blocks(logs: &[HostLog<'_>]) -> String {
    // Equal ends may have different lines between them, so a log that was cut equals no other.
    let alone = |log: &HostLog<'_>, at: usize| log.is_cut().then_some(at);
    let answered = logs.iter().enumerate();
    let answered = answered.map(|(at, log)| {
        ((log.why, log.stdout.text.as_str(), log.stderr.text.as_str(), alone(log, at)), log.host)
    });
    let mut groups = alike(answered);
    groups.sort_by_key(|((why, ..), hosts)| (why.is_some(), std::cmp::Reverse(hosts.len())));
    let text = |((why, stdout, stderr, _), hosts)| match (why, [stdout, stderr]) {
        (None, ["", ""]) => block(hosts, Some("no lines"), &["", ""]),
        (why, said) => block(hosts, why, &said),
    };
    groups.iter().map(|(key, hosts)| text((*key, hosts.as_slice()))).collect()
}

/// The notes of several hosts, a line each; equal ones once.
pub fn notes(logs: &[HostLog<'_>]) -> String {
    let noted = logs.iter().filter_map(|log| Some((log.note.as_deref()?, log.host)));
    let line = |(note, hosts): &(&str, Vec<&HostName>)| {
        format!("rollcall: {}: {note}\n", folded(hosts.iter().copied()))
    };
    alike(noted).iter().map(line).collect()
}

/// The answer of one host, for programs.
pub fn json_line(log: &HostLog<'_>) -> String {
    let lines = |output: &Output| output.text.lines().map(String::from).collect::<Vec<_>>();
    let state = match (log.why, log.is_reached) {
        (None, _) => "ok",
        (Some(_), true) => "failed",
        (Some(_), false) => "unreachable",
    };
    let value = json!({
        "host": log.host, "state": state, "why": log.why, "exit": log.exit, "note": log.note,
        "lines": lines(log.stdout), "stderr": lines(log.stderr), "left_out": log.stdout.left_out + log.stderr.left_out,
    });
    json::line("logs", value)
}

/// The words of a follow.
pub struct Followed {
    alone: bool,
    json: bool,
}

/// One line of a host.
pub struct FollowedLine<'l> {
    pub host: &'l HostName,
    pub is_error: bool,
    pub text: &'l str,
    /// Bytes of it that were left out.
    pub beyond: u64,
}

impl Followed {
    /// `alone`: one host is followed.
    pub fn new(alone: bool, json: bool) -> Followed {
        Followed { alone, json }
    }

    /// A line. With several hosts it has its host in front, so that none can imitate another.
    pub fn line(&self, line: &FollowedLine<'_>) -> String {
        let FollowedLine { host, is_error, text, beyond } = line;
        if self.json {
            let value = json!({ "host": host, "stderr": is_error, "line": text, "left_out": beyond });
            return json::line("log-line", value);
        }
        let mut shown = if self.alone { String::new() } else { format!("{host}: ") };
        shown += text.trim_end_matches('\r');
        if *beyond > 0 {
            _ = write!(shown, " [... {beyond} bytes left out]");
        }
        shown + "\n"
    }

    /// Lines were left out here.
    pub fn gap(&self, host: &HostName, lines: u64) -> String {
        if self.json {
            return json::line("log-gap", json!({ "host": host, "lines": lines }));
        }
        let lines = count(usize::try_from(lines).unwrap_or(usize::MAX), "line");
        format!("rollcall: {host}: {lines} left out here: your client reads too slowly; try: --grep\n")
    }

    /// A host is no longer followed.
    pub fn ended(&self, host: &HostName, why: &str) -> String {
        match self.json {
            true => json::line("log-end", json!({ "host": host, "why": why })),
            false => format!("rollcall: {host} is no longer followed: {}\n", why.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        Output { text: text.into(), left_out: 0 }
    }

    #[test]
    fn hosts_with_the_same_lines_are_printed_once_and_faults_are_last() {
        let (same, other, none, error) =
            (output("one\ntwo\n"), output("x"), output(""), output("tail: no\n"));
        let names = ["web1", "web2", "web3", "web4", "web5"].map(HostName::from);
        let log = |at: usize, why, stdout, stderr| HostLog {
            host: &names[at],
            why,
            is_reached: true,
            exit: Some(0),
            stdout,
            stderr,
            note: None,
        };
        let logs = [
            log(0, Some("exit status 1: tail: no"), &none, &error),
            log(1, None, &other, &none),
            log(2, None, &same, &none),
            log(3, None, &same, &none),
            log(4, None, &none, &none),
        ];
        let rule = "---------------";
        let wanted = format!(
            "{rule}\nweb[3-4] (2)\n{rule}\n  one\n  two\n{rule}\nweb2\n{rule}\n  x\n{rule}\nweb5: no lines\n{rule}\n\
             {rule}\nweb1: exit status 1: tail: no\n{rule}\n  tail: no\n"
        );
        assert_eq!(blocks(&logs), wanted);

        let cut = Output { left_out: 7, ..output("one\n[... 7 bytes left out ...]\ntwo\n") };
        let note =
            |at, stdout, note: &str| HostLog { note: Some(note.into()), ..log(at, None, stdout, &none) };
        let logs = [note(0, &cut, "cut"), note(1, &cut, "cut"), note(2, &same, "other")];
        assert_eq!(
            blocks(&logs).matches("7 bytes left out").count(),
            2,
            "the lines between may be different"
        );
        assert_eq!(notes(&logs), "rollcall: web[1-2]: cut\nrollcall: web3: other\n");
    }

    #[test]
    fn a_followed_line_has_its_host_in_front_if_there_are_several() {
        let host = HostName::from("web1");
        let line = |text| FollowedLine { host: &host, is_error: false, text, beyond: 0 };
        assert_eq!(Followed::new(true, false).line(&line("a\r")), "a\n");
        assert_eq!(Followed::new(false, false).line(&line("a")), "web1: a\n");
        let long = FollowedLine { beyond: 7, ..line("a") };
        assert_eq!(Followed::new(false, false).line(&long), "web1: a [... 7 bytes left out]\n");
        let json = Followed::new(false, true).line(&line("a"));
        assert_eq!(
            json,
            "{\"schema\":\"log-line\",\"version\":1,\"host\":\"web1\",\"left_out\":0,\"line\":\"a\",\"stderr\":false}\n"
        );
    }
}
