//! What the daemon logs of runs and connections, in each format; and what it still answers while it stops.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::support::daemon::{rollcall, spawn_logged};
use crate::support::eventually;
use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_connections_are_logged_from_begin_to_end() {
    let site = Site::without_daemon(2).await;
    let (_daemon, port, log) = spawn_logged(&site, "info").await;
    site.ask_at(port, "deploy prod version=2.0.0").await.expect(0);
    eventually("the client is gone", async || log.text().contains("disconnected operator=\"ann\"")).await;
    let text = log.text();
    let line = |part: &str| {
        let found = text.lines().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {text}"))
    };
    let order = [
        line("connected operator=\"ann\" key=\"SHA256:"),
        line("asked operator=ann"),
        line("a run started operator=ann key="),
        line("a batch started run=1 batch=1 of=2 hosts=\"web01\""),
        line("a batch started run=1 batch=2 of=2 hosts=\"web02\""),
        line("a run ended run=1 outcome=\"done\""),
        line("disconnected operator=\"ann\""),
    ];
    assert!(order.is_sorted(), "{order:?}: {text}");
    assert!(text.contains("title=\"deploy prod hook=true version=2.0.0\" hosts=2"), "{text}");
    site.ask_at(port, "deploy prod version=3.0.0 'hook=false'").await.expect(2);
    for part in
        ["a run starts no further host run=2 why=", "a host ended run=2 host=web01 end=\"rolled-back\" why="]
    {
        // The log is read by another task than the answer.
        eventually(part, async || log.text().contains(part)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_json() {
    let site = Site::without_daemon(1).await;
    let mut command = rollcall(&site);
    command.args(["serve", "--log", "json"]).stderr(Stdio::piped()).kill_on_drop(true);
    let mut daemon = command.spawn().unwrap();
    let mut stderr = daemon.stderr.take().unwrap();
    let mut text = String::new();
    while !text.contains("addresses") || !text.ends_with('\n') {
        let mut part = [0; 4096];
        let count = stderr.read(&mut part).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(
            event["time"].is_string() && event["level"].is_string() && event["message"].is_string(),
            "{line}"
        );
    }
}

/// Operators can see how far a daemon is that stops, and end what holds it up.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_stops_the_door_stays_open() {
    let site = Site::without_daemon(2).await;
    let (mut daemon, port, log) = spawn_logged(&site, "info").await;
    let hook = "touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let line = format!("deploy prod version=2.0.0 'hook={hook}'");
    let client = site.ssh_to(port, "ann", &line).spawn().unwrap();
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    let id = daemon.id().unwrap();
    let signal = nix::sys::signal::Signal::SIGTERM;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.try_into().unwrap()), signal).unwrap();
    let stops = "rollcall stops when hosts have finished their bracket runs=\"1\"";
    eventually("it stops", async || log.text().contains(stops)).await;
    let refused = site.ask_at(port, "deploy prod version=3.0.0").await;
    let wanted = "rollcall is stopping and starts nothing new; try again when it is back";
    assert!(refused.err.contains(wanted) && refused.status != 0, "{refused:#?}");
    site.ask_at(port, "debts").await;
    let shown = site.ask_at(port, "show 1").await.expect(0);
    assert!(shown.out.contains("web01"), "{shown:#?}");
    site.ask_at(port, "status").await;
    let watch = site.ssh_to(port, "ann", "watch 1").spawn().unwrap();
    site.ask_at(port, "cancel 1 --now").await.expect(0);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), daemon.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
    for client in [client, watch] {
        let output = client.wait_with_output().await.unwrap();
        assert!(!output.stdout.is_empty(), "{output:?}");
    }
}
