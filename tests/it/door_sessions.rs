//! Those who have logged in: how much of the door one connection and one operator have, how every session ends, and
//! when a key is worth nothing any more.

use std::sync::Arc;

use async_trait::async_trait;
use rollcall::config::DoorSettings;
use rollcall::domain::ask::audit::Caller;
use rollcall::domain::ask::command::GitService;
use rollcall::domain::base::refusal::Refusal;
use rollcall::door::ssh::SshDoor;
use rollcall::door::{Desk, GitWire, Reload};
use russh::ChannelOpenFailure;
use russh::keys::{Algorithm, PrivateKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::door::Master;
use crate::support::client::{Client, ask};
use crate::support::site::{Site, answer_of};
use crate::support::{DEADLINE, eventually, read, write};

/// Commands on one connection at the same time.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_commands_one_after_another() {
    let site = Site::start(1).await;
    let master = Master::open(&site, "ann").await;
    for _ in 0..60 {
        answer_of(master.channel("whoami")).await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_commands_at_a_time_have_their_places_and_the_next_has_none() {
    let site = Site::start(1).await;
    let client = Client::of(&site, "ann").await;
    for _ in 0..8 {
        let mut channels = Vec::new();
        for _ in 0..AT_ONCE {
            channels.push(client.channel().await.expect("a command that has ended frees its place"));
        }
        for (status, text) in
            futures::future::join_all(channels.into_iter().map(|one| ask(one, "whoami"))).await
        {
            assert_eq!(status, 0, "{text}");
        }
    }
    let mut open = Vec::new();
    for _ in 0..AT_ONCE {
        open.push(client.channel().await.unwrap());
    }
    let refused = client.channel().await;
    assert!(
        matches!(refused, Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage))),
        "{:?}",
        refused.err()
    );
    assert_eq!(ask(open.pop().unwrap(), "whoami").await.0, 0);
    client.channel().await.expect("its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_carried_very_many_commands_is_to_be_opened_anew() {
    let site = Site::start(1).await;
    let mut client = Client::of(&site, "ann").await;
    for _ in 0..4096 / AT_ONCE {
        let channels = futures::future::join_all((0..AT_ONCE).map(|_| client.channel())).await;
        let asking = channels.into_iter().map(|channel| ask(channel.expect("a channel"), "whoami"));
        assert!(futures::future::join_all(asking).await.iter().all(|(status, _)| *status == 0));
    }
    let farewell = tokio::time::timeout(DEADLINE, client.farewell.recv()).await.unwrap();
    assert_eq!(farewell.unwrap(), "rollcall: this connection has carried 4096 commands; connect again");
}

/// Breaks down where a reload or a refresh is asked of it.
struct Breaks;

#[async_trait]
impl Reload for Breaks {
    async fn reload(&self, _: &Caller) -> Result<String, String> {
        panic!("the reload broke");
    }

    async fn serve_git(self: Arc<Self>, _: GitService, _: Caller, _: GitWire) -> Result<String, Refusal> {
        Ok(String::new())
    }

    async fn refresh(&self) {}

    async fn enroll(&self, _: &str, _: &Caller) -> Result<Result<String, Refusal>, Refusal> {
        panic!("the reload broke");
    }
}

/// Another door of the same daemon, behind which `reload` panics; its port.
async fn door_that_breaks(site: &Site, stop: &CancellationToken) -> u16 {
    let desk = site.daemon.as_ref().unwrap().desk.clone();
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
    let door = SshDoor::new(Desk { reload: Arc::new(Breaks), ..desk }, key, &DoorSettings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = stop.clone();
    tokio::spawn(async move { door.listen(listener, stop).await });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_panics_ends_with_an_exit_status_and_harms_no_run() {
    let site = Site::start(2).await;
    let stop = CancellationToken::new();
    let port = door_that_breaks(&site, &stop).await;
    let hook = "hook=touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let mut deploy = site.ssh_to(port, "ann", &format!("deploy prod version=2.0.0 '{hook}'"));
    let deploying = deploy.spawn().unwrap();
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    let wanted = "rollcall: internal error, please report it; the daemon's log has it. \
                  Runs are not harmed by it; try: runs\n";
    for _ in 0..3 {
        let broken = site.ask_at(port, "reload").await.expect(1);
        assert_eq!(broken.err, wanted);
    }
    site.ask_at(port, "whoami").await.expect(0);
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    let output = tokio::time::timeout(DEADLINE, deploying.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.releases(), ["2.0.0", "2.0.0"]);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_so_many_connections_and_no_more() {
    let site = Site::start(1).await;
    let mut open = Vec::new();
    for _ in 0..128 {
        let client = Client::of(&site, "vic").await;
        // The door counts a login before it answers the first command of it.
        assert_eq!(ask(client.channel().await.unwrap(), "whoami").await.0, 0);
        open.push(client);
    }
    let refused = site.ask_as("vic", "whoami").await.expect(255);
    let wanted = "rollcall: vic has 128 connections, the most for one operator; try: close some of them";
    assert!(refused.err.contains(wanted), "{}", refused.err);
    site.ask("whoami").await.expect(0);
    open.pop();
    eventually("a place is free", async || site.ask_as("vic", "whoami").await.status == 0).await;
}

/// The line of one operator in `operators`, changed or taken out, and put in force.
async fn change_line(site: &Site, who: &str, change: impl Fn(&str) -> String) {
    let operators = site.config.join("operators");
    let ending = format!(" {who}");
    let line = |line: &str| if line.ends_with(&ending) { change(line) } else { format!("{line}\n") };
    let text: String = read(&operators).lines().map(line).collect();
    write(&operators, &text);
    site.ask("reload").await.expect(0);
}

/// A command that works on for as long as the mark is not there, and is watched.
async fn a_watched_run(site: &Site, who: &str) -> (tokio::process::Child, tokio::process::Child) {
    let hook = "hook=touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let deploying = site.ssh("ann", &format!("deploy prod version=2.0.0 '{hook}'")).spawn().unwrap();
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    let mut watching = site.ssh(who, "watch 1").spawn().unwrap();
    let mut out = watching.stdout.take().unwrap();
    let mut first = [0; 1];
    tokio::io::AsyncReadExt::read_exact(&mut out, &mut first).await.unwrap();
    // What it shows is read on, so that it does not stall.
    tokio::spawn(async move { tokio::io::copy(&mut out, &mut tokio::io::sink()).await });
    (deploying, watching)
}

async fn ends_what_is_open(change: impl Fn(&str) -> String, why: &str) {
    let site = Site::start(2).await;
    let mut idle = Client::of(&site, "bob").await;
    let (deploying, watching) = a_watched_run(&site, "bob").await;
    change_line(&site, "bob", change).await;
    let watched = tokio::time::timeout(DEADLINE, watching.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(watched.status.code(), Some(77), "{watched:?}");
    let said = String::from_utf8_lossy(&watched.stderr).into_owned();
    assert!(said.ends_with(&format!("rollcall: {why}\n")), "{said}");
    let farewell = tokio::time::timeout(DEADLINE, idle.farewell.recv()).await.unwrap();
    assert_eq!(farewell, Some(format!("rollcall: {why}")));
    // Neither the run nor anybody else is in for it.
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    let output = tokio::time::timeout(DEADLINE, deploying.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_taken_out_loses_what_it_has_open() {
    ends_what_is_open(|_| String::new(), "your key is not in `operators` any more").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_with_other_rights_loses_what_was_open_under_the_old_ones() {
    let to_viewer = |line: &str| line.replace("role=\"operator\"", "role=\"viewer\"") + "\n";
    ends_what_is_open(to_viewer, "your rights have changed; connect again").await;
}
