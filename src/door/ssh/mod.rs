//! The SSH door: operators log in to rollcall with their own key. Accepts connections within bounds,
//! authenticates by key, and gives every channel its own session.

mod drawn;
mod forwarded;
mod handler;
mod pacing;
mod proof;
mod pulse;
mod seats;
mod session;
mod shared;
mod tally;
mod visit;
mod waiting;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::server::RunningSession;
use russh::{Disconnect, MethodKind, MethodSet, Preferred, cipher, compression, kex, mac, server};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::handler::Handler;
use self::pacing::ConnectionFailure;
use self::seats::Seats;
use self::shared::{Admission, DoorState, Lobby};
use self::tally::TALLY_PERIOD;
use self::visit::Visit;
use super::Desk;
use crate::config::{DoorSettings, Profile};
use crate::cut::Cut;
use crate::port::Stream;

/// How the log describes connections that were closed after `login_grace`. This limit is absolute, since each complete
/// packet would reset an inactivity limit.
const LATE: &str = "that had not logged in in time";

/// The pause after `accept` failed, for instance without a free file descriptor: time for others to finish.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long clients may take to read the rest of their answers when rollcall stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// Limit of each of the steps that close a connection: the answer to a reload that removes the operator's own
/// key arrives, sessions end, the client reads the reason. Four of them take less than the 5 seconds that are
/// promised for a removed key.
const PARTING: Duration = Duration::from_secs(1);

/// Most messages that wait for one channel's reader, which bounds the memory that a client can take.
const CHANNEL_BUFFER: usize = 16;

