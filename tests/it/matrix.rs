//! The abort matrix: what Ansible, pyinfra, Fabric and clush were measured to do when a rolling deploy goes
//! wrong, played on real sshds behind a real HAProxy or nginx with the nearest setting of rollcall. The
//! rows, and what is asserted of each, are in `matrix/rows.rs`; `docs/abort-matrix.md` shows them.

mod rows;
mod scene;

use std::path::Path;

use tokio::process::Child;

use self::rows::{ROWS, table};
use self::scene::{NEW, Release, Scene};
use crate::support::daemon::spawn_daemon;
use crate::support::site::{FIRST, WebHost};
use crate::support::{DEADLINE, eventually, read, write};

async fn play(id: &str) {
    Scene::start(id).await.play().await;
}

/// Ansible goes on with whoever is left unless it is told otherwise: `on_failure = "continue"`.
#[tokio::test(flavor = "multi_thread")]
async fn a1_one_host_fails_and_the_others_go_on() {
    play("A1").await;
}

/// Ansible's percentage is of a batch and anew in each; ours is of all hosts of the run: 9% of 10 are none.
#[tokio::test(flavor = "multi_thread")]
async fn a2_one_host_too_many_fails_and_the_others_of_its_batch_finish() {
    play("A2").await;
}

/// The same with 10% of 10: one may fail.
#[tokio::test(flavor = "multi_thread")]
async fn a3_one_host_fails_and_one_may() {
    play("A3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_an_unreachable_host_counts() {
    play("A4").await;
}

/// With none to spare the unreachable host alone would stop the run before any is taken out (A4): one
/// may fail, so that both troubles come to pass.
#[tokio::test(flavor = "multi_thread")]
async fn a5_a_failed_and_an_unreachable_host_count_together() {
    play("A5").await;
}

/// `any_errors_fatal` is `max_failures = 0`.
#[tokio::test(flavor = "multi_thread")]
async fn a6_an_unreachable_host_is_fatal() {
    play("A6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_an_unreachable_host_is_fatal_one_host_at_a_time() {
    play("A7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_failed_host_is_fatal_and_the_other_of_its_batch_finishes() {
    play("A8").await;
}

/// There are no strategies: the hosts of a batch never wait for each other between steps.
#[tokio::test(flavor = "multi_thread")]
async fn a9_hosts_at_their_own_pace_are_stopped_all_the_same() {
    play("A9").await;
}

/// `block` with `always: enable` is the bracket itself, which a task cannot leave out; what `rescue` would
/// undo is in `[[rollback]]`.
#[tokio::test(flavor = "multi_thread")]
async fn a10_an_unreachable_host_is_not_taken_out_and_the_others_go_on() {
    play("A10").await;
}

/// pyinfra has no batches unless it is told; nor has a rollout here. What is out at the same time is then
/// up to the balancer's floor.
#[tokio::test(flavor = "multi_thread")]
async fn p1_all_at_once_takes_out_what_the_floor_allows() {
    play("P1").await;
}

/// Without a floor of its own a balancer keeps its last server.
#[tokio::test(flavor = "multi_thread")]
async fn p2_all_at_once_and_none_may_fail() {
    play("P2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_one_at_a_time_in_the_order_of_the_plan() {
    play("P3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_the_second_host_fails_and_the_third_is_not_begun() {
    play("F1").await;
}

/// `-w` makes failures warnings: `on_failure = "continue"`. A host that failed stays out nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn f2_a_failed_host_does_not_serve_whoever_goes_on() {
    play("F2").await;
}

/// An ad-hoc command has no bracket: nobody is taken out, and the exit status is true.
#[tokio::test(flavor = "multi_thread")]
async fn c1_a_command_that_fails_somewhere_is_no_success() {
    let scene = Scene::start("C1").await;
    let is_bad = |host: &&WebHost| scene.row.fails.contains(&host.name.as_str());
    let ports: Vec<String> = scene.site.hosts.iter().filter(is_bad).map(port_pattern).collect();
    let command = format!("case \"$SSH_CONNECTION\" in {}) exit 1 ;; esac", ports.join("|"));
    let answer = scene.site.ask(&format!("run prod.web -- {command}")).await;
    assert_eq!(answer.status, scene.row.exit, "{answer:#?}");
    for (host, end) in scene.ends(scene.site.port(), 1).await {
        let wanted = if scene.row.fails.contains(&host.as_str()) { "failed" } else { "done" };
        assert_eq!(end, wanted, "{host}");
    }
    assert!(scene.out().await.is_empty());
}

/// All hosts are this machine: the port of their sshd tells them apart.
fn port_pattern(host: &WebHost) -> String {
    format!("*' {}'", host.sshd.address.port())
}

/// What a hook does until it may go on, or its folder is gone.
const WAIT: &str = "touch in-hook; while [ -e in-hook ] && ! [ -e go ]; do sleep 0.05; done";

/// Asks for a release, and waits until each host of the first batch is in the middle of it.
async fn deploy_until_hook(scene: &Scene, port: u16, version: &str) -> Child {
    let line = format!("deploy prod version={version} 'hook={WAIT}'");
    let client = scene.site.ssh_to(port, "ann", &line).spawn().expect("ssh is there");
    for host in scene.site.hosts.iter().take(scene.row.batch) {
        let mark = host.dir.join("in-hook");
        eventually("the step runs", async || mark.exists()).await;
    }
    assert_eq!(scene.out().await.len(), scene.row.most, "the batch is out");
    client
}

fn go_on(scene: &Scene) {
    scene.site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
}

/// Makes the hosts wait again.
fn rewind(scene: &Scene) {
    for host in &scene.site.hosts {
        for mark in ["go", "in-hook"] {
            // A host that was not reached has none.
            let _ = std::fs::remove_file(host.dir.join(mark));
        }
    }
}

fn send(signal: &str, child: &Child) {
    let pid = child.id().expect("it runs").to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().expect("kill").success());
}

/// The one who asks is not the one who does: whatever ends the client, the run goes on to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a11_the_client_is_ended_by_a_signal_and_the_run_goes_on() {
    let scene = Scene::start("A11a").await;
    let port = scene.site.port();
    let mut before = FIRST;
    for (run, signal, version) in [(1, "-INT", "2.0.0"), (2, "-HUP", "2.0.1"), (3, "-TERM", "2.0.2")] {
        rewind(&scene);
        let mut client = deploy_until_hook(&scene, port, version).await;
        send(signal, &client);
        client.wait().await.expect("it is ended");
        go_on(&scene);
        let watched = scene.site.ask_at(port, &format!("watch {run}")).await;
        assert_eq!(watched.status, scene.row.exit, "{signal}: {watched:#?}");
        scene.judge(port, Release { run, version, before }).await;
        before = version;
    }
}

/// SIGHUP has it read its configuration again. SIGINT and SIGTERM end it when nobody is in their bracket any
/// more, and the next start goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a11_the_daemon_gets_a_signal_and_leaves_nobody_out() {
    let scene = Scene::without_daemon("A11b").await;
    let mut before = FIRST;
    for (run, signal, version) in [(1, "-INT", "2.0.0"), (2, "-HUP", "2.0.1"), (3, "-TERM", "2.0.2")] {
        rewind(&scene);
        let (mut daemon, mut port) = spawn_daemon(&scene.site).await;
        let client = deploy_until_hook(&scene, port, version).await;
        send(signal, &daemon);
        go_on(&scene);
        if signal != "-HUP" {
            let ended = tokio::time::timeout(DEADLINE, daemon.wait()).await.expect("it ends");
            assert!(ended.expect("a status").success(), "{signal}");
            assert!(scene.out().await.is_empty(), "{signal}: nobody is out while nobody is there");
            (daemon, port) = spawn_daemon(&scene.site).await;
        }
        let watched = scene.site.ask_at(port, &format!("watch {run}")).await;
        assert_eq!(watched.status, scene.row.exit, "{signal}: {watched:#?}");
        scene.judge(port, Release { run, version, before }).await;
        before = version;
        drop(client);
        daemon.kill().await.expect("it runs");
    }
}

/// The step runs apart from the connection: it is asked for on a new one.
#[tokio::test(flavor = "multi_thread")]
async fn u1_contact_that_comes_back_changes_nothing() {
    let scene = Scene::start("U1").await;
    let client = deploy_until_hook(&scene, scene.site.port(), NEW.version).await;
    scene.site.hosts[1].sshd.cut();
    go_on(&scene);
    let output = client.wait_with_output().await.expect("an answer");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(scene.row.exit), "{out}");
    scene.judge(scene.site.port(), NEW).await;
}

