//! `help`: the tasks of the configuration, and what one of them takes and does.

use std::fmt::Write;

use super::plan::{budget, failed_host};
use super::steps;
use super::table::columns;
use crate::domain::ask::command::Params;
use crate::domain::base::name::count;
use crate::domain::base::output::clipped;
use crate::domain::task::task::{BatchSize, Each, Rollout, Task, Written};
use crate::domain::value::param::{Param, ParamKind};

/// Most characters of a description in the list of tasks; `help TASK` has all of it.
const DESCRIPTION_CHARS: usize = 80;

/// Values that fit many patterns of versions, names, dates, hashes, paths and addresses.
const CANDIDATES: [&str; 14] = [
    "1.4.2",
    "v1.4.2",
    "1.4",
    "14",
    "1",
    "main",
    "web",
    "prod",
    "release-1.4.2",
    "2026-01-31",
    "0a1b2c3",
    "0123456789abcdef0123456789abcdef01234567",
    "/tmp/example",
    "https://example.com/",
];

/// What the example line of a task is made from.
pub struct Example {
    pub selector: String,
    /// Parameters that the task was given before.
    pub past: Params,
    /// The operator may run tasks, and not only plan them.
    pub may_act: bool,
}

/// The list of tasks below the help of all commands.
pub fn tasks(tasks: &[&Task], may_act: bool) -> String {
    if tasks.is_empty() {
        return "\nTasks: there are none for you; tasks are files in tasks/\n".into();
    }
    let row = |task: &&Task| {
        let first = task.description.lines().next().unwrap_or_default();
        vec![format!("  {}", call(task)), clipped(first, DESCRIPTION_CHARS)]
    };
    let rows: Vec<Vec<String>> = tasks.iter().map(row).collect();
    let role = if may_act { "" } else { " (to run one needs the role operator; `plan` does not)" };
    format!("\nTasks{role}:\n{}", columns(&rows))
}

/// `deploy SELECTOR version=VALUE [hook=VALUE]`
fn call(task: &Task) -> String {
    let (needed, optional): (Vec<_>, Vec<_>) = given(task).partition(|(_, param)| param.is_needed());
    let needed = needed.iter().map(|(name, _)| format!(" {name}=VALUE"));
    let optional = optional.iter().map(|(name, _)| format!(" [{name}=VALUE]"));
    format!("{} SELECTOR{}", task.name, needed.chain(optional).collect::<String>())
}

/// The options of every task.
const OPTIONS: &str = "\
Options:
  --check            a dry run: what each step would change; changes nothing
  --force            also deploy hosts that are already on the release
  --tags A,B         only the steps with one of these tags
  --skip-tags A,B    all steps but those with one of these tags
  --break-glass because REASON
                     also on frozen hosts, once a second person has approved it
  --wait             if the hosts are in use, wait for them
";

/// `help TASK`.
pub fn task(task: &Task, example: &Example) -> String {
    let mut text = format!("{}\n", task.name);
    if !task.description.is_empty() {
        text = format!("{}: {}\n", task.name, task.description.trim_end());
    }
    _ = writeln!(text, "\nUsage: ssh rollcall {} [OPTIONS]", call(task));
    text.push_str(OPTIONS);
    let within = task.hosts.as_ref();
    let hosts = within.map_or_else(
        || "all hosts of SELECTOR".into(),
        |own| format!("the hosts of SELECTOR that are in `{own}`"),
    );
    _ = writeln!(text, "Runs on: {hosts}");
    if !example.may_act {
        text.push_str("You may plan it; to run it needs the role operator.\n");
    }
    text.push_str(&params(task));
    text.push_str("\nSteps:\n");
    text.push_str(&steps(&task.steps));
    if !task.handlers.is_empty() {
        _ = write!(text, "Handlers, at the end, if a step notifies them:\n{}", steps(&task.handlers));
    }
    for (hook, steps) in &task.hooks {
        steps.iter().for_each(|one| _ = writeln!(text, "  hook {}: {}", hook.word(), steps::step(one)));
    }
    text.push_str(&rollout(task));
    text.push_str(&lines(task, example));
    text
}

/// The parameters that operators give.
fn given(task: &Task) -> impl Iterator<Item = (&String, &Param)> {
    task.params.iter().filter(|(_, param)| param.is_given())
}

fn params(task: &Task) -> String {
    if given(task).next().is_none() {
        return "\nParameters: none\n".into();
    }
    let rows = given(task).map(|(name, param)| vec![format!("  {name}"), about(param)]);
    format!("\nParameters:\n{}", columns(&rows.collect::<Vec<_>>()))
}

