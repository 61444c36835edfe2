//! What an open page hears: that there is something new. It then asks for itself again, so that what it shows is always a whole
//! page, and a slow reader gets the newest state and not each one before it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::channel::{Api, over};
use super::query::query;
use super::{gate, problem};
use crate::domain::ask::access::authorize;
use crate::domain::ask::command::Command;
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::client::Client;

/// Shortest time between two signals.
const PERIOD: Duration = Duration::from_millis(100);

/// The longest silence: a page takes a longer one for a broken connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Follows what happens, from the event that the page knows.
pub(super) fn follow(api: &Api, request: &Request) -> Response<Body> {
    if let Err(refused) = gate::check(api, request) {
        return *refused;
    }
    let fields = match query(request.uri()) {
        Ok(fields) => fields,
        Err(refused) => return *refused,
    };
    let after = fields.iter().find(|(name, _)| name == "after").and_then(|(_, value)| value.parse().ok());
    let newest = match newest(&api.client) {
        Ok(newest) => newest,
        Err(refusal) => return problem::refused(&refusal),
    };
    let retired = api.client.streams.add();
    let reader = Reader {
        client: api.client.clone(),
        gone: api.gone.clone(),
        newest,
        known: after.unwrap_or(0),
        beat: Instant::now(),
        free_at: Instant::now(),
        is_over: false,
        retired: retired.clone(),
        _frees_its_place: retired.drop_guard(),
    };
    let body = unfold(reader, async |mut reader| {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(bytes), reader))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The number of the newest event, for those who may see boards.
fn newest(client: &Client) -> Result<watch::Receiver<u64>, Refusal> {
    let operator = client.admitted().map_err(|why| Refusal::new(Cause::NotAllowed, why))?;
    let command = Command::Board(View::of(PageName::Fleet));
    let granted = authorize(&operator, command, client.desk.clock.now());
    let granted = granted.map_err(|denied| denied.of_line("board"))?;
    Ok(client.desk.engine.ports_for(&granted).events.newest())
}

struct Reader {
    client: Arc<Client>,
    gone: CancellationToken,
    newest: watch::Receiver<u64>,
    /// The number of the last event that the page knows of.
    known: u64,
    /// When the next heartbeat is due.
    beat: Instant,
    /// The next signal comes no earlier.
    free_at: Instant,
    is_over: bool,
    retired: CancellationToken,
    _frees_its_place: DropGuard,
}

impl Reader {
    /// The next signal; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let at = self.beat;
        let is_new = tokio::select! {
            biased;
            () = self.retired.cancelled() => {
                self.is_over = true;
                return Some(Bytes::from_static(b"event: retire\ndata: other pages follow\n\n"));
            }
            () = over(&self.client, &self.gone) => return None,
            is_new = changed(&mut self.newest, self.known) => is_new?,
            () = sleep_until(at) => false,
        };
        self.beat = Instant::now() + HEARTBEAT;
        if !is_new {
            return Some(Bytes::from_static(b"event: beat\ndata: -\n\n"));
        }
        // The first signal comes at once; what follows soon is one more.
        sleep_until(self.free_at).await;
        self.free_at = Instant::now() + PERIOD;
        self.known = *self.newest.borrow_and_update();
        Some(Bytes::from(format!("id: {0}\nevent: change\ndata: {0}\n\n", self.known)))
    }
}

/// Resolves when there is an event behind the known one; `None` if there will be none.
async fn changed(newest: &mut watch::Receiver<u64>, known: u64) -> Option<bool> {
    newest.wait_for(|newest| *newest > known).await.ok().map(|_| true)
}
