//! The subsystem `rollcall-api`: requests and answers as JSON, one object a line. Requests need not wait for each other:
//! each answer has the `id` of its request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::{ApiStream, over};
use super::perform::follow;
use super::plain::{Asked, find, refused, reply_text};
use crate::domain::ask::resource::{Given, Gives, Resource};
use crate::domain::base::refusal::Refusal;
use crate::door::client::Client;
use crate::version::VERSION;

/// Longest line of a request, in bytes.
pub(super) const LINE_BYTES: usize = 1024 * 1024;

/// Longest `id`: each answer repeats it.
const ID_BYTES: usize = 256;

/// Most requests under way on one channel.
const UNDER_WAY: usize = 32;

/// Answers that wait for the client.
const WAITING_ANSWERS: usize = 64;

/// How long a client may leave an answer unread.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// The codes of answers that HTTP names, too.
const TOO_LARGE: u16 = 413;
const TOO_MANY: u16 = 429;
const NO_SUCH_VERB: u16 = 405;
const TOO_LATE: u16 = 504;
const CANCELLED: u16 = 499;

/// One request.
#[derive(Deserialize)]
struct LineRequest {
    id: Value,
    verb: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    body: Given,
    #[serde(default)]
    deadline_ms: Option<u64>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// What requests of one channel have in common.
#[derive(Clone)]
struct Channel {
    client: Arc<Client>,
    answers: mpsc::Sender<String>,
    under_way: Arc<Mutex<HashMap<String, CancellationToken>>>,
    gone: CancellationToken,
}

/// Serves a channel until the client has sent all, and everything is answered.
pub(super) async fn serve(client: Arc<Client>, stream: impl ApiStream, gone: CancellationToken) {
    let (read, mut write) = tokio::io::split(stream);
    let (answers, mut waiting) = mpsc::channel::<String>(WAITING_ANSWERS);
    let stalled = gone.clone();
    let writing = async move {
        let mut lines = Vec::new();
        // Answers that are ready at the same time share packets.
        while waiting.recv_many(&mut lines, WAITING_ANSWERS).await > 0 {
            let text = lines.concat();
            lines.clear();
            let written = timeout(STALL_LIMIT, async {
                write.write_all(text.as_bytes()).await?;
                write.flush().await
            });
            if !matches!(written.await, Ok(Ok(()))) {
                stalled.cancel();
                return;
            }
        }
    };
    let channel = Channel { client: client.clone(), answers, under_way: Arc::default(), gone: gone.clone() };
    let reading = async move {
        channel.hello().await;
        let tasks = TaskTracker::new();
        tokio::select! {
            () = channel.read(BufReader::new(read), &tasks) => {}
            () = over(&client, &gone) => {}
        }
        tasks.close();
        tasks.wait().await;
    };
    tokio::join!(reading, writing);
}

/// A line that was read.
pub(super) enum ReadLine {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads a line, of which no more than [`LINE_BYTES`] is kept.
pub(super) async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<ReadLine> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES + 1).unwrap_or(u64::MAX);
    reader.take(limit).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(ReadLine::End);
    }
    if line.len() <= LINE_BYTES {
        return Ok(ReadLine::Whole(line));
    }
    // The rest is not kept.
    while line.last().is_some_and(|last| *last != b'\n') {
        line.clear();
        reader.take(limit).read_until(b'\n', &mut line).await?;
    }
    Ok(ReadLine::TooLong)
}

impl Channel {
    async fn hello(&self) {
        let hello = json!({ "hello": {
            "proto": 1, "server": VERSION, "identity": self.client.operator.name,
            "limits": { "line_bytes": LINE_BYTES, "under_way": UNDER_WAY },
        }});
        self.send(&hello).await;
    }

    /// A client that does not read is gone.
    async fn send(&self, answer: &Value) {
        self.send_text(answer.to_string()).await;
    }

    async fn send_text(&self, mut answer: String) {
        answer.push('\n');
        let _ = self.answers.send(answer).await;
    }

    async fn fail(&self, id: &Value, code: u16, why: impl Into<String>) {
        let why: String = why.into();
        self.send(&json!({ "id": id, "code": code, "body": { "detail": why } })).await;
    }

