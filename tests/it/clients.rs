//! SSH clients other than OpenSSH's: each logs in with each type of key that it knows, and gets status, outputs and input
//! as they are. They are those of `tests/run`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::site::{Answer, Site};
use crate::support::{DEADLINE, eventually, keygen, read, write};

const KEYS: [(&str, &str); 4] = [("ed25519", "256"), ("rsa", "3072"), ("ecdsa", "256"), ("ecdsa", "521")];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/client.py");

/// The libraries that client.py drives.
const LIBRARIES: [&str; 3] = ["paramiko", "asyncssh", "libssh2"];

/// A site on which ann has a key of each type.
async fn site() -> Site {
    let mut site = Site::without_daemon(1).await;
    let operators = site.config.join("operators");
    for (kind, bits) in KEYS {
        let path = key(&site, kind, bits);
        run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "ann", "-f", &text(&path)]);
        let line = format!("role=\"admin\" {}", read(&path.with_extension("pub")));
        write(&operators, &(read(&operators) + &line));
    }
    site.start_daemon().await;
    site
}

fn key(site: &Site, kind: &str, bits: &str) -> PathBuf {
    site.dir.path().join(format!("of-{kind}{bits}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, words: &[&str]) {
    let done = std::process::Command::new(program).args(words).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}; run tests/run, which installs it"));
    assert!(done.status.success(), "{program} {words:?}: {done:?}");
}

/// A way to send one line.
struct Client {
    name: String,
    make: Box<dyn Fn(&str) -> Command>,
}

fn library(site: &Site, name: &'static str, key: &Path) -> Client {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    assert!(python.exists(), "{} is not there; run tests/run, which installs it", python.display());
    let (port, key) = (site.port().to_string(), text(key));
    let title = format!("{name} with {key}");
    let make = move |line: &str| {
        let mut command = Command::new(&python);
        command.args([SCRIPT, name, &port, &key, line]);
        command
    };
    Client { name: title, make: Box::new(make) }
}

fn dbclient(site: &Site, key: &Path) -> Client {
    let own = key.with_extension("dropbear");
    run("dropbearconvert", &["openssh", "dropbear", &text(key), &text(&own)]);
    let (port, own, home) = (site.port().to_string(), text(&own), site.dir.path().to_path_buf());
    let name = format!("dbclient with {own}");
    let make = move |line: &str| {
        let mut command = Command::new("dbclient");
        command.args(["-y", "-y", "-i", &own, "-p", &port, "ann@127.0.0.1", line]).env("HOME", &home);
        command
    };
    Client { name, make: Box::new(make) }
}

fn plink(site: &Site, key: &Path) -> Client {
    let own = key.with_extension("ppk");
    run("puttygen", &[&text(key), "-O", "private", "-o", &text(&own)]);
    plink_with(site, &own)
}

/// The same with the certificate beside the key.
fn plink_certified(site: &Site, key: &Path) -> Client {
    let (own, certificate) = (key.with_extension("ppk"), text(key) + "-cert.pub");
    run("puttygen", &[&text(key), "--certificate", &certificate, "-O", "private", "-o", &text(&own)]);
    plink_with(site, &own)
}

fn plink_with(site: &Site, own: &Path) -> Client {
    let scanned =
        std::process::Command::new("ssh-keygen").args(["-l", "-f"]).arg(door_key(site)).output().unwrap();
    let scanned = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let print = scanned.split(' ').nth(1).expect("a fingerprint").to_string();
    let (port, own, home) = (site.port().to_string(), text(own), site.dir.path().to_path_buf());
    let name = format!("plink with {own}");
    let make = move |line: &str| {
        let mut command = Command::new("plink");
        command.args([
            "-ssh",
            "-batch",
            "-noagent",
            "-hostkey",
            &print,
            "-i",
            &own,
            "-P",
            &port,
            "ann@127.0.0.1",
            line,
        ]);
        command.env("HOME", &home);
        command
    };
    Client { name, make: Box::new(make) }
}

/// The public key of the door.
fn door_key(site: &Site) -> PathBuf {
    let path = site.dir.path().join("door.pub");
    let known = std::process::Command::new("ssh-keyscan")
        .args(["-p", &site.port().to_string(), "127.0.0.1"])
        .output();
    let known = String::from_utf8_lossy(&known.unwrap().stdout).into_owned();
    let line = known.lines().find(|line| line.starts_with('[')).expect("a key");
    write(&path, &format!("{}\n", line.split_once(' ').unwrap().1));
    path
}

async fn send(mut command: Command, input: &[u8]) -> Answer {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it is installed by tests/run");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let sending = tokio::spawn(async move { _ = stdin.write_all(&input).await });
    let done = timeout(DEADLINE, child.wait_with_output()).await.expect("an end").unwrap();
    sending.abort();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { status: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) }
}

