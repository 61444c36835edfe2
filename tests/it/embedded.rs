//! The embedded hosts, reached as every host is: through the fleet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rollcall::domain::base::output::KEEP_BYTES;
use rollcall::domain::inventory::inventory::Endpoint;
use rollcall::embedded::behaviour::{Behaviour, CommandEnd, ExecIo};
use rollcall::embedded::sshd::Sshd;
use rollcall::embedded::traffic::Traffic;
use rollcall::embedded::{EmbeddedFleet, EmbeddedHost};
use rollcall::fleet::dial::{Dial, Identity, TcpDial};
use rollcall::fleet::known_hosts::KnownHosts;
use rollcall::fleet::{ConnectionSettings, Fleet, Parts};
use rollcall::port::{Clock, Exec, ExecEnd, ExecReport, Input, OpenError, Program, Remote, Stream};
use russh::Sig;
use russh::keys::{Algorithm, PrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// For whatever must happen some time: a machine under load is slow, not wrong.
const DEADLINE: Duration = Duration::from_secs(60);

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

fn fleet_of(dial: Arc<dyn Dial>, key: PrivateKey, known_hosts: PathBuf) -> Fleet {
    let settings = ConnectionSettings {
        parallel: 8,
        connect_timeout: DEADLINE,
        keepalive: Duration::from_secs(15),
        idle_timeout: None,
    };
    Fleet::new(Parts {
        settings,
        identities: vec![Identity::Key(Arc::new(key))],
        keys: Default::default(),
        known_hosts: KnownHosts::new(known_hosts),
        dial,
        clock: Arc::new(Epoch),
    })
}

fn endpoint(name: &str, port: u16) -> Endpoint {
    Endpoint {
        name: name.into(),
        here: false,
        address: "127.0.0.1".into(),
        further: Vec::new(),
        key: None,
        port,
        login: "deploy".into(),
        via: None,
    }
}

fn at(host: &EmbeddedHost) -> Endpoint {
    endpoint(&host.name, host.ssh_port)
}

fn command(script: &str) -> Exec {
    let (input, cancel) = (Input::None, CancellationToken::new());
    Exec {
        program: Program::Script(script.into()),
        sudo: Default::default(),
        input,
        timeout: DEADLINE,
        cancel,
        lines: None,
        fresh: false,
        keep_bytes: KEEP_BYTES,
        sink: None,
        recorder: None,
        masks: Default::default(),
    }
}

/// The embedded fleet, and the fleet that reaches it.
struct Scene {
    hosts: EmbeddedFleet,
    fleet: Arc<Fleet>,
    _dir: tempfile::TempDir,
}

async fn scene(webs: usize) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let hosts = EmbeddedFleet::start(&dir.path().join("hosts"), webs).await.unwrap();
    let known_hosts = dir.path().join("known_hosts");
    std::fs::write(&known_hosts, hosts.known_hosts()).unwrap();
    let key = PrivateKey::from_openssh(hosts.identity()).unwrap();
    Scene { fleet: Arc::new(fleet_of(Arc::new(TcpDial), key, known_hosts)), hosts, _dir: dir }
}

impl Scene {
    async fn web(&self, script: &str) -> ExecReport {
        self.fleet.exec(&at(&self.hosts.webs()[0]), command(script)).await
    }

    async fn lb(&self, script: &str) -> ExecReport {
        self.fleet.exec(&at(self.hosts.balancer()), command(script)).await
    }

    async fn workers(&self) -> String {
        self.lb("cat workers").await.stdout.text
    }
}