    async fn read(&self, mut reader: impl AsyncBufRead + Unpin, tasks: &TaskTracker) {
        loop {
            let line = match read_line(&mut reader).await {
                Ok(ReadLine::Whole(line)) => line,
                Ok(ReadLine::TooLong) => {
                    self.fail(&Value::Null, TOO_LARGE, format!("a line has at most {LINE_BYTES} bytes"))
                        .await;
                    continue;
                }
                Ok(ReadLine::End) | Err(_) => return,
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<LineRequest>(&line) {
                Ok(request) if request.id.to_string().len() <= ID_BYTES => self.take(request, tasks).await,
                Ok(_) => {
                    self.fail(&Value::Null, 400, format!("an `id` has at most {ID_BYTES} bytes")).await;
                }
                Err(_) => {
                    let why =
                        "no request: a line is an object with `id`, `verb`, `resource` and perhaps `body`";
                    self.fail(&Value::Null, 400, why).await;
                }
            }
        }
    }

    async fn take(&self, request: LineRequest, tasks: &TaskTracker) {
        if request.verb == "CANCEL" {
            return self.cancel(&request).await;
        }
        let (key, gone) = (request.id.to_string(), self.gone.child_token());
        let refused = {
            let mut under_way = self.lock();
            match under_way.len() >= UNDER_WAY {
                true => Some((
                    TOO_MANY,
                    format!("{UNDER_WAY} requests are under way, and no more begin before one has ended"),
                )),
                false if under_way.contains_key(&key) => {
                    Some((409, "a request with this `id` is under way".into()))
                }
                false => {
                    under_way.insert(key.clone(), gone.clone());
                    None
                }
            }
        };
        if let Some((code, why)) = refused {
            return self.fail(&request.id, code, why).await;
        }
        let channel = self.clone();
        tasks.spawn(async move {
            channel.answer(request, (key, gone)).await;
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the request whose `id` the body names.
    async fn cancel(&self, request: &LineRequest) {
        let other = request.body.get("id").map(Value::to_string).unwrap_or_default();
        let found = self.lock().get(&other).cloned();
        match found {
            Some(gone) => {
                gone.cancel();
                self.send(&json!({ "id": request.id, "code": 200, "body": {} })).await;
            }
            None => self.fail(&request.id, 404, "no request with the `id` in the body is under way").await,
        }
    }

    async fn answer(&self, request: LineRequest, (key, gone): (String, CancellationToken)) {
        let (id, limit) = (request.id.clone(), request.deadline_ms.map(Duration::from_millis));
        let is_over = gone.clone();
        let answering = self.last_answer(request, gone);
        tokio::pin!(answering);
        let (code, why) = tokio::select! {
            // First, since what is cancelled ends, too.
            biased;
            () = is_over.cancelled() => (CANCELLED, "it was cancelled"),
            last = &mut answering => {
                // Before the client can know that it is answered, and uses the `id` again.
                self.lock().remove(&key);
                return self.send_text(last).await;
            }
            () = after(limit) => {
                is_over.cancel();
                (TOO_LATE, "it was not done before its deadline")
            }
        };
        self.fail(&id, code, why).await;
        // Its command may still be ending, and keeps its place until then.
        answering.await;
        self.lock().remove(&key);
    }

    /// Performs a request; its last answer.
    async fn last_answer(&self, request: LineRequest, gone: CancellationToken) -> String {
        let id = &request.id;
        let asked = Asked { verb: &request.verb, resource: &request.resource, fields: request.body };
        let (resource, given) = match find(asked) {
            Ok(found) => found,
            Err(None) => {
                let why = "a verb is GET, STORE, UPDATE, DELETE, WATCH or CANCEL";
                return json!({ "id": id, "code": NO_SUCH_VERB, "body": { "detail": why } }).to_string();
            }
            Err(Some(refusal)) => return refusal_of(id, &refusal),
        };
        match resource.gives {
            Gives::Archive | Gives::Raw => {
                let why = Refusal::usage(match resource.gives {
                    Gives::Archive => "an archive has no lines",
                    _ => "raw output is no JSON",
                });
                refusal_of(id, &why.hint("fetch it by HTTP: ssh -s rollcall api"))
            }
            Gives::Stream => self.watch(id, (resource, &given), gone).await,
            _ => {
                let key = request.idempotency_key.as_deref();
                let (code, body) = reply_text(&self.client, (resource, given), key, gone).await;
                format!("{{\"id\":{id},\"code\":{code},\"body\":{body}}}")
            }
        }
    }

    /// Objects as they happen, each in an answer of its own; the last answer.
    async fn watch(
        &self,
        id: &Value,
        request: (&'static Resource, &Given),
        gone: CancellationToken,
    ) -> String {
        let (mut pieces, end) = match follow(&self.client, request, gone) {
            Ok(following) => following,
            Err(refusal) => return refusal_of(id, &refusal),
        };
        let (mut rest, mut seq) = (String::new(), 0_u64);
        while let Some(piece) = pieces.recv().await {
            rest += &String::from_utf8_lossy(&piece);
            let whole = rest.rfind('\n').map_or(0, |end| end + 1);
            for body in rest[..whole].lines().filter(|line| line.starts_with('{')) {
                seq += 1;
                let answer = format!("{{\"id\":{id},\"code\":200,\"seq\":{seq},\"body\":{body}}}");
                self.send_text(answer).await;
            }
            rest.drain(..whole);
        }
        match end.await {
            Ok(None) => json!({ "id": id, "code": 200, "done": true }).to_string(),
            Ok(Some(refusal)) => refusal_of(id, &refusal),
            Err(error) => refusal_of(id, &Refusal::internal(error.to_string())),
        }
    }
}

fn refusal_of(id: &Value, refusal: &Refusal) -> String {
    let (code, body) = refused(refusal);
    json!({ "id": id, "code": code, "body": body }).to_string()
}

async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
