//! The schemas for editors and the reference: they are what is committed, and name the keys that are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollcall::config::{Config, Diagnostics, from_texts, shape};
use serde_json::Value;

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn schema(file: &str) -> Value {
    shape::schema(file).unwrap()
}

/// What is committed has to be what the types say; with `UPDATE=1` it is written.
fn is_current(name: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(docs("schema")).unwrap();
        std::fs::write(docs(name), text).unwrap();
    }
    let committed = std::fs::read_to_string(docs(name)).unwrap_or_default();
    assert!(committed == text, "docs/{name} is old; try: UPDATE=1 tests/run schema");
}

#[test]
fn the_committed_schemas_and_the_reference_are_current() {
    for file in shape::FILES {
        is_current(
            &format!("schema/{file}.json"),
            &(serde_json::to_string_pretty(&schema(file)).unwrap() + "\n"),
        );
    }
    is_current("reference.md", &shape::markdown());
    assert!(shape::schema("nothing").is_none());
}

#[test]
fn every_key_is_explained() {
    for file in shape::FILES {
        let schema = schema(file);
        let definitions = schema["definitions"].as_object().into_iter().flatten().map(|(_, value)| value);
        for table in definitions.chain([&schema]) {
            assert!(table["description"].is_string() || table["properties"].is_null(), "{file}: {table}");
        }
    }
}

/// The keys that a reader knows: it lists them when it finds another one.
fn read_keys(path: &str, text: &str) -> BTreeSet<String> {
    let hosts = ("hosts/p.toml".to_string(), Arc::from("[web]\nhosts = \"w1\"\n"));
    let texts = BTreeMap::from([hosts, (path.to_string(), Arc::from(text))]);
    let wrong = from_texts(Path::new("/etc/rollcall"), &texts).expect_err("a key that is not known");
    let found = wrong.iter().find(|one| one.message.contains("`zzz`"));
    let found = found.unwrap_or_else(|| panic!("nobody minds in {text}: {wrong}"));
    let hint = found.hint.clone().expect("the known keys");
    let keys = hint.strip_prefix("known keys: ").expect("a list").split(", ");
    keys.map(String::from).collect()
}

fn shown_keys(file: &str, definition: Option<&str>) -> BTreeSet<String> {
    let schema = schema(file);
    let table = definition.map_or(&schema, |name| &schema["definitions"][name]);
    table["properties"]
        .as_object()
        .unwrap_or_else(|| panic!("{file} {definition:?}"))
        .keys()
        .cloned()
        .collect()
}

