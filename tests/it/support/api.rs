//! The API through a port that plain `ssh -L` forwards, read by curl; and its subsystem of JSON lines.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::eventually;
use super::site::{Site, answer_of};

/// A forwarded port; a socket, so that no other test can have its number.
pub struct Forward {
    pub socket: PathBuf,
    pub token: String,
    pub ssh: Child,
}

/// A response of HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Forward {
    /// To the daemon in this process.
    pub async fn open(site: &Site, who: &str) -> Forward {
        Forward::open_at(site, site.port(), who).await
    }

    /// To a daemon on this port. A socket that an earlier one has left is replaced.
    pub async fn open_at(site: &Site, port: u16, who: &str) -> Forward {
        let (socket, ssh) = Forward::tunnel(site, port, who).await;
        let token = answer_of(site.ssh_to(port, who, "web --token")).await.expect(0).out.trim().to_string();
        Forward { socket, token, ssh }
    }

    /// The tunnel is another one from now on; the token stays.
    pub async fn reopen(&mut self, site: &Site, who: &str) {
        let (_, ssh) = Forward::tunnel(site, site.port(), who).await;
        self.ssh = ssh;
    }

    async fn tunnel(site: &Site, port: u16, who: &str) -> (PathBuf, Child) {
        let socket = site.dir.path().join(format!("api-{who}.sock"));
        let _ = std::fs::remove_file(&socket);
        let forwarded = format!("{}:rollcall:80", socket.display());
        let mut ssh = site.ssh_with(port, who, &["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forwarded]);
        let ssh = ssh.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        eventually("the port is forwarded", async || socket.exists()).await;
        (socket, ssh)
    }

    pub fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "60", "--unix-socket"]);
        curl.arg(&self.socket).arg(format!("http://localhost:8080{path}"));
        curl
    }

    pub async fn get(&self, path: &str) -> Reply {
        reply(self.with_token(self.curl(path))).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        let mut curl = self.with_token(self.curl(path));
        curl.args(["-X", method, "-H", "Content-Type: application/json", "-d", &body.to_string()]);
        reply(curl).await
    }

    pub fn with_token(&self, mut curl: Command) -> Command {
        curl.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        curl
    }
}

pub async fn reply(curl: Command) -> Reply {
    let answer = answer_of(curl).await.expect(0);
    let (headers, body) = answer.out.split_once("\r\n\r\n").unwrap_or((&answer.out, ""));
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Reply { status, headers: headers.into(), body: body.into() }
}

/// A channel of the subsystem.
pub struct Channel {
    pub child: Child,
    pub to: ChildStdin,
    pub from: Lines<BufReader<ChildStdout>>,
}

impl Channel {
    /// To the daemon in this process; what it says first.
    pub async fn open(site: &Site, who: &str) -> (Channel, Value) {
        Channel::open_at(site, site.port(), who).await
    }

    /// To a daemon on this port.
    pub async fn open_at(site: &Site, port: u16, who: &str) -> (Channel, Value) {
        let mut ssh = site.ssh_with(port, who, &["-s"]);
        ssh.arg("rollcall-api").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = ssh.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut channel = Channel { child, to, from: BufReader::new(from).lines() };
        let hello = channel.next().await;
        (channel, hello)
    }

    pub async fn send(&mut self, request: &Value) {
        self.to.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    }

    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.from.next_line().await.unwrap().unwrap()).unwrap()
    }

    /// The next answer to this request; those to others are passed over.
    pub async fn answer(&mut self, id: &Value) -> Value {
        loop {
            let answer = self.next().await;
            if answer["id"] == *id {
                return answer;
            }
        }
    }
}
