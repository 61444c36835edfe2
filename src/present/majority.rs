//! The answers of hosts against the most common one: `run --diff`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write;

use similar::TextDiff;

use super::recap::block;
use super::table::{alike, folded};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;
use crate::domain::value::secret::HIDDEN;

/// Lines around each difference.
const CONTEXT_LINES: usize = 1;

/// Most outputs that are shown as differences: to compare two long ones that have nothing in common takes tens of milliseconds.
const SHOWN_GROUPS: usize = 100;

/// How a host answered.
struct Answer<'a> {
    host: &'a HostName,
    outcome: &'a Outcome,
    stdout: &'a Output,
    stderr: &'a Output,
}

impl<'a> Answer<'a> {
    /// Why it is compared with no other one.
    fn apart(&self) -> Option<String> {
        if let Some(failure) = self.outcome.failure("command") {
            return Some(failure.why);
        }
        match self.stdout.left_out + self.stderr.left_out {
            0 => None,
            bytes => Some(format!("not compared: {bytes} bytes of its output are left out")),
        }
    }

    fn said(&self) -> [&'a str; 2] {
        [&self.stdout.text, &self.stderr.text]
    }
}

/// The largest group of equal answers whole, the others as differences to it, and apart from them what cannot be compared.
pub fn compared(run: &Run, events: &[Event]) -> String {
    let answers: Vec<Answer<'_>> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::StepEnded { host, outcome, stdout, stderr, .. } => {
                Some(Answer { host, outcome, stdout, stderr })
            }
            _ => None,
        })
        .collect();
    of_answers(&answers, run.hosts().len()) + &unanswered(run, &answers)
}

fn of_answers(answers: &[Answer<'_>], all: usize) -> String {
    let (apart, whole): (Vec<&Answer<'_>>, Vec<&Answer<'_>>) =
        answers.iter().partition(|answer| answer.apart().is_some());
    let mut groups = alike(whole.iter().map(|answer| (answer.said(), answer.host)));
    // Of groups of one size, the one with the first host: which answered first is chance.
    groups.iter_mut().for_each(|(_, hosts)| hosts.sort());
    groups.sort_by_key(|(_, hosts)| (Reverse(hosts.len()), hosts.first().copied()));
    let mut text = equal_and_others(&groups, all);
    for ((why, said), hosts) in alike(apart.iter().map(|one| ((one.apart(), one.said()), one.host))) {
        text += &block(&hosts, why.as_deref(), &said);
    }
    text
}

fn equal_and_others(groups: &[([&str; 2], Vec<&HostName>)], all: usize) -> String {
    let Some((common, others)) = groups.split_first() else { return String::new() };
    let (most, hosts) = common;
    let mut text = String::new();
    if !others.is_empty() && hosts.len() * 2 <= all {
        _ = writeln!(
            text,
            "no majority: the largest group of equal output has {} of {all}; the others are compared with it",
            hosts.len()
        );
    }
    let is_silent = most.iter().all(|said| said.is_empty());
    text += &block(hosts, about_secrets(most), if is_silent { &["(no output)"] } else { most });
    let with = folded(hosts.iter().copied());
    let shown = others.len().min(SHOWN_GROUPS);
    for (said, hosts) in &others[..shown] {
        let lines = differences(most, said);
        let note = about_secrets(said).map_or_else(String::new, |note| format!("; {note}"));
        text += &block(hosts, Some(&format!("differs from {with}{note}")), &[&lines]);
    }
    let rest: Vec<&HostName> = others[shown..].iter().flat_map(|(_, hosts)| hosts.iter().copied()).collect();
    if !rest.is_empty() {
        let number = rest.len();
        _ = writeln!(text, "{} ({number}): differs from {with}, and is not shown here", folded(rest));
    }
    text
}

/// Output with hidden secrets looks equal where it may differ.
fn about_secrets(said: &[&str; 2]) -> Option<&'static str> {
    let hides = said.iter().any(|said| said.contains(HIDDEN));
    hides.then_some("`***` in it may stand for secrets, which may differ")
}

