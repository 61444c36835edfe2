//! Answers without an end: events for browsers, lines for programs, archives.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::stream::unfold;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::problem::{self, Problem};
use crate::domain::base::refusal::Refusal;

/// How long a refusal may take to decide the status of a response. A stream without any event begins after that.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// The longest silence, so that a reader knows that it is not cut off.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamForm {
    /// Server-sent events.
    Events,
    /// One JSON object a line.
    Lines,
    /// A tar archive.
    Archive,
}

impl StreamForm {
    /// The one that a client accepts.
    pub fn of(headers: &HeaderMap) -> StreamForm {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accepted.contains("text/event-stream") { StreamForm::Events } else { StreamForm::Lines }
    }

    fn media(self) -> &'static str {
        match self {
            StreamForm::Events => "text/event-stream",
            StreamForm::Lines => "application/x-ndjson",
            StreamForm::Archive => "application/x-tar",
        }
    }
}

/// The number with which a browser goes on.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id").and_then(|value| value.to_str().ok())?.trim().parse().ok()
}

type Pieces = mpsc::Receiver<Bytes>;
type End = JoinHandle<Option<Refusal>>;

/// Responds with pieces as they come.
pub(super) async fn respond(
    (mut pieces, end): (Pieces, End),
    (form, after): (StreamForm, Option<u64>),
    gone: CancellationToken,
) -> Response<Body> {
    let first = match timeout(STATUS_PATIENCE, pieces.recv()).await {
        Ok(Some(first)) => Some(first),
        Ok(None) => match end.await {
            Ok(None) => return begun(Body::empty(), form),
            Ok(Some(refusal)) => return problem::refused(&refusal),
            Err(error) => return problem::refused(&Refusal::internal(error.to_string())),
        },
        Err(_) => None,
    };
    let reader = Reader {
        first,
        pieces,
        end: Some(end),
        writer: Writer { form, after, rest: Vec::new() },
        beat: Instant::now() + HEARTBEAT,
        _gone_at_the_end: gone.drop_guard(),
    };
    let body = unfold(reader, async |mut reader| {
        let bytes = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), reader))
    });
    begun(Body::from_stream(body), form)
}

fn begun(body: Body, form: StreamForm) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

struct Reader {
    first: Option<Bytes>,
    pieces: Pieces,
    /// `None` once it was asked.
    end: Option<End>,
    writer: Writer,
    beat: Instant,
    _gone_at_the_end: DropGuard,
}

impl Reader {
    /// The next bytes of the response; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = match self.first.take() {
                Some(first) => Some(first),
                None => tokio::select! {
                    piece = self.pieces.recv() => piece,
                    () = sleep_until(self.beat), if self.writer.form == StreamForm::Events => {
                        self.beat = Instant::now() + HEARTBEAT;
                        return Some(Bytes::from_static(b": still here\n\n"));
                    }
                },
            };
            let written = match piece {
                Some(piece) => self.writer.take(piece),
                None => self.last().await?,
            };
            if !written.is_empty() {
                self.beat = Instant::now() + HEARTBEAT;
                return Some(written);
            }
        }
    }

    /// What is said at the end: why it is one.
    async fn last(&mut self) -> Option<Bytes> {
        let ended = self.end.take()?.await;
        let refusal = ended.unwrap_or_else(|error| Some(Refusal::internal(error.to_string())));
        Some(refusal.map_or_else(Bytes::new, |refusal| self.writer.refused(&refusal)))
    }
}

/// Turns pieces of an answer into the form of a response.
struct Writer {
    form: StreamForm,
    /// Events up to this one are known to the client.
    after: Option<u64>,
    /// A line that is not complete.
    rest: Vec<u8>,
}

impl Writer {
    fn take(&mut self, piece: Bytes) -> Bytes {
        if self.form != StreamForm::Events {
            return piece;
        }
        self.rest.extend_from_slice(&piece);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Bytes::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&whole);
        Bytes::from(text.lines().map(|line| event(line, self.after)).collect::<String>())
    }

    fn refused(&self, refusal: &Refusal) -> Bytes {
        let problem = serde_json::to_string(&Problem::from(refusal)).unwrap_or_default();
        match self.form {
            StreamForm::Events => Bytes::from(format!("event: problem\ndata: {problem}\n\n")),
            StreamForm::Lines => Bytes::from(crate::present::json::line("problem", Problem::from(refusal))),
            // An archive that is cut off has no end, which its reader reports.
            StreamForm::Archive => Bytes::new(),
        }
    }
}

/// The part of a line that decides how it is sent. All else is skipped, since every reader pays for it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    schema: Value,
    seq: Value,
    oldest: Value,
    newest: Value,
}

/// A line as a server-sent event. The number of an event is its id; a reader that was too far behind gets a `reset`.
fn event(line: &str, after: Option<u64>) -> String {
    let Ok(head) = serde_json::from_str::<Head>(line) else { return String::new() };
    let seq = head.seq.as_u64();
    match head.schema.as_str() {
        Some("event") if seq.is_some_and(|seq| after.is_some_and(|after| seq <= after)) => String::new(),
        Some("event") => match seq {
            Some(seq) => format!("id: {seq}\nevent: event\ndata: {line}\n\n"),
            None => format!("event: event\ndata: {line}\n\n"),
        },
        Some("heartbeat") => format!(": heartbeat {}\n\n", seq.unwrap_or_default()),
        Some("gap") => {
            // Where events follow: at the oldest one, or behind the newest.
            let before_oldest = head.oldest.as_u64().map(|oldest| oldest.saturating_sub(1));
            let id = before_oldest.or(head.newest.as_u64()).unwrap_or_default();
            format!("id: {id}\nevent: reset\ndata: {line}\n\n")
        }
        Some(other) => format!("event: {other}\ndata: {line}\n\n"),
        None => format!("data: {line}\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events_with_their_numbers() {
        let rows = [
            (
                r#"{"schema":"event","seq":7,"run":1}"#,
                "id: 7\nevent: event\ndata: {\"schema\":\"event\",\"seq\":7,\"run\":1}\n\n",
            ),
            (r#"{"schema":"heartbeat","seq":9}"#, ": heartbeat 9\n\n"),
            (
                r#"{"schema":"gap","since":99,"newest":9}"#,
                "id: 9\nevent: reset\ndata: {\"schema\":\"gap\",\"since\":99,\"newest\":9}\n\n",
            ),
            (
                r#"{"schema":"gap","since":1,"oldest":5,"newest":9}"#,
                "id: 4\nevent: reset\ndata: {\"schema\":\"gap\",\"since\":1,\"oldest\":5,\"newest\":9}\n\n",
            ),
            (r#"{"schema":"recap"}"#, "event: recap\ndata: {\"schema\":\"recap\"}\n\n"),
        ];
        for (line, wanted) in rows {
            assert_eq!(event(line, None), wanted);
        }
        assert_eq!(event(rows[0].0, Some(7)), "", "the client knows it");
        assert_ne!(event(rows[0].0, Some(6)), "");
    }

    #[test]
    fn a_line_in_pieces_is_one_event() {
        let mut writer = Writer { form: StreamForm::Events, after: None, rest: Vec::new() };
        assert_eq!(writer.take(Bytes::from_static(b"{\"schema\":\"re")), "");
        assert_eq!(
            writer.take(Bytes::from_static(b"cap\"}\n{")),
            "event: recap\ndata: {\"schema\":\"recap\"}\n\n"
        );
        assert_eq!(writer.rest, b"{");
    }
}
