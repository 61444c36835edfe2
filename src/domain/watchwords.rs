//! The commands about what is watched, as they are typed.

use clap::Subcommand;

use super::ask::Command;
use super::schedule::read_time;

/// See the module.
#[derive(Subcommand, Debug)]
pub(super) enum WatchWords {
    /// How everything that is watched stands: problems, worst first
    Status {
        #[arg(default_value = "all")]
        selector: String,
    },
    /// What was seen of a host's checks, and when it changed
    History { host: String, check: Vec<String> },
    /// What is the matter with a host, since when, and what was done to it in between
    Why { host: String, check: Vec<String> },
    /// Times in which nothing is told of hosts, or of one check of theirs
    #[command(override_usage = "ssh rollcall downtime [SELECTOR [CHECK] for TIME because REASON | end N]")]
    Downtime { words: Vec<String> },
    /// Say that a problem is known: nothing more is told of it until it is over
    #[command(override_usage = "ssh rollcall ack HOST CHECK because REASON")]
    Ack {
        host: String,
        #[arg(required = true)]
        words: Vec<String>,
    },
}

impl WatchWords {
    /// What is asked for; the error says how it is written.
    pub(super) fn read(self) -> Result<Command, String> {
        match self {
            WatchWords::Status { selector } => Ok(Command::Status { selector }),
            WatchWords::History { host, check } => Ok(Command::History { host, check: joined(&check) }),
            WatchWords::Why { host, check } => Ok(Command::Why { host, check: joined(&check) }),
            WatchWords::Downtime { words } => read_downtime(&words),
            WatchWords::Ack { host, words } => read_ack(host, &words),
        }
    }
}

/// The name of a check: ssh has taken its quotes away.
fn joined<T: AsRef<str>>(words: &[T]) -> Option<String> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn read_ack(host: String, words: &[String]) -> Result<Command, String> {
    let usage = |why: &str| format!("{why}; try: ack HOST CHECK because REASON");
    let because =
        words.iter().position(|word| word == "because").ok_or_else(|| usage("say why, for the record"))?;
    let check = joined(&words[..because]).ok_or_else(|| usage("say which check (see: status)"))?;
    let reason = joined(&words[because + 1..]).ok_or_else(|| usage("say why, for the record"))?;
    Ok(Command::Ack { host, check, reason })
}

/// `downtime ...`: the list, the end of one, or a new one. The error says how it is written.
fn read_downtime(words: &[String]) -> Result<Command, String> {
    const USAGE: &str = "downtime SELECTOR [CHECK] for 2h because REASON; downtime end N; downtime";
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let usage = |why: &str| format!("{why}; try: {USAGE}");
    match words[..] {
        [] | ["list"] => return Ok(Command::Downtimes),
        ["end", id] => {
            let id = id.parse().map_err(|_| usage(&format!("`{id}` is no number of a downtime")))?;
            return Ok(Command::DowntimeEnd { id });
        }
        _ => {}
    }
    let because = words.iter().position(|word| *word == "because");
    let Some((head, reason)) = because.map(|at| (&words[..at], words[at + 1..].join(" "))) else {
        return Err(usage("say why, for the record"));
    };
    let Some((time, for_whom)) =
        head.split_last().and_then(|(time, rest)| Some((time, rest.strip_suffix(&["for"])?)))
    else {
        return Err(usage("say for how long"));
    };
    let time = read_time(time).map_err(|why| usage(&why))?;
    match for_whom {
        _ if reason.trim().is_empty() => Err(usage("say why, for the record")),
        [] => Err(usage("say which hosts")),
        [selector, check @ ..] => {
            let check = (!check.is_empty()).then(|| check.join(" "));
            Ok(Command::Downtime { selector: (*selector).into(), check, time, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::parse_line;
    use std::time::Duration;

    fn parse(line: &str) -> Result<Command, String> {
        parse_line(line.as_bytes()).map(|request| request.command).map_err(|error| error.text)
    }

    #[test]
    fn lines_about_what_is_watched_become_commands() {
        let s = |text: &str| text.to_string();
        let downtime = |check: Option<&str>, hours: u64| Command::Downtime {
            selector: s("prod.web"),
            check: check.map(s),
            time: Duration::from_secs(hours * 3600),
            reason: s("new kernel"),
        };
        let table = [
            ("status", Command::Status { selector: s("all") }),
            ("status prod", Command::Status { selector: s("prod") }),
            (
                "history web1 serves the release",
                Command::History { host: s("web1"), check: Some(s("serves the release")) },
            ),
            ("why web1", Command::Why { host: s("web1"), check: None }),
            ("downtime", Command::Downtimes),
            ("downtime list", Command::Downtimes),
            ("downtime end 3", Command::DowntimeEnd { id: 3 }),
            ("downtime prod.web for 2h because new kernel", downtime(None, 2)),
            (
                "downtime prod.web serves the release for 2d because new kernel",
                downtime(Some("serves the release"), 48),
            ),
            (
                "ack web1 disk because it is ordered",
                Command::Ack { host: s("web1"), check: s("disk"), reason: s("it is ordered") },
            ),
        ];
        for (line, wanted) in table {
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_how_it_is_written() {
        for (line, wanted) in [
            ("downtime web1", "say why, for the record"),
            ("downtime web1 because x", "say for how long"),
            ("downtime web1 for ever because x", "`ever` is no time"),
            ("downtime for 2h because x", "say which hosts"),
            ("downtime web1 for 2h because", "say why"),
            ("downtime end x", "`x` is no number of a downtime"),
            ("ack web1 disk", "say why"),
            ("ack web1 because x", "say which check"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.contains(wanted) && said.contains("; try: "), "{line}: {said}");
        }
    }
}