/// Both outputs, line by line.
fn differences(common: &[&str; 2], own: &[&str; 2]) -> String {
    let mut text = String::new();
    for (name, common, own) in [("standard output", common[0], own[0]), ("standard error", common[1], own[1])]
    {
        if common == own {
            continue;
        }
        if name == "standard error" {
            _ = writeln!(text, "{name}:");
        }
        let diff = TextDiff::from_lines(common, own);
        text += &diff.unified_diff().context_radius(CONTEXT_LINES).to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// The hosts that have not answered, with the reason.
fn unanswered(run: &Run, answers: &[Answer<'_>]) -> String {
    let answered: BTreeSet<&HostName> = answers.iter().map(|answer| answer.host).collect();
    let silent = run.hosts().iter().filter(|(name, _)| !answered.contains(name));
    let silent = silent.map(|(name, host)| {
        let why = match host.settled() {
            Some((end, "")) => end.word().to_string(),
            Some((end, why)) => format!("{}: {}", end.word(), why.replace('\n', " ")),
            None => "has not answered".into(),
        };
        (why, name)
    });
    let mut text = String::new();
    for (why, hosts) in alike(silent) {
        _ = writeln!(text, "{} ({}): {why}", folded(hosts.iter().copied()), count(hosts.len(), "host"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[(&str, Outcome, &str, &str, u64)], all: usize) -> String {
        let rows: Vec<_> = rows
            .iter()
            .map(|(host, outcome, out, err, left_out)| {
                let output = |text: &str, left_out| Output { text: text.into(), left_out };
                (HostName::from(*host), outcome, output(out, *left_out), output(err, 0))
            })
            .collect();
        let answers: Vec<Answer<'_>> = rows
            .iter()
            .map(|(host, outcome, stdout, stderr)| Answer { host, outcome, stdout, stderr })
            .collect();
        of_answers(&answers, all).replace("---------------\n", "")
    }

    #[test]
    fn the_most_common_answer_is_whole_and_the_others_are_differences() {
        let ok = || Outcome::Ok;
        let rows = [
            ("web2", ok(), "a\nb\n", "", 0),
            ("web3", ok(), "a\nc\n", "", 0),
            ("web1", ok(), "a\nb\n", "", 0),
            ("web4", ok(), "a\nb\n", "w\n", 0),
            ("web5", ok(), "a\nb", "", 0),
        ];
        let wanted = "no majority: the largest group of equal output has 2 of 5; the others are compared with it\n\
                      web[1-2] (2)\n  a\n  b\nweb3: differs from web[1-2]\n  @@ -1,2 +1,2 @@\n   a\n  -b\n  +c\n\
                      web4: differs from web[1-2]\n  standard error:\n  @@ -0,0 +1 @@\n  +w\n\
                      web5: differs from web[1-2]\n  @@ -1,2 +1,2 @@\n   a\n  -b\n  +b\n  \\ No newline at end of file\n";
        assert_eq!(shown(&rows, 5), wanted);
        // Hosts of the same number: the group with the first host, in whatever order they answered.
        let rows = [("web2", ok(), "b\n", "", 0), ("web1", ok(), "a\n", "", 0)];
        assert!(shown(&rows, 2).contains("web1\n  a\nweb2: differs from web1\n"));
        assert_eq!(shown(&[("web1", ok(), "", "", 0)], 1), "web1\n  (no output)\n");
        let hidden = format!("token {HIDDEN}\n");
        let rows = [("web1", ok(), hidden.as_str(), "", 0), ("web2", ok(), hidden.as_str(), "", 0)];
        assert!(
            shown(&rows, 2)
                .starts_with("web[1-2] (2): `***` in it may stand for secrets, which may differ\n")
        );
        let rows = [
            ("web1", ok(), "a\n", "", 0),
            ("web2", ok(), "a\n", "", 0),
            ("web3", ok(), hidden.as_str(), "", 0),
        ];
        let text = shown(&rows, 3);
        let wanted = "web3: differs from web[1-2]; `***` in it may stand for secrets, which may differ\n";
        assert!(text.starts_with("web[1-2] (2)\n") && text.contains(wanted), "{text}");
        let names: Vec<String> = (1..=150).map(|number| format!("web{number:03}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), ok(), name.as_str(), "", 0)).collect();
        let last = "web[102-150] (49): differs from web001, and is not shown here\n";
        assert!(shown(&rows, 150).ends_with(last));
    }

    #[test]
    fn what_failed_or_was_cut_equals_nothing() {
        let lost = || Outcome::Lost { why: "gone".into() };
        let rows = [
            ("web1", Outcome::Failed { code: Some(1), why: "exit status 1".into() }, "a\n", "", 0),
            ("web2", Outcome::Ok, "a\n", "", 0),
            ("web3", lost(), "a\n", "", 0),
            ("web4", Outcome::Ok, "a\n", "", 7),
            ("web5", lost(), "a\n", "", 0),
        ];
        let wanted = "web2\n  a\nweb1: step `command`: exit status 1\n  a\n\
                      web[3,5] (2): contact lost during step `command`: gone; what it did is not known\n  a\n\
                      web4: not compared: 7 bytes of its output are left out\n  a\n";
        assert_eq!(shown(&rows, 5), wanted);
    }
}