fn about(param: &Param) -> String {
    let kind = match &param.kind {
        ParamKind::Text => "text".to_string(),
        ParamKind::Number => "number".into(),
        ParamKind::Bool => "true or false".into(),
        ParamKind::Choice(choices) => format!("one of: {}", choices.join(", ")),
        ParamKind::Artifact => "a file: - for standard input, or sha256:HEX".into(),
    };
    let pattern = param.pattern.as_ref().map(|pattern| format!("matches {pattern}"));
    let default = match param.default.as_deref() {
        None if param.origin.is_some() => "default: fetched from its URL".to_string(),
        None => "required".to_string(),
        Some("") => "default: empty".into(),
        Some(text) => format!("default {text}"),
    };
    let secret = param.secret.then(|| "secret: never printed or kept".to_string());
    let description = Some(param.description.clone()).filter(|text| !text.is_empty());
    [Some(kind), pattern, Some(default), secret, description]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

fn steps(written: &[Written]) -> String {
    written.iter().map(|one| format!("  {}{}\n", steps::step(&one.step), notes(one))).collect()
}

fn notes(written: &Written) -> String {
    let on = written.on.as_ref().map(|on| format!(" (on {on})"));
    let each = written.each.as_ref().map(|each| match each {
        Each::Items(items) => format!(" (for each of {})", count(items.len(), "item")),
        Each::Expression(list) => format!(" (for each of {list})"),
    });
    let tags: Vec<&str> = written.tags.iter().map(String::as_str).collect();
    let tags = (!tags.is_empty()).then(|| format!(" [tags: {}]", tags.join(",")));
    [on, each, tags].into_iter().flatten().collect()
}

fn rollout(task: &Task) -> String {
    let Some(rollout) = &task.rollout else {
        return "\nRollout: none; all hosts at once, and no balancer is touched\n".into();
    };
    let mut text = format!(
        "\nRollout: {}; {}; {}\n",
        batches(rollout),
        failed_host(rollout.on_failure),
        budget(rollout.max_failures, None)
    );
    if rollout.on_failure.rolls_back() && !task.rollback.is_empty() {
        _ = write!(text, "On failure:\n{}", steps(&task.rollback));
    }
    text
}

fn batches(rollout: &Rollout) -> String {
    let size = |size: &BatchSize| match size {
        BatchSize::Hosts(0) => "the rest".to_string(),
        BatchSize::Hosts(hosts) => hosts.to_string(),
        BatchSize::Percent(percent) => format!("{percent}%"),
    };
    let sizes: Vec<String> = rollout.serial.iter().map(size).collect();
    match sizes.join(", ").as_str() {
        "100%" | "the rest" | "" => "all hosts in one batch".into(),
        sizes => format!("batches of {sizes} of the hosts"),
    }
}

fn lines(task: &Task, example: &Example) -> String {
    let mut values = Vec::new();
    for (name, param) in given(task).filter(|(_, param)| param.is_needed()) {
        values.push(format!(" {name}={}", value(name, param, example.past.get(name)).unwrap_or("VALUE")));
    }
    let line = format!("{} {}{}", task.name, example.selector, values.concat());
    let (plan, run) = (format!("  ssh rollcall plan {line}\n"), format!("  ssh rollcall {line}\n"));
    format!("\nExample:\n{plan}{}", if example.may_act { run } else { String::new() })
}

/// A value that the parameter takes, and that needs no quotes in any shell.
fn value<'v>(name: &str, param: &'v Param, past: Option<&'v String>) -> Option<&'v str> {
    let choices = match &param.kind {
        ParamKind::Choice(choices) => choices.as_slice(),
        ParamKind::Bool => return Some("true"),
        ParamKind::Artifact => return Some("-"),
        ParamKind::Text | ParamKind::Number => &[],
    };
    let is_plain = |text: &&str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:+@,".contains(c))
    };
    let past = past.map(String::as_str).filter(|_| !param.secret);
    let candidates = if param.secret { ["VALUE"].as_slice() } else { &CANDIDATES };
    let candidates = candidates.iter().copied();
    let mut known = past.into_iter().chain(choices.iter().map(String::as_str)).chain(candidates);
    known.find(|text| is_plain(text) && param.check(name, text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_a_value_that_the_parameter_takes() {
        let text = |pattern: Option<&str>| Param { pattern: pattern.map(String::from), ..Param::default() };
        let kind = |kind| Param { kind, ..Param::default() };
        let table = [
            (text(None), None, Some("1.4.2")),
            (text(None), Some("9.9"), Some("9.9")),
            (text(None), Some("two words"), Some("1.4.2")),
            (text(Some(r"\d+\.\d+\.\d+")), None, Some("1.4.2")),
            (text(Some(r"v\d+.*")), Some("1.0"), Some("v1.4.2")),
            (text(Some("[0-9a-f]{40}")), None, Some("0123456789abcdef0123456789abcdef01234567")),
            (text(Some("only-this-one")), None, None),
            (kind(ParamKind::Number), None, Some("1.4")),
            (kind(ParamKind::Bool), None, Some("true")),
            (kind(ParamKind::Choice(vec!["a b".into(), "blue".into()])), None, Some("blue")),
        ];
        for (param, past, wanted) in table {
            let past = past.map(String::from);
            assert_eq!(value("x", &param, past.as_ref()), wanted, "{param:?}");
        }
    }
}
