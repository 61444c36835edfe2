//! A reverse proxy that plays nginx for the demo: configured by a file, reloaded by a command,
//! and with generations for workers. It never tries another server, so that mistakes show.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{http, nginx};
use crate::domain::value::shell;

/// Until a server must have begun to answer, as nginx's proxy_read_timeout.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Between the answer to `-s reload` and its effect: nginx too answers first and starts its workers
/// then. A driver that does not inspect the workers is wrong for this long.
const RELOAD_PAUSE: Duration = Duration::from_millis(50);

/// Longest line that the `nginx` command may send: what a pipe takes in one piece.
const ORDER_BYTES: u64 = 4096;

/// Passes a request for nginx to this process, and prints its answer.
const SCRIPT: &str = include_str!("nginx.sh");

/// The configuration that a reload reads, within the balancer's directory.
const CONFIG: &str = "nginx.conf";

/// What every part of the balancer knows.
struct Proxy {
    dir: PathBuf,
    state: Mutex<BalancerState>,
    /// Something about the generations changed.
    changed: Notify,
}

struct BalancerState {
    current: Arc<Generation>,
    /// With requests in flight, oldest first; the current one is the last.
    alive: Vec<Arc<Generation>>,
}

/// What a reload starts: it plays the part of nginx's worker processes.
struct Generation {
    number: usize,
    servers: Vec<SocketAddr>,
    turn: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Starts the balancer that lives in `dir` and is configured by `nginx.conf` there, with `bin/nginx`
/// to control it and `workers` to watch it. It ends with `shutdown`.
///
/// Fails when the configuration is wrong or the files cannot be written.
pub async fn start(
    dir: PathBuf,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let servers = read(&dir.join(CONFIG)).await.map_err(io::Error::other)?;
    let orders = install(&dir)?;
    let first = Arc::new(Generation::new(1, servers));
    let state = Mutex::new(BalancerState { current: first.clone(), alive: vec![first] });
    let proxy = Arc::new(Proxy { dir, state, changed: Notify::new() });
    proxy.write_workers()?;
    Ok(tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        tasks.spawn(proxy.clone().obey(orders));
        tasks.spawn(proxy.clone().keep_workers());
        serve(proxy.clone(), listener, shutdown).await;
        tasks.shutdown().await;
        // Without the file the command knows that the proxy has stopped; a directory that is gone says so too.
        let _ = std::fs::remove_file(proxy.dir.join("nginx.pid"));
    }))
}

async fn serve(proxy: Arc<Proxy>, listener: TcpListener, shutdown: CancellationToken) {
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.pass(request).await) }
    });
    http::serve(listener, service, shutdown).await;
}

/// Puts the command, the pipe it talks into, and our process number in place.
fn install(dir: &Path) -> io::Result<(pipe::Receiver, pipe::Sender)> {
    std::fs::create_dir_all(dir.join("bin"))?;
    let script = SCRIPT.replace("@HOME@", &shell::quote(&dir.to_string_lossy()));
    let command = dir.join("bin/nginx");
    std::fs::write(&command, script)?;
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755))?;
    let control = dir.join("control");
    match std::fs::remove_file(&control) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    nix::unistd::mkfifo(&control, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR)?;
    let receiver = pipe::OpenOptions::new().open_receiver(&control)?;
    // Our own writing end keeps the pipe from ending after the first command.
    let sender = pipe::OpenOptions::new().open_sender(&control)?;
    replace(dir, "nginx.pid", &format!("{}\n", std::process::id()))?;
    Ok((receiver, sender))
}

/// Writes a file that readers see as a whole or not at all.
fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, dir.join(name))
}

/// The servers that a configuration names; an error is nginx's complaint.
async fn read(path: &Path) -> Result<Vec<SocketAddr>, String> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| format!("open() \"{shown}\" failed ({error})");
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    file.take(nginx::FILE_LIMIT_BYTES).read_to_string(&mut text).await.map_err(failed)?;
    nginx::servers(&text, &shown)
}

impl Generation {
    fn new(number: usize, servers: Vec<SocketAddr>) -> Generation {
        Generation { number, servers, turn: AtomicUsize::new(0), in_flight: AtomicUsize::new(0) }
    }

    fn next(&self) -> Option<SocketAddr> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.servers.get(turn.checked_rem(self.servers.len())?).copied()
    }
}

