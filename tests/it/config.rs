//! The configuration: the repository's own files, small good ones, every mistake, and nonsense.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rollcall::config::{Config, FilesDir, Settings, from_texts, load};
use rollcall::domain::ask::access::{OperatorRole, Role};
use rollcall::domain::ask::command::Params;
use rollcall::domain::ask::enrolled::LineKey;
use rollcall::domain::base::name::HostName;
use rollcall::domain::check::probe::Probe;
use rollcall::domain::inventory::inventory::{Driver, Host, OnDrainTimeout, Present, Socket};
use rollcall::domain::inventory::rotation::Floor;
use rollcall::domain::plan::plan::{secrets_of, vars_of};
use rollcall::domain::task::task::{BatchSize, Files, MaxFailures, OnFailure, StepBody, Sudo};
use rollcall::domain::value::expansion::readable;
use serde_json::json;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn texts(files: &[(&str, &str)]) -> BTreeMap<String, Arc<str>> {
    files.iter().map(|(path, text)| (path.to_string(), Arc::from(*text))).collect()
}

fn good(files: &[(&str, &str)]) -> Config {
    from_texts(Path::new("/etc/rollcall"), &texts(files)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn host<'c>(config: &'c Config, name: &str) -> &'c Host {
    config.inventory.host(&HostName::from(name)).unwrap_or_else(|| panic!("{name} is not there"))
}

