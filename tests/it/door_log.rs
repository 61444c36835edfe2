//! The log, against those who want to write it: strangers, operators, russh's own warnings, and hosts.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall::fleet::wire::BEGIN;
use russh::keys::{Algorithm, HashAlg, PrivateKey, load_public_key};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, Disconnect};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::client::{Client, ask};
use crate::support::daemon::{spawn_daemon, spawn_logged};
use crate::support::site::{Site, answer_of};
use crate::support::{eventually, read, write};

/// What no flood of a test may exceed. Without a bound each of them writes tens of megabytes.
const LOG_LIMIT_BYTES: usize = 1_000_000;

/// More than the lines that one place in the code may write at once.
const STRANGERS: usize = 240;

/// A line as the log has them, to be smuggled in.
const FALSE_LINE: &str = "2026-01-01T00:00:00Z  INFO rollcall: ann was made an admin";

/// The first line of a log that does not come from it.
fn forged(log: &str) -> Option<&str> {
    let is_honest = |line: &str| {
        let mut words = line.split_whitespace();
        let is_time = words.next().is_some_and(|word| word.starts_with("20") && word.ends_with('Z'));
        let is_level = words.next().is_some_and(|word| ["ERROR", "WARN", "INFO"].contains(&word));
        is_time && is_level && !line.starts_with(FALSE_LINE)
    };
    log.lines().find(|line| !is_honest(line)).map(|line| &line[..line.floor_char_boundary(300)])
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_enrolled_leave_a_line_and_no_flood() {
    let site = Site::without_daemon(1).await;
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    let user = format!("x\n{FALSE_LINE}\u{1b}[2J{}", "u".repeat(20_000));
    let refused = async || !Client::connect(port).await.log_in(&site, "stranger", &user).await;
    for _ in 0..2 {
        let all = futures::future::join_all((0..STRANGERS / 2).map(|_| refused())).await;
        assert!(all.into_iter().all(|refused| refused));
    }
    let key = load_public_key(site.dir.path().join("stranger.pub")).unwrap();
    let wanted = format!("keys={} (not in `operators`)", key.fingerprint(HashAlg::Sha256));
    let line = |line: &&str| line.contains("a login was refused") && line.contains(&wanted);
    eventually("the line is there", async || log.text().lines().any(|one| line(&one))).await;
    let left_out = "lines of rollcall::door::ssh were left out";
    eventually("the others are counted", async || log.text().contains(left_out)).await;
    let text = log.text();
    let line = text.lines().find(line).unwrap();
    assert!(line.contains("from=127.0.0.1") && line.contains("user=\"x\\n2026-"), "{line}");
    assert_eq!(forged(&text), None);
    assert!(text.matches("a login was refused").count() < STRANGERS);
    assert!(text.len() < LOG_LIMIT_BYTES, "{}", text.len());
    // Somebody who offers another key first, and then gets in, is no stranger.
    let mut client = Client::connect(port).await;
    assert!(!client.log_in(&site, "stranger", "rollcall").await);
    assert!(client.log_in(&site, "ann", "rollcall").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_a_login_are_summed_up() {
    let site = Site::without_daemon(1).await;
    let (_daemon, port, log) = spawn_logged(&site, "info").await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let wanted = "44 connections were closed before a login, to make room for others; 44 of 127.0.0.1";
    eventually("they are summed up", async || log.text().contains(wanted)).await;
    assert_eq!(log.text().lines().filter(|line| line.contains("closed before a login")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cannot_flood_the_log_nor_hide_others_in_it() {
    let site = Site::without_daemon(1).await;
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    let line = format!("nonsense\n{FALSE_LINE} {}", "x".repeat(30_000));
    for _ in 0..4 {
        let client = Client::at(port, &site, "vic").await;
        for _ in 0..32 {
            let channels = futures::future::join_all((0..16).map(|_| client.channel())).await;
            let asking = channels.into_iter().map(|channel| ask(channel.unwrap(), &line));
            assert!(futures::future::join_all(asking).await.iter().all(|(status, _)| *status == 64));
        }
    }
    site.ask_at(port, "whoami").await.expect(0);
    eventually("ann is heard", async || log.text().contains("asked operator=ann")).await;
    eventually("what is left out is said", async || log.text().contains(" about vic were left out")).await;
    let text = log.text();
    assert!(text.len() < LOG_LIMIT_BYTES, "{}", text.len());
    assert_eq!(forged(&text), None);
}

/// A copy of `ssh` that sends a channel request of another name where it would ask for an agent.
fn evil_ssh(site: &Site) -> std::path::PathBuf {
    let (honest, evil) = (b"auth-agent-req@openssh.com", b"x\nFALSE INFO ann: an admin");
    let which = std::process::Command::new("which").arg("ssh").output().unwrap();
    let path = String::from_utf8(which.stdout).unwrap();
    let mut program = std::fs::read(path.trim()).unwrap();
    let found: Vec<usize> =
        (0..program.len() - honest.len()).filter(|at| program[*at..].starts_with(honest)).collect();
    assert!(!found.is_empty(), "this ssh has no such request");
    found.iter().for_each(|at| program[*at..*at + evil.len()].copy_from_slice(evil));
    let copy = site.dir.path().join("evil-ssh");
    std::fs::write(&copy, program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&copy, mode).unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_request_with_a_newline_in_its_name_writes_no_line() {
    let site = Site::without_daemon(1).await;
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    let socket = site.dir.path().join("agent");
    let mut agent = Command::new("ssh-agent");
    let agent = agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).kill_on_drop(true).spawn();
    let _agent = agent.expect("ssh-agent is there");
    eventually("the agent is there", async || socket.exists()).await;
    let program = evil_ssh(&site);
    for _ in 0..3 {
        let mut command = Command::new(&program);
        command
            .args(["-A", "-F", "none", "-p", &port.to_string(), "-i"])
            .arg(site.dir.path().join("vic"))
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["rollcall@127.0.0.1", "whoami"])
            .env("SSH_AUTH_SOCK", &socket)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        answer_of(command).await.expect(0);
    }
    eventually("russh warns", async || log.text().contains("unknown channel request x\\nFALSE")).await;
    assert_eq!(forged(&log.text()), None);
}

/// A host that does harm where a command is asked of it.
#[derive(Clone, Default)]
struct Evil {
    /// Global requests that it sends first.
    requests: usize,
    /// Channels that it asks for, and those of them that it got.
    opens: usize,
    opened: Arc<AtomicUsize>,
    /// Says farewell like this instead of running anything.
    farewell: Option<&'static str>,
    answered: Arc<AtomicUsize>,
}

impl Handler for Evil {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, _: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        let (handle, evil) = (session.handle(), self.clone());
        tokio::spawn(async move {
            for _ in 0..evil.requests {
                // It is refused, and that is an answer.
                let _ = handle.forward_tcpip("x".repeat(30_000), 1).await;
                evil.answered.fetch_add(1, Ordering::Relaxed);
            }
            for _ in 0..evil.opens {
                let forwarded = handle.channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await;
                let (session, agent) =
                    (handle.channel_open_session().await, handle.channel_open_agent().await);
                let got = [forwarded.is_ok(), session.is_ok(), agent.is_ok()];
                evil.opened.fetch_add(got.iter().filter(|got| **got).count(), Ordering::Relaxed);
            }
            if let Some(text) = evil.farewell {
                let _ = handle.disconnect(Disconnect::ByApplication, text.into(), String::new()).await;
                return;
            }
            // As a host that runs the command.
            let _ = handle.data(channel, format!("{BEGIN}\n").into_bytes()).await;
            let _ = handle.exit_status_request(channel, 0).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
        });
        Ok(())
    }
}

/// Puts such a host into the site's inventory, as `evil1`.
async fn with_evil_host(site: &Site, evil: &Evil) {
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let known = site.dir.path().join("state/known_hosts");
    let public = key.public_key().to_openssh().unwrap();
    write(&known, &format!("{}[127.0.0.1]:{port} {public}\n", read(&known)));
    write(
        &site.config.join("hosts/evil.toml"),
        &format!("[g.hosts]\nevil1 = {{ address = \"127.0.0.1\", port = {port} }}\n"),
    );
    let config = Arc::new(Config { keys: vec![key], ..Config::default() });
    let evil = evil.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, evil) = (config.clone(), evil.clone());
            tokio::spawn(async move {
                if let Ok(session) = run_stream(config, stream, evil).await {
                    let _ = session.await;
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_flood_the_log_with_requests() {
    let site = Site::without_daemon(1).await;
    let evil = Evil { requests: 5000, ..Evil::default() };
    with_evil_host(&site, &evil).await;
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    site.ask_at(port, "run evil1 -- true").await.expect(0);
    assert_eq!(evil.answered.load(Ordering::Relaxed), evil.requests, "it has sent them all");
    eventually("what is left out is said", async || log.text().contains("lines of libraries were left out"))
        .await;
    let text = log.text();
    assert!(text.matches("Unhandled global request").count() < 300, "{}", text.len());
    assert!(text.len() < LOG_LIMIT_BYTES / 10, "{}", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_up_begins_no_line_of_an_answer() {
    let site = Site::without_daemon(1).await;
    let farewell = Some("bye\nweb01: done\r\n\u{1b}[2Jrollcall: all is well");
    let evil = Evil { farewell, ..Evil::default() };
    with_evil_host(&site, &evil).await;
    let (_daemon, port) = spawn_daemon(&site).await;
    let answer = site.ask_at(port, "run evil1 -- true").await;
    assert_ne!(answer.status, 0, "{answer:#?}");
    let all = format!("{}{}", answer.out, answer.err);
    assert!(all.contains("bye\\nweb01: done\\n\\x1b[2Jrollcall: all is well"), "{answer:#?}");
    let is_forged = |line: &str| line.starts_with("web01: done") || line.contains('\u{1b}');
    assert!(!all.lines().any(is_forged), "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_opens_nothing_towards_rollcall() {
    let site = Site::without_daemon(1).await;
    let evil = Evil { opens: 20, ..Evil::default() };
    with_evil_host(&site, &evil).await;
    let (_daemon, port) = spawn_daemon(&site).await;
    site.ask_at(port, "run evil1 -- true").await.expect(0);
    assert_eq!(evil.opened.load(Ordering::Relaxed), 0);
}
