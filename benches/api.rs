//! A client of the API in Rust, for `benches/api.sh`: it takes less time than the daemon, so it measures the daemon.
//!
//!     api load PORT KEY RESOURCE...     requests a second over one connection
//!     api readers PORT KEY COUNT LINE   a run of LINE alone, and with readers of events on ten connections

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Config, Handle, Handler, Msg, connect};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, ChannelStream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Requests under way at the same time.
const UNDER_WAY: usize = 32;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(4);

/// Connections of readers.
const CONNECTIONS: usize = 10;

/// Runs of each kind; the median counts.
const RUNS: usize = 7;

struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

type Stream = BufReader<ChannelStream<Msg>>;

/// A connection that is logged in.
struct Door(Handle<Trusting>);

impl Door {
    async fn open(port: u16, key: &str) -> Door {
        let config = Arc::new(Config { nodelay: true, ..Config::default() });
        let mut handle = connect(config, ("127.0.0.1", port), Trusting).await.expect("a connection");
        let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(key, None).expect("a key")), None);
        assert!(handle.authenticate_publickey("rollcall", key).await.expect("an answer").success());
        Door(handle)
    }

    async fn lines(&self) -> Stream {
        let channel = self.0.channel_open_session().await.expect("a channel");
        channel.request_subsystem(true, "rollcall-api").await.expect("the subsystem");
        let mut stream = BufReader::new(channel.into_stream());
        let hello = stream.read_until(b'\n', &mut Vec::new()).await.expect("hello");
        assert!(hello > 0);
        stream
    }

    async fn http(&self) -> Stream {
        let channel = self.0.channel_open_direct_tcpip("rollcall", 80, "127.0.0.1", 1).await;
        BufReader::new(channel.expect("a channel").into_stream())
    }

    /// What a line prints.
    async fn ask(&self, line: &str) -> String {
        let mut channel: Channel<Msg> = self.0.channel_open_session().await.expect("a channel");
        channel.exec(true, line).await.expect("it is sent");
        let mut text = Vec::new();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => text.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => assert_eq!(exit_status, 0, "{line}"),
                _ => {}
            }
        }
        String::from_utf8_lossy(&text).trim().to_string()
    }
}

/// Times of requests.
fn row(what: &str, mut times: Vec<Duration>, (count, took): (usize, Duration)) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("| {what} | {:.2} ms | {:.2} ms | {:.0} |", at(50), at(99), count as f64 / took.as_secs_f64());
}

/// Sends a request and reads its answer, again and again.
async fn sequential(mut ask: impl AsyncFnMut()) -> Vec<Duration> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let asked = Instant::now();
        ask().await;
        times.push(asked.elapsed());
    }
    times
}

fn request(id: usize, resource: &str) -> String {
    format!("{{\"id\":{id},\"verb\":\"GET\",\"resource\":\"{resource}\"}}\n")
}

async fn load_lines(door: &Door, resource: &str) {
    let (mut stream, mut line) = (door.lines().await, Vec::new());
    let times = sequential(async || {
        stream.get_mut().write_all(request(0, resource).as_bytes()).await.expect("sent");
        line.clear();
        stream.read_until(b'\n', &mut line).await.expect("an answer");
        assert!(line.windows(10).any(|part| part == b"\"code\":200"), "{}", String::from_utf8_lossy(&line));
    })
    .await;
    let (begun, mut count, mut sent) = (Instant::now(), 0, UNDER_WAY);
    let first: String = (0..UNDER_WAY).map(|id| request(id, resource)).collect();
    stream.get_mut().write_all(first.as_bytes()).await.expect("sent");
    while count < sent {
        line.clear();
        stream.read_until(b'\n', &mut line).await.expect("an answer");
        let mut answered = 1;
        // Those that came in the same packet.
        while stream.buffer().contains(&b'\n') {
            line.clear();
            stream.read_until(b'\n', &mut line).await.expect("an answer");
            answered += 1;
        }
        count += answered;
        if begun.elapsed() < TIME {
            let next: String = (sent..sent + answered).map(|id| request(id, resource)).collect();
            stream.get_mut().write_all(next.as_bytes()).await.expect("sent");
            sent += answered;
        }
    }
    row(&format!("JSON lines, {resource}"), times, (count, begun.elapsed()));
}

/// Reads one response with a length; the time that it took in the daemon.
async fn response(stream: &mut Stream) -> Duration {
    let (mut length, mut line, mut own) = (0, String::new(), Duration::ZERO);
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a head");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        if let Some(value) = line.strip_prefix("server-timing: rollcall;dur=") {
            own = Duration::from_secs_f64(value.trim().parse::<f64>().expect("milliseconds") / 1e3);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    own
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: rollcall\r\nAuthorization: Bearer {token}\r\n")
}

