//! A command as it is logged: without values that may be secret.

use crate::config::Config;
use crate::domain::ask::command::{Ask, Command, Params, Request, Title, UsageError};
use crate::domain::base::output::to_text;
use crate::domain::value::secret::HIDDEN;

/// The command as it may be logged.
pub fn shown(line: &[u8], parsed: &Result<Request, UsageError>, config: &Config) -> String {
    let words = |what: &str, ask: &Ask| {
        let params = known(config, Some(&ask.task), &ask.params);
        format!(
            "{what}{}",
            Title::of_task(&ask.task, &ask.selector, &params).with_tags(&ask.tags).forced(ask.force).0
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
            format!("{}{name}", Title::of_task("check", selector, &known(config, None, params)).0)
        }
        // The position of values in it is unknown.
        Err(_) | Ok(Command::Misread { .. }) => match to_text(line).split_once('=') {
            Some((before, _)) => format!("{before}={HIDDEN}"),
            None => to_text(line),
        },
        Ok(_) => to_text(line),
    }
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
