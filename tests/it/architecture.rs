//! House rules as tests: arrows point down, files and functions stay small, every module says what it is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

mod imports;
mod kinds;
mod words;

/// Adapters know the ports, and nothing of the modules that call them.
const ADAPTERS: &[&str] = &["fleet", "balancer", "notify", "net", "store", "vault"];
const CALLERS: &[&str] = &["engine", "steps", "probes", "watch", "notices"];

/// Modules that reach the world through ports alone do not know the crates of adapters.
const OVER_PORTS: &[&str] = &["engine", "steps", "probes", "watch", "notices", "present"];
const CRATES_OF_ADAPTERS: &[&str] = &["russh", "rusqlite", "hyper", "nix", "lettre"];

/// What the pure layer must not touch.
const IMPURE: &[&str] =
    &["tokio", "russh", "rusqlite", "std::fs", "std::net", "std::process", "std::env", "tracing", "hyper"];

const FILE_LIMIT_LINES: usize = 500;
const FUNCTION_LIMIT_LINES: usize = 70;

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !is_tests(&path) {
                found.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// Files that hold nothing but the tests of a module.
fn is_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"))
}

/// `engine/drive.rs` -> `engine`; files at the top are modules of their own.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// The part of a file that is not tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or(text)
}

/// Modules of ours that a text names: `crate::x`.
fn named(text: &str) -> Vec<String> {
    let after = text.match_indices("crate::").map(|(at, word)| &text[at + word.len()..]);
    after.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
}

/// The floor of each module, as the picture in ARCHITECTURE.md has it: `     6  engine        runs: ...`.
static FLOORS: LazyLock<BTreeMap<String, u8>> = LazyLock::new(|| {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let line = |line: &str| {
        let mut words = line.strip_prefix("    ")?.split_whitespace();
        let floor = words.next()?.parse().ok()?;
        Some((words.next()?.to_string(), floor))
    };
    map.lines().filter_map(line).collect()
});

fn layer(module: &str) -> Option<u8> {
    FLOORS.get(module).copied()
}

fn arrow_fault(module: &str, target: &str) -> Option<String> {
    let from = layer(module)?;
    let Some(to) = layer(target) else {
        return Some(format!("{module} names {target}, which has no floor in ARCHITECTURE.md"));
    };
    if target == module {
        return None;
    }
    if ADAPTERS.contains(&module) && CALLERS.contains(&target) {
        return Some(format!("{module} imports {target}: adapters know the ports alone; pass a value"));
    }
    match to.cmp(&from) {
        Ordering::Less => None,
        Ordering::Equal => Some(format!(
            "{module} imports {target}: modules of one layer do not know each other; pass a value"
        )),
        Ordering::Greater => Some(format!(
            "{module} imports {target}: arrows point down only; move the type down, or pass a value"
        )),
    }
}

