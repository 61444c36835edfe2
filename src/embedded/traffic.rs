//! Users: GET after GET on kept-alive connections, counted. One failure that a user would have seen is
//! one too many.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::http;

/// Connections at most: more would measure this machine and not the rollout.
const CONNECTIONS: usize = 64;

/// Failures that are remembered as text; the first ones say what went wrong.
const SAMPLES: usize = 5;

/// For one request; a user would have gone.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failure, so that an address without a listener is not asked a million times.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// Bytes of an answer that are read: releases answer with a line.
const BODY_BYTES: usize = 64 * 1024;

/// Requests under way in the background.
pub struct Traffic {
    tally: Arc<Tally>,
    stop: CancellationToken,
    users: JoinSet<()>,
}

/// What became of the requests so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Answered or failed; those in flight are not counted yet.
    pub sent: u64,
    /// Not answered with 200 and a whole body.
    pub failed: u64,
    /// The first few failures.
    pub samples: Vec<String>,
}

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    failed: AtomicU64,
    samples: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, result: &Result<(), String>) {
        match result {
            Ok(()) => _ = self.ok.fetch_add(1, Ordering::Relaxed),
            Err(why) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                if samples.len() < SAMPLES {
                    samples.push(why.clone());
                }
            }
        }
    }

    fn counts(&self) -> RequestCounts {
        let failed = self.failed.load(Ordering::Relaxed);
        let sent = self.ok.load(Ordering::Relaxed) + failed;
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        RequestCounts { sent, failed, samples }
    }
}

type Sender = SendRequest<Empty<Bytes>>;

impl Traffic {
    /// Starts asking `address` for `/` without pause on so many connections (1 to 64; other numbers
    /// become the nearest). Dropping it breaks off; see [`Traffic::stop`].
    pub fn start(address: SocketAddr, connections: usize) -> Traffic {
        let (tally, stop) = (Arc::<Tally>::default(), CancellationToken::new());
        let mut users = JoinSet::new();
        for _ in 0..connections.clamp(1, CONNECTIONS) {
            users.spawn(user(address, tally.clone(), stop.clone()));
        }
        Traffic { tally, stop, users }
    }

    /// The counts up to now.
    pub fn counts(&self) -> RequestCounts {
        self.tally.counts()
    }

    /// Lets requests that are in flight end, and counts them.
    pub async fn stop(self) -> RequestCounts {
        self.stop.cancel();
        self.users.join_all().await;
        self.tally.counts()
    }
}

async fn user(address: SocketAddr, tally: Arc<Tally>, stop: CancellationToken) {
    let mut connection: Option<Sender> = None;
    while !stop.is_cancelled() {
        let asking = timeout(REQUEST_TIMEOUT, ask(address, &mut connection));
        let result = asking.await.unwrap_or_else(|_| Err(format!("no answer within {REQUEST_TIMEOUT:?}")));
        tally.count(&result);
        if result.is_err() {
            connection = None;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FAILURE_PAUSE) => {}
            }
        }
    }
}

/// One request, on a new connection if there is none that lives.
async fn ask(address: SocketAddr, connection: &mut Option<Sender>) -> Result<(), String> {
    let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => http::connect(address).await?,
    };
    sender.ready().await.map_err(|error| error.to_string())?;
    let request = Request::get("/").header(HOST, address.to_string()).body(Empty::new());
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
    let body = body.map_err(|error| format!("{status}, broken body: {error}"))?.to_bytes();
    if status != StatusCode::OK {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()));
    }
    *connection = Some(sender);
    Ok(())
}
