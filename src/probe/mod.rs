//! Looking at services through a host's SSH connection: what listens on its loopback can be checked,
//! and no other machine can answer in its place. Implements [`Prober`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::domain::check::{Observation, Probe};
use crate::domain::inventory::Endpoint;
use crate::domain::output::to_text;
use crate::engine::port::{OpenError, Prober, Remote, Stream};

/// Largest body that is looked at, in bytes; a larger one is cut there.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Probes over [`Remote::open`].
pub struct Probes {
    remote: Arc<dyn Remote>,
}

impl Probes {
    /// Probes that look through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> Probes {
        Probes { remote }
    }

    async fn look(&self, host: &Endpoint, probe: &Probe) -> Observation {
        let (address, port) = match probe {
            Probe::Http { address, port, .. } | Probe::Tcp { address, port } => (address, port),
            Probe::Run { .. } => return Observation::Blind { why: "a command is no service".into() },
        };
        let Ok(port) = port.parse() else {
            return Observation::Blind { why: format!("{port:?} is no port") };
        };
        let stream = match self.remote.open(host, address, port).await {
            Ok(stream) => stream,
            Err(OpenError::Refused(why)) => return Observation::NoService { why },
            Err(OpenError::Blind(why)) => return Observation::Blind { why },
        };
        match probe {
            Probe::Http { path, host: name, .. } => {
                let name = name.clone().unwrap_or_else(|| format!("{address}:{port}"));
                get(stream, path, &name).await.unwrap_or_else(|why| Observation::NoService { why })
            }
            _ => Observation::Connected,
        }
    }
}

#[async_trait]
impl Prober for Probes {
    async fn probe(&self, host: &Endpoint, probe: &Probe, limit: Duration) -> Observation {
        match timeout(limit, self.look(host, probe)).await {
            Ok(seen) => seen,
            Err(_) => Observation::TimedOut { after: limit },
        }
    }
}

/// One GET. The error says how the service failed to answer.
async fn get(stream: Box<dyn Stream>, path: &str, name: &str) -> Result<Observation, String> {
    let failed = |error: &dyn std::fmt::Display| format!("no HTTP answer: {error}");
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let driving = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", name)
        .header("user-agent", "rollcall")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    let mut incoming = Limited::new(answer.into_body(), BODY_LIMIT_BYTES);
    while let Some(Ok(frame)) = incoming.frame().await {
        if let Ok(data) = frame.into_data() {
            body.extend_from_slice(&data);
        }
    }
    driving.abort();
    Ok(Observation::Answered { status, body: to_text(&body) })
}