#[test]
fn arrows_point_down() {
    let mut faults = Vec::new();
    let modules: BTreeSet<String> = sources().keys().map(|path| module_of(path)).collect();
    let gone: Vec<&String> = FLOORS.keys().filter(|name| !modules.contains(*name)).collect();
    assert!(gone.is_empty(), "the picture in ARCHITECTURE.md has modules that are not there: {gone:?}");
    for (path, text) in sources() {
        let module = module_of(&path);
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        assert!(
            layer(&module).is_some(),
            "{module} has no floor; give it one in the picture of ARCHITECTURE.md"
        );
        let targets = named(without_tests(&text));
        faults.extend(
            targets
                .iter()
                .filter_map(|target| arrow_fault(&module, target))
                .map(|why| format!("{}: {why}", path.display())),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_rule_for_arrows_has_teeth() {
    assert!(arrow_fault("domain", "engine").unwrap().contains("arrows point down only"));
    assert!(arrow_fault("watch", "notices").unwrap().contains("do not know each other"));
    assert!(arrow_fault("fleet", "store").is_some());
    assert_eq!(arrow_fault("store", "domain"), None);
    assert!(arrow_fault("store", "engine").unwrap().contains("the ports alone"));
    assert_eq!(named("use crate::engine::port; crate::domain::x"), ["engine", "domain"]);
}

/// The rooms of a folder, lowest first, as the line of its `mod.rs` that begins with `first` lists them.
fn rooms(folder: &str, first: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = std::fs::read_to_string(root.join(folder).join("mod.rs")).unwrap();
    let list = map
        .split("\n//!\n")
        .find(|part| part.starts_with(&format!("//! {first}, ")))
        .expect("the list of rooms");
    let rooms: Vec<String> = list.replace("//!", "").split(',').map(|room| room.trim().into()).collect();
    let is_room = |entry: &std::fs::DirEntry| entry.path().join("mod.rs").is_file();
    let folders =
        std::fs::read_dir(root.join(folder)).unwrap().filter(|entry| is_room(entry.as_ref().unwrap()));
    assert_eq!(folders.count(), rooms.len(), "every room of {folder} has its floor in {folder}/mod.rs");
    rooms
}

/// Imports of rooms that are above the room of the file.
fn upward(folder: &str, rooms: &[String], (path, text): (&Path, &str)) -> Vec<String> {
    let floor = |name: &str| rooms.iter().position(|room| room == name);
    let parts = path.iter().map(|part| part.to_string_lossy());
    let Some(own) = parts.skip_while(|part| part != folder).nth(1).and_then(|room| floor(&room)) else {
        return Vec::new();
    };
    let start = format!("crate::{folder}::");
    let targets = text.match_indices(&start).map(|(at, word)| {
        text[at + word.len()..].chars().take_while(char::is_ascii_lowercase).collect::<String>()
    });
    let above = targets.filter(|target| floor(target).is_some_and(|target| target > own));
    above.map(|target| format!("{}: imports the room {target}, which is above it", path.display())).collect()
}

#[test]
fn rooms_import_only_rooms_below_them() {
    let mut faults = Vec::new();
    for (folder, first) in [("domain", "base"), ("config", "text")] {
        let rooms = rooms(folder, first);
        for (path, text) in sources().iter().filter(|(path, _)| module_of(path) == folder) {
            faults.extend(upward(folder, &rooms, (path, without_tests(text))));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let rooms = ["base", "run"].map(String::from);
    let upward =
        upward("domain", &rooms, (Path::new("src/domain/base/x.rs"), "use crate::domain::run::run::Run;"));
    assert!(upward[0].contains("imports the room run"), "{upward:?}");
}

#[test]
fn the_domain_is_pure() {
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| module_of(path) == "domain") {
        let known = IMPURE.iter().filter(|word| without_tests(&text).contains(&format!("{word}::")));
        faults.extend(known.map(|word| format!("{}: the domain does not know {word}", path.display())));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn who_acts_through_ports_knows_no_crate_of_an_adapter() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if OVER_PORTS.contains(&module_of(&path).as_str()) {
            let known = CRATES_OF_ADAPTERS.iter().filter(|name| text.contains(&format!("{name}::")));
            faults.extend(
                known.map(|name| format!("{}: knows {name}; that is for an adapter", path.display())),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The sources by their path below `src`.
fn sources_below() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = |path: PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    sources().into_iter().map(|(path, text)| (below(path), text)).collect()
}

#[test]
fn messages_docs_and_comments_are_in_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: BTreeMap<String, String> = sources_below();
    texts.values_mut().for_each(|text| *text = without_tests(text).to_string());
    // The account of Unix, in a script.
    texts.remove("fleet/wire.rs");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name));
    for page in docs.chain(top).filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        texts.insert(page.display().to_string(), std::fs::read_to_string(&page).unwrap());
    }
    let found = words::riddles(&texts);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_kind_is_named_where_something_is_decided_by_kinds() {
    let found = kinds::catch_alls(&sources_below());
    assert!(found.is_empty(), "name the other kinds instead of `_`:\n{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = imports::circles(&imports::graph(&sources_below()));
    let said = circles.iter().map(|circle| circle.iter().cloned().collect::<Vec<_>>().join(", "));
    let said: Vec<String> = said.collect();
    assert!(
        said.is_empty(),
        "these files import each other; put what they share into a file of its own:\n{}",
        said.join("\n")
    );
}

#[test]
fn files_and_functions_stay_small() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let text = without_tests(&text);
        let lines = text.lines().count();
        if lines > FILE_LIMIT_LINES {
            faults.push(format!("{}: {lines} lines, at most {FILE_LIMIT_LINES}", path.display()));
        }
        for (name, length) in functions(text) {
            if length > FUNCTION_LIMIT_LINES {
                faults.push(format!(
                    "{}: {name} has {length} lines, at most {FUNCTION_LIMIT_LINES}",
                    path.display()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names and lengths of functions, by indentation: rustfmt puts the closing brace under the opening line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some((name, begun, _)) = open.pop_if(|(_, _, at)| *at == indent && line.trim() == "}") {
            found.push((name, number - begun + 1));
        }
        let code = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let code = code.trim_start_matches("const ").trim_start_matches("async ");
        if let Some(rest) = code.strip_prefix("fn ") {
            let one_line = line.ends_with('}') || line.ends_with(';');
            if !one_line {
                open.push((rest.split(['(', '<']).next().unwrap_or_default().to_string(), number, indent));
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_and_nothing_is_left_undone() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{}: begins without a //! that says what it is", path.display());
        for word in ["todo!(", "unimplemented!(", "dbg!("] {
            assert!(!without_tests(&text).contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn nothing_but_tests_may_panic_by_hand() {
    for (path, text) in sources() {
        for word in [".unwrap()", ".expect(\"", "panic!(", "unreachable!("] {
            assert!(!without_tests(&text).contains(word), "{}: {word}", path.display());
        }
    }
}

/// The text of all tests.
fn tests() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "rs") => {
                    tests.push_str(&std::fs::read_to_string(&path).unwrap());
                }
                false => {}
            }
        }
    }
    tests
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let tests = tests();
    let names: Vec<&str> = map.split("Held by `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    assert!(names.len() > 15, "the invariants were not found");
    for name in names {
        assert!(
            tests.contains(&format!("fn {name}(")),
            "ARCHITECTURE.md names the test `{name}`, which is not there"
        );
    }
}

/// A word of code with this many underscores is the name of a test there: settings have fewer.
const UNDERSCORES_OF_A_TEST: usize = 3;

#[test]
fn every_promise_of_the_security_page_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = |name: &str| std::fs::read_to_string(root.join("docs").join(name)).unwrap();
    let pages = page("security.md") + &page("access.md");
    let tests = tests();
    let words = pages.split('`').skip(1).step_by(2);
    let names: Vec<&str> = words.filter(|word| word.matches('_').count() >= UNDERSCORES_OF_A_TEST).collect();
    assert!(names.len() > 15, "the promises were not found");
    for name in names {
        assert!(
            tests.contains(&format!("fn {name}(")),
            "docs/security.md or docs/access.md names the test `{name}`, which is not there"
        );
    }
}

/// The walks of CONTRIBUTING.md, with what every file of the walk's example names.
const WALKS: [(&str, &str); 4] = [
    ("### Add a step kind", "StepBody::Delete"),
    ("### Add a probe", "Probe::Disk"),
    ("### Add a balancer driver", "Driver::File"),
    ("### Add a command", "Command::Settle"),
];

#[test]
fn the_walks_name_every_file_that_a_new_kind_touches() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let is_path = |word: &&str| {
        ["src/", "tests/", "docs/"].iter().any(|folder| word.starts_with(folder)) && !word.contains(' ')
    };
    let paths = page.split('`').skip(1).step_by(2).filter(is_path);
    let gone: Vec<&str> = paths.filter(|path| !root.join(path).exists()).collect();
    assert!(gone.is_empty(), "CONTRIBUTING.md names files that are not there: {gone:?}");

    let mut missing = Vec::new();
    for (title, example) in WALKS {
        let walk = page.split(title).nth(1).expect(title).split("\n### ").next().unwrap();
        for (path, text) in sources() {
            let file = path.strip_prefix(root).unwrap().display().to_string();
            let ends = |(at, word): (usize, &str)| {
                !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            };
            let names = without_tests(&text).match_indices(example).any(ends);
            if names && !walk.contains(&format!("`{file}`")) {
                missing.push(format!("{title}: {file} names {example}"));
            }
        }
    }
    assert!(missing.is_empty(), "CONTRIBUTING.md lacks files:\n{}", missing.join("\n"));
}
