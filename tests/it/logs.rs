//! Logs of hosts over real sshd: lines that are there, lines that come, and nothing that stays.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::api::Forward;
use crate::support::site::Site;
use crate::support::{DEADLINE, eventually, read, until, write};

/// A log on the machine, which is that of all hosts of the site.
fn log(site: &Site, text: &str) -> String {
    let path = site.dir.path().join("it's a log");
    write(&path, text);
    path.display().to_string()
}

fn append(path: &str, text: &str) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// Processes of the machine that have this word on their command line.
fn processes(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect();
        // The clients of the test have it within their line.
        if words.iter().any(|one| one == word) {
            found.push(words.join(" "));
        }
    }
    found
}

async fn none_left(path: &str) {
    eventually("no process is left on the host", async || processes(path).is_empty()).await;
}

async fn status_of(mut child: Child) -> Option<i32> {
    timeout(DEADLINE, child.wait()).await.expect("an end").unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_hosts_are_printed_and_equal_ones_once() {
    let mut site = Site::without_daemon(2).await;
    let hosts = site.config.join("hosts/prod.toml");
    let secret = "[web.vars]\ntoken = { from_file = \"token\", secret = true }\n";
    write(&hosts, &(read(&hosts) + secret));
    write(&site.config.join("token"), "s3cret-of-the-site\n");
    site.start_daemon().await;
    let lines: String = (1..=60).map(|n| format!("line {n}\n")).collect();
    let path = log(&site, &lines);
    let word = quoted(&path);
    let one = site.ask(&format!("logs web01 {word}")).await.expect(0);
    assert!(one.out.starts_with("line 11\n") && one.out.ends_with("line 60\n"), "{}", one.out);
    let both = site.ask(&format!("logs prod.web {word} --lines 2")).await.expect(0);
    assert_eq!(both.out, "---------------\nweb[01-02] (2)\n---------------\n  line 59\n  line 60\n");
    let found = site.ask(&format!("logs web01 {word} --grep 'line 7'")).await.expect(0);
    assert_eq!(found.out, "line 7\n");
    site.ask(&format!("logs web01 {word} --grep nonesuch")).await.expect(0);

    // Secrets and escapes.
    append(&path, "token=s3cret-of-the-site \x1b[2J\x07 end");
    let last = site.ask(&format!("logs web01 {word} --lines 1")).await.expect(0);
    assert_eq!(last.out, "token=*** \\x1b[2J\\x07 end\n");

    // What is not there is said with the words of the host, and those of others are there.
    let none = site.ask("logs web01 /nonesuch/app.log").await.expect(2);
    assert!(none.err.contains("tail: cannot open '/nonesuch/app.log'"), "{}", none.err);
    assert!(none.err.contains("rollcall: web01: exit status 1: tail: cannot open"), "{}", none.err);
    site.hosts[1].sshd.kill();
    let half = site.ask(&format!("logs prod.web {word} --lines 1 --grep line")).await.expect(4);
    let head = "---------------\nweb01\n---------------\n  line 60\n---------------\nweb02: ";
    assert!(half.out.starts_with(head) && half.out.contains("cannot connect to web02"), "{}", half.out);

    // The API has them, and the audit has who asked.
    let forward = Forward::open(&site, "bob").await;
    let body = json!({ "selector": "prod.web", "source": path, "count": "1", "text": "line" });
    let answer = forward.send("POST", "/v1/logs", &body).await.json();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(items[0]["lines"], json!(["line 60"]));
    assert_eq!((&items[0]["state"], &items[1]["state"]), (&json!("ok"), &json!("unreachable")));
    let rows = site.ask("audit --type command --json").await.expect(0).out;
    let of_bob = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    assert!(
        of_bob.into_iter().any(|row| row["name"] == "bob" && row.to_string().contains("logs prod.web")),
        "{rows}"
    );
    assert_eq!(site.ask("runs --json").await.expect(0).out, "", "it is no run");
    none_left(&path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_stays_on_a_host_that_was_followed() {
    let site = Site::start(2).await;
    let path = log(&site, "old\n");
    let line = format!("logs prod.web {} -f", quoted(&path));
    // A client that is killed.
    let mut child = site.ssh("bob", &line).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let begun = until(&mut out, "web01: old\n").await;
    if !begun.contains("web02: old\n") {
        until(&mut out, "web02: old\n").await;
    }
    append(&path, "fresh\n");
    let came = until(&mut out, "web01: fresh\n").await;
    if !came.contains("web02: fresh\n") {
        until(&mut out, "web02: fresh\n").await;
    }
    // A deploy goes on beside it.
    site.ask("deploy prod version=2.0.0").await.expect(0);
    assert!(!processes(&path).is_empty());
    child.kill().await.unwrap();
    none_left(&path).await;

    // Rotation, Ctrl-C on a terminal, and a search.
    let mut ssh = site.ssh("ann", &format!("logs web01 {} -f --grep e", quoted(&path)));
    let mut terminal = Command::new("ssh");
    terminal.env("TERM", "dumb").arg("-tt").args(ssh.as_std_mut().get_args());
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = terminal.spawn().unwrap();
    let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut out, "fresh").await;
    std::fs::rename(&path, format!("{path}.1")).unwrap();
    write(Path::new(&path), "after\nit rotated\n");
    until(&mut out, "it rotated").await;
    keys.write_all(b"\x03").await.unwrap();
    assert_eq!(status_of(child).await, Some(130));
    none_left(&path).await;

    // The end of the session by another operator.
    let mut child = site.ssh("bob", &line).spawn().unwrap();
    until(child.stdout.as_mut().unwrap(), "it rotated\n").await;
    let sessions = site.ask("sessions --json").await.expect(0).out;
    let all = sessions.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    let follows =
        |row: &Value| row["operator"] == "bob" && row["commands"].to_string().contains("logs prod.web");
    let found = all.into_iter().filter(follows).max_by_key(|row| row["id"].as_u64());
    let found = found.unwrap_or_else(|| panic!("{sessions}"));
    site.ask(&format!("kick {}", found["id"])).await.expect(0);
    timeout(DEADLINE, child.wait()).await.expect("an end").unwrap();
    none_left(&path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_named_and_the_others_are_followed() {
    let site = Site::start(2).await;
    let path = log(&site, "old\n");
    let mut child = site.ssh("bob", &format!("logs prod.web,lb1 {} -f", quoted(&path))).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut seen = String::new();
    while ["web01: old\n", "web02: old\n", "lb1: old\n"].iter().any(|line| !seen.contains(line)) {
        seen += &until(&mut out, "\n").await;
    }
    site.hosts[0].sshd.cut();
    until(&mut err, "rollcall: web01 is no longer followed: ").await;
    append(&path, "more\n");
    until(&mut out, "web02: more\n").await;
    site.hosts[1].sshd.cut();
    site.lb.cut();
    assert_eq!(status_of(child).await, Some(4));
    none_left(&path).await;
    // A missing file is reported, and the follow waits for it. Too many hosts are refused before any is asked.
    let later = site.dir.path().join("later.log");
    let mut child = site.ssh("bob", &format!("logs web01 {} -f", later.display())).spawn().unwrap();
    until(child.stderr.as_mut().unwrap(), "tail: cannot open").await;
    write(&later, "it is there\n");
    until(child.stdout.as_mut().unwrap(), "it is there\n").await;
    drop(child);
    none_left(&later.display().to_string()).await;
}

/// Reads until the text is there; how many bytes that were. They may be many.
async fn read_to(mut out: impl AsyncRead + Unpin, text: &str) -> usize {
    let (mut tail, mut seen, mut piece) = (String::new(), 0, vec![0; 64 * 1024]);
    while !tail.contains(text) {
        let read = out.read(&mut piece).await.unwrap();
        assert!(read > 0, "it ended without `{text}`");
        seen += read;
        let from = tail.len().saturating_sub(text.len());
        tail = tail.split_off(from) + &String::from_utf8_lossy(&piece[..read]);
    }
    seen
}

/// Nothing on a host waits for a client, and a gap is said where it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_delays_nothing_and_knows_what_it_missed() {
    let site = Site::start(1).await;
    let path = log(&site, "old\n");
    let mut child = site.ssh("bob", &format!("logs web01 {} -f", quoted(&path))).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    until(&mut out, "old\n").await;
    // More than the client's window, its pipe and the queue hold.
    let flood = "a line of sixty-four bytes, which is said again and again, yes\n".repeat(200_000);
    append(&path, &flood);
    site.ask("run web01 -- echo passed").await.expect(0);
    let mut other = site.ssh("ann", &format!("logs web01 {} -f --grep LAST", quoted(&path))).spawn().unwrap();
    append(&path, "the LAST one\n");
    until(other.stdout.as_mut().unwrap(), "the LAST one\n").await;
    let reading = tokio::spawn(read_to(out, "the end of it\n"));
    until(&mut err, "left out here: your client reads too slowly").await;
    // One that is said while lines are left out may be among them.
    eventually("the end is read", async || {
        append(&path, "the end of it\n");
        reading.is_finished()
    })
    .await;
    let seen = reading.await.unwrap();
    assert!(seen < flood.len(), "{seen}");
    drop((child, other));
    none_left(&path).await;
}
