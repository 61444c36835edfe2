//! A command as it is logged: without values that may be secret.

use crate::config::Config;
use crate::domain::ask::adhoc::AdHoc;
use crate::domain::ask::command::{Ask, Command, Params, Request, Title, UsageError};
use crate::domain::base::output::to_text;
use crate::domain::value::secret::HIDDEN;

/// The command as it may be logged.
pub fn shown(line: &[u8], parsed: &Result<Request, UsageError>, config: &Config) -> String {
    let words = |what: &str, ask: &Ask| {
        let params = known(config, Some(&ask.task), &ask.params);
        format!(
            "{what}{}",
            Title::of_task(&ask.task, &masked(&ask.selector), &params)
                .with_tags(&ask.tags)
                .forced(ask.force)
                .0
        )
    };
    match parsed.as_ref().map(|request| &request.command) {
        Ok(Command::Task { ask, check: false }) => words("", ask),
        Ok(Command::Task { ask, check: true }) => words("", ask) + " --check",
        Ok(Command::Plan { ask, diff: false }) => words("plan ", ask),
        Ok(Command::Plan { ask, diff: true }) => words("plan --diff ", ask),
        Ok(Command::Mark { task, params, bad, reason }) => {
            let word = if *bad { "mark bad " } else { "mark good " };
            let params = known(config, Some(task), params);
            let params: String = params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!("{word}{task}{params} because {reason}")
        }
        Ok(Command::Check { selector, name, params, .. }) => {
            let name = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            format!("{}{name}", Title::of_task("check", &masked(selector), &known(config, None, params)).0)
        }
        // The journal has all of these.
        Ok(
            Command::Run(_)
            | Command::AdHoc(AdHoc::Copy(_) | AdHoc::Fetch(_))
            | Command::Rollback { .. }
            | Command::PlanRollback { .. }
            | Command::Drain { .. }
            | Command::Settle { .. }
            | Command::Downtime { .. }
            | Command::Ack { .. },
        ) => to_text(line),
        // An operator may have typed the value of a parameter anywhere.
        Err(_) | Ok(_) => masked(&to_text(line)),
    }
}

/// Why a command was not done, as it may be recorded: without values that may be secret.
pub fn shown_reason(why: &str, command: Option<&Command>, config: &Config) -> String {
    let (task, params) = match command {
        Some(Command::Task { ask, .. } | Command::Plan { ask, .. }) => (Some(ask.task.as_str()), &ask.params),
        Some(Command::Mark { task, params, .. }) => (Some(task.as_str()), params),
        Some(Command::Check { params, .. }) => (None, params),
        // The reason may quote a value that was typed anywhere.
        Some(_) | None => return masked(why.lines().next().unwrap_or_default()),
    };
    let known = known(config, task, params);
    let hidden = params.iter().filter(|(name, value)| known.get(*name) != Some(value) && !value.is_empty());
    hidden.fold(why.to_string(), |why, (_, value)| why.replace(value.as_str(), HIDDEN))
}

/// Without what follows the first `=`. No selector has one: it is a parameter in the wrong place.
fn masked(text: &str) -> String {
    text.split_once('=').map_or_else(|| text.to_string(), |(before, _)| format!("{before}={HIDDEN}"))
}

/// The parameters, with only the values that a task (any task, for `None`) declares as not secret.
fn known(config: &Config, task: Option<&str>, params: &Params) -> Params {
    let is_plain = |name: &str| {
        let tasks = config.tasks.values().filter(|known| task.is_none_or(|task| known.name == task));
        let mut declared = tasks.filter_map(|task| task.params.get(name)).peekable();
        declared.peek().is_some() && declared.all(|param| !param.secret)
    };
    let value = |name: &str, value: &str| if is_plain(name) { value } else { HIDDEN }.to_string();
    params.iter().map(|(name, text)| (name.clone(), value(name, text))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::from_texts;
    use crate::domain::ask::command::parse_line;

    #[test]
    fn no_value_of_a_secret_parameter_is_logged_wherever_it_is_typed() {
        let files = [
            ("hosts/prod.toml", "[web]\nhosts = \"web1\"\n"),
            (
                "tasks/sec.toml",
                "params.token = { secret = true }\nparams.v = {}\n[[steps]]\nname = \"s\"\nrun = \"true\"\n",
            ),
        ];
        let files = files.into_iter().map(|(path, text)| (path.to_string(), text.into())).collect();
        let config = from_texts(Path::new("/etc/rollcall"), &files).unwrap();
        let said = |line: &str| shown(line.as_bytes(), &parse_line(line.as_bytes()), &config);
        for line in [
            "sec prod token=hunter2 v=1",
            "plan sec prod token=hunter2 v=1",
            "sec prod token=hunter2 --help",
            "help sec token=hunter2",
            "hosts token=hunter2",
            "why web1 token=hunter2",
            "sudoers token=hunter2",
            "status token=hunter2",
            "sec token=hunter2",
            "check prod token=hunter2",
        ] {
            assert!(!said(line).contains("hunter2"), "{line}: {}", said(line));
        }
        for line in [
            "sec prod token=hunter2 v=1",
            "hosts token=hunter2",
            "status prod token=hunter2",
            "sec token=hunter2 --odd",
        ] {
            let parsed = parse_line(line.as_bytes());
            let why = "`token=hunter2` is odd\ntry: hunter2";
            let why = shown_reason(why, parsed.as_ref().ok().map(|request| &request.command), &config);
            assert!(why.starts_with("`token=") && !why.contains("hunter2"), "{line}: {why}");
        }
        assert_eq!(said("rollback prod to=1.2.0"), "rollback prod to=1.2.0");
        assert_eq!(said("run web1 -- A=b id"), "run web1 -- A=b id");
    }
}
