//! Real parts for tests: sshd, nginx, haproxy and plain ssh clients, each in a folder and on a port of its
//! own.

pub mod api;
pub mod app;
pub mod client;
pub mod daemon;
pub mod dropbear;
pub mod fleet;
pub mod haproxy;
pub mod listeners;
pub mod mariadb;
pub mod nginx;
pub mod relay;
pub mod site;
pub mod sshd;
pub mod traffic;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout};

/// How long anything may take before a test gives up on it. Generous: machines are slow at times, and
/// a test that waits for an event does not wait this long when it comes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The account that test sshds log in to: one of its own when the tests run as root, since sshd refuses
/// signals for root logins; otherwise whoever runs them.
pub fn account() -> String {
    let name = |args: &[&str]| {
        let answer = Command::new("id").args(args).output().expect("id is there");
        String::from_utf8_lossy(&answer.stdout).trim().to_string()
    };
    if name(&["-u"]) != "0" {
        return name(&["-un"]);
    }
    let account = "rollcall-test";
    assert_eq!(
        name(&["-un", account]),
        account,
        "the account {account} is missing; run tests/run, which makes it"
    );
    account.into()
}

/// Runs a command as the test account, for what hosts are to have access to.
pub fn as_account(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let account = account();
    let id = |flag: &str| {
        let answer = Command::new("id").args([flag, &account]).output().expect("id is there");
        String::from_utf8_lossy(&answer.stdout).trim().parse::<u32>().expect("a number")
    };
    let (user, group) = (id("-u"), id("-g"));
    let me = Command::new("id").arg("-u").output().expect("id is there");
    if String::from_utf8_lossy(&me.stdout).trim() == "0" {
        command.uid(user).gid(group);
    }
}

/// Waits until `condition` holds; fails with `what` at the deadline.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads until the text is there.
pub async fn until(out: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let (mut all, mut piece) = (String::new(), [0; 4096]);
    let reading = async {
        while !all.contains(text) {
            let read = out.read(&mut piece).await.unwrap();
            assert!(read > 0, "it ended without `{text}`: {all}");
            all += &String::from_utf8_lossy(&piece[..read]);
        }
    };
    if timeout(DEADLINE, reading).await.is_err() {
        panic!("no `{text}` in: {all}");
    }
    all
}

/// A folder that the test account may write to, gone at the end of the test.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a temporary folder");
    open_to_all(dir.path());
    dir
}

/// Lets the test account write here.
pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("permissions");
}

/// Makes the test account and its group the owners.
pub fn give_to_account(path: &Path) {
    let status =
        Command::new("chown").arg(format!("{}:", account())).arg(path).status().expect("chown is there");
    assert!(status.success());
}

/// A key pair made by ssh-keygen; the path of the private half.
pub fn keygen(path: &Path, comment: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen is there; run tests/run, which installs it");
    assert!(status.success());
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file and the folders that lead to it.
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
