//! Probes services through a host's SSH connection: services on its loopback can be checked,
//! and no other machine can answer in its place. Implements [`Prober`].

mod connect;
pub mod fetch;
mod http;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use self::connect::{Connector, Failed};
use self::tls::Shaker;
use crate::domain::base::name::bare_address;
use crate::domain::base::output::to_text;
use crate::domain::check::probe::{Http, Probe, Tcp, Tls};
use crate::domain::check::seen::Observation;
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{Clock, Prober, Remote, Stream};

/// Most bytes of the banner of a service.
const BANNER_BYTES: usize = 4 * 1024;

/// Probes over [`Remote::open`].
pub struct Probes {
    connector: Connector,
}

impl Probes {
    /// Probes that connect through `remote`.
    pub fn new(remote: Arc<dyn Remote>, clock: Arc<dyn Clock>) -> Probes {
        Probes { connector: Connector { remote, shaker: Shaker::new(clock) } }
    }

    async fn observe(&self, host: &Endpoint, probe: &Probe, limit: Duration) -> Result<Observation, Failed> {
        match probe {
            Probe::Http(http) => self.http(host, http).await,
            Probe::Tcp(tcp) => self.tcp(host, tcp, limit).await,
            Probe::Tls(tls) => self.tls(host, tls).await,
            Probe::Run { .. }
            | Probe::Plugin(_)
            | Probe::Metric(_)
            | Probe::Dns(_)
            | Probe::Port(_)
            | Probe::Process(_)
            | Probe::Service(_)
            | Probe::File(_)
            | Probe::Log(_)
            | Probe::Package(_)
            | Probe::Disk(_)
            | Probe::Load(_)
            | Probe::Memory(_)
            | Probe::Clock { .. } => {
                Err(Failed::Said(Observation::Blind { why: "this is no service".into() }))
            }
        }
    }

    /// A connection, and its input until the expected banner has arrived, or the connection ends.
    async fn tcp(&self, host: &Endpoint, tcp: &Tcp, limit: Duration) -> Result<Observation, Failed> {
        let begun = Instant::now();
        let mut stream = self.connector.open(host, &tcp.address, &tcp.port).await?;
        if let Some(text) = &tcp.send {
            let sent = stream.write_all(text.as_bytes()).await;
            sent.map_err(|error| Failed::Service(format!("it took no text: {error}")))?;
        }
        let banner = if tcp.listens() {
            banner(&mut *stream, tcp, limit.saturating_sub(begun.elapsed())).await
        } else {
            String::new()
        };
        Ok(Observation::Connected { banner, took: begun.elapsed() })
    }

    async fn tls(&self, host: &Endpoint, tls: &Tls) -> Result<Observation, Failed> {
        let stream = self.connector.open(host, &tls.address, &tls.port).await?;
        let name = bare_address(tls.name.as_deref().unwrap_or(&tls.address));
        let shaken = self.connector.shaker.shake(stream, name, tls.trust).await;
        let (_, shook) = shaken.map_err(Failed::Service)?;
        Ok(Observation::Shook(Box::new(shook)))
    }

    async fn http(&self, host: &Endpoint, http: &Http) -> Result<Observation, Failed> {
        http::HttpExchange { connector: &self.connector, host, http }.answer().await
    }
}

#[async_trait]
impl Prober for Probes {
    async fn probe(&self, host: &Endpoint, probe: &Probe, limit: Duration) -> Observation {
        match timeout(limit, self.observe(host, probe, limit)).await {
            Ok(Ok(seen)) | Ok(Err(Failed::Said(seen))) => seen,
            Ok(Err(Failed::Service(why))) => Observation::NoService { why },
            Err(_) => Observation::TimedOut { after: limit },
        }
    }
}

/// Reads from a service until the expected banner has arrived, it closes the connection, or most of the time is over.
async fn banner(stream: &mut dyn Stream, tcp: &Tcp, left: Duration) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 1024];
    // A little before the probe times out, so that the input can be reported.
    let until = Instant::now() + left.mul_f32(0.9);
    while read.len() < BANNER_BYTES && !is_wanted(tcp, &to_text(&read)) {
        match tokio::time::timeout_at(until, stream.read(&mut chunk)).await {
            Ok(Ok(count)) if count > 0 => read.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    to_text(&read)
}

fn is_wanted(tcp: &Tcp, text: &str) -> bool {
    let contains = tcp.banner.contains.as_ref().is_none_or(|part| text.contains(part));
    let pattern = tcp.banner.matches.as_deref().map(regex::Regex::new);
    contains
        && !text.is_empty()
        && pattern.is_none_or(|regex| regex.is_ok_and(|regex| regex.is_match(text.trim_end())))
}
