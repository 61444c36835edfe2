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
