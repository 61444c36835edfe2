//! Groups that scripts say: what they may say, what becomes of scripts that fail, hang or talk nonsense, and that
//! what they said last outlives them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use rollcall::config::{Config, load, load_kept, refresh};
use rollcall::domain::base::name::HostName;
use rollcall::domain::inventory::inventory::{Driver, Host};
use rollcall::domain::inventory::rotation::Floor;
use serde_json::json;

use crate::support::site::Site;
use crate::support::{eventually, read, write};

/// Answers with a file, and does what other files tell it. The first of its arguments has to be right.
const SCRIPT: &str = r#"#!/bin/sh
[ "$*" = --list ] || exit 9
echo asked >>asked
[ -z "$NOBODYS_BUSINESS" ] || exit 8
[ ! -e hang ] || { echo $$ >hanging; exec sleep 600; }
[ ! -e fail ] || { echo "no network" >&2; exit 1; }
cat listing.json
"#;

fn program(path: &Path, text: &str, mode: u32) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A configuration of one script that says `listing`.
fn scene(listing: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    program(&root.path().join("hosts/cloud.sh"), SCRIPT, 0o755);
    write(&root.path().join("listing.json"), listing);
    write(
        &root.path().join("rollcall.toml"),
        "store = \"state/rollcall.db\"\ninventory_timeout = \"20s\"\ninventory_max_age = \"60s\"\n",
    );
    root
}

fn good(root: &Path) -> Config {
    load(root).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn kept(root: &Path, second: i64) -> Config {
    load_kept(root, at(second)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn names(config: &Config, group: &str) -> String {
    let hosts = config.inventory.groups[group].hosts.iter();
    hosts.map(HostName::as_str).collect::<Vec<_>>().join(" ")
}

fn host<'c>(config: &'c Config, name: &str) -> &'c Host {
    config.inventory.host(&name.into()).unwrap_or_else(|| panic!("{name} is not there"))
}

fn trouble(config: &Config) -> &str {
    config.scripted[0].trouble.as_deref().unwrap_or_default()
}

/// As Ansible's own inventory plugins print it.
const ANSIBLES: &str = r#"{
    "_meta": {"hostvars": {
        "web1": {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "ec2-user", "zone": "a", "spot": null},
        "db1": {"disks": [1, 2.5], "nested": {"deep": true}}
    }},
    "all": {"children": ["ungrouped", "app", "db"], "vars": {"env": "prod"}},
    "ungrouped": {"hosts": ["lone"]},
    "app": {"children": ["web"], "vars": {"port": 80, "ansible_user": "deploy"}},
    "web": {"hosts": ["web1", "web2"]},
    "db": ["db1"]
}"#;

#[test]
fn ansibles_shape_is_read() {
    let root = scene(ANSIBLES);
    let config = good(root.path());
    assert_eq!(names(&config, "cloud"), "db1 lone web1 web2");
    assert_eq!((names(&config, "cloud.app"), names(&config, "cloud.db")), ("web1 web2".into(), "db1".into()));
    let web1 = host(&config, "web1");
    assert_eq!(
        (web1.endpoint.address.as_str(), web1.endpoint.port, web1.endpoint.login.as_str()),
        ("10.0.0.1", 2222, "ec2-user")
    );
    assert_eq!(
        (&web1.vars["zone"], &web1.vars["env"], &web1.vars["port"]),
        (&json!("a"), &json!("prod"), &json!(80))
    );
    assert!(!web1.vars.contains_key("spot"), "what is null is left out");
    assert_eq!(host(&config, "web2").endpoint.login, "deploy");
    assert_eq!(host(&config, "db1").vars["disks"], json!([1, 2.5]));
    assert_eq!(host(&config, "db1").vars["nested"], json!({"deep": true}));
    assert_eq!(host(&config, "lone").groups, ["cloud", "cloud.ungrouped"]);
}

