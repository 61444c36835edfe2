//! SSH hosts inside this process: the demo's fleet and the test suite's fast hosts.

pub mod balancer;
pub mod behaviour;
mod channel;
pub mod host;
mod http;
mod nginx;
mod pipe;
pub mod site;
pub mod sshd;
pub mod traffic;

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::host::ShellHost;
use self::sshd::Sshd;

/// Web hosts of one fleet at most: each has two listening sockets in this process, and both ends of its connections.
pub const MOST_WEB_HOSTS: usize = 2_000;

/// What every web host serves when the fleet starts for the first time.
const FIRST_RELEASE: &str = "1.0.0";

/// One host of the fleet. It is reached at 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedHost {
    /// `web01`, ..., or `lb1`.
    pub name: String,
    /// Where its SSH server listens.
    pub ssh_port: u16,
    /// Where its application listens; for the balancer, the balancer.
    pub http_port: u16,
    /// Where its commands start, and its home.
    pub dir: PathBuf,
}

/// Web hosts behind one balancer, all of them in this process and on loopback.
///
/// Commands really run, as the user we are: the holder of the fleet's key has that user's rights.
pub struct EmbeddedFleet {
    webs: Vec<EmbeddedHost>,
    balancer: EmbeddedHost,
    known_hosts: String,
    identity: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What the hosts have in common while they are started.
struct Builder {
    dir: PathBuf,
    fleet_key: PublicKey,
    known_hosts: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl EmbeddedFleet {
    /// Starts `web01`, ... (1 to [`MOST_WEB_HOSTS`]) and `lb1`, each in a directory of its name in `dir`, on
    /// ports that the system chooses. Releases that are there from an earlier start stay.
    ///
    /// Fails when files cannot be written or no ports are left.
    pub async fn start(dir: &Path, web_hosts: usize) -> io::Result<EmbeddedFleet> {
        std::fs::create_dir_all(dir)?;
        let key = new_key()?;
        let mut builder = Builder {
            // Commands run elsewhere: a relative path would lose its meaning.
            dir: dir.canonicalize()?,
            fleet_key: key.public_key().clone(),
            known_hosts: String::new(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        // Dropped before the fleet is whole, it takes the hosts along that run already.
        let guard = builder.stop.clone().drop_guard();
        let mut webs = Vec::new();
        let web_hosts = web_hosts.clamp(1, MOST_WEB_HOSTS);
        let digits = web_hosts.to_string().len().max(2);
        for number in 1..=web_hosts {
            webs.push(builder.web(format!("web{number:0digits$}")).await?);
        }
        let balancer = builder.balancer("lb1", &webs).await?;
        let identity = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?.to_string();
        let Builder { known_hosts, tasks, .. } = builder;
        Ok(EmbeddedFleet { webs, balancer, known_hosts, identity, stop: guard.disarm(), tasks })
    }

    /// The web hosts, in order.
    pub fn webs(&self) -> &[EmbeddedHost] {
        &self.webs
    }

    /// The balancer's host.
    pub fn balancer(&self) -> &EmbeddedHost {
        &self.balancer
    }

    /// Where users ask.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.balancer.http_port))
    }

    /// The hosts' keys, as a `known_hosts` file has them.
    pub fn known_hosts(&self) -> &str {
        &self.known_hosts
    }

    /// The private key that every host lets in, as an OpenSSH key file has it. A secret: a program that
    /// reads it can run commands here.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Stops every host: connections are cut, commands killed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for EmbeddedFleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Builder {
    async fn web(&mut self, name: String) -> io::Result<EmbeddedHost> {
        let dir = self.dir.join(&name);
        let release = Path::new("releases").join(FIRST_RELEASE);
        std::fs::create_dir_all(dir.join(&release))?;
        std::fs::write(dir.join(&release).join("VERSION"), format!("{FIRST_RELEASE}\n"))?;
        match std::os::unix::fs::symlink(&release, dir.join("current")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (listener, http_port) = listen().await?;
        self.tasks.spawn(site::serve(name.clone(), dir.clone(), listener, self.stop.clone()));
        self.sshd(name, dir, http_port).await
    }

    async fn balancer(&mut self, name: &str, webs: &[EmbeddedHost]) -> io::Result<EmbeddedHost> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let (listener, http_port) = listen().await?;
        std::fs::write(dir.join("nginx.conf"), config(webs, http_port)?)?;
        let balancing = balancer::start(dir.clone(), listener, self.stop.clone()).await?;
        // How it ended does not matter once it was asked to stop.
        self.tasks.spawn(async move { _ = balancing.await });
        self.sshd(name.into(), dir, http_port).await
    }

    async fn sshd(&mut self, name: String, dir: PathBuf, http_port: u16) -> io::Result<EmbeddedHost> {
        let key = new_key()?;
        let (listener, ssh_port) = listen().await?;
        let host_key = key.public_key().to_openssh().map_err(io::Error::other)?;
        writeln!(self.known_hosts, "[127.0.0.1]:{ssh_port} {host_key}").map_err(io::Error::other)?;
        let host = Sshd::new(key, vec![self.fleet_key.clone()], Arc::new(ShellHost::new(dir.clone())));
        let stop = self.stop.clone();
        self.tasks.spawn(async move { host.listen(listener, stop).await });
        Ok(EmbeddedHost { name, ssh_port, http_port, dir })
    }
}

fn new_key() -> io::Result<PrivateKey> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(io::Error::other)
}

async fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// What nginx would need to do the same.
fn config(webs: &[EmbeddedHost], port: u16) -> io::Result<String> {
    let mut text = String::from("worker_processes 1;\nevents {}\nhttp {\n    upstream app {\n");
    for web in webs {
        writeln!(text, "        server 127.0.0.1:{};", web.http_port).map_err(io::Error::other)?;
    }
    write!(
        text,
        "    }}\n    server {{\n        listen 127.0.0.1:{port};\n        location / {{\n            \
         proxy_pass http://app;\n            proxy_next_upstream off;\n        }}\n    }}\n}}\n"
    )
    .map_err(io::Error::other)?;
    Ok(text)
}
