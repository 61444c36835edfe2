//! The whole output of commands: kept beside the journal, read by line, searched, and fetched as it is.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::api::{Forward, reply};
use crate::support::daemon::{local, spawn_daemon};
use crate::support::site::Site;
use crate::support::{eventually, keygen, read, write};

/// More than the journal keeps, with colours; and a word on standard error, in a step of its own: which of two streams arrives
/// first is for the host and the network.
const TALK: &str = r#"
hosts = "web"
[[steps]]
name = "talk"
run = '''
awk 'BEGIN { for (n = 1; n <= 30000; n++) print "line " n; printf "\033[1;31mERROR\033[0m: it \033]0;title\007broke\n" }'
'''
[[steps]]
name = "silent"
run = "true"
[[steps]]
name = "warns"
run = "echo warning >&2"
"#;

/// Prints, waits until the test lets it go on, and prints again.
const WAITS: &str = r#"
hosts = "web"
[[steps]]
name = "waits"
run = '''
awk 'BEGIN { for (n = 1; n <= 20000; n++) print "first " n }'
until [ -e go ]; do sleep 0.05; done
awk 'BEGIN { for (n = 1; n <= 20000; n++) print "second " n }'
echo end
'''
in = "{{ root }}"
"#;

async fn site(task: &str) -> Site {
    let site = Site::without_daemon(2).await;
    write(&site.config.join("tasks/talk.toml"), task);
    site
}

fn kept(site: &Site, name: &str) -> PathBuf {
    site.dir.path().join("state/outputs").join(name)
}

