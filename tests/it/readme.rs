//! What the README shows works as it stands: each command is understood, and the repository's own files
//! are a configuration without a mistake.

use std::path::Path;
use std::process::Command;

use rollcall::domain::command::parse_line;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// Commands of the README that begin with `prefix`, without it and without their comments.
fn commands(prefix: &str) -> Vec<String> {
    let text = readme();
    let shown =
        text.lines().filter_map(|line| line.strip_prefix("    ")?.strip_prefix(prefix).map(String::from));
    shown.map(|line| line.split("  #").next().unwrap_or_default().trim().to_string()).collect()
}

#[test]
fn every_command_for_the_daemon_is_understood() {
    let shown = commands("ssh rollcall ");
    assert!(shown.len() >= 6, "{shown:?}");
    for line in shown {
        // The operator's own shell takes one pair of quotes away.
        let words = shell_words::split(&line).unwrap().join(" ");
        assert!(parse_line(words.as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn the_files_of_the_repository_are_a_configuration_without_a_mistake() {
    assert_eq!(commands("rollcall check-config"), ["/etc/rollcall"]);
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall")).args(["check-config", root]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("configuration in force: ") && said.contains("2 tasks"), "{said}");
    let nowhere =
        Command::new(env!("CARGO_BIN_EXE_rollcall")).args(["check-config", "/nonexistent"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn commands_without_a_daemon_say_how_they_are_given() {
    let rollcall =
        |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_rollcall")).args(words).output().unwrap();
    let bare = rollcall(&["deploy", "prod"]);
    assert_eq!(bare.status.code(), Some(64));
    let wanted = "rollcall: commands are given over ssh (ssh rollcall deploy prod); \
                  without a daemon: rollcall --local deploy prod\n";
    assert_eq!(String::from_utf8_lossy(&bare.stderr), wanted);
    let unknown = rollcall(&["--local", "show", "x"]);
    assert_eq!(unknown.status.code(), Some(64));
    let broken = rollcall(&["--config", "/nonexistent", "--local", "runs"]);
    assert_eq!(broken.status.code(), Some(1));
}
