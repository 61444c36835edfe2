//! What help is asked for, and the answer to words that are no command of rollcall.

use clap::CommandFactory;

use super::ask::Topic;
use super::grammar::Grammar;
use super::names::{LOCAL, built_in_names};
use crate::domain::base::name::{clipped, nearest};
use crate::domain::base::refusal::Refusal;

/// The words before `--help` or `-h`, if help is asked for. What follows `--` or `because` is text.
pub(super) fn asked_in(words: &[String]) -> Option<Vec<String>> {
    let is_text = |word: &String| word == "--" || word == "because";
    let mut head = words.iter().take_while(|word| !is_text(word));
    let at = head.position(|word| word == "--help" || word == "-h")?;
    Some(words[..at].iter().filter(|word| !word.starts_with('-')).cloned().collect())
}

/// The help for these words: a command with what follows it, or a name. The error says which command there is none of.
pub(super) fn topic(words: &[String]) -> Result<Topic, String> {
    let mut grammar = Grammar::command();
    let Some(first) = words.first() else { return Ok(Topic::All(grammar.render_help().to_string())) };
    let (mut command, mut path) = (&grammar, Vec::new());
    for word in words {
        match command.find_subcommand(word) {
            Some(found) => {
                command = found;
                path.push(word.as_str());
            }
            None if !path.is_empty() && command.has_subcommands() => {
                return Err(no_part(command, &path, word));
            }
            None => break,
        }
    }
    if path.is_empty() {
        return Ok(Topic::Name(first.clone()));
    }
    let name = format!("ssh rollcall {}", path.join(" "));
    Ok(Topic::Command(command.clone().bin_name(name).render_help().to_string()))
}

fn no_part(command: &clap::Command, path: &[&str], word: &str) -> String {
    let (path, word) = (path.join(" "), clipped(word));
    let known = command.get_subcommands().map(clap::Command::get_name);
    let near =
        nearest(&word, known).map_or_else(String::new, |near| format!("; did you mean `{path} {near}`?"));
    format!("no command is called `{path} {word}`{near}; try: help {path}")
}

/// Words that end a session where there is one.
const FAREWELLS: [&str; 5] = ["exit", "quit", "logout", "bye", "q"];

/// Words that people type at a shell.
const OF_SHELLS: [&str; 36] = [
    "ls",
    "ll",
    "dir",
    "cd",
    "pwd",
    "cat",
    "less",
    "tail",
    "head",
    "grep",
    "find",
    "ps",
    "top",
    "htop",
    "df",
    "du",
    "free",
    "uptime",
    "uname",
    "hostname",
    "id",
    "who",
    "w",
    "echo",
    "sh",
    "bash",
    "zsh",
    "sudo",
    "su",
    "systemctl",
    "service",
    "journalctl",
    "docker",
    "vi",
    "vim",
    "rm",
];

/// Why a first word is refused that is neither a command nor one of `tasks`.
pub fn unknown_word<'t>(word: &str, tasks: impl IntoIterator<Item = &'t str>) -> Refusal {
    let word = clipped(word);
    if FAREWELLS.contains(&word.as_str()) {
        return Refusal::not_found(
            "rollcall is no shell, and there is no session to leave: each command is a connection of its own; try: help",
        );
    }
    if OF_SHELLS.contains(&word.as_str()) {
        return Refusal::not_found(format!(
            "rollcall is no shell: it runs tasks, checks and commands on hosts; to run `{word}` on hosts: \
             run SELECTOR -- {word}; for all commands: help"
        ));
    }
    if LOCAL.contains(&word.as_str()) {
        return Refusal::not_found(format!(
            "`{word}` is a command of the program, on the daemon's machine: rollcall {word}; over ssh, try: help"
        ));
    }
    let tasks: Vec<&str> = tasks.into_iter().collect();
    let guess = guess(&word, &tasks).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let known = if tasks.is_empty() { "there are none".into() } else { tasks.join(", ") };
    Refusal::not_found(format!(
        "no task or command is called `{word}`{guess} (tasks: {known}; commands: help)"
    ))
}

/// The known name nearest to the word, without what people put behind a question.
fn guess(word: &str, tasks: &[&str]) -> Option<String> {
    let built_in = built_in_names();
    let known = built_in.iter().map(String::as_str).filter(|name| !LOCAL.contains(name));
    let known: Vec<&str> = known.chain(tasks.iter().copied()).collect();
    let bare = word.trim_start_matches('/').trim_end_matches(['?', '!', '.', ',', ';', ':']).to_lowercase();
    let near = match bare.as_str() {
        "" => Some("help"),
        _ => known.iter().find(|name| **name == bare).copied().or_else(|| nearest(&bare, known)),
    };
    near.filter(|near| *near != word).map(String::from)
}
