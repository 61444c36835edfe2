//! A real HAProxy on UNIX sockets in a folder of its own, run by the test account.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{as_account, eventually, write};

/// A running HAProxy.
pub struct Haproxy {
    pub dir: PathBuf,
    /// The newest process is the last.
    children: Vec<Child>,
}

impl Haproxy {
    /// Starts one in `dir`. `servers` are the lines of its backend `app`, behind the word `server`.
    pub async fn start(dir: &Path, servers: &[String]) -> Haproxy {
        Haproxy::with_backends(dir, &[("app", servers)]).await
    }

    /// The same with several backends; the first one gets the requests.
    pub async fn with_backends(dir: &Path, backends: &[(&str, &[String])]) -> Haproxy {
        std::fs::create_dir_all(dir).expect("a folder");
        super::open_to_all(dir);
        write(&dir.join("haproxy.cfg"), &config(dir, backends));
        let mut haproxy = Haproxy { dir: dir.to_path_buf(), children: Vec::new() };
        haproxy.run().await;
        haproxy
    }

    /// A new process takes over; what is in flight on the old one goes on there. Drains are forgotten.
    pub async fn reload(&mut self) {
        self.run().await;
    }

    async fn run(&mut self) {
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(self.dir.join("haproxy.cfg"));
        if let Some(old) = self.children.last() {
            command.arg("-sf").arg(old.id().to_string());
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        as_account(&mut command);
        let child = command.spawn().expect("haproxy is there; run tests/run, which installs it");
        let pid = format!("Pid: {}", child.id());
        self.children.push(child);
        eventually("the new HAProxy answers", async || self.ask("show info").await.contains(&pid)).await;
    }

    /// Where requests go.
    pub fn front(&self) -> PathBuf {
        self.dir.join("http.sock")
    }

    /// Its runtime API.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    /// Asks it, past everything that is tested; empty when it does not answer.
    pub async fn ask(&self, line: &str) -> String {
        let asking = async {
            let mut stream = UnixStream::connect(self.socket()).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        asking.await.unwrap_or_default()
    }

    /// Tells it something that it has to take without a word.
    pub async fn tell(&self, line: &str) {
        assert_eq!(self.ask(line).await, "\n", "{line}");
    }

    /// The status of a server: `UP`, `DRAIN`, `MAINT`, ...
    pub async fn status(&self, server: &str) -> String {
        let stat = self.ask("show stat").await;
        let row = stat.lines().find(|line| line.starts_with(&format!("app,{server},")));
        row.and_then(|row| row.split(',').nth(17)).unwrap_or_default().to_string()
    }

    /// `BACKEND/SERVER` of those that are drained.
    pub async fn drained(&self) -> Vec<String> {
        let stat = self.ask("show stat").await;
        let rows = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let drained = rows.filter(|row| row.get(17) == Some(&"DRAIN") && row[1] != "BACKEND");
        drained.map(|row| format!("{}/{}", row[0], row[1])).collect()
    }

    /// The servers that somebody has taken out, drained or in maintenance. Their status would not always say
    /// so: a drained one whose application is down is `DOWN`.
    pub async fn out(&self) -> BTreeSet<String> {
        let state = self.ask("show servers state app").await;
        assert!(state.contains(" srv_name "), "{state}");
        // be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...
        let rows = state.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let servers = rows.filter(|row| row.len() > 6 && row[1] == "app");
        servers.filter(|row| row[6] != "0").map(|row| row[3].to_string()).collect()
    }

    /// Waits until a server has this status.
    pub async fn until(&self, server: &str, status: &str) {
        eventually(&format!("{server} is {status}"), async || self.status(server).await == status).await;
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// It never tries another server, so that mistakes show.
fn config(dir: &Path, backends: &[(&str, &[String])]) -> String {
    let backend = |(name, servers): &(&str, &[String])| {
        let servers: String = servers.iter().map(|server| format!("  server {server}\n")).collect();
        format!("backend {name}\n  option httpchk GET /health\n{servers}")
    };
    let backends: String = backends.iter().map(backend).collect();
    let dir = dir.display();
    format!(
        "global\n  nbthread 1\n  stats socket {dir}/admin.sock mode 666 level admin\n\
         defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend app\n  bind unix@{dir}/http.sock mode 666\n  default_backend app\n\
         {backends}"
    )
}
