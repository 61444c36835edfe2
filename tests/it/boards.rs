//! The boards: as text on the line, on a terminal, and as pages through a forwarded port, read by curl and by Chromium.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::DEADLINE;
use crate::support::api::{Forward, Reply, reply};
use crate::support::site::Site;

const ENTER: &str = "\x1b[?1049h";
/// A browser opens some two hundred pages.
const BROWSER_DEADLINE: Duration = Duration::from_secs(12 * 60);

const LEAVE: &str = "\x1b[?1049l";

/// A board on a terminal, by plain `ssh -tt`.
struct Screen {
    ssh: Child,
    /// All that was sent to the terminal.
    sent: String,
}

impl Screen {
    fn open(site: &Site, line: &str) -> Screen {
        let mut plain = site.ssh("ann", line);
        let mut command = Command::new("ssh");
        command
            .args(["-tt", "-o", "SendEnv=LC_ALL"])
            .args(plain.as_std_mut().get_args().filter(|word| !word.is_empty()));
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Screen { ssh: command.spawn().unwrap(), sent: String::new() }
    }

    async fn press(&mut self, keys: &str) {
        self.ssh.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    /// Reads until the screen shows this.
    async fn shows(&mut self, part: &str) {
        let mut piece = vec![0; 64 * 1024];
        let reading = async {
            while !grid(&self.sent).contains(part) {
                let read = self.ssh.stdout.as_mut().unwrap().read(&mut piece).await.unwrap();
                assert!(read > 0, "the board ended without {part:?}: {:?}", self.sent);
                self.sent.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        };
        let done = timeout(DEADLINE, reading).await;
        assert!(done.is_ok(), "no {part:?} in:\n{}", grid(&self.sent));
    }

    async fn ends(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        timeout(DEADLINE, self.ssh.stdout.as_mut().unwrap().read_to_end(&mut rest)).await.unwrap().unwrap();
        let status = timeout(DEADLINE, self.ssh.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), self.sent + &String::from_utf8_lossy(&rest))
    }
}

/// What is on a screen of 80 by 24 after these bytes: it knows the sequences that a board sends, and no others.
fn grid(sent: &str) -> String {
    let mut cells = vec![vec![' '; 80]; 24];
    let (mut x, mut y) = (0, 0);
    let mut rest = sent;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\x1b' {
            cells[y][x] = c;
            x = (x + 1).min(79);
            continue;
        }
        let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else { break };
        let (sequence, last) = (&rest[..end], &rest[end..=end]);
        rest = &rest[end + 1..];
        match (last, sequence.trim_start_matches('[').split_once(';')) {
            ("H", Some((row, column))) => {
                (y, x) = (row.parse::<usize>().unwrap() - 1, column.parse::<usize>().unwrap() - 1)
            }
            ("J", _) => cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
            ("m" | "h" | "l", _) => {}
            other => panic!("no board sends {other:?}"),
        }
    }
    cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_string() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_on_a_terminal_opens_leads_on_and_gives_the_screen_back() {
    let site = Site::start(2).await;
    site.ask("deploy prod version=2.0.0").await.expect(0);
    let mut board = Screen::open(&site, "board");
    board.shows("fleet").await;
    board.shows("live ").await;
    assert!(board.sent.starts_with(ENTER), "{:?}", board.sent);
    board.press("2").await;
    board.shows("STARTED").await;
    board.press(":1\r").await;
    board.shows("deploy prod").await;
    board.press(":nonesuch\r").await;
    board.shows("no group or host is called").await;
    board.press("x").await;
    board.shows("cancel 1: type 1 to do it").await;
    board.press("1\r").await;
    board.shows("run 1 is not under way").await;
    // An event comes to an open board.
    board.press("2").await;
    board.shows("STARTED").await;
    site.ask("touch web01").await.expect(0);
    board.shows("touch").await;
    board.press("q").await;
    let (status, seen) = board.ends().await;
    assert_eq!(status, 0);
    assert!(seen.ends_with(LEAVE), "{seen:?}");
    let audit = site.ask("audit").await.expect(0).out;
    assert!(audit.contains("`cancel 1` granted by"), "an act has its own row: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_a_board_and_a_removed_key_ends_it() {
    let site = Site::start(1).await;
    let mut board = Screen::open(&site, "board");
    board.shows("fleet").await;
    board.press("\x03").await;
    let (status, seen) = board.ends().await;
    assert_eq!(status, 0);
    assert!(seen.ends_with(LEAVE), "{seen:?}");
    let dumb = site.ask("board").await.expect(0).out;
    assert!(dumb.starts_with("fleet at event ") && !dumb.contains('\x1b'), "{dumb:?}");
}

async fn page(api: &Forward, path: &str, accept: &str) -> Reply {
    let mut curl = api.with_token(api.curl(path));
    curl.args(["-H", &format!("Accept: {accept}")]);
    reply(curl).await
}

/// Without what differs from one moment to the next.
fn timeless(mut page: Value) -> Value {
    ["now", "schema", "version"].iter().for_each(|field| _ = page.as_object_mut().unwrap().remove(*field));
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_the_same_in_html_in_json_and_on_the_line() {
    let site = Site::start(2).await;
    site.ask("deploy prod version=2.0.0").await.expect(0);
    let api = Forward::open(&site, "ann").await;
    let rows = [
        ("/runs", "board runs", "<h1>runs</h1>"),
        ("/runs/1", "board run 1", "<h1>run 1</h1>"),
        ("/runs/1?rows=all", "board run 1 --all", "web02"),
        ("/runs/1?at=5", "board run 1 --at 5", "PAST"),
        ("/runs/1/hosts/web01", "board run 1 web01", "<h2>steps</h2>"),
        ("/runs/1/hosts/web01/steps/1", "board run 1 web01 1", "<h2>output"),
        ("/runs/1/steps/1", "board step 1 1", "<h2>outputs"),
        ("/runs/1/steps/1?at=5", "board step 1 1 --at 5", "PAST"),
        ("/hosts/web01", "board host web01", "<h2>releases</h2>"),
        ("/checks", "board checks", "<h1>checks</h1>"),
        ("/debts", "board debts", "<h1>debts</h1>"),
    ];
    for (path, line, part) in rows {
        let html = page(&api, path, "text/html").await.expect(200);
        assert!(html.body.contains(part), "{path}: {}", html.body);
        let policy = html.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert_eq!(html.header("cache-control"), Some("no-store"));
        let json = timeless(page(&api, path, "application/json").await.expect(200).json());
        let said = site.ask(&format!("{line} --json")).await.expect(0).out;
        assert_eq!(timeless(serde_json::from_str(&said).unwrap()), json, "{path}");
        assert!(html.body.contains(&format!("ssh rollcall {line}")), "{path}");
        let text = page(&api, path, "text/plain").await.expect(200).body;
        assert!(text.starts_with(json["title"].as_str().unwrap()), "{path}: {text}");
    }
    page(&api, "/", "text/html").await.expect(200);
    assert!(
        api.get("/").await.expect(200).json()["rollcall"].is_string(),
        "programs get what they always got"
    );
    for (path, status, part) in [
        ("/runs/99", 404, "there is no run 99; try: runs"),
        ("/runs/x", 404, "`x` is no number"),
        ("/runs/1/steps/99", 404, "run 1 has no step 99"),
        ("/hosts/nonesuch", 404, "no group or host is called"),
        ("/runs?rows=some", 404, "pages have no `rows=some`"),
        ("/debts?at=3", 400, "only pages of runs show an earlier state"),
    ] {
        let refused = page(&api, path, "text/html").await.expect(status);
        assert!(refused.body.contains("<h1>") && refused.body.contains(part), "{path}: {}", refused.body);
        let refused = page(&api, path, "application/json").await.expect(status);
        let part = part.split("; ").next().unwrap();
        assert!(refused.body.contains(part), "{path}: {}", refused.body);
    }
    let outside = reply(api.curl("/runs")).await.expect(401);
    assert!(outside.body.contains("ssh rollcall web"), "{}", outside.body);
    let posted = api.send("POST", "/runs", &Value::Null).await;
    assert_eq!(posted.status, 405, "{posted:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_problem_is_told_from_one_that_is_still_there() {
    let site = Site::start(2).await;
    for _ in 0..2 {
        site.ask("run web01 -- false").await;
    }
    site.ask("run web01 -- true").await.expect(0);
    let runs = site.ask("board runs").await.expect(0).out;
    assert!(runs.contains("  NEW web01\n") && runs.contains("  still web01 since run 1\n"), "{runs}");
    // Another command is another line.
    assert!(
        runs.contains("\nhosts with a problem in these runs\n") && runs.contains("  run 2, failed\n"),
        "{runs}"
    );
    let second = site.ask("board run 2").await.expect(0).out;
    assert!(second.contains("  still, since run 1 (20"), "{second}");
    let first = site.ask("board run 1").await.expect(0).out;
    assert!(first.contains("  NEW"), "{first}");
    let json: Value = serde_json::from_str(&site.ask("board run 2 --json").await.expect(0).out).unwrap();
    let before = json["seq"].as_u64().unwrap() - 2;
    let past = site.ask(&format!("board run 2 --at {before}")).await.expect(0).out;
    assert!(!past.contains("still") && !past.contains("NEW"), "it had not ended then: {past}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_step_over_all_hosts_folds_what_is_equal_and_shows_what_differs() {
    let site = Site::start(3).await;
    site.ask("run prod.web -- echo one; echo $$; echo three").await.expect(0);
    // More than the journal keeps: compared by its files.
    site.ask("run prod.web -- seq 20000; seq 3 >&2").await.expect(0);
    let step = site.ask("board step 1 1").await.expect(0).out;
    assert!(step.contains("no two of 3 hosts printed the same and ended alike\n"), "{step}");
    assert!(step.contains("web02: line 2 differs\n      1   one\n      2 - "), "{step}");
    let equal = site.ask("board step 2 1").await.expect(0).out;
    assert!(equal.contains("3 hosts: 20,003 lines (all that are compared)\n"), "{equal}");
    let run: Value = serde_json::from_str(&site.ask("board run 2 --json").await.expect(0).out).unwrap();
    assert_eq!(run["tables"][1]["rows"][0]["address"], "/runs/2/steps/1");
    let json: Value = serde_json::from_str(&site.ask("board step 1 1 --json").await.expect(0).out).unwrap();
    let differences = json["differences"].as_array().unwrap();
    assert_eq!((differences.len(), differences[0]["lines"][1]["side"].as_str()), (2, Some("common")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_asked_for_again_and_again_is_on_record_once() {
    let site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    for _ in 0..5 {
        page(&api, "/runs", "text/html").await.expect(200);
    }
    page(&api, "/checks", "text/html").await.expect(200);
    let audit = site.ask("audit --json").await.expect(0).out;
    let rows = audit.lines().filter(|line| line.contains("\"board runs")).count();
    assert_eq!(rows, 1, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_pages_are_kept_by_browsers_and_pages_are_packed() {
    let site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    let api = Forward::open(&site, "ann").await;
    let html = page(&api, "/runs", "text/html").await.expect(200).body;
    let assets: Vec<&str> = html.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{html}");
    for asset in assets {
        let file = page(&api, asset, "*/*").await.expect(200);
        assert!(file.header("cache-control").unwrap().contains("immutable"), "{file:#?}");
    }
    let mut curl = api.with_token(api.curl("/runs"));
    curl.args(["-H", "Accept: text/html", "-H", "Accept-Encoding: gzip", "--compressed"]);
    let packed = reply(curl).await.expect(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.contains("<h1>runs</h1>"));
}

/// A stream of signals for a page.
async fn live(api: &Forward, after: u64) -> Child {
    let mut curl = api.with_token(api.curl(&format!("/live?after={after}")));
    curl.args(["--no-buffer"]).stdout(Stdio::piped()).kill_on_drop(true);
    curl.spawn().unwrap()
}

async fn hears(stream: &mut Child, part: &str) {
    let mut all = String::new();
    let mut piece = vec![0; 4096];
    let reading = async {
        while !all.contains(part) {
            let read = stream.stdout.as_mut().unwrap().read(&mut piece).await.unwrap();
            assert!(read > 0, "the stream ended without {part:?}: {all}");
            all.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    };
    timeout(DEADLINE, reading).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_hears_of_new_events_and_gives_way_to_a_sixth() {
    let site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    let newest: Value = serde_json::from_str(&site.ask("board runs --json").await.expect(0).out).unwrap();
    let newest = newest["seq"].as_u64().unwrap();
    let api = Forward::open(&site, "ann").await;
    let mut behind = live(&api, newest - 1).await;
    hears(&mut behind, &format!("event: change\ndata: {newest}")).await;
    let mut first = live(&api, newest).await;
    hears(&mut first, "event: beat").await;
    site.ask("touch web01").await.expect(0);
    hears(&mut first, "event: change").await;
    drop(behind);
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut one = live(&api, newest).await;
        hears(&mut one, "event: change").await;
        others.push(one);
    }
    hears(&mut first, "event: retire").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_boards_in_a_browser() {
    let (root, chromium) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("/usr/bin/chromium"));
    assert!(chromium.exists(), "there is no {}; tests/run installs it", chromium.display());
    let site = Site::start(3).await;
    site.ask("deploy prod version=2.0.0").await.expect(0);
    let hostile = r"run web01 -- printf '%s\n' '<script>alert(1)</script>' '</ol><img src=x onerror=alert(1)>' 'H held web01' four five; printf '\033]52;c;aGk=\007\033[2J\033]0;title'";
    site.ask(hostile).await.expect(0);
    // The number of the process is another one on each host.
    site.ask("run prod -- echo one; echo $$; echo three").await.expect(0);
    let api = Forward::open(&site, "ann").await;
    // A browser reaches no socket of a file system.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = api.socket.clone();
    let proxy = tokio::spawn(async move {
        while let Ok((mut browser, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut tunnel = UnixStream::connect(socket).await.unwrap();
                _ = copy_bidirectional(&mut browser, &mut tunnel).await;
            });
        }
    });
    let shots = root.join("target/screenshots");
    let mut script = Command::new(root.join("target/browser/bin/python"));
    script.arg(root.join("tests/browser/boards.py")).arg(&shots).arg(port.to_string()).arg("ssh");
    let mut plain = site.ssh("ann", "");
    script.args(plain.as_std_mut().get_args().filter(|word| !word.is_empty()));
    script.stdin(Stdio::null()).kill_on_drop(true);
    let done =
        timeout(BROWSER_DEADLINE, script.output()).await.expect("the browser is done in time").unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.ends_with("all passed\n"), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let text = page(&api, "/runs/2/hosts/web01/steps/1", "text/plain").await.expect(200).body;
    assert!(text.contains("<script>") && !text.contains('\x1b'), "{text:?}");
    proxy.abort();
}
