//! The words that may come next in a command line: a shell asks for them. Pure; what exists is an argument.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;

use super::grammar::Grammar;

/// What an operator may use and see.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Commands in full, as in `balancer drain`.
    pub commands: BTreeSet<String>,
    /// The tasks with the names of their parameters.
    pub tasks: BTreeMap<String, Vec<String>>,
    pub groups: Vec<String>,
    pub hosts: Vec<String>,
    pub checks: Vec<String>,
    /// The last runs.
    pub runs: Vec<String>,
}

/// Options of every task; the last ones take a value.
const TASK_OPTIONS: [&str; 6] = ["--check", "--force", "--wait", "--json", "--tags", "--skip-tags"];

/// The candidates for the word after `before`, sorted. None if everything after it is free text.
pub fn candidates(before: &[String], known: &Known) -> Vec<String> {
    if before.iter().any(|word| word == "--" || word == "because") {
        return Vec::new();
    }
    let mut found = match before {
        [] => first_words(known),
        [task, rest @ ..] if known.tasks.contains_key(task) => after_task(task, rest, known),
        [plan, rest @ ..] if plan == "plan" => after_plan(rest, known),
        words => after_command(words, known),
    };
    found.retain(|word| is_plain(word));
    found.sort();
    found.dedup();
    found
}

/// True for a word that no shell reads as anything but itself: a name must not run a command on an operator's machine.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "._:@/+=,-".contains(c))
}

fn first_words(known: &Known) -> Vec<String> {
    let first = |path: &String| path.split(' ').next().unwrap_or_default().to_string();
    known.commands.iter().map(first).chain(known.tasks.keys().cloned()).collect()
}

fn after_plan(words: &[String], known: &Known) -> Vec<String> {
    match words {
        [] => known.tasks.keys().cloned().collect(),
        [task, rest @ ..] => {
            let mut found = after_task(task, rest, known);
            found.push("--diff".into());
            found
        }
    }
}

fn after_task(task: &str, words: &[String], known: &Known) -> Vec<String> {
    if words.iter().all(|word| word.starts_with('-')) {
        return selectors(known);
    }
    let is_given = |name: &String| words.iter().any(|word| word.split('=').next() == Some(name));
    let params = known.tasks.get(task).into_iter().flatten().filter(|name| !is_given(name));
    let options = TASK_OPTIONS.iter().filter(|option| !words.iter().any(|word| word == *option));
    params.map(|name| format!("{name}=")).chain(options.map(|option| option.to_string())).collect()
}

fn selectors(known: &Known) -> Vec<String> {
    let all = std::iter::once("all".to_string());
    all.chain(known.groups.iter().cloned()).chain(known.hosts.iter().cloned()).collect()
}

/// The grammar knows what follows: names of subcommands, arguments by their place, options.
fn after_command(words: &[String], known: &Known) -> Vec<String> {
    let grammar = Grammar::command();
    let (mut command, mut path, mut place) = (&grammar, String::new(), 0);
    for word in words {
        match command.find_subcommand(word) {
            Some(below) if place == 0 => {
                path = format!("{path} {word}").trim().to_string();
                command = below;
            }
            _ if word.starts_with('-') => {}
            _ => place += 1,
        }
    }
    if command.has_subcommands() {
        let is_open = |name: &str| known.commands.contains(&format!("{path} {name}"));
        let names = command.get_subcommands().map(|one| one.get_name().to_string());
        return names.filter(|name| place == 0 && !path.is_empty() && is_open(name)).collect();
    }
    if !known.commands.contains(&path) {
        return Vec::new();
    }
    let argument = command.get_positionals().nth(place).map(|argument| argument.get_id().as_str());
    let is_given = |option: &String| words.contains(option);
    let options = command.get_arguments().filter_map(|argument| argument.get_long()).chain(["json"]);
    let options = options.map(|name| format!("--{name}")).filter(|option| !is_given(option));
    of_kind((&path, argument), known).into_iter().chain(options).collect()
}

/// The candidates of an argument, by its name in the grammar.
fn of_kind((path, argument): (&str, Option<&str>), known: &Known) -> Vec<String> {
    match argument {
        Some("selector") => selectors(known),
        Some("host") => known.hosts.clone(),
        Some("run") => known.runs.clone(),
        Some("task") => known.tasks.keys().cloned().collect(),
        Some("check") => known.checks.clone(),
        Some("words") if path == "check" => known.checks.clone(),
        Some("words") if ["lock", "freeze", "downtime"].contains(&path) => selectors(known),
        Some("words") if path == "help" => first_words(known),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::command::command_paths;

    fn known() -> Known {
        Known {
            commands: command_paths().into_iter().filter(|path| path != "reload").collect(),
            tasks: [("deploy".to_string(), vec!["version".to_string(), "note".to_string()])].into(),
            groups: vec!["prod".into(), "prod.web".into()],
            hosts: vec!["web1".into()],
            checks: vec!["http/serves".into(), "http/two words".into(), "http/$(touch${IFS}x)".into()],
            runs: vec!["41".into()],
        }
    }

    #[test]
    fn the_next_word_follows_from_the_words_before_it() {
        let options = ["--check", "--force", "--json", "--skip-tags", "--tags", "--wait"];
        let with = |more: &[&'static str]| [&options[..], more].concat();
        let table: [(&str, Vec<&str>); 16] = [
            ("deploy", vec!["all", "prod", "prod.web", "web1"]),
            ("deploy --check", vec!["all", "prod", "prod.web", "web1"]),
            ("deploy prod", with(&["note=", "version="])),
            ("deploy prod version=1.2", with(&["note="])),
            ("plan", vec!["deploy"]),
            ("plan deploy", vec!["--diff", "all", "prod", "prod.web", "web1"]),
            ("balancer", vec!["drain", "enable", "status"]),
            ("balancer status", vec!["--json", "all", "prod", "prod.web", "web1"]),
            ("balancer status prod", vec!["--json"]),
            ("cancel", vec!["--json", "--now", "41"]),
            ("cancel --now", vec!["--json", "41"]),
            ("why", vec!["--json", "web1"]),
            ("why web1", vec!["--json", "http/serves"]),
            ("run prod -- uname", vec![]),
            ("lock prod for 2h because", vec![]),
            ("reload", vec![]),
        ];
        for (line, wanted) in table {
            let before: Vec<String> = line.split(' ').map(String::from).collect();
            assert_eq!(candidates(&before, &known()), wanted, "{line}");
        }
    }

    #[test]
    fn a_line_begins_with_the_commands_and_tasks_that_one_may_use() {
        let first = candidates(&[], &known());
        for word in ["balancer", "deploy", "hosts"] {
            assert_eq!(first.iter().filter(|one| *one == word).count(), 1, "{word}");
        }
        assert!(!first.contains(&"reload".to_string()));
        assert_eq!(candidates(&["nonsense".into()], &known()), [""; 0]);
    }
}