#[test]
fn a_script_can_say_what_a_file_can() {
    let root = scene(
        r#"{"web": {"hosts": ["web[01-03]"], "login": "deploy", "via": "gate", "checks": ["http"], "tags": {"canary": ["web01"]},
            "balancer": {"driver": "haproxy", "on": "gate", "socket": "/run/haproxy.sock", "backend": "app", "min_in_service": 2}},
            "gate": {"hosts": {"gate": {"address": "10.9.9.9"}}}}"#,
    );
    write(&root.path().join("checks/http.toml"), "[[check]]\nname = \"x\"\nrun = \"true\"\n");
    write(&root.path().join("hosts/prod.toml"), "[db]\nhosts = \"db1\"\n");
    let config = good(root.path());
    assert_eq!(names(&config, "cloud.web"), "web01 web02 web03");
    assert_eq!(names(&config, "prod"), "db1");
    let web01 = host(&config, "web01");
    assert!(web01.tags.contains("canary") && web01.checks == ["http"], "{web01:?}");
    assert_eq!(web01.endpoint.via.as_ref().unwrap().address, "10.9.9.9");
    let balancer = config.inventory.groups["cloud.web"].balancer.as_ref().unwrap();
    assert!(matches!(&balancer.driver, Driver::Haproxy(haproxy) if haproxy.backends == ["app"]));
    assert_eq!(balancer.floor(), Floor::Servers(2));
}

#[test]
fn mistakes_point_to_what_the_script_says() {
    let root = scene(
        r#"{"web": {"hosts": ["web1"], "logn": "deploy", "vars": {"host": 1}}, "d b": [], "db": {"via": "nobody"}}"#,
    );
    let wrong = load(root.path()).unwrap_err().to_string();
    for told in [
        "group `web` has no key `logn`; did you mean `login`?",
        "logn = \"deploy\"",
        "a var cannot be called `host`",
        "`d b` cannot name a group",
        "--> hosts/cloud.sh --list:",
    ] {
        assert!(wrong.contains(told), "{told}\n{wrong}");
    }
}

#[test]
fn scripts_that_must_not_run_are_told() {
    let root = scene("{\"web\": [\"web1\"]}");
    let hosts = root.path().join("hosts");
    program(&hosts.join("open.sh"), SCRIPT, 0o775);
    program(&hosts.join("forgotten.py"), "#!/usr/bin/env python3\n", 0o644);
    program(&hosts.join("cloud.sh~"), SCRIPT, 0o755);
    write(&hosts.join("README"), "words");
    let wrong = load(root.path()).unwrap_err();
    let told: Vec<String> = wrong.iter().map(|one| format!("{}: {}", one.file, one.message)).collect();
    let wanted = [
        "hosts/forgotten.py: the script is not executable",
        "hosts/open.sh: others than its owner may write it, and it runs as rollcall itself",
    ];
    assert_eq!(told, wanted);
    for name in ["open.sh", "forgotten.py"] {
        fs::remove_file(hosts.join(name)).unwrap();
    }
    write(&hosts.join("cloud.toml"), "[web]\nhosts = \"web1\"\n");
    let wrong = load(root.path()).unwrap_err().to_string();
    assert!(wrong.contains("hosts/cloud.sh --list is a group `cloud` already"), "{wrong}");
}

/// What goes wrong with the script of a scene.
type Spoil<'a> = &'a dyn Fn(&Path);

