//! The network: dialling hands out one end of a stream in memory, and the host's SSH server gets the other.
//! Both ends suffer what is in store for their connection.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use rand::rngs::StdRng;
use rollcall::embedded::sshd::Sshd;
use rollcall::fleet::dial::Dial;
use rollcall::port::Stream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::fate::{Fate, Weather};
use super::world::dice;

/// Bytes under way in one direction.
const IN_FLIGHT_BYTES: usize = 64 * 1024;

/// Longer than anybody waits for an answer to a dial.
const NO_ANSWER: Duration = Duration::from_secs(3_600);

/// One host on the network.
pub struct Site {
    pub sshd: Sshd,
    pub fate: Arc<Fate>,
    pub connections: AtomicU32,
}

/// All hosts, by address.
pub struct Net {
    pub sites: Arc<BTreeMap<String, Site>>,
    /// Ends all connections of whoever dials here.
    pub cut: CancellationToken,
}

#[async_trait]
impl Dial for Net {
    async fn dial(&self, address: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        let site = self.sites.get(address).ok_or(io::ErrorKind::HostUnreachable)?;
        let number = site.connections.fetch_add(1, Ordering::Relaxed);
        site.fate.begin();
        let weather = site.fate.weather(number);
        sleep(Duration::from_micros(weather.latency_us.start)).await;
        match site.fate.is_down() {
            Some(down) if down.silent => sleep(NO_ANSWER).await,
            Some(_) => return Err(io::ErrorKind::ConnectionRefused.into()),
            None if weather.refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            None => {}
        }
        Ok(connect(site, number, weather, &self.cut))
    }
}

fn connect(site: &Site, number: u32, weather: Weather, cut: &CancellationToken) -> Box<dyn Stream> {
    let opened = Instant::now();
    let line = Arc::new(Line {
        latency_us: weather.latency_us,
        reset_after: weather.reset_after,
        carried: AtomicUsize::new(0),
        client: cut.child_token(),
        server: cut.child_token(),
    });
    let hole = weather.hole.map(|(after, lasts)| Hole {
        from: opened + after,
        to: opened + after + lasts,
        deaf: false,
    });
    let (client, server) = duplex(IN_FLIGHT_BYTES);
    let end = |stream, side: &str, cut: &CancellationToken| FaultStream {
        inner: stream,
        cut: Box::pin(cut.clone().cancelled_owned()),
        line: line.clone(),
        dice: dice(site.fate.seed, &["wire", &site.fate.name, side, &number.to_string()]),
        hole,
        held: Vec::new(),
        pause: None,
    };
    let mut client = end(client, "client", &line.client);
    let server = end(server, "server", &line.server);
    if let Some((from, to, down)) = site.fate.down().filter(|(from, ..)| *from >= opened) {
        if down.silent {
            client.hole = Some(Hole { from, to, deaf: true });
        }
        tokio::spawn(die(line, from, if down.silent { to } else { from }));
    }
    let sshd = site.sshd.clone();
    tokio::spawn(async move { sshd.serve(server).await });
    Box::new(client)
}

/// The host dies at one time, and the client is told at another.
async fn die(line: Arc<Line>, dies: Instant, told: Instant) {
    sleep_until(dies).await;
    line.server.cancel();
    sleep_until(told).await;
    line.client.cancel();
}

/// What both ends of a connection share.
struct Line {
    latency_us: std::ops::Range<u64>,
    reset_after: Option<usize>,
    carried: AtomicUsize,
    client: CancellationToken,
    server: CancellationToken,
}

impl Line {
    fn carry(&self, bytes: usize) {
        let carried = self.carried.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.reset_after.is_some_and(|limit| carried > limit) {
            self.client.cancel();
            self.server.cancel();
        }
    }
}

/// A time in which nothing arrives.
#[derive(Clone, Copy)]
struct Hole {
    from: Instant,
    to: Instant,
    /// What is sent meanwhile is lost; otherwise it arrives later.
    deaf: bool,
}

impl Hole {
    fn is_open(&self) -> bool {
        (self.from..self.to).contains(&Instant::now())
    }
}

/// One end of a connection.
struct FaultStream {
    inner: DuplexStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    line: Arc<Line>,
    dice: StdRng,
    hole: Option<Hole>,
    /// Bytes that have arrived, but not quite yet.
    held: Vec<u8>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl FaultStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for FaultStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.check(context)?;
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            if let Some(hole) = this.hole.filter(Hole::is_open) {
                this.pause = Some(Box::pin(sleep_until(hole.to)));
                continue;
            }
            if !this.held.is_empty() {
                let length = this.held.len().min(buffer.remaining());
                buffer.put_slice(&this.held[..length]);
                this.held.drain(..length);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.line.carry(chunk.filled().len());
            this.held.extend_from_slice(chunk.filled());
            let latency = this.dice.random_range(this.line.latency_us.clone());
            this.pause = Some(Box::pin(sleep(Duration::from_micros(latency))));
        }
    }
}

impl AsyncWrite for FaultStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        if self.hole.is_some_and(|hole| hole.deaf && hole.is_open()) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
