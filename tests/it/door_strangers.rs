//! Those who have not logged in: silence keeps nobody out, and takes no more than it may.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::DEADLINE;
use crate::support::site::{Answer, Site, answer_of};

/// The flood of the report that this is about.
const ADDRESSES: std::ops::RangeInclusive<u8> = 2..=6;
const FROM_EACH: usize = 64;

async fn connect_from(last: u8, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// Connections that say `hello` and nothing more; each comes back when it is closed.
async fn flood(port: u16, hello: &'static [u8]) -> JoinSet<()> {
    let mut silent = JoinSet::new();
    let (ready, mut opened) = tokio::sync::mpsc::unbounded_channel();
    for last in ADDRESSES {
        for _ in 0..FROM_EACH {
            let ready = ready.clone();
            silent.spawn(async move {
                loop {
                    // The system may have run out of something for a moment.
                    let Ok(mut stream) = connect_from(last, port).await else {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    };
                    let _ = stream.write_all(hello).await;
                    let _ = ready.send(());
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await;
                    // Slow enough that the machine has time for anything else.
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            });
        }
    }
    let all = ADDRESSES.count() * FROM_EACH;
    let opening = async {
        for _ in 0..all {
            opened.recv().await;
        }
    };
    tokio::time::timeout(DEADLINE, opening).await.expect("the flood is there");
    silent
}

/// `ssh` of ann from an address of this machine.
async fn whoami_from(site: &Site, address: &str) -> Answer {
    let mut command = Command::new("ssh");
    command
        .args(["-F", "none", "-b", address, "-p", &site.port().to_string(), "-i"])
        .arg(site.dir.path().join("ann"))
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["rollcall@127.0.0.1", "whoami"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    answer_of(command).await
}

async fn nobody_is_kept_out(hello: &'static [u8]) {
    let site = Site::start(1).await;
    let _flood = flood(site.port(), hello).await;
    for last in 7..20 {
        // From an address that was never here before, and from one that was.
        whoami_from(&site, &format!("127.0.0.{last}")).await.expect(0);
        whoami_from(&site, "127.0.0.1").await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_out() {
    nobody_is_kept_out(b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_stall_in_the_key_exchange_keep_nobody_out() {
    nobody_is_kept_out(b"SSH-2.0-stalls\r\n").await;
}

/// russh serves a connection in a task of its own, which must not outlive the time for a login.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_never_finished_is_closed() {
    let site = Site::start(1).await;
    let mut stalls = connect_from(1, site.port()).await.unwrap();
    stalls.write_all(b"SSH-2.0-stalls\r\n").await.unwrap();
    let mut said = Vec::new();
    // An error is a close, too.
    let _ = tokio::time::timeout(DEADLINE, stalls.read_to_end(&mut said)).await.expect("it is closed");
    assert!(said.starts_with(b"SSH-2.0-rollcall\r\n"));
}