/// Sends a request again and again; how often.
async fn one_of_many(mut stream: Stream, head: String) -> usize {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        stream.get_mut().write_all(head.as_bytes()).await.expect("sent");
        response(&mut stream).await;
        count += 1;
    }
    count
}

async fn load_http(door: &Door, resource: &str, token: &str) {
    let head = get(&format!("/v1{resource}"), token) + "\r\n";
    let (mut stream, mut own) = (door.http().await, Vec::new());
    let times = sequential(async || {
        stream.get_mut().write_all(head.as_bytes()).await.expect("sent");
        own.push(response(&mut stream).await);
    })
    .await;
    let (begun, mut clients) = (Instant::now(), JoinSet::new());
    for _ in 0..UNDER_WAY {
        clients.spawn(one_of_many(door.http().await, head.clone()));
    }
    let count = clients.join_all().await.into_iter().sum();
    row(&format!("HTTP, {resource}"), times, (count, begun.elapsed()));
    let all = (own.len(), own.iter().sum());
    row(&format!("HTTP, {resource}, in the daemon"), own, all);
}

/// Follows the events of all runs behind one, until the number that is wanted.
async fn read_events(
    mut stream: Stream,
    head: String,
    (after, mut until): (u64, watch::Receiver<u64>),
) -> u64 {
    stream.get_mut().write_all(head.as_bytes()).await.expect("sent");
    let (mut last, mut line) = (after, String::new());
    while last < *until.borrow_and_update() {
        line.clear();
        let read = timeout(Duration::from_secs(60), stream.read_line(&mut line)).await;
        assert!(read.expect("an event").expect("a line") > 0, "the stream has ended behind event {last}");
        if let Some(id) = line.strip_prefix("id: ") {
            let id: u64 = id.trim().parse().expect("a number");
            assert_eq!(id, last + 1, "each event once");
            last = id;
        }
    }
    last - after
}

async fn median_of_runs(door: &Door, line: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        door.ask(line).await;
        times.push(begun.elapsed());
    }
    times.sort();
    times[RUNS / 2]
}

async fn newest(door: &Door) -> u64 {
    let events = door.ask("events --since 0").await;
    let last = events.lines().last().expect("an event");
    serde_json::from_str::<serde_json::Value>(last).expect("JSON")["seq"].as_u64().expect("a number")
}

async fn readers(port: u16, key: &str, (count, line): (usize, &str)) {
    let door = Door::open(port, key).await;
    let token = door.ask("web --token").await;
    door.ask(line).await;
    let alone = median_of_runs(&door, line).await;
    let (after, (wanted, until)) = (newest(&door).await, watch::channel(u64::MAX));
    let head =
        format!("{}Accept: text/event-stream\r\nLast-Event-ID: {after}\r\n\r\n", get("/v1/events", &token));
    let (mut connections, mut clients) = (Vec::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let connection = Door::open(port, key).await;
        for _ in 0..count / CONNECTIONS {
            let stream = connection.http().await;
            clients.spawn(read_events(stream, head.clone(), (after, until.clone())));
        }
        connections.push(connection);
    }
    // Streams without an event begin after half a second.
    sleep(Duration::from_secs(3)).await;
    let busy = median_of_runs(&door, line).await;
    let last = newest(&door).await;
    let _ = wanted.send(last);
    // One event more, for readers that have read the last one before they knew of it.
    door.ask(line).await;
    let seen = clients.join_all().await;
    assert!(seen.iter().all(|count| *count >= last - after), "all of them, at all readers");
    println!("| run alone | run with {} readers | events at each reader |", seen.len());
    println!("|---|---|---|");
    println!("| {:.3} s | {:.3} s | {} |", alone.as_secs_f64(), busy.as_secs_f64(), last - after);
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["load", port, key, ..] => {
            let door = Door::open(port.parse().expect("a port"), key).await;
            let token = door.ask("web --token").await;
            println!("| | median | 99th percentile | a second, {UNDER_WAY} under way |\n|---|---|---|---|");
            for resource in &words[3..] {
                load_lines(&door, resource).await;
                load_http(&door, resource, &token).await;
            }
        }
        ["readers", port, key, count, line] => {
            let count = count.parse().expect("a number");
            readers(port.parse().expect("a port"), key, (count, line)).await;
        }
        _ => println!("see benches/api.sh"),
    }
}
