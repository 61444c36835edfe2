//! Checks that are watched, on real sshd: from the first look to the alert in the store, with operators in between.

use std::path::Path;

use rollcall::domain::watch::alert::{Alert, AlertChange};
use rollcall::store::SqliteStore;
use serde_json::Value;

use crate::support::site::Site;
use crate::support::{eventually, read, write};

/// Two checks of each host, each second.
const WATCH: &str = r#"
every = "1s"
max_attempts = 2
[[check]]
name = "flag"
run = "test ! -e {{ root }}/bad && cat {{ root }}/current/VERSION"
[[check]]
name = "on the release"
run = "cat {{ root }}/current/VERSION; test ! -e {{ root }}/down"
stdout = { equals = "{{ version }}" }
max_attempts = 1
"#;

/// A site whose hosts are on a release, and watched by a daemon.
async fn watched(hosts: usize) -> Site {
    let mut site = Site::start(hosts).await;
    site.ask("deploy prod version=1.0.1").await.expect(0);
    stop(&mut site).await;
    let path = site.config.join("hosts/prod.toml");
    write(&path, &read(&path).replace("checks = [\"http\"]", "checks = [\"http\", \"watch\"]"));
    write(&site.config.join("checks/watch.toml"), WATCH);
    site.start_daemon().await;
    all_is(&site, "ok").await;
    site
}

async fn stop(site: &mut Site) {
    site.daemon.take().expect("a daemon").stop().await;
}

async fn lines(site: &Site) -> Vec<Value> {
    let answer = site.ask("status --json").await;
    let lines = answer.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["schema"] == "status").collect()
}

async fn line(site: &Site, host: &str, check: &str) -> Value {
    let lines = lines(site).await;
    let found = lines.into_iter().find(|line| line["host"] == host && line["check"] == check);
    found.unwrap_or(Value::Null)
}

/// Every check on every host has been seen, like this.
async fn all_is(site: &Site, verdict: &str) {
    eventually(&format!("all is {verdict}"), async || {
        let lines = lines(site).await;
        lines.len() == site.hosts.len() * 3 && lines.iter().all(|line| line["verdict"] == verdict)
    })
    .await;
}

async fn stands(site: &Site, host: &str, check: &str, verdict: &str) {
    eventually(&format!("{host} {check} is {verdict}"), async || {
        let line = line(site, host, check).await;
        line["verdict"] == verdict && line["hard"] == true
    })
    .await;
}

/// What is in the store when the daemon has stopped.
async fn alerts(site: &mut Site) -> Vec<Alert> {
    stop(site).await;
    let path = site.dir.path().join("state/rollcall.db");
    let mut store = SqliteStore::open(&path);
    eventually("the store is free", async || {
        if store.is_err() {
            store = SqliteStore::open(&path);
        }
        store.is_ok()
    })
    .await;
    store.unwrap().alerts_now(0, 100).unwrap().into_iter().map(|(_, alert)| alert).collect()
}

fn told(alerts: &[Alert]) -> Vec<String> {
    let word = |change: &AlertChange| match change {
        AlertChange::Problem { verdict } => verdict.word().to_string(),
        AlertChange::Acknowledged { by, why } => format!("known to {by}: {why}"),
        other => format!("{other:?}").to_lowercase(),
    };
    alerts.iter().map(|alert| format!("{} {} {}", alert.host, alert.check, word(&alert.change))).collect()
}

