use std::path::PathBuf;

use super::options::{InitOptions, complete};
use super::*;
use crate::daemon::check_config;

fn public_key(folder: &Path) -> PathBuf {
    let path = folder.join("id.pub");
    std::fs::write(&path, fleet_key().unwrap().public).unwrap();
    path
}

fn wanted(folder: &Path, app: AppKind, balancer: BalancerKind) -> Wanted {
    Wanted {
        file: "prod".into(),
        group: "web".into(),
        hosts: vec!["web[01-03].example.com".into()],
        login: "deploy".into(),
        balancer,
        balancer_hosts: vec!["lb1.example.com".into()],
        app,
        name: "shop".into(),
        port: 8080,
        image: "registry.example.com/shop".into(),
        operator_key: public_key(folder),
    }
}

#[test]
fn each_kind_behind_each_balancer_is_a_configuration_without_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    for app in [AppKind::Release, AppKind::Service, AppKind::Container, AppKind::Static] {
        for balancer in [
            BalancerKind::None,
            BalancerKind::Nginx,
            BalancerKind::Haproxy,
            BalancerKind::File,
            BalancerKind::Command,
        ] {
            let dir = folder.path().join(format!("{app:?}-{balancer:?}"));
            let next = write(&dir, &wanted(folder.path(), app, balancer)).unwrap();
            assert!(next.contains("ssh -p 2222 rollcall@localhost deploy prod "), "{next}");
            let said = check_config(&dir).unwrap_or_else(|why| panic!("{app:?} {balancer:?}: {why}"));
            let hosts = if matches!(balancer, BalancerKind::None | BalancerKind::File) { 3 } else { 4 };
            assert!(said.contains(&format!("{hosts} hosts, 1 task")), "{said}");
            for name in ["rollcall.toml", "hosts/prod.toml", "tasks/deploy.toml", "checks/shop.toml"] {
                let text = std::fs::read_to_string(dir.join(name)).unwrap();
                let left = text
                    .split('%')
                    .skip(1)
                    .any(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
                assert!(!left, "{name} has a name without a value: {text}");
            }
        }
    }
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("config");
    let wanted = wanted(folder.path(), AppKind::Release, BalancerKind::None);
    write(&dir, &wanted).unwrap();
    let key = std::fs::read_to_string(dir.join("fleet_key")).unwrap();
    std::fs::remove_file(dir.join("rollcall.toml")).unwrap();
    let why = write(&dir, &wanted).unwrap_err();
    assert!(why.ends_with("/operators is there, and nothing was written; try: another directory"), "{why}");
    assert!(!dir.join("rollcall.toml").exists());
    assert_eq!(std::fs::read_to_string(dir.join("fleet_key")).unwrap(), key);
    // What the daemon would refuse is not left behind.
    let (other, wrong) = (folder.path().join("other"), Wanted { hosts: vec!["-x".into()], ..wanted });
    let why = write(&other, &wrong).unwrap_err();
    assert!(why.contains("hosts/prod.toml") && why.ends_with("nothing was written"), "{why}");
    assert!(!other.join("rollcall.toml").exists() && !other.join("fleet_key").exists());
}

