//! The names of all commands.

use clap::CommandFactory;

use super::grammar::Grammar;

/// Every command in full, as in `balancer drain`. Tasks are commands, too, and not in it.
pub fn command_paths() -> Vec<String> {
    fn below(command: &clap::Command, before: &str, found: &mut Vec<String>) {
        for one in command.get_subcommands() {
            let path = format!("{before}{}", one.get_name());
            match one.has_subcommands() {
                true => below(one, &format!("{path} "), found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    below(&Grammar::command(), "", &mut found);
    found
}

/// What a command is for, by its first words; `None` for a task.
pub fn about(words: &str) -> Option<String> {
    let (mut command, mut about) = (Grammar::command(), None);
    for word in words.split_whitespace() {
        let Some(next) = command.find_subcommand(word).cloned() else { break };
        about = next.get_about().map(ToString::to_string);
        command = next;
    }
    about
}

/// Commands of the program on the daemon's machine, not of its door, in the order of its help.
pub const LOCAL: [&str; 8] =
    ["serve", "check-config", "schema", "hosts-import", "support", "vacuum", "init", "demo"];

/// The names that no task may have.
pub fn built_in_names() -> Vec<String> {
    let mut names: Vec<String> =
        Grammar::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
    names.extend(LOCAL.map(String::from));
    names
}
