//! The API over HTTP, through a port that plain `ssh -L` forwards, and by `ssh -s`.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::api::{Forward, reply};
use crate::support::site::{Site, answer_of};
use crate::support::{eventually, read, write};

#[track_caller]
fn parsed(line: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

/// What differs from one moment to the next.
pub fn without_times(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_of_time = |name: &str| {
                [
                    "age_s", "at", "now", "since", "until", "millis", "took_ms", "next_at", "seq", "end",
                    "commands", "head", "last", "rows",
                ]
                .contains(&name)
            };
            fields
                .iter()
                .filter(|(name, _)| !is_of_time(name))
                .map(|(name, value)| (name.clone(), without_times(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_the_same_as_the_line() {
    let site = Site::start(2).await;
    site.ask("deploy prod version=2.0.0").await.expect(0);
    site.ask("check prod").await.expect(0);
    let api = Forward::open(&site, "ann").await;
    let rows = [
        ("version", "/v1/version"),
        ("whoami", "/v1/whoami"),
        ("hosts", "/v1/hosts"),
        ("hosts web01", "/v1/hosts?selector=web01"),
        ("hosts web02", "/v1/hosts/web02"),
        ("runs --last 5", "/v1/runs?last=5"),
        ("show 1", "/v1/runs/1"),
        ("show 1 --host web01", "/v1/runs/1/hosts/web01"),
        ("releases", "/v1/releases"),
        ("debts", "/v1/debts"),
        ("queue", "/v1/queue"),
        ("lock", "/v1/leases"),
        ("freeze", "/v1/freezes"),
        ("downtime", "/v1/downtimes"),
        ("ask", "/v1/rights"),
        ("balancer status prod", "/v1/balancers?selector=prod"),
        ("history web01", "/v1/hosts/web01/history"),
        ("why web01", "/v1/hosts/web01/why"),
        ("notify list", "/v1/channels"),
        ("sudoers", "/v1/sudoers"),
        ("config log", "/v1/config/log"),
        ("facts", "/v1/facts"),
        ("artifacts 1 --list", "/v1/runs/1/artifacts"),
        ("setup", "/v1/setup"),
        ("audit verify", "/v1/audit/verify"),
        ("sessions", "/v1/sessions"),
    ];
    for (line, path) in rows {
        let typed = site.ask(&format!("{line} --json")).await;
        let reply = api.get(path).await;
        let lines: Vec<Value> = typed.out.lines().map(|one| without_times(&parsed(line, one))).collect();
        if typed.status != 0 && lines.is_empty() {
            let detail = reply.json()["detail"].as_str().unwrap().to_string();
            assert!(reply.status >= 400 && typed.err.contains(&detail), "{line}: {typed:?} {reply:?}");
            continue;
        }
        let body = without_times(&reply.expect(200).json());
        match body["items"].as_array() {
            // The connection of the line itself, and that of the API.
            Some(items) if line == "sessions" => assert_eq!(items[0]["schema"], "session"),
            Some(items) => assert_eq!(items, &lines, "{line}"),
            None => assert_eq!([body], lines[..], "{line}"),
        }
    }
    for (line, path) in
        [("help balancer drain", "/v1/help?words=balancer+drain"), ("receipt 1", "/v1/runs/1/receipt")]
    {
        let typed = site.ask(line).await.expect(0);
        assert_eq!(api.get(path).await.expect(200).body, typed.out, "{line}");
    }
    let metrics = api.get("/v1/metrics").await.expect(200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("# TYPE rollcall_debts gauge"), "{metrics:?}");
    let junit = api.get("/v1/runs/2/results?format=junit").await.expect(200);
    assert!(junit.body.contains("<testsuites"), "{junit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_have_the_rights_the_words_and_the_records_of_the_line() {
    let site = Site::start(2).await;
    let (ann, vic) = (Forward::open(&site, "ann").await, Forward::open(&site, "vic").await);
    let deploy = json!({ "task": "deploy", "selector": "prod", "params": { "version": "2.0.0" } });
    let refused = vic.send("POST", "/v1/runs", &deploy).await.expect(403);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    let typed = site.ask_as("vic", "deploy prod version=2.0.0").await.expect(77);
    assert!(typed.err.contains(problem["detail"].as_str().unwrap()), "{problem} {typed:?}");
    assert_eq!((&problem["status"], &problem["exit_status"]), (&json!(403), &json!(77)));

    let started = ann.send("POST", "/v1/runs", &deploy).await.expect(201);
    assert_eq!((started.json(), started.header("location")), (json!({ "run": 1 }), Some("/v1/runs/1")));
    site.ask("watch 1").await.expect(0);
    assert_eq!(site.releases(), ["2.0.0", "2.0.0"]);

    let lock = json!({ "selector": "prod", "for": "2h", "because": "a test of it" });
    let locked = ann.send("POST", "/v1/leases", &lock).await.expect(200).json();
    assert_eq!((&locked["by"], &locked["schema"]), (&json!("ann"), &json!("lease")), "{locked}");
    let bob = Forward::open(&site, "bob").await;
    let busy =
        bob.send("POST", "/v1/runs", &json!({ "task": "touch", "selector": "web01" })).await.expect(409);
    let busy = busy.json();
    assert!(
        busy["detail"].as_str().unwrap().contains("ann") && busy["hint"] == "try: --wait, see: lock",
        "{busy}"
    );
    let number = locked["id"].as_u64().unwrap();
    ann.send("DELETE", &format!("/v1/leases/{number}"), &json!({})).await.expect(200);

    let asked = json!({ "task": "deploy", "selector": "web01", "params": { "version": "3.0.0" } });
    let plan = ann.send("POST", "/v1/plans", &asked).await.expect(200);
    assert_eq!(plan.json()["schema"], "plan");
    let asked = json!({ "selector": "web01", "command": "echo 'a  b'; exit 3" });
    let command = ann.send("POST", "/v1/commands", &asked).await.expect(201);
    let run = command.json()["run"].as_u64().unwrap();
    site.ask(&format!("watch {run}")).await.expect(2);
    let shown = ann.get(&format!("/v1/runs/{run}")).await.expect(200).body;
    assert!(shown.contains("a  b"), "{shown}");

    let missing = ann.get("/v1/runs/999").await.expect(404).json();
    assert_eq!((&missing["detail"], &missing["hint"]), (&json!("there is no run 999"), &json!("try: runs")));
    let other = ann
        .send("POST", "/v1/runs", &json!({ "task": "check", "selector": "prod" }))
        .await
        .expect(400)
        .json();
    assert_eq!(other["detail"], "`task` is the name of a command, which has a resource of its own");
    let unknown = ann
        .send("POST", "/v1/runs", &json!({ "task": "deplo", "selector": "prod" }))
        .await
        .expect(404)
        .json();
    assert!(unknown["detail"].as_str().unwrap().contains("deploy"), "{unknown}");
    let audit = site.ask("audit").await.expect(0).out;
    for line in [
        "`deploy prod version=2.0.0` granted by role operator",
        "`deploy prod version=2.0.0` REFUSED by role",
        "`lock prod for 2h --json because 'a test of it'` granted",
    ] {
        assert!(audit.contains(line), "{line}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_starts_no_second_run() {
    let mut site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    let touch = json!({ "task": "touch", "selector": "web01" });
    let send = async |api: &Forward, key: &str, body: &Value| {
        let mut curl = api.with_token(api.curl("/v1/runs"));
        curl.args([
            "-H",
            "Content-Type: application/json",
            "-H",
            &format!("Idempotency-Key: {key}"),
            "-d",
            &body.to_string(),
        ]);
        reply(curl).await
    };
    assert_eq!(send(&api, "a-1", &touch).await.expect(201).json()["run"], 1);
    assert_eq!(send(&api, "a-1", &touch).await.expect(201).json()["run"], 1);
    site.ask("watch 1").await.expect(0);
    assert_eq!(send(&api, "a-2", &touch).await.expect(201).json()["run"], 2);
    // The client has left on purpose: its command is done.
    let audit = site.ask("audit").await.expect(0).out;
    assert!(
        audit.lines().any(|line| line.contains("exit status 0 after") && line.ends_with(", run 2")),
        "{audit}"
    );
    assert!(!audit.contains("exit status 130"), "{audit}");
    site.ask("watch 2").await.expect(0);
    let other = json!({ "task": "touch", "selector": "prod" });
    let refused = send(&api, "a-1", &other).await.expect(409).json();
    assert_eq!(
        refused["detail"],
        "a request with the same key, which asked for something else, has started run 1"
    );
    let vic = Forward::open(&site, "bob").await;
    assert_eq!(send(&vic, "a-1", &touch).await.expect(201).json()["run"], 3, "keys are of one operator");
    assert_eq!(
        send(&api, &"k".repeat(129), &touch).await.expect(400).json()["detail"],
        "a key of a request has 1 to 128 letters, digits and signs"
    );
    site.ask("watch 3").await.expect(0);
    // The daemon is gone between the request and its answer: its successor knows the key.
    site.daemon.take().unwrap().stop().await;
    drop((api, vic));
    site.start_daemon().await;
    let api = Forward::open(&site, "ann").await;
    assert_eq!(send(&api, "a-1", &touch).await.expect(201).json()["run"], 1);
    assert_eq!(site.ask("runs").await.expect(0).out.lines().filter(|line| line.contains("touch")).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_of_the_machine_and_pages_of_other_sites_are_kept_out() {
    let site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    let outside = reply(api.curl("/v1/hosts")).await.expect(401);
    assert!(outside.body.contains("ssh rollcall web"), "{outside:?}");
    reply(api.curl("/openapi.json")).await.expect(401);
    reply(api.curl("/")).await.expect(401);
    let web = site.ask("web --port 8080").await.expect(0).out;
    let link = web.lines().find(|line| line.contains(".localhost:8080/enter/")).unwrap();
    let path = &link[link.find("/enter/").unwrap()..];
    assert!(web.contains("ssh -N -L 8080:rollcall:80 rollcall\n"), "{web}");
    let until = web.lines().find_map(|line| line.split_once(", once, until ")).expect("a time").1;
    assert!(!until.contains('.') && until.parse::<jiff::Timestamp>().is_ok(), "to the second: {until}");
    let entered = reply(api.curl(path)).await.expect(303);
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_string();
    reply(api.curl(path)).await.expect(403);
    let with_cookie = |path: &str| {
        let mut curl = api.curl(path);
        curl.args(["-H", &format!("Cookie: {cookie}")]);
        curl
    };
    let front = reply(with_cookie("/")).await.expect(200).json();
    assert_eq!((&front["operator"], &front["resources"]), (&json!("ann"), &json!("/openapi.json")));
    reply(with_cookie("/v1/hosts")).await.expect(200);
    let mut act = with_cookie("/v1/reload");
    act.args(["-X", "POST"]);
    let refused = reply(act).await.expect(401);
    assert!(refused.body.contains("a browser may only read"), "{refused:?}");
    // The cookie is for this connection, and the token for this operator.
    let bob = Forward::open(&site, "bob").await;
    let mut stolen = bob.curl("/v1/hosts");
    stolen.args(["-H", &format!("Cookie: {cookie}"), "-H", &format!("Authorization: Bearer {}", api.token)]);
    reply(stolen).await.expect(401);
    for (header, status) in [
        ("Host: evil.example", 421),
        ("Host: 127.0.0.1.evil.example:8080", 421),
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Host: 127.0.0.1:1234", 200),
    ] {
        let mut curl = api.with_token(api.curl("/v1/version"));
        curl.args(["-H", header]);
        let found = reply(curl).await;
        assert_eq!(found.status, status, "{header}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_and_mistakes_are_named() {
    let site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    for (method, path, body, status, detail) in [
        ("GET", "/v1/nothing", "", 404, "there is no /v1/nothing; see: /openapi.json"),
        ("PUT", "/v1/hosts", "", 405, "/v1/hosts has no PUT; see: /openapi.json"),
        (
            "GET",
            "/v1/hosts?selectr=web",
            "",
            400,
            "no field `selectr`; did you mean `selector`? (known: selector)",
        ),
        ("GET", "/v1/hosts?selector=a&selector=b", "", 400, "`selector` is given twice"),
        ("GET", "/v1/hosts?limit=0", "", 400, "`limit` is a number from 1 to 10000"),
        ("GET", "/v1/hosts?cursor=x", "", 404, "`cursor` is none that an answer of this list had as `next`"),
        ("GET", "/v1/runs/9223372036854775808", "", 400, "`run` is a number from 0 to 9223372036854775807"),
        ("GET", "/v1/hosts/--json", "", 400, "`host` begins with `-`, which is for options"),
        ("GET", "/v1/hosts/nonesuch", "", 404, "no group or host is called `nonesuch`"),
        ("POST", "/v1/runs", "[1]", 400, "the body is no JSON object"),
        ("POST", "/v1/runs", "{\"task\":", 400, "the body is no JSON: line 1, column 8"),
        ("POST", "/v1/runs", "{}", 400, "the field `task` is missing"),
        ("POST", "/v1/runs/1/cancel", "{\"run\": 2}", 400, "`run` is given twice"),
    ] {
        let mut curl = api.with_token(api.curl(path));
        curl.args(["-X", method]);
        if !body.is_empty() {
            curl.args(["-H", "Content-Type: application/json", "-d", body]);
        }
        let found = reply(curl).await;
        assert_eq!(found.status, status, "{method} {path} {body}: {found:?}");
        assert!(found.json()["detail"].as_str().unwrap().contains(detail), "{path}: {found:?}");
    }
    let mut form = api.with_token(api.curl("/v1/runs"));
    form.args(["-d", "task=deploy"]);
    reply(form).await.expect(415);
    let big = site.dir.path().join("big.json");
    write(&big, &format!("{{\"task\":\"{}\"}}", "x".repeat(70_000)));
    let mut large = api.with_token(api.curl("/v1/runs"));
    large.args(["-H", "Content-Type: application/json", "--data-binary", &format!("@{}", big.display())]);
    reply(large).await.expect(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_and_tags() {
    let site = Site::without_daemon(1).await;
    let inventory = site.config.join("hosts/more.toml");
    write(&inventory, "[farm]\nhosts = \"farm[001-025].example\"\n");
    let mut site = site;
    site.start_daemon().await;
    let api = Forward::open(&site, "ann").await;
    let (mut found, mut path) = (Vec::new(), "/v1/hosts?selector=farm&limit=10".to_string());
    loop {
        let page = api.get(&path).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 10);
        found.extend(items.iter().map(|item| item["host"].as_str().unwrap().to_string()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/hosts?selector=farm&limit=10&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, (1..=25).map(|n| format!("farm{n:03}.example")).collect::<Vec<_>>());
    let first = api.get("/v1/hosts").await.expect(200);
    let tag = first.header("etag").unwrap().to_string();
    let mut again = api.with_token(api.curl("/v1/hosts"));
    again.args(["-H", &format!("If-None-Match: {tag}")]);
    assert_eq!(reply(again).await.expect(304).body, "");
    let mut head = api.with_token(api.curl("/v1/hosts"));
    head.arg("--head");
    reply(head).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_where_they_were_cut_off() {
    let site = Site::start(1).await;
    for _ in 0..3 {
        site.ask("touch web01").await.expect(0);
    }
    let api = Forward::open(&site, "ann").await;
    let all = site.ask("events").await.expect(0).out;
    let wanted: Vec<u64> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    let last = *wanted.last().unwrap();
    let (mut seen, mut after) = (Vec::new(), 0);
    while after < last {
        // Cut off after a few events each time.
        let mut curl = api.with_token(api.curl("/v1/events"));
        curl.args([
            "--no-buffer",
            "-H",
            "Accept: text/event-stream",
            "-H",
            &format!("Last-Event-ID: {after}"),
        ]);
        let mut child = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut taken = 0;
        while taken < 4 && after < last {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some(id) = line.strip_prefix("id: ") {
                after = id.parse().unwrap();
                seen.push(after);
                taken += 1;
            }
        }
        let _ = child.kill().await;
    }
    assert_eq!(seen, wanted, "all of them, none twice");
    let behind = async |path: &str, accept: &str| {
        let mut curl = api.with_token(api.curl(path));
        curl.args(["--no-buffer", "-H", &format!("Accept: {accept}")]);
        let mut child = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with("event: reset") || line.contains("\"schema\":\"gap\"") {
                return line;
            }
        }
    };
    assert_eq!(behind("/v1/events?after=999999", "text/event-stream").await, "event: reset");
    assert!(behind("/v1/events?since=999999", "application/x-ndjson").await.contains("\"since\":999999"));
    let watched = api.get("/v1/runs/1/events").await.expect(200);
    assert_eq!(watched.header("content-type"), Some("application/x-ndjson"));
    assert!(watched.body.lines().last().unwrap().contains("\"schema\":\"recap\""), "{watched:?}");
    api.get("/v1/runs/99/events").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_lives_as_long_as_its_request() {
    let site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    let mut curl = api.with_token(api.curl("/v1/holds"));
    curl.args(["--no-buffer", "-H", "Content-Type: application/json", "-d", "{\"selector\":\"web01\"}"]);
    let mut child = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("\"schema\":\"lease\"") {}
    assert!(site.ask("lock").await.expect(0).out.contains("web01"));
    child.kill().await.unwrap();
    eventually("nobody holds it", async || !site.ask("lock").await.expect(0).out.contains("web01")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_on_standard_input_and_output() {
    let site = Site::start(1).await;
    let mut ssh = site.ssh_with(site.port(), "ann", &["-s"]);
    ssh.arg("api").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/hosts HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // The end of its input is the end of its requests, not of its interest.
    drop(stdin);
    let out = child.wait_with_output().await.unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.contains("\"schema\":\"version\"") && text.contains("\"host\":\"web01\""), "{text}");
    let mut other = site.ssh_with(site.port(), "ann", &["-s"]);
    other.arg("sftp");
    assert_eq!(answer_of(other).await.status, 255);
    // Nothing else is reached, and what needs no token by no port that all users of a machine reach.
    for target in ["rollcall:443".to_string(), "localhost:80".into(), format!("localhost:{}", site.port())] {
        let refused = answer_of(site.ssh_with(site.port(), "ann", &["-W", &target])).await;
        assert!(refused.status == 255 && refused.err.contains("forwarding failed"), "{target}: {refused:?}");
    }
}

#[test]
fn the_openapi_document_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let present = rollcall::door::api::document();
    if std::env::var_os("UPDATE").is_some() {
        write(&path, &present);
    }
    assert_eq!(read(&path), present, "UPDATE=1 tests/run openapi writes it");
}