#[test]
fn what_is_missing_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".ssh")).unwrap();
    std::fs::write(folder.path().join(".ssh/id_ed25519.pub"), fleet_key().unwrap().public).unwrap();
    let answers = [
        ("hosts", "web[1,3], db1 db2"),
        ("kind", "static"),
        ("name", " shop "),
        ("balancer in", "nginx"),
        ("hosts on", "lb1"),
    ];
    let mut asked = Vec::new();
    let mut ask = |question: &str, default: &str| {
        asked.push(format!("{question} [{default}]"));
        Some(
            answers
                .iter()
                .rfind(|(part, _)| question.starts_with(part))
                .map_or("", |(_, answer)| answer)
                .to_string(),
        )
    };
    let options = InitOptions { group: "test.app".into(), ..InitOptions::default() };
    let wanted = complete(&options, folder.path(), "ann", &mut ask).unwrap();
    assert_eq!((wanted.file.as_str(), wanted.group.as_str(), wanted.login.as_str()), ("test", "app", "ann"));
    assert_eq!((wanted.name.as_str(), wanted.port, wanted.app), ("shop", 8080, AppKind::Static));
    assert_eq!((wanted.balancer, wanted.balancer_hosts), (BalancerKind::Nginx, vec!["lb1".to_string()]));
    assert_eq!(wanted.hosts, ["web[1,3]", "db1", "db2"]);
    let wanted = [
        "hosts, such as web[01-03].example.com []",
        "the account on the hosts [ann]",
        "kind of application (release, service, container, static) [release]",
        "name of the application [app]",
        "the port that answers on each host [8080]",
        "balancer in front of them (none, nginx, haproxy, file, command) [none]",
        "hosts on which the balancer runs []",
    ];
    assert_eq!(asked, wanted);
}