/// Each trouble, without anything that was said before and with it.
#[test]
fn what_a_script_said_last_stands_in_for_it() {
    let table: [(&str, Spoil, &str); 6] = [
        ("it fails", &|root| write(&root.join("fail"), ""), "its script failed: exit status 1: no network"),
        (
            "no JSON",
            &|root| write(&root.join("listing.json"), "Traceback"),
            "its script failed: it prints no JSON",
        ),
        (
            "another shape",
            &|root| write(&root.join("listing.json"), "{\"web\": 3}"),
            "its script failed: group `web` is no object",
        ),
        (
            "a mistake",
            &|root| write(&root.join("listing.json"), "{\"web\": {\"logn\": \"x\"}}"),
            "its script failed: what it says is wrong: group `web` has no key `logn`",
        ),
        (
            "no interpreter",
            &|root| program(&root.join("hosts/cloud.sh"), "#!/nowhere\n", 0o755),
            "its script failed: cannot be run",
        ),
        (
            "too much",
            &|root| program(&root.join("hosts/cloud.sh"), "#!/bin/sh\nexec cat /dev/zero\n", 0o755),
            "its script failed: it prints more than",
        ),
    ];
    for (case, spoil, wanted) in table {
        let root = scene("{\"web\": [\"web1\", \"web2\"]}");
        let root = root.path();
        let first = kept(root, 100);
        assert_eq!((names(&first, "cloud.web").as_str(), trouble(&first)), ("web1 web2", ""), "{case}");
        spoil(root);
        // After a restart, and while it runs.
        let again = kept(root, 200);
        assert_eq!(names(&again, "cloud.web"), "web1 web2", "{case}");
        assert_eq!((again.scripted[0].at, again.scripted[0].tried), (at(100), at(200)), "{case}");
        assert!(trouble(&again).starts_with(wanted), "{case}: {}", trouble(&again));
        let later = refresh(&first, at(160), || at(160)).expect("its time has come");
        assert_eq!(
            (names(&later, "cloud.web").as_str(), later.scripted[0].at),
            ("web1 web2", at(100)),
            "{case}"
        );
        assert!(trouble(&later).starts_with(wanted), "{case}: {}", trouble(&later));
        // Whoever only checks is told, and so is whoever has nothing to fall back on.
        assert!(load(root).is_err(), "{case}");
        fs::remove_dir_all(root.join("state")).unwrap();
        assert!(load_kept(root, at(300)).is_err(), "{case}");
    }
}

#[test]
fn a_script_is_asked_again_when_its_time_has_come() {
    let root = scene("{\"web\": [\"web1\"]}");
    let root = root.path();
    let asked = || read(&root.join("asked")).lines().count();
    let first = kept(root, 100);
    // Other files are not read anew by that.
    write(&root.join("hosts/prod.toml"), "nonsense");
    write(&root.join("listing.json"), "{\"web\": [\"web1\", \"web2\"]}");
    assert_eq!(refresh(&first, at(159), || at(159)), None);
    assert_eq!(asked(), 1);
    let second = refresh(&first, at(160), || at(160)).unwrap();
    assert_eq!(
        (names(&second, "cloud.web").as_str(), second.scripted[0].at, asked()),
        ("web1 web2", at(160), 2)
    );
    // Who came before it was asked is content with that, even where every command asks.
    let mut always = second.clone();
    always.settings.inventory_max_age = std::time::Duration::ZERO;
    assert_eq!(refresh(&always, at(159), || at(159)), None);
    // One that fails is not asked before each command either.
    write(&root.join("fail"), "");
    let third = refresh(&second, at(220), || at(220)).unwrap();
    assert_eq!((third.scripted[0].at, third.scripted[0].tried, asked()), (at(160), at(220), 3));
    assert_eq!(refresh(&third, at(230), || at(230)), None);
    fs::remove_file(root.join("fail")).unwrap();
    let fourth = refresh(&third, at(280), || at(280)).unwrap();
    assert_eq!((fourth.scripted[0].at, trouble(&fourth)), (at(280), ""));
    assert_eq!(names(&fourth, "cloud.web"), "web1 web2");
}

