//! The API when a connection is cut or the daemon is killed: a program that goes on where it was misses nothing, and
//! starts nothing twice.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rollcall::domain::ask::access::{Operator, Role};
use rollcall::domain::base::name::RunId;
use rollcall::domain::run::event::EventKind;
use russh::ChannelStream;
use russh::client::Msg;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::api::{Channel, Forward, Reply, reply};
use crate::support::client::Client;
use crate::support::daemon::spawn_daemon;
use crate::support::site::Site;
use crate::support::{DEADLINE, eventually};

/// How often the daemon is killed between a request and its answer.
const KILLS: u64 = 12;

/// The first kills of each form wait for the run to be in the journal; the others take a moment at random.
const KILLS_AFTER_THE_START: u64 = 4;

/// How long a daemon may live after a request, in microseconds: the longest times are behind the answer.
const LONGEST_LIFE: u64 = 60_000;

/// Sends a request by HTTP; the client does not wait for the answer.
fn start_by_http(api: &Forward, key: &str) -> tokio::process::Command {
    let mut curl = api.with_token(api.curl("/v1/runs"));
    curl.args(["-H", "Content-Type: application/json", "-H", &format!("Idempotency-Key: {key}")]);
    curl.args(["-d", "{\"task\":\"touch\",\"selector\":\"web01\"}"]);
    curl
}

/// The same by JSON lines.
fn start_by_lines(key: &str) -> Value {
    json!({
        "id": key, "verb": "STORE", "resource": "/runs", "idempotency_key": key,
        "body": { "task": "touch", "selector": "web01" },
    })
}

async fn runs_at(site: &Site, port: u16) -> usize {
    site.ask_at(port, "runs --last 1000 --json").await.expect(0).out.lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_before_its_answer_has_started_one_run() {
    let mut moments = StdRng::seed_from_u64(16);
    let site = Site::without_daemon(1).await;
    let (mut daemon, mut port) = spawn_daemon(&site).await;
    for kill in 1..=KILLS {
        let (is_http, key) = (kill % 2 == 0, format!("build-{kill}"));
        let api = Forward::open_at(&site, port, "ann").await;
        let (mut channel, _) = Channel::open_at(&site, port, "ann").await;
        // Kept until the daemon is dead: it is the connection that ends.
        let _asking = match is_http {
            true => {
                Some(start_by_http(&api, &key).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap())
            }
            false => None,
        };
        if !is_http {
            channel.send(&start_by_lines(&key)).await;
        }
        if kill <= KILLS_AFTER_THE_START {
            eventually("the run is in the journal", async || runs_at(&site, port).await == kill as usize)
                .await;
        } else {
            tokio::time::sleep(Duration::from_micros(moments.random_range(0..LONGEST_LIFE))).await;
        }
        daemon.kill().await.unwrap();
        (daemon, port) = spawn_daemon(&site).await;
        let api = Forward::open_at(&site, port, "ann").await;
        let (mut channel, _) = Channel::open_at(&site, port, "ann").await;
        for _ in 0..2 {
            let again: Reply = reply(start_by_http(&api, &key)).await.expect(201);
            assert_eq!(again.json(), json!({ "run": kill }), "kill {kill}");
            channel.send(&start_by_lines(&key)).await;
            let again = channel.answer(&json!(key)).await;
            assert_eq!(
                (&again["code"], &again["body"]),
                (&json!(201), &json!({ "run": kill })),
                "kill {kill}"
            );
        }
        site.ask_at(port, &format!("watch {kill}")).await.expect(0);
        assert_eq!(runs_at(&site, port).await, kill as usize, "kill {kill}");
    }
}

/// Events of the journal that a client follows, and of those before it starts.
const EVENTS: u64 = 10_000;
const EVENTS_BEFORE: u64 = 9_000;

/// Events of one run.
const RUN_EVENTS: u64 = 250;

/// How often the tunnel of each form is cut.
const CUTS: usize = 50;

/// Lines of a stream until a cut, at most: four lines are an event, so most cuts are in the middle of one.
const SSE_LINES: u64 = 4 * JSON_LINES;
const JSON_LINES: u64 = 3 * EVENTS / 2 / CUTS as u64;

/// Writes runs until the journal has this many events. They are copies of run 1, whose events are written once more.
async fn write_events(site: &Site, until: u64) {
    let ports = site.ports();
    let ann = Operator::new("ann", "SHA256:key", Role::Admin);
    let model = ports.store.load(RunId(1)).await.unwrap().unwrap();
    // Without the starts of steps, each of which is one of its kind.
    let kinds = model.events.into_iter().map(|event| event.kind);
    let kinds: Vec<EventKind> = kinds.filter(|kind| kind.operation(RunId(1)).is_none()).collect();
    let (first, between) = kinds.split_first().unwrap();
    let (end, between) = between.split_last().unwrap();
    assert!(matches!(first, EventKind::RunStarted { .. }) && matches!(end, EventKind::RunEnded { .. }));
    loop {
        let newest = *ports.events.newest().borrow();
        let wanted = RUN_EVENTS.min(until - newest) as usize;
        if wanted == 0 {
            return;
        }
        let run = ports.store.create_run(&model.plan, &ann, Timestamp::UNIX_EPOCH.into()).await.unwrap().run;
        let middle = between.iter().cycle().take(wanted - 2).cloned().collect();
        ports.store.append(run, Timestamp::UNIX_EPOCH, middle).await.unwrap();
        ports.store.append(run, Timestamp::UNIX_EPOCH, vec![end.clone()]).await.unwrap();
    }
}

/// The numbers that a client of server-sent events has seen.
async fn followed_by_events(site: &Site, moments: &mut StdRng) -> Vec<u64> {
    let mut api = Forward::open(site, "ann").await;
    let mut seen: Vec<u64> = Vec::new();
    for cut in 0.. {
        let mut curl = api.with_token(api.curl("/v1/events"));
        curl.args(["--no-buffer", "-H", "Accept: text/event-stream"]);
        if let Some(last) = seen.last() {
            curl.args(["-H", &format!("Last-Event-ID: {last}")]);
        }
        let mut child = curl.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut left, mut id) = (moments.random_range(1..SSE_LINES), None::<u64>);
        while cut >= CUTS || left > 0 {
            let line = lines.next_line().await.unwrap().expect("the stream has no end");
            left = left.saturating_sub(1);
            // An event is whole with the empty line behind it.
            match line.strip_prefix("id: ") {
                Some(number) => id = Some(number.parse().unwrap()),
                None if line.is_empty() => seen.extend(id.take()),
                None => assert_ne!(line, "event: reset"),
            }
            if seen.last() == Some(&EVENTS) {
                assert!(cut >= CUTS, "only {cut} cuts");
                return seen;
            }
        }
        api.ssh.kill().await.unwrap();
        child.kill().await.unwrap();
        api.reopen(site, "ann").await;
    }
    unreachable!("the loop has no end");
}

