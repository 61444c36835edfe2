//! What goes wrong on real parts. After each trouble, what rollcall says about every host is compared
//! with a look from outside: the release on the disk, the server's line in nginx, the debts.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::process::Child;

use crate::support::daemon::{local, spawn_daemon};
use crate::support::site::{Answer, FIRST, Site};
use crate::support::{eventually, read, write};

const NEW: &str = "2.0.0";

/// The end that rollcall tells for each host of a run, in the order of the hosts.
async fn ends(site: &Site, run: u64) -> Vec<String> {
    let shown = site.ask(&format!("show {run} --json")).await.expect(0);
    let recap: Value = serde_json::from_str(shown.out.lines().last().unwrap()).unwrap();
    let end = |host: &Value| host["end"].as_str().unwrap_or("none").to_string();
    recap["hosts"].as_array().unwrap().iter().map(end).collect()
}

/// Compares every end with what is outside, and the debts with what is out of rotation.
async fn assert_true(site: &Site, run: u64) -> Vec<String> {
    let ends = ends(site, run).await;
    let out: BTreeSet<String> = site.nginx.out_of_rotation().into_iter().collect();
    for (host, end) in site.hosts.iter().zip(&ends) {
        let (release, is_out) = (host.release(), out.contains(&host.server));
        match end.as_str() {
            "released" | "unchanged" => assert_eq!((release.as_str(), is_out), (NEW, false), "{}", host.name),
            "rolled-back" | "not-started" => {
                assert_eq!((release.as_str(), is_out), (FIRST, false), "{}", host.name)
            }
            "held" | "unknown" => assert!(is_out, "{} is {end} and in rotation", host.name),
            other => panic!("{} ends {other}", host.name),
        }
    }
    let debts = site.ask("debts --json").await.expect(0);
    let owed: BTreeSet<String> = debts
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["host"].as_str().unwrap().to_string())
        .collect();
    let out_hosts: BTreeSet<String> =
        site.hosts.iter().filter(|host| out.contains(&host.server)).map(|host| host.name.clone()).collect();
    assert_eq!(owed, out_hosts, "every host that is out of rotation is a debt, and no other");
    ends
}

/// A hook that stays where it is until [`go_on`].
const WAIT: &str = "touch in-hook; until [ -e go ]; do sleep 0.05; done";

/// Starts a deploy whose hook says by the file `in-hook` that it runs, and waits until it does.
async fn deploy_until_hook(site: &Site, port: u16, hook: &str) -> Child {
    let line = format!("deploy prod version={NEW} 'hook={hook}'");
    let running = site.ssh_to(port, "ann", &line).spawn().unwrap();
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    running
}

/// Lets hooks that wait come to their end.
fn go_on(site: &Site) {
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
}

async fn deploy(site: &Site, hook: &str) -> Answer {
    site.ask(&format!("deploy prod version={NEW} 'hook={hook}'")).await
}