/// Nobody can tell: it is neither put back nor told to have failed.
#[tokio::test(flavor = "multi_thread")]
async fn u2_what_became_of_a_host_is_not_known_and_it_stays_out() {
    let mut scene = Scene::without_daemon("U2").await;
    let task = scene.site.config.join("tasks/deploy.toml");
    write(&task, &read(&task).replace("name = \"hook\"\n", "name = \"hook\"\ntimeout = \"10s\"\n"));
    scene.site.start_daemon().await;
    let client = deploy_until_hook(&scene, scene.site.port(), NEW.version).await;
    scene.site.hosts[0].sshd.kill();
    let output = client.wait_with_output().await.expect("an answer");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(scene.row.exit), "{out}");
    let ends = scene.ends(scene.site.port(), NEW.run).await;
    assert_eq!(ends["web01"], "unknown");
    scene.judge(scene.site.port(), NEW).await;
}

#[test]
fn the_table_in_the_docs_is_what_the_tests_assert() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/abort-matrix.md");
    let text = std::fs::read_to_string(&path).expect("docs/abort-matrix.md");
    let shown: String =
        text.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    assert!(shown == table(), "docs/abort-matrix.md is old; put this table there:\n{}", table());
}

#[test]
fn every_row_has_its_test() {
    let source = include_str!("matrix.rs");
    for row in ROWS {
        let begin = format!("\nasync fn {}() {{\n", row.test);
        let body = source.split(&begin).nth(1).unwrap_or_else(|| panic!("no test is called {}", row.test));
        let body = body.split("\n}\n").next().expect("a body");
        assert!(body.contains(&format!("(\"{}\")", row.id)), "{} does not play {}", row.test, row.id);
    }
}
