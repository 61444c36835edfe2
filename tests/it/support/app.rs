//! An application that answers with its name, holds requests for as long as the test wants, and dies when
//! it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// See the module.
pub struct App {
    pub name: String,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<JoinHandle<()>>,
}

struct Shared {
    /// Of checks, too.
    connections: AtomicU64,
    /// Requests for `/held` that have come.
    held: AtomicU64,
    release: watch::Sender<bool>,
}

impl App {
    /// Starts one on a port of its own.
    pub async fn start(name: &str) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            connections: AtomicU64::new(0),
            held: AtomicU64::new(0),
            release: watch::Sender::new(false),
        });
        let running = Some(tokio::spawn(serve(listener, name.to_string(), shared.clone())));
        App { name: name.to_string(), address, shared, running }
    }

    /// Dies: nobody listens, and whatever was in flight is cut.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            // An abort is what it ends with.
            let _ = running.await;
        }
    }

    /// Comes back where it was.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port");
        self.running = Some(tokio::spawn(serve(listener, self.name.clone(), self.shared.clone())));
    }

    /// How many connections have come so far: each look of a balancer is one.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many requests for `/held` have come so far.
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Answers all that are held, and holds no more.
    pub fn release(&self) {
        self.shared.release.send_replace(true);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn serve(listener: TcpListener, name: String, shared: Arc<Shared>) {
    let mut requests = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        shared.connections.fetch_add(1, Ordering::SeqCst);
        requests.spawn(answer(stream, name.clone(), shared.clone()));
        while requests.try_join_next().is_some() {}
    }
}

/// A client that goes away early is no trouble.
async fn answer(mut stream: TcpStream, name: String, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        request.push(byte);
    }
    if request.starts_with(b"GET /held ") {
        shared.held.fetch_add(1, Ordering::SeqCst);
        let mut released = shared.release.subscribe();
        let _ = released.wait_for(|released| *released).await;
    }
    let body = format!("{name} is done\n");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}
