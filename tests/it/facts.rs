//! Facts on real hosts: asked once, told with their age, and custom ones beside them.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::site::Site;
use crate::support::write;

/// Puts a program into `files/facts/`.
fn custom(site: &Site, name: &str, text: &str) {
    let path = site.config.join("files/facts").join(name);
    write(&path, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_asked_once_and_told_with_their_age() {
    let site = Site::start(3).await;
    let first = site.ask_as("vic", "facts prod.web").await.expect(0);
    let arch = std::env::consts::ARCH;
    assert!(first.out.contains(&format!("arch             {arch}\n")), "{}", first.out);
    assert!(first.out.contains("web[01-03]: as of "), "{}", first.out);
    // Nobody is asked again: no run, and the same answer.
    let again = site.ask("facts prod.web --json").await.expect(0);
    let told = objects(&again.out);
    assert_eq!(told.len(), 3, "{}", again.out);
    for (object, host) in told.iter().zip(&site.hosts) {
        assert_eq!(
            (object["schema"].as_str(), object["host"].as_str()),
            (Some("facts"), Some(host.name.as_str()))
        );
        assert_eq!((object["run"].as_u64(), object["facts"]["arch"].as_str()), (Some(1), Some(arch)));
        assert!(object["gathered_at"].is_string() && object["age_s"].is_u64(), "{object}");
        assert!(
            object["facts"].as_object().unwrap().contains_key("python"),
            "what is not there is null: {object}"
        );
    }
    // Only who is not on record is asked; `--fresh` asks all.
    let more = objects(&site.ask("facts prod --json").await.expect(0).out);
    let runs: Vec<_> = more
        .iter()
        .map(|object| (object["host"].as_str().unwrap(), object["run"].as_u64().unwrap()))
        .collect();
    assert_eq!(runs, [("lb1", 2), ("web01", 1), ("web02", 1), ("web03", 1)]);
    let fresh = objects(&site.ask("facts prod.web --fresh --json").await.expect(0).out);
    assert!(fresh.iter().all(|object| object["run"] == 3), "{fresh:?}");
    let shown = site.ask("show 3").await.expect(0);
    assert!(shown.out.contains(&format!("arch             {arch}\n")), "{}", shown.out);
    assert!(shown.out.ends_with("run 3: done\n"), "{}", shown.out);
    let retried = site.ask("retry 3").await.expect(69);
    assert!(retried.err.contains("run 3 left no host to try again"), "{}", retried.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_facts_that_fail_do_not_spoil_the_rest() {
    let site = Site::start(1).await;
    custom(&site, "rack.sh", "#!/bin/sh\ncat\necho \"{\\\"row\\\": 4, \\\"who\\\": \\\"$(id -un)\\\"}\"\n");
    custom(&site, "roles.pl", "#!/usr/bin/perl\nprint \"role=db\\nzone=$0\\n\";\n");
    custom(&site, "broken", "echo no such thing >&2; exit 3\n");
    custom(&site, "chatty", "#!/bin/sh\nyes | head -n 100000\n");
    custom(&site, "words.sh", "#!/bin/sh\necho just words\n");
    site.ask("reload").await.expect(0);
    let told = objects(&site.ask("facts web01 --json").await.expect(0).out);
    let facts = &told[0]["facts"];
    assert_eq!(facts["custom"]["rack"]["row"], 4, "{facts}");
    assert_eq!(facts["custom"]["rack"]["who"], facts["user"]);
    assert_eq!(facts["custom"]["roles"]["role"], "db", "{facts}");
    let zone = facts["custom"]["roles"]["zone"].as_str().unwrap();
    assert!(!std::path::Path::new(zone).parent().unwrap().exists(), "{zone} is left behind");
    let errors = &facts["custom_errors"];
    assert_eq!(errors["broken"], "exit status 3: no such thing", "{errors}");
    assert!(errors["chatty"].as_str().unwrap().starts_with("it prints too much"), "{errors}");
    assert!(errors["words"].as_str().unwrap().contains("nor key=value lines"), "{errors}");
    let told = site.ask("facts web01").await.expect(0).out;
    assert!(told.contains("custom_errors.broken  exit status 3: no such thing\n"), "{told}");
    assert!(told.contains("custom.roles"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_do_not_answer_are_told_and_the_others_are_on_record() {
    let mut site = Site::start(2).await;
    let gone = site.hosts.remove(1);
    drop(gone.sshd);
    let answer = site.ask("facts prod.web").await.expect(4);
    assert!(answer.out.contains("web01: as of "), "{}", answer.out);
    assert!(answer.out.contains("web02: not known: "), "{}", answer.out);
    let told = objects(&site.ask("facts prod.web --json").await.expect(4).out);
    assert_eq!(
        told.iter().filter(|object| object["facts"].is_null() && object["why"].is_string()).count(),
        1
    );
}

/// A name that leads to another machine now is no host that anything is known of.
#[tokio::test(flavor = "multi_thread")]
async fn facts_are_of_the_machine_that_was_asked() {
    let site = Site::start(2).await;
    site.ask("facts prod.web").await.expect(0);
    let path = site.config.join("hosts/prod.toml");
    let port = |host: usize| format!("port = {}", site.hosts[host].sshd.address.port());
    let text = crate::support::read(&path)
        .replace(&port(1), "port = 0")
        .replace(&port(0), &port(1))
        .replace("port = 0", &port(0));
    write(&path, &text);
    write(&site.dir.path().join("state/known_hosts"), &{
        let lines: Vec<String> = site.hosts.iter().map(|host| host.sshd.known_hosts_line()).collect();
        lines.concat()
    });
    site.ask("reload").await.expect(0);
    let told = objects(&site.ask("facts prod.web --json").await.expect(0).out);
    assert!(told.iter().all(|object| object["run"] == 2), "{told:?}");
}

#[test]
fn programs_for_facts_have_names_that_templates_can_read() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    write(&at("hosts/p.toml"), "[w]\nhosts = \"w1\"\n");
    for (name, mode) in [
        ("rack.sh", 0o755),
        ("rack.py", 0o755),
        ("my-rack", 0o755),
        ("forgotten.sh", 0o644),
        ("README.md", 0o644),
        ("old.sh~", 0o755),
    ] {
        let path = at("files/facts").join(name);
        write(&path, if name == "README.md" { "words" } else { "#!/bin/sh\n" });
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let wrong: Vec<String> = rollcall::config::load(root.path())
        .unwrap_err()
        .iter()
        .map(|one| format!("{}: {}", one.file, one.message))
        .collect();
    assert_eq!(
        wrong,
        [
            "files/facts/forgotten.sh: the script is not executable",
            "files/facts/my-rack: `my-rack` cannot name a fact: no template could read it",
            "files/facts/rack.sh: another file is the fact `rack` already",
        ]
    );
}
