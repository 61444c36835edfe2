//! A real sshd on a port given by the system: the test accepts, and hands each connection to `sshd -i`. While
//! there is a file `no-entry` in its folder, new connections are turned away.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{keygen, read, write};

/// One host.
pub struct Sshd {
    pub address: SocketAddr,
    pub dir: PathBuf,
    children: Arc<Mutex<Vec<Child>>>,
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Sshd {
    /// Starts one in `dir` that lets the key `authorized` in.
    pub async fn start(dir: &Path, authorized: &Path) -> Sshd {
        Sshd::start_with(dir, authorized, "").await
    }

    /// The same, with further lines for its configuration.
    pub async fn start_with(dir: &Path, authorized: &Path, more: &str) -> Sshd {
        let config = configure(dir, authorized, more);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (children, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let accepted = Arc::new(AtomicUsize::new(0));
        let listener = (listener, accepted.clone());
        tokio::spawn(accept(listener, config, dir.join("sshd.log"), children.clone(), stop.clone()));
        Sshd { address, dir: dir.to_path_buf(), children, accepted, stop }
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        let mut children = self.children.lock().expect("not poisoned");
        children.retain_mut(|child: &mut Child| matches!(child.try_wait(), Ok(None)));
        children.len()
    }

    /// `[127.0.0.1]:PORT ssh-ed25519 ...`
    pub fn known_hosts_line(&self) -> String {
        known_hosts_line(&self.dir, self.address)
    }

    /// Ends it as a crash would: nobody listens, and every connection is cut.
    pub fn kill(&self) {
        self.stop.cancel();
        self.cut();
    }

    /// Cuts every connection; new ones are accepted. How many there were.
    pub fn cut(&self) -> usize {
        let children: Vec<Child> = self.children.lock().expect("not poisoned").drain(..).collect();
        children.into_iter().map(end).filter(|was_there| *was_there).count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The configuration of an sshd in `dir` with a new key.
fn configure(dir: &Path, authorized: &Path, more: &str) -> PathBuf {
    std::fs::create_dir_all(dir).expect("a folder");
    super::open_to_all(dir);
    let key = dir.join("ssh_host_key");
    keygen(&key, "host");
    // The state of steps goes with the host, and no two hosts share it.
    let state = dir.join("state");
    std::fs::create_dir_all(&state).expect("a folder");
    super::give_to_account(&state);
    let config = dir.join("sshd_config");
    let text = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nLogLevel ERROR\n\
         SetEnv XDG_STATE_HOME={}\n{more}",
        key.display(),
        authorized.display(),
        state.display()
    );
    write(&config, &text);
    config
}

fn known_hosts_line(dir: &Path, address: SocketAddr) -> String {
    let public = read(&dir.join("ssh_host_key.pub"));
    let key: Vec<&str> = public.split(' ').take(2).collect();
    format!("[{}]:{} {}\n", address.ip(), address.port(), key.join(" "))
}

/// An sshd that listens itself: what it says of all its clients together, such as MaxStartups, is not in force in one that
/// serves a single connection.
pub struct Listening {
    pub address: SocketAddr,
    dir: PathBuf,
    child: Option<Child>,
}

impl Listening {
    /// Starts one in `dir` that lets the key `authorized` in.
    pub async fn start(dir: &Path, authorized: &Path, more: &str) -> Listening {
        let config = configure(dir, authorized, more);
        // sshd takes no port of the system. No other test is on this address, so a port that was free there stays free.
        let pid = std::process::id().to_be_bytes();
        let ip = std::net::Ipv4Addr::new(127, 1 + pid[1] % 254, pid[2], pid[3].max(1));
        let address = TcpListener::bind((ip, 0)).await.expect("a port").local_addr().expect("an address");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f"])
            .arg(&config)
            .arg("-E")
            .arg(dir.join("sshd.log"))
            .arg("-o")
            .arg(format!("ListenAddress={address}"))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sshd is there; run tests/run, which installs it");
        super::eventually("sshd listens", async || tokio::net::TcpStream::connect(address).await.is_ok())
            .await;
        Listening { address, dir: dir.to_path_buf(), child: Some(child) }
    }

    /// See [`Sshd::known_hosts_line`].
    pub fn known_hosts_line(&self) -> String {
        known_hosts_line(&self.dir, self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.child.take().map(end);
    }
}

/// Ends one sshd and whatever shares its process group: only what this test started. True when it was
/// there to be ended.
fn end(mut child: Child) -> bool {
    if !matches!(child.try_wait(), Ok(None)) {
        return false;
    }
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = child.wait();
    true
}

async fn accept(
    (listener, count): (TcpListener, Arc<AtomicUsize>),
    config: PathBuf,
    log: PathBuf,
    children: Arc<Mutex<Vec<Child>>>,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection").0,
            () = stop.cancelled() => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if config.with_file_name("no-entry").exists() {
            continue;
        }
        let stream = stream.into_std().expect("a socket");
        stream.set_nonblocking(false).expect("a blocking socket");
        let also = stream.try_clone().expect("a second handle");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-i", "-f"])
            .arg(&config)
            .arg("-E")
            .arg(&log)
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(also)))
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sshd is there; run tests/run, which installs it");
        let mut children = children.lock().expect("not poisoned");
        children.retain_mut(|child: &mut Child| matches!(child.try_wait(), Ok(None)));
        children.push(child);
    }
}
