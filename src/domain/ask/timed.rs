//! Commands of the form `SELECTOR for TIME because REASON`: downtimes, locks and freezes.

use std::time::Duration;

use super::ask::{Command, RightCommand};
use super::number::Number;
use crate::domain::base::schedule::read_time;

impl Command {
    /// `downtime ...`: the list, the end of one, or a new one. The error contains the usage.
    pub(super) fn downtime(words: &[String]) -> Result<Command, String> {
        const USAGE: &str = "downtime SELECTOR [CHECK] for 2h because REASON; downtime end N; downtime";
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let usage = |why: &str| format!("{why}; try: {USAGE}");
        match words[..] {
            [] | ["list"] => return Ok(Command::Downtimes),
            ["end", id] => {
                let id = id
                    .parse::<Number>()
                    .map(u64::from)
                    .map_err(|_| usage(&format!("`{id}` is no number of a downtime")))?;
                return Ok(Command::DowntimeEnd { id });
            }
            _ => {}
        }
        let (for_whom, time, reason) = timed(&words).map_err(|why| usage(&why))?;
        match for_whom {
            [] => Err(usage("say which hosts")),
            [selector, check @ ..] => {
                let check = (!check.is_empty()).then(|| check.join(" "));
                Ok(Command::Downtime { selector: (*selector).into(), check, time, reason })
            }
        }
    }

    /// `lock ...`: the list, or a new one.
    pub(super) fn lock(words: &[String], take_over: bool) -> Result<Command, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let usage = |why: &str| format!("{why}; try: lock SELECTOR for 2h because REASON; lock");
        if matches!(words[..], [] | ["list"]) && !take_over {
            return Ok(Command::Leases);
        }
        let (selector, time, reason) = timed_selector(&words).map_err(|why| usage(&why))?;
        Ok(Command::Lock { selector, time, reason, take_over })
    }

    /// `ask ...`: the list, or a request.
    pub(super) fn ask(words: &[String]) -> Result<Command, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let usage = |why: &str| format!("{why}; try: ask ROLE GROUP[,GROUP...] for 1h because REASON; ask");
        if matches!(words[..], [] | ["list"]) {
            return Ok(Command::Rights(RightCommand::List));
        }
        let (head, time, reason) = timed(&words).map_err(|why| usage(&why))?;
        let [role, groups] = head else { return Err(usage("say which role, and in which groups")) };
        let groups: Vec<String> = groups.split(',').map(String::from).collect();
        if groups.iter().any(String::is_empty) {
            return Err(usage("a group has a name"));
        }
        Ok(Command::Rights(RightCommand::Ask { role: role.to_string(), groups, time, reason }))
    }

    /// `grant N`, `grant end N [because REASON]`.
    pub(super) fn grant(words: &[String]) -> Result<Command, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let usage = |why: &str| format!("{why}; try: grant N; grant end N because REASON; ask");
        let number = |id: &str| {
            id.parse::<Number>()
                .map(u64::from)
                .map_err(|_| usage(&format!("`{id}` is no number of a request")))
        };
        let command = match words[..] {
            ["end", id] => RightCommand::End { id: number(id)?, reason: None },
            ["end", id, "because", ref reason @ ..] if !reason.is_empty() => {
                RightCommand::End { id: number(id)?, reason: Some(reason.join(" ")) }
            }
            [id] => RightCommand::Grant { id: number(id)? },
            _ => return Err(usage("say which request")),
        };
        Ok(Command::Rights(command))
    }

    /// `freeze ...`: the list, a new one, or `end N [because REASON]`.
    pub(super) fn freeze(words: &[String]) -> Result<Command, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let usage = |why: &str| {
            format!("{why}; try: freeze SELECTOR for 2d because REASON; freeze end N because REASON; freeze")
        };
        match words[..] {
            [] | ["list"] => return Ok(Command::Freezes),
            ["end", id, ref rest @ ..] => {
                let id = id
                    .parse::<Number>()
                    .map(u64::from)
                    .map_err(|_| usage(&format!("`{id}` is no number of a freeze")))?;
                let reason = match rest {
                    [] => None,
                    ["because", reason @ ..] if !reason.join(" ").trim().is_empty() => Some(reason.join(" ")),
                    _ => return Err(usage("say why, for the record")),
                };
                return Ok(Command::FreezeEnd { id, reason });
            }
            _ => {}
        }
        let (selector, time, reason) = timed_selector(&words).map_err(|why| usage(&why))?;
        Ok(Command::Freeze { selector, time, reason })
    }
}

/// `SELECTOR for TIME because REASON`.
fn timed_selector(words: &[&str]) -> Result<(String, Duration, String), String> {
    match timed(words)? {
        ([selector], time, reason) => Ok(((*selector).into(), time, reason)),
        ([], ..) => Err("say which hosts".into()),
        (more, ..) => Err(format!("`{}` is not one selector", more.join(" "))),
    }
}

/// The words before `for TIME because REASON`, the time and the reason.
fn timed<'w>(words: &'w [&'w str]) -> Result<(&'w [&'w str], Duration, String), String> {
    let because = words.iter().position(|word| *word == "because");
    let (head, reason) = because
        .map(|at| (&words[..at], words[at + 1..].join(" ")))
        .filter(|(_, reason)| !reason.trim().is_empty())
        .ok_or("say why, for the record")?;
    let (time, rest) = head.split_last().ok_or("say for how long")?;
    let rest = rest.strip_suffix(&["for"]).ok_or("say for how long")?;
    Ok((rest, read_time(time)?, reason))
}