fn bad(site: &Site, host: usize) -> std::path::PathBuf {
    site.hosts[host].dir.join("bad")
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_seen_told_known_and_over() {
    let mut site = watched(2).await;
    assert!(site.ask("status").await.expect(0).out.ends_with("6 checks on 2 hosts: 6 ok\n"));
    write(&bad(&site, 1), "");
    stands(&site, "web02", "flag", "critical").await;
    let status = site.ask_as("vic", "status").await.expect(2);
    assert!(status.out.contains("critical  web02  watch/flag"), "{}", status.out);
    let why = site.ask_as("vic", "why web02").await.expect(2);
    assert!(why.out.starts_with("web02 watch/flag: critical for "), "{}", why.out);
    assert!(why.out.contains("ago: exit status 1, wanted 0\n  last ok  "), "{}", why.out);
    assert!(why.out.contains("1.0.1\n  between  no run of rollcall touched the host\n"), "{}", why.out);
    // Whoever may only look acknowledges nothing, and there is nothing to know of what is ok.
    site.ask_as("vic", "ack web02 flag because x").await.expect(77);
    let refused = site.ask("ack web01 flag because x").await.expect(69);
    assert!(refused.err.contains("there is nothing to acknowledge"), "{}", refused.err);
    site.ask_as("bob", "ack web02 flag because the flag is known").await.expect(0);
    assert!(site.ask("status").await.expect(2).out.contains("known to bob: the flag is known"));

    // Another daemon knows it all, and tells nothing twice.
    let before = line(&site, "web02", "flag").await;
    stop(&mut site).await;
    site.start_daemon().await;
    eventually("it is looked at again", async || {
        let now = line(&site, "web02", "flag").await;
        now["last_at"] != before["last_at"] && now["since"] == before["since"] && now["hard"] == true
    })
    .await;
    assert_eq!(line(&site, "web02", "flag").await["ack"]["by"], "bob");
    remove(&bad(&site, 1));
    stands(&site, "web02", "flag", "ok").await;

    let history = site.ask_as("vic", "history web02 flag").await.expect(0);
    let changes: Vec<&str> =
        ["ok ", "critical (soft)", "critical ", "acknowledged by bob: the flag is known", "ok "].into();
    let mut rest = history.out.as_str();
    for change in changes {
        let at = rest.find(change).unwrap_or_else(|| panic!("no {change:?} in {rest}"));
        rest = &rest[at + change.len()..];
    }
    assert!(history.out.contains("X") && history.out.contains(" ms per probe\n"), "{}", history.out);
    // The looks of runs stand there, too: the gate of the deploy had other checks.
    assert!(site.ask("history web02 answers").await.expect(0).out.contains("run 1: HTTP status 200"));
    let unknown = site.ask("history web02 flga").await.expect(64);
    assert!(unknown.err.contains("did you mean `flag`?"), "{}", unknown.err);

    let alerts = alerts(&mut site).await;
    assert_eq!(
        told(&alerts),
        [
            "web02 watch/flag critical",
            "web02 watch/flag known to bob: the flag is known",
            "web02 watch/flag recovery"
        ]
    );
    assert_eq!((alerts[0].group.as_str(), alerts[0].text.as_str()), ("prod.web", "exit status 1, wanted 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_is_one_alert_and_a_downtime_is_none() {
    let mut site = watched(2).await;
    // One that is announced is told to nobody, and nobody forgets to end it.
    let begun = site.ask_as("bob", "downtime web01 for 1h because new memory").await.expect(0);
    assert!(begun.out.contains("downtime 1: no alerts for the checks of 1 host until "), "{}", begun.out);
    write(&bad(&site, 0), "");
    stands(&site, "web01", "flag", "critical").await;
    let status = site.ask("status").await.expect(0);
    assert!(status.out.contains("downtime 1 by bob for 59m"), "{}", status.out);
    assert!(site.ask("downtime").await.expect(0).out.contains("new memory"));
    site.ask_as("vic", "downtime end 1").await.expect(77);
    let wrong = site.ask("downtime web01 flga for 1h because x").await.expect(64);
    assert!(wrong.err.contains("did you mean `flag`?"), "{}", wrong.err);
    remove(&bad(&site, 0));
    stands(&site, "web01", "flag", "ok").await;
    site.ask_as("bob", "downtime end 1").await.expect(0);
    assert!(site.ask("downtime").await.expect(0).out.starts_with("no downtime"));

    // One that is not announced.
    let sshd = &site.hosts[1].sshd;
    write(&sshd.dir.join("no-entry"), "");
    sshd.cut();
    stands(&site, "web02", "reachable", "critical").await;
    let status = site.ask("status").await.expect(2);
    assert!(status.out.contains("critical  web02  reachable"), "{}", status.out);
    assert_eq!(line(&site, "web02", "flag").await["verdict"], "ok", "nothing is known of it");
    assert_eq!(line(&site, "web02", "flag").await["quiet"]["on"], "the host");
    remove(&sshd.dir.join("no-entry"));
    all_is(&site, "ok").await;
    assert_eq!(told(&alerts(&mut site).await), ["web02 reachable critical", "web02 reachable recovery"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_a_downtime_of_its_hosts_that_always_ends() {
    let mut site = watched(3).await;
    // Long enough for many looks, had there been any; the application is down meanwhile.
    let deployed = site.ask("deploy prod version=1.0.2 'hook=sleep 3'");
    let (deployed, ()) = tokio::join!(deployed, async {
        eventually("a host is in the hands of the run", async || {
            lines(&site)
                .await
                .iter()
                .any(|line| line["quiet"]["is"] == "in-hand" && line["quiet"]["run"] == 2)
        })
        .await;
    });
    deployed.expect(0);
    // The checks ask for the new release now.
    eventually("all is looked at anew", async || {
        let lines = lines(&site).await;
        let anew = |line: &Value| line["quiet"].is_null() && line["verdict"] == "ok";
        let on_it = |line: &Value| {
            line["check"] != "on the release" || line["text"].as_str().unwrap().contains("1.0.2")
        };
        lines.iter().all(|line| anew(line) && on_it(line))
    })
    .await;
    // One that fails and goes back is over, too.
    site.ask("deploy web01 version=2.0.0 'hook=touch releases/2.0.0/BROKEN'").await.expect(2);
    all_is(&site, "ok").await;
    eventually("nobody holds it", async || line(&site, "web01", "flag").await["quiet"].is_null()).await;
    let why = site.ask("why web01 flag").await.expect(0);
    assert!(why.out.starts_with("web01 watch/flag: ok for "), "{}", why.out);
    // The looks of the run are in the history of the check, beside those of the schedule.
    let history = site.ask("history web01 --json").await.expect(0);
    let of_run = |line: &str| line.contains("\"check\":\"on the release\"") && line.contains("\"run\":3");
    assert!(history.out.lines().any(of_run), "{}", history.out);
    assert_eq!(told(&alerts(&mut site).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_like_a_dry_run_did_touch_the_host() {
    let site = watched(2).await;
    let touch = format!("run web02 -- sh -c 'touch {}' --check", bad(&site, 1).display());
    site.ask(&touch).await.expect(0);
    stands(&site, "web02", "flag", "critical").await;
    site.ask("touch web02 --check").await.expect(0);
    let why = site.ask("why web02").await.expect(2).out;
    assert!(why.contains(": run web02 -- sh -c "), "{why}");
    assert!(!why.contains("touch web02 --check"), "{why}");
}