fn all_lines() -> String {
    (1..=30_000).map(|n| format!("line {n}\n")).collect::<String>()
        + "\x1b[1;31mERROR\x1b[0m: it \x1b]0;title\x07broke\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_output_of_a_step_is_kept_and_read_by_line() {
    let mut site = site(TALK).await;
    site.start_daemon().await;
    site.ask("talk prod").await.expect(0);
    let file = kept(&site, "1/web01/0-1");
    assert_eq!(read(&file), all_lines());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!kept(&site, "1/web01/1-1").exists(), "a silent step has none");

    let list = site.ask("output 1 web01").await.expect(0).out;
    assert!(list.contains("   1 talk: 30,001 lines, 318,9"), "{list}");
    assert!(list.contains("   2 silent: 0 lines, 0 bytes"), "{list}");
    assert!(list.contains("   3 warns: 1 line, 8 bytes"), "{list}");
    let out = async |line: &str| site.ask(line).await.expect(0).out;
    assert_eq!(
        out("output 1 web01 talk --lines 15000-15001").await,
        " 15000   line 15000\n 15001   line 15001\n"
    );
    assert_eq!(out("output 1 web01 1 --tail 2").await, " 30000   line 30000\n 30001   ERROR: it broke\n");
    assert_eq!(out("output 1 web01 1 --search 'ERROR: it broke'").await, " 30001   ERROR: it broke\n");
    assert_eq!(out("output 1 web01 1 --problems").await, " 30001   ERROR: it broke\n");
    assert_eq!(out("output 1 web01 1 --regex '^line 1234.$'").await.lines().count(), 10);
    assert_eq!(out("output 1 web01 1 --line 20000").await.lines().count(), 17);
    assert_eq!(out("output 1 web01 1 --lines 1-").await.lines().count(), 30_001);
    assert_eq!(out("output 1 web01 1").await.lines().count(), 500);
    let raw = site.ask("output 1 web01 1 --raw").await.expect(0);
    assert_eq!((raw.out.as_str(), raw.err.as_str()), (read(&file).as_str(), ""));
    assert_eq!(out("output 1 web01 1 --raw --bytes=5-10").await, "1\nline");
    site.ask("output 1 web01 1 --raw --bytes=99999999-").await.expect(64);
    let json = out("output 1 web01 3 --search warning --json").await;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["found"], &lines[0]["whole"], &lines[0]["lines"]),
        (&1.into(), &true.into(), &1.into())
    );
    assert_eq!(
        (&lines[1]["line"], &lines[1]["text"], &lines[1]["source"]),
        (&1.into(), &"warning".into(), &"stderr".into())
    );

    // Without the file the journal has the start and the end, and the answer says so.
    std::fs::remove_dir_all(kept(&site, "1")).unwrap();
    let rest = site.ask("output 1 web01 1 --tail 2").await.expect(0);
    assert!(rest.out.ends_with("broke\n") && rest.err.contains("bytes within it are missing"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_output_are_served_in_ranges() {
    let mut site = site(TALK).await;
    keygen(&site.dir.path().join("gil"), "gil");
    let (key, operators) = (read(&site.dir.path().join("gil.pub")), site.config.join("operators"));
    write(&operators, &format!("{}role=\"viewer\",groups=\"prod.web\" {key}", read(&operators)));
    site.start_daemon().await;
    site.ask("talk prod").await.expect(0);
    let api = Forward::open(&site, "vic").await;
    let path = "/v1/runs/1/hosts/web01/steps/1/output";
    let get = async |header: &str| {
        let mut curl = api.with_token(api.curl(path));
        curl.args(["-H", header]);
        reply(curl).await
    };
    let bytes = read(&kept(&site, "1/web01/0-1"));
    let whole = api.get(path).await.expect(200);
    assert_eq!(whole.body, bytes);
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(whole.header("content-length"), Some(bytes.len().to_string().as_str()));
    let tag = whole.header("etag").unwrap().to_string();
    let part = get("Range: bytes=5-10").await.expect(206);
    assert_eq!(
        (part.body.as_str(), part.header("content-range").unwrap()),
        ("1\nline", &*format!("bytes 5-10/{}", bytes.len()))
    );
    assert_eq!(get("Range: bytes=-8").await.expect(206).body, "e\u{7}broke\n");
    let none = get("Range: bytes=99999999-").await.expect(416);
    assert_eq!(none.header("content-range"), Some(format!("bytes */{}", bytes.len()).as_str()));
    assert_eq!(get("Range: bytes=0-1,5-6").await.expect(200).body.len(), bytes.len());
    get(&format!("If-None-Match: {tag}")).await.expect(304);
    let of_a_group = Forward::open(&site, "gil").await.get(path).await.expect(200);
    assert_eq!(of_a_group.body, bytes);
    api.get("/v1/runs/1/hosts/web01/steps/9/output").await.expect(404);
    let lines = api.get("/v1/runs/1/hosts/web01/steps/1?lines=7-9").await.expect(200).json();
    assert_eq!(lines["items"][1]["text"], "line 7");
    assert_eq!(api.get("/v1/runs/1/hosts/web01/steps").await.expect(200).json()["items"][0]["name"], "talk");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_is_lost_when_the_daemon_is_killed_within_a_step() {
    let site = site(WAITS).await;
    let (mut daemon, port) = spawn_daemon(&site).await;
    let mut client = site.ssh_to(port, "ann", "talk prod").spawn().unwrap();
    let file = kept(&site, "1/web01/0-1");
    eventually("the first part is kept", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("first 20000\n"))
    })
    .await;
    daemon.kill().await.unwrap();
    client.kill().await.unwrap();
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    let (mut daemon, port) = spawn_daemon(&site).await;
    site.ask_at(port, "watch 1").await.expect(0);
    let raw = site.ask_at(port, "output 1 web02 1 --raw").await.expect(0);
    let wanted: String = ["first", "second"]
        .iter()
        .flat_map(|word| (1..=20_000).map(move |n| format!("{word} {n}\n")))
        .collect();
    assert_eq!(raw.out, wanted + "end\n");
    assert_eq!(raw.err, "", "it is whole");
    daemon.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_an_ad_hoc_command_is_kept_and_a_limit_is_reported() {
    let site = site(TALK).await;
    let path = site.config.join("rollcall.toml");
    write(&path, &format!("{}[output]\nmax_per_operation = \"100KiB\"\n", read(&path)));
    local(&site, "run web01 -- seq 1 50000").await.expect(0);
    let answer = local(&site, "output 1 web01 1 --lines 1-3").await.expect(0);
    assert_eq!(answer.out, "     1   1\n     2   2\n     3   3\n");
    let why = "bytes behind it were not kept: the limit of one output is 102400 bytes";
    assert!(answer.err.contains(why), "{answer:?}");
    assert_eq!(std::fs::metadata(kept(&site, "1/web01/0-1")).unwrap().len(), 102_400);
}
