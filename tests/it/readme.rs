//! What the README and the docs show works as it stands: each command is understood, and the repository's own files
//! are a configuration without a mistake.

use std::path::Path;
use std::process::Command;

use rollcall::domain::ask::command::parse_line;

/// The texts that show commands.
const SHOWN: [&str; 13] = [
    "README.md",
    "docs/connections.md",
    "docs/facts.md",
    "docs/formats.md",
    "docs/inventory.md",
    "docs/logs.md",
    "docs/monitoring.md",
    "docs/notifications.md",
    "docs/report.md",
    "docs/run.md",
    "docs/steps.md",
    "docs/audit.md",
    "docs/turns.md",
];

fn readme() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    SHOWN.map(|file| std::fs::read_to_string(root.join(file)).unwrap()).concat()
}

/// Commands of these texts that begin with `prefix`, without it and without their comments.
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
        // The operator's own shell takes redirections and one pair of quotes away.
        let line = line
            .split([" < ", " > "].into_iter().find(|mark| line.contains(mark)).unwrap_or("\0"))
            .next()
            .unwrap();
        let words = shell_words::split(line).unwrap().join(" ");
        assert!(parse_line(words.as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn the_files_of_the_repository_are_a_configuration_without_a_mistake() {
    assert_eq!(commands("rollcall check-config"), ["/etc/rollcall"; 3]);
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall")).args(["check-config", root]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("configuration OK: ") && said.contains("2 tasks"), "{said}");
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

/// Every test that `docs/reliability.md` names exists.
#[test]
fn every_failure_that_is_said_to_be_held_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let cells: String = rows.filter_map(|row| row.rsplit('|').nth(1)).collect();
    let names: Vec<&str> = cells.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 50, "{names:?}");
    let code = sources(&root.join("src")) + &sources(&root.join("tests/it"));
    for name in names {
        assert!(
            code.contains(&format!("fn {name}(")),
            "docs/reliability.md names the test {name}, which is not there"
        );
    }
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => sources(&path),
            false => std::fs::read_to_string(&path).unwrap_or_default(),
        })
        .collect()
}

#[test]
fn the_steps_that_the_docs_show_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/steps.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    let dir = tempfile::tempdir().unwrap();
    crate::support::write(&dir.path().join("hosts/prod.toml"), "[web]\nhosts = [\"web01\"]\n");
    for (number, block) in blocks.iter().enumerate() {
        crate::support::write(&dir.path().join(format!("tasks/shown{number}.toml")), block);
    }
    let config = rollcall::config::load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.tasks.len(), blocks.len());
}

#[test]
fn the_checks_that_the_docs_about_watching_show_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/monitoring.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| crate::support::write(&dir.path().join(name), text);
    write("hosts/prod.toml", "[web]\nhosts = [\"web01\"]\nchecks = [\"http\"]\n");
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    for block in blocks {
        let name = block.lines().next().unwrap().trim_start_matches("# ").split(':').next().unwrap();
        write(name, block);
    }
    let config = rollcall::config::load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.checks["http"].iter().filter(|check| check.watching.is_some()).count(), 3);
    assert_eq!(
        config.settings.schedule,
        rollcall::config::Schedule::default(),
        "what is shown is the default"
    );
}

#[test]
fn the_checks_that_the_docs_show_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/checks.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "{}", blocks.len());
    let dir = tempfile::tempdir().unwrap();
    let hosts = "[web]\nhosts = [\"web01\"]\nvars = { app_version = \"1\" }\n[lb]\nhosts = [\"lb1\"]\n";
    crate::support::write(&dir.path().join("hosts/prod.toml"), hosts);
    for (number, block) in blocks.iter().enumerate() {
        crate::support::write(&dir.path().join(format!("checks/shown{number}.toml")), block);
    }
    let config = rollcall::config::load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.checks.len(), blocks.len());
}

#[test]
fn the_channels_that_the_docs_show_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/notifications.md")).unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let settings: String = blocks.collect();
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("rollcall.toml", settings.as_str()),
        ("hosts/prod.toml", "[web]\nhosts = [\"web01\"]\n"),
        ("smtp.password", "correct horse"),
        ("chat.url", "https://chat.example.com/hook/KEY"),
        ("events.secret", "a secret of ours"),
    ];
    files.iter().for_each(|(name, text)| crate::support::write(&dir.path().join(name), text));
    let config = rollcall::config::load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let names: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(
        names,
        ["ops", "chat", "pager", "releases", "oncall", "lead", "office", "local", "inside", "events"]
    );
    // Every value of the repository's own rollcall.toml is there, commented out.
    let own = std::fs::read_to_string(root.join("rollcall.toml")).unwrap();
    let shown =
        own.lines().skip_while(|line| *line != "# [[notify]]").take_while(|line| line.starts_with('#'));
    let shown: String = shown.map(|line| line.trim_start_matches("# ").to_string() + "\n").collect();
    let shown = shown.replace("/etc/rollcall/chat.url", "chat.url");
    crate::support::write(&dir.path().join("rollcall.toml"), &shown);
    let config = rollcall::config::load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.channels.len(), 3);
}

/// The demo is the first command of a newcomer, the tests are the second. Cargo builds a dependency once for both only
/// if the development dependencies turn on no further feature of it.
#[test]
fn the_demo_and_the_tests_share_one_build_of_the_dependencies() {
    assert_eq!(commands("cargo run --locked -- "), ["demo"], "in the profile that tests have");
    let features = |edges: &[&str]| {
        let tree = ["tree", "--locked", "--offline", "--prefix=none", "--no-dedupe", "--format={p} {f}"];
        let output = Command::new(env!("CARGO")).args(tree).args(edges).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(String::from).collect::<std::collections::BTreeSet<String>>()
    };
    let (demo, tests) = (features(&["--edges=no-dev"]), features(&[]));
    assert!(demo.len() > 300, "{}", demo.len());
    let twice: Vec<&String> = demo.difference(&tests).collect();
    assert!(twice.is_empty(), "built again for the tests, with other features: {twice:#?}");
}