/// A file that has each table, with the key `zzz` in it: path, text, file and definition of the schema.
type Example = (&'static str, String, &'static str, Option<&'static str>);

fn examples() -> Vec<Example> {
    let step = |kind: &str| format!("[[steps]]\nname = \"s\"\n{kind}");
    let kind = |kind: &str, inner: &str, shape: &'static str| {
        ("tasks/t.toml", step(&format!("{kind} = {{ {inner}zzz = 1 }}\n")), "tasks", Some(shape))
    };
    let kinds = [
        kind("script", "from = \"a\", ", "Script"),
        kind("upload", "from = \"a\", to = \"/b\", ", "Upload"),
        kind("download", "from = \"/a\", to = \"b\", ", "Download"),
        kind("line", "path = \"/a\", line = \"b\", ", "Line"),
        kind("block", "path = \"/a\", text = \"b\", ", "Block"),
        kind("link", "from = \"/a\", at = \"/b\", ", "Link"),
        kind("directory", "path = \"/a\", ", "Directory"),
        kind("package", "name = \"a\", ", "Package"),
        kind("service", "name = \"a\", enabled = true, ", "Service"),
        kind("archive", "from = \"a\", to = \"/b\", ", "Archive"),
        kind("release", "root = \"/a\", name = \"b\", from = \"c\", ", "Release"),
        kind("wait_for", "path = \"/a\", ", "WaitFor"),
        kind("reboot", "", "RebootHow"),
        kind("run = \"true\"\nsudo", "password = \"p\", ", "Sudo"),
    ];
    let probe = |kind: &str, inner: &str, beside: &str, shape: &'static str| {
        let text = format!("[[check]]\nname = \"c\"\n{beside}{kind} = {{ {inner}zzz = 1 }}\n");
        ("checks/c.toml", text, "checks", Some(shape))
    };
    let limit = "critical = \"90\"\n";
    let tables = [
        ("tasks/t.toml", step("run = \"true\"\nzzz = 1\n"), "tasks", Some("Step")),
        ("tasks/t.toml", format!("zzz = 1\n{}", step("run = \"true\"\n")), "tasks", None),
        (
            "tasks/t.toml",
            format!("params.x = {{ zzz = 1 }}\n{}", step("run = \"true\"\n")),
            "tasks",
            Some("Param"),
        ),
        (
            "tasks/t.toml",
            format!("[rollout]\nzzz = 1\n{}", step("run = \"true\"\n")),
            "tasks",
            Some("Rollout"),
        ),
        (
            "tasks/t.toml",
            format!("[rollout.pause_after]\nzzz = 1\nfor = \"1s\"\n{}", step("run = \"true\"\n")),
            "tasks",
            Some("PauseAfter"),
        ),
        ("tasks/t.toml", format!("[hooks]\nzzz = 1\n{}", step("run = \"true\"\n")), "tasks", Some("Hooks")),
        (
            "tasks/t.toml",
            format!("[vars.x]\nvalue = 1\nzzz = 1\n{}", step("run = \"true\"\n")),
            "tasks",
            Some("Var"),
        ),
        ("rollcall.toml", "zzz = 1\n".into(), "rollcall", None),
        ("rollcall.toml", "[fleet]\nzzz = 1\n".into(), "rollcall", Some("Fleet")),
        ("rollcall.toml", "[schedule]\nzzz = 1\n".into(), "rollcall", Some("Schedule")),
        ("rollcall.toml", "[schedule]\nkeep = { zzz = 1 }\n".into(), "rollcall", Some("Keep")),
        ("rollcall.toml", "[schedule]\nflapping = { zzz = 1 }\n".into(), "rollcall", Some("Flapping")),
        ("checks/c.toml", "zzz = 1\n[[check]]\nname = \"c\"\nrun = \"true\"\n".into(), "checks", None),
        ("hosts/h.toml", "[all]\nzzz = 1\n[g]\nhosts = \"a\"\n".into(), "hosts", Some("All")),
        ("hosts/h.toml", "[g]\nhosts = \"a\"\nzzz = 1\n".into(), "hosts", Some("Group")),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\nrun = \"true\"\nzzz = 1\n".into(),
            "checks",
            Some("Check"),
        ),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\nhttp = { port = 1, zzz = 1 }\n".into(),
            "checks",
            Some("Http"),
        ),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\ntcp = { port = 1, zzz = 1 }\n".into(),
            "checks",
            Some("Tcp"),
        ),
        probe("tls", "port = 1, ", "", "Tls"),
        probe("dns", "name = \"a\", ", "", "Dns"),
        probe("port", "number = 1, ", "", "Listening"),
        probe("process", "name = \"a\", ", "", "Process"),
        probe("service", "name = \"a\", ", "", "Service"),
        probe("file", "path = \"/a\", ", "", "File"),
        probe("log", "path = \"/a\", fresh = \"1s\", ", "", "Log"),
        probe("package", "name = \"a\", ", "", "Package"),
        probe("disk", "path = \"/a\", ", limit, "Disk"),
        probe("load", "", limit, "Load"),
        probe("memory", "", limit, "Memory"),
        probe("plugin", "upload = \"a\", ", "", "SentPlugin"),
        probe("leader", "host = \"a\", ", "metric = \"true\"\n", "Leader"),
        probe("sum", "critical = \"1\", ", "metric = \"true\"\n", "Limits"),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\nhttp = { port = 1, cache = { zzz = 1 } }\n".into(),
            "checks",
            Some("Cache"),
        ),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\nrun = \"true\"\nretry = { zzz = 1 }\n".into(),
            "checks",
            Some("Retry"),
        ),
        (
            "checks/c.toml",
            "[[check]]\nname = \"c\"\nrun = \"true\"\nstdout = { zzz = 1 }\n".into(),
            "checks",
            Some("Stdout"),
        ),
    ];
    let channels = [
        ("zzz = 1\ncommand = \"true\"\n", "Notify"),
        ("mail = { from = \"a@b\", to = \"c@d\", zzz = 1 }\n", "NotifyMail"),
        ("webhook = { url = \"http://a/\", zzz = 1 }\n", "NotifyWebhook"),
        ("command = \"true\"\nonly = { zzz = 1 }\n", "NotifyOnly"),
    ];
    let channels = channels.map(|(text, shape)| {
        ("rollcall.toml", format!("[[notify]]\nname = \"n\"\n{text}"), "rollcall", Some(shape))
    });
    tables.into_iter().chain(channels).chain(kinds).collect()
}

/// Keys that are right only beside others.
const NEEDS: [(&str, &str, &str); 3] = [
    ("NotifyMail", "tls", "smtp = \"m\", zzz = 1"),
    ("Check", "max_attempts", "every = \"1h\"\nzzz = 1"),
    ("Check", "across", "same_across = \"group\"\nzzz = 1"),
];