impl Proxy {
    fn state(&self) -> std::sync::MutexGuard<'_, BalancerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Obeys the command in `bin`, one order after the other.
    async fn obey(self: Arc<Self>, (receiver, _held): (pipe::Receiver, pipe::Sender)) {
        let mut orders = BufReader::new(receiver);
        loop {
            let mut line = String::new();
            match (&mut orders).take(ORDER_BYTES).read_line(&mut line).await {
                Ok(read) if read > 0 => self.order(line.trim_end_matches('\n')).await,
                // The pipe is broken; the command will say that it gets no answer.
                _ => return,
            }
        }
    }

    /// One order: `test PID FILE` or `reload PID FILE`. The answer is a complaint or an empty line.
    async fn order(&self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (Some(verb), Some(pid), Some(file)) = (words.next(), words.next(), words.next()) else { return };
        let Ok(pid) = pid.parse::<u32>() else { return };
        let complaint = read(Path::new(file)).await.err().unwrap_or_default();
        self.reply(pid, &complaint).await;
        if verb == "reload" && complaint.is_empty() {
            tokio::time::sleep(RELOAD_PAUSE).await;
            self.reload().await;
        }
    }

    async fn reply(&self, pid: u32, complaint: &str) {
        let path = self.dir.join(format!("reply.{pid}"));
        // A command that was killed reads no answer.
        let Ok(pipe) = pipe::OpenOptions::new().open_sender(path) else { return };
        // The pipe is fresh: a line fits.
        if pipe.writable().await.is_ok() {
            let _ = pipe.try_write(format!("{}\n", complaint.replace('\n', " ")).as_bytes());
        }
    }

    /// Starts the next generation; with a file that is wrong by now the present one stays, as in nginx.
    async fn reload(&self) {
        let Ok(servers) = read(&self.dir.join(CONFIG)).await else { return };
        let mut state = self.state();
        let next = Arc::new(Generation::new(state.current.number + 1, servers));
        state.alive.push(next.clone());
        state.current = next;
        drop(state);
        self.changed.notify_one();
    }

    /// Writes `workers` whenever it is no longer true.
    async fn keep_workers(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            if let Err(error) = self.write_workers() {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot write the balancer's workers");
            }
        }
    }

    /// One line for each generation that is current or has requests in flight.
    fn write_workers(&self) -> io::Result<()> {
        let mut state = self.state();
        let current = state.current.number;
        let lives =
            |one: &Arc<Generation>| one.number == current || one.in_flight.load(Ordering::Acquire) > 0;
        state.alive.retain(lives);
        let lines: String = state.alive.iter().map(|one| format!("worker {}\n", one.number)).collect();
        drop(state);
        replace(&self.dir, "workers", &lines)
    }

    fn enter(self: &Arc<Self>) -> InFlight {
        let state = self.state();
        state.current.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight { proxy: self.clone(), generation: state.current.clone() }
    }

    /// Passes one request on to the server whose turn it is.
    async fn pass(self: &Arc<Self>, request: Request<Incoming>) -> Response<Passed> {
        let in_flight = self.enter();
        match ask(&in_flight.generation, request).await {
            Ok(response) => response.map(|body| Passed { body: Either::Left(body), _in_flight: in_flight }),
            Err((status, why)) => {
                let body = Either::Right(Full::new(Bytes::from(why)));
                let mut response = Response::new(Passed { body, _in_flight: in_flight });
                *response.status_mut() = status;
                response
            }
        }
    }
}

async fn ask(
    generation: &Generation,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, (StatusCode, String)> {
    let bad_gateway = |why: String| (StatusCode::BAD_GATEWAY, format!("502 Bad Gateway: {why}\n"));
    let server = generation.next().ok_or_else(|| bad_gateway("no live upstreams".into()))?;
    let mut sender = http::connect(server).await.map_err(bad_gateway)?;
    strip(request.headers_mut());
    *request.version_mut() = Version::HTTP_11;
    match timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
        Ok(Ok(mut response)) => {
            strip(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            Ok(response)
        }
        Ok(Err(error)) => Err(bad_gateway(format!("{server}: {error}"))),
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, format!("504 Gateway Timeout: {server}\n"))),
    }
}

/// Removes what belongs to one connection and not to the message.
fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}

/// Counts a request on its generation, from its beginning until its answer was sent.
struct InFlight {
    proxy: Arc<Proxy>,
    generation: Arc<Generation>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let last = self.generation.in_flight.fetch_sub(1, Ordering::AcqRel) == 1;
        // The current one stays in the file anyway: requests on it cost no write.
        if last && self.proxy.state().current.number != self.generation.number {
            self.proxy.changed.notify_one();
        }
    }
}

/// The body of an answer; the request is in flight for as long as it lives.
struct Passed {
    body: Either<Incoming, Full<Bytes>>,
    _in_flight: InFlight,
}

impl Body for Passed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