/// Accepted signatures of operators: none with SHA-1, none with DSA.
static SIGNATURES: [Algorithm; 8] = [
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// A listening door.
pub struct SshDoor {
    config: Arc<server::Config>,
    login_grace: Duration,
    shared: DoorState,
}

impl SshDoor {
    /// A door with this host key.
    pub fn new(desk: Desk, host_key: PrivateKey, settings: &DoorSettings) -> SshDoor {
        let seats = Seats::new(settings.connections, settings.per_operator);
        let lobby = Arc::new(Mutex::new(Lobby::new(settings)));
        let shared = DoorState { desk, answers: TaskTracker::new(), seats, lobby };
        let config = Arc::new(server_config(host_key, settings.profile));
        SshDoor { config, login_grace: settings.login_grace, shared }
    }

    /// Waits until every present answer has arrived; no longer than `FAREWELL`.
    pub async fn answered(&self) {
        self.shared.answers.close();
        if timeout(FAREWELL, self.shared.answers.wait()).await.is_err() {
            tracing::debug!("some clients did not take their answers");
        }
    }

    /// Accepts connections until `stop`; existing ones continue.
    pub async fn listen(&self, listener: TcpListener, stop: CancellationToken) {
        let mut summaries = tokio::time::interval(TALLY_PERIOD);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = summaries.tick() => {
                    self.sum_up();
                    continue;
                }
                () = stop.cancelled() => return self.sum_up(),
            };
            match accepted {
                // Closed before any byte: what it costs to refuse a connection is what a flood costs.
                Ok((_, from)) if !self.shared.may_connect(from.ip()) => {}
                Ok((stream, from)) => {
                    // Without it answers are slower, not wrong.
                    let _ = stream.set_nodelay(true);
                    let reached = stream.local_addr().unwrap_or(from);
                    self.serve(stream, (from.ip(), reached));
                }
                Err(error) => {
                    tracing::error!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn sum_up(&self) {
        let lines = self.shared.lobby().tally.take();
        lines.iter().for_each(|line| tracing::warn!("{line}"));
    }

    /// Serves one connection.
    fn serve(&self, stream: impl Stream + 'static, (from, reached): (IpAddr, SocketAddr)) {
        let cut = CancellationToken::new();
        let place = self.shared.place(from, cut.clone());
        let (shared, config, grace) = (self.shared.clone(), self.config.clone(), self.login_grace);
        tokio::spawn(async move {
            // russh continues in its own task after this one stops waiting: the cut ends that task, too.
            let stream = Cut::new(stream, cut.clone());
            let _cut_at_the_end = cut.drop_guard();
            let visit = Arc::new(Visit::default());
            let begun = Instant::now();
            let handler = Handler::new(shared.clone(), visit.clone(), (from, reached));
            let session = async {
                let running =
                    log_in(server::run_stream(config, stream, handler), &visit, (place, grace)).await?;
                stay(&shared, &visit, running).await
            };
            if let Err(error) = session.await {
                tracing::debug!(%error, "a connection was lost");
            }
            if let Some(login) = visit.login.get() {
                let seconds = begun.elapsed().as_secs();
                tracing::info!(operator = login.operator.name, key = login.operator.key, %from, seconds, "disconnected");
            }
            if let Some((user, keys)) = visit.refused() {
                tracing::warn!(%from, ?user, keys = %keys.join(", "), "a login was refused");
                shared.desk.audit.login_refused(from, user, keys);
                shared.failed(from, ConnectionFailure::Refused);
            }
        });
    }
}

/// Runs a connection until its login is complete; it holds its `place` until then, and only for a limited time.
async fn log_in(
    starting: impl Future<Output = Result<RunningSession<Handler>, russh::Error>>,
    visit: &Visit,
    (place, grace): (Admission, Duration),
) -> Result<RunningSession<Handler>, russh::Error> {
    let logging_in = async {
        let mut running = starting.await?;
        let _ = visit.handle.set(running.handle());
        tokio::select! {
            // A client that left at once has logged in, too.
            biased;
            () = visit.logged_in.cancelled() => Ok(running),
            ended = &mut running => Err(ended.err().unwrap_or(russh::Error::Disconnect)),
        }
    };
    let Ok(logged_in) = timeout(grace, logging_in).await else {
        place.shared.note(LATE, place.from.to_string());
        place.shared.failed(place.from, ConnectionFailure::TooLate);
        return Err(russh::Error::ConnectionTimeout);
    };
    if logged_in.is_ok() {
        place.shared.logged_in(place.from);
    }
    logged_in
}

/// Runs a connection after its login, until it ends or has to be closed.
async fn stay(
    shared: &DoorState,
    visit: &Visit,
    mut running: RunningSession<Handler>,
) -> Result<(), russh::Error> {
    let why = tokio::select! {
        ended = &mut running => return ended,
        why = visit.over(&shared.desk) => why,
    };
    let handle = running.handle();
    let parting = async {
        sleep(PARTING).await;
        // Sessions print the reason, and end with an exit status; then the connection is closed.
        let _ = visit.why.set(why.clone());
        visit.parting.cancel();
        sleep(PARTING).await;
        // A client that does not read is not waited for.
        let text = format!("rollcall: {why}");
        let _ = timeout(PARTING, handle.disconnect(Disconnect::ByApplication, text, "en".into())).await;
        sleep(PARTING).await;
    };
    tokio::select! {
        ended = running => ended,
        () = parting => Ok(()),
    }
}

fn server_config(host_key: PrivateKey, profile: Profile) -> server::Config {
    server::Config {
        server_id: russh::SshId::Standard("SSH-2.0-rollcall".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        keys: vec![host_key],
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 10,
        // Followers of runs may be silent for hours.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        channel_buffer_size: CHANNEL_BUFFER,
        nodelay: true,
        preferred: Preferred {
            // The names with `ext` and `strict` protect the handshake against truncation (Terrapin).
            kex: Cow::Borrowed(match profile {
                Profile::Compat => &[
                    kex::MLKEM768X25519_SHA256,
                    kex::CURVE25519,
                    kex::CURVE25519_PRE_RFC_8731,
                    kex::EXTENSION_SUPPORT_AS_SERVER,
                    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
                ],
                Profile::StrictPq => &[
                    kex::MLKEM768X25519_SHA256,
                    kex::EXTENSION_SUPPORT_AS_SERVER,
                    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
                ],
            }),
            // The door's own key is always Ed25519; the list says which signatures are
            // accepted (`server-sig-algs`): without it OpenSSH offers no RSA key.
            key: Cow::Borrowed(&SIGNATURES),
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..server::Config::default()
    }
}