/// Waits until something is so.
async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !look().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn get(mut stream: impl Stream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn commands_answer_with_output_and_status() {
    let scene = scene(1).await;
    let report = scene.web("echo out; echo err >&2; pwd; echo $HOME; exit 3").await;
    assert_eq!(report.end, ExecEnd::Exited(3));
    let dir = scene.hosts.webs()[0].dir.display().to_string();
    assert_eq!(report.stdout.text, format!("out\n{dir}\n{dir}\n"));
    assert_eq!(report.stderr.text, "err\n");
    assert_eq!(scene.web("kill -9 $$").await.end, ExecEnd::Signalled("KILL".into()));
    let background = scene.web("sleep 5 & echo started").await;
    assert_eq!((background.end, background.stdout.text.as_str()), (ExecEnd::Exited(0), "started\n"));
    scene.fleet.close().await;
    scene.hosts.shutdown().await;
}

#[tokio::test]
async fn input_arrives_whole() {
    let scene = scene(1).await;
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let host = at(&scene.hosts.webs()[0]);
    let upload = |script: &str| Exec { input: Input::Bytes(bytes.clone().into()), ..command(script) };
    let report = scene.fleet.exec(&host, upload("cat >file; wc -c <file")).await;
    assert_eq!((report.end, report.stdout.text.trim()), (ExecEnd::Exited(0), "20000000"));
    assert_eq!(std::fs::read(scene.hosts.webs()[0].dir.join("file")).unwrap(), bytes);
}

#[tokio::test]
async fn input_that_is_never_read_holds_up_nobody() {
    let scene = scene(1).await;
    let host = at(&scene.hosts.webs()[0]);
    let input = Input::Bytes(vec![b'x'; 30_000_000].into());
    let cancel = CancellationToken::new();
    let deaf = Exec { input, cancel: cancel.clone(), ..command("touch started; exec sleep 1000") };
    let fleet = scene.fleet.clone();
    let running = tokio::spawn(async move { fleet.exec(&host, deaf).await });
    until("started", async || scene.hosts.webs()[0].dir.join("started").exists()).await;
    for _ in 0..3 {
        let report = timeout(DEADLINE, scene.web("echo there")).await.unwrap();
        assert_eq!((report.end, report.stdout.text.as_str()), (ExecEnd::Exited(0), "there\n"));
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().end, ExecEnd::Cancelled);
}

#[tokio::test]
async fn cancelling_ends_the_whole_process_group() {
    let scene = scene(1).await;
    let dir = scene.hosts.webs()[0].dir.clone();
    let cancel = CancellationToken::new();
    let script = "sleep 1000 & echo $! >child; echo $$ >parent; wait";
    let exec = Exec { cancel: cancel.clone(), ..command(script) };
    let (fleet, host) = (scene.fleet.clone(), at(&scene.hosts.webs()[0]));
    let running = tokio::spawn(async move { fleet.exec(&host, exec).await });
    until("started", async || number(&dir.join("parent")).is_some()).await;
    let processes = [number(&dir.join("parent")).unwrap(), number(&dir.join("child")).unwrap()];
    assert!(processes.iter().all(|pid| lives(*pid)));
    cancel.cancel();
    assert_eq!(running.await.unwrap().end, ExecEnd::Cancelled);
    until("both are gone", async || !processes.iter().any(|pid| lives(*pid))).await;
}

#[tokio::test]
async fn a_command_dies_with_its_connection() {
    let scene = scene(1).await;
    let dir = scene.hosts.webs()[0].dir.clone();
    let (fleet, host) = (scene.fleet.clone(), at(&scene.hosts.webs()[0]));
    let running = tokio::spawn(async move {
        fleet.exec(&host, command("trap '' TERM HUP; echo $$ >parent; while :; do sleep 0.1; done")).await
    });
    until("started", async || number(&dir.join("parent")).is_some()).await;
    scene.fleet.close().await;
    assert!(matches!(running.await.unwrap().end, ExecEnd::Lost(_)));
    let pid = number(&dir.join("parent")).unwrap();
    until("it is gone", async || !lives(pid)).await;
}

fn number(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok()
}

/// A zombie that nobody has waited for yet does not live.
fn lives(pid: u32) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    about.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_hundred_commands_on_one_connection_all_answer() {
    let scene = scene(1).await;
    let running: Vec<_> = (0..100)
        .map(|number| {
            let (fleet, host) = (scene.fleet.clone(), at(&scene.hosts.webs()[0]));
            tokio::spawn(
                async move { fleet.exec(&host, command(&format!("echo {number}; exit {number}"))).await },
            )
        })
        .collect();
    for (number, running) in (0..).zip(running) {
        let report = running.await.unwrap();
        assert_eq!(report.end, ExecEnd::Exited(number));
        assert_eq!(report.stdout.text, format!("{number}\n"));
    }
}

#[tokio::test]
async fn a_flood_arrives_bounded_and_counted() {
    let scene = scene(1).await;
    let report = scene.web("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end").await;
    assert_eq!(report.end, ExecEnd::Exited(0));
    assert!(report.stdout.text.ends_with("x\nend\n") && report.stdout.text.len() < 100_000);
    let kept = 2 * rollcall::domain::base::output::KEEP_BYTES as u64;
    assert_eq!(report.stdout.left_out, 5_000_005 - kept);
}

#[tokio::test]
async fn the_site_is_seen_through_its_host() {
    let scene = scene(1).await;
    let web = &scene.hosts.webs()[0];
    let look = async |path: &str| {
        get(scene.fleet.open(&at(web), "127.0.0.1", web.http_port).await.unwrap(), path).await
    };
    let home = look("/").await;
    assert!(
        home.starts_with("HTTP/1.1 200 ") && home.ends_with("hello from web01, version 1.0.0\n"),
        "{home}"
    );
    assert!(look("/health").await.ends_with("\r\n\r\n1.0.0\n"));
    assert!(look("/other").await.starts_with("HTTP/1.1 404 "));
    assert_eq!(scene.web("touch current/BROKEN").await.end, ExecEnd::Exited(0));
    let broken = look("/health").await;
    assert!(broken.starts_with("HTTP/1.1 503 ") && broken.ends_with("broken"), "{broken}");
    assert!(look("/").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(scene.web("touch down").await.end, ExecEnd::Exited(0));
    assert!(look("/").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(scene.web("rm down current").await.end, ExecEnd::Exited(0));
    assert!(look("/").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn only_loopback_is_connected_to() {
    let scene = scene(1).await;
    let host = at(&scene.hosts.webs()[0]);
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (address, port) in [("127.0.0.1", refused), ("192.0.2.1", 80), ("example.com", 80)] {
        let opened = scene.fleet.open(&host, address, port).await;
        assert!(matches!(opened, Err(OpenError::Refused(_))), "{address}");
    }
}

#[tokio::test]
async fn strangers_are_kept_out_on_both_sides() {
    let scene = scene(1).await;
    let host = at(&scene.hosts.webs()[0]);
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    std::fs::write(&known_hosts, scene.hosts.known_hosts()).unwrap();
    let stranger = fleet_of(Arc::new(TcpDial), new_key(), known_hosts);
    let ExecEnd::NotStarted(why) = stranger.exec(&host, command("true")).await.end else { panic!() };
    assert!(why.contains("authentication") && why.contains("none accepted"), "{why}");

    let key = PrivateKey::from_openssh(scene.hosts.identity()).unwrap();
    let careful = fleet_of(Arc::new(TcpDial), key, dir.path().join("none"));
    let ExecEnd::NotStarted(why) = careful.exec(&host, command("true")).await.end else { panic!() };
    let about = careful.host_key(&host).await.unwrap();
    assert!(why.contains("host key: not known") && why.contains(&about.fingerprint), "{why}");
    careful.accept_host_key(&host, &about.fingerprint).await.unwrap();
    assert_eq!(careful.exec(&host, command("true")).await.end, ExecEnd::Exited(0));
}

/// A host that is nothing but its answers.
struct Parrot;

#[async_trait]
impl Behaviour for Parrot {
    async fn exec(&self, command: String, mut io: ExecIo, mut signals: mpsc::Receiver<Sig>) -> CommandEnd {
        match command.as_str() {
            "vanish" => CommandEnd::Vanish,
            "wait" => match signals.recv().await {
                Some(signal) => CommandEnd::Signal(signal),
                None => CommandEnd::Exit(1),
            },
            "panic" => panic!("as asked"),
            other => {
                sleep(Duration::from_secs(3600)).await;
                io.stdout.write_all(other.as_bytes()).await.unwrap();
                io.stdout.shutdown().await.unwrap();
                io.stderr.write_all(b"done").await.unwrap();
                CommandEnd::Exit(7)
            }
        }
    }

    async fn connect(&self, _: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        match port {
            80 => {
                let (ours, mut theirs) = tokio::io::duplex(1024);
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(&mut theirs);
                    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                    writer.shutdown().await.unwrap();
                });
                Ok(Box::new(ours))
            }
            22 => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Dials a host in memory.
struct Memory(Sshd);

#[async_trait]
impl Dial for Memory {
    async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let host = self.0.clone();
        tokio::spawn(async move { host.serve(theirs).await });
        Ok(Box::new(ours))
    }
}

fn in_memory(dir: &Path) -> Fleet {
    let key = new_key();
    let host = Sshd::new(new_key(), vec![key.public_key().clone()], Arc::new(Parrot));
    let line = format!("[127.0.0.1]:2200 {}\n", host.public_key().to_openssh().unwrap());
    let known_hosts = dir.join("known_hosts");
    std::fs::write(&known_hosts, line).unwrap();
    fleet_of(Arc::new(Memory(host)), key, known_hosts)
}

#[tokio::test(start_paused = true)]
async fn memory_streams_and_paused_time_do() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = in_memory(dir.path());
    let host = endpoint("parrot", 2200);
    let bare = |word: &'static str| Exec { program: Program::Login(word), ..command("") };
    let patient = |word: &'static str| Exec { timeout: Duration::from_secs(7200), ..bare(word) };
    let began = Instant::now();
    let report = fleet.exec(&host, patient("hello")).await;
    assert_eq!(report.end, ExecEnd::Exited(7));
    assert_eq!((report.stdout.text.as_str(), report.stderr.text.as_str()), ("hello", "done"));
    assert!(began.elapsed() >= Duration::from_secs(3600) && began.elapsed() < Duration::from_secs(3700));
    // A host that obeys no signal is not said to have.
    assert!(matches!(fleet.exec(&host, bare("hello")).await.end, ExecEnd::Lost(_)));
    assert_eq!(fleet.exec(&host, bare("panic")).await.end, ExecEnd::Signalled("ABRT".into()));
    assert_eq!(fleet.exec(&host, bare("wait")).await.end, ExecEnd::TimedOut);
    let lost = fleet.exec(&host, bare("vanish")).await.end;
    assert!(matches!(lost, ExecEnd::Lost(_)), "{lost:?}");
    assert_eq!(fleet.exec(&host, patient("again")).await.end, ExecEnd::Exited(7));

    let mut stream = fleet.open(&host, "anywhere", 80).await.unwrap();
    stream.write_all(b"echo").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "echo");
    assert!(matches!(fleet.open(&host, "anywhere", 81).await, Err(OpenError::Refused(_))));
    assert!(matches!(fleet.open(&host, "anywhere", 22).await, Err(OpenError::Blind(_))));
}

/// Asks the balancer for `/` over a connection of its own.
async fn ask(scene: &Scene) -> String {
    get(TcpStream::connect(scene.hosts.address()).await.unwrap(), "/").await
}

#[tokio::test]
async fn the_balancer_tests_and_reloads_as_nginx_does() {
    let scene = scene(2).await;
    let good = scene.lb("nginx -t -c nginx.conf").await;
    assert_eq!(good.end, ExecEnd::Exited(0), "{good:?}");
    assert!(good.stderr.text.contains("syntax is ok"));
    let bad = scene.lb("grep -v '^}' nginx.conf >bad.conf; nginx -t -c bad.conf").await;
    assert_eq!(bad.end, ExecEnd::Exited(1));
    assert!(bad.stderr.text.starts_with("nginx: [emerg] unexpected end of file"), "{bad:?}");
    assert_eq!(scene.lb("nginx -s reload -c bad.conf").await.end, ExecEnd::Exited(1));
    assert_eq!(scene.workers().await, "worker 1\n");

    let seen = [ask(&scene).await, ask(&scene).await].concat();
    assert!(seen.contains("hello from web01") && seen.contains("hello from web02"), "{seen}");
    let first = scene.hosts.webs()[0].http_port;
    let down = format!("sed -i 's/:{first};/:{first} down;/' nginx.conf && nginx -s reload -c nginx.conf");
    assert_eq!(scene.lb(&down).await.end, ExecEnd::Exited(0));
    until("the new generation is alone", async || scene.workers().await == "worker 2\n").await;
    for _ in 0..4 {
        assert!(ask(&scene).await.contains("hello from web02"));
    }
    let left = scene.lb("ls").await.stdout.text;
    assert!(!left.contains("reply."), "{left}");
}

#[tokio::test]
async fn mistakes_show_at_the_balancer() {
    let scene = scene(2).await;
    assert_eq!(scene.web("touch down").await.end, ExecEnd::Exited(0));
    let seen = [ask(&scene).await, ask(&scene).await].concat();
    assert!(seen.contains("HTTP/1.1 503 ") && seen.contains("HTTP/1.1 200 "), "{seen}");
    let (first, nobody) = (scene.hosts.webs()[0].http_port, free_port().await);
    let edit = format!("sed -i 's/:{first};/:{nobody};/' nginx.conf && nginx -s reload -c nginx.conf");
    assert_eq!(scene.lb(&edit).await.end, ExecEnd::Exited(0));
    until("the reload took effect", async || scene.workers().await == "worker 2\n").await;
    let seen = [ask(&scene).await, ask(&scene).await].concat();
    assert!(seen.contains("HTTP/1.1 502 ") && seen.contains("HTTP/1.1 200 "), "{seen}");
}

/// A port where nobody listens, for as long as nobody else is given it.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_request_in_flight_keeps_its_generation() {
    let scene = scene(1).await;
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (web, port) = (scene.hosts.webs()[0].http_port, slow.local_addr().unwrap().port());
    let to = async |from: u16, to: u16| {
        let edit = format!("sed -i 's/:{from};/:{to};/' nginx.conf && nginx -s reload -c nginx.conf");
        assert_eq!(scene.lb(&edit).await.end, ExecEnd::Exited(0));
    };
    to(web, port).await;
    until("it reloaded", async || scene.workers().await == "worker 2\n").await;
    let client = TcpStream::connect(scene.hosts.address()).await.unwrap();
    let asking = tokio::spawn(get(client, "/"));
    let (mut server, _) = slow.accept().await.unwrap();
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nslow").await.unwrap();
    to(port, web).await;
    until("both are there", async || scene.workers().await == "worker 2\nworker 3\n").await;
    assert!(ask(&scene).await.contains("hello from web01"));
    server.write_all(b"poke").await.unwrap();
    assert!(asking.await.unwrap().ends_with("slowpoke"));
    until("the old one is gone", async || scene.workers().await == "worker 3\n").await;
}

#[tokio::test]
async fn users_see_nothing_of_a_careful_rollout() {
    let scene = scene(2).await;
    let traffic = Traffic::start(scene.hosts.address(), 4);
    let mut worker = 1;
    for web in scene.hosts.webs() {
        let port = web.http_port;
        for (from, to, script) in [(";", " down;", "touch down"), (" down;", ";", "true")] {
            let edit = format!("sed -i 's/:{port}{from}/:{port}{to}/' nginx.conf && nginx -s reload");
            assert_eq!(scene.lb(&edit).await.end, ExecEnd::Exited(0));
            worker += 1;
            let alone = format!("worker {worker}\n");
            until("the reload took effect", async || scene.workers().await == alone).await;
            let before = traffic.counts().sent;
            assert_eq!(scene.fleet.exec(&at(web), command(script)).await.end, ExecEnd::Exited(0));
            until("traffic goes on", async || traffic.counts().sent > before + 10).await;
            assert_eq!(scene.fleet.exec(&at(web), command("rm -f down")).await.end, ExecEnd::Exited(0));
        }
    }
    let counts = traffic.stop().await;
    assert_eq!((counts.failed, counts.samples), (0, Vec::new()));
    assert!(counts.sent > 40);

    let traffic = Traffic::start(scene.hosts.address(), 2);
    assert_eq!(scene.web("touch down").await.end, ExecEnd::Exited(0));
    until("the careless one is seen", async || traffic.counts().failed > 0).await;
    assert!(traffic.stop().await.samples[0].contains("503 Service Unavailable: restarting"));
    scene.hosts.shutdown().await;
}