/// It says nothing wrong by itself, but with the other files there.
#[test]
fn what_does_not_go_with_the_other_files_is_not_put_in_force() {
    let root = scene("{\"web\": {\"hosts\": [\"web1\"], \"via\": \"gate\"}}");
    let root = root.path();
    write(&root.join("hosts/prod.toml"), "[gate]\nhosts = \"gate\"\n");
    let first = kept(root, 100);
    write(&root.join("listing.json"), "{\"web\": {\"hosts\": [\"web1\", \"web2\"], \"via\": \"gone\"}}");
    let later = refresh(&first, at(200), || at(200)).unwrap();
    assert_eq!(names(&later, "cloud.web"), "web1");
    assert!(trouble(&later).contains("`via`: "), "{}", trouble(&later));
    let restarted = kept(root, 300);
    assert_eq!((names(&restarted, "cloud.web").as_str(), restarted.scripted[0].at), ("web1", at(100)));
    assert!(trouble(&restarted).contains("see: check-config"), "{}", trouble(&restarted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_hangs_is_ended_with_all_that_it_started() {
    let root = scene("{\"web\": [\"web1\"]}");
    let root = root.path();
    let settings = read(&root.join("rollcall.toml")).replace("20s", "1s");
    program(&root.join("hosts/cloud.sh"), "#!/bin/sh\nsleep 600 &\necho $! >child\nwait\n", 0o755);
    write(&root.join("rollcall.toml"), &settings);
    let wrong = load(root).unwrap_err().to_string();
    assert!(
        wrong.contains("its script failed: it took longer than 1s (inventory_timeout) and was ended"),
        "{wrong}"
    );
    let child = read(&root.join("child"));
    let status = |text: String| text.lines().any(|line| line.starts_with("State:") && !line.contains('Z'));
    let alive = || fs::read_to_string(format!("/proc/{}/status", child.trim())).is_ok_and(status);
    eventually("it does not run any more", async || !alive()).await;
}

/// A site whose web hosts are known by a script, too.
async fn scripted_site() -> Site {
    let mut site = Site::without_daemon(2).await;
    let port = |host: usize| site.hosts[host].sshd.address.port();
    let listing = json!({
        "app": ["one", "two"],
        "_meta": {"hostvars": {
            "one": {"ansible_host": "127.0.0.1", "ansible_port": port(0)},
            "two": {"ansible_host": "127.0.0.1", "ansible_port": port(1)},
        }},
    });
    write(&site.config.join("listing.json"), &listing.to_string());
    program(&site.config.join("hosts/cloud"), SCRIPT, 0o755);
    let settings = site.config.join("rollcall.toml");
    let text = read(&settings);
    write(&settings, &format!("inventory_timeout = \"5s\"\ninventory_max_age = \"0s\"\n{text}"));
    site.start_daemon().await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_a_script_are_hosts_and_its_age_is_told() {
    let mut site = scripted_site().await;
    let answer = site.ask("run cloud.app -b -- echo here").await.expect(0);
    assert!(answer.out.contains("one,two (2)") && answer.out.contains("here"), "{}", answer.out);
    assert!(!answer.err.contains("inventory"), "{}", answer.err);

    // New hosts are there without a reload.
    let listing = site.config.join("listing.json");
    let more = read(&listing).replace("[\"one\",\"two\"]", "[\"one\"]");
    write(&listing, &more);
    let fewer = site.ask("run cloud -- echo here").await.expect(0);
    assert_eq!(fewer.out, "here\n");

    write(&site.config.join("fail"), "");
    let wanted = |text: &str| {
        text.contains("inventory `cloud` is ")
            && text.contains(" old: its script failed: exit status 1: no network\n")
    };
    let warned = site.ask("run cloud -- echo here").await.expect(0);
    assert!(warned.out == "here\n" && wanted(&warned.err), "{warned:?}");
    let others = site.ask("run web01 -- echo here").await.expect(0);
    assert!(!others.err.contains("inventory"), "whose plan has no host of it is not bothered");
    let unknown = site.ask("run three -- echo here").await.expect(64);
    assert!(wanted(&unknown.err), "{}", unknown.err);
    let reloaded = site.ask("reload").await.expect(0);
    assert!(wanted(&reloaded.out), "{}", reloaded.out);

    // It survives the daemon.
    site.daemon.take().unwrap().stop().await;
    site.start_daemon().await;
    let after = site.ask("run cloud -- echo here").await.expect(0);
    assert!(after.out == "here\n" && wanted(&after.err), "{after:?}");
    fs::remove_file(site.config.join("fail")).unwrap();
    assert!(!site.ask("run cloud -- echo here").await.expect(0).err.contains("inventory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_for_a_hanging_script_no_longer_than_it_may() {
    let site = scripted_site().await;
    write(&site.config.join("hang"), "");
    let (one, two) = tokio::join!(site.ask("run one -- echo here"), site.ask("run two -- echo there"));
    let (one, two) = (one.expect(0), two.expect(0));
    assert!(
        one.err.contains("its script failed: it took longer than 5s (inventory_timeout) and was ended"),
        "{}",
        one.err
    );
    assert_eq!((one.out.as_str(), two.out.as_str()), ("here\n", "there\n"));
    let process = read(&site.config.join("hanging"));
    eventually("it is gone", async || !Path::new(&format!("/proc/{}", process.trim())).exists()).await;
}

#[test]
fn connection_settings_of_ansible_mean_the_same_here() {
    let root = scene(
        r#"{"_meta": {"hostvars": {
            "a": {"ansible_host": "10.0.0.1", "ansible_port": "23000", "ansible_ssh_user": "ec2-user"},
            "b": {"ansible_ssh_host": "10.0.0.2", "ansible_ssh_port": 2222,
                  "ansible_ssh_common_args": "-o ProxyJump=bastion -o StrictHostKeyChecking=no"},
            "c": {"ansible_host": "10.0.0.3", "ansible_ssh_common_args": "-o ProxyJump=none"},
            "d": {"ansible_host": "10.0.0.4"},
            "bastion": {"ansible_host": "192.0.2.1", "ansible_connection": "ssh", "ansible_user": "jump"}}},
            "web": {"hosts": ["a", "b"], "vars": {"ansible_ssh_user": "deploy", "ansible_python_interpreter": "/usr/bin/python3"}},
            "far": {"hosts": ["c", "d"], "vars": {"ansible_ssh_common_args": "-J bastion"}},
            "gate": ["bastion"]}"#,
    );
    let config = good(root.path());
    let endpoint = |name: &str| host(&config, name).endpoint.clone();
    let about = |name: &str| {
        let endpoint = endpoint(name);
        let via = endpoint.via.map(|via| format!(" via {}@{}:{}", via.login, via.address, via.port));
        format!("{}@{}:{}{}", endpoint.login, endpoint.address, endpoint.port, via.unwrap_or_default())
    };
    assert_eq!(about("a"), "ec2-user@10.0.0.1:23000");
    assert_eq!(about("b"), "deploy@10.0.0.2:2222 via jump@192.0.2.1:22");
    assert!(about("d").ends_with("@10.0.0.4:22 via jump@192.0.2.1:22"), "{}", about("d"));
    assert!(about("c").ends_with("@10.0.0.3:22"), "{}", about("c"));
    let vars = &host(&config, "b").vars;
    assert!(!format!("{vars:?}").contains("ansible_ssh"), "{vars:?}");
}

#[test]
fn files_with_windows_line_ends_mean_the_same() {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("rollcall.toml", "store = \"state/rollcall.db\"\n"),
        ("hosts/prod.toml", "[web]\nhosts = [\"a\"]\n"),
        (
            "tasks/make.toml",
            "[[steps]]\nname = \"make\"\nrun = \"\"\"\nmkdir -p X\nif true; then echo '\n'; fi\n\"\"\"\n",
        ),
        ("operators", ""),
    ] {
        write(&root.path().join(file), &format!("\u{feff}{}", text.replace('\n', "\r\n")));
    }
    let config = good(root.path());
    let shown = format!("{:?}", config.tasks);
    assert!(shown.contains("mkdir -p X\\nif true") && !shown.contains("\\r"), "{shown}");
}