/// What every client has to get right.
async fn passes(client: &Client) {
    let ask = async |line: &str, input: &[u8]| send((client.make)(line), input).await;
    let who = ask("whoami", b"").await;
    assert!(who.status == 0 && who.out.starts_with("ann (SHA256:"), "{}: {who:?}", client.name);
    let wrong = ask("hosts nonesuch", b"").await;
    assert!(wrong.status == 64 && wrong.out.is_empty(), "{}: {wrong:?}", client.name);
    assert!(
        wrong.err.contains("rollcall: no group or host is called `nonesuch`"),
        "{}: {wrong:?}",
        client.name
    );
    let long = ask("run web01 -- seq 200000", b"").await;
    let wanted: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(long.status == 0 && long.out == wanted, "{}: {} bytes", client.name, long.out.len());
    let input: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    let back = ask("run web01 -- cat", input.as_bytes()).await;
    assert!(back.status == 0 && back.out == input, "{}: {} bytes {}", client.name, back.out.len(), back.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_libraries_log_in_with_each_key_and_get_answers_whole() {
    let site = site().await;
    for name in LIBRARIES {
        for (kind, bits) in KEYS {
            passes(&library(&site, name, &key(&site, kind, bits))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dbclient_and_plink_log_in_with_each_key_and_get_answers_whole() {
    let site = site().await;
    for (kind, bits) in KEYS {
        passes(&dbclient(&site, &key(&site, kind, bits))).await;
        passes(&plink(&site, &key(&site, kind, bits))).await;
    }
}

/// A certificate of a CA that `operators` names, for each client that knows certificates of OpenSSH: dropbear and libssh2 do not.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_know_certificates_log_in_with_them() {
    let mut site = Site::without_daemon(1).await;
    let (ca, key) = (site.dir.path().join("ca"), site.dir.path().join("cat"));
    keygen(&ca, "ca");
    keygen(&key, "cat");
    run("ssh-keygen", &["-q", "-s", &text(&ca), "-I", "cat", "-n", "ann", "-V", "-1m:+1h", &text(&key)]);
    let operators = site.config.join("operators");
    let line =
        format!("cert-authority,principals=\"ann\",role=\"operator\" {}", read(&ca.with_extension("pub")));
    write(&operators, &(read(&operators) + &line));
    site.start_daemon().await;
    for client in
        [library(&site, "paramiko", &key), library(&site, "asyncssh", &key), plink_certified(&site, &key)]
    {
        let who = send((client.make)("whoami"), b"").await;
        assert!(
            who.status == 0 && who.out.starts_with("cat (certificate \"cat\""),
            "{}: {who:?}",
            client.name
        );
        let back = send((client.make)("run web01 -- cat"), b"one\ntwo\n").await;
        assert!(back.status == 0 && back.out == "one\ntwo\n", "{}: {back:?}", client.name);
    }
    // The key alone is unknown.
    std::fs::remove_file(site.dir.path().join("cat-cert.pub")).unwrap();
    let alone = send((library(&site, "asyncssh", &key).make)("whoami"), b"").await;
    assert!(alone.status != 0 && alone.out.is_empty(), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_exchanged_again_in_the_middle_of_an_answer() {
    let site = site().await;
    let wanted: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    for name in ["paramiko", "asyncssh"] {
        let mut command =
            (library(&site, name, &key(&site, "ed25519", "256")).make)("run web01 -- seq 200000");
        command.env("REKEY", "1");
        let answer = send(command, b"").await;
        assert!(
            answer.status == 0 && answer.out == wanted,
            "{name}: {} bytes {}",
            answer.out.len(),
            answer.err
        );
    }
    let mut openssh = site.ssh("ann", "run web01 -- seq 200000");
    let mut command = Command::new("ssh");
    command.args(["-o", "RekeyLimit=64K"]).args(openssh.as_std_mut().get_args());
    let answer = send(command, b"").await;
    assert!(answer.status == 0 && answer.out == wanted, "ssh: {} bytes {}", answer.out.len(), answer.err);
}

/// A client that goes away in the middle of an answer leaves a run that goes on, and a door that answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_an_answer_only_detaches() {
    let site = site().await;
    let key = key(&site, "ed25519", "256");
    for (number, client) in
        [library(&site, "paramiko", &key), dbclient(&site, &key), plink(&site, &key)].iter().enumerate()
    {
        let go = site.dir.path().join(format!("go-{number}"));
        let line =
            format!("run web01 -- echo begun; until [ -e {} ]; do sleep 0.05; done; echo over", go.display());
        let mut command = (client.make)(&line);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let run = number + 1;
        eventually("it runs", async || site.ask("runs").await.out.contains(&format!("{run}    "))).await;
        child.kill().await.unwrap();
        write(&go, "");
        site.ask(&format!("watch {run}")).await.expect(0);
        assert!(site.ask(&format!("show {run} --host web01")).await.out.contains("over"), "{}", client.name);
    }
}
