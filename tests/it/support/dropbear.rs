//! A small host: dropbear for an SSH server, busybox for everything else. It runs in a mount namespace of its own, in
//! which the test account has a home, and `ash` for a shell; that takes root.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{account, give_to_account, open_to_all, read, write};

/// See the module.
pub struct Dropbear {
    pub address: SocketAddr,
    pub dir: PathBuf,
    stop: CancellationToken,
}

impl Dropbear {
    /// Starts one in `dir` that lets the key `authorized` in.
    pub async fn start(dir: &Path, authorized: &Path) -> Dropbear {
        let home = dir.join("home");
        std::fs::create_dir_all(home.join(".ssh")).expect("a folder");
        std::fs::create_dir_all(dir.join("tools")).expect("a folder");
        open_to_all(dir);
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        write(&home.join(".ssh/authorized_keys"), &read(authorized));
        for path in [home.join(".ssh/authorized_keys"), home.join(".ssh"), home.clone()] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("permissions");
            give_to_account(&path);
        }
        let done = Command::new("busybox").args(["--install", "-s"]).arg(dir.join("tools")).output();
        assert!(done.expect("busybox is there").status.success());
        let key = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(dir.join("key")).output();
        assert!(key.expect("dropbearkey is there; run tests/run").status.success());
        write(&dir.join("passwd"), &passwd(dir));
        write(&dir.join("shells"), &format!("{}\n", dir.join("tools/ash").display()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        tokio::spawn(accept(listener, dir.to_path_buf(), stop.clone()));
        Dropbear { address, dir: home, stop }
    }

    /// `[127.0.0.1]:PORT ssh-ed25519 ...`
    pub fn known_hosts_line(&self) -> String {
        let key = self.dir.parent().expect("a folder").join("key");
        let told =
            Command::new("dropbearkey").args(["-y", "-f"]).arg(key).output().expect("dropbearkey is there");
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("ssh-ed25519 ")).expect("a public key");
        let key: Vec<&str> = line.split(' ').take(2).collect();
        format!("[127.0.0.1]:{} {}\n", self.address.port(), key.join(" "))
    }
}

impl Drop for Dropbear {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The accounts of the machine, with another home and shell for the one that is logged in to.
fn passwd(dir: &Path) -> String {
    let (account, home, shell) = (account(), dir.join("home"), dir.join("tools/ash"));
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(String::from).collect();
        if fields[0] == account {
            (fields[5], fields[6]) = (home.display().to_string(), shell.display().to_string());
        }
        fields.join(":") + "\n"
    };
    read(Path::new("/etc/passwd")).lines().map(line).collect()
}

const SERVE: &str = r#"
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shells" /etc/shells || exit 1
exec dropbear -i -s -r "$1/key" -c "PATH=$1/tools exec $1/tools/ash -c \"\$SSH_ORIGINAL_COMMAND\""
"#;

async fn accept(listener: TcpListener, dir: PathBuf, stop: CancellationToken) {
    let mut children = Vec::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection").0,
            () = stop.cancelled() => break,
        };
        let stream = stream.into_std().expect("a socket");
        stream.set_nonblocking(false).expect("a blocking socket");
        let also = stream.try_clone().expect("a second handle");
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).expect("a log");
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", SERVE, "dropbear"])
            .arg(&dir)
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(also)))
            .stderr(Stdio::from(log))
            .spawn();
        children.push(child.expect("unshare is there"));
    }
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}
