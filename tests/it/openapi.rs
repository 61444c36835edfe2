//! schemathesis against the API through a forwarded port: it sends requests that the OpenAPI document allows, and requests
//! that it does not, and checks each answer by the document.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use rollcall::embedded::behaviour::{Behaviour, CommandEnd, ExecIo};
use rollcall::embedded::sshd::Sshd;
use rollcall::port::Stream;
use russh::Sig;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::site::Site;
use crate::support::{DEADLINE, eventually, read, write};

/// A host on which no command has any effect: what is generated may be any command.
struct Inert;

#[async_trait]
impl Behaviour for Inert {
    async fn exec(&self, _: String, mut io: ExecIo, _: mpsc::Receiver<Sig>) -> CommandEnd {
        let mut input = Vec::new();
        let _ = io.stdin.read_to_end(&mut input).await;
        CommandEnd::Exit(0)
    }

    async fn connect(&self, _: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

/// A site whose only hosts are inert.
async fn site() -> (Site, CancellationToken) {
    let mut site = Site::without_daemon(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
    let fleet = PublicKey::from_openssh(&read(&site.dir.path().join("fleet.pub"))).unwrap();
    let host_key = key.public_key().to_openssh().unwrap();
    let stop = CancellationToken::new();
    let (sshd, stopped) = (Sshd::new(key, vec![fleet], Arc::new(Inert)), stop.clone());
    tokio::spawn(async move { sshd.listen(listener, stopped).await });
    write(&site.dir.path().join("state/known_hosts"), &format!("[127.0.0.1]:{port} {host_key}\n"));
    let host =
        |name: &str| format!("{name} = {{ address = \"127.0.0.1\", port = {port}, root = \"/nowhere\" }}\n");
    let hosts: String = ["web01", "web02", "web03"].map(host).concat();
    write(&site.config.join("hosts/prod.toml"), &format!("[web.hosts]\n{hosts}"));
    std::fs::remove_file(site.config.join("checks/http.toml")).unwrap();
    site.start_daemon().await;
    (site, stop)
}

/// Examples of each operation: with ten, all of it took a minute on an idle machine.
const EXAMPLES: &str = "5";

/// The document cannot say which selectors, names and options that exclude each other are wrong: for those, 400 is right.
const SETTINGS: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "429", "5xx"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_fault() {
    let (site, stop) = site().await;
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let forwarded = format!("127.0.0.1:{port}:rollcall:80");
    let mut ssh =
        site.ssh_with(site.port(), "ann", &["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forwarded]);
    let _ssh = ssh.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    eventually("the port is forwarded", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    let token = site.ask("web --token").await.expect(0).out.trim().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut st = Command::new(root.join("target/schemathesis/bin/st"));
    write(&site.dir.path().join("schemathesis.toml"), SETTINGS);
    st.current_dir(site.dir.path()).arg("run").arg(root.join("docs/openapi.json"));
    st.args(["--url", &format!("http://127.0.0.1:{port}"), "--checks", "all", "--seed", "16"]);
    st.args(["--header", &format!("Authorization: Bearer {token}"), "--max-examples", EXAMPLES]);
    st.args(["--request-timeout", "20", "--continue-on-failure", "--no-color"]);
    // The first would end the connection that it comes by, and the others have no end.
    for operation in ["delete_sessions_session", "get_events", "post_holds"] {
        st.args(["--exclude-operation-id", operation]);
    }
    let ended = timeout(10 * DEADLINE, st.kill_on_drop(true).output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    stop.cancel();
}
