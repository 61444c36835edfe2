//! What the embedded HTTP services share: the accept loop, and asking an HTTP server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Connections to one service: what the traffic generator may open, and some for people.
const CONNECTIONS: usize = 256;

/// Before accepting again when the system refuses to: it has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// For a connection on loopback; longer means that it is not accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves HTTP/1.1 with kept-alive connections until `shutdown`; then requests that are in flight
/// are cut.
pub(super) async fn serve<S, B>(listener: TcpListener, service: S, shutdown: CancellationToken)
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) if connections.len() < CONNECTIONS => {
                // Without it answers are late, not wrong.
                let _ = stream.set_nodelay(true);
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new());
                let connection = server.serve_connection(TokioIo::new(stream), service.clone());
                // A client that breaks off is its own affair.
                connections.spawn(async move { _ = connection.await });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    connections.shutdown().await;
}

/// A connection to an HTTP server. It ends when the sender is dropped.
pub(super) async fn connect<B>(address: SocketAddr) -> Result<SendRequest<B>, String>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = match connecting.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("connect to {address}: {error}")),
        Err(_) => return Err(format!("connect to {address}: no answer within {CONNECT_TIMEOUT:?}")),
    };
    // Without it requests are late, not wrong.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The sender sees the result.
    tokio::spawn(async move { _ = connection.await });
    Ok(sender)
}
