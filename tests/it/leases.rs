//! Locks, holds and the queue: one holder at any moment, and never a lease that nobody can end.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::client::Client;
use crate::support::daemon::spawn_daemon;
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{DEADLINE, eventually, keygen, read, write};

/// The first line of an output that is still being written.
async fn first_line(out: impl AsyncRead + Unpin) -> String {
    let mut line = String::new();
    timeout(DEADLINE, BufReader::new(out).read_line(&mut line)).await.expect("a line").unwrap();
    line
}

/// A hold that was granted, with its first line.
async fn held(mut command: Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let line = first_line(child.stdout.take().unwrap()).await;
    (child, line)
}

async fn end_of(child: Child) -> Answer {
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("an end").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().unwrap().try_into().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
}

async fn until_free(site: &Site) {
    eventually("no lease is left", async || {
        site.ask("lock").await.expect(0).out == "no operator keeps hosts for themselves\n"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_keeps_others_away_from_its_hosts() {
    let site = Site::start(2).await;
    let bob = async |line: &str| site.ask_as("bob", line).await;
    let out = bob("lock web01 for 2h because it is examined").await.expect(0).out;
    assert!(out.starts_with("lock 1: web01 is yours until 20"), "{out}");
    assert!(out.ends_with("; sooner: unlock 1\n"), "{out}");
    // What changes a host is refused, and names the operator, the time and the reason.
    for line in
        ["deploy prod version=1.1.0", "run web01 -- true", "touch web", "balancer drain web01 because x"]
    {
        let err = site.ask(line).await.expect(5).err;
        assert!(err.starts_with("rollcall: web01 is in the hands of bob until 20"), "{line}: {err}");
        assert!(err.contains(" (lock 1: it is examined); try: --wait, see: lock\n"), "{line}: {err}");
    }
    site.ask("check web01 version=1.0.0").await.expect(0);
    site.ask("run web02 -- true").await.expect(0);
    bob("touch web01").await.expect(0);
    // Two leases of the same hosts exclude each other.
    let err = site.ask("lock prod for 1h because mine").await.expect(5).err;
    assert!(err.contains("web01 is in the hands of bob"), "{err}");
    // A lock of the same operator replaces the first.
    let out = bob("lock web for 30m because it takes longer").await.expect(0).out;
    assert!(out.starts_with("lock 2: web[01-02] are yours until 20"), "{out}");
    let list = site.ask_as("vic", "lock").await.expect(0).out;
    assert_eq!(list.lines().count(), 2, "{list}");
    let line = list.lines().last().unwrap();
    assert!(
        line.starts_with("2       lock  web[01-02]  bob  ") && line.ends_with("it takes longer"),
        "{list}"
    );
    let json: Value = serde_json::from_str(&site.ask("lock --json").await.expect(0).out).unwrap();
    assert_eq!((&json["schema"], &json["id"], &json["kind"]), (&"lease".into(), &2.into(), &"lock".into()));
    // Somebody else's lock ends with a reason only.
    let err = site.ask("unlock 2").await.expect(64).err;
    assert_eq!(err, "rollcall: lock 2 is of bob, so say why, for the record; try: unlock 2 because REASON\n");
    assert_eq!(site.ask("unlock 2 because bob is away").await.expect(0).out, "lock 2 of bob is over\n");
    let err = site.ask("unlock 2").await.expect(64).err;
    assert_eq!(err, "rollcall: no lock or hold has the number 2; see: lock\n");
    site.ask("run web01 -- true").await.expect(0);
    // Or it is taken over.
    bob("lock web01 for 2h because again").await.expect(0);
    let out = site.ask("lock web01 for 1h because an incident --take-over").await.expect(0).out;
    assert!(out.starts_with("lock 4: web01 is yours"), "{out}");
    bob("run web01 -- true").await.expect(5);
    site.ask("unlock 4").await.expect(0);
    until_free(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_a_lease_that_are_wrong_are_explained() {
    let site = Site::start(1).await;
    let table = [
        ("lock web01", 64, "say why, for the record; try: lock SELECTOR for 2h because REASON; lock"),
        ("lock web01 because x", 64, "say for how long; try: lock SELECTOR for 2h because REASON; lock"),
        ("lock for 2h because x", 64, "say which hosts; try: lock SELECTOR for 2h because REASON; lock"),
        (
            "lock a b for 2h because x",
            64,
            "`a b` is not one selector; try: lock SELECTOR for 2h because REASON; lock",
        ),
        (
            "lock web01 for ever because x",
            64,
            "`ever` is no time; write it with its unit, such as 90s, 2h30m or 2d",
        ),
        ("lock nothing for 2h because x", 64, "`nothing`"),
        ("hold web01 now", 64, "say why, for the record: ... because REASON"),
        ("hold web01 now because x", 64, "`now` is not understood before `because`"),
        ("unlock 7", 64, "no lock or hold has the number 7; see: lock"),
    ];
    for (line, status, wanted) in table {
        let err = site.ask(line).await.expect(status).err;
        assert!(err.contains(wanted), "{line}: {err}");
    }
    let err = site.ask_as("vic", "hold web01").await.expect(77).err;
    assert!(err.contains("this needs the role operator"), "{err}");
    assert_eq!(site.ask("queue").await.expect(0).out, "no command waits\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_its_client_however_that_ends() {
    let site = Site::start(1).await;
    let (mut child, line) = held(site.ssh("bob", "hold web01 because a test")).await;
    assert_eq!(line, "hold 1: web01 is yours until this connection ends\n");
    let err = site.ask("run web01 -- true").await.expect(5).err;
    let wanted = "rollcall: web01 is in the hands of bob as long as their connection lasts (hold 1: a test); try: --wait, see: lock\n";
    assert_eq!(err, wanted);
    // A second connection of the same operator is refused, too; runs of theirs are not.
    site.ask_as("bob", "hold web01").await.expect(5);
    site.ask_as("bob", "run web01 -- true").await.expect(0);
    child.kill().await.unwrap();
    until_free(&site).await;
    // A client that is stopped keeps its connection, and does not answer any more.
    let (mut child, line) = held(site.ssh("bob", "hold web01 --json")).await;
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&json["kind"], &json["until"]), (&"hold".into(), &Value::Null));
    signal(&child, Signal::SIGSTOP);
    until_free(&site).await;
    child.kill().await.unwrap();
    // Ended by another operator: its client reads by whom and why. That it did not answer for some seconds costs nothing.
    let (child, _) = held(site.ssh("bob", "hold web01")).await;
    signal(&child, Signal::SIGSTOP);
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    signal(&child, Signal::SIGCONT);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    site.ask("unlock 3 because the bench burns").await.expect(0);
    let answer = end_of(child).await.expect(5);
    assert_eq!(answer.err, "rollcall: hold 3 is over: ann ended it: the bench burns\n");
    // By a key on a terminal.
    let mut command = site.ssh("bob", "hold web01");
    let mut terminal = Command::new("ssh");
    terminal.arg("-tt").args(command.as_std_mut().get_args());
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = terminal.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    timeout(DEADLINE, out.read_line(&mut line)).await.expect("a line").unwrap();
    child.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    let mut rest = String::new();
    timeout(DEADLINE, out.read_to_string(&mut rest)).await.expect("an end").unwrap();
    assert_eq!(rest, "hold 4 is over\r\n");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    until_free(&site).await;
}

/// Passes on connections to a port until it is cut: then nothing arrives any more, and nothing is closed.
async fn cable(to: u16) -> (u16, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = CancellationToken::new();
    let is_cut = cut.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = is_cut.cancelled() => kept.push((near, far)),
            }
        }
    });
    (port, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_when_the_network_of_its_client_is_cut() {
    let site = Site::start(1).await;
    let (port, cut) = cable(site.port()).await;
    let (mut child, _) = held(site.ssh_to(port, "bob", "hold web01")).await;
    // It survives questions to its client that are answered.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    assert!(site.ask("lock").await.expect(0).out.contains("hold  web01"));
    cut.cancel();
    until_free(&site).await;
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_the_daemon_and_a_lock_does_not() {
    let site = Site::without_daemon(2).await;
    let (mut daemon, port) = spawn_daemon(&site).await;
    let ask = async |port: u16, line: &str| site.ask_at(port, line).await;
    ask(port, "lock web02 for 2h because it stays").await.expect(0);
    let (child, _) = held(site.ssh_to(port, "bob", "hold web01")).await;
    daemon.kill().await.unwrap();
    assert_eq!(end_of(child).await.status, 255);
    let (mut daemon, port) = spawn_daemon(&site).await;
    let list = ask(port, "lock").await.expect(0).out;
    assert!(list.contains("lock  web02") && !list.contains("web01"), "{list}");
    // Who holds hosts is told when rollcall stops.
    let (child, _) = held(site.ssh_to(port, "bob", "hold web01")).await;
    signal(&daemon, Signal::SIGTERM);
    let answer = end_of(child).await.expect(5);
    let wanted = "rollcall: hold 3 is over: rollcall is stopping; try again when it is back\n";
    assert_eq!(answer.err, wanted);
    timeout(DEADLINE, daemon.wait()).await.expect("an end").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_has_a_turn_in_order() {
    let site = Site::start(2).await;
    let go = site.dir.path().join("go");
    write(
        &site.config.join("tasks/slow.toml"),
        &format!(
            "[[steps]]\nname = \"wait\"\nrun = \"until test -e {}; do sleep 0.05; done\"\n",
            go.display()
        ),
    );
    site.ask("reload").await.expect(0);
    let first = site.ssh("ann", "slow web01").spawn().unwrap();
    eventually("the run is there", async || site.ask("queue").await.out.contains("slow web01")).await;
    let mut second = site.ssh("bob", "touch web01 --wait").spawn().unwrap();
    let waits = first_line(second.stderr.take().unwrap()).await;
    let wanted = "rollcall: waiting, number 1 in the queue: prod is in the hands of run 1 by ann; try: watch 1, or --wait\n";
    assert_eq!(waits, wanted);
    let mut third = site.ssh("ann", "hold web01 --wait").spawn().unwrap();
    first_line(third.stderr.take().unwrap()).await;
    let mut left = site.ssh("ann", "touch web02 --wait").spawn().unwrap();
    first_line(left.stderr.take().unwrap()).await;
    let queue = site.ask_as("vic", "queue").await.expect(0).out;
    let rows: Vec<Vec<&str>> = queue.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..2], ["1", "ann"], "{queue}");
    assert_eq!((rows[3][0], rows[3][1]), ("1", "bob"), "{queue}");
    assert_eq!((rows[4][0], rows[4][1]), ("2", "ann"), "{queue}");
    assert_eq!((rows[5][0], rows[5][1]), ("2", "ann"), "{queue}");
    // Who leaves has no turn; who does not wait is behind those who do.
    left.kill().await.unwrap();
    eventually("it has left", async || !site.ask("queue").await.out.contains("touch web02")).await;
    write(&go, "");
    assert!(end_of(first).await.status == 0);
    assert!(end_of(second).await.status == 0);
    assert!(first_line(third.stdout.take().unwrap()).await.starts_with("hold 1: web01 is yours"));
    third.kill().await.unwrap();
    until_free(&site).await;
    let by: Vec<String> = site
        .ask("runs --json")
        .await
        .expect(0)
        .out
        .lines()
        .map(|line| {
            let run: Value = serde_json::from_str(line).unwrap();
            format!("{} {}", run["by"].as_str().unwrap(), run["title"].as_str().unwrap())
        })
        .collect();
    assert_eq!(by, ["bob touch web01", "ann slow web01"]);
    // A lock whose time is over lets the next one in, without any other sign.
    site.ask("lock web01 for 1s because a moment").await.expect(0);
    answer_of(site.ssh("bob", "touch web01 --wait")).await.expect(0);
}

/// The function of docs/turns.md, with an `ssh` that finds the door of the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_while_hosts_are_held() {
    let site = Site::start(1).await;
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/turns.md");
    let text = read(docs.as_ref());
    let function = text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let command = site.ssh("bob", "");
    let options: Vec<String> =
        command.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let options = shell_words::join(&options[..options.len() - 2]);
    let dir = site.dir.path().join("bin");
    write(
        &dir.join("ssh"),
        &format!("#!/bin/sh\n[ $1 = -n ] && shift\nshift\nexec /usr/bin/ssh -n {options} 127.0.0.1 \"$@\"\n"),
    );
    std::fs::set_permissions(dir.join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = async |script: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{function}\n{script}"));
        shell.env("PATH", format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        answer_of(shell).await
    };
    let answer = run("rollcall_hold web01 sh -c 'ssh rollcall lock; exit 7'").await.expect(7);
    assert!(answer.out.contains("hold  web01"), "{answer:#?}");
    assert_eq!(answer.err, "hold 1: web01 is yours until this connection ends\n");
    until_free(&site).await;
    let answer = run("rollcall_hold nothing true").await.expect(64);
    assert!(answer.err.contains("`nothing`"), "{answer:#?}");
}

/// Operators, and channels of each of them on one connection. One operator has at most 16 channels and 16 places in the queue.
const OPERATORS: usize = 64;
const CHANNELS: usize = 16;

/// Enrolls operators.
async fn enroll_crowd(site: &Site, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("crowd{n}")).collect();
    let operators = site.config.join("operators");
    let mut text = read(&operators);
    for name in &names {
        let key = site.dir.path().join(name);
        keygen(&key, name);
        text += &format!("role=\"operator\" {}", read(&key.with_extension("pub")));
    }
    write(&operators, &text);
    site.ask("reload").await.expect(0);
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operator_has_sixteen_places_in_the_queue() {
    let site = Site::start(1).await;
    enroll_crowd(&site, 1).await;
    site.ask("lock web01 for 2h because it is examined").await.expect(0);
    let client = Client::of(&site, "bob").await;
    let mut waiting = Vec::new();
    for _ in 0..CHANNELS {
        let mut channel = client.channel().await.unwrap();
        channel.exec(true, "hold web01 --wait").await.unwrap();
        let said = async {
            loop {
                if let russh::ChannelMsg::ExtendedData { .. } = channel.wait().await.expect("it waits") {
                    return;
                }
            }
        };
        timeout(DEADLINE, said).await.expect("a place in the queue");
        waiting.push(channel);
    }
    let err = site.ask_as("bob", "touch web01 --wait").await.expect(5).err;
    let wanted = "rollcall: 16 commands of bob wait already, the most for one operator; try again when some of them had \
                  their turn; see: queue\n";
    assert_eq!(err, wanted);
    // Another operator has a place, and so has this one once a command has left.
    let mut other = site.ssh("crowd0", "hold web01 --wait").spawn().unwrap();
    assert!(first_line(other.stderr.take().unwrap()).await.contains("number 17 in the queue"));
    other.kill().await.unwrap();
    waiting.pop().unwrap().close().await.unwrap();
    eventually("it has left", async || site.ask("queue").await.out.matches(" bob ").count() < CHANNELS).await;
    let mut again = site.ssh("bob", "touch web01 --wait").spawn().unwrap();
    assert!(first_line(again.stderr.take().unwrap()).await.starts_with("rollcall: waiting, number "));
    again.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_ask_for_the_same_hosts_and_one_has_them_at_any_moment() {
    let site = Arc::new(Site::start(1).await);
    let (holders, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let failed = Arc::new(AtomicBool::new(false));
    let mut all = tokio::task::JoinSet::new();
    for operator in enroll_crowd(&site, OPERATORS).await {
        let client = Arc::new(Client::of(&site, &operator).await);
        for _ in 0..CHANNELS {
            let (client, holders, most, failed) =
                (client.clone(), holders.clone(), most.clone(), failed.clone());
            all.spawn(async move {
                let mut channel = client.channel().await.unwrap();
                channel.exec(true, "hold web01 --wait").await.unwrap();
                while let Some(message) = channel.wait().await {
                    match message {
                        russh::ChannelMsg::Data { data } if data.starts_with(b"hold ") => {
                            most.fetch_max(holders.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            holders.fetch_sub(1, Ordering::SeqCst);
                            channel.close().await.unwrap();
                            return 1;
                        }
                        russh::ChannelMsg::ExitStatus { .. } => failed.store(true, Ordering::SeqCst),
                        _ => {}
                    }
                }
                0
            });
        }
    }
    let granted: usize =
        timeout(DEADLINE * 4, all.join_all()).await.expect("all have their turn").into_iter().sum();
    assert!(!failed.load(Ordering::SeqCst), "nobody is refused");
    assert_eq!(granted, OPERATORS * CHANNELS);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    until_free(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_reveal_no_host_of_other_groups() {
    let site = Site::start(2).await;
    let operators = site.config.join("operators");
    let text = read(&operators).replace("role=\"operator\"", "role=\"operator\",groups=\"prod.lb\"");
    write(&operators, &text);
    site.ask("reload").await.expect(0);
    site.ask("lock web01 for 1h because web01 burns").await.expect(0);
    site.ask("lock lb1,web02 for 1h because both").await.expect(0);
    let seen = BTreeMap::from([("lock", 0), ("lock --json", 0), ("queue", 0), ("queue --json", 0)]);
    for (line, status) in seen {
        let answer = site.ask_as("bob", line).await.expect(status);
        assert!(!answer.out.contains("web0") && !answer.err.contains("web0"), "{line}: {answer:#?}");
        assert!(answer.out.contains("lb1"), "{line}: {answer:#?}");
    }
    let err = site.ask_as("bob", "unlock 1 because x").await.expect(64).err;
    assert_eq!(err, "rollcall: no lock or hold has the number 1; see: lock\n");
    site.ask_as("bob", "unlock 2 because x").await.expect(64);
    let err = site.ask_as("bob", "lock lb1 for 1h because x --take-over").await.expect(77).err;
    assert_eq!(err, "rollcall: lock 2 has hosts outside of your groups, too; ask ann, or an admin\n");
}
