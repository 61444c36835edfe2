//! The real binary: as a daemon that can be killed, and without one.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::site::{Answer, Site, answer_of};

pub fn rollcall(site: &Site) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.arg("--config").arg(&site.config);
    command
}

/// The real binary as a daemon, which may not listen yet.
pub fn serve(site: &Site) -> Child {
    let mut command = rollcall(site);
    command.arg("serve").stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("the binary is there")
}

/// What a daemon has logged so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    pub fn text(&self) -> String {
        self.0.lock().expect("no panic").clone()
    }
}

/// The same once it listens, and its port.
pub async fn spawn_daemon(site: &Site) -> (Child, u16) {
    let (daemon, port, _) = spawn_logged(site, "info").await;
    (daemon, port)
}

/// The same with what it logs; `filter` is the value of `RUST_LOG`.
pub async fn spawn_logged(site: &Site, filter: &str) -> (Child, u16, Log) {
    let mut command = rollcall(site);
    command.arg("serve").env("RUST_LOG", filter).stderr(Stdio::piped()).kill_on_drop(true);
    let mut daemon = command.spawn().expect("the binary is there");
    let mut lines = BufReader::new(daemon.stderr.take().expect("its log")).lines();
    let log = Log::default();
    let keep = log.clone();
    let keep = move |line: &str| {
        let mut text = keep.0.lock().expect("no panic");
        text.push_str(line);
        text.push('\n');
    };
    let port = loop {
        let line = lines.next_line().await.expect("a line").expect("the daemon says where it listens");
        keep(&line);
        if let Some((_, rest)) = line.split_once("127.0.0.1:") {
            break rest.trim_end_matches(']').parse().expect("a port");
        }
    };
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            keep(&line);
        }
    });
    (daemon, port, log)
}

/// Asks the store past the daemon, which must not be running.
pub async fn local(site: &Site, line: &str) -> Answer {
    let mut command = rollcall(site);
    command.arg("--local").args(line.split(' '));
    answer_of(command).await
}
