//! A client that sends requests without a pause and counts the ones that fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Requests that are under way at the same time.
const CLIENTS: usize = 4;

/// Traffic through a balancer.
pub struct Traffic {
    sent: Arc<AtomicU64>,
    stop: CancellationToken,
    clients: JoinSet<Vec<String>>,
}

impl Traffic {
    /// Begins to send requests through `socket`.
    pub fn start(socket: &Path) -> Traffic {
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(client(socket.to_path_buf(), sent.clone(), stop.clone()));
        }
        Traffic { sent, stop, clients }
    }

    /// Ends it: how many were sent, and what was wrong with those that failed.
    pub async fn stop(self) -> (u64, Vec<String>) {
        self.stop.cancel();
        let failures = self.clients.join_all().await.concat();
        (self.sent.load(Ordering::Relaxed), failures)
    }
}

async fn client(socket: PathBuf, sent: Arc<AtomicU64>, stop: CancellationToken) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.is_cancelled() {
        match get(&socket).await {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {}
            Ok(answer) => failures.push(answer.chars().take(200).collect()),
            Err(error) => failures.push(error.to_string()),
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    failures
}

/// One request on a connection of its own: a balancer that reloads may close idle ones.
pub async fn get(socket: &Path) -> std::io::Result<String> {
    get_path(socket, "/").await
}

/// The same, for another path.
pub async fn get_path(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
