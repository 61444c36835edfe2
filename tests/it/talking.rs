//! Commands that an operator types: their input, their output as it arrives, and an operator who leaves.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::client::{Client, ask};
use crate::support::site::{Site, answer_of, with_input};
use crate::support::{DEADLINE, eventually, read, until, write};

/// Prints, and then waits until the test lets it go on.
const WAITS: &str = "echo begun; until [ -e /tmp/x/go ]; do sleep 0.05; done; echo over";

/// The same, in the folder of the test.
fn waits(site: &Site) -> String {
    WAITS.replace("/tmp/x", &site.dir.path().display().to_string())
}

fn go_on(site: &Site) {
    write(&site.dir.path().join("go"), "");
}

/// A plain `ssh -tt`, whose terminal is its standard input and output.
fn on_terminal(site: &Site, line: &str) -> Child {
    let mut command = site.ssh("ann", line);
    let mut terminal = Command::new("ssh");
    // A terminal that cannot draw prints each step.
    terminal.env("TERM", "dumb").arg("-tt").args(command.as_std_mut().get_args());
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    terminal.spawn().unwrap()
}

async fn status_of(mut child: Child) -> Option<i32> {
    timeout(DEADLINE, child.wait()).await.expect("an end").unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_of_a_command_reaches_all_hosts() {
    let site = Site::start(2).await;
    let answer = with_input(site.ssh("ann", "run web01 -- cat"), b"one\ntwo").await.expect(0);
    assert_eq!(answer.out, "one\ntwo");
    let answer = with_input(site.ssh("ann", "run web -- cat"), b"x\n").await.expect(0);
    let mut lines: Vec<&str> = answer.out.lines().collect();
    lines.sort();
    assert_eq!(lines, ["web01: x", "web02: x"]);
    // More than any window or pipe holds.
    let long = vec![b'x'; 3_000_000];
    let answer = with_input(site.ssh("ann", "run web -- wc -c"), &long).await.expect(0);
    assert_eq!(answer.out.matches(": 3000000\n").count(), 2, "{answer:#?}");
    with_input(site.ssh("ann", "run web -- true"), &long).await.expect(0);
    // Nothing on standard input is the end of it.
    let mut none = site.ssh("ann", "run web01 -- cat; echo over");
    none.stdin(Stdio::null());
    assert_eq!(answer_of(none).await.expect(0).out, "over\n");
    // `retry` does not have it, and must not send another.
    with_input(site.ssh("ann", "run web01 -- cat; exit 3"), b"x").await.expect(2);
    let again = with_input(site.ssh("ann", "retry 6"), b"y").await.expect(69);
    let why = "run 6 was given input, which is not kept; try: run web01 -- ... <INPUT\n";
    assert!(again.err.ends_with(why), "{again:#?}");
    with_input(site.ssh("ann", "run web01 -- echo again; exit 3"), b"").await.expect(2);
    assert_eq!(with_input(site.ssh("ann", "retry 7"), b"").await.expect(2).out, "again\n");
    // Input that is too long is refused, and not cut.
    let count = site.dir.path().join("count");
    let line = format!("run web01 -- cat >{0}.part && mv {0}.part {0}", count.display());
    let answer = with_input(site.ssh("ann", &line), &vec![b'x'; 9_000_000]).await.expect(6);
    assert!(answer.err.contains("rollcall: the input has more than 8 MiB; try: a step `upload`; the commands of run 9 are being stopped\n"), "{answer:#?}");
    assert!(!count.exists());
    // Without the program rollcall at the door, too.
    let mut local = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    local.args(["--local", "--config"]).arg(&site.config).args(["run", "web01", "--", "cat"]);
    local.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut site = site;
    site.daemon.take().unwrap().stop().await;
    // Sessions may hold the store for a moment more: what was written last is in the log of SQLite until then.
    let log = site.dir.path().join("state/rollcall.db-wal");
    eventually("the store is closed", async || !log.exists()).await;
    let answer = with_input(local, b"by hand\n").await.expect(0);
    assert!(answer.out.ends_with("by hand\n"), "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_appears_as_it_comes_and_all_of_it() {
    let site = Site::start(2).await;
    let line = format!("run web -- {}", waits(&site));
    let mut child = site.ssh("ann", &line).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let text = until(&mut out, "web01: begun\n").await;
    if !text.contains("web02: begun\n") {
        until(&mut out, "web02: begun\n").await;
    }
    go_on(&site);
    until(&mut out, ": over\n").await;
    assert_eq!(status_of(child).await, Some(0));

    // Of one host it is as the host prints it, on both outputs and without a newline at the end.
    let answer = site.ask("run web01 -- printf a; printf b >&2; exit 4").await.expect(2);
    assert_eq!(answer.out, "a");
    assert!(answer.err.ends_with("bweb01: step `command`: exit status 4: b\n"), "{answer:#?}");
    // More than is kept.
    let answer = site.ask("run web01 -- seq 100000").await.expect(0);
    assert_eq!(answer.out.lines().count(), 100_000);
    assert!(answer.out.starts_with("1\n2\n") && answer.out.ends_with("\n100000\n"));
    // Folded at the end on request; what is not there of it is no success.
    let answer = site.ask("run web -b -- seq 100000").await.expect(2);
    assert!(
        answer.out.starts_with("---------------\nweb[01-02] (2)\n---------------\n  1\n"),
        "{}",
        &answer.out[..100]
    );
    assert!(answer.err.contains("rollcall: web[01-02]: "), "{}", answer.err);
    assert!(
        answer.err.contains(
            " bytes of the output are left out; without -b, --diff and --json all of it is printed\n"
        )
    );
    site.ask("run web -b -- seq 100").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_one_result_for_each_host() {
    let site = Site::start(2).await;
    site.hosts[1].sshd.kill();
    let answer = site.ask("run web --json -- echo out; echo err >&2; exit 3").await.expect(2);
    let lines: Vec<Value> = answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{answer:#?}");
    let of =
        |host: &str| lines.iter().find(|line| line["schema"] == "result" && line["host"] == host).unwrap();
    let web01 = of("web01");
    assert_eq!(web01["version"], 1);
    assert_eq!(web01["run"], 1);
    assert_eq!(web01["end"], "failed");
    assert_eq!(web01["exit_status"], 3);
    assert_eq!(web01["stdout"], serde_json::json!({ "text": "out\n", "left_out": 0 }));
    assert_eq!(web01["stderr"], serde_json::json!({ "text": "err\n", "left_out": 0 }));
    assert!(web01["took_ms"].is_u64());
    let web02 = of("web02");
    assert_eq!(
        (&web02["exit_status"], web02["why"].as_str().is_some_and(|why| why.contains("cannot connect"))),
        (&Value::Null, true),
        "{web02}"
    );
    assert_eq!(lines[2]["schema"], "recap");
    let good = site.ask("run web01 --json -- true").await.expect(0);
    let result: Value = serde_json::from_str(good.out.lines().next().unwrap()).unwrap();
    assert_eq!((&result["end"], &result["exit_status"]), (&"done".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_knows_that_the_commands_continue() {
    let site = Site::start(2).await;
    // Without a terminal it is said before.
    let line = format!("run web -- {}", waits(&site));
    let mut child = site.ssh("ann", &line).spawn().unwrap();
    until(child.stdout.as_mut().unwrap(), "begun").await;
    child.kill().await.unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(
        said,
        "run 1: if this connection closes, the commands continue; to follow: watch 1; to stop them: cancel 1 --now\n"
    );
    assert!(site.ask("runs").await.out.contains("under way"), "it continues");
    site.ask("cancel 1 --now").await.expect(0);
    site.ask("watch 1").await.expect(6);
    // With half of an input they do not: they must not take it for all of it.
    let whole = site.dir.path().join("whole");
    let mut child = site
        .ssh("ann", &format!("run web01 -- echo begun; cat; touch {}", whole.display()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until(child.stdout.as_mut().unwrap(), "begun").await;
    child.stdin.as_mut().unwrap().write_all(b"half").await.unwrap();
    until(child.stdout.as_mut().unwrap(), "half").await;
    child.kill().await.unwrap();
    site.ask("watch 2").await.expect(6);
    assert!(!whole.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_second_ctrl_c_stops_the_commands() {
    let site = Site::start(2).await;
    let line = format!("run web -- {}", waits(&site));
    let mut child = on_terminal(&site, &line);
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut out, "begun").await;
    keys.write_all(b"y").await.unwrap();
    until(&mut out, "what is typed on a terminal is not sent to the hosts; try: ssh without -t").await;
    keys.write_all(b"\x03").await.unwrap();
    until(&mut out, "run 1: the commands continue on the hosts; Ctrl-C again within 5 seconds stops them")
        .await;
    keys.write_all(b"\x03").await.unwrap();
    until(&mut out, "run 1: the commands are being stopped").await;
    assert_eq!(status_of(child).await, Some(6));

    // Pressed once more, it leaves, and says that they do not continue.
    let mut child = on_terminal(&site, &line);
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut out, "begun").await;
    keys.write_all(b"many other keys, none of which may push out Ctrl-C\x03\x03\x03").await.unwrap();
    let said = until(&mut out, "run 2 is being stopped; to follow it: watch 2").await;
    assert!(!said.contains("continues"), "{said}");
    assert_eq!(status_of(child).await, Some(130));
    site.ask("watch 2").await.expect(6);

    // Pressed once, it leaves them running.
    let mut child = on_terminal(&site, &line);
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut out, "begun").await;
    keys.write_all(b"\x03").await.unwrap();
    until(&mut out, "run 3 continues; to watch it again: watch 3; to stop it: cancel 3").await;
    assert_eq!(status_of(child).await, Some(130));
    assert!(site.ask("runs").await.out.contains("under way"));

    // Who watches leaves at once, and stops nothing.
    let mut child = on_terminal(&site, "watch 3");
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    keys.write_all(b"\x03\x03").await.unwrap();
    until(&mut out, "run 3 continues; to watch it again: watch 3").await;
    assert_eq!(status_of(child).await, Some(130));
    go_on(&site);
    site.ask("watch 3").await.expect(0);

    // A deploy: Ctrl-C asks.
    let hook = "hook=touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let mut child = on_terminal(&site, &format!("deploy prod version=2.0.0 '{hook}'"));
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut out, "stop: ok").await;
    keys.write_all(b"\x03d").await.unwrap();
    until(&mut out, "run 4 continues; to watch it again: watch 4; to stop it: cancel 4").await;
    assert_eq!(status_of(child).await, Some(130));
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    site.ask("watch 4").await.expect(0);
    assert_eq!(read(&site.hosts[0].dir.join("current/VERSION")).trim(), "2.0.0");
}

/// There is no daemon that could continue.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_a_second_ctrl_c_ends_the_commands() {
    let site = Site::without_daemon(1).await;
    let mut local = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    local.args(["--local", "--config"]).arg(&site.config).args(["run", "web01", "--", &waits(&site)]);
    local.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = local.spawn().unwrap();
    until(child.stdout.as_mut().unwrap(), "begun").await;
    let pid = child.id().unwrap().to_string();
    let interrupt = || {
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    };
    let mut err = child.stderr.take().unwrap();
    let mut said = String::new();
    for text in [
        "run 1: no further host starts; Ctrl-C again ends running steps\n",
        "run 1: running steps are being ended\n",
    ] {
        interrupt();
        let mut piece = [0; 4096];
        while !said.contains(text) {
            let read = timeout(DEADLINE, err.read(&mut piece)).await.expect("it is said").unwrap();
            assert!(read > 0, "{said}");
            said += &String::from_utf8_lossy(&piece[..read]);
        }
    }
    assert_eq!(status_of(child).await, Some(6));
}

/// The door reads on while the client does not: input that flows delays no other command of the connection.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_flows_delays_no_other_command() {
    let site = Site::start(1).await;
    let client = Client::of(&site, "ann").await;
    let slow = client.channel().await.unwrap();
    slow.exec(true, "run web01 -- sleep 1000").await.unwrap();
    let flood = vec![b'x'; 1_000_000];
    slow.data(&flood[..]).await.unwrap();
    let (status, text) = ask(client.channel().await.unwrap(), "whoami").await;
    assert!(status == 0 && text.starts_with("ann "), "{text}");
    eventually("the command runs", async || site.ask("runs").await.out.contains("under way")).await;
    site.ask("cancel 1 --now").await.expect(0);
    site.ask("watch 1").await.expect(6);
}

/// The other work on a host uses the same connection, so nothing on it waits for a client.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_delays_no_other_work_on_the_host() {
    let site = Site::start(1).await;
    let mut slow = site.ssh("ann", "run web01 -- yes | head -c 30000000").spawn().unwrap();
    until(slow.stdout.as_mut().unwrap(), "y\n").await;
    site.ask("run web01 -- echo passed").await.expect(0);
    eventually("the run ends", async || !site.ask("runs").await.out.contains("under way")).await;
    // A program would take the rest for all of it.
    let output = timeout(DEADLINE, slow.wait_with_output()).await.expect("an end").unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    let missed = "bytes of output were not passed on: your client reads too slowly; the first and the last part are kept; \
                  try: show 1 --host web01\n";
    assert!(err.contains("rollcall: web01: ") && err.ends_with(missed), "{err}");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.len() > 4_000_000 && output.stdout.len() < 30_000_000, "{}", output.stdout.len());
    assert!(site.ask("show 1 --host web01").await.expect(0).out.contains("y\n"));
}
