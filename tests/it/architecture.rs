//! House rules as tests: arrows point down, files and functions stay small, every module says what it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each module's layer: it may name modules of lower layers, and those listed beside it.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("domain", 0, &[]),
    ("beneath", 0, &[]),
    ("config", 1, &[]),
    ("engine", 1, &[]),
    ("logging", 1, &[]),
    ("present", 1, &[]),
    ("fleet", 2, &[]),
    ("balancer", 2, &[]),
    ("notify", 2, &[]),
    ("probe", 2, &[]),
    ("store", 2, &[]),
    ("vault", 2, &[]),
    ("door", 3, &[]),
    // A fleet inside the process: the demo's hosts and the tests' fast ones.
    ("embedded", 3, &[]),
    ("daemon", 4, &[]),
    ("demo", 5, &[]),
];

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

fn layer(module: &str) -> Option<(u8, &'static [&'static str])> {
    LAYERS.iter().find(|(name, ..)| *name == module).map(|(_, layer, also)| (*layer, *also))
}

fn arrow_fault(module: &str, target: &str) -> Option<String> {
    let (from, also) = layer(module)?;
    let Some((to, _)) = layer(target) else {
        return Some(format!("{module} names {target}, which has no layer"));
    };
    if target == module || to < from || also.contains(&target) {
        return None;
    }
    Some(match to == from {
        true => {
            format!("{module} imports {target}: modules of one layer do not know each other; pass a value")
        }
        false => {
            format!("{module} imports {target}: arrows point down only; move the type down, or pass a value")
        }
    })
}

#[test]
fn arrows_point_down() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        assert!(
            layer(&module).is_some(),
            "{module} has no layer; give it one in LAYERS and in ARCHITECTURE.md"
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
    assert!(arrow_fault("present", "engine").unwrap().contains("do not know each other"));
    assert!(arrow_fault("fleet", "store").is_some());
    assert_eq!(arrow_fault("store", "domain"), None);
    assert_eq!(named("use crate::engine::port; crate::domain::x"), ["engine", "domain"]);
}

/// The rooms of the domain, lowest first, as `src/domain/mod.rs` lists them.
fn rooms() -> Vec<String> {
    let map =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/mod.rs")).unwrap();
    let list = map.split("\n//!\n").find(|part| part.starts_with("//! base, ")).expect("the list of rooms");
    let rooms: Vec<String> = list.replace("//!", "").split(',').map(|room| room.trim().into()).collect();
    assert_eq!(rooms.len(), map.matches("pub mod ").count(), "every room of the domain has its floor");
    rooms
}

#[test]
fn the_domain_is_pure_and_its_rooms_stand_on_floors() {
    let rooms = rooms();
    let floor = |name: &str| rooms.iter().position(|room| room == name);
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| module_of(path) == "domain") {
        let text = without_tests(&text);
        let known = IMPURE.iter().filter(|word| text.contains(&format!("{word}::")));
        faults.extend(known.map(|word| format!("{}: the domain does not know {word}", path.display())));
        let Some(own) = path
            .parent()
            .into_iter()
            .flat_map(Path::components)
            .find_map(|part| floor(&part.as_os_str().to_string_lossy()))
        else {
            continue;
        };
        for (at, word) in text.match_indices("crate::domain::") {
            let target: String =
                text[at + word.len()..].chars().take_while(|c| c.is_ascii_lowercase()).collect();
            let above = floor(&target).expect("a room of the domain") > own;
            faults.extend(
                above.then(|| format!("{}: imports the room {target}, which is above it", path.display())),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let tests = tests();
    let words = page.split('`').skip(1).step_by(2);
    let names: Vec<&str> = words.filter(|word| word.matches('_').count() >= UNDERSCORES_OF_A_TEST).collect();
    assert!(names.len() > 15, "the promises were not found");
    for name in names {
        assert!(
            tests.contains(&format!("fn {name}(")),
            "docs/security.md names the test `{name}`, which is not there"
        );
    }
}
