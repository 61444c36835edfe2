//! Files that are given to commands: by standard input, by their content, and by an address; on real hosts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rollcall::domain::base::digest::sha256_hex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;

use crate::support::api::{Forward, reply};
use crate::support::site::{Site, with_input};
use crate::support::{eventually, read, write};

const SHIP: &str = r#"
hosts = "web"
params.app = { type = "artifact" }
[[steps]]
name = "upload"
upload = { from = "{{ app }}", to = "{{ root }}/state/app.bin" }
"#;

const RELEASE: &str = r#"
hosts = "web"
params.version = {}
params.app = { type = "artifact" }
[rollout]
pause_after = { batch = 0, until = "approved" }
[[steps]]
name = "release"
release = { root = "{{ root }}", name = "{{ version }}", from = "{{ app }}" }
[[rollback]]
name = "switch back"
link = { from = "{{ previous }}", at = "{{ root }}/current" }
"#;

async fn site(tasks: &[(&str, &str)], settings: &str) -> Site {
    let mut site = Site::without_daemon(2).await;
    for (name, text) in tasks {
        write(&site.config.join(format!("tasks/{name}.toml")), text);
    }
    let path = site.config.join("rollcall.toml");
    write(&path, &format!("{}[artifacts]\n{settings}", read(&path)));
    site.start_daemon().await;
    site
}

/// The names in the folder of artifacts.
fn kept(site: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(site.dir.path().join("state/artifacts"));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.into_iter().flatten().map(name).collect();
    names.sort();
    names
}