/// The numbers that a client of JSON lines has seen.
async fn followed_by_lines(site: &Site, moments: &mut StdRng) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    for cut in 0.. {
        let (mut channel, _) = Channel::open(site, "bob").await;
        let since = seen.last().copied().unwrap_or_default();
        channel
            .send(&json!({ "id": cut, "verb": "WATCH", "resource": "/events", "body": { "since": since } }))
            .await;
        let mut left = moments.random_range(1..JSON_LINES);
        while cut >= CUTS || left > 0 {
            let answer = channel.next().await;
            assert_eq!(
                (&answer["id"], &answer["body"]["schema"]),
                (&json!(cut), &json!("event")),
                "{answer}"
            );
            seen.extend(answer["body"]["seq"].as_u64());
            left = left.saturating_sub(1);
            if seen.last() == Some(&EVENTS) {
                assert!(cut >= CUTS, "only {cut} cuts");
                return seen;
            }
        }
        channel.child.kill().await.unwrap();
    }
    unreachable!("the loop has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_tunnel_is_cut_fifty_times_sees_each_of_ten_thousand_events_once() {
    let site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    write_events(&site, EVENTS_BEFORE).await;
    let (mut one, mut other) = (StdRng::seed_from_u64(50), StdRng::seed_from_u64(51));
    let (by_events, by_lines, ()) = tokio::join!(
        followed_by_events(&site, &mut one),
        followed_by_lines(&site, &mut other),
        write_events(&site, EVENTS)
    );
    let all: Vec<u64> = (1..=EVENTS).collect();
    assert!(by_events == all, "server-sent events: {} of {EVENTS}", by_events.len());
    assert!(by_lines == all, "JSON lines: {} of {EVENTS}", by_lines.len());
}

/// Readers of events, on ten connections.
const READERS: usize = 200;
const CONNECTIONS: usize = 10;

/// The numbers of the events that a reader gets until the one that is `wanted`.
async fn read_events(stream: ChannelStream<Msg>, head: String, mut wanted: watch::Receiver<u64>) -> Vec<u64> {
    let (reader, mut writer) = tokio::io::split(stream);
    writer.write_all(head.as_bytes()).await.unwrap();
    let (mut lines, mut seen) = (BufReader::new(reader).lines(), Vec::new());
    while seen.last() != Some(&*wanted.borrow_and_update()) {
        tokio::select! {
            line = lines.next_line() => {
                let line = line.unwrap().expect("the stream has no end");
                seen.extend(line.strip_prefix("id: ").map(|number| number.parse::<u64>().unwrap()));
            }
            changed = wanted.changed() => changed.unwrap(),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_readers_see_each_event_of_a_run_once() {
    let site = Site::start(1).await;
    let token = site.ask("web --token").await.expect(0).out.trim().to_string();
    let head = format!(
        "GET /v1/events HTTP/1.1\r\nHost: rollcall\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
    );
    let (last, wanted) = watch::channel(u64::MAX);
    let (mut connections, mut readers) = (Vec::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let client = Client::of(&site, "ann").await;
        for _ in 0..READERS / CONNECTIONS {
            let channel =
                client.handle.channel_open_direct_tcpip("rollcall", 80, "127.0.0.1", 1).await.unwrap();
            readers.spawn(read_events(channel.into_stream(), head.clone(), wanted.clone()));
        }
        connections.push(client);
    }
    for _ in 0..3 {
        site.ask("touch web01").await.expect(0);
    }
    let newest = *site.ports().events.newest().borrow();
    last.send(newest).unwrap();
    let seen = timeout(DEADLINE, readers.join_all()).await.expect("all of them read all");
    let all: Vec<u64> = (1..=newest).collect();
    assert_eq!(seen.len(), READERS);
    assert!(seen.iter().all(|numbers| *numbers == all));
}