/// Replaces the policy of the task and has it read again.
async fn with_policy(site: &Site, from: &str, to: &str) {
    let path = site.config.join("tasks/deploy.toml");
    let text = read(&path);
    assert!(text.contains(from), "{text}");
    write(&path, &text.replace(from, to));
    site.ask("reload").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_rolled_back() {
    let site = Site::start(3).await;
    let answer = deploy(&site, "echo no room >&2; exit 7").await.expect(2);
    assert!(answer.out.contains("web01 | hook: FAILED: exit status 7: no room"), "{}", answer.out);
    assert_eq!(assert_true(&site, 1).await, ["rolled-back", "not-started", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_under_stop_leaves_the_host_held_and_says_so_under_every_answer() {
    let site = Site::start(3).await;
    with_policy(&site, "on_failure = \"rollback\"", "on_failure = \"stop\"").await;
    let answer = deploy(&site, "exit 7").await.expect(3);
    assert!(answer.out.contains("out of rotation: web01; a person is needed"), "{}", answer.out);
    assert_eq!(assert_true(&site, 1).await, ["held", "not-started", "not-started"]);
    let later = site.ask_as("vic", "runs").await.expect(0);
    assert_eq!(later.err, "out of rotation: web01 (1 open debt); see: debts\n");
    // A run that succeeds puts it back and pays the debt.
    deploy(&site, "true").await.expect(0);
    assert_eq!(assert_true(&site, 2).await, ["released"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_unreachable_from_the_start_is_never_drained() {
    let site = Site::start(3).await;
    with_policy(&site, "serial = [1, \"25%\", \"100%\"]", "serial = 3\nmax_failures = 1").await;
    site.hosts[1].sshd.kill();
    let answer = deploy(&site, "true").await.expect(4);
    assert!(answer.out.contains("web02 | cannot connect to web02 (127.0.0.1:"), "{}", answer.out);
    assert_eq!(assert_true(&site, 1).await, ["released", "not-started", "released"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_host_counts_and_stops_the_run_before_its_batch_is_drained() {
    let site = Site::start(3).await;
    with_policy(&site, "serial = [1, \"25%\", \"100%\"]", "serial = [1, 2]").await;
    site.hosts[2].sshd.kill();
    deploy(&site, "true").await.expect(4);
    assert_eq!(assert_true(&site, 1).await, ["released", "not-started", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_sshd_is_killed_in_the_middle_of_a_step_is_unknown_and_stays_a_debt() {
    let site = Site::start(2).await;
    with_policy(&site, "name = \"hook\"\n", "name = \"hook\"\ntimeout = \"1s\"\n").await;
    // It ends with the folder that holds its mark: nobody can tell it to once sshd is gone.
    let hook = "touch in-hook; while [ -e in-hook ]; do sleep 0.05; done";
    let running = deploy_until_hook(&site, site.port(), hook).await;
    site.hosts[0].sshd.kill();
    let output = running.wait_with_output().await.unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("web01 | hook: UNKNOWN: contact lost"), "{out}");
    assert_eq!(assert_true(&site, 1).await, ["unknown", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_the_middle_of_a_step_changes_nothing() {
    let site = Site::start(2).await;
    let hook = format!("echo ran >>ran; {WAIT}; echo whole");
    let running = deploy_until_hook(&site, site.port(), &hook).await;
    site.hosts[0].sshd.cut();
    go_on(&site);
    let output = running.wait_with_output().await.unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert_eq!(assert_true(&site, 1).await, ["released", "released"]);
    assert_eq!(read(&site.hosts[0].dir.join("ran")), "ran\n", "it ran once");
    let shown = site.ask("show 1 --json").await.expect(0);
    assert!(shown.out.contains("whole"), "what it printed afterwards is not missed: {}", shown.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_file_that_is_broken_already_is_told_and_nothing_is_touched() {
    let site = Site::start(2).await;
    let config = site.nginx.config();
    let broken = read(&config) + "nonsense here;\n";
    write(&config, &broken);
    let answer = deploy(&site, "true").await.expect(2);
    assert!(answer.out.contains("was broken before rollcall came: "), "{}", answer.out);
    assert!(answer.out.contains("nonsense"), "{}", answer.out);
    assert_eq!(read(&config), broken, "the file is as it was");
    assert_eq!(assert_true(&site, 1).await, ["not-started", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_fails_keeps_the_host_from_serving() {
    let site = Site::start(2).await;
    let answer = deploy(&site, &format!("touch releases/{NEW}/BROKEN")).await.expect(2);
    assert!(answer.out.contains("check http/serves the release: critical: exit status 1"), "{}", answer.out);
    assert_eq!(assert_true(&site, 1).await, ["rolled-back", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_detaches_and_the_run_goes_on() {
    let site = Site::start(3).await;
    let mut client = deploy_until_hook(&site, site.port(), WAIT).await;
    client.kill().await.unwrap();
    go_on(&site);
    // Somebody else follows the run from its beginning to its end.
    let watched = site.ask_as("vic", "watch 1").await.expect(0);
    assert!(watched.out.starts_with("run 1: deploy prod "), "{}", watched.out);
    assert!(watched.out.ends_with("run 1: done\n  released  3  web[01-03]\n"), "{}", watched.out);
    assert_eq!(assert_true(&site, 1).await, ["released"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_cannot_deploy_the_same_group() {
    let site = Site::start(2).await;
    let first = deploy_until_hook(&site, site.port(), WAIT).await;
    let second = site.ask_as("bob", &format!("deploy web02 version={NEW}")).await.expect(5);
    assert_eq!(second.err, "rollcall: prod is in the hands of run 1 by ann; try: watch 1, or --wait\n");
    // Looking is never in the way.
    site.ask_as("bob", "check prod version=1.0.0").await;
    go_on(&site);
    assert!(first.wait_with_output().await.unwrap().status.success());
    assert_eq!(assert_true(&site, 1).await, ["released"; 2]);
    site.ask_as("bob", &format!("deploy prod version={NEW}")).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_lets_hosts_finish_their_bracket() {
    let site = Site::start(3).await;
    let running = deploy_until_hook(&site, site.port(), WAIT).await;
    site.ask_as("vic", "cancel 1").await.expect(77);
    site.ask_as("bob", "cancel 1").await.expect(0);
    go_on(&site);
    let output = running.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(assert_true(&site, 1).await, ["released", "not-started", "not-started"]);
    site.ask("cancel 1").await.expect(69);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_now_ends_the_step_on_the_host_and_rolls_back() {
    let site = Site::start(2).await;
    let hook = "touch in-hook; trap \"touch got-term; exit 1\" TERM; while :; do sleep 0.05; done";
    let running = deploy_until_hook(&site, site.port(), hook).await;
    site.ask("cancel 1 --now").await.expect(0);
    let output = running.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(site.hosts[0].dir.join("got-term").exists(), "the step was told by TERM");
    assert_eq!(assert_true(&site, 1).await, ["rolled-back", "not-started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_somebody_else_took_out_is_left_so_and_named() {
    let site = Site::start(3).await;
    let config = site.nginx.config();
    let server = &site.hosts[0].server;
    write(
        &config,
        &read(&config).replace(&format!("{server} max_fails=0;"), &format!("{server} max_fails=0 down;")),
    );
    let answer = deploy(&site, "true").await.expect(3);
    assert!(
        answer.out.contains("web01 was already taken out by another process, and stays out"),
        "{}",
        answer.out
    );
    assert_eq!(ends(&site, 1).await, ["held", "released", "released"]);
    assert_eq!(site.releases(), [NEW; 3]);
    assert_eq!(site.nginx.out_of_rotation(), std::slice::from_ref(server));
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"), "it is not our debt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_goes_on_where_it_was() {
    let site = Site::without_daemon(2).await;
    let (mut daemon, port) = spawn_daemon(&site).await;
    let client = deploy_until_hook(&site, port, WAIT).await;
    let refused = local(&site, "runs").await.expect(1);
    assert!(refused.err.contains("belongs to a rollcall that is running"), "{}", refused.err);
    daemon.kill().await.unwrap();
    drop(client);
    go_on(&site);

    // The same store, without a daemon.
    let debts = local(&site, "debts").await.expect(0);
    assert!(debts.out.contains("web01  prod.web  1"), "{}", debts.out);
    let store = site.dir.path().join("state/rollcall.db");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(store).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "the journal is nobody else's to read");
    let shown = local(&site, "show 1").await.expect(0);
    assert!(shown.out.contains("run 1: under way\n"), "looking takes nothing up: {}", shown.out);
    assert_eq!(site.nginx.out_of_rotation(), [site.hosts[0].server.clone()]);

    // And the next start takes it up: the step went on without anybody, and what it came to is asked for.
    let (mut daemon, port) = spawn_daemon(&site).await;
    let watched = site.ask_at(port, "watch 1").await.expect(0);
    assert!(watched.out.contains("rollcall was away for"), "{}", watched.out);
    assert!(watched.out.contains("  released  2  web[01-02]"), "{}", watched.out);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    assert!(site.ask_at(port, "debts").await.expect(0).out.starts_with("no debts"));
    daemon.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_told_to_stop_finishes_what_is_in_its_bracket_and_goes_on_later() {
    let site = Site::without_daemon(2).await;
    let (mut daemon, port) = spawn_daemon(&site).await;
    let client = deploy_until_hook(&site, port, WAIT).await;
    let pid = daemon.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    go_on(&site);
    let status =
        tokio::time::timeout(crate::support::DEADLINE, daemon.wait()).await.expect("it stops").unwrap();
    assert!(status.success(), "{status}");
    let output = client.wait_with_output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("paused by rollcall: rollcall is stopping"), "{out}");
    assert!(err.contains("rollcall is stopping; run 1 continues when it is back: watch 1"), "{err}");
    assert_eq!(output.status.code(), Some(130), "the run continues");
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new(), "web01 has finished its bracket");
    let shown = local(&site, "show 1").await.expect(0);
    assert!(shown.out.contains("run 1: under way"), "{}", shown.out);

    // It goes on when rollcall is back.
    let (mut daemon, port) = spawn_daemon(&site).await;
    let watched = site.ask_at(port, "watch 1").await.expect(0);
    assert!(watched.out.contains("rollcall was away for"), "{}", watched.out);
    assert!(watched.out.contains("  released  2  web[01-02]"), "{}", watched.out);
    assert_eq!(site.releases(), [NEW; 2]);
    daemon.kill().await.unwrap();
}