fn noise(seed: u32, bytes: u32) -> Vec<u8> {
    (0..bytes).map(|number| (number.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

/// An archive of a release.
fn archive(dir: &Path, version: &str) -> Vec<u8> {
    let folder = dir.join(format!("build-{version}"));
    write(&folder.join("VERSION"), &format!("{version}\n"));
    let packed = std::process::Command::new("tar").args(["cz", "-C"]).arg(&folder).arg("VERSION").output();
    packed.unwrap().stdout
}

fn uploaded(site: &Site, host: usize) -> Vec<u8> {
    std::fs::read(site.hosts[host].dir.join("state/app.bin")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_standard_input_reaches_the_hosts_and_is_named_by_its_content() {
    let mut site = site(&[("ship", SHIP)], "").await;
    let file = noise(1, 3_000_000);
    let sum = sha256_hex(&file);
    let answer = with_input(site.ssh("ann", "ship web app=-"), &file).await.expect(0);
    assert!(answer.err.contains(&format!("app: 3000000 bytes, sha256:{sum}\n")), "{answer:#?}");
    assert!(uploaded(&site, 0) == file && uploaded(&site, 1) == file);
    assert_eq!(kept(&site), std::slice::from_ref(&sum));
    let at = site.dir.path().join("state/artifacts").join(&sum);
    assert_eq!(std::fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o600);
    // By its content it is there again, also for a plan and without the daemon.
    std::fs::remove_file(site.hosts[0].dir.join("state/app.bin")).unwrap();
    site.ask(&format!("ship web01 app=sha256:{sum}")).await.expect(0);
    assert!(uploaded(&site, 0) == file);
    let plan = with_input(site.ssh("ann", "plan ship web01 app=-"), b"another").await.expect(0);
    let other = sha256_hex(b"another");
    assert!(plan.out.contains(&format!("artifact sha256:{}", &other[..12])), "{plan:#?}");
    let plan = site.ask(&format!("plan ship web01 app=sha256:{other} --json")).await.expect(0);
    assert!(plan.out.contains(&format!("{{\"artifact\":{{\"sha256\":\"{other}\"}}}}")), "{plan:#?}");
    // Two operators who send the same file at once have the same file.
    let same = noise(2, 2_000_000);
    let (one, two) = (site.ssh("ann", "plan ship web01 app=-"), site.ssh("bob", "plan ship web02 app=-"));
    let (one, two) = tokio::join!(with_input(one, &same), with_input(two, &same));
    one.expect(0);
    two.expect(0);
    assert_eq!(kept(&site).len(), 3);
    site.daemon.take().unwrap().stop().await;
    // Sessions may hold the store for a moment more: what was written last is in the log of SQLite until then.
    let log = site.dir.path().join("state/rollcall.db-wal");
    eventually("the store is closed", async || !log.exists()).await;
    let mut local = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    local.args(["--local", "--config"]).arg(&site.config).args(["ship", "web01", "app=-"]);
    local.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    with_input(local, b"by hand").await.expect(0);
    assert_eq!(uploaded(&site, 0), b"by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_whole_leaves_nothing_and_says_so() {
    let site = site(&[("ship", SHIP)], "max_size = \"1 MiB\"\nidle = \"1s\"\n").await;
    // More than any window holds: a command that is refused must not wait for the rest of it.
    let long = noise(3, 8_000_000);
    let refused = [
        ("vic", "ship web app=-", 77, "this needs the role operator"),
        (
            "vic",
            "plan ship web app=-",
            77,
            "to give `ship` a file takes the right to run it; try: sha256:HEX, the name of a file that is kept",
        ),
        ("bob", "ship nowhere app=-", 64, "nowhere"),
        ("bob", "ship web", 64, "task `ship` needs app=VALUE"),
        (
            "bob",
            "ship web app=app.tgz",
            64,
            "app=app.tgz is no artifact; try: app=- with the file on standard input, or app=sha256:HEX",
        ),
        (
            "bob",
            "ship web app=-",
            69,
            "app=-: the file has more than 1 MiB, and nothing of it is kept; see: `max_size` of [artifacts] in rollcall.toml",
        ),
    ];
    for (who, line, status, why) in refused {
        let answer = with_input(site.ssh(who, line), &long).await.expect(status);
        assert!(answer.err.contains(why), "{line}: {answer:#?}");
    }
    let none = site.ask("ship web app=-").await.expect(64);
    let why = "rollcall: app=-: no file came in: the input is empty; try: ssh rollcall ... app=- <FILE\n";
    assert!(none.err.ends_with(why), "{none:#?}");
    let unknown = site.ask(&format!("ship web app=sha256:{}", sha256_hex(b"x"))).await.expect(64);
    assert!(
        unknown
            .err
            .contains("it is not kept here, or not any more; try: NAME=- with the file on standard input"),
        "{unknown:#?}"
    );
    // A client that sends a part, and then nothing.
    let mut child = site.ssh("bob", "ship web app=-").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"half").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("app=-: nothing came in for 1 s, and nothing of it is kept; try: "), "{err}");
    drop(stdin);
    // One that is killed in the middle of it.
    let mut child = site.ssh("bob", "ship web app=-").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&long[..500_000]).await.unwrap();
    eventually("a part arrives", async || !kept(&site).is_empty()).await;
    child.kill().await.unwrap();
    eventually("nothing is left", async || kept(&site).is_empty()).await;
    // On a terminal there is no file.
    let mut on_terminal = Command::new("ssh");
    on_terminal.arg("-tt").args(site.ssh("bob", "ship web app=-").as_std().get_args());
    let output = on_terminal.stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace(['\r', '\n'], " ");
    assert!(said.contains("standard input is a terminal"), "{said}");
    assert_eq!(site.ask("runs").await.expect(0).out.lines().count(), 1, "nothing has run");
    assert!(kept(&site).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_as_the_body_of_a_request() {
    let site = site(&[("ship", SHIP)], "").await;
    let (ann, vic) = (Forward::open(&site, "ann").await, Forward::open(&site, "vic").await);
    let (file, at) = (noise(5, 3_000_000), site.dir.path().join("app.bin"));
    std::fs::write(&at, &file).unwrap();
    let sum = sha256_hex(&file);
    let send = async |api: &Forward, path: &str| {
        let mut curl = api.with_token(api.curl(path));
        curl.args(["-H", "Content-Type: application/octet-stream", "-H", "Expect:", "--data-binary"]);
        curl.arg(format!("@{}", at.display()));
        reply(curl).await
    };
    let path = "/v1/runs?task=ship&selector=web&params.app=-";
    send(&vic, path).await.expect(403);
    send(&ann, "/v1/runs?task=ship&selector=nonesuch&params.app=-").await.expect(404);
    assert_eq!(kept(&site), Vec::<String>::new());
    // A body that is cut off.
    let mut stream = UnixStream::connect(&ann.socket).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        ann.token,
        file.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&file[..1_000_000]).await.unwrap();
    drop(stream);
    eventually("the cut is on record", async || {
        site.ask("audit").await.expect(0).out.contains("was cut off")
    })
    .await;
    assert_eq!(kept(&site), Vec::<String>::new());
    let plan = send(&ann, &path.replace("/v1/runs", "/v1/plans")).await.expect(200);
    assert_eq!(plan.json()["schema"], "plan");
    let started = send(&ann, path).await.expect(201);
    assert_eq!(started.json()["run"], 1);
    assert!(started.headers.contains(&format!("app: 3000000 bytes, sha256:{sum}")), "{started:?}");
    site.ask("watch 1").await.expect(0);
    assert!(uploaded(&site, 0) == file && uploaded(&site, 1) == file);
    assert_eq!(kept(&site), [sum]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_a_restart_and_a_rollback_use_the_very_same_bytes() {
    let mut site = site(&[("release", RELEASE)], "keep = \"1h\"\n").await;
    for version in ["1.1.0", "1.2.0"] {
        let file = archive(site.dir.path(), version);
        let line = format!("release web version={version} app=-");
        let mut child = site.ssh("ann", &line).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&file).await.unwrap();
        let run = site_run(&site).await;
        // The run waits; a daemon that was started again sends the bytes that were approved.
        site.daemon.take().unwrap().stop().await;
        child.wait_with_output().await.unwrap();
        site.start_daemon().await;
        site.ask(&format!("approve {run}")).await.expect(0);
        let end = site.ask(&format!("watch {run}")).await;
        assert_eq!(end.status, 0, "{end:#?}");
        assert_eq!(site.releases(), [version, version]);
    }
    let back = site.ssh("ann", "rollback web").spawn().unwrap();
    let run = site_run(&site).await;
    site.ask(&format!("approve {run}")).await.expect(0);
    assert!(back.wait_with_output().await.unwrap().status.success());
    assert_eq!(site.releases(), ["1.1.0", "1.1.0"]);
    assert_eq!(kept(&site).len(), 2, "both can be released again");
}

/// The number of the run that waits.
async fn site_run(site: &Site) -> u64 {
    let mut found = None;
    eventually("a run waits", async || {
        let runs = site.ask("runs --json").await.out;
        let run = runs.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        found = run.filter(|run| run["ended_at"].is_null()).and_then(|run| run["run"].as_u64());
        let Some(id) = found else { return false };
        site.ask(&format!("show {id}")).await.out.contains("approve")
    })
    .await;
    found.unwrap()
}

/// Serves paths with whole HTTP answers.
async fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> u16 {
    serve_and_record(answers).await.0
}

/// The same, with the requests. Connections of paths with `slow` stay open.
async fn serve_and_record(answers: Vec<(&'static str, Vec<u8>)>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heads = seen.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, heads) = (answers.clone(), heads.clone());
            tokio::spawn(async move {
                let (mut head, mut piece) = (String::new(), [0; 1024]);
                while !head.contains("\r\n\r\n") {
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    head += &String::from_utf8_lossy(&piece[..read]);
                }
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = answers.iter().find(|(known, _)| *known == path);
                let none = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
                let answer = answer.map_or(none, |(_, answer)| answer.clone());
                heads.lock().unwrap().push(head.clone());
                let _ = stream.write_all(&answer).await;
                if path.contains("slow") {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (port, seen)
}

fn ok(length: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_once_and_only_the_right_one_is_used() {
    let file = noise(4, 300_000);
    let away =
        |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let port = serve(vec![
        ("/app-1.0", away("/real-1.0")),
        ("/real-1.0", ok(file.len(), &file)),
        ("/app-other", ok(5, b"other")),
        ("/app-huge", ok(2_000_000, b"")),
        ("/app-cut", ok(300_000, &file[..1000])),
        ("/app-round", away("/app-round")),
        ("/app-cloud", away("http://169.254.169.254/latest/meta-data")),
    ])
    .await;
    let task = format!(
        "hosts = \"web\"\nparams.version = {{}}\n\
         params.app = {{ type = \"artifact\", url = \"http://127.0.0.1:{port}/app-{{{{ version }}}}\", sha256 = \"{}\" }}\n\
         [[steps]]\nname = \"upload\"\nupload = {{ from = \"{{{{ app }}}}\", to = \"{{{{ root }}}}/state/app.bin\" }}\n",
        sha256_hex(&file)
    );
    let site = site(&[("ship", &task)], "max_size = \"1 MiB\"\n").await;
    let url = |version: &str| format!("app: http://127.0.0.1:{port}/app-{version}");
    let refused = [
        ("other", 69, format!("{}: the SHA-256 of the file is {}, and the task expects {}; nothing of it is kept; try: the right `sha256` in tasks/", url("other"), sha256_hex(b"other"), sha256_hex(&file))),
        ("huge", 4, format!("{}: it has 2000000 bytes, and `max_size` is 1048576", url("huge"))),
        ("cut", 4, format!("{}: it broke off", url("cut"))),
        ("none", 4, format!("{}: 127.0.0.1 answered 404 Not Found", url("none"))),
        ("round", 4, "leads through more than 5 redirects".to_string()),
        ("cloud", 4, "169.254.169.254 is the link-local address 169.254.169.254, where clouds have their metadata; see `link_local` of [artifacts]".to_string()),
    ];
    for (version, status, why) in &refused {
        let answer = site.ask(&format!("ship web version={version}")).await.expect(*status);
        assert!(answer.err.contains(why), "{version}: {answer:#?}");
        assert!(kept(&site).is_empty(), "{version}");
    }
    let run = site.ask("ship web version=1.0").await.expect(0);
    assert!(run.err.contains(&format!("app: fetching http://127.0.0.1:{port}/app-1.0\n")), "{run:#?}");
    assert!(uploaded(&site, 0) == file && uploaded(&site, 1) == file);
    let again = site.ask("ship web version=1.0").await.expect(0);
    assert!(!again.err.contains("fetching"), "{again:#?}");
}

const FETCHES: &str = r#"
hosts = "web"
params.version = {}
[[steps]]
name = "upload"
upload = { from = { url = "http://ann:s3cr3t@127.0.0.1:PORT/app-{{ version }}?token=t0ken", sha256 = "SUM" }, to = "{{ root }}/state/app.bin" }
[[steps]]
name = "again"
upload = { from = { url = "http://ann:s3cr3t@127.0.0.1:PORT/app-{{ version }}?token=t0ken", sha256 = "SUM" }, to = "{{ root }}/state/app.copy" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_step_names_is_fetched_once_before_any_host_is_touched() {
    let file = noise(5, 200_000);
    let (port, seen) = serve_and_record(vec![
        ("/app-1.0?token=t0ken", ok(file.len(), &file)),
        ("/app-other?token=t0ken", ok(5, b"other")),
        ("/app-huge?token=t0ken", ok(2_000_000, b"")),
        ("/app-slow?token=t0ken", ok(200_000, &file[..1000])),
    ])
    .await;
    let task = FETCHES.replace("PORT", &port.to_string()).replace("SUM", &sha256_hex(&file));
    let site = site(&[("ship", &task)], "max_size = \"1 MiB\"\nidle = \"1s\"\n").await;
    let url = |version: &str| format!("fetched_1: http://***@127.0.0.1:{port}/app-{version}?***");
    for (version, status, why) in [
        ("other", 69, format!("{}: the SHA-256 of the file is {}", url("other"), sha256_hex(b"other"))),
        ("huge", 4, format!("{}: it has 2000000 bytes, and `max_size` is 1048576", url("huge"))),
        ("none", 4, format!("{}: 127.0.0.1 answered 404 Not Found", url("none"))),
        ("slow", 2, format!("{}: nothing came in for 1 s, and nothing of it is kept", url("slow"))),
    ] {
        let answer = site.ask(&format!("ship web version={version}")).await.expect(status);
        assert!(answer.err.contains(&why), "{version}: {answer:#?}");
        assert!(!answer.err.contains("s3cr3t") && !answer.err.contains("t0ken"), "{version}: {answer:#?}");
        assert!(kept(&site).is_empty(), "{version}");
    }
    let runs = site.ask("runs").await.expect(0).out;
    assert!(!runs.contains("ship"), "{runs}");
    let run = site.ask("ship web version=1.0").await.expect(0);
    let fetching = format!("fetched_1: fetching http://***@127.0.0.1:{port}/app-1.0?***\n");
    assert_eq!(run.err.matches(&fetching).count(), 1, "{run:#?}");
    assert!(uploaded(&site, 0) == file && uploaded(&site, 1) == file);
    site.ask("ship web version=1.0").await.expect(0);
    let heads: Vec<String> =
        seen.lock().unwrap().iter().filter(|head| head.contains("app-1.0")).cloned().collect();
    assert_eq!(heads.len(), 1, "{heads:?}");
    // ann:s3cr3t
    assert!(heads[0].contains("Basic YW5uOnMzY3IzdA=="), "{}", heads[0]);
    let other = site.ask("ship web version=1.0 fetched_1=-").await.expect(64);
    assert!(other.err.contains("a step of `ship` says which file `fetched_1` is"), "{}", other.err);
    let help = site.ask("help ship").await.expect(0).out;
    let (params, _) = help.split_once("\nSteps:\n").unwrap();
    assert!(
        params.contains("version") && !params.contains("fetched_1") && !help.contains("s3cr3t"),
        "{help}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_fetch_its_file_is_a_mistake() {
    let site = site(&[], "").await;
    let task = |from: &str| format!("[[steps]]\nname = \"u\"\nupload = {{ {from}, to = \"/srv/x\" }}\n");
    let of = |url: &str, sha256: &str| format!("from = {{ url = \"{url}\", sha256 = \"{sha256}\" }}");
    let sum = "1".repeat(64);
    write(&site.config.join("tasks/c.toml"), "[[steps]]\nname = \"call\"\ntask = \"t\"\n");
    for (from, wanted) in [
        (of("https://b/a", &sum) + ", template = true", "a file that is fetched is no template"),
        ("from = { url = \"https://b/a\" }".to_string(), "`sha256`"),
        (of("ftp://b/a", &sum), "the URL is no address of HTTP"),
        (of("https://b/a", "abc"), "`sha256` has 64 digits of hexadecimal"),
        (of("https://b/{{ nobody }}", &sum), "nothing defines `nobody`"),
        (of("https://b/a", &sum), "`t` fetches a file, so no task can call it"),
    ] {
        write(&site.config.join("tasks/t.toml"), &task(&from));
        let refused = site.ask("reload").await;
        assert!(refused.status != 0 && refused.err.contains(wanted), "{from}: {refused:#?}");
    }
}