fn members(config: &Config, group: &str) -> String {
    let hosts = config.inventory.groups[group].hosts.iter();
    hosts.map(HostName::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_repositorys_own_files_load() {
    let config = load(&repository()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.settings, Settings::default());
    assert_eq!(config.operators.lines, []);
    assert_eq!(config.inventory.groups["prod.web"].hosts.len(), 20);
    assert_eq!(members(&config, "prod.backend"), "db1.prod.example.com db2.prod.example.com");
    assert_eq!(config.tasks.keys().collect::<Vec<_>>(), ["deploy", "restart"]);
    assert_eq!(
        config.checks.keys().collect::<Vec<_>>(),
        ["http", "mysql", "php", "postgresql", "system", "web"]
    );

    let web = host(&config, "web01.prod.example.com");
    assert_eq!(web.groups, ["prod", "prod.web"]);
    assert_eq!(web.checks, ["system", "http"]);
    assert_eq!(web.balancer.as_deref(), Some("prod.web"));
    assert!(web.tags.contains("canary"));
    assert_eq!(web.endpoint.via.as_ref().map(|via| via.port), Some(2200));
    assert_eq!(host(&config, "bastion.prod.example.com").endpoint.via, None, "not through itself");
    assert_eq!(host(&config, "db1.prod.example.com").endpoint.address, "10.0.0.41");

    let balancer = config.inventory.groups["prod.web"].balancer.as_ref().unwrap();
    let Driver::Nginx(nginx) = &balancer.driver else { panic!("{balancer:?}") };
    assert_eq!(balancer.on.len(), 2);
    assert!(balancer.on.iter().all(|endpoint| endpoint.via.is_some()));
    assert_eq!((&nginx.test, &nginx.reload, &nginx.workers), (&None, &None, &None));
    assert_eq!(balancer.drain_timeout, Duration::from_secs(30));
}

#[test]
fn the_repositorys_tasks_say_what_they_show() {
    let config = load(&repository()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let deploy = &config.tasks["deploy"];
    let rollout = deploy.rollout.as_ref().unwrap();
    assert_eq!(rollout.serial, [BatchSize::Hosts(1), BatchSize::Percent(25.0), BatchSize::Percent(100.0)]);
    assert_eq!((rollout.max_failures, rollout.on_failure), (MaxFailures::Hosts(0), OnFailure::Rollback));
    let fetch = &deploy.steps[1].step;
    assert_eq!((fetch.timeout, fetch.retries), (Duration::from_secs(300), 2));
    assert!(fetch.dir.is_some() && fetch.env["TMPDIR"] == "/var/tmp");
    assert!(matches!(&deploy.steps[0].step.body, StepBody::Upload(upload) if upload.mode == 0o644));
    assert_eq!(deploy.steps[3].step.sudo, Sudo::Root);
    assert!(deploy.steps[3].step.repeatable && !fetch.repeatable);
    assert_eq!(deploy.rollback.len(), 2);
    assert_eq!(config.tasks["restart"].rollout, None);
    assert_eq!(config.tasks["restart"].params["unit"].default.as_deref(), Some("app"));
}

#[test]
fn ansibles_own_example_is_read() {
    let config = good(&[(
        "hosts/site.toml",
        r#"
[all.vars]
has_java = false

[web]
children = ["apache", "nginx"]
[web.vars]
http_port = 8080
myvar = 23
[web.hosts]
host1 = {}
host2 = { ansible_port = 222 }

[apache.hosts]
tomcat1 = {}
tomcat2 = { myvar = 34 }

[nginx.hosts]
"jenkins[01:03]" = {}
[nginx.vars]
has_java = true

[ungrouped.hosts]
host9 = { ansible_host = "127.0.0.1", ansible_port = 44, ansible_user = "root" }
"#,
    )]);
    assert_eq!(members(&config, "site.web"), "host1 host2 tomcat1 tomcat2 jenkins01 jenkins02 jenkins03");
    assert_eq!(members(&config, "site.nginx"), "jenkins01 jenkins02 jenkins03");
    assert_eq!(host(&config, "host2").endpoint.port, 222);
    assert_eq!(host(&config, "host1").vars["has_java"], json!(false));
    assert_eq!(host(&config, "jenkins02").vars["has_java"], json!(true));
    assert_eq!(host(&config, "jenkins02").vars["http_port"], json!(8080));
    assert_eq!(host(&config, "tomcat2").vars["myvar"], json!(34));
    assert_eq!(host(&config, "tomcat1").vars["myvar"], json!(23));
    let host9 = &host(&config, "host9").endpoint;
    assert_eq!((host9.address.as_str(), host9.port, host9.login.as_str()), ("127.0.0.1", 44, "root"));
    assert!(!host(&config, "host9").vars.contains_key("ansible_host"));
}

#[test]
fn what_is_nearer_to_the_host_wins() {
    let config = good(&[(
        "hosts/p.toml",
        r#"
[child]
hosts = "a1"
login = "child"
vars = { three = "child", four = "child", shape = { at = 2026-01-02, n = [1, 2.5] } }
[child.balancer]
driver = "nginx"
on = "a1"
config = "it's here"
server = "{{ host.name }}"
reload = "reload {{ config }}"
[parent]
children = ["child"]
login = "parent"
port = 2
vars = { two = "parent", three = "parent", four = "parent", ansible_user = "unheard" }
[parent.hosts]
a1 = { four = "host", via = "gate" }
[gate]
hosts = "gate"
[all]
port = 1
login = "all"
vars = { one = "all", two = "all", three = "all", four = "all" }
"#,
    )]);
    let a1 = host(&config, "a1");
    let vars: Vec<_> = ["one", "two", "three", "four"].iter().map(|name| a1.vars[*name].clone()).collect();
    assert_eq!(vars, ["all", "parent", "child", "host"]);
    assert_eq!((a1.endpoint.login.as_str(), a1.endpoint.port), ("child", 2));
    assert_eq!(a1.groups, ["p", "p.parent", "p.child"]);
    assert_eq!(a1.vars["shape"], json!({"at": "2026-01-02", "n": [1, 2.5]}));
    let via = a1.endpoint.via.as_ref().unwrap();
    assert_eq!((via.address.as_str(), via.port, via.login.as_str()), ("gate", 1, "all"));
    let balancer = config.inventory.groups["p.child"].balancer.as_ref().unwrap();
    let Driver::Nginx(nginx) = &balancer.driver else { panic!("{balancer:?}") };
    assert_eq!(readable(nginx.reload.as_deref().unwrap()), r"reload 'it'\''s here'");
}

/// The balancers that hosts/prod.toml shows as comments, each in the place of the one that is in force.
#[test]
fn every_balancer_that_the_repository_shows_loads() {
    let text = fs::read_to_string(repository().join("hosts/prod.toml")).unwrap();
    let (before, shown) = text.split_once("[web.balancer]\n").unwrap();
    let (shown, after) = shown.split_once("[lb]\n").unwrap();
    let shown: String = shown.lines().map(|line| line.trim_start_matches("# ").to_string() + "\n").collect();
    let examples: Vec<&str> = shown.split("[web.balancer]\n").skip(1).collect();
    let mut drivers = Vec::new();
    for example in examples {
        let keys = example.lines().filter(|line| line.contains(" = "));
        let keys: String = keys.map(|line| format!("{line}\n")).collect();
        let hosts = format!("{before}[web.balancer]\n{keys}[lb]\n{after}");
        let checks = [("checks/system.toml", CHECK), ("checks/http.toml", CHECK)];
        let config = good(&[("hosts/prod.toml", hosts.as_str()), checks[0], checks[1]]);
        let balancer = config.inventory.groups["prod.web"].balancer.clone().unwrap();
        assert_eq!(balancer.members.len(), 20);
        drivers.push((balancer.driver.clone(), balancer));
    }
    let [(Driver::Haproxy(haproxy), first), (Driver::File(file), second), (Driver::Command(commands), third)] =
        &drivers[..]
    else {
        panic!("{drivers:?}")
    };
    assert_eq!(haproxy.socket, Socket::Unix("/run/haproxy/admin.sock".into()));
    assert_eq!((&haproxy.backends[..], haproxy.sudo), (&["app".to_string()][..], true));
    assert_eq!(
        (first.min_in_service, first.on_drain_timeout),
        (Some(Floor::Percent(75)), OnDrainTimeout::Kill)
    );
    assert_eq!(first.members["web01.prod.example.com"], "web01");
    assert_eq!((file.present, file.settle), (Present::In, Duration::from_secs(6)));
    assert_eq!(second.on.len(), 20, "the hosts themselves are told");
    assert_eq!(second.members["web01.prod.example.com"], "/srv/app/in-rotation");
    assert_eq!(commands.drain, "/usr/local/bin/lb drain {{ server }}");
    assert_eq!((third.on.len(), third.floor()), (2, Floor::Servers(1)));
}

/// A configuration directory on a disk, for what does not stand in its texts.
fn on_disk(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

#[test]
fn vars_come_from_everywhere_and_the_nearest_wins() {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    let encrypt = |text: &str| age::encrypt(&identity.to_public(), text.as_bytes()).unwrap();
    let armored = age::encrypt_and_armor(&identity.to_public(), b"armored token\r\n").unwrap();
    let hosts = r#"
[all]
secrets = "all.age"
[all.vars]
file = { from_file = "secrets/db", secret = true }
plain = { from_file = "secrets/db" }
env = { from_env = "PATH" }
command = { from_command = "printf 'one\n\n'; pwd", secret = true }
age = { from_age = "secrets/token.age" }
value = { value = 8080 }
table = { a = 1 }
two = "plain"
[web.vars]
one = "hides a secret"
two = { value = "hides a plain one", secret = true }
[web.hosts]
web1 = { host_key = { value = "of the host alone", secret = true } }
"#;
    let task = "params.given = { secret = true }\n[vars]\nfile = \"nearer\"\nplain = { value = \"secret here\", secret = true }\n\
                [[steps]]\nname = \"x\"\nrun = \"{{ file }} {{ plain }} {{ given }} {{ one }} {{ host_key }}\"\n";
    let dir = on_disk(&[
        ("rollcall.toml", b"allow_local = true\nage_identity = \"age.key\"\n"),
        ("age.key", identity.to_string().expose_secret().as_bytes()),
        ("all.age", &encrypt("one = \"first of the file\"\nthree = \"third of the file\"\n")),
        ("secrets/db", b"hunter22\n"),
        ("secrets/token.age", armored.as_bytes()),
        ("hosts/p.toml", hosts.as_bytes()),
        ("tasks/login.toml", task.as_bytes()),
    ]);
    let config = load(dir.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let host = host(&config, "web1");
    let secrets: Vec<(&str, &str)> =
        host.secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
    let printed = format!("one\n\n{}", dir.path().canonicalize().unwrap().display());
    assert_eq!(
        secrets,
        [
            ("age", "armored token"),
            ("command", printed.as_str()),
            ("file", "hunter22"),
            ("host_key", "of the host alone"),
            ("three", "third of the file"),
            ("two", "hides a plain one"),
        ]
    );
    let path = std::env::var("PATH").unwrap();
    let plain = json!({ "plain": "hunter22", "env": path, "value": 8080, "table": { "a": 1 }, "one": "hides a secret" });
    assert_eq!(serde_json::to_value(&host.vars).unwrap(), plain);
    let task = &config.tasks["login"];
    let of_step = secrets_of(host, Some(task));
    assert!(!of_step.contains_key("file") && of_step["plain"].expose() == "secret here");
    let vars = vars_of(host, Some(task), &Params::from([("given".into(), "***".into())]));
    assert_eq!(
        (vars.get("file"), vars.get("plain"), vars.get("given")),
        (Some(&json!("nearer")), None, None)
    );
    let shown = format!("{config:?}");
    assert!(!["armored token", "of the host alone", "secret here"].iter().any(|text| shown.contains(text)));
}

const CHECK: &str = "[[check]]\nname = \"x\"\nrun = \"true\"\n";

#[test]
fn the_same_host_in_two_files_is_two_hosts() {
    let web = "[web]\nhosts = [\"web1\", \"only%\"]\ntags = { canary = \"web1\" }\n";
    let config =
        good(&[("hosts/prod.toml", &web.replace('%', "p")), ("hosts/test.toml", &web.replace('%', "t"))]);
    assert_eq!(members(&config, "prod"), "prod.web1 onlyp");
    assert_eq!(members(&config, "test.web"), "test.web1 onlyt");
    let host = host(&config, "test.web1");
    assert_eq!((host.written.as_str(), host.endpoint.address.as_str()), ("web1", "web1"));
    assert_eq!(host.endpoint.name, host.name);
    assert!(host.tags.contains("canary"));
}

#[test]
fn children_nest_and_tags_take_sets() {
    let config = good(&[(
        "hosts/p.toml",
        r#"
[top]
children = ["left", "right"]
tags = { all = ["a[1-2].x.com", "b"] }
[left]
children = ["deep"]
[right]
children = ["deep"]
hosts = "b.x.com"
[deep]
hosts = ["a[1-2].x.com", "a2.x.com"]
"#,
    )]);
    assert_eq!(members(&config, "p.top"), "a1.x.com a2.x.com b.x.com");
    assert_eq!(members(&config, "p.right"), "b.x.com a1.x.com a2.x.com");
    assert_eq!(members(&config, "p"), "b.x.com a1.x.com a2.x.com");
    assert_eq!(host(&config, "a1.x.com").groups, ["p", "p.top", "p.left", "p.right", "p.deep"]);
    assert!(config.inventory.hosts.iter().all(|host| host.tags.contains("all")));
}

#[test]
fn settings_and_checks_are_read_whole() {
    let config = good(&[
        ("hosts/p.toml", "[w]\nhosts = \"w1\"\n"),
        (
            "rollcall.toml",
            "listen = \"[::]:22\"\nstore = \"x.db\"\n[fleet]\nidentity = [\"keys/a\"]\nkeepalive = \"1m30s\"\n",
        ),
        (
            "checks/c.toml",
            "[[check]]\nname = \"n\"\nrun = \"true\"\nexit = 2\nwarning = \"5:\"\ncritical = 9.5\nstdout = { matches = \"{{ v }}(\" }\n",
        ),
    ]);
    assert_eq!(config.settings.listen, ["[::]:22".parse().unwrap()]);
    assert_eq!(config.settings.store, Path::new("/etc/rollcall/x.db"));
    assert_eq!(config.settings.fleet.identity, [Path::new("/etc/rollcall/keys/a")]);
    assert_eq!(config.settings.fleet.keepalive, Duration::from_secs(90));
    let Probe::Run { expect, .. } = &config.checks["c"][0].probe else { panic!("not a command") };
    assert_eq!((expect.exit, expect.matches.as_deref()), (2, Some("{{ v }}(")));
    assert!(expect.limits.warning.as_ref().is_some_and(|range| range.alerts(4.0)));
}

#[test]
fn operators_are_known_by_their_keys() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
    let config = good(&[
        ("hosts/p.toml", "[w]\nhosts = \"w1\"\n"),
        ("operators", &format!("# all\n\n  groups=\"p.w, p\",role=\"admin\"   {key}   Ann  Lee \r\n")),
    ]);
    let [ann] = &config.operators.lines[..] else { panic!("{:?}", config.operators) };
    assert_eq!((ann.name.as_str(), &ann.role), ("Ann Lee", &OperatorRole::Standard(Role::Admin)));
    let LineKey::Key(fingerprint) = &ann.subject else { panic!("{ann:?}") };
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    assert_eq!(ann.groups.as_ref().unwrap().iter().collect::<Vec<_>>(), ["p", "p.w"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let bad = repository().join("tests/config/bad");
    let mut cases: Vec<String> =
        fs::read_dir(&bad).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    cases.sort();
    assert!(cases.len() > 10, "{cases:?}");
    for case in cases {
        let wrong = format!("{}\n", load(&bad.join(&case)).expect_err(&case));
        let path = repository().join(format!("tests/config/snapshots/{case}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &wrong).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            wrong == expected,
            "{case}; if it is right, try: UPDATE=1 tests/run mistake\n{wrong}\nwanted:\n{expected}"
        );
    }
}

#[test]
fn a_missing_directory_is_told() {
    let wrong = load(Path::new("/nonexistent/rollcall")).unwrap_err().to_string();
    assert!(wrong.contains("there is no configuration directory /nonexistent/rollcall"), "{wrong}");
    assert!(wrong.ends_with("1 mistake in 1 file"), "{wrong}");
}

#[test]
fn uploads_cannot_leave_their_directory() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    fs::create_dir_all(files.join("etc")).unwrap();
    fs::write(root.path().join("secret"), "s").unwrap();
    fs::write(files.join("etc/app.conf"), "hello\n").unwrap();
    fs::write(files.join("binary"), [0xff, 0xfe]).unwrap();
    fs::write(files.join("big"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    std::os::unix::fs::symlink("../secret", files.join("out")).unwrap();
    std::os::unix::fs::symlink("etc/app.conf", files.join("in")).unwrap();
    let dir = FilesDir::new(root.path());
    assert_eq!(dir.text("etc/app.conf"), Ok("hello\n".into()));
    assert_eq!(dir.text("in"), Ok("hello\n".into()));
    let sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    assert_eq!(dir.sha256("etc/app.conf"), Ok(sum.into()));
    let table = [
        ("etc/ap.conf", "files/etc/ap.conf: does not exist; did you mean `etc/app.conf`?"),
        ("out", "files/out: is a link that leaves files/"),
        ("../secret", "`../secret` leaves files/: write a path below it, without `..`"),
        ("etc/../binary", "`etc/../binary` leaves files/: write a path below it, without `..`"),
        ("/etc/passwd", "`/etc/passwd` leaves files/: write a path below it, without `..`"),
        ("", "a path below files/ cannot be empty"),
        ("etc", "files/etc: is no regular file"),
        ("binary", "files/binary: is not UTF-8"),
        ("big", "files/big: a template has at most 1048576 bytes"),
    ];
    for (path, wanted) in table {
        assert_eq!(dir.text(path), Err(wanted.into()), "{path}");
    }
}

/// The repository's configuration as texts, and the mistakes of every bad case.
fn fixtures() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join("tests/config/bad")];
    folders.extend(["hosts", "tasks", "checks"].map(|folder| repository().join(folder)));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let names: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
                let top = ["rollcall.toml", "operators"].contains(&&*names[0]);
                let name = if top { names[0].to_string() } else { format!("{}/{}", names[1], names[0]) };
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

/// Cuts a piece out of `text` and puts another one in; both ends move to where characters begin.
fn mutate(text: &str, at: usize, length: usize, insert: &str) -> String {
    let start = text.floor_char_boundary(at % (text.len() + 1));
    let end = text.ceil_char_boundary((start + length).min(text.len()));
    format!("{}{insert}{}", &text[..start], &text[end..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), 0usize..40, "[-\\[\\]{}=\"'.#,a-z0-9 \n\tü%]{0,6}"), 1..4),
    ) {
        let fixtures = fixtures();
        let (name, text) = &fixtures[pick.index(fixtures.len())];
        let text = changes.iter().fold(text.clone(), |text, (at, length, insert)| mutate(&text, *at, *length, insert));
        let mut all = texts(&[("hosts/spare.toml", "[web]\nhosts = \"web1\"\n")]);
        all.insert(name.clone(), text.into());
        // Showing the mistakes is part of what cannot panic.
        let _ = from_texts(Path::new("/etc/rollcall"), &all).map_err(|wrong| wrong.to_string());
    }
}