#[test]
fn what_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut nobody = |_: &str, _: &str| None;
    let all = InitOptions {
        group: "prod.web".into(),
        hosts: Some("web1".into()),
        operator_key: Some(public_key(folder.path())),
        ..InitOptions::default()
    };
    let none = Some(String::new());
    let rows = [
        (
            InitOptions { group: "web".into(), ..all.clone() },
            "--group `web` is not FILE.GROUP, such as prod.web; ",
        ),
        (
            InitOptions { hosts: none, ..all.clone() },
            "--hosts is missing: hosts, such as web[01-03].example.com",
        ),
        (InitOptions { hosts: Some("web[3-1]".into()), ..all.clone() }, "--hosts `web[3-1]`: "),
        (
            InitOptions { name: Some("My App".into()), ..all.clone() },
            "--name `My App`: letters, digits and `-` only",
        ),
        (InitOptions { balancer: Some(BalancerKind::Nginx), ..all.clone() }, "--balancer-hosts is missing: "),
        (InitOptions { app: Some(AppKind::Container), ..all.clone() }, "--image is missing: "),
        (
            InitOptions { operator_key: None, ..all.clone() },
            "your public key was not found below ~/.ssh; try: --operator-key",
        ),
    ];
    for (options, wanted) in rows {
        let why = complete(&options, folder.path(), "ann", &mut nobody).unwrap_err();
        assert!(why.starts_with(wanted), "{why}");
    }
    assert!(complete(&all, folder.path(), "ann", &mut nobody).is_ok());
    let missing = operator_line(&folder.path().join("none.pub")).unwrap_err();
    assert!(missing.ends_with("there is no such file; try: --operator-key FILE"), "{missing}");
    std::fs::write(folder.path().join("key"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let private = operator_line(&folder.path().join("key")).unwrap_err();
    assert!(private.contains("no public key of OpenSSH") && private.contains("ends in .pub"), "{private}");
}

/// A stand-in for docker: each container is a file with its state and its image. `fails` is the command that it refuses.
const DOCKER: &str = r#"#!/bin/sh
cd "${0%/*}/containers" || exit 1
word=$1
shift
for last; do :; done
if [ "$word" = "$FAILS" ]; then
    [ "$word" != run ] || echo "created $last" >"$3"
    echo "docker $word: refused" >&2
    exit 1
fi
case $word in
ps) name=${last#name=^}; name=${name%?}; [ ! -e "$name" ] || echo "id-of-$name" ;;
rm) rm "$last" ;;
rename) [ ! -e "$2" ] && mv "$1" "$2" ;;
stop) sed -i 's/^[a-z]*/stopped/' "$1" ;;
start) grep -q ^running "$1" || { ! grep -q ^running ./* && sed -i 's/^[a-z]*/running/' "$1"; } ;;
run) [ ! -e "$3" ] && ! grep -qs ^running ./* && echo "running $last" >"$3" ;;
esac
"#;

/// A host with the stand-in, and the steps of the written task.
struct Containers {
    folder: tempfile::TempDir,
    steps: Vec<toml::Value>,
}

impl Containers {
    fn new() -> Containers {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("containers")).unwrap();
        let docker = folder.path().join("docker");
        std::fs::write(&docker, DOCKER).unwrap();
        std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = task(&wanted(folder.path(), AppKind::Container, BalancerKind::None));
        let read: toml::Table = toml::from_str(&text).unwrap();
        Containers { folder, steps: read["steps"].as_array().unwrap().clone() }
    }

    fn sh(&self, script: &str, version: &str, fails: &str) -> bool {
        let values =
            [("{{ image }}", "registry/shop"), ("{{ version }}", version), ("{{ app_port }}", "8080")];
        let script =
            values.iter().fold(script.to_string(), |script, (name, value)| script.replace(name, value));
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let mut sh = std::process::Command::new("sh");
        sh.arg("-c").arg(script).env("PATH", path).env("FAILS", fails);
        sh.output().unwrap().status.success()
    }

    /// Runs the steps as a rollout does: after a failure, it undoes those that were started, the last one first. Returns
    /// whether they were done, and whether what was undone was.
    fn deploy(&self, version: &str, fails: &str) -> (bool, bool) {
        let script = |step: &toml::Value, key: &str| step.get(key)?.as_str().map(String::from);
        let mut undo = Vec::new();
        for step in &self.steps {
            undo.extend(script(step, "undo"));
            if !self.sh(&script(step, "run").unwrap(), version, fails) {
                return (false, undo.iter().rev().all(|script| self.sh(script, version, "")));
            }
        }
        (true, true)
    }

    /// Each container with its state and its image.
    fn there(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path().join("containers")).unwrap();
        let read = |file: std::fs::DirEntry| {
            let text = std::fs::read_to_string(file.path()).unwrap();
            format!("{}: {}", file.file_name().to_string_lossy(), text.trim())
        };
        let mut all: Vec<String> = files.map(|file| read(file.unwrap())).collect();
        all.sort();
        all
    }
}

#[test]
fn a_container_is_lost_only_to_the_one_after_it() {
    let host = Containers::new();
    assert_eq!((host.deploy("0", "pull"), host.there()), ((false, true), vec![]));
    // The first one has none before it: a rollback must not say that it went back.
    assert_eq!(host.deploy("0", "run"), (false, false));
    assert_eq!(host.there(), ["shop: created registry/shop:0"]);
    let running = |version| format!("shop: running registry/shop:{version}");
    assert_eq!(host.deploy("1", ""), (true, true));
    assert!(host.there().contains(&running("1")));
    assert_eq!(host.deploy("2", ""), (true, true));
    let both = ["shop-before: stopped registry/shop:1".to_string(), running("2")];
    assert!(both.iter().all(|one| host.there().contains(one)), "{:?}", host.there());
    // No step that fails before the swap touches the one that runs, and none leads to that of an earlier release.
    for (fails, undone) in [("rm", true), ("ps", true), ("pull", true), ("rename", false)] {
        assert_eq!(host.deploy("3", fails), (false, undone), "{fails}");
        assert!(host.there().contains(&running("2")), "{fails}: {:?}", host.there());
        if fails == "pull" {
            assert_eq!(host.there(), [running("2")]);
        }
    }
    for fails in ["stop", "run"] {
        assert_eq!((host.deploy("3", fails), host.there()), ((false, true), vec![running("2")]), "{fails}");
    }
    // Interrupted behind the rename, without a rollback.
    let containers = host.folder.path().join("containers");
    std::fs::rename(containers.join("shop"), containers.join("shop-before")).unwrap();
    assert_eq!((host.deploy("3", "run"), host.there()), ((false, true), vec![running("2")]));
}
