//! Versions of the configuration: each run and row names one, `config log` and `config diff` show them; with real git.

use std::path::Path;

use serde_json::Value;

use crate::support::site::Site;
use crate::support::{read, write};

/// Runs git in a folder, with an identity of its own.
fn git(folder: &Path, words: &[&str]) {
    let mut git = std::process::Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-C"]).arg(folder).args(words);
    let ran = git.output().expect("git is there");
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

async fn objects(site: &Site, line: &str) -> Vec<Value> {
    let answer = site.ask(line).await.expect(0);
    answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_a_row_and_runs_name_the_version_that_they_were_planned_from() {
    let mut site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    let hosts = site.config.join("hosts/prod.toml");
    write(&hosts, &(read(&hosts) + "[extra]\nhosts = []\nport = 2201\n"));
    write(&site.config.join("tasks/new.toml"), "[[steps]]\nname = \"s\"\nrun = \"true\"\n");
    site.ask("reload").await.expect(0);
    // The same files are the same version.
    site.ask("reload").await.expect(0);
    site.ask("touch web01").await.expect(0);
    let rows = objects(&site, "config log --json").await;
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let (first, second) = (&rows[0], &rows[1]);
    assert_eq!((&first["how"], &first["name"]), (&Value::from("start"), &Value::from("rollcall")));
    assert_eq!((&second["how"], &second["name"]), (&Value::from("reload"), &Value::from("ann")));
    assert_eq!((&second["old"], &first["old"]), (&first["new"], &Value::Null));
    assert_eq!(second["files"], serde_json::json!(["~hosts/prod.toml", "+tasks/new.toml"]));
    let started = objects(&site, "events --type run-started").await;
    let config = |event: &Value| event["granted"]["config"].clone();
    assert_eq!((config(&started[0]), config(&started[1])), (first["new"].clone(), second["new"].clone()));
    let asked = objects(&site, "audit --json --type command").await;
    let of = |line: &str| asked.iter().rfind(|row| row["line"] == line).unwrap()["config"].clone();
    assert_eq!((of("touch web01"), of("reload")), (second["new"].clone(), second["new"].clone()));
    let text = site.ask("config log").await.expect(0).out;
    assert!(text.contains("~hosts/prod.toml +tasks/new.toml"), "{text}");

    // A change while it does not run is found at its start.
    site.daemon.take().unwrap().stop().await;
    std::fs::remove_file(site.config.join("tasks/new.toml")).unwrap();
    site.start_daemon().await;
    let rows = objects(&site, "config log --json").await;
    assert_eq!((rows.len(), &rows[2]["how"]), (3, &Value::from("start")), "{rows:#?}");
    assert_eq!(
        (&rows[2]["files"], &rows[2]["old"]),
        (&serde_json::json!(["-tasks/new.toml"]), &rows[1]["new"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_shown_without_secrets() {
    let site = Site::start(1).await;
    let hosts = site.config.join("hosts/prod.toml");
    let secret = "[extra]\nhosts = []\nport = 2201\n[extra.vars]\npassword = \"hunter2\"\n";
    write(&hosts, &(read(&hosts) + secret));
    let diff = site.ask("config diff").await.expect(0).out;
    assert!(diff.contains(", on disk)\n") && diff.contains("\n+port = 2201\n"), "{diff}");
    assert!(diff.contains("+password = \"***\"") && !diff.contains("hunter2"), "{diff}");
    site.ask("reload").await.expect(0);
    let same = site.ask("config diff").await.expect(0).out;
    assert!(same.contains(", in force and ") && same.ends_with(" are the same\n"), "{same}");
    write(&hosts, &read(&hosts).replace("hunter2", "hunter3"));
    let hidden = site.ask("config diff").await.expect(0).out;
    assert!(
        hidden.starts_with("hosts/prod.toml: differs only in comments, or in texts that are not shown"),
        "{hidden}"
    );
    let rows = objects(&site, "config log --json").await;
    let [old, new] = [&rows[0], &rows[1]].map(|row| row["new"].as_str().unwrap()[..12].to_string());
    let kept = site.ask(&format!("config diff {old}")).await.expect(0).out;
    assert!(
        kept.contains(&format!("--- hosts/prod.toml ({old})\n")) && kept.contains("+port = 2201"),
        "{kept}"
    );
    let back = site.ask(&format!("config diff {new} {old}")).await.expect(0).out;
    assert!(back.contains("\n-port = 2201\n"), "{back}");
    for start in ["xyz", "abc", "0000", &format!("{old}0000")] {
        let unknown = site.ask(&format!("config diff {start}")).await.expect(64);
        assert!(
            unknown.err.contains(&format!("no kept version starts with `{start}`; see: config log")),
            "{unknown:?}"
        );
    }
    let store = site.dir.path().join("state");
    let found = std::process::Command::new("grep").args(["-rlF", "hunter2"]).arg(&store).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "a secret is in the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_names_its_commit_and_whether_files_differ_from_it() {
    let site = Site::without_daemon(1).await;
    git(&site.config, &["init", "-q"]);
    git(&site.config, &["add", "."]);
    git(&site.config, &["commit", "-q", "-m", "one"]);
    // A program that the repository wants to run, and must not.
    let ran = site.dir.path().join("ran");
    let monitor = site.dir.path().join("monitor");
    write(&monitor, &format!("#!/bin/sh\ntouch {}\n", ran.display()));
    std::fs::set_permissions(&monitor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    git(&site.config, &["config", "core.fsmonitor", &monitor.display().to_string()]);
    let mut site = site;
    site.start_daemon().await;
    let touch = site.config.join("tasks/touch.toml");
    write(&touch, &(read(&touch) + "# another\n"));
    site.ask("reload").await.expect(0);
    let rows = objects(&site, "config log --json").await;
    let id = rows[0]["commit"]["id"].as_str().unwrap().to_string();
    assert_eq!((id.len(), &rows[0]["commit"]["is_dirty"]), (40, &Value::Null), "{rows:#?}");
    assert_eq!(rows[1]["commit"], serde_json::json!({ "id": id, "is_dirty": true }));
    let text = site.ask("config log").await.expect(0).out;
    assert!(text.contains(&format!("{} with changes", &id[..12])), "{text}");
    assert!(!ran.exists(), "git ran a program of the repository");
}