#[test]
fn a_key_at_its_documented_default_changes_nothing() {
    let mut number = 0;
    for (path, text, file, definition) in examples() {
        for (key, default) in defaults(file, definition) {
            let needs = NEEDS.iter().find(|(table, of, _)| definition == Some(table) && *of == key);
            let text = text.replace("zzz = 1", needs.map_or("zzz = 1", |(_, _, beside)| beside));
            let (with, without) = with_and_without(path, &text, &format!("{key} = {default}"));
            let with = with.unwrap_or_else(|wrong| panic!("{key} in {text}: {wrong}"));
            assert_eq!(Some(with), without, "{text}");
            number += 1;
        }
    }
    assert!(number > 80, "{number} defaults");
}

/// Which keys a balancer has depends on its driver.
#[test]
fn the_defaults_of_balancers_change_nothing() {
    let drivers = [
        "driver = \"nginx\"\non = \"lb\"\nserver = \"{{ host.short }}\"\nconfig = \"/n\"\n",
        "driver = \"haproxy\"\non = \"lb\"\nsocket = \"/s\"\nbackend = \"b\"\n",
        "driver = \"file\"\npath = \"/f\"\nsettle = \"1s\"\n",
        "driver = \"command\"\non = \"lb\"\ndrain = \"a\"\nenable = \"b\"\nstatus = \"c\"\n",
    ];
    for (key, default) in defaults("hosts", Some("Balancer")) {
        let fits = drivers.iter().filter(|driver| {
            let driver = driver.lines().filter(|line| !line.starts_with(&format!("{key} ")));
            let driver: Vec<&str> = driver.collect();
            let groups = "[lb]\nhosts = \"lb1\"\n[g]\nhosts = \"a\"\n[g.balancer]\n";
            let text = format!("{groups}{}\nzzz = 1\n", driver.join("\n"));
            let (with, without) = with_and_without("hosts/h.toml", &text, &format!("{key} = {default}"));
            with.is_ok_and(|with| Some(with) == without)
        });
        assert!(fits.count() > 0, "{key} = {default}");
    }
}

/// The configuration with a line instead of `zzz = 1`, and without either, but for the texts, which differ.
fn with_and_without(path: &str, text: &str, line: &str) -> (Result<Config, Diagnostics>, Option<Config>) {
    let read = |text: &str| {
        let hosts = ("hosts/p.toml".to_string(), Arc::from("[web]\nhosts = \"w1\"\n"));
        let texts = BTreeMap::from([hosts, (path.to_string(), Arc::from(text))]);
        from_texts(Path::new("/etc/rollcall"), &texts)
    };
    let without = text.replace(", zzz = 1", "").replace("zzz = 1\n", "").replace("zzz = 1", "");
    let without = read(&without).ok();
    let texts = without.as_ref().map(|without| without.texts.clone()).unwrap_or_default();
    (read(&text.replace("zzz = 1", line)).map(|with| Config { texts, ..with }), without)
}

/// The keys with a default, as JSON, which TOML reads alike.
fn defaults(file: &str, definition: Option<&str>) -> Vec<(String, Value)> {
    let schema = schema(file);
    let table = definition.map_or(&schema, |name| &schema["definitions"][name]);
    let keys = table["properties"].as_object().into_iter().flatten();
    keys.filter_map(|(key, value)| Some((key.clone(), value.get("default")?.clone()))).collect()
}

#[test]
fn the_schemas_name_the_keys_that_are_read() {
    for (path, text, file, definition) in examples() {
        assert_eq!(read_keys(path, &text), shown_keys(file, definition), "{text}");
    }
    // Which keys a balancer has depends on its driver: together they are those of the schema.
    let drivers = ["nginx", "haproxy", "file", "command"];
    let of_drivers = drivers.iter().flat_map(|driver| {
        let balancer = format!("[g.balancer]\ndriver = \"{driver}\"\nzzz = 1\n");
        read_keys("hosts/h.toml", &format!("[g]\nhosts = \"a\"\n{balancer}"))
    });
    assert_eq!(of_drivers.collect::<BTreeSet<_>>(), shown_keys("hosts", Some("Balancer")));
}

/// What the daemon takes, an editor must not complain about.
#[test]
fn the_repositorys_own_files_fit_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![("rollcall", root.join("rollcall.toml"))];
    for kind in ["hosts", "tasks", "checks"] {
        let entries = std::fs::read_dir(root.join(kind)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(
            entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).map(|path| (kind, path)),
        );
    }
    assert!(files.len() > 5);
    for (kind, path) in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let value: Value = toml::from_str::<toml::Value>(&text).unwrap().try_into().unwrap();
        let wrong = fault(kind, &value);
        assert_eq!(wrong, None, "{}", path.display());
    }
    let wrong: Value = serde_json::json!({ "steps": [{ "name": "s", "run": "true", "timout": "1s" }] });
    assert!(fault("tasks", &wrong).is_some_and(|fault| fault.contains("timout")), "the schema has teeth");
}

/// What a validator of JSON Schema finds in the value.
fn fault(kind: &str, value: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("schema.json", schema(kind)).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    schemas.validate(value, schema).err().map(|error| format!("{error:#}"))
}
