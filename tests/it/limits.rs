//! Limits of the door before a login: rates, penalties, silence, file descriptors, and what ssh-audit finds.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::client::Client;
use crate::support::daemon::{Log, spawn_logged};
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{DEADLINE, eventually, read, write};

/// A daemon with these keys in `[door]`.
async fn with_door(keys: &str) -> (Site, Child, u16, Log) {
    let site = Site::without_daemon(1).await;
    let settings = site.config.join("rollcall.toml");
    let text = read(&settings);
    let (before, after) = text.split_once("[door]\n").unwrap();
    let (_, after) = after.split_once("[fleet]").unwrap();
    write(&settings, &format!("{before}[door]\n{keys}\n[fleet]{after}"));
    let (daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    (site, daemon, port, log)
}

/// What the door says first on a new connection; nothing if it closes it.
async fn greeting(port: u16) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    let mut said = [0; 9];
    match tokio::time::timeout(DEADLINE, stream.read_exact(&mut said)).await.unwrap() {
        Ok(_) => String::from_utf8_lossy(&said).into_owned(),
        Err(_) => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_connects_too_often_is_closed_before_the_greeting_and_an_operator_is_not() {
    let (site, _daemon, port, log) = with_door("rate = 1\nburst = 5").await;
    let mut greeted = 0;
    while greeting(port).await == "SSH-2.0-r" {
        greeted += 1;
        assert!(greeted < 1_000, "no limit holds");
    }
    assert!(greeted >= 5, "{greeted}");
    eventually("it is summed up", async || {
        log.text().contains("closed since their source connects too often; ")
    })
    .await;
    // An operator gets in within the rate, and is not limited from then on.
    eventually("ann is in", async || site.ask_at(port, "whoami").await.status == 0).await;
    for _ in 0..20 {
        site.ask_at(port, "whoami").await.expect(0);
        assert_eq!(greeting(port).await, "SSH-2.0-r");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_fail_keep_their_source_out_for_a_while() {
    let (site, _daemon, port, log) = with_door("penalty = \"6s\"").await;
    let mut refused = 0;
    while greeting(port).await == "SSH-2.0-r" {
        let mut client = Client::connect(port).await;
        assert!(!client.log_in(&site, "stranger", "x").await);
        drop(client);
        refused += 1;
        let wanted = refused;
        eventually("it is counted", async || log.text().matches("a login was refused").count() >= wanted)
            .await;
        assert!(refused < 10, "no penalty holds");
    }
    eventually("it is summed up", async || {
        log.text().contains("since too many logins from their source failed")
    })
    .await;
    eventually("it is over", async || site.ask_at(port, "whoami").await.status == 0).await;
    // From where an operator logged in, failures keep nobody out.
    for _ in 0..4 {
        let mut client = Client::connect(port).await;
        assert!(!client.log_in(&site, "stranger", "x").await);
    }
    site.ask_at(port, "whoami").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_leave_runs_answering() {
    let (site, daemon, port, _log) = with_door("rate = 100000\nburst = 100000").await;
    let pid = daemon.id().unwrap();
    let memory = || {
        let status = read(Path::new(&format!("/proc/{pid}/status")));
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_string();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    site.ask_at(port, "runs").await.expect(0);
    let before = memory();
    let mut silent = Vec::new();
    for n in 0..1_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"SSH-2.0-silent\r\n").await.unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..5 {
        site.ask_at(port, "runs").await.expect(0);
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for 1,000 silent connections");
}

/// Probes that are answered would keep a connection alive for ever, if each of them counted as activity.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_has_its_time_whatever_is_sent() {
    let (site, _daemon, port, log) = with_door("login_grace = \"2s\"\npenalty = \"0s\"").await;
    let mut client = Client::connect(port).await;
    let ended = async {
        while !client.log_in(&site, "stranger", "x").await && !client.handle.is_closed() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the connection ends");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut said = Vec::new();
    let dripping = async {
        for byte in b"SSH-2.0-drips-for-ever-and-ever-and-ever" {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let _ = stream.read_to_end(&mut said).await;
    };
    tokio::time::timeout(DEADLINE, dripping).await.expect("the connection ends");
    eventually("it is summed up", async || log.text().contains("that had not logged in in time")).await;
    site.ask_at(port, "whoami").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_without_file_descriptors_opens_again() {
    let (site, daemon, port, log) = with_door("rate = 100000\nburst = 100000").await;
    site.ask_at(port, "whoami").await.expect(0);
    let pid = daemon.id().unwrap().to_string();
    let limit = async |files: &str| {
        let set =
            Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:20000")]).status().await;
        assert!(set.unwrap().success());
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(&(open + 8).to_string()).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    eventually("accept fails", async || log.text().contains("a connection could not be accepted")).await;
    drop(silent);
    eventually("it opens again", async || site.ask_at(port, "whoami").await.status == 0).await;
}

async fn audited(port: u16, options: &[&str]) -> Answer {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/ssh-audit");
    let program = if own.exists() { own } else { "ssh-audit".into() };
    let mut command = Command::new(program);
    let address = format!("127.0.0.1:{port}");
    command.arg("--no-colors").args(options).arg(address).stdin(Stdio::null()).kill_on_drop(true);
    answer_of(command).await
}

/// ssh-audit finds nothing but clients without post-quantum key exchange, and its flood is throttled.
#[tokio::test(flavor = "multi_thread")]
async fn ssh_audit_warns_of_key_exchange_without_post_quantum_alone() {
    let (_site, _daemon, port, _log) = with_door("").await;
    let audit = audited(port, &[]).await;
    let bad: Vec<&str> = audit.out.lines().filter(|line| line.contains("[fail]")).collect();
    assert!(bad.is_empty(), "{}", audit.out);
    let warned = audit.out.lines().filter(|line| line.contains("[warn]"));
    let other: Vec<&str> = warned.filter(|line| !line.contains("post-quantum")).collect();
    assert!(other.is_empty(), "{}", audit.out);
    for word in ["zlib", "russh", "DHEat"] {
        assert!(!audit.out.contains(word), "{word}: {}", audit.out);
    }
    assert!(
        audit.out.contains("SSH-2.0-rollcall") && audit.out.contains("mlkem768x25519-sha256"),
        "{}",
        audit.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_audit_has_nothing_to_say_about_strict_pq() {
    let (site, _daemon, port, _log) = with_door("algorithms = \"strict-pq\"").await;
    let audit = audited(port, &[]).await;
    assert_eq!(audit.status, 0, "{}", audit.out);
    assert!(!audit.out.contains("[warn]") && !audit.out.contains("[fail]"), "{}", audit.out);
    // An older OpenSSH is told by its own ssh that nothing fits; a client that can do it gets in.
    let mut client = Client::connect(port).await;
    assert!(client.log_in(&site, "ann", "x").await);
}
