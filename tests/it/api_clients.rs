//! Programs that speak no HTTP: the subsystem `rollcall-api`, and korv's own client.

use std::process::Stdio;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::support::api::Channel;
use crate::support::site::{Site, answer_of};
use crate::support::{eventually, write};

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_channel_need_not_wait_for_each_other() {
    let site = Site::start(1).await;
    let (mut channel, hello) = Channel::open(&site, "ann").await;
    assert_eq!((&hello["hello"]["proto"], &hello["hello"]["identity"]), (&json!(1), &json!("ann")));
    channel.send(&json!({ "id": "w", "verb": "WATCH", "resource": "/events" })).await;
    for id in 0..20 {
        channel.send(&json!({ "id": id, "verb": "GET", "resource": "/hosts", "body": { "limit": 1 } })).await;
    }
    channel.send(&json!({ "id": "s", "verb": "STORE", "resource": "/runs", "body": { "task": "touch", "selector": "web01" }, "idempotency_key": "k" })).await;
    let (mut found, mut started, mut watched) = (Vec::new(), Value::Null, 0);
    while found.len() < 20 || started.is_null() || watched < 3 {
        let answer = channel.next().await;
        match &answer["id"] {
            Value::Number(id) => {
                assert_eq!(answer["body"]["items"][0]["host"], "lb1", "{answer}");
                found.push(id.as_u64().unwrap());
            }
            Value::String(id) if id == "s" => started = answer,
            _ => {
                watched += 1;
                assert_eq!(
                    (&answer["seq"], &answer["body"]["run"]),
                    (&json!(watched), &json!(1)),
                    "{answer}"
                );
            }
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
    assert_eq!((&started["code"], &started["body"]), (&json!(201), &json!({ "run": 1 })));
    channel.send(&json!({ "id": "c", "verb": "CANCEL", "body": { "id": "w" } })).await;
    // In either order, behind events that were under way.
    let (mut cancelled, mut ended) = (false, false);
    while !(cancelled && ended) {
        let answer = channel.next().await;
        cancelled |= answer["id"] == "c" && answer["code"] == 200;
        ended |= answer["id"] == "w" && answer["code"] == 499;
    }
    // What was sent is answered, and then the channel ends.
    channel.send(&json!({ "id": "last", "verb": "GET", "resource": "/runs/1" })).await;
    let Channel { mut child, to, mut from } = channel;
    drop(to);
    let mut rest = Vec::new();
    while let Some(line) = from.next_line().await.unwrap() {
        rest.push(line);
    }
    assert!(rest.iter().any(|line| line.contains("\"id\":\"last\"")), "{rest:?}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_and_the_channel_goes_on() {
    let site = Site::start(1).await;
    let (mut channel, _) = Channel::open(&site, "vic").await;
    let rows = [
        ("nonsense".to_string(), 400, "no request: a line is an object with"),
        ("x".repeat(1024 * 1024 + 9), 413, "a line has at most 1048576 bytes"),
        (json!({ "id": 1, "verb": "PUT", "resource": "/hosts" }).to_string(), 405, "a verb is GET, STORE"),
        (
            json!({ "id": 1, "verb": "GET", "resource": "/nothing" }).to_string(),
            404,
            "there is no GET /nothing",
        ),
        (json!({ "id": 1, "verb": "GET", "resource": "/runs/7" }).to_string(), 404, "there is no run 7"),
        (json!({ "id": 1, "verb": "STORE", "resource": "/reload" }).to_string(), 403, "needs the role admin"),
        (
            json!({ "id": 1, "verb": "CANCEL", "body": { "id": 4 } }).to_string(),
            404,
            "no request with the `id`",
        ),
        (
            json!({ "id": 1, "verb": "GET", "resource": "/runs/1/artifacts.tar" }).to_string(),
            400,
            "an archive has no lines",
        ),
        (
            json!({ "id": 1, "verb": "WATCH", "resource": "/events", "deadline_ms": 50 }).to_string(),
            504,
            "before its deadline",
        ),
    ];
    for (line, code, detail) in rows {
        channel.to.write_all(format!("\n{line}\n").as_bytes()).await.unwrap();
        let answer = channel.next().await;
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer["body"]["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
    // More than may be under way at once.
    for id in 0..33 {
        channel.send(&json!({ "id": id, "verb": "WATCH", "resource": "/events" })).await;
    }
    let answer = channel.next().await;
    assert_eq!((&answer["id"], &answer["code"]), (&json!(32), &json!(429)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_a_known_end_says_how_it_goes_on() {
    let site = Site::start(1).await;
    let (mut channel, _) = Channel::open(&site, "ann").await;
    for last in 1..=210 {
        channel.send(&json!({ "id": last, "verb": "GET", "resource": format!("/runs/{last}") })).await;
        channel.answer(&json!(last)).await;
    }
    channel.send(&json!({ "id": "a", "verb": "GET", "resource": "/audit" })).await;
    let newest = channel.answer(&json!("a")).await["body"].clone();
    let first = newest["items"][0]["seq"].as_u64().unwrap();
    assert_eq!((&newest["next"], &newest["more"]), (&Value::Null, &json!({ "before": first })));
    channel
        .send(&json!({ "id": "b", "verb": "GET", "resource": "/audit", "body": { "before": first } }))
        .await;
    let oldest = channel.answer(&json!("b")).await["body"].clone();
    assert_eq!((&oldest["items"][0]["seq"], oldest.get("more")), (&json!(1), None), "{oldest}");
}

/// The client of the package as it is on PyPI.
const KORV: &str = r#"
import sys, threading, os
from korv import KorvClient
port, key = int(sys.argv[1]), sys.argv[2]
client = KorvClient(host="127.0.0.1", port=port, client_keys=[key], known_hosts=None)
print(client.get("/hello")["body"]["identity"])
print([host["host"] for host in client.get("/hosts", {"selector": "prod"})["body"]["items"]])
print(client.get("/nothing")["code"])
done = threading.Event()
answers = []
def store(answer):
    answers.append(answer)
    done.set()
client.store("/runs", {"task": "touch", "selector": "web01"}, store)
done.wait(60)
print(answers[0]["code"], answers[0]["body"])
print(client.get("/runs")["body"]["items"][0]["run"])
print(client.get("/hosts")["body"]["detail"].split(",", 1)[1])
sys.stdout.flush()
os._exit(0)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_korv_works_as_it_is() {
    let mut site = Site::without_daemon(1).await;
    // Names that cannot be packed.
    let mut random = StdRng::seed_from_u64(7);
    let name =
        |random: &mut StdRng| (0..3).map(|_| format!("{:016x}", random.next_u64())).collect::<String>();
    let names: Vec<String> = (0..1_000).map(|_| format!("\"h{}.example\"", name(&mut random))).collect();
    write(&site.config.join("hosts/more.toml"), &format!("[farm]\nhosts = [{}]\n", names.join(", ")));
    site.start_daemon().await;
    let script = site.dir.path().join("client.py");
    write(&script, KORV);
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let mut client = Command::new(python);
    client.arg(&script).arg(site.port().to_string()).arg(site.dir.path().join("ann"));
    let answer = answer_of(client).await.expect(0);
    let lines: Vec<&str> = answer.out.lines().collect();
    assert_eq!(
        lines,
        [
            "ann",
            "['lb1', 'web01']",
            "404",
            "201 {'run': 1}",
            "1",
            " and korv sends 32768 at most; ask for less: {\"limit\": 100}"
        ],
        "{answer:?}"
    );
}

/// The client that is in this repository.
const PYTHON: &str = r#"
import asyncio, sys
import rollcall

async def main():
    site = await rollcall.connect("127.0.0.1", int(sys.argv[1]), username="rollcall", client_keys=[sys.argv[2]], known_hosts=None)
    async with site:
        print(site.hello["identity"], (await site.get("/version"))["schema"])
        print([host["host"] async for host in site.items("/hosts", selector="prod", limit=1)])
        pages = await asyncio.gather(*(site.get("/hosts", selector="web01") for _ in range(100)))
        print(len(pages))
        run = await site.start("/runs", key="k", task="touch", selector="web01")
        recap = await site.wait(run)
        print(run, recap["outcome"], await site.start("/runs", key="k", task="touch", selector="web01"))
        async for event in site.watch("/events"):
            print(event["type"])
            break
        try:
            await site.get("/runs/99")
        except rollcall.Refused as refused:
            print(refused.code, refused)
        lease = await site.store("/leases", selector="web01", because="a test", **{"for": "1h"})
        print((await site.delete(f"/leases/{lease['id']}"))["schema"])
        waiting = asyncio.create_task(drain(site))
        await asyncio.sleep(0)
        print("watching", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(await waiting)

async def drain(site):
    try:
        async for _ in site.watch("/events"):
            pass
    except (rollcall.Lost, rollcall.Refused) as end:
        return type(end).__name__

asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_reads_acts_and_notices_its_end() {
    let mut site = Site::start(1).await;
    let script = site.dir.path().join("client.py");
    write(&script, PYTHON);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(root.join("target/python/bin/python"));
    client.arg(&script).arg(site.port().to_string()).arg(site.dir.path().join("ann"));
    client.env("PYTHONPATH", root.join("clients/python")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = client.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.last().is_none_or(|line| line != "watching") {
        said.push(lines.next_line().await.unwrap().unwrap_or_else(|| panic!("{said:?}")));
    }
    let wanted = [
        "ann version",
        "['lb1', 'web01']",
        "100",
        "1 done 1",
        "run-started",
        "404 there is no run 99; try: runs",
        "lease",
        "watching",
    ];
    assert_eq!(said, wanted);
    site.daemon.take().unwrap().stop().await;
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let end = lines.next_line().await.unwrap().unwrap();
    assert!(["Lost", "Refused"].contains(&end.as_str()), "{end}");
    eventually("it ends", async || child.try_wait().unwrap().is_some()).await;
}
